"""Rows in doubt: which were never sent, and which were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.messages.outbox_form import MAX_RECEIPTS
from orchestrator.worker.sending.settling import (
    ASK_AGAIN,
    ASK_AGAIN_LATEST,
    ASK_EVERY,
    MOST_ASKED,
    Identified,
    Settling,
)

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def test_a_secret_that_is_not_in_the_session_was_never_sent() -> None:
    settling = Settling()
    settling.doubt(1, A)
    settling.doubt(2, B)
    assert settling.due() == 0.0
    assert settling.ask(0.0) == [A, B]
    answered = settling.answer([A, B], {B: "3EB0B"})
    assert (answered.never_left, answered.identified) == ([1], [Identified(2, B, "3EB0B")])
    assert settling.due() is None


def test_a_receipt_settles_a_row_whose_identifier_is_known() -> None:
    settling = Settling()
    assert not settling.identify(1, "3EB0A")
    assert settling.heard(["3EB0X"]) == []
    assert settling.heard(["3EB0A", "3EB0A"]) == [1]
    assert settling.heard(["3EB0A"]) == []


def test_a_receipt_may_come_before_the_identifier_is_known() -> None:
    settling = Settling()
    settling.doubt(1, A)
    assert settling.heard(["3EB0A"]) == []
    assert settling.identify(1, "3EB0A")
    assert settling.due() is None


def test_an_answer_is_only_about_what_it_names() -> None:
    settling = Settling()
    settling.doubt(1, A)
    assert settling.ask(0.0) == [A]
    settling.doubt(2, B)
    assert settling.ask(0.0) == []
    assert settling.ask(ASK_EVERY) == [B]
    assert settling.answer([A], {}).never_left == [1]
    assert settling.answer([A], {}).never_left == []
    assert settling.answer([B], {}).never_left == [2]


def test_a_clock_that_was_put_back_keeps_no_question_waiting() -> None:
    settling = Settling()
    settling.doubt(1, A)
    assert settling.ask(1e9) == [A]
    settling.doubt(2, B)
    assert settling.ask(1e6) == []
    assert settling.ask(1e6 + ASK_EVERY) == [B]
    assert settling.ask(1e6 + ASK_AGAIN_LATEST) == [A, B]


def test_a_secret_that_may_not_have_been_written_down_proves_only_that_it_left() -> None:
    settling = Settling()
    settling.doubt(1, A)
    settling.doubt(2, B)
    settling.distrust(1)
    settling.distrust(2)
    settling.ask(0.0)
    answered = settling.answer([A, B], {B: "3EB0B"})
    assert (answered.never_left, answered.identified) == ([], [Identified(2, B, "3EB0B")])
    assert settling.due() is None


def test_nobody_is_believed_who_was_not_asked() -> None:
    settling = Settling()
    settling.doubt(1, A)
    answered = settling.answer([A], {})
    assert (answered.never_left, answered.identified) == ([], [])
    assert settling.ask(0.0) == [A]


def test_what_is_not_answered_is_asked_again_less_and_less_often() -> None:
    settling, now, waits = Settling(), 1000.0, []
    settling.doubt(1, A)
    for _ in range(10):
        assert settling.ask(now) == [A]
        due = settling.due()
        assert due is not None
        assert settling.ask(due - 0.1) == []
        waits.append(due - now)
        now = due
    assert waits[0] == ASK_AGAIN
    assert waits == sorted(waits)
    assert waits[-1] == ASK_AGAIN_LATEST
    assert settling.answer([A], {A: "3EB0A"}).identified == [Identified(1, A, "3EB0A")]


def test_a_row_that_was_settled_meanwhile_is_not_answered() -> None:
    settling = Settling()
    settling.doubt(1, A)
    settling.doubt(2, B)
    settling.ask(0.0)
    settling.drop(1)
    settling.drop(2)
    settling.doubt(2, C)  # sent again, and in doubt again
    answered = settling.answer([A, B], {A: "3EB0A"})
    assert (answered.never_left, answered.identified) == ([], [])
    assert settling.ask(ASK_EVERY) == [C]


def test_a_question_is_about_so_many_at_most() -> None:
    settling = Settling()
    for number in range(MOST_ASKED + 1):
        settling.doubt(number, number.to_bytes(16))
    first = settling.ask(0.0)
    assert len(first) == MOST_ASKED
    assert settling.ask(ASK_EVERY - 1) == []
    assert settling.ask(ASK_EVERY) == [MOST_ASKED.to_bytes(16)]
    assert len(settling.answer(first, {}).never_left) == MOST_ASKED


def test_whoever_makes_up_receipts_fills_no_memory() -> None:
    settling = Settling()
    settling.heard(f"X{number}" for number in range(3 * MAX_RECEIPTS))
    assert not settling.identify(1, "X0")
    assert settling.identify(2, f"X{3 * MAX_RECEIPTS - 1}")


@given(st.lists(st.tuples(st.sampled_from("daiohq"), st.integers(0, 3)), max_size=60))
def test_only_what_was_asked_for_and_is_in_doubt_is_said_to_have_never_left(
    moves: list[tuple[str, int]],
) -> None:
    settling, now = Settling(), 0.0
    doubted: dict[int, bytes] = {}
    asked: list[bytes] = []
    for count, (move, number) in enumerate(moves):
        now += ASK_EVERY
        match move:
            case "d":
                settling.drop(number)
                doubted[number] = count.to_bytes(16)
                settling.doubt(number, doubted[number])
            case "a":
                asked += settling.ask(now)
            case "i":
                settling.identify(number, f"M{number}")
                doubted.pop(number, None)
            case "o":
                doubted.pop(number, None)
                settling.drop(number)
            case "h":
                settling.heard([f"M{number}"])
            case "q":
                # An answer names more than was asked, and what was asked long ago.
                named = [*asked[: number + 1], *doubted.values()]
                for one in settling.answer(named, {}).never_left:
                    assert doubted.pop(one) in asked
