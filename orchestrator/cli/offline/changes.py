"""What commands do in the state folder themselves while no service runs; the lock keeps one from starting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.accounts.characters import remark
from orchestrator.config.settings import Settings
from orchestrator.errors import NoSuchAccount, StateError
from orchestrator.store import leftovers, moving, sessions, status
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.store.tracebacks import Tracebacks


@contextmanager
def exclusive(paths: StatePaths, what: str, settings: Settings | None = None) -> Iterator[None]:
    """Keep the state folder to oneself.

    Args:
        paths: The folder.
        what: What for, for those who find it locked.
        settings: The configuration, if what others have begun with it is to be brought to an end first.

    Raises:
        AlreadyRunning: Another process has it.
        StateError: It cannot be used.
    """
    paths.prepare()
    with InstanceLock(paths.lock, what=what):
        leftovers.clear(paths, settings)
        yield


def forget_session(settings: Settings, name: str) -> Path | None:
    """Put an account's session into quarantine, so that it is paired when the service runs.

    Like any repair, this ends an operator's stop, and what kept the account from being tried.

    Returns:
        Where the session is now; None if there was none.

    Raises:
        NoSuchAccount: The configuration does not name it.
        AlreadyRunning: A service runs after all.
        StateError: The session cannot be moved, or the state folder cannot be used.
    """
    if name not in settings.accounts:
        raise NoSuchAccount(f"there is no account {name!r}{remark(name)} in {settings.config_file}")
    paths = StatePaths.of(settings.state_dir)
    with exclusive(paths, f"repairs {name}", settings):
        place = quarantine(paths, name, "repair")
        kept = status.load(paths.status)
        if name in kept:
            _save(paths, {**kept, name: replace(kept[name], stopped=False, parked=None, shown=None)})
    return place


def restore(paths: StatePaths, settings: Settings, name: str, wanted: str | None) -> moving.Restored:
    """Put an account's session back from quarantine; see `moving.find` for what is wanted.

    Raises:
        NoSuchAccount: There is neither an account of that name nor a session of one.
        AlreadyRunning: A service runs after all.
        StateError: The session cannot be moved, or the state folder cannot be used.
        OrchestratorError: There is no such session, the account has one, or another account has this one.
    """
    with exclusive(paths, f"restores {name}", settings):
        found = moving.find(paths, settings, name, wanted)
        about = moving.check_restore(paths, settings, name, found)
        moving.restore(paths, settings, name, found)
        kept = status.load(paths.status)
        if name in kept:
            # What kept it from being tried was about the session it had, unless it is over at some time.
            parked = kept[name].parked
            ban = parked if parked is not None and parked.until is not None else None
            _save(paths, {**kept, name: replace(kept[name], parked=ban, shown=None)})
    return about


def forget_account(paths: StatePaths, name: str, *, keep_session: bool) -> Path | None:
    """Drop what is kept of an account; whoever calls this holds the folder by `exclusive`.

    Args:
        paths: The state folder.
        name: The account.
        keep_session: Leave its session where it is.

    Returns:
        Where the session was put; None if it was left, or there was none.

    Raises:
        StateError: The session cannot be moved, or the state folder cannot be used.
    """
    kept = status.load(paths.status)
    if name in kept:
        _save(paths, {other: entry for other, entry in kept.items() if other != name})
    Tracebacks(paths.tracebacks).forget(name)
    return None if keep_session else quarantine(paths, name, "removed")


def quarantine(paths: StatePaths, name: str, reason: str) -> Path | None:
    """Put a session into quarantine.

    Returns:
        Where it is now; None if there was none.

    Raises:
        StateError: It cannot be moved; it is where it was.
    """
    try:
        return sessions.quarantine(paths.session(name), paths.quarantine, reason, time.time())
    except OSError as error:
        raise StateError(
            f"{paths.session(name)}: cannot be put into quarantine: {error.strerror or error}"
        ) from None


def _save(paths: StatePaths, kept: dict[str, status.Kept]) -> None:
    try:
        status.save(paths.status, kept)
    except OSError as error:
        raise StateError(f"{paths.status}: cannot be written: {error.strerror or error}") from None
