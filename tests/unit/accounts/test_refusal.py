"""Several machines under one clock, while WhatsApp refuses the client: one account in all tries at a time."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.world import World

from orchestrator.accounts import fleet
from orchestrator.accounts.among_machines import AmongMachines
from orchestrator.accounts.breaker import PROBE_FIRST, PROBE_LAST
from orchestrator.accounts.events import Order
from orchestrator.accounts.refusal import PROBING_SECONDS, Probe, Refusal, Word, hear
from orchestrator.accounts.states import State

EVERY = 3.0
"""Seconds between two words of a machine."""
SLOWLY = 12.0
"""The same where a day passes."""


class Machines:
    """Machines that share a note about the version.

    Attributes:
        worlds: The machines, by name.
        silent: Machines that cannot tell the others anything at the moment.
        note: What all know.
    """

    def __init__(self, machines: int, each: int, seed: int = 1) -> None:
        self.worlds = {
            f"m{machine}": World(*(f"m{machine}a{number}" for number in range(each)), seed=seed + machine)
            for machine in range(machines)
        }
        self.among = {
            name: AmongMachines(world.fleet, world.accounts, world.news.append)
            for name, world in self.worlds.items()
        }
        self.silent: set[str] = set()
        self.note: Refusal | None = None

    @property
    def now(self) -> float:
        return next(iter(self.worlds.values())).now

    def run(self, seconds: float, every: float = EVERY) -> None:
        end = self.now + seconds
        while self.now < end:
            for name, world in self.worlds.items():
                world.run(every)
                word = self.among[name].word()
                if name in self.silent:
                    self.among[name].unheard(word)
                    continue
                self.note = hear(self.note, word, name, world.now)
                self.among[name].heard(self.note, name, world.now, world.now)
                world.dispatch()

    def refuse(self, *, outdated: bool = True) -> None:
        for world in self.worlds.values():
            world.outdated = outdated

    def restart(self) -> None:
        for world in self.worlds.values():
            for name in world.accounts:
                world.order(name, Order.RESTART)

    def lose(self, name: str) -> None:
        """Switch a machine off."""
        del self.worlds[name]

    def states(self) -> set[State]:
        return {state for world in self.worlds.values() for state in world.states()}

    def starts(self, then: float) -> list[tuple[float, str]]:
        return sorted(start for world in self.worlds.values() for start in world.starts if start[0] >= then)


def held(machines: Machines) -> float:
    """Have WhatsApp refuse everybody, and return the time from which on all wait."""
    machines.refuse()
    machines.run(60)
    assert machines.states() == {State.OUTDATED}
    return machines.now


@pytest.mark.parametrize("seed", range(5))
def test_two_accounts_of_different_machines_hold_all_of_them(seed: int) -> None:
    machines = Machines(4, 1, seed)
    machines.refuse()
    machines.run(30)
    assert machines.states() == {State.OUTDATED}
    assert machines.note is not None
    assert machines.note.holds
    for world in machines.worlds.values():
        assert world.news[-1].startswith(fleet.OUTDATED)
        assert world.news.count(world.news[-1]) == 1


def test_the_word_of_one_account_holds_nobody() -> None:
    machines = Machines(3, 3)
    machines.run(60)
    machines.note = hear(machines.note, Word(refused=frozenset({"m0a0"})), "m0", machines.now)
    machines.run(60)
    for name in ("m1", "m2"):
        assert machines.worlds[name].states() == {State.CONNECTED}


def test_one_account_in_all_tries_and_ever_more_seldom() -> None:
    machines = Machines(4, 3)
    then = held(machines)
    machines.run(24 * 3600, SLOWLY)
    starts = [at for at, _ in machines.starts(then)]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert starts[0] > then + PROBE_FIRST - 120
    assert len(starts) == 7, "after 15 min, 30, 1 h, 2 h, 4 h, 6 h ..."
    assert all(after > before * 1.5 or after > PROBE_LAST - 60 for before, after in itertools.pairwise(gaps))
    assert all(len(records) < 30 for world in machines.worlds.values() for records in world.records.values())


@pytest.mark.parametrize("seed", range(5))
def test_all_return_once_one_is_let_in_on_whichever_machine(seed: int) -> None:
    machines = Machines(4, 5, seed)
    then = held(machines)
    machines.refuse(outdated=False)
    machines.run(PROBE_FIRST)
    first = machines.starts(then)[0][0]
    machines.run(first + 60 - machines.now)
    assert machines.states() == {State.CONNECTED}
    assert machines.note is None
    assert all(world.news[-1] == fleet.ACCEPTED for world in machines.worlds.values())
    assert len(machines.starts(then)) == 20, "each once"


def test_an_account_that_an_operator_starts_sets_all_machines_free() -> None:
    machines = Machines(3, 3)
    held(machines)
    machines.refuse(outdated=False)
    machines.worlds["m1"].order("m1a2", Order.START, by_name=True)
    machines.run(60)
    assert machines.states() == {State.CONNECTED}


@pytest.mark.parametrize("how", ["lost", "silent"])
def test_another_machine_tries_when_that_is_lost_whose_turn_it_is(how: str) -> None:
    machines = Machines(3, 3)
    held(machines)
    while machines.note is None or machines.note.canary is None:
        machines.run(EVERY)
    first = machines.note.canary
    machines.silent.add(first)
    if how == "lost":
        machines.lose(first)
    machines.refuse(outdated=False)
    then = machines.now
    machines.run(PROBING_SECONDS + 10)
    assert machines.starts(then)[0][1][:2] != first or how == "silent"
    machines.run(60)
    others = {state for name, one in machines.worlds.items() if name != first for state in one.states()}
    assert others == {State.CONNECTED}
    machines.silent.clear()
    machines.run(60)
    assert machines.states() == {State.CONNECTED}


def test_a_machine_with_another_version_waits_for_nobody() -> None:
    machines = Machines(3, 3)
    held(machines)
    world = machines.worlds["m2"]
    world.outdated = False
    machines.silent.add("m2")  # its notes are those of another version from now on
    world.fleet.updated(world.now)
    world.dispatch()
    machines.run(60)
    assert world.states() == {State.CONNECTED}
    assert machines.worlds["m0"].states() == {State.OUTDATED}


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_to_the_machines_all_return(seed: int) -> None:
    chance = random.Random(seed)
    machines = Machines(chance.randint(2, 4), chance.randint(1, 3), seed % 1000)
    machines.run(chance.uniform(0, 20))
    machines.refuse()
    if chance.random() < 0.5:
        machines.restart()
    for _ in range(chance.randint(1, 6)):
        machines.run(chance.choice([5, 60, 900, 4000]), SLOWLY)
        machines.silent = {name for name in machines.worlds if chance.random() < 0.3}
        if len(machines.worlds) > 1 and chance.random() < 0.2:
            machines.lose(chance.choice(list(machines.worlds)))
        if chance.random() < 0.3:
            world = machines.worlds[chance.choice(list(machines.worlds))]
            name = chance.choice(list(world.accounts))
            world.order(name, chance.choice([Order.STOP, Order.RESTART]))
            machines.run(10)
            world.order(name, Order.START)
    machines.silent.clear()
    machines.refuse(outdated=False)
    until = machines.now + 2 * PROBE_LAST + 300
    while machines.states() != {State.CONNECTED} and machines.now < until:
        machines.run(60, SLOWLY)
    assert machines.states() == {State.CONNECTED}
    assert machines.note is None or not machines.note.holds


WORDS = st.builds(
    Word,
    accepted=st.booleans(),
    refused=st.frozensets(st.sampled_from(["a", "b", "c"])),
    probe=st.sampled_from(Probe),
    soon=st.none() | st.floats(0, 1000),
    wants=st.booleans(),
    canary=st.none() | st.sampled_from(["a", "b", "c"]),
)


@given(words=st.lists(st.tuples(WORDS, st.sampled_from("xyz"), st.floats(0, 5000)), max_size=30))
def test_nobody_takes_the_turn_of_another_and_a_word_told_twice_is_told_once(
    words: list[tuple[Word, str, float]],
) -> None:
    note: Refusal | None = None
    at = 0.0
    for word, who, later in words:
        at += later
        before = note
        note = hear(note, word, who, at)
        if note is None:
            assert word.accepted or before is None
            continue
        assert len(note.refused) <= 2
        assert note.holds is (len(note.refused) == 2)
        assert (note.canary is None) is (note.until is None)
        assert not note.holds or PROBE_FIRST <= note.wait <= PROBE_LAST
        if before is not None and before.canary not in (None, note.canary):
            # It has given its turn back, or has said nothing for long, or all is well.
            assert word.accepted or who == before.canary or (before.until or 0) <= at
        if note.canary is not None and note != before:
            assert (note.until or 0) == at + PROBING_SECONDS
        again = hear(note, replace(word, accepted=False), who, at)
        assert again is not None
        assert again.refused == note.refused


@given(first=WORDS, second=WORDS)
def test_two_words_in_one_say_the_same_as_one_after_the_other(first: Word, second: Word) -> None:
    first, second = replace(first, probe=Probe.NONE), replace(second, probe=Probe.NONE)
    after = hear(hear(None, first, "x", 1.0), second, "x", 1.0)
    one = hear(None, first.before(second), "x", 1.0)
    assert _said(one) == _said(after)


def _said(note: Refusal | None) -> tuple[bool, int] | None:
    return None if note is None else (note.holds, len(note.refused))
