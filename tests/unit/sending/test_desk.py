"""The desk under a virtual clock, one thing at a time. Together and by chance: test_desk_by_chance.py."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from support.sending_world import (
    SENT,
    START,
    SendingWorld,
    address,
    gaps,
    knowing,
    most_within,
    person,
)

from orchestrator.accounts.settings import Sending
from orchestrator.sending import desk as desk_module
from orchestrator.sending import turns
from orchestrator.sending.contacts import DAY, Contact
from orchestrator.sending.row import Pace, State
from orchestrator.sending.steps import Closed, End, EndKind, Fail, PutBack, Restriction, ShowTyping

HOUR = 3600.0
GROUP = "120363000000000001@g.us"


def online(**parts: object) -> SendingWorld:
    world = SendingWorld(**parts)  # type: ignore[arg-type]
    world.desk.online(world.now)
    return world


def refusing(code: int, *numbers: int, until: float | None = None) -> SendingWorld:
    left = list(numbers)

    def answer(number: int, _now: float) -> tuple[float, End]:
        if number in left:
            left.remove(number)
            return 0.3, End(EndKind.REFUSED, code, until)
        return 0.3, SENT

    return online(answer=answer)


def test_a_reply_goes_as_soon_as_it_is_typed() -> None:
    world = online()
    world.hear(address(1))
    world.send(person(1), text="x" * 30)
    world.run(START + 60)
    assert world.typed == [(START, 1)]
    assert [(one.at, one.pace) for one in world.handed] == [(START + 2.0, Pace.REPLY)]
    assert world.state(1) is State.SENT
    assert not world.said(1), "nobody needs to be told of two seconds"


def test_long_uploads_keep_no_text_to_somebody_else_waiting() -> None:
    world = online(answer=lambda number, _now: (600.0 if number <= 6 else 0.3, SENT))
    for index in range(1, 8):
        world.hear(address(index))
    for index in range(1, 7):
        world.send(person(index), kind="video", media="1")
    world.run(START + 10)
    world.send(person(7))
    world.run(START + 20)
    assert world.state(7) is State.SENT
    world.run(START + HOUR)
    assert world.sent() == [1, 2, 7, 3, 4, 5, 6]


def test_what_never_leaves_is_tried_again_less_and_less_often() -> None:
    world = online(answer=lambda _number, _now: (0.3, End(EndKind.UNKNOWN)))
    world.hear(address(1))
    world.send(person(1))
    ends = []
    for _ in range(10):
        world.run(world.now + 400)
        ends.append(world.now)
        world.end(1, End(EndKind.BEFORE))
    world.run(world.now + 400)
    waits = [one.at - end for one, end in zip(world.handed[1:], ends, strict=True)]
    assert waits[0] < 5, "the first time, that the process was killed is likely"
    assert waits == sorted(waits)
    assert 300 <= waits[-1] < 310


def test_the_time_of_typing_grows_with_the_text_up_to_its_end() -> None:
    world = online()
    for index, length in ((1, 1), (2, 100), (3, 4000)):
        world.hear(address(index))
        world.send(person(index), text="x" * length)
    world.run(START + 60)
    assert {one.number: round(one.at - START, 3) for one in world.handed} == {1: 0.55, 2: 5.5, 3: 8.0}


def test_a_voice_note_is_recorded_and_not_typed() -> None:
    world = online()
    world.hear(address(1))
    world.send(person(1), kind="voice", media="1")
    world.run(START + 60)
    assert [one for _, one in world.steps if isinstance(one, ShowTyping)] == [ShowTyping(1, recording=True)]


def test_reactions_reads_edits_and_revocations_need_no_typing() -> None:
    world = online()
    for asked in (
        {"kind": "reaction", "message": "M", "emoji": "\N{THUMBS UP SIGN}"},
        {"kind": "read", "messages": ["M"]},
        {"kind": "edit", "message": "M", "text": "x"},
        {"kind": "revocation", "message": "M"},
    ):
        world.send(person(1), **asked)
    world.run(START + 60)
    assert world.sent() == [1, 2, 3, 4]
    assert not world.typed
    assert not world.checked, "there is a message of that chat already"


def test_known_chats_get_a_burst_and_then_one_at_a_time() -> None:
    world = online(contacts=dict(knowing(*range(20))))
    for index in range(20):
        world.send(person(index), text="x")
    world.run(START + HOUR)
    moments = world.moments(Pace.KNOWN)
    assert len(moments) == 20
    assert world.sent() == list(range(1, 21))
    assert most_within(moments, 1.0) == 5
    assert moments[-1] - moments[0] == pytest.approx(15 * 4.0, abs=1.0)


def test_new_chats_wait_for_each_other_and_for_the_day() -> None:
    world = online()
    for index in range(40):
        world.send(person(index), text="x", expires=30 * DAY)
    world.run(START + HOUR)
    moments = world.moments(Pace.NEW)
    assert len(moments) == 20
    assert all(22.5 <= gap < 67.5 + 8 for gap in gaps(moments))
    world.run(START + 3 * DAY)
    assert len(world.moments(Pace.NEW)) == 40


def test_more_new_chats_a_day_are_allowed_to_an_older_account() -> None:
    world = online()
    world.desk.linked(START - 14 * DAY)
    for index in range(300):
        world.send(person(index), text="x", expires=30 * DAY)
    world.run(START + DAY - 1)
    assert len(world.moments(Pace.NEW)) == 200


def test_the_number_of_new_chats_grows_while_the_account_grows_older() -> None:
    world = online(settings=Sending(warm_up=4 * DAY, new_a_day_later=60))
    for index in range(400):
        world.send(person(index), text="x", expires=30 * DAY)
    counts = []
    for day in range(7):
        before = len(world.handed)
        world.run(START + (day + 1) * DAY - 1)
        counts.append(len(world.handed) - before)
    assert counts[0] == pytest.approx(20 + 40 / 4, abs=2), "it grows within the day, too"
    assert counts == sorted(counts)
    assert counts[-2:] == [60] * 2


def test_a_second_message_to_a_chat_that_has_not_answered_is_no_new_chat() -> None:
    world = online()
    world.send(person(1), text="x")
    world.run(START + 60)
    world.send(person(1), text="x")
    world.run(START + 120)
    assert [one.pace for one in world.handed] == [Pace.NEW, Pace.KNOWN]


def test_a_group_is_never_new() -> None:
    world = online()
    world.send(GROUP, text="x")
    world.run(START + 60)
    assert [one.pace for one in world.handed] == [Pace.KNOWN]


def test_a_chat_that_writes_while_a_message_to_it_waits_gets_it_as_a_reply() -> None:
    world = online()
    for index in range(10):
        world.send(person(index), text="x")
    world.run(START + 1)
    assert world.said(10)[0].pace is Pace.NEW
    world.hear(address(9))
    world.run(START + 3)
    assert world.state(10) is State.SENT
    assert world.handed[-1].pace is Pace.REPLY


def test_an_answer_is_a_reply_for_a_day() -> None:
    world = online()
    world.hear(address(1))
    world.run(START + DAY)
    world.send(person(1), text="x")
    world.run(START + DAY + 60)
    assert [one.pace for one in world.handed] == [Pace.KNOWN]


def test_messages_to_a_chat_keep_their_order_and_their_distance() -> None:
    world = online()
    world.hear(address(1))
    for length in (200, 1, 1):
        world.send(person(1), text="x" * length)
    world.run(START + 60)
    assert world.sent() == [1, 2, 3]
    assert all(later.at >= earlier.until + 1.0 for earlier, later in pairwise(world.handed))


def test_a_chat_that_waits_keeps_no_other_chat_waiting() -> None:
    world = online(answer=lambda number, _now: (HOUR if number == 1 else 0.3, SENT))
    for index in (1, 2):
        world.hear(address(index))
    for to in (1, 1, 2):
        world.send(person(to), text="x")
    world.run(START + 60)
    assert world.state(3) is State.SENT
    assert [world.state(1), world.state(2)] == [State.SENDING, State.QUEUED]


def test_without_pacing_everything_goes_at_once_and_in_order() -> None:
    world = online(settings=Sending(pacing="off"))
    for index in range(1000):
        world.send(person(index % 100), text="x")
    world.run(START + HOUR)
    assert len(world.sent()) == 1000
    assert world.handed[-1].at < START + 0.3 * 1000 / 4 + 0.3 * 100
    assert not world.typed
    for index in range(100):
        numbers = [one.number for one in world.handed if one.chat == address(index)]
        assert numbers == sorted(numbers)


def test_without_typing_none_is_shown() -> None:
    world = online(settings=Sending(typing=False))
    world.hear(address(1))
    world.send(person(1), text="x")
    world.run(START)
    assert world.handed[0].at == START
    assert not world.typed


def test_an_account_that_is_not_connected_sends_nothing() -> None:
    world = SendingWorld()
    world.hear(address(1))
    world.send(person(1), text="x")
    world.run(START + HOUR)
    assert not world.handed
    world.desk.online(world.now)
    world.run(START + HOUR + 60)
    assert world.state(1) is State.SENT


def test_typing_begins_anew_after_the_link_was_lost() -> None:
    world = online()
    world.hear(address(1))
    world.send(person(1), text="x" * 100)
    world.run(START + 5)
    world.desk.offline(world.now)
    world.run(START + 100)
    world.desk.online(world.now)
    world.run(START + 200)
    assert [at - START for at, _ in world.typed] == [0, 100]
    assert world.handed[0].at == START + 105.5


@pytest.mark.parametrize("connected", [True, False])
def test_a_row_expires_whether_connected_or_not(connected: bool) -> None:
    world = online() if connected else SendingWorld()
    for index in range(3):
        world.send(person(index), text="x", expires=30)
    world.run(START + 29)
    states = [world.state(number) for number in (1, 2, 3)]
    assert states == ([State.SENT] if connected else [State.QUEUED]) + [State.QUEUED] * 2
    world.run(START + 31)
    assert world.state(3) is State.EXPIRED


def test_a_row_that_the_library_has_does_not_expire() -> None:
    world = online(answer=lambda _number, _now: (100.0, End(EndKind.UNKNOWN)))
    world.hear(address(1))
    world.send(person(1), text="x", expires=30)
    world.run(START + HOUR)
    assert world.state(1) is State.UNKNOWN


# Numbers


def test_the_number_of_a_new_chat_is_looked_up_once() -> None:
    world = online()
    world.send(person(1), text="x")
    world.run(START + 60)
    assert world.checked == [(START, "15550000001")]
    assert world.contacts[address(1)].found_at
    world.contacts[address(1)] = Contact(found_at=START)
    world.restart()
    world.desk.online(world.now)
    world.send(person(1), text="x")
    world.run(START + HOUR)
    assert len(world.checked) == 1
    assert len(world.sent()) == 2


def test_nothing_is_sent_to_a_number_that_is_not_on_whatsapp() -> None:
    world = online(exists=lambda _phone: False)
    for _ in range(3):
        world.send(person(1), text="x")
    world.run(START + 60)
    assert [world.state(number) for number in (1, 2, 3)] == [State.FAILED] * 3
    assert not world.handed
    assert len(world.checked) == 1
    assert [one.why for _, one in world.steps if isinstance(one, Fail)] == [turns.NOT_ON_WHATSAPP] * 3
    world.run(START + 8 * DAY)
    world.send(person(1), text="x")
    world.run(START + 8 * DAY + 60)
    assert len(world.checked) == 2, "it may be there a week later"


def test_a_number_that_cannot_be_looked_up_is_tried() -> None:
    world = online(exists=lambda _phone: None)
    world.send(person(1), text="x")
    world.run(START + 60)
    assert world.state(1) is State.SENT
    assert len(world.checked) == 1


def test_numbers_that_do_not_exist_are_looked_up_one_by_one_and_cost_no_turn() -> None:
    world = online(exists=lambda phone: phone.endswith("9"))
    for index in range(10):
        world.send(person(index), text="x")
    world.run(START + HOUR)
    assert all(gap >= 5 for gap in gaps([at for at, _ in world.checked]))
    assert world.handed[0].at < START + 60


def test_nobody_is_looked_up_if_the_operator_does_not_want_it() -> None:
    world = online(settings=Sending(check_numbers=False), exists=lambda _phone: False)
    world.send(person(1), text="x")
    world.send("100000000000001@lid", text="x")
    world.run(START + 300)
    assert not world.checked
    assert world.sent() == [1, 2]


def test_an_address_without_a_number_is_not_looked_up() -> None:
    world = online(exists=lambda _phone: False)
    world.send("100000000000001@lid", text="x")
    world.run(START + 60)
    assert world.sent() == [1]


# Refusals


def test_463_in_a_new_chat_closes_new_chats_for_a_day_and_replies_go_on() -> None:
    world = refusing(463, 1)
    for index in (1, 2):
        world.send(person(index), text="x", expires=10 * DAY)
    world.run(START + 60)
    assert len(world.handed) == 1
    closed = world.desk.restriction(world.now)
    assert (closed.what, closed.code) == (Closed.NEW, 463)
    assert closed.until == pytest.approx(START + DAY, abs=60)
    assert world.state(1) is State.QUEUED, "it was not sent, and is tried again"
    assert world.said(2)[-1].queued_until == closed.until
    world.hear(address(3))
    world.send(person(3), text="x")
    world.run(START + 120)
    assert world.state(3) is State.SENT
    world.run(START + 2 * DAY)
    assert world.state(1) is world.state(2) is State.SENT
    assert world.desk.restriction(world.now) == Restriction()


def test_463_closes_new_chats_twice_as_long_each_time_up_to_a_week() -> None:
    world = online(answer=lambda _number, _now: (0.3, End(EndKind.REFUSED, 463)))
    world.send(person(1), text="x", expires=90 * DAY)
    world.run(START + 60 * DAY)
    assert [round(gap / DAY) for gap in gaps([one.at for one in world.handed])][:6] == [1, 2, 4, 7, 7, 7]


def test_463_closes_new_chats_until_the_end_that_whatsapp_states() -> None:
    world = refusing(463, 1, until=START + 3 * HOUR)
    world.send(person(1), text="x")
    world.run(START + 2 * DAY)
    assert START + 3 * HOUR <= world.handed[1].at < START + 3 * HOUR + 10
    assert world.desk.memory


def test_an_end_that_is_a_year_away_or_in_the_past_is_not_believed() -> None:
    for until in (START + 365 * DAY, START - DAY):
        world = refusing(463, 1, until=until)
        world.send(person(1), text="x", expires=400 * DAY)
        world.run(START + 100 * DAY)
        assert world.state(1) is State.SENT


def test_463_in_a_chat_that_never_answered_closes_new_chats_too() -> None:
    world = refusing(463, 2)
    world.send(person(1), text="x")
    world.run(START + 60)
    world.send(person(1), text="x", expires=5 * DAY)
    world.run(START + 120)
    assert world.desk.restriction(world.now).what is Closed.NEW
    assert world.state(2) is State.QUEUED
    world.run(START + HOUR)
    assert len(world.handed) == 2, "it waits with all others that have never written"
    world.run(START + 2 * DAY)
    assert world.state(2) is State.SENT


def test_463_in_a_warm_chat_concerns_that_chat_alone() -> None:
    world = refusing(463, 1)
    for index in (1, 2):
        world.hear(address(index))
    for to in (1, 1, 2):
        world.send(person(to), text="x")
    world.run(START + 60)
    assert [world.state(number) for number in (1, 2, 3)] == [State.FAILED, State.FAILED, State.SENT]
    assert [one.code for _, one in world.steps if isinstance(one, Fail)] == [463, 463]
    assert len(world.handed) == 2
    assert world.desk.restriction(world.now) == Restriction()
    world.hear(address(1))
    world.send(person(1), text="x")
    world.run(START + 120)
    assert world.state(4) is State.SENT, "the chat has written since"


def test_475_closes_new_chats_for_a_day_each_time() -> None:
    world = online(answer=lambda _number, _now: (0.3, End(EndKind.REFUSED, 475)))
    world.send(person(1), text="x", expires=10 * DAY)
    world.run(START + 9 * DAY)
    assert {round(gap / DAY) for gap in gaps([one.at for one in world.handed])} == {1}


def test_429_stops_everything_for_a_minute_then_longer_up_to_an_hour() -> None:
    world = online(answer=lambda _number, _now: (0.3, End(EndKind.REFUSED, 429)))
    world.hear(address(1))
    world.send(person(1), text="x", expires=DAY)
    world.run(START + 10 * HOUR)
    waits = [round(gap / 60) for gap in gaps([one.at for one in world.handed])]
    assert waits[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert world.state(1) is State.QUEUED


def test_429_of_several_at_once_counts_once() -> None:
    world = refusing(429, 1, 2, 3, 4)
    for index in range(4):
        world.hear(address(index))
        world.send(person(index), text="x")
    world.run(START + 10)
    paused = world.desk.restriction(world.now)
    assert (paused.what, paused.code) == (Closed.ALL, 429)
    assert paused.until == pytest.approx(START + 60.85, abs=0.1)
    world.run(START + 120)
    assert sorted(world.sent()) == [1, 2, 3, 4]


def test_a_pause_is_forgotten_after_a_quiet_time() -> None:
    world = refusing(429, 1, 2)
    world.hear(address(1))
    world.send(person(1), text="x")
    world.run(START + 3 * HOUR)
    world.send(person(1), text="x")
    world.run(START + 4 * HOUR)
    moments = [one.at for one in world.handed]
    assert moments[3] - moments[2] < 70


def test_another_refusal_fails_the_row_alone() -> None:
    world = refusing(403, 1)
    world.hear(address(1))
    for _ in range(2):
        world.send(person(1), text="x")
    world.run(START + 60)
    assert [world.state(1), world.state(2)] == [State.FAILED, State.SENT]
    assert world.desk.restriction(world.now) == Restriction()


def test_a_refused_message_does_not_count_for_the_day() -> None:
    world = online(answer=lambda _number, _now: (0.3, End(EndKind.REFUSED, 403)))
    for index in range(60):
        world.send(person(index), text="x")
    world.run(START + 3 * HOUR)
    assert len(world.handed) == 60


# What failed, and what is in doubt


def test_what_failed_before_it_was_sent_is_tried_again_less_and_less_often() -> None:
    world = online(answer=lambda _number, _now: (0.0, End(EndKind.BEFORE)))
    world.hear(address(1))
    world.send(person(1), text="x", expires=HOUR)
    world.run(START + 2 * HOUR)
    waits = list(gaps([one.at for one in world.handed]))
    assert waits[0] < 4
    assert waits == sorted(waits)
    assert waits[-1] <= 301
    assert world.state(1) is State.EXPIRED


def test_what_failed_without_a_link_is_sent_as_soon_as_there_is_one() -> None:
    world = online(answer=lambda _number, now: (5.0, End(EndKind.BEFORE) if now < START + 60 else SENT))
    world.hear(address(1))
    world.send(person(1), text="x")
    world.run(START + 1)
    world.desk.offline(world.now)
    world.run(START + 100)
    put_back = [one for _, one in world.steps if isinstance(one, PutBack)]
    assert put_back == [PutBack(1, desk_module.PUT_BACK, None)]
    world.desk.online(world.now)
    world.run(START + 110)
    assert world.state(1) is State.SENT


def in_doubt(**settings: object) -> SendingWorld:
    world = online(
        settings=Sending(**settings),  # type: ignore[arg-type]
        answer=lambda number, _now: (0.3, End(EndKind.UNKNOWN) if number == 1 else SENT),
    )
    world.hear(address(1))
    for _ in range(2):
        world.send(person(1), text="x")
    return world


def test_a_row_in_doubt_holds_its_chat_for_a_minute() -> None:
    world = in_doubt()
    world.run(START + 50)
    assert [world.state(1), world.state(2)] == [State.UNKNOWN, State.QUEUED]
    world.run(START + 70)
    assert [world.state(1), world.state(2)] == [State.UNKNOWN, State.SENT]
    world.run(START + 10 * DAY)
    assert world.state(1) is State.UNKNOWN, "nobody sends it again unasked"


def test_a_row_in_doubt_that_never_left_goes_before_the_next() -> None:
    world = in_doubt()
    world.run(START + 10)
    world.answer = lambda _number, _now: (0.3, SENT)
    world.end(1, End(EndKind.BEFORE))
    world.run(START + 60)
    assert world.sent()[-2:] == [1, 2]
    assert len(world.handed) == 3


def test_a_row_in_doubt_that_turns_out_to_be_sent_frees_its_chat() -> None:
    world = in_doubt()
    world.run(START + 10)
    world.end(1, SENT)
    world.run(START + 20)
    assert [world.state(1), world.state(2)] == [State.SENT, State.SENT]
    assert len(world.handed) == 2


def test_a_row_that_never_left_does_not_overtake_one_that_the_library_has() -> None:
    world = in_doubt()
    world.answer = lambda number, _now: (0.3, End(EndKind.UNKNOWN)) if number == 1 else (30.0, SENT)
    world.run(START + 65)
    assert world.state(2) is State.SENDING
    world.answer = lambda _number, _now: (0.3, SENT)
    world.end(1, End(EndKind.BEFORE))
    world.run(START + 200)
    assert [one.number for one in world.handed] == [1, 2, 1]
    assert world.handed[2].at > world.handed[1].until


def test_a_row_that_never_left_goes_before_one_that_is_being_typed() -> None:
    world = in_doubt()
    world.send(person(1), text="x" * 200)
    world.run(START + 70)
    assert [number for _, number in world.typed][-1] == 3
    world.answer = lambda _number, _now: (0.3, SENT)
    world.end(1, End(EndKind.BEFORE))
    world.run(START + 200)
    assert [one.number for one in world.handed] == [1, 2, 1, 3]


def test_rows_that_were_late_do_not_go_together() -> None:
    calm = Sending(new_every=2.0, new_spread=0.0, check_numbers=False)
    world = online(settings=calm, answer=lambda number, _now: (30.0 if number <= 4 else 0.3, SENT))
    for index in range(4):
        world.hear(address(index))
    for index in range(6):
        world.send(person(index), text="x" * 200)
    world.run(START + 100)
    first, second = world.moments(Pace.NEW)
    assert first > START + 30, "the library has four rows until then"
    assert second >= first + 2


def test_a_row_in_doubt_is_sent_again_if_the_operator_wants_that() -> None:
    world = in_doubt(on_unknown="resend")
    world.run(START + 200)
    world.answer = lambda _number, _now: (0.3, SENT)
    assert len(world.handed) == 2
    world.run(START + 400)
    assert world.state(1) is State.SENT
    assert world.handed[-1].at > START + 300


def test_a_row_in_doubt_is_not_sent_again_while_nobody_could_have_learned_of_it() -> None:
    world = in_doubt(on_unknown="resend")
    world.run(START + 2)
    world.desk.offline(world.now)
    world.run(START + HOUR)
    world.desk.online(world.now)
    world.run(START + HOUR + 290)
    assert world.state(1) is State.UNKNOWN


def test_rows_that_were_under_way_when_the_process_ended_are_in_doubt() -> None:
    world = online(answer=lambda _number, _now: (HOUR, SENT))
    world.hear(address(1))
    for _ in range(2):
        world.send(person(1), text="x")
    world.run(START + 10)
    world.restart()
    world.desk.online(world.now)
    world.run(START + 30)
    assert [world.state(1), world.state(2)] == [State.UNKNOWN, State.QUEUED]


# Rows that go, and restarts


def test_a_row_that_is_taken_back_is_not_sent() -> None:
    world = online()
    world.hear(address(1))
    for _ in range(3):
        world.send(person(1), text="x")
    world.run(START + 0.1)
    for number in (1, 3):
        world.take_back(number)
    world.desk.drop(77)
    world.run(START + 60)
    assert world.sent() == [2]


def test_a_row_is_taken_in_once() -> None:
    world = online()
    world.hear(address(1))
    number = world.send(person(1), text="x")
    world.desk.add(world.rows[number], world.asked[number], Contact())
    world.run(START + 60)
    assert world.sent() == [1]
    world.desk.ended(1, SENT, world.now)
    assert world.desk.checked(1, True, world.now) == []


def test_a_restart_makes_nothing_faster() -> None:
    world = online(contacts=dict(knowing(*range(50, 90))))
    for index in range(90):
        world.send(person(index), text="x")
    for minute in range(60):
        world.run(START + minute * 20)
        world.restart()
        world.desk.online(world.now)
    assert len(world.moments(Pace.NEW)) > 3
    assert all(gap >= 22.5 for gap in gaps(world.moments(Pace.NEW)))
    assert most_within(world.moments(Pace.KNOWN), 40.0) <= 15
    assert len(world.moments(Pace.NEW)) <= 20


def test_a_restriction_outlasts_a_restart() -> None:
    for code, closed in ((463, Closed.NEW), (429, Closed.ALL)):
        world = refusing(code, 1)
        world.send(person(1), text="x")
        world.run(START + 20)
        before = world.desk.restriction(world.now)
        assert before.what is closed
        world.restart()
        world.desk.online(world.now)
        assert world.desk.restriction(world.now) == before


@pytest.mark.parametrize(
    "memory",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"flow": 1, "new": 2, "all": 3}',
        json.dumps({"flow": {"known": "x", "new": 0, "first": [], "linked": None}, "new": {}, "all": {}}),
        '{"flow": {"known": 1e999, "new": 0, "first": [], "linked": null}}',
        '{"flow": {"known": true, "new": 0, "first": [], "linked": null}}',
    ],
)
def test_memory_that_cannot_be_read_is_as_none(memory: str) -> None:
    world = online(memory=memory)
    world.send(person(1), text="x")
    world.run(START + 60)
    assert world.sent() == [1]


def test_the_memory_holds_no_address_and_no_text() -> None:
    world = refusing(463, 1)
    world.send(person(4711), text="a secret")
    world.run(START + 60)
    assert world.memory
    assert "4711" not in world.memory
    assert "secret" not in world.memory


# What is said


def test_rows_say_what_they_wait_for_and_until_when() -> None:
    world = online()
    for index in range(30):
        world.send(person(index), text="x", expires=10 * DAY)
    world.run(START + 5)
    whys = [world.said(number)[-1].why for number in range(2, 31)]
    assert whys[:19] == [turns.PACED_NEW] * 19
    assert whys[19:] == [turns.DAY_FULL] * 10
    untils = [world.said(number)[-1].queued_until or 0 for number in range(2, 31)]
    assert untils == sorted(untils)
    assert untils[0] == pytest.approx(START + 45, abs=23)


def test_what_was_said_comes_about() -> None:
    world = online(settings=Sending(new_spread=0.0), contacts=dict(knowing(*range(100, 130))))
    for index in (*range(15), *range(100, 130)):
        world.send(person(index), text="x")
    world.run(START + HOUR)
    for one in world.handed:
        for said in world.said(one.number)[-1:]:
            assert said.queued_until == pytest.approx(one.at, abs=10)


def test_rows_far_back_in_a_line_are_told_once() -> None:
    world = online()
    for index in range(5000):
        world.send(person(index), text="x", expires=10 * DAY)
    world.run(START + 60)
    assert len(world.said(4000)) == 1
    until = world.said(4000)[0].queued_until
    assert until is not None
    assert until > START + 20 * DAY
    assert len(world.steps) < 5500


def test_an_account_that_may_begin_no_new_chat_says_so() -> None:
    world = online(settings=Sending(new_a_day=0, new_a_day_later=0))
    world.send(person(1), text="x")
    world.run(START + 60)
    assert [(one.queued_until, one.why) for one in world.said(1)] == [(None, turns.DAY_FULL)]
    world.run(START + 2 * DAY)
    assert world.state(1) is State.EXPIRED


# Clocks


@pytest.mark.parametrize("back", [1.0, HOUR, 400 * DAY])
def test_a_clock_that_is_put_back_stops_nothing(back: float) -> None:
    world = online(contacts=dict(knowing(*range(50, 60))))
    for index in (*range(5), *range(50, 60)):
        world.send(person(index), text="x", expires=10_000 * DAY)
    world.run(START + 20)
    world.jump(-back)
    world.run(START - back + HOUR)
    assert len(world.sent()) == 15


def test_a_clock_that_is_put_back_over_a_restart_stops_nothing() -> None:
    world = refusing(429, 3)
    for index in range(3):
        world.send(person(index), text="x", expires=10_000 * DAY)
    world.run(START + 200)
    world.now = START - 400 * DAY
    world.restart()
    world.desk.online(world.now)
    world.run(world.now + 100 * DAY)
    assert len(world.sent()) == 3


def test_nothing_is_due_when_nothing_waits() -> None:
    world = online()
    world.run(START + 1)
    assert world.desk.due(world.now) is None
