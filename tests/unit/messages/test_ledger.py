"""What an inbox knows besides its entries."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.messages import loss
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox
from orchestrator.messages.retention import Retention

ADA = "269139479534551@lid"
DAY = 86_400.0


@pytest.fixture
def clock() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def inbox(tmp_path: Path, clock: list[float]) -> Iterator[Inbox]:
    with contextlib.closing(Inbox.open(tmp_path, lambda: clock[0])) as inbox:
        yield inbox


def entry(count: int) -> Entry:
    return Entry("message", ADA, ADA, f"A{count}", 5.0)


def test_what_came_before_is_known_even_if_it_is_very_much(inbox: Inbox) -> None:
    for count in range(20):
        inbox.append(entry(count))
    keys = [entry(count).key for count in range(3000)]
    assert inbox.ledger.known(keys) == set(keys[:20])
    assert inbox.ledger.known([]) == set()


def test_what_is_passed_over_is_known_and_is_no_entry(inbox: Inbox) -> None:
    keys = [loss.passed(ADA, ADA, f"A{count}") for count in range(5)]
    inbox.ledger.pass_over(keys[:3], 1.0)
    inbox.ledger.pass_over(keys[:4], 2.0)
    assert inbox.ledger.known(keys) == set(keys[:4])
    assert inbox.count == 0
    assert inbox.append(entry(1)) == 1


def test_what_was_stored_since_a_time(inbox: Inbox, clock: list[float]) -> None:
    inbox.append(entry(1))
    clock[0] += 100
    inbox.append(entry(2))
    inbox.append(Entry("receipt", ADA, ADA, "A2", 5.0))
    assert inbox.ledger.stored_since(clock[0]) == {(ADA, ADA, "A2")}


def test_sends_are_followed_until_nobody_can_ask_for_them(inbox: Inbox, clock: list[float]) -> None:
    one, two = loss.digest(b"1" * 32), loss.digest(b"2" * 32)
    inbox.ledger.sending(one, ADA, clock[0])
    assert inbox.ledger.sent_digests() == inbox.ledger.sent_digests(settled=False) == {one}
    assert inbox.ledger.sent_chats(["A1", "A2"]) == {}
    inbox.ledger.sent(one, "A1")
    inbox.ledger.sending(two, ADA, clock[0] + DAY)
    assert inbox.ledger.sent_chats(["A1", "A2"]) == {"A1": ADA}
    assert inbox.ledger.sent_digests(settled=False) == {two}
    keep = Retention(DAY, 2 * DAY)
    clock[0] += 45 * DAY + 1
    inbox.clear(keep)
    assert inbox.ledger.sent_digests() == {two}
