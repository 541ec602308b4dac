from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator.gateway.http.crowd import (
    BODY_SECONDS,
    FRESH_SECONDS,
    HEAD_SECONDS,
    REST_SECONDS,
    STALL_SECONDS,
    Crowd,
    Phase,
)


def test_the_client_that_was_silent_longest_makes_room() -> None:
    crowd: Crowd[str] = Crowd(most=4)
    for number, name in enumerate("abcd"):
        assert crowd.arrive(name, name, number).leaves is None
    crowd.enter("a", Phase.BODY, 4)
    crowd.enter("b", Phase.HEAD, 5)  # a byte now and then does not make a client less silent
    assert crowd.arrive("e", "e", 6) == (True, "b")
    assert crowd.phase("b") is None


def test_nobody_comes_in_while_all_are_busy() -> None:
    crowd: Crowd[str] = Crowd(most=2)
    for name in "ab":
        crowd.arrive(name, name, 0)
        crowd.enter(name, Phase.BUSY, 0)
    assert crowd.arrive("c", "c", 1) == (False, None)
    crowd.enter("a", Phase.REST, 2)
    assert crowd.arrive("c", "c", 3) == (True, "a")


def test_one_address_cannot_have_all_the_room_unless_it_is_a_proxy() -> None:
    crowd: Crowd[int] = Crowd(most=8)
    for number in range(4):
        crowd.arrive(number, "one", number)
        crowd.enter(number, Phase.BUSY, number)
    assert crowd.arrive(4, "one", 5) == (False, None)
    assert crowd.arrive(4, "another", 5) == (True, None)
    assert crowd.arrive(5, "one", 6, is_proxy=True) == (True, None)


def test_each_phase_has_its_patience() -> None:
    crowd: Crowd[str] = Crowd(max_body=0)
    patience = {
        Phase.FRESH: FRESH_SECONDS,
        Phase.HEAD: HEAD_SECONDS,
        Phase.BODY: BODY_SECONDS,
        Phase.DRAIN: BODY_SECONDS,
        Phase.REST: REST_SECONDS,
    }
    for phase in patience:
        crowd.arrive(phase.name, "peer", 0)
        crowd.enter(phase.name, phase, 0)
    crowd.arrive("busy", "peer", 0)
    crowd.enter("busy", Phase.BUSY, 0)
    for phase, seconds in patience.items():
        assert (phase.name, phase) not in list(crowd.overdue(seconds))
        assert (phase.name, phase) in list(crowd.overdue(seconds + 0.1))
    assert "busy" not in dict(crowd.overdue(1e9))


def test_a_large_body_has_more_time() -> None:
    crowd: Crowd[str] = Crowd(max_body=64 * 1024 * 100)
    crowd.arrive("a", "peer", 0)
    crowd.enter("a", Phase.BODY, 0)
    assert not list(crowd.overdue(BODY_SECONDS + 100))
    assert list(crowd.overdue(BODY_SECONDS + 101))


def test_a_client_that_does_not_read_goes() -> None:
    crowd: Crowd[str] = Crowd()
    crowd.arrive("a", "peer", 0)
    crowd.enter("a", Phase.BUSY, 0)
    crowd.stall("a", 10)
    crowd.stall("a", 50)
    assert not list(crowd.overdue(10 + STALL_SECONDS))
    assert list(crowd.overdue(11 + STALL_SECONDS)) == [("a", Phase.BUSY)]
    crowd.go_on("a")
    assert not list(crowd.overdue(1e9))


class Any(RuleBasedStateMachine):
    """Clients come, do things and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd: Crowd[int] = Crowd(most=6)
        self.here: dict[int, str] = {}
        self.phases: dict[int, Phase] = {}
        self.next = 0

    @rule(peer=st.sampled_from("xyz"))
    def arrive(self, peer: str) -> None:
        self.next += 1
        arrival = self.crowd.arrive(self.next, peer, self.next)
        if arrival.leaves is not None:
            assert self.phases.pop(arrival.leaves) not in (Phase.BUSY, Phase.BODY)
            del self.here[arrival.leaves]
        if arrival.may_stay:
            self.here[self.next] = peer
            self.phases[self.next] = Phase.FRESH
        else:
            assert all(phase in (Phase.BUSY, Phase.BODY) for client, phase in self.phases.items()
                       if list(self.here.values()).count(peer) < 3 or self.here[client] == peer)  # fmt: skip

    @rule(data=st.data(), phase=st.sampled_from(Phase))
    def enter(self, data: st.DataObject, phase: Phase) -> None:
        if self.here:
            client = data.draw(st.sampled_from(sorted(self.here)))
            self.crowd.enter(client, phase, self.next)
            self.phases[client] = phase

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.here:
            client = data.draw(st.sampled_from(sorted(self.here)))
            self.crowd.leave(client)
            self.crowd.leave(client)
            del self.here[client], self.phases[client]

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.crowd) == len(self.here) <= 6
        for peer in "xyz":
            assert list(self.here.values()).count(peer) <= 3
        for client, phase in self.phases.items():
            assert self.crowd.phase(client) is phase


TestAny = Any.TestCase
TestAny.settings = settings(max_examples=60, stateful_step_count=40)
