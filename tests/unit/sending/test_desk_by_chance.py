"""The desk under a virtual clock, through whatever may happen: order, pace and an end in any case.

The world asserts at each row that is handed over: its turn in its chat, no second row there at once, four
calls at most, no restriction that concerns it, and that it is not handed over twice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.sending_world import SENT, START, Handed, SendingWorld, address, knowing, person

from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import DAY
from orchestrator.sending.forms import Kind
from orchestrator.sending.pacing import new_a_day, typing_time
from orchestrator.sending.row import Pace, State
from orchestrator.sending.steps import End, EndKind

CHATS = 8
KNOWN = (0, 1, 2)
GROUP = "120363000000000001@g.us"
WAYS = ("send", "send", "send", "hear", "offline", "online", "restart", "settle", "take back")
ENDS = (
    SENT, SENT, SENT, SENT,
    End(EndKind.BEFORE), End(EndKind.UNKNOWN), End(EndKind.REFUSED, 403), End(EndKind.REFUSED, 429),
    End(EndKind.REFUSED, 463), End(EndKind.REFUSED, 475),
)  # fmt: skip
ASKED: tuple[dict[str, object], ...] = (
    {"text": "x"},
    {"text": "x" * 150},
    {"kind": "reaction", "message": "M", "emoji": ""},
    {"kind": "read", "messages": ["M"]},
    {"kind": "voice", "media": "1"},
)


@dataclass(frozen=True)
class Event:
    """Something that happens so many seconds after the event before."""

    after: float
    way: str
    chat: int
    asked: int
    expires: float


EVENTS = st.builds(
    Event,
    st.sampled_from([0.0, 0.1, 0.5, 2.0, 7.0, 30.0, 100.0, 4000.0]),
    st.sampled_from(WAYS),
    st.integers(0, CHATS),
    st.integers(0, len(ASKED) - 1),
    st.sampled_from([5.0, 100.0, 3 * DAY, 3 * DAY]),
)
SETTINGS = st.builds(
    Sending,
    pacing=st.sampled_from(["on", "on", "on", "off"]),
    typing=st.booleans(),
    typing_most=st.sampled_from([0.0, 3.0, 8.0, 60.0]),
    chat_gap=st.sampled_from([0.0, 1.0, 5.0]),
    known_every=st.sampled_from([0.0, 0.5, 4.0]),
    known_burst=st.integers(1, 5),
    new_every=st.sampled_from([0.0, 1.0, 45.0]),
    new_spread=st.sampled_from([0.0, 0.5, 1.0]),
    new_a_day=st.integers(1, 4),
    new_a_day_later=st.integers(1, 8),
    warm_up=st.sampled_from([0.0, DAY]),
    on_unknown=st.sampled_from(["report", "resend"]),
    check_numbers=st.booleans(),
)


def to(chat: int) -> str:
    return GROUP if chat == CHATS else person(chat)


def address_of(chat: int) -> str:
    return GROUP if chat == CHATS else address(chat)


def play(world: SendingWorld, events: list[Event], chance: random.Random) -> None:
    for event in events:
        world.run(world.now + event.after)
        match event.way:
            case "send":
                world.send(to(event.chat), expires=event.expires, **ASKED[event.asked])
            case "hear":
                world.hear(address_of(event.chat))
            case "offline":
                world.desk.offline(world.now)
            case "online":
                world.desk.online(world.now)
            case "restart":
                world.run(world.now + 3.0)
                world.restart()
            case "settle":
                doubted = [row.number for row in world.rows.values() if row.state is State.UNKNOWN]
                if doubted:
                    world.end(doubted[0], chance.choice([SENT, End(EndKind.BEFORE), End(EndKind.UNKNOWN)]))
            case "take back":
                waiting = [row.number for row in world.rows.values() if row.state is State.QUEUED]
                if waiting:
                    world.take_back(chance.choice(waiting))


def check_pace(world: SendingWorld) -> None:
    asked = world.settings
    if asked.pacing == "off":
        return
    paced = [one for one in world.handed if world.rows[one.number].kind is not Kind.READ]
    known = [one.at for one in paced if one.pace is Pace.KNOWN]
    for first, start in enumerate(known):
        for count, at in enumerate(known[first:], 1):
            assert (count - asked.known_burst) * asked.known_every <= at - start + 1e-3
    new = [one for one in paced if one.pace is Pace.NEW]
    for earlier, later in pairwise(new):
        assert later.at - earlier.at >= asked.new_every * (1 - asked.new_spread) - 1e-3
    counted = [one for one in new if one.end in (EndKind.SENT, EndKind.UNKNOWN)]
    for one in counted:
        within = [other for other in counted if one.at - DAY < other.at <= one.at]
        assert len(within) <= new_a_day(asked, one.at - START)


def check_chat(world: SendingWorld, handed: list[Handed]) -> None:
    for earlier, later in pairwise(handed):
        if earlier.process == later.process and world.settings.pacing == "on":
            is_read = world.rows[earlier.number].kind is Kind.READ
            assert later.at >= earlier.until + (0 if is_read else world.settings.chat_gap) - 1e-3


def check_typing(world: SendingWorld) -> None:
    for one in world.handed:
        time = typing_time(world.settings, world.asked[one.number])
        assert not time or any(
            number == one.number and at <= one.at - time + 1e-3 for at, number in world.typed
        )


@given(SETTINGS, st.lists(EVENTS, min_size=12, max_size=60), st.integers(0, 2**32))
@settings(max_examples=1000)
def test_whatever_happens_order_and_pace_are_kept_and_all_rows_end(
    asked: Sending, events: list[Event], seed: int
) -> None:
    chance = random.Random(seed)
    world = SendingWorld(
        settings=asked,
        answer=lambda _number, _now: (chance.choice([0.0, 0.3, 3.0, 75.0]), chance.choice(ENDS)),
        exists=lambda _phone: chance.choice([True, True, True, False, None]),
        seed=seed,
        contacts=dict(knowing(*KNOWN)),
    )
    world.desk.online(world.now)
    play(world, events, chance)
    world.answer = lambda _number, _now: (0.3, SENT)
    world.desk.online(world.now)
    world.run(world.now + 60 * DAY)

    assert all(row.state.is_over or row.state is State.UNKNOWN for row in world.rows.values())
    check_pace(world)
    check_typing(world)
    for chat in range(CHATS + 1):
        check_chat(world, [one for one in world.handed if one.chat == address_of(chat)])


@given(
    st.lists(EVENTS, min_size=12, max_size=40),
    st.lists(st.floats(-3 * DAY, 3 * DAY), max_size=5),
    st.integers(0, 99),
)
@settings(max_examples=300)
def test_a_clock_that_jumps_breaks_no_order_and_stops_nothing(
    events: list[Event], jumps: list[float], seed: int
) -> None:
    chance = random.Random(seed)
    world = SendingWorld(seed=seed, contacts=dict(knowing(*KNOWN)))
    world.desk.online(world.now)
    for index in range(0, len(events), 8):
        play(world, events[index : index + 8], chance)
        if jumps:
            world.jump(jumps.pop())
    world.desk.online(world.now)
    world.run(world.now + 60 * DAY)
    assert all(row.state.is_over or row.state is State.UNKNOWN for row in world.rows.values())
