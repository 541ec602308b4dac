"""What a reload would do: which accounts change by which keys, who reconnects. Pure, and never a value."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from orchestrator.accounts import changes
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings


class Effect(StrEnum):
    """What a reload does to an account."""

    STARTS = "starts"
    STOPS = "stops"
    RECONNECTS = "reconnects"
    """A new process takes the place of the one that the account has. The session stays."""
    STAYS = "stays"
    """The process stays, and does as the new settings say."""
    WAITS = "waits"
    """The account has no process now. Its next one has the new settings."""


class What(StrEnum):
    """What happens to an account in the configuration."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(NamedTuple):
    """What a reload does to one account.

    Attributes:
        name: The account.
        what: What happens in the configuration.
        keys: Which keys change.
        effect: What that does.
    """

    name: str
    what: What
    keys: tuple[str, ...]
    effect: Effect


class Standing(Protocol):
    """What matters of an account."""

    settings: AccountSettings

    @property
    def in_force(self) -> AccountSettings:
        """What it runs with."""

    @property
    def has_process(self) -> bool:
        """Whether it has a process."""

    @property
    def keeps_settings(self) -> bool:
        """Whether it works on with older settings than those of the configuration."""

    def starts_with(self, settings: AccountSettings) -> bool:
        """Tell whether new settings have it start that has no process."""


def plan(accounts: Mapping[str, Standing], after: Settings) -> list[Change]:
    """Return what a reload would do to accounts; those that stay as they are, are left out.

    Args:
        accounts: The accounts of the service.
        after: The configuration that would be read.
    """
    found = []
    for name, settings in after.accounts.items():
        account = accounts.get(name)
        if account is None:
            effect = Effect.STARTS if settings.enabled else Effect.WAITS
            found.append(Change(name, What.ADDED, (), effect))
        elif account.settings != settings or account.keeps_settings:
            keys = changes.keys(account.in_force, settings)
            found.append(Change(name, What.CHANGED, keys, _effect(account, settings)))
    gone = [name for name in accounts if name not in after.accounts]
    return [
        *found,
        *(
            Change(name, What.REMOVED, (), Effect.STOPS if accounts[name].has_process else Effect.WAITS)
            for name in gone
        ),
    ]


def _effect(account: Standing, settings: AccountSettings) -> Effect:
    before = account.in_force
    if not settings.enabled:
        return Effect.STOPS if account.has_process else Effect.WAITS
    if account.has_process:
        return Effect.RECONNECTS if settings.needs_new_process(before) else Effect.STAYS
    return Effect.STARTS if account.starts_with(settings) else Effect.WAITS


def changed_of_all(before: Settings, after: Settings) -> list[str]:
    """Return the keys that are about no account and take effect at a reload at once.

    Args:
        before: What is in force.
        after: What would be.
    """
    keys = {
        "quarantine_days": "quarantine_days",
        "start_parallel": "start.parallel",
        "start_spread": "start.spread",
    }
    return [key for field, key in keys.items() if getattr(before, field) != getattr(after, field)]


def described(accounts: Mapping[str, Standing], before: Settings, after: Settings) -> dict[str, Any]:
    """Return what a reload would do, as plain values.

    Args:
        accounts: The accounts of the service.
        before: The configuration in use.
        after: The configuration that would be read.

    Returns:
        Under ``accounts``, each account that would change, as `Change` has it; ``settings``: the keys of the
        service that take effect at once; ``parallel``: how many accounts may connect at once; and
        ``config_file``: what was read.
    """
    return {
        "accounts": [one._asdict() for one in plan(accounts, after)],
        "settings": changed_of_all(before, after),
        "parallel": after.start_parallel,
        "config_file": str(after.config_file),
    }
