"""The sessions in the database: a schema and a role for each account, which nobody else may read.

The account's process gets a fresh password each time (`Sessions.admit`), so that no process of an earlier
service can go on with the session. What is in a schema, only the account's process writes, which parses what
strangers send: nothing of it is read here but who is linked, by a function of an administrator
(``admin.sql``).
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from orchestrator.accounts import deadlines
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.errors import Disowned, OrchestratorError, StateError, StoreAway
from orchestrator.postgres import ids, roles, sent
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.messages import transfer
from orchestrator.store import admission, realm
from orchestrator.store.attachments import Attachments
from orchestrator.store.device import Device, number_of
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Place
from orchestrator.store.put_away import Entry, Purged

log = logging.getLogger(__name__)

PLACE: Final = "the quarantine of the database"
"""Where sessions are put away, for people."""
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_LONG: Final = 600.0
"""Seconds for the messages of an account, which may be a million."""
_SOON: Final = 3.0
"""Seconds for what is only read: somebody waits for the answer."""


class Messages(Protocol):
    """What is kept of messages in the database, by an account's id or that of what was put away."""

    def holds(self, connection: Connection, owner: str) -> bool:
        """Tell whether there are messages."""

    def had(self, connection: Connection, owner: str) -> bool:
        """Tell whether there are messages, or ever were."""

    def give(self, connection: Connection, owner: str, other: str) -> None:
        """Let messages belong to another id, which has none."""

    def drop(self, connection: Connection, owner: str) -> None:
        """Delete messages for good."""


class NoMessages:
    """No messages are in the database."""

    def holds(self, connection: Connection, owner: str) -> bool:
        """See `Messages.holds`."""
        del connection, owner
        return False

    had = holds

    def give(self, connection: Connection, owner: str, other: str) -> None:
        """See `Messages.give`."""

    def drop(self, connection: Connection, owner: str) -> None:
        """See `Messages.drop`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a schema.

    Attributes:
        is_there: Whether anything is in it.
        device: Whose session it is.
    """

    is_there: bool
    device: Device


@dataclass(frozen=True, slots=True)
class _Admitted:
    dsn: str = field(repr=False)
    stored: str | None = field(repr=False)


def look(connection: Connection, place: str) -> Seen:
    """Look at the session in a schema."""
    row = connection.execute("SELECT * FROM orchestrator_admin.look(%s)", [place]).fetchone()
    assert row is not None
    is_there, is_readable, jid, mark = row
    if not is_readable:
        return Seen(True, Device(None, frozenset([f"schema {place}"])))
    marks = frozenset([f"schema {place}"] if is_there else [])
    if jid is None:
        return Seen(bool(is_there), Device(False, marks))
    return Seen(True, Device(True, marks | {f"device {str(mark)[:32]}"}, number_of(jid)))


