"""Accounts that are disabled until a time are enabled at that time.

An account whose time has passed while no service ran is read as enabled, so it needs nothing of this.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.accounts.events import Configured
from orchestrator.accounts.settings import AccountSettings
from orchestrator.service.machines import Machines
from orchestrator.service.roster import Roster
from orchestrator.service.timers import Timers, now

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""How often accounts that wait are looked at: somebody may set the clock meanwhile."""


def due(
    accounts: Mapping[str, AccountSettings], at: float
) -> tuple[dict[str, AccountSettings], float | None]:
    """Return the accounts whose time has come, with the settings that follow, and when the next one is due.

    Args:
        accounts: What is in force, by name.
        at: Unix time.

    Returns:
        The settings that are to be in force now, by name; and a Unix time, None if nobody waits.
    """
    waiting = {
        name: one for name, one in accounts.items() if one.disabled_until is not None and not one.enabled
    }
    ready = {name: one.at(at) for name, one in waiting.items() if one.at(at).enabled}
    left = [one.disabled_until for name, one in waiting.items() if name not in ready]
    return ready, min((until for until in left if until is not None), default=None)


class Enabling:
    """Enables accounts at their time.

    Args:
        roster: The accounts.
        machines: Their machines.
        timers: What is planned.
    """

    def __init__(self, roster: Roster, machines: Machines, timers: Timers) -> None:
        self._roster = roster
        self._machines = machines
        self._timers = timers

    def look(self) -> None:
        """Enable accounts whose time has come, and look again when the next one's has."""
        settings, at = self._roster.settings, now().wall
        ready, next_at = due(settings.accounts, at)
        if ready:
            self._roster.settings = replace(settings, accounts={**settings.accounts, **ready})
        for name, account in ready.items():
            log.info("%s: the time of `disabled_until` has come: the account is enabled", name)
            self._machines.handle(name, Configured(account))
        self._timers.cancel("enable")
        if next_at is not None and not self._machines.closing:
            self._timers.later("enable", min(LOOK_SECONDS, max(0.0, next_at - at)), self.look)
