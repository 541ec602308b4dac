"""How accounts were over the last hours: compared with a slow way that looks at every moment."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.accounts.states import WORST_FIRST, State
from orchestrator.accounts.strips import MOST_CHANGES, MOST_HOURS, SLOTS, Strip, slots_until

BEGIN, SLOT, COUNT = 1000, 10, 12
states = st.sampled_from([str(state) for state in State])
changes = st.lists(st.tuples(st.integers(900, 1140), states), max_size=12)


def strip_of(history: list[tuple[int, str]], first: str | None = None) -> Strip:
    strip, before = Strip(0), first
    for at, state in history:
        strip.add(at, before, state)
        before = state
    if not history and first:
        strip.stay(first)
    return strip


def in_full(runs: list[tuple[int, str]]) -> list[str | None]:
    """Return the state of each slot."""
    found: list[str | None] = [None] * COUNT
    for number, (slot, state) in enumerate(runs):
        end = runs[number + 1][0] if number + 1 < len(runs) else COUNT
        found[slot:end] = [state] * (end - slot)
    return found


def simply(history: list[tuple[int, str]], first: str | None, now: int) -> list[str | None]:
    """Return the worst state of each slot: of that at its beginning, and of each change in it."""
    found: list[str | None] = []
    for begin in range(BEGIN, BEGIN + COUNT * SLOT, SLOT):
        before = [first, *(state for at, state in history if at < begin)][-1]
        within = [state for at, state in history if begin < at < begin + SLOT and at <= now]
        seen = [state for state in (before, *within) if state is not None and begin <= now]
        found.append(min(seen, key=lambda one: WORST_FIRST.index(State(one)), default=None))
    return found


@settings(max_examples=1500, deadline=None)
@given(changes, st.none() | states, st.integers(1001, 1119))
def test_each_slot_has_its_worst_state(history: list[tuple[int, str]], first: str | None, now: int) -> None:
    # Nothing happens at the very edge of a slot, where a change belongs to both.
    history = [(at + (at % SLOT == 0), state) for at, state in sorted(history, key=lambda one: one[0])]
    now += now % SLOT == 0
    runs = strip_of(history, first).runs(BEGIN, SLOT, COUNT, now)
    last = (now - BEGIN) // SLOT
    assert in_full(runs)[: last + 1] == simply(history, first, now)[: last + 1]
    assert [slot for slot, _ in runs] == sorted({slot for slot, _ in runs})
    assert all(before[1] != after[1] for before, after in pairwise(runs)), "a run is as long as it can be"
    assert all(slot <= last for slot, _ in runs), "nothing is told of the future"


def test_a_moment_of_trouble_colors_its_whole_slot() -> None:
    strip = strip_of([(1001, "connected"), (1043, "backoff"), (1044, "connected")])
    assert strip.runs(BEGIN, SLOT, COUNT, 1119) == [(0, "connected"), (4, "backoff"), (5, "connected")]


def test_of_a_time_before_the_first_change_nothing_is_known() -> None:
    strip = strip_of([(1051, "starting"), (1052, "connected")])
    assert strip.runs(BEGIN, SLOT, COUNT, 1119) == [(5, "starting"), (6, "connected")]


def test_an_account_that_did_not_change_is_as_it_is() -> None:
    assert strip_of([], "connected").runs(BEGIN, SLOT, COUNT, 1119) == [(0, "connected")]
    assert Strip(0).runs(BEGIN, SLOT, COUNT, 1119) == []


@pytest.mark.parametrize("word", ["", "hibernating", "CONNECTED", "<b>"])
def test_a_word_of_another_version_says_nothing(word: str) -> None:
    strip = strip_of([(1001, "connected")])
    strip.add(1050, "connected", word)
    assert strip.runs(BEGIN, SLOT, COUNT, 1119) == [(0, "connected")]
    strip = Strip(0)
    strip.add(1050, word, "backoff")
    assert strip.runs(BEGIN, SLOT, COUNT, 1119) == [(5, "backoff")]


def test_a_clock_that_was_set_back_keeps_the_order() -> None:
    strip = strip_of([(1030, "connected"), (1010, "backoff"), (1100, "connected")])
    assert strip.runs(BEGIN, SLOT, COUNT, 1119) == [(3, "backoff"), (11, "connected")]


def test_a_clock_that_was_ahead_paints_no_future() -> None:
    strip = strip_of([(1010, "connected"), (5000, "backoff")])
    assert strip.runs(BEGIN, SLOT, COUNT, 1055) == [(1, "connected")]
    assert in_full(strip.runs(BEGIN, SLOT, COUNT, 1055))[1] == "connected"


@settings(max_examples=300, deadline=None)
@given(changes, st.integers(900, 1140))
def test_to_forget_changes_nothing_that_came_later(history: list[tuple[int, str]], at: int) -> None:
    history = sorted(history)
    whole, part = strip_of(history, "stopped"), strip_of(history, "stopped")
    part.forget_before(at)
    assert part.last == whole.last
    assert part.since == at
    later = BEGIN + ((at - BEGIN) // SLOT + 1) * SLOT
    assert part.runs(later, SLOT, COUNT, 1200) == whole.runs(later, SLOT, COUNT, 1200)


def test_no_more_is_remembered_than_is_needed() -> None:
    strip = Strip(0)
    for number in range(MOST_CHANGES + 500):
        strip.add(number, None, "connected" if number % 2 else "backoff")
    assert len(strip._times) == len(strip._states) == MOST_CHANGES


@given(st.floats(0, 8e9), st.integers(1, MOST_HOURS))
def test_the_slots_reach_far_enough_and_have_now_in_the_last(now: float, hours: int) -> None:
    begin, slot = slots_until(now, hours)
    assert begin % slot == 0
    assert begin + (SLOTS - 1) * slot <= now < begin + SLOTS * slot
    assert SLOTS * slot >= hours * 3600
    assert slots_until(begin + (SLOTS - 1) * slot, hours) == (begin, slot), "the same within the slot"