class Sessions:
    """The sessions; see `SessionStore`.

    Args:
        database: The database, as the service.
        paths: The state folder on this machine, where accounts' processes have a lock and temporary files.
        here: Where accounts connect to; see `realm.current`.
        messages: The accounts' messages.
        admits: Sees, in the transaction that lets an account's process in, that the account may run here;
            raises if not.
    """

    def __init__(
        self,
        database: Database,
        paths: StatePaths,
        here: str,
        messages: Messages | None = None,
        admits: Callable[[Connection, str], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._paths = paths
        self._here = here
        self._messages = NoMessages() if messages is None else messages
        self._admits = admits
        self._attachments = Attachments(paths)
        self._admitted: dict[str, _Admitted] = {}

    def place(self, name: str) -> Place:
        """See `SessionStore.place`; there is a password once the account was admitted."""
        paths = self._paths
        files = paths.session(name), paths.session_lock(name), paths.home(name), paths.message_folder(name)
        admitted = self._admitted.get(name)
        if admitted is None:
            return Place(*files)
        root = self._database.dsn.root
        return Place(*files, admitted.dsn, admitted.stored, () if root is None else (root,))

    def admit(self, name: str) -> Outcome | None:
        """See `SessionStore.admit`: the account's process alone can log in from now on."""
        self._admitted.pop(name, None)
        refusal = admission.make_folders(self._paths, name)
        if refusal is not None:
            return refusal
        try:
            found = self._database.run(lambda connection: self._admit(connection, name))
        except StoreAway as error:
            return Outcome(Kind.STORE, str(error))
        except Disowned as error:
            return Outcome(Kind.DISOWNED, str(error))
        except OrchestratorError as error:
            return Outcome(Kind.CONFIG, str(error))
        if isinstance(found, Outcome):
            return found
        self._admitted[name] = found
        return None

    def _admit(self, connection: Connection, name: str) -> Outcome | _Admitted:
        account = ids.of(connection, name)
        self._admits(connection, account)
        row = connection.execute(
            "SELECT realm FROM orchestrator.session WHERE account = %s", [account]
        ).fetchone()
        kept = None if row is None else str(row[0])
        device = look(connection, account).device
        if device.linked is None:
            return Outcome(Kind.DAMAGED, "the session in the database is none that the library has made")
        if kept != self._here:
            if device.linked and kept is not None and not realm.is_unknown(kept, self._here):
                return Outcome(Kind.CONFIG, realm.refusal(name, kept, self._here))
            connection.execute(
                "INSERT INTO orchestrator.session VALUES (%s, %s)"
                " ON CONFLICT (account) DO UPDATE SET realm = excluded.realm",
                [account, self._here],
            )
        roles.shut_out(connection, account)
        dsn = self._database.dsn.for_library(account, roles.make_account(connection, account))
        return _Admitted(dsn, (device.number or "") if device.linked else None)

    def settle(self, name: str) -> None:
        """See `SessionStore.settle`: nothing is tried out here, because it is known where each was paired."""

    def exists(self, name: str) -> bool:
        """See `SessionStore.exists`."""
        return self._seen(name).is_there

    def device(self, name: str) -> Device:
        """See `SessionStore.device`."""
        try:
            return self._seen(name).device
        except OrchestratorError:
            return Device(linked=None)

    def sent(
        self, name: str, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
    ) -> Mapping[bytes, str] | None:
        """See `SessionStore.sent`."""
        del digest  # the database makes the same of a secret, which does not leave it

        def work(connection: Connection) -> Mapping[bytes, str] | None:
            account = ids.find(connection, name)
            return None if account is None else sent.look(connection, account, wanted).found

        try:
            return self._database.run(work, patience=deadlines.SECRETS_SECONDS)
        except OrchestratorError as error:
            log.info("%s: nobody can say which messages have left: %s", name, error)
            return None

    def signature(self, name: str) -> Hashable:
        """See `SessionStore.signature`."""
        found = self.device(name)
        return (found.linked, found.marks) if found.marks else None

    def _seen(self, name: str) -> Seen:
        def work(connection: Connection) -> Seen:
            account = ids.find(connection, name)
            return Seen(False, Device(False)) if account is None else look(connection, account)

        return self._database.run(work, patience=_SOON)

    def names(self) -> list[str]:
        """See `SessionStore.names`."""
        rows = self._database.run(
            lambda connection: connection.execute(
                "SELECT a.name FROM orchestrator.account a JOIN pg_namespace n ON n.nspname = a.id"
                " WHERE EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)"
            ).fetchall(),
            patience=_SOON,
        )
        return sorted(str(name) for (name,) in rows)

    def close_to_others(self) -> list[str]:
        """See `SessionStore.close_to_others`: the server's rights do that."""
        return []

    def make_room(self) -> None:
        """See `SessionStore.make_room`: a schema needs none."""

    # From files and into files

    def realm(self, name: str) -> str | None:
        """Return where the session of an account was paired, None if nobody knows."""
        row = self._database.run(
            lambda connection: connection.execute(
                "SELECT s.realm FROM orchestrator.session s JOIN orchestrator.account a ON a.id = s.account"
                " WHERE a.name = %s",
                [name],
            ).fetchone()
        )
        return None if row is None else str(row[0])

    def take_messages(self, name: str, folder: Path) -> None:
        """Bring the messages in a folder into the database, if the account has none there.

        Raises:
            StateError: They cannot be read, or not be written.
        """

        def work(connection: Connection) -> None:
            account = ids.of(connection, name)
            if not self._messages.holds(connection, account):
                transfer.bring_in(connection, account, folder)

        self._database.run(work, patience=_LONG)

    def give_messages(self, name: str, folder: Path) -> None:
        """Write the messages of an account into a folder that has none."""

        def work(connection: Connection) -> None:
            account = ids.of(connection, name)
            if self._messages.holds(connection, account):
                folder.mkdir(0o700, parents=True, exist_ok=True)
                transfer.take_out(connection, account, folder)

        self._database.run(work, patience=_LONG)

    def expect(self, name: str, realm: str | None) -> None:
        """Make an account without a linked session ready for one that was paired elsewhere.

        Raises:
            StateError: A linked session is there.
        """

        def work(connection: Connection) -> None:
            account = ids.of(connection, name)
            if look(connection, account).device.linked is not False:
                raise StateError(f"{name}: the database has a linked session already")
            connection.execute("SELECT orchestrator_admin.drop_session(%s)", [account])
            connection.execute("DELETE FROM orchestrator.session WHERE account = %s", [account])
            if realm is not None:
                connection.execute("INSERT INTO orchestrator.session VALUES (%s, %s)", [account, realm])

        self._database.run(work)

    # Quarantine

    @property
    def quarantine_place(self) -> str:
        """See `SessionStore.quarantine_place`."""
        return PLACE

    def quarantine(self, name: str, reason: str, now: float, *, messages: bool = False) -> str | None:
        """See `SessionStore.quarantine`."""
        self._admitted.pop(name, None)
        folder = self._database.run(
            lambda connection: put_away(
                connection, name, reason, now, self._messages if messages else NoMessages()
            )
        )
        if folder is not None and messages:
            self._attachments.put_away(name, folder)
        return None if folder is None else f"{folder} in {PLACE}"

    def prune(self, days: float, now: float) -> list[str]:
        """See `SessionStore.prune`."""
        try:
            rows = self._database.run(
                lambda connection: connection.execute(
                    "SELECT id, folder FROM orchestrator.quarantine WHERE at < to_timestamp(%s) ORDER BY at",
                    [now - days * 86_400],
                ).fetchall()
            )
        except OrchestratorError as error:
            log.warning("the quarantine could not be looked through: %s", error)
            return []
        gone = []
        for place, folder in rows:
            try:
                self._database.run(partial(self._delete, place=str(place)), patience=60)
            except OrchestratorError as error:
                log.warning("%s: could not be removed: %s", folder, error)
            else:
                self._attachments.drop(str(folder))
                gone.append(str(folder))
        return gone

    def in_quarantine(self) -> list[Entry]:
        """See `SessionStore.in_quarantine`."""
        rows = self._database.run(
            lambda connection: connection.execute(
                "SELECT folder, name, reason, extract(epoch FROM at), session, messages,"
                " (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n"
                " ON n.oid = c.relnamespace WHERE n.nspname = id AND c.relkind = 'r')"
                " FROM orchestrator.quarantine ORDER BY at DESC, number DESC"
            ).fetchall()
        )
        return [
            Entry(str(folder), str(name), str(reason), float(at), int(size), bool(session), bool(messages))
            for folder, name, reason, at, session, messages, size in rows
        ]

    def former(self, folder: str) -> Device:
        """See `SessionStore.former`."""

        def work(connection: Connection) -> Device:
            place = find(connection, folder)
            return Device(False) if place is None else look(connection, place).device

        try:
            return self._database.run(work, patience=_SOON)
        except OrchestratorError:
            return Device(linked=None)

    def purge(self, folders: Iterable[str]) -> Purged:
        """See `SessionStore.purge`."""
        sizes = {entry.folder: entry.size for entry in self.in_quarantine()}
        purged = Purged([], 0, {})
        size = 0
        for folder in folders:
            if folder not in sizes:
                purged.kept[folder] = f"there is no such session in {PLACE}"
                continue
            try:
                self._database.run(partial(self._purge, folder=folder), patience=60)
            except OrchestratorError as error:
                purged.kept[folder] = str(error)
            else:
                self._attachments.drop(folder)
                purged.done.append(folder)
                size += sizes[folder]
        return Purged(purged.done, size, purged.kept)

    def _purge(self, connection: Connection, folder: str) -> None:
        moving = connection.execute("SELECT task ->> 'folder' FROM orchestrator.move").fetchone()
        if moving == (folder,):
            raise StateError("is being restored")
        place = find(connection, folder)
        if place is not None:
            self._delete(connection, place)

    def _delete(self, connection: Connection, place: str) -> None:
        connection.execute("SELECT orchestrator_admin.drop_session(%s)", [place])
        self._messages.drop(connection, place)
        connection.execute("DELETE FROM orchestrator.quarantine WHERE id = %s", [place])


def put_away(connection: Connection, name: str, reason: str, now: float, messages: Messages) -> str | None:
    """Put away what an account has; return how people call it there, None if there was nothing.

    Raises:
        StateError: A process uses the session.
    """
    account = ids.find(connection, name)
    if account is None:
        return None
    has_messages = messages.holds(connection, account)
    if not has_messages:
        messages.drop(connection, account)  # what is noted although there never was a message
    is_there = look(connection, account).is_there
    if not is_there and not has_messages:
        return None
    if roles.is_in_use(connection, account, patience=1.0):
        raise StateError("the session is in use by another process")
    place = f"q_{secrets.token_hex(8)}"
    folder = _folder(connection, name, reason, now)
    if is_there:
        connection.execute("SELECT orchestrator_admin.put_away(%s, %s)", [account, place])
    if has_messages:
        messages.give(connection, account, place)
    connection.execute(
        "INSERT INTO orchestrator.quarantine"
        " (id, folder, account, name, reason, at, realm, session, messages)"
        " VALUES (%s, %s, %s, %s, %s, to_timestamp(%s),"
        " (SELECT realm FROM orchestrator.session WHERE account = %s), %s, %s)",
        [place, folder, account, name, _word(reason), now, account, is_there, has_messages],
    )
    if is_there:
        connection.execute("DELETE FROM orchestrator.session WHERE account = %s", [account])
    return folder


def find(connection: Connection, folder: str) -> str | None:
    """Return the id of what people call so in quarantine."""
    row = connection.execute("SELECT id FROM orchestrator.quarantine WHERE folder = %s", [folder]).fetchone()
    return None if row is None else str(row[0])


def _folder(connection: Connection, name: str, reason: str, now: float) -> str:
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    folder, number = f"{name}-{stamp}-{_word(reason)}", 1
    while find(connection, folder if number == 1 else f"{folder}-{number}") is not None:
        number += 1
    return folder if number == 1 else f"{folder}-{number}"


def _word(reason: str) -> str:
    return re.sub("[^a-z0-9_]+", "_", reason.lower()) or "unknown"
