"""Renames accounts and restores sessions in the database.

Each is one transaction. What is to be done is written down all the same: for a rename, the configuration
decides, which is a file, and the two cannot be changed at once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict
from typing import Any

from orchestrator.accounts.names import is_name, shorten
from orchestrator.errors import OrchestratorError, StateError
from orchestrator.postgres import ids, roles
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.sessions import PLACE, Messages, NoMessages, find, look
from orchestrator.store import quarantine
from orchestrator.store.attachments import Attachments
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.configured import Configured
from orchestrator.store.device import Device
from orchestrator.store.layout import StatePaths
from orchestrator.store.moving import NOTES, Rename, Restore, Restored, check_names, not_found
from orchestrator.store.tracebacks import Tracebacks

Renamed = Callable[[Connection, str, str, str], None]
"""Is told within the transaction that an account, by its id, has had a name and gets another."""


class Moves:
    """Moves sessions with everything that belongs to them; see `protocols.Moves`.

    Args:
        database: The database, as the service.
        paths: The state folder on this machine.
        messages: The accounts' messages.
        renamed: What else knows accounts by their names.
    """

    def __init__(
        self,
        database: Database,
        paths: StatePaths,
        messages: Messages | None = None,
        renamed: Renamed | None = None,
    ) -> None:
        self._database = database
        self._paths = paths
        self._messages = NoMessages() if messages is None else messages
        self._renamed = renamed

    # What is written down

    def pending(self) -> Rename | Restore | None:
        """See `Moves.pending`."""
        return self._database.run(_pending)

    def begin(self, task: Rename | Restore) -> None:
        """See `Moves.begin`."""
        self._database.run(lambda connection: _begin(connection, task))

    def give_up(self) -> None:
        """See `Moves.give_up`."""
        with contextlib.suppress(OrchestratorError):
            self._database.run(lambda connection: connection.execute("DELETE FROM orchestrator.move"))

    def clear_up(self, settings: Configured | None = None) -> list[str]:
        """See `Moves.clear_up`: one transaction leaves nothing half done."""
        if settings is None:
            return []
        said = self.finish(settings)
        return [] if said is None else [said]

    def finish(self, settings: Configured) -> str | None:
        """See `Moves.finish`."""
        said = self._database.run(lambda connection: self._finish(connection, settings))
        if said is None:
            return None
        task, sentence = said
        if isinstance(task, Restore) and self._database.run(lambda at: find(at, task.folder)) is None:
            Attachments(self._paths).bring_back(task.folder, task.name)
        if isinstance(task, Rename) and task.begun:
            Attachments(self._paths).rename(task.old, task.new)
            Tracebacks(self._paths.tracebacks).rename(task.old, task.new)
            with contextlib.suppress(OSError):  # the process that has shown the code is gone
                QrFolder(settings.qr_dir).hide(task.old)
        return sentence

    def _finish(self, connection: Connection, settings: Configured) -> tuple[Rename | Restore, str] | None:
        task = _pending(connection)
        if task is None:
            return None
        connection.execute("DELETE FROM orchestrator.move")
        if isinstance(task, Restore):
            self._put_back(connection, task)
            return task, f"{task.name}: restored from {task.folder} in {PLACE}"
        old, new = task.old, task.new
        if not (new in settings.accounts and old not in settings.accounts):
            return task, (
                f"{old}: not renamed to {new}, because the configuration was not changed; nothing was moved"
            )
        self._rename(connection, old, new)
        return Rename(old, new, begun=True), f"{old}: renamed to {new}, with its session and its history"

    # Rename

    def check_rename(self, settings: Configured, old: str, new: str, known: Container[str]) -> bool:
        """See `Moves.check_rename`."""
        return self._database.run(
            lambda connection: self._check_rename(connection, settings, old, new, known)
        )

    def _check_rename(
        self, connection: Connection, settings: Configured, old: str, new: str, known: Container[str]
    ) -> bool:
        there = old in known or _is_there(connection, old)
        configured = check_names(settings, old, new, there=there)
        if _has_session(connection, new):
            whose = "belongs to no account" if configured else f"belongs to the account {new}"
            raise OrchestratorError(
                f"the session of {new} in the database exists already and {whose}: choose another name",
                key="session_exists",
            )
        other = ids.find(connection, new)
        if other is not None and self._messages.had(connection, other):
            raise OrchestratorError(
                f"the database has messages of an earlier account {new}: choose another name",
                key="session_exists",
            )
        return configured

    def _rename(self, connection: Connection, old: str, new: str) -> None:
        account, former = ids.find(connection, old), ids.find(connection, new)
        if account is None:
            return
        if former is not None:
            if look(connection, former).device.linked is not False:
                raise StateError(f"another session of {new} is already there: remove it first")
            # An earlier account of that name keeps its history under its id, and has no name any more.
            connection.execute("SELECT orchestrator_admin.drop_session(%s)", [former])
            ids.rename(connection, new, f"{new} ({former})")
        ids.rename(connection, old, new)
        if self._renamed is not None:
            self._renamed(connection, account, old, new)

    # Restore

    def check_restore(self, settings: Configured, name: str, wanted: str | None) -> tuple[Restore, Restored]:
        """See `Moves.check_restore`."""
        return self._database.run(lambda connection: self._check_restore(connection, settings, name, wanted))

    def _check_restore(
        self, connection: Connection, settings: Configured, name: str, wanted: str | None
    ) -> tuple[Restore, Restored]:
        place, folder, reason, has_session, own = _find(connection, settings, name, wanted)
        messages = self._about_messages(connection, name, place, own=own)
        if not has_session:
            if not self._takes_messages(connection, name, own=own):
                raise OrchestratorError(
                    f"{folder} has no session, only messages, and {name} has other messages since:"
                    " nothing was restored",
                    key="messages_exist",
                )
            said = ("there was no session, so only the messages are back",)
            return Restore(name, folder, place), Restored(folder, said)
        if _has_session(connection, name):
            raise OrchestratorError(
                f"{name} already has a session: nothing was restored. `orchestrator remove {name}` or"
                f" `orchestrator repair {name}` moves that session to quarantine",
                key="session_exists",
            )
        about = look(connection, place).device
        for other in settings.accounts:
            if other != name and _devices(about) & _devices(_device(connection, other)):
                raise OrchestratorError(
                    f"{folder} is a session of the device that the account {other} uses, and WhatsApp keeps"
                    f" one connection per device: nothing was restored. `orchestrator repair {name}` pairs"
                    f" {name} again",
                    key="duplicate_session",
                )
        notes = [NOTES[reason]] if reason in NOTES else []
        if about.linked is False:
            notes.append("this session is not linked to a phone any more, so the account will show a code")
        return Restore(name, folder, place), Restored(folder, (*notes, *messages))

    def _takes_messages(self, connection: Connection, name: str, *, own: bool) -> bool:
        account = ids.find(connection, name)
        return account is None or (own and not self._messages.holds(connection, account))

    def _about_messages(self, connection: Connection, name: str, place: str, *, own: bool) -> list[str]:
        if not self._messages.holds(connection, place):
            return []
        if self._takes_messages(connection, name, own=own):
            return ["the messages that were put away with this session are back, too"]
        return [f"the messages that were put away with this session stay in {PLACE}: {name} has had others"]

    def _put_back(self, connection: Connection, task: Restore) -> None:
        row = connection.execute(
            "SELECT id, session, realm, name FROM orchestrator.quarantine WHERE folder = %s", [task.folder]
        ).fetchone()
        if row is None:
            return  # it was put back before, or deleted
        place, has_session, realm, former = row
        account = ids.of(connection, task.name)
        takes = self._takes_messages(connection, task.name, own=former == task.name)
        if has_session:
            if look(connection, account).device.linked is not False:
                raise StateError(f"another session of {task.name} is already there: remove it first")
            roles.make_account(connection, account)
            connection.execute("SELECT orchestrator_admin.drop_session(%s)", [account])
            connection.execute("SELECT orchestrator_admin.put_back(%s, %s)", [place, account])
            if realm is not None:
                connection.execute(
                    "INSERT INTO orchestrator.session VALUES (%s, %s)"
                    " ON CONFLICT (account) DO UPDATE SET realm = excluded.realm",
                    [account, realm],
                )
        stays = self._messages.holds(connection, place) and not takes
        if stays:
            connection.execute("UPDATE orchestrator.quarantine SET session = false WHERE id = %s", [place])
            return
        if self._messages.holds(connection, place):
            self._messages.give(connection, place, account)
        connection.execute("DELETE FROM orchestrator.quarantine WHERE id = %s", [place])

    # Sessions without an account

    def has_session(self, name: str) -> bool:
        """See `Moves.has_session`."""
        return self._database.run(lambda connection: _has_session(connection, name))

    def strays(self, accounts: Container[str]) -> list[str]:
        """See `Moves.strays`."""

        def work(connection: Connection) -> list[str]:
            known = ids.all_of(connection)
            return [
                name
                for name in sorted(known)
                if name not in accounts
                and is_name(name)
                and look(connection, known[name]).device.linked is not False
            ]

        return self._database.run(work, patience=30)

    def about_strays(self, names: list[str], accounts: Iterable[str]) -> list[str]:
        """See `Moves.about_strays`."""
        if not names:
            return []
        free = [name for name in accounts if not self.has_session(name)]
        to = free[0] if len(free) == 1 else "NEW"
        return [
            f"the session of {name} in the database belongs to no account: if the account was renamed, run"
            f" `orchestrator rename {name} {to}`; if it was removed, `orchestrator add {name}` adds it again"
            for name in names
        ]


def _begin(connection: Connection, task: Rename | Restore) -> None:
    kind = "rename" if isinstance(task, Rename) else "restore"
    connection.execute(
        "INSERT INTO orchestrator.move (task) VALUES (%s)"
        " ON CONFLICT (single) DO UPDATE SET task = excluded.task",
        [json.dumps({"kind": kind, **asdict(task)})],
    )


def _pending(connection: Connection) -> Rename | Restore | None:
    row = connection.execute("SELECT task FROM orchestrator.move").fetchone()
    if row is None:
        return None
    values: dict[str, Any] = dict(row[0])
    return Rename(**values) if values.pop("kind") == "rename" else Restore(**values)


def _find(
    connection: Connection, settings: Configured, name: str, wanted: str | None
) -> tuple[str, str, str, bool, bool]:
    """Return of what is in quarantine: id, folder, reason, whether it is a session, and the account's."""
    rows = connection.execute(
        "SELECT id, folder, reason, session, name = %s FROM orchestrator.quarantine"
        " ORDER BY at DESC, number DESC",
        [name],
    ).fetchall()
    own = [row for row in rows if row[4]]
    if wanted is None:
        found = next((row for row in own if row[2] not in quarantine.BY_THE_WAY), None)
        missing = f"there is no session of {shorten(name)} in {PLACE}"
    else:
        found = next((row for row in rows if row[1] == wanted), None)
        missing = f"{shorten(wanted)} is not a session in {PLACE}"
    if found is not None and is_name(name):
        return str(found[0]), str(found[1]), str(found[2]), bool(found[3]), bool(found[4])
    is_known = name in settings.accounts or bool(own)
    raise not_found(name, missing, [str(row[1]) for row in own or rows], is_known=is_known)


def _device(connection: Connection, name: str) -> Device:
    account = ids.find(connection, name)
    return Device(False) if account is None else look(connection, account).device


def _devices(device: Device) -> frozenset[str]:
    return frozenset(mark for mark in device.marks if mark.startswith("device "))


def _is_there(connection: Connection, name: str) -> bool:
    account = ids.find(connection, name)
    return account is not None and look(connection, account).is_there


def _has_session(connection: Connection, name: str) -> bool:
    return _device(connection, name).linked is not False
