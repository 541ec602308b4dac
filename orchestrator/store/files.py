"""The store in files: the state folder behind the protocols."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from orchestrator.accounts.failure import Outcome
from orchestrator.errors import StateError, StoreAway
from orchestrator.store import (
    admission,
    device,
    leftovers,
    moving,
    put_away,
    quarantine,
    quarantine_note,
    realm,
    sent_secrets,
    sessions,
    trial,
)
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.configured import Configured
from orchestrator.store.device import Device
from orchestrator.store.layout import DATABASE, StatePaths, is_of_service
from orchestrator.store.lock import InstanceLock
from orchestrator.store.protocols import Place, Store
from orchestrator.store.record_files import RecordFiles
from orchestrator.system.files import open_folder
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

_NOT_OF_HERE: Final = ("logged_out", "locked", "wrong_phone")
"""Why a session is put away that may just have been paired elsewhere."""


def in_files(
    paths: StatePaths, qr_dir: Path, qr_group: str | None = None, *, here: str | None = None
) -> Store:
    """Return the store of a state folder.

    Args:
        paths: The state folder, which `StatePaths.prepare` has made.
        qr_dir: The folder of the QR codes.
        qr_group: The group that may read the codes, if any may.
        here: Where accounts connect to; None for what this process's environment says.

    Raises:
        StateError: The codes would lie where the process of an account reads and writes.
    """
    if is_of_service(qr_dir, paths.root):
        raise StateError(
            f"{qr_dir}: is one of the service's own folders: choose a folder for the codes alone with qr_dir",
            key="qr_dir_unusable",
        )
    return Store(
        paths,
        SessionFiles(paths, realm.current() if here is None else here),
        FileMoves(paths),
        RecordFiles(paths),
        QrFolder(qr_dir, qr_group),
        StateFolder(paths),
    )


class SessionFiles:
    """The sessions as SQLite files; see `sessions`.

    Args:
        paths: The state folder.
        here: Where accounts connect to; see `realm.current`.
    """

    def __init__(self, paths: StatePaths, here: str) -> None:
        self._paths = paths
        self._here = here
        self._on_trial: set[str] = set()

    def place(self, name: str) -> Place:
        """See `SessionStore.place`."""
        paths = self._paths
        return Place(
            paths.session(name), paths.session_lock(name), paths.home(name), paths.message_folder(name)
        )

    def admit(self, name: str) -> Outcome | None:
        """See `SessionStore.admit`."""
        found = admission.admit(self._paths, name, self._here)
        (self._on_trial.add if found.on_trial else self._on_trial.discard)(name)
        return found.refusal

    def settle(self, name: str) -> None:
        """See `SessionStore.settle`."""
        if name in self._on_trial:
            self._on_trial.discard(name)
            with contextlib.suppress(OSError):  # then it is tried out again the next time
                realm.note(self._paths.home(name), self._here)
            trial.end(self._paths.home(name))

    def exists(self, name: str) -> bool:
        """See `SessionStore.exists`."""
        return os.path.lexists(sessions.find(self._paths.sessions, name))

    def device(self, name: str) -> Device:
        """See `SessionStore.device`."""
        return device.look(sessions.find(self._paths.sessions, name))

    def sent(
        self, name: str, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
    ) -> Mapping[bytes, str] | None:
        """See `SessionStore.sent`."""
        return sent_secrets.look(sessions.find(self._paths.sessions, name), wanted, digest)

    def signature(self, name: str) -> Hashable:
        """See `SessionStore.signature`."""
        path = sessions.find(self._paths.sessions, name)
        found: list[int] = []
        with contextlib.suppress(OSError), _opened(path.parent) as folder:
            for file in (path.name, f"{path.name}-wal"):
                with contextlib.suppress(FileNotFoundError):
                    about = os.stat(file, dir_fd=folder, follow_symlinks=False)
                    found += (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        return tuple(found) or None

    def names(self) -> list[str]:
        """See `SessionStore.names`."""
        return sessions.names(self._paths.sessions)

    def close_to_others(self) -> list[str]:
        """See `SessionStore.close_to_others`."""
        folder = self._paths.sessions
        try:
            return sessions.repair_modes(folder)
        except OSError as error:
            return [
                f"{folder}: other users may read the sessions, and the modes cannot be set: {error.strerror}"
            ]

    def make_room(self) -> None:
        """See `SessionStore.make_room`."""
        with contextlib.suppress(OSError):
            self._paths.sessions.mkdir(0o700)

    def quarantine(self, name: str, reason: str, now: float, *, messages: bool = False) -> str | None:
        """See `SessionStore.quarantine`."""
        on_trial = name in self._on_trial
        self._on_trial.discard(name)
        try:
            if on_trial and reason in _NOT_OF_HERE:
                trial.give_back(self._paths.home(name))
                log.warning("%s: the session is as it was before it was tried out in a sandbox", name)
                return None
            if on_trial:
                trial.end(self._paths.home(name))
            theirs = self._paths.message_folder(name) if messages else None
            place = quarantine.put(
                self._paths.home(name), self._paths.quarantine, reason, now, messages=theirs
            )
        except BlockingIOError as error:  # which otherwise means that a process cannot be made
            raise StateError(f"the session is {error.strerror}") from None
        except OSError as error:
            raise StateError(trouble(error)) from None
        if place is None:
            return None
        quarantine_note.write(self._paths.quarantine)
        return str(place)

    def prune(self, days: float, now: float) -> list[str]:
        """See `SessionStore.prune`."""
        quarantine_note.write(self._paths.quarantine)  # where an earlier version has put sessions
        return quarantine.prune(self._paths.quarantine, days, now)

    def in_quarantine(self) -> list[put_away.Entry]:
        """See `SessionStore.in_quarantine`."""
        folder = self._paths.quarantine
        try:
            return put_away.entries(folder)
        except OSError as error:
            raise StateError(f"{folder}: cannot be read: {trouble(error)}") from None

    @property
    def quarantine_place(self) -> str:
        """See `SessionStore.quarantine_place`."""
        return os.fspath(self._paths.quarantine)

    def former(self, folder: str) -> Device:
        """See `SessionStore.former`."""
        return device.look(self._paths.quarantine / folder / DATABASE)

    def purge(self, folders: Iterable[str]) -> put_away.Purged:
        """See `SessionStore.purge`."""
        return put_away.purge(self._paths, folders)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = open_folder(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class FileMoves:
    """Moves by renames, with what is to be done in ``moving.json``; see `moving`."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths

    def pending(self) -> moving.Rename | moving.Restore | None:
        """See `Moves.pending`."""
        return moving.pending(self._paths)

    def begin(self, task: moving.Rename | moving.Restore) -> None:
        """See `Moves.begin`."""
        moving.begin(self._paths, task)

    def give_up(self) -> None:
        """See `Moves.give_up`."""
        moving.give_up(self._paths)

    def finish(self, settings: Configured) -> str | None:
        """See `Moves.finish`."""
        return moving.finish(self._paths, settings)

    def clear_up(self, settings: Configured | None = None) -> list[str]:
        """See `Moves.clear_up`."""
        return leftovers.clear(self._paths, settings)

    def check_rename(self, settings: Configured, old: str, new: str, known: Container[str]) -> bool:
        """See `Moves.check_rename`."""
        return moving.check_rename(self._paths, settings, old, new, known=known)

    def check_restore(
        self, settings: Configured, name: str, wanted: str | None
    ) -> tuple[moving.Restore, moving.Restored]:
        """See `Moves.check_restore`."""
        found = moving.find(self._paths, settings, name, wanted)
        about = moving.check_restore(self._paths, settings, name, found)
        return moving.Restore(name, found.path.name, found.database.name), about

    def has_session(self, name: str) -> bool:
        """See `Moves.has_session`."""
        return moving.has_session(self._paths, name)

    def strays(self, accounts: Container[str]) -> list[str]:
        """See `Moves.strays`."""
        return moving.strays(self._paths, accounts)

    def about_strays(self, names: list[str], accounts: Iterable[str]) -> list[str]:
        """See `Moves.about_strays`."""
        return moving.about_strays(self._paths, names, accounts)


class StateFolder:
    """Whoever holds the state folder's lock owns its accounts."""

    def __init__(self, paths: StatePaths) -> None:
        self._path = paths.lock

    def take(
        self, what: str, socket: Path | None = None, wait: Callable[[StoreAway], None] | None = None
    ) -> InstanceLock:
        """See `Ownership.take`: files are never away."""
        del wait
        return InstanceLock(self._path, what=what, socket=socket)
