"""Shows the accounts while no service runs: from the configuration and from the last known states."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control.outlook import NOT_RUNNING
from orchestrator.control.view import AccountView
from orchestrator.store import sessions, status
from orchestrator.store.layout import StatePaths
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number


def describe(
    settings: Settings, paths: StatePaths, names: Iterable[str] = (), *, reveal: bool = False
) -> list[AccountView]:
    """Return the accounts as a service would show them.

    Args:
        settings: The configuration.
        paths: The state folder.
        names: The accounts that are wanted; none means all.
        reveal: Show phone numbers unmasked, where the configuration has them.

    Raises:
        NoSuchAccount: The configuration does not name one of the accounts.
        StateError: The file of the last known states cannot be read.
    """
    wanted = list(dict.fromkeys(names)) or list(settings.accounts)
    unknown = [name for name in wanted if name not in settings.accounts]
    if unknown:
        raise no_such_account(*unknown, known=settings.accounts, file=settings.config_file)
    kept = status.load(paths.status)
    return [
        _describe(settings.accounts[name], kept.get(name, status.Kept()), reveal=reveal) for name in wanted
    ]


def strays(settings: Settings, paths: StatePaths) -> list[str]:
    """Return a sentence for each session that belongs to no account."""
    if not any(name not in settings.accounts for name in sessions.names(paths.sessions)):
        return []
    from orchestrator.store import moving  # only now: `list` has to start fast

    return moving.about_strays(paths, moving.strays(paths, settings.accounts), settings.accounts)


def _describe(settings: AccountSettings, kept: status.Kept, *, reveal: bool) -> AccountView:
    last = _last(settings.name, kept)
    state, reason, retry_at = _state(settings, kept, last)
    phone = last.phone
    if settings.phone is not None:
        phone = f"+{settings.phone}" if reveal else mask_number(settings.phone)
    return AccountView(
        name=settings.name,
        state=state.value,
        # When the service ended is written nowhere.
        since=last.since if state == last.state and reason != NOT_RUNNING else None,
        reason=reason,
        kind=last.kind if state in (State.BANNED, State.REPLACED, State.FAILED) else None,
        phone=phone,
        next_retry_at=retry_at,
        restarts=last.restarts,
        last_seen_at=last.last_seen_at,
        last_exit=last.last_exit,
    )


def _last(name: str, kept: status.Kept) -> AccountView:
    """Return what a service showed last of an account; a service of another version may have kept that."""
    return AccountView.from_json({"state": "", **(kept.shown or {}), "name": name})


def _state(
    settings: AccountSettings, kept: status.Kept, last: AccountView
) -> tuple[State, str | None, str | None]:
    """Return the state, the reason and the time of the next try."""
    if not settings.enabled:
        return State.DISABLED, None, None
    if kept.stopped:
        return State.STOPPED, "stopped by an operator", None
    if kept.parked is not None:
        return kept.parked.state, kept.parked.reason, iso(kept.parked.until)
    if last.state == State.FAILED:
        return State.FAILED, last.reason, None
    return State.STOPPED, NOT_RUNNING, None
