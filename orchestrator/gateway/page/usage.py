"""How much of a core each account's process takes, from two looks at its CPU time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator.control.view import AccountView

LEAST_SECONDS: Final = 5.0
"""Seconds between two looks of which a percentage is made: what is told is up to two seconds old."""
MOST_SECONDS: Final = 120.0
"""Seconds after which an earlier look says nothing about the present any more."""


@dataclass(slots=True)
class _Look:
    """What was seen of a process: which one, when, its CPU seconds, and the percentage that came of it."""

    pid: int
    at: float
    cpu: float
    percent: float | None = None


class Use:
    """The processes of all accounts."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    def of(self, view: AccountView, now: float) -> float | None:
        """Take in how an account is, and return what percentage of a core its process takes.

        Args:
            view: The account, as it was just described.
            now: Seconds that never go back.

        Returns:
            None while there is no process, or too little is known of it.
        """
        if view.pid is None or view.cpu_s is None:
            self._looks.pop(view.name, None)
            return None
        before = self._looks.get(view.name)
        if before is None or before.pid != view.pid or view.cpu_s < before.cpu:
            self._looks[view.name] = _Look(view.pid, now, view.cpu_s)
            return None
        passed = now - before.at
        if passed < LEAST_SECONDS:
            return before.percent
        percent = None if passed > MOST_SECONDS else 100 * (view.cpu_s - before.cpu) / passed
        self._looks[view.name] = _Look(view.pid, now, view.cpu_s, percent)
        return percent

    def known(self, view: AccountView) -> float | None:
        """Return what `of` has found last; how an account is was not described anew since then.

        Args:
            view: The account.
        """
        look = self._looks.get(view.name)
        return None if look is None or look.pid != view.pid else look.percent

    def forget(self, gone: Iterable[str]) -> None:
        """Forget accounts that are gone."""
        for name in gone:
            self._looks.pop(name, None)
