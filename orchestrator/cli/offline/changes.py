"""Changes to the state folder while no service runs. The lock keeps a service from starting meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from orchestrator.accounts.guard import refuse_any_phone
from orchestrator.accounts.names import no_such_account
from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.store import status
from orchestrator.store.moving import Restored
from orchestrator.store.protocols import Store
from orchestrator.store.tracebacks import Tracebacks


@contextmanager
def exclusive(store: Store, what: str, settings: Settings | None = None) -> Iterator[None]:
    """Let this process alone own the accounts.

    Args:
        store: What is kept of them.
        what: What this process does, for others that find the accounts taken.
        settings: The configuration, if interrupted changes are to be finished first.

    Raises:
        AlreadyRunning: Another process owns them.
        StateError: The state folder cannot be used.
    """
    from orchestrator.service import ways

    ways.check_state_for_root(store.paths)
    store.paths.prepare()
    with store.ownership.take(what):
        store.moves.clear_up(settings)
        yield


def forget_session(store: Store, settings: Settings, name: str, *, any_phone: bool = False) -> str | None:
    """Put an account's session into quarantine, so that the service pairs the account anew.

    Like any repair, this ends an operator's stop and a ban.

    Args:
        store: What is kept of the accounts.
        settings: The configuration.
        name: The account.
        any_phone: Let any phone be linked next, and not only the one that the account had.

    Returns:
        Where the session is now, for people; None if there was no session.

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
    with exclusive(store, f"repairs {name}", settings):
        kept = store.record.load()
        known = kept.get(name, status.Kept())
        # Written first: the session that tells which phone it was is about to go.
        number = store.sessions.device(name).number
        guard = known.guard.open_to_any() if any_phone else known.guard.found(number)
        store.record.save({**kept, name: replace(known, guard=guard)})
        place = _quarantine(store, name, "repair")
        wishes = replace(known, stopped=False, parked=None, shown=None, guard=guard, past=known.past.moved())
        store.record.save({**kept, name: wishes})
    return place


def restore(store: Store, settings: Settings, name: str, wanted: str | None) -> Restored:
    """Put an account's session back from quarantine; `Moves.check_restore` explains ``wanted``.

    Raises:
        NoSuchAccount: Neither an account nor a session has this name.
        AlreadyRunning: A service runs after all.
        StateError: The session cannot be moved, or the state folder cannot be used.
        OrchestratorError: There is no such session, the account has a session, or another account has this
            session.
    """
    with exclusive(store, f"restores {name}", settings):
        task, about = store.moves.check_restore(settings, name, wanted)
        store.moves.begin(task)
        store.moves.finish(settings)
        kept = store.record.load()
        if name in kept:
            # What parked the account was about its former session. Only a ban with an end stays.
            parked = kept[name].parked
            ban = parked if parked is not None and parked.until is not None else None
            guard = kept[name].guard.restored(store.sessions.device(name).number)
            past = kept[name].past.linked().moved()
            wishes = replace(kept[name], parked=ban, shown=None, guard=guard, past=past)
            store.record.save({**kept, name: wishes})
    return about


def forget_account(store: Store, name: str, *, keep_session: bool) -> str | None:
    """Forget an account; the caller is in the context of `exclusive`.

    Args:
        store: What is kept of the accounts.
        name: The account.
        keep_session: Leave the session in place.

    Returns:
        Where it is in quarantine, for people; None if the session stays or there was none.

    Raises:
        StateError: The session cannot be moved, or the state folder cannot be used.
    """
    kept = store.record.load()
    if name in kept:
        store.record.save({other: entry for other, entry in kept.items() if other != name})
    Tracebacks(store.paths.tracebacks).forget(name)
    return None if keep_session else _quarantine(store, name, "removed", messages=True)


def _quarantine(store: Store, name: str, reason: str, *, messages: bool = False) -> str | None:
    """Put a session into quarantine.

    Args:
        store: What is kept of the accounts.
        name: The account.
        reason: A word that says why.
        messages: Put the account's messages away, too.

    Returns:
        Where it is now, for people; None if there was neither a session nor messages to move.

    Raises:
        StateError: The session cannot be moved. It stays where it was.
    """
    try:
        return store.sessions.quarantine(name, reason, time.time(), messages=messages)
    except StateError as error:
        what = "the session and the messages cannot" if messages else "the session cannot"
        raise StateError(f"{name}: {what} be moved to quarantine: {error}") from None
