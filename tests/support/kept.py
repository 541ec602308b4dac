"""What a service keeps of its accounts, as tests look at it and spoil it: in files, or in Postgres.

A test says what it wants to know (is there a session, whose device is it, what lies in quarantine), and not
where that is kept. What has no meaning but with files (a symbolic link in place of a session, a full disk)
asks for the files themselves; such a test is marked `files_only`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from support.accounts import addresses, secrets_of
from support.inboxes import LOCK_SECONDS, nothing_is_stored

from orchestrator.messages.database import DATABASE
from orchestrator.messages.entry import Stored
from orchestrator.messages.inbox import Reader
from orchestrator.messages.outbox_reader import OutboxReader
from orchestrator.sending.row import Row
from orchestrator.store import realm

Json = dict[str, Any]
Contents = Mapping[str, object]
"""What is in a session: equal as long as nobody has changed anything."""


class Entries(Protocol):
    """What tests ask an inbox; see `messages.inbox.Reader`."""

    def after(self, seq: int, limit: int = ..., /) -> list[Stored]:
        """Return entries with a higher number, in order."""

    def find(self, message_id: str, /) -> list[Stored]:
        """Return the entries with an identifier, in order."""

    def with_media(self, seq: int, since: float = ..., limit: int = ..., /) -> list[tuple[int, str]]:
        """Return the numbers of later entries with attachments, and the attachments' identifiers."""

    def newest(self) -> int:
        """Return the highest number that was given, 0 if none was."""


class Rows(Protocol):
    """What tests ask an outbox; see `messages.outbox_reader`."""

    def row(self, number: int, /) -> Row:
        """Return a row."""


class PutAway(Protocol):
    """A session in quarantine."""

    @property
    def name(self) -> str:
        """What `orchestrator restore` calls it: account, time, reason."""

    def exists(self) -> bool:
        """Tell whether it is there still."""

    def identity(self) -> object:
        """Return which session it is; see `Kept.identity`."""

    def contents(self) -> Contents:
        """Return what is in it."""

    def devices(self) -> list[str]:
        """Return the addresses of the devices it is linked as."""

    def is_closed(self) -> bool:
        """Tell whether nobody but the service may look at it."""

    def has_messages(self) -> bool:
        """Tell whether the account's messages lie with it."""


class Kept(Protocol):
    """What is kept of the accounts of one service."""

    # Sessions

    def has_session(self, name: str) -> bool:
        """Tell whether an account has a session, linked or not."""

    def session(self, name: str) -> Contents:
        """Return what is in an account's session; no process may write to it."""

    def devices(self, name: str) -> list[str]:
        """Return the addresses of the devices that an account is linked as."""

    def secrets(self, name: str) -> list[str]:
        """Return the keys of an account's session, in the ways they could be written."""

    def identity(self, name: str) -> object:
        """Return which session it is: another one once an account is paired anew."""

    def realm(self, name: str) -> str | None:
        """Return where an account's session was paired; see `store.realm`."""

    def is_closed(self, name: str) -> bool:
        """Tell whether nobody but the service and the account may look at an account's session."""

    def damage_session(self, name: str) -> None:
        """Have an account's session be nothing that can be opened."""

    def drop_session(self, name: str) -> None:
        """Delete an account's session behind the service's back."""

    def exchange_session(self, name: str, other: str) -> Callable[[], None]:
        """Give an account a copy of another's session; return what gives back its own."""

    # Quarantine

    def quarantined(self, name: str, reason: str = "*") -> list[PutAway]:
        """Return the sessions of an account that were put away, or those for a reason; oldest first."""

    def put_away_copy(self, name: str, when: str, reason: str) -> str:
        """Put a copy of an account's session away as of another time; return how it is called."""

    # What is written down

    def timeline(self, name: str) -> list[Json]:
        """Return an account's history, oldest first."""

    def status(self, name: str) -> Json:
        """Return what is remembered of an account."""

    def change_status(self, change: Callable[[Json], None]) -> None:
        """Change what is remembered of each account; no service may run."""

    def forget_status(self) -> None:
        """Forget what is remembered of all accounts; no service may run."""

    def is_record_closed(self) -> bool:
        """Tell whether nobody but the service may read what is remembered."""

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield all that is written down but sessions, messages and codes, by where that is.

        The one place with a phone number in full, which is meant to be there, is left out.
        """

    # Messages

    def inbox(self, name: str) -> AbstractContextManager[Entries]:
        """Read an account's inbox, which has to be there."""

    def has_inbox(self, name: str) -> bool:
        """Tell whether anything was ever stored for an account."""

    def has_messages(self, name: str) -> bool:
        """Tell whether anything at all is left of an account's messages."""

    def outbox(self, name: str) -> AbstractContextManager[Rows]:
        """Read an account's outbox."""

    def inbox_note(self, name: str, key: str) -> str | None:
        """Return a note that the account's process has made for itself."""

    def nothing_is_stored(self, name: str) -> AbstractContextManager[None]:
        """Have an account's process wait with what comes in."""

    # All of it

    def back_up(self, place: Path) -> None:
        """Copy everything to a place; no service may run."""

    def put_back(self, place: Path) -> None:
        """Have everything be as it was in a copy, which is used up; no service may run."""


