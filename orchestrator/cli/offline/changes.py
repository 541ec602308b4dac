"""Changes to the state folder while no service runs. The lock keeps a service from starting meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator.accounts.guard import refuse_any_phone
from orchestrator.accounts.names import no_such_account
from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.store import device, leftovers, moving, quarantine_note, status
from orchestrator.store import quarantine as put_away
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.store.tracebacks import Tracebacks


@contextmanager
def exclusive(paths: StatePaths, what: str, settings: Settings | None = None) -> Iterator[None]:
    """Lock the state folder for this process.

    Args:
        paths: The state folder.
        what: What this process does, for others that find the folder locked.
        settings: The configuration, if interrupted changes are to be finished first.

    Raises:
        AlreadyRunning: Another process has locked the folder.
        StateError: The folder cannot be used.
    """
    from orchestrator.service import ways

    ways.check_state_for_root(paths)
    paths.prepare()
    with InstanceLock(paths.lock, what=what):
        leftovers.clear(paths, settings)
        yield


def forget_session(settings: Settings, name: str, *, any_phone: bool = False) -> Path | None:
    """Put an account's session into quarantine, so that the service pairs the account anew.

    Like any repair, this ends an operator's stop and a ban.

    Args:
        settings: The configuration.
        name: The account.
        any_phone: Let any phone be linked next, and not only the one that the account had.

    Returns:
        The folder of the session; None if there was no session.

    Raises:
        NoSuchAccount: The configuration does not name the account.
        AlreadyRunning: A service runs after all.
        StateError: The session cannot be moved, or the state folder cannot be used.
        OrchestratorError: Any phone is to be linked, and the configuration names the phone.
    """
    if name not in settings.accounts:
        raise no_such_account(name, known=settings.accounts, file=settings.config_file)
    if any_phone:
        refuse_any_phone(settings.accounts[name])
    paths = StatePaths.of(settings.state_dir)
    with exclusive(paths, f"repairs {name}", settings):
        kept = status.load(paths.status)
        known = kept.get(name, status.Kept())
        # Written first: the session that tells which phone it was is about to go.
        number = device.look(paths.session(name)).number
        guard = known.guard.open_to_any() if any_phone else known.guard.found(number)
        _save(paths, {**kept, name: replace(known, guard=guard)})
        place = quarantine(paths, name, "repair")
        wishes = replace(known, stopped=False, parked=None, shown=None, guard=guard, past=known.past.moved())
        _save(paths, {**kept, name: wishes})
    return place


def restore(paths: StatePaths, settings: Settings, name: str, wanted: str | None) -> moving.Restored:
    """Put an account's session back from quarantine; `moving.find` explains ``wanted``.

    Raises:
        NoSuchAccount: Neither an account nor a session has this name.
        AlreadyRunning: A service runs after all.
        StateError: The session cannot be moved, or the state folder cannot be used.
        OrchestratorError: There is no such session, the account has a session, or another account has this
            session.
    """
    with exclusive(paths, f"restores {name}", settings):
        found = moving.find(paths, settings, name, wanted)
        about = moving.check_restore(paths, settings, name, found)
        moving.restore(paths, settings, name, found)
        kept = status.load(paths.status)
        if name in kept:
            # What parked the account was about its former session. Only a ban with an end stays.
            parked = kept[name].parked
            ban = parked if parked is not None and parked.until is not None else None
            guard = kept[name].guard.restored(device.look(paths.session(name)).number)
            past = kept[name].past.linked().moved()
            _save(paths, {**kept, name: replace(kept[name], parked=ban, shown=None, guard=guard, past=past)})
    return about


def forget_account(paths: StatePaths, name: str, *, keep_session: bool) -> Path | None:
    """Forget an account; the caller holds the lock of `exclusive`.

    Args:
        paths: The state folder.
        name: The account.
        keep_session: Leave the session in place.

    Returns:
        The folder in quarantine; None if the session stays or there was none.

    Raises:
        StateError: The session cannot be moved, or the state folder cannot be used.
    """
    kept = status.load(paths.status)
    if name in kept:
        _save(paths, {other: entry for other, entry in kept.items() if other != name})
    Tracebacks(paths.tracebacks).forget(name)
    return None if keep_session else quarantine(paths, name, "removed", messages=True)


def quarantine(paths: StatePaths, name: str, reason: str, *, messages: bool = False) -> Path | None:
    """Put a session into quarantine.

    Args:
        paths: The state folder.
        name: The account.
        reason: A word that says why.
        messages: Put the account's messages away, too.

    Returns:
        The folder in quarantine; None if there was neither a session nor messages to move.

    Raises:
        StateError: The session cannot be moved. It stays where it was.
    """
    theirs = paths.message_folder(name) if messages else None
    try:
        place = put_away.put(paths.home(name), paths.quarantine, reason, time.time(), messages=theirs)
    except OSError as error:
        what = "the session and the messages cannot" if messages else "the session cannot"
        at = error.filename if messages and isinstance(error.filename, str) else paths.session(name)
        raise StateError(f"{at}: {what} be moved to quarantine: {error.strerror or error}") from None
    if place is not None:
        quarantine_note.write(paths.quarantine)
    return place


def _save(paths: StatePaths, kept: dict[str, status.Kept]) -> None:
    try:
        status.save(paths.status, kept)
    except OSError as error:
        raise StateError(f"{paths.status}: the file cannot be written: {error.strerror or error}") from None
