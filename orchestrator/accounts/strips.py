"""How accounts were over the last hours, in slots of equal length, each with the worst state in it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, TypeAlias

from orchestrator.accounts.states import WORST_FIRST, State

MOST_HOURS: Final = 168
"""How far back anybody may look."""
SLOTS: Final = 288
"""How many slots the time is cut into: five minutes each for a day."""
MOST_CHANGES: Final = 20_000
"""How many changes of one account are remembered: more than a history on disk has."""
_BADNESS: Final = {state: len(WORST_FIRST) - place for place, state in enumerate(WORST_FIRST)}

Runs: TypeAlias = list[tuple[int, str]]
"""From which slot on the worst state of each slot is which."""


def slots_until(now: float, hours: int) -> tuple[int, int]:
    """Return the Unix second at which the first slot begins, and how many seconds each slot lasts.

    The slots lie on whole multiples of their length, so that they are the same whenever somebody asks. The
    last one has the present moment in it.

    Args:
        now: Unix seconds.
        hours: How far back to look, 1 to `MOST_HOURS`.
    """
    slot = -(-hours * 3600 // SLOTS)  # whole, and rather too long than too short
    return (int(now) // slot - SLOTS + 1) * slot, slot


class Strip:
    """The states of one account over time.

    Args:
        since: Unix time from which on its changes are known.
    """

    def __init__(self, since: float) -> None:
        self.since = since
        self._times: list[float] = []
        self._states: list[State] = []
        self._first: State | None = None

    def add(self, at: float, before: str | None, after: str) -> None:
        """Take in a change. Words that no state has, and changes that change nothing, say nothing.

        Args:
            at: When, in Unix seconds. If the clock was set back, that is taken for the time of the change
                before.
            before: The state until then.
            after: The state since.
        """
        if not self._times and self._first is None:
            self._first = _state(before)
        state = _state(after)
        if state is None or state is self.last:
            return
        self._times.append(max(at, self._times[-1]) if self._times else at)
        self._states.append(state)
        if len(self._times) > MOST_CHANGES:
            self._drop(len(self._times) - MOST_CHANGES)

    def stay(self, state: str) -> None:
        """Note in which state the account is, if no change of it is known."""
        if self.last is None:
            self._first = _state(state)

    @property
    def last(self) -> State | None:
        """The state after the last change, None if no state is known."""
        return self._states[-1] if self._states else self._first

    def forget_before(self, at: float) -> None:
        """Forget the changes before a Unix time, but not the state that they led to."""
        self._drop(bisect_right(self._times, at))
        self.since = max(self.since, at)

    def _drop(self, count: int) -> None:
        if count:
            self._first = self._states[count - 1]
            del self._times[:count], self._states[:count]

    def runs(self, begin: float, slot: float, count: int, now: float) -> Runs:
        """Return the worst state of each slot, one entry where it is another than in the slot before.

        Args:
            begin: Unix time at which the first slot begins.
            slot: Seconds that each lasts.
            count: How many there are.
            now: Unix time at which the present state ends: later slots have none.
        """
        worst: list[State | None] = [None] * count
        first = bisect_right(self._times, begin)
        state = self._states[first - 1] if first else self._first
        at = begin
        for number in range(first, len(self._times) + 1):
            after = self._times[number] if number < len(self._times) else now
            if state is not None:
                _paint(worst, state, int((at - begin) // slot), int((min(after, now) - begin) // slot))
            if number == len(self._times) or after > now:  # the clock was set back
                break
            at, state = after, self._states[number]
        return _in_runs(worst)


def _paint(worst: list[State | None], state: State, first: int, last: int) -> None:
    """Note that an account was in a state in all slots from one to another."""
    for number in range(max(0, first), min(last, len(worst) - 1) + 1):
        present = worst[number]
        if present is None or _BADNESS[state] > _BADNESS[present]:
            worst[number] = state


def _in_runs(worst: list[State | None]) -> Runs:
    runs: Runs = []
    before: State | None = None
    for number, state in enumerate(worst):
        if state is not None and state is not before:
            runs.append((number, state.value))
        before = state or before
    return runs


def _state(word: str | None) -> State | None:
    try:
        return State(word) if word else None
    except ValueError:
        return None  # a state of another version