@dataclass(frozen=True, slots=True)
class FolderPutAway:
    """A folder in quarantine."""

    path: Path

    @property
    def name(self) -> str:
        """See `PutAway.name`."""
        return self.path.name

    def exists(self) -> bool:
        """See `PutAway.exists`."""
        return self.path.exists()

    def identity(self) -> object:
        """See `PutAway.identity`."""
        return (self.path / "session.sqlite3").stat().st_ino

    def contents(self) -> Contents:
        """See `PutAway.contents`."""
        return read_session(self.path / "session.sqlite3")

    def devices(self) -> list[str]:
        """See `PutAway.devices`."""
        return addresses(self.path / "session.sqlite3")

    def is_closed(self) -> bool:
        """See `PutAway.is_closed`."""
        return self.path.stat().st_mode & 0o777 == 0o700

    def has_messages(self) -> bool:
        """See `PutAway.has_messages`."""
        return (self.path / "messages" / DATABASE).exists()


class KeptInFiles:
    """A state folder.

    Args:
        state: The folder.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def session_file(self, name: str) -> Path:
        """Return where an account's session is."""
        return self._state / "sessions" / name / "session.sqlite3"

    def has_session(self, name: str) -> bool:
        """See `Kept.has_session`."""
        return self.session_file(name).exists()

    def session(self, name: str) -> Contents:
        """See `Kept.session`."""
        return read_session(self.session_file(name))

    def devices(self, name: str) -> list[str]:
        """See `Kept.devices`."""
        return addresses(self.session_file(name))

    def secrets(self, name: str) -> list[str]:
        """See `Kept.secrets`."""
        return secrets_of(self.session_file(name))

    def identity(self, name: str) -> object:
        """See `Kept.identity`."""
        return self.session_file(name).stat().st_ino

    def realm(self, name: str) -> str | None:
        """See `Kept.realm`."""
        return realm.read(self.session_file(name).parent)

    def is_closed(self, name: str) -> bool:
        """See `Kept.is_closed`."""
        return self.session_file(name).stat().st_mode & 0o777 == 0o600

    def damage_session(self, name: str) -> None:
        """See `Kept.damage_session`."""
        self.session_file(name).write_bytes(b"no database at all" * 1000)

    def drop_session(self, name: str) -> None:
        """See `Kept.drop_session`."""
        self.session_file(name).unlink()

    def exchange_session(self, name: str, other: str) -> Callable[[], None]:
        """See `Kept.exchange_session`."""
        path = self.session_file(name)
        own = self._state.parent / f"{name}.own"
        shutil.move(path, own)
        shutil.copy(self.session_file(other), path)
        return lambda: (shutil.move(own, path), None)[1]

    def quarantined(self, name: str, reason: str = "*") -> list[PutAway]:
        """See `Kept.quarantined`."""
        folders = (self._state / "quarantine").glob(f"{name}-????????T??????Z-{reason}")
        return [FolderPutAway(path) for path in sorted(folders)]

    def put_away_copy(self, name: str, when: str, reason: str) -> str:
        """See `Kept.put_away_copy`."""
        place = self._state / "quarantine" / f"{name}-{when}-{reason}"
        place.mkdir(0o700)
        shutil.copy(self.session_file(name), place / "session.sqlite3")
        return place.name

    def timeline(self, name: str) -> list[Json]:
        """See `Kept.timeline`."""
        path = self._state / "timeline" / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def status(self, name: str) -> Json:
        """See `Kept.status`."""
        return dict(json.loads(self.status_file.read_text())["accounts"][name])

    def change_status(self, change: Callable[[Json], None]) -> None:
        """See `Kept.change_status`."""
        document = json.loads(self.status_file.read_text())
        for about in document["accounts"].values():
            change(about)
        self.status_file.write_text(json.dumps(document))

    def forget_status(self) -> None:
        """See `Kept.forget_status`."""
        self.status_file.unlink()

    def is_record_closed(self) -> bool:
        """See `Kept.is_record_closed`."""
        return self.status_file.stat().st_mode & 0o777 == 0o600

    def texts(self) -> Iterator[tuple[str, str]]:
        """See `Kept.texts`."""
        return texts_in(self._state)

    def message_folder(self, name: str) -> Path:
        """Return where an account's messages are."""
        return self._state / "messages" / name

    @contextlib.contextmanager
    def inbox(self, name: str) -> Iterator[Entries]:
        """See `Kept.inbox`."""
        with contextlib.closing(Reader.open(self.message_folder(name))) as reader:
            yield reader

    def has_inbox(self, name: str) -> bool:
        """See `Kept.has_inbox`."""
        return (self.message_folder(name) / DATABASE).exists()

    def has_messages(self, name: str) -> bool:
        """See `Kept.has_messages`."""
        return self.message_folder(name).exists()

    def damage_inbox(self, name: str) -> None:
        """Have an account's inbox be nothing that can be opened."""
        for file in self.message_folder(name).glob(f"{DATABASE}*"):
            file.write_bytes(b"damaged" * 1000)

    @contextlib.contextmanager
    def outbox(self, name: str) -> Iterator[Rows]:
        """See `Kept.outbox`."""
        with contextlib.closing(OutboxReader.open(self.message_folder(name))) as reader:
            yield reader

    def inbox_note(self, name: str, key: str) -> str | None:
        """See `Kept.inbox_note`."""
        path = self.message_folder(name) / DATABASE
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def nothing_is_stored(self, name: str) -> AbstractContextManager[None]:
        """See `Kept.nothing_is_stored`."""
        return nothing_is_stored(self._state, name)

    def back_up(self, place: Path) -> None:
        """See `Kept.back_up`."""
        shutil.copytree(self._state, place, symlinks=True)

    def put_back(self, place: Path) -> None:
        """See `Kept.put_back`."""
        shutil.rmtree(self._state)
        place.rename(self._state)

    @property
    def status_file(self) -> Path:
        """Where it is written down what is remembered of all accounts."""
        return self._state / "status.json"


def read_session(path: Path) -> dict[str, bytes]:
    """Return the bytes of a session's files by name; no process may have it open."""
    return {file.name: file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*"))}


def texts_in(state: Path) -> Iterator[tuple[str, str]]:
    """Yield what is in the files of a state folder but sessions, messages and codes, by their paths in it."""
    for path in sorted(state.rglob("*")):
        parts = path.relative_to(state).parts
        if path.is_file() and parts[0] not in ("sessions", "quarantine", "messages", "qr"):
            text = f"{path.name}\n{path.read_text(errors='replace')}"
            if parts == ("status.json",):
                text = re.sub(r'"linked_phone": "\d+"', "", text)
            yield "/".join(parts), text
