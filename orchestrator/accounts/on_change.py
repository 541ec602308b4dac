"""What the configuration says under ``on_change``: which program hears of which changes, how often. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.accounts.states import State

NEEDS_PERSON: Final = "needs_person"
"""Something about the account needs a person; see `control.attention`."""
DOWN: Final = "down"
"""The account is to run and is not connected."""
RESOLVED: Final = "resolved"
"""What was told of an account before, that it needs a person or is down, is over."""
WORDS: Final = (NEEDS_PERSON, DOWN, RESOLVED, *(state.value for state in State))
"""What can be told: conditions of an account, then its states."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may happen.

    Attributes:
        times: How many times.
        seconds: Within how many seconds.
    """

    times: int
    seconds: float


_CALLS: Final = Rate(12, 3600.0)
_OF_ONE: Final = Rate(6, 3600.0)


@dataclass(frozen=True, slots=True)
class OnChange:
    """Who is told of changes, of which ones, and how often.

    Attributes:
        run: The program, by its absolute path, and its arguments.
        when: Words of `WORDS`.
        lasts: Seconds that a change lasts before it is told.
        at_most: How often the program is called.
        at_most_each: How many changes of one account are told.
        timeout: Seconds after which the program is killed.
        accounts: The accounts it is about, None for all.
        env: Variables of the program's environment beside the usual ones.
    """

    run: tuple[str, ...]
    when: tuple[str, ...] = (NEEDS_PERSON, RESOLVED)
    lasts: float = 60.0
    at_most: Rate = _CALLS
    at_most_each: Rate = _OF_ONE
    timeout: float = 30.0
    accounts: frozenset[str] | None = None
    env: tuple[tuple[str, str], ...] = ()
