"""How an account stands with its sending: what its desk remembers, said before the desk says it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import DAY
from orchestrator.sending.desk import Desk
from orchestrator.sending.memory import Memory
from orchestrator.sending.pacing import Flow, Pacer
from orchestrator.sending.restrictions import NOT_TO_STRANGERS, TOO_MANY, Restrictions, Stretch
from orchestrator.sending.row import Pace
from orchestrator.sending.standing import standing
from orchestrator.sending.steps import Closed
from orchestrator.sending.turns import CLOSED

NOW = 1_800_000_000.0


def memory(flow: Flow | None = None, new: Stretch | None = None, all_of_them: Stretch | None = None) -> str:
    parts: dict[str, Flow | Stretch] = {
        "flow": flow or Flow(),
        "new": new or Stretch(),
        "all": all_of_them or Stretch(),
    }
    return json.dumps({key: value.as_json() for key, value in parts.items()})


def allowances(text: str | None, **settings: Any) -> dict[str, tuple[int | None, int | None, float | None]]:  # noqa: ANN401
    found = standing(Sending(**settings), text, NOW)
    return {one.pace.value: (one.left, one.most, one.next_at) for one in found.allowances}


@pytest.mark.parametrize("text", [None, "", "nonsense", "{}", "[]", memory()])
def test_an_account_that_has_sent_nothing_may_send(text: str | None) -> None:
    assert allowances(text) == {"reply": (None, None, NOW), "known": (5, 5, NOW), "new": (20, 20, NOW)}
    assert standing(Sending(), text, NOW).locks == ()


def test_without_pacing_nothing_limits_the_number() -> None:
    busy = memory(Flow(NOW + 20, NOW + 40, (NOW - 5,), NOW - DAY))
    assert set(allowances(busy, pacing="off").values()) == {(None, None, NOW)}


@pytest.mark.parametrize(
    ("known", "left", "next_at"),
    [
        (NOW - 100, 5, NOW), (NOW, 5, NOW), (NOW + 1, 4, NOW), (NOW + 4, 4, NOW), (NOW + 4.5, 3, NOW),
        (NOW + 16, 1, NOW), (NOW + 17, 0, NOW + 1), (NOW + 20, 0, NOW + 4), (NOW + 9999, 0, NOW + 4),
    ],
)  # fmt: skip
def test_tokens_of_known_chats(known: float, left: int, next_at: float) -> None:
    assert allowances(memory(Flow(known=known)))["known"] == (left, 5, next_at)


def test_new_chats_of_the_day() -> None:
    flow = Flow(new=NOW + 30, first=(NOW - 2 * DAY, NOW - DAY + 1, NOW - 60), linked=NOW - 7 * DAY)
    assert allowances(memory(flow))["new"] == (108, 110, NOW + 30)
    full = Flow(first=tuple(NOW - 100 - number for number in range(20)), linked=NOW)
    left, most, next_at = allowances(memory(full), new_a_day_later=20)["new"]
    assert (left, most) == (0, 20)
    assert next_at == pytest.approx(NOW - 119 + DAY, abs=0.01)
    assert allowances(memory(), new_a_day=0, new_a_day_later=0)["new"] == (0, 0, None)


@given(st.integers(0, 40), st.integers(1, 9), st.floats(0.5, 100))
def test_as_many_may_go_at_once_as_are_said(sent: int, burst: int, every: float) -> None:
    settings = Sending(known_burst=burst, known_every=every)
    pacer = Pacer(settings, Flow(), lambda: 0.5)
    for _ in range(sent):
        pacer.clamp(NOW)
        pacer.take(Pace.KNOWN, NOW)
    pacer.clamp(NOW)
    found = pacer.left(Pace.KNOWN, NOW)
    assert found is not None
    left, flow = 0, pacer.flow
    while pacer.free(Pace.KNOWN, NOW, flow) <= NOW + 1e-5:
        flow, left = pacer.after(Pace.KNOWN, NOW, flow), left + 1
    assert found == (left, burst)


@given(st.lists(st.floats(0, 2 * DAY), max_size=40), st.integers(0, 30))
def test_as_many_new_chats_are_left_as_there_is_room_for_today(ages: list[float], a_day: int) -> None:
    settings = Sending(new_a_day=a_day, new_a_day_later=a_day, new_every=0.0, new_spread=0.0)
    pacer = Pacer(settings, Flow(first=tuple(sorted(NOW - age for age in ages))), lambda: 0.5)
    pacer.clamp(NOW)
    found = pacer.left(Pace.NEW, NOW)
    assert found == (max(0, a_day - sum(age < DAY for age in ages)), a_day)
    free = pacer.free(Pace.NEW, NOW)
    assert (free <= NOW) is (found[0] > 0) or math.isinf(free)


def test_locks_are_told_the_wider_one_first() -> None:
    restrictions = Restrictions(Stretch(), Stretch())
    restrictions.refused(NOT_TO_STRANGERS, NOW, None, NOW)
    restrictions.refused(TOO_MANY, NOW, NOW + 500, NOW)
    found = standing(Sending(), memory(None, restrictions.new, restrictions.all), NOW + 1)
    assert [(one.what, one.until, one.code, one.why) for one in found.locks] == [
        (Closed.ALL, NOW + 500, TOO_MANY, CLOSED[TOO_MANY]),
        (Closed.NEW, NOW + DAY, NOT_TO_STRANGERS, CLOSED[NOT_TO_STRANGERS]),
    ]
    later = standing(Sending(), memory(None, restrictions.new, restrictions.all), NOW + 500)
    assert [one.what for one in later.locks] == [Closed.NEW]
    assert standing(Sending(), memory(None, restrictions.new, restrictions.all), NOW + DAY).locks == ()


def test_a_lock_of_an_unknown_cause_has_none() -> None:
    found = standing(Sending(), memory(None, Stretch(NOW - 1, NOW + 9, 10.0, 999)), NOW)
    assert [(one.code, one.why) for one in found.locks] == [(999, None)]


def test_what_a_desk_remembers_is_understood() -> None:
    desk = Desk(Sending(), None, lambda: 0.5)
    desk.online(NOW)
    desk.next(NOW)
    kept = Memory(desk=desk.memory).dump()
    assert allowances(Memory.load(kept).desk)["new"][1] == 20
