"""An account sends once what had waited for it is decrypted, or after a while."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.worker.catching_up import SECONDS, CatchingUp
from orchestrator.worker.loop import Loop
from orchestrator.worker.machine import Phase


def test_it_waits_for_what_had_waited() -> None:
    one = CatchingUp()
    assert not one.may_send(1.0, online=False)
    assert not one.may_send(2.0, online=True)
    assert one.due == 2.0 + SECONDS
    assert not one.may_send(3.0, online=True)
    one.caught_up()
    assert one.may_send(4.0, online=True)
    assert one.due is None


def test_the_word_of_it_may_come_first() -> None:
    one = CatchingUp()
    one.caught_up()
    assert not one.may_send(1.0, online=False)
    assert one.may_send(2.0, online=True)


def test_it_does_not_wait_for_ever() -> None:
    one = CatchingUp()
    assert not one.may_send(1.0, online=True)
    assert not one.may_send(0.9 + SECONDS, online=True)
    assert one.may_send(1.0 + SECONDS, online=True)
    assert one.may_send(1.1 + SECONDS, online=True)
    assert one.due is None


def test_each_link_has_its_own() -> None:
    one = CatchingUp()
    one.may_send(1.0, online=True)
    one.caught_up()
    assert one.may_send(2.0, online=True)
    assert not one.may_send(3.0, online=False)
    assert not one.may_send(4.0, online=True)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["on", "off", "caught up"])), max_size=60))
def test_who_is_connected_sends_within_the_time_and_nobody_else_does(steps: list[tuple[float, str]]) -> None:
    one, now, online, since = CatchingUp(), 0.0, False, 0.0
    for passed, what in steps:
        now += passed
        if what == "caught up":
            one.caught_up()
        elif (what == "on") is not online:
            online, since = what == "on", now
        may = one.may_send(now, online=online)
        assert online or not may
        if online and now - since >= SECONDS:
            assert may
        assert (one.due is not None) is (online and not may)


class Client:
    """A library that is connected, and whose WhatsApp never says that all has been delivered."""

    logged_in = True
    oldest_callback = None

    def own_addresses(self) -> None:
        return None


def test_the_loop_waits_as_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps meanwhile, and is not late."""
    told: list[str] = []
    sender = SimpleNamespace(online=told.append, offline=lambda: told.append("offline"))
    course: Any = SimpleNamespace(phase=Phase.ONLINE, due=None)
    inbox: Any = SimpleNamespace(take=list)
    link: Any = SimpleNamespace(pump=lambda: None)
    tools: Any = SimpleNamespace(sender=sender)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    loop = Loop(course, link, inbox, None, tools)
    loop._client = Client()  # type: ignore[assignment]
    loop._next_beat = now[0] + 1e6
    loop._turn([])
    assert told == []
    assert loop._patience() == SECONDS
    now[0] += loop._patience()
    loop._turn([])
    assert told == [""]
    assert loop._patience() > SECONDS
    course.phase = Phase.LOST
    loop._turn([])
    assert told == ["", "offline"]
