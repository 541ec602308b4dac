"""What can be said of the accounts while no service runs: by the configuration and what the last one kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.accounts.characters import remark
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control.outlook import NOT_RUNNING
from orchestrator.errors import NoSuchAccount
from orchestrator.store import sessions, status
from orchestrator.store.layout import StatePaths
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number


def describe(
    settings: Settings, paths: StatePaths, names: Iterable[str] = (), *, reveal: bool = False
) -> list[dict[str, Any]]:
    """Return the accounts as `status.describe` does.

    Args:
        settings: The configuration.
        paths: The state folder.
        names: Which accounts; none for all.
        reveal: Show phone numbers unmasked, where the configuration has them.

    Raises:
        NoSuchAccount: The configuration has none of that name.
        StateError: What was kept cannot be read.
    """
    wanted = list(dict.fromkeys(names)) or list(settings.accounts)
    unknown = [name for name in wanted if name not in settings.accounts]
    if unknown:
        named = ", ".join(f"{name!r}{remark(name)}" for name in unknown)
        raise NoSuchAccount(
            f"there is no account {named} in {settings.config_file}; `orchestrator list` shows them"
        )
    kept = status.load(paths.status)
    return [
        _describe(settings.accounts[name], kept.get(name, status.Kept()), reveal=reveal) for name in wanted
    ]


def strays(settings: Settings, paths: StatePaths) -> list[str]:
    """Return what is to be said of sessions that no account has, a sentence each."""
    if not any(name not in settings.accounts for name in sessions.names(paths.sessions)):
        return []
    from orchestrator.store import moving  # only then: this is on the way of a command that is to be fast

    return moving.about_strays(paths, moving.strays(paths, settings.accounts), settings.accounts)


def _describe(settings: AccountSettings, kept: status.Kept, *, reveal: bool) -> dict[str, Any]:
    shown = kept.shown or {}
    state, reason, retry_at = _state(settings, kept)
    phone = shown.get("phone")
    if settings.phone is not None:
        phone = f"+{settings.phone}" if reveal else mask_number(settings.phone)
    return {
        "name": settings.name,
        "state": state.value,
        # When the service ended is written nowhere.
        "since": shown.get("since") if state == shown.get("state") and reason != NOT_RUNNING else None,
        "reason": reason,
        "kind": shown.get("kind") if state in (State.BANNED, State.REPLACED, State.FAILED) else None,
        "phone": phone,
        "pid": None,
        "attempt": 0,
        "next_retry_at": retry_at,
        "held": False,
        "restarts": shown.get("restarts", 0),
        "uptime_s": None,
        "last_seen_at": shown.get("last_seen_at"),
        "qr_path": None,
        "qr_expires_at": None,
        "memory_bytes": None,
        "last_exit": shown.get("last_exit"),
    }


def _state(settings: AccountSettings, kept: status.Kept) -> tuple[State, str | None, str | None]:
    """Return state, reason and time of the next try."""
    shown = kept.shown or {}
    if not settings.enabled:
        return State.DISABLED, None, None
    if kept.stopped:
        return State.STOPPED, "stopped by an operator", None
    if kept.parked is not None:
        return kept.parked.state, kept.parked.reason, iso(kept.parked.until)
    if shown.get("state") == State.FAILED:
        return State.FAILED, shown.get("reason"), None
    return State.STOPPED, NOT_RUNNING, None
