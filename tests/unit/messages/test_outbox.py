"""The outbox: no key twice, no way back from the end, nothing half done, and nothing left of texts."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.full_disk import fill, small_disk
from support.outboxes import CHAT, new, of

from orchestrator.messages import loss
from orchestrator.messages.database import files
from orchestrator.messages.outbox import (
    CONTACT_SECONDS,
    KeyConflict,
    New,
    NoOutbox,
    NoRow,
    NotWaiting,
    Outbox,
    OutboxBusy,
    OutboxError,
    OutboxFull,
    OutboxReader,
    alone,
)
from orchestrator.messages.outbox_form import MAX_MEMORY, MAX_RECEIPTS, MAX_WHY
from orchestrator.messages.outbox_notes import RECEIPT_SECONDS
from orchestrator.messages.retention import Retention
from orchestrator.sending import wire
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import File, Kind, Media, Outgoing, Preview, Reaction, Text
from orchestrator.sending.row import Pace, Row, State
from orchestrator.store.layout import BEGIN, OUTBOX

DAY = 86_400.0
KEEP = Retention(7 * DAY, 7 * DAY)
NUMBER = b"4915100000002"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path, clock)
    yield opened
    opened.close()


def text(key: str = "1", **other: Any) -> New:  # noqa: ANN401
    return new(f"needle {key}", key, **{"now": Clock.now, **other})


def picture(key: str = "1", id_: str = "17", sha256: str = "a" * 64, **other: Any) -> New:  # noqa: ANN401
    file = File(id_, sha256, 1000, "image/jpeg", **other)
    return of(Outgoing(CHAT, Media(Kind.IMAGE, file=file, caption="needle")), key, now=Clock.now)


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def receipts_on_disk(folder: Path) -> list[str]:
    """Return the messages that receipts have named, as another program finds them on the disk."""
    with closing(sqlite3.connect(folder / OUTBOX)) as other:
        return [message for (message,) in other.execute("SELECT message FROM receipts ORDER BY number")]


def last(outbox: Outbox) -> float | None:
    return outbox.last_sent_at


def test_when_a_message_was_sent_last_is_known_again(tmp_path: Path, clock: Clock) -> None:
    outbox = Outbox.open(tmp_path, clock)
    assert last(outbox) is None
    sent, failed, read = (outbox.add(text(key)).row.number for key in "123")
    for number in (sent, failed, read):
        outbox.hand_over(number, Pace.KNOWN)
    assert last(outbox) is None, "nothing was sent yet"
    clock.now += 10
    outbox.sent(sent, "3EB0AAAA")
    went = clock.now
    clock.now += 10
    outbox.failed(failed, "why")
    outbox.sent(read, None)
    assert last(outbox) == went, "read marks are no message"
    clock.now += 10
    outbox.sent(sent, "3EB0AAAA")
    assert last(outbox) == went, "it was sent before"
    outbox.close()
    with closing(Outbox.open(tmp_path, clock)) as again:
        assert last(again) == went


# What comes in


def test_a_message_is_there_as_it_was_given(outbox: Outbox, clock: Clock) -> None:
    message = replace(text(), outgoing=replace(text().outgoing, tag="mine"))
    row, again = outbox.add(message)
    assert not again
    assert row == Row(
        1, Kind.TEXT, CHAT, State.QUEUED, clock.now, clock.now + DAY, clock.now, tag="mine"
    )  # fmt: skip
    assert outbox.outgoing(1) == text().outgoing
    assert (outbox.count, outbox.waiting(), outbox.row(1)) == (1, [row], row)


def test_a_key_has_one_row(outbox: Outbox, clock: Clock) -> None:
    first = outbox.add(text()).row
    clock.now += 60
    assert outbox.add(text()) == (first, True)
    with pytest.raises(KeyConflict):
        outbox.add(replace(new("other", "1"), key=text().key))
    outbox.hand_over(1, Pace.NEW)
    sent = outbox.sent(1, "3EB0")
    assert outbox.add(text()) == (sent, True)
    assert outbox.add(text("2")).row.number == 2


def test_files_are_the_same_by_their_bytes(outbox: Outbox) -> None:
    row = outbox.add(picture()).row
    assert outbox.add(picture(id_="18", width=100, thumbnail=b"x", name="other.jpg")) == (row, True)
    with pytest.raises(KeyConflict):
        outbox.add(picture(sha256="b" * 64))
    assert outbox.files() == {"17"}


def test_texts_are_the_same_whatever_the_page_of_their_link_says(outbox: Outbox) -> None:
    message = Text("see https://example.org", link_preview=True)
    row = outbox.add(of(Outgoing(CHAT, message), "1", now=Clock.now)).row
    message = replace(message, preview=Preview("https://example.org", "Example"))
    assert outbox.add(of(Outgoing(CHAT, message), "1", now=Clock.now)) == (row, True)


def test_a_key_is_free_again_once_its_time_and_its_row_are_over(outbox: Outbox, clock: Clock) -> None:
    for key in ("1", "2"):
        outbox.add(text(key))
    outbox.hand_over(1, None)
    outbox.sent(1, "3EB0")
    clock.now += 3 * DAY + 1
    assert outbox.add(text("1")).row.number == 3
    assert outbox.add(text("2")).row.number == 2, "it waits still"
    assert outbox.row(1).state is State.SENT


def test_a_full_outbox_takes_nothing_but_what_it_has(outbox: Outbox) -> None:
    for key in "12":
        outbox.add(text(key, most=2))
    with pytest.raises(OutboxFull):
        outbox.add(text("3", most=2))
    assert outbox.add(text("2", most=2)).again
    outbox.hand_over(1, None)
    with pytest.raises(OutboxFull):
        outbox.add(text("3", most=2))
    outbox.unknown(1, "nobody knows")
    assert outbox.add(text("3", most=2)).row.number == 3


def test_what_has_expired_is_in_nobodys_way(outbox: Outbox, clock: Clock) -> None:
    """No process of the account has come up since, which would say that it has expired."""
    for key in "12":
        outbox.add(text(key, most=2))
    clock.now += DAY + 1
    assert outbox.count == 0
    assert outbox.add(text("3", most=1, now=clock.now)).row.number == 3
    with pytest.raises(OutboxFull):
        outbox.add(text("4", most=1, now=clock.now))


def test_many_threads_with_one_key_make_one_row(outbox: Outbox) -> None:
    found: list[int] = []

    def add() -> None:
        found.extend([outbox.add(text(str(number))).row.number for number in range(20)])

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(found)) == [*range(1, 21)]
    assert outbox.count == 20


# What becomes of it

MOVES: dict[str, Callable[[Outbox, int], object]] = {
    "take_back": lambda at, number: at.take_back(number),
    "hand_over": lambda at, number: at.hand_over(number, Pace.REPLY),
    "sent": lambda at, number: at.sent(number, f"3EB0{number}"),
    "failed": lambda at, number: at.failed(number, "refused", 463),
    "unknown": lambda at, number: at.unknown(number, "nobody knows"),
    "put_back": lambda at, number: at.put_back(number, "again", 5.0),
    "expire": lambda at, number: at.expire(number),
    "schedule": lambda at, number: at.schedule(number, Pace.NEW, 7.0, "slowly"),
}
WAYS: dict[str, tuple[str, ...]] = {
    State.QUEUED: (),
    State.SENDING: ("hand_over",),
    State.UNKNOWN: ("hand_over", "unknown"),
    State.SENT: ("hand_over", "sent"),
    State.FAILED: ("failed",),
    State.EXPIRED: ("expire",),
    State.TAKEN_BACK: ("take_back",),
}
ALLOWED: dict[State, dict[str, State]] = {
    State.QUEUED: {
        "take_back": State.TAKEN_BACK, "hand_over": State.SENDING, "failed": State.FAILED,
        "put_back": State.QUEUED, "expire": State.EXPIRED, "schedule": State.QUEUED,
    },
    State.SENDING: {
        "sent": State.SENT, "failed": State.FAILED, "unknown": State.UNKNOWN, "put_back": State.QUEUED,
    },
    State.UNKNOWN: {
        "sent": State.SENT, "failed": State.FAILED, "unknown": State.UNKNOWN, "put_back": State.QUEUED,
    },
    State.SENT: {"sent": State.SENT},
    State.FAILED: {"failed": State.FAILED},
    State.EXPIRED: {"expire": State.EXPIRED},
    State.TAKEN_BACK: {"take_back": State.TAKEN_BACK},
}  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("state", list(State))
def test_every_move_from_every_state(outbox: Outbox, clock: Clock, state: State, move: str) -> None:
    outbox.add(text())
    for way in WAYS[state]:
        MOVES[way](outbox, 1)
    before = outbox.row(1)
    assert before.state is state
    clock.now += 10
    if move not in ALLOWED[state]:
        with pytest.raises(NotWaiting, match="row 1"):
            MOVES[move](outbox, 1)
        assert outbox.row(1) == before
    else:
        MOVES[move](outbox, 1)
        assert outbox.row(1).state is ALLOWED[state][move]
        if state.is_over:
            assert outbox.row(1) == before


def test_what_a_row_tells_on_its_way(outbox: Outbox, clock: Clock) -> None:
    outbox.add(text())
    row = outbox.schedule(1, Pace.NEW, 50.0, "one after the other")
    assert (row.pace, row.queued_until, row.why) == (Pace.NEW, 50.0, "one after the other")
    clock.now += 1
    outbox.hand_over(1, Pace.KNOWN)
    row = outbox.row(1)
    assert (row.state, row.pace, row.queued_until, row.why) == (State.SENDING, Pace.KNOWN, None, None)
    assert row.changed_at == clock.now
    row = outbox.unknown(1, "it took too long", "3EB0")
    assert (row.message, outbox.by_message("3EB0")) == ("3EB0", row)
    row = outbox.put_back(1, "it never left", 60.0, 429)
    assert (row.message, row.code, row.queued_until, row.pace) == (None, 429, 60.0, Pace.KNOWN)
    assert outbox.by_message("3EB0") is None
    outbox.hand_over(1, Pace.KNOWN)
    row = outbox.sent(1, "3EB1", clock.now)
    assert (row.message, row.code, row.why) == ("3EB1", None, None)
    assert outbox.contact(CHAT).sent_at == clock.now


def test_each_handing_over_has_a_secret_of_its_own(outbox: Outbox) -> None:
    for key in "123":
        outbox.add(text(key))
    first = outbox.hand_over(1, None)
    outbox.put_back(1, "it never left")
    assert outbox.unsettled() == {}
    second, other = outbox.hand_over(1, None), outbox.hand_over(2, None)
    assert len({first, second, other}) == 3
    assert {len(one) for one in (first, second, other)} == {32}
    outbox.unknown(2, "nobody knows")
    assert outbox.unsettled() == {loss.digest(second): 1, loss.digest(other): 2}
    outbox.sent(1, "3EB0")
    assert outbox.unsettled() == {loss.digest(other): 2}
    assert [row.number for row in outbox.waiting()] == [2, 3]


def test_words_of_others_become_one_line(outbox: Outbox) -> None:
    outbox.add(text())
    row = outbox.failed(1, "one\ntwo\x1b[31m" + "x" * 1000)
    assert row.why is not None
    assert row.why.startswith("one two [31m")
    assert len(row.why) == MAX_WHY


def test_no_row_is_said(outbox: Outbox) -> None:
    for move in MOVES.values():
        with pytest.raises(NoRow):
            move(outbox, 1)
    with pytest.raises(NoRow):
        outbox.row(1)
    with pytest.raises(NoRow):
        outbox.outgoing(1)


# Chats, and what the pacing remembers


def test_chats_are_remembered_and_not_written_down(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.contact(CHAT) == Contact()
    outbox.note_contacts({CHAT: Contact(heard_at=5.0, found_at=3.0), "1@lid": Contact(refused_at=1.0)})
    outbox.note_contacts({CHAT: Contact(heard_at=4.0, sent_at=9.0, missing_at=2.0)})
    assert outbox.contact(CHAT) == Contact(5.0, 9.0, 3.0, 2.0, 0.0)
    assert outbox.contact("1@lid") == Contact(refused_at=1.0)
    outbox.close()
    assert NUMBER not in everything(tmp_path)
    with closing(Outbox.open(tmp_path)) as again:
        assert again.contact(CHAT) == Contact(5.0, 9.0, 3.0, 2.0, 0.0)


def test_chats_are_forgotten_in_the_end(outbox: Outbox, clock: Clock) -> None:
    outbox.note_contacts({f"{10_000 + number}@lid": Contact(heard_at=5.0) for number in range(500)})
    clock.now += CONTACT_SECONDS - 1
    outbox.note_contacts({CHAT: Contact(heard_at=clock.now)})
    outbox.clear(KEEP)
    assert outbox.contact("10000@lid") != Contact()
    clock.now += 2
    outbox.clear(KEEP)
    assert outbox.contact("10000@lid") == Contact()
    assert outbox.contact(CHAT) != Contact()


def test_the_pacing_remembers(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.memory() is None
    outbox.remember("[1]")
    outbox.remember("[2]")
    with pytest.raises(ValueError, match="to be remembered"):
        outbox.remember("x" * (MAX_MEMORY + 1))
    outbox.close()
    with closing(Outbox.open(tmp_path)) as again:
        assert again.memory() == "[2]"


# What receipts have named


def test_a_receipt_is_on_the_disk_while_a_row_may_be_what_it_names(outbox: Outbox, tmp_path: Path) -> None:
    outbox.note_receipt(["3EB00"])
    outbox.add(text())
    outbox.note_receipt(["3EB01"])
    assert receipts_on_disk(tmp_path) == [], "no row is in doubt"
    outbox.hand_over(1, None)
    outbox.note_receipt(["3EB02", "3EB03"])
    outbox.note_receipt(["3EB02"])
    assert receipts_on_disk(tmp_path) == outbox.receipts() == ["3EB02", "3EB03"]
    outbox.unknown(1, "cut")
    outbox.note_receipt(["3EB04"])
    assert receipts_on_disk(tmp_path) == ["3EB02", "3EB03", "3EB04"]
    outbox.unknown(1, "cut", "3EB09")
    outbox.note_receipt(["3EB05", "3EB09"])
    assert outbox.receipts()[-1] == "3EB09", "the message is known, and others are not it"
    outbox.sent(1, "3EB09")
    assert receipts_on_disk(tmp_path) == outbox.receipts() == []
    outbox.note_receipt(["3EB09"])
    assert outbox.receipts() == []


@pytest.mark.parametrize("end", ["put_back", "failed"])
def test_receipts_are_forgotten_with_the_last_doubt(outbox: Outbox, end: str) -> None:
    for key in "12":
        outbox.hand_over(outbox.add(text(key)).row.number, None)
    outbox.note_receipt(["3EB01"])
    getattr(outbox, end)(1, "why")
    assert outbox.receipts() == ["3EB01"]
    getattr(outbox, end)(2, "why")
    assert outbox.receipts() == []


def test_a_receipt_of_what_was_sent_is_not_written_down(outbox: Outbox) -> None:
    for key in "12":
        outbox.hand_over(outbox.add(text(key)).row.number, None)
    outbox.sent(1, "3EB01")
    outbox.note_receipt(["3EB01", "3EB02"])
    assert outbox.receipts() == ["3EB02"]


def test_receipts_prove_nothing_of_what_is_done_again_or_has_no_secret(outbox: Outbox) -> None:
    reaction = of(Outgoing(CHAT, Reaction("3EB0", "x")), "1", now=Clock.now)
    outbox.hand_over(outbox.add(reaction).row.number, None)
    outbox.hand_over(outbox.add(text("2")).row.number, None)
    outbox.unprovable(2)
    outbox.note_receipt(["3EB01"])
    assert outbox.receipts() == []


def test_only_the_last_receipts_are_kept_and_for_days(outbox: Outbox, clock: Clock) -> None:
    outbox.hand_over(outbox.add(text()).row.number, None)
    named = [f"3EB0{number}" for number in range(MAX_RECEIPTS + 300)]
    for begin in range(0, len(named), 500):
        outbox.note_receipt(named[begin : begin + 500])
    assert outbox.receipts() == named[-MAX_RECEIPTS:]
    clock.now += RECEIPT_SECONDS - 1
    outbox.note_receipt(["3EB0LAST"])
    outbox.clear(KEEP)
    assert len(outbox.receipts()) == MAX_RECEIPTS
    clock.now += 2
    outbox.clear(KEEP)
    assert outbox.receipts() == ["3EB0LAST"]


def test_nothing_is_left_of_receipts_on_the_disk(outbox: Outbox, tmp_path: Path) -> None:
    outbox.hand_over(outbox.add(text()).row.number, None)
    outbox.note_receipt(["3EB0NEEDLE"])
    assert b"3EB0NEEDLE" in everything(tmp_path)
    outbox.clear(KEEP)
    outbox.failed(1, "why")
    outbox.clear(KEEP)
    assert b"3EB0NEEDLE" not in everything(tmp_path)


def test_receipts_wait_for_nobody_while_nothing_is_in_doubt(outbox: Outbox) -> None:
    outbox.note_receipt(["3EB01"])
    with outbox._lock:  # somebody writes
        outbox.note_receipt(["3EB02"])


def test_a_move_that_was_undone_leaves_its_row_in_doubt(outbox: Outbox, tmp_path: Path) -> None:
    outbox.hand_over(outbox.add(text()).row.number, None)
    outbox._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(tmp_path / OUTBOX, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for change in (lambda: outbox.sent(1, "3EB01"), lambda: outbox.note_receipt(["3EB01"])):
            with pytest.raises(sqlite3.OperationalError):
                change()
    outbox.note_receipt(["3EB01"])
    assert outbox.receipts() == ["3EB01"]


# What goes


def test_nothing_is_left_of_texts_and_chats_that_are_over(
    outbox: Outbox, tmp_path: Path, clock: Clock
) -> None:
    for number in range(300):
        outbox.add(text(str(number)))
    for number in range(1, 299):
        outbox.hand_over(number, None)
        outbox.sent(number, f"3EB0{number}")
    outbox.hand_over(299, None)
    outbox.unknown(299, "nobody knows")
    assert everything(tmp_path).count(b"needle") >= 300
    pauses: list[None] = []
    clock.now += 2 * DAY
    assert outbox.clear(Retention(DAY, DAY), pause=lambda: pauses.append(None)) == []
    assert len(pauses) >= 2, "in batches"
    left = everything(tmp_path)
    assert {left[at : at + 10] for at in range(len(left)) if left.startswith(b"needle", at)} == {
        b"needle 299"
    }
    assert left.count(NUMBER) == everything(tmp_path).count(NUMBER) > 0, "of the row that waits"
    row = outbox.row(1)
    assert (row.state, row.message, row.to, row.as_json()["to"]) == (State.SENT, "3EB01", "", None)
    with pytest.raises(NoRow):
        outbox.outgoing(1)
    assert outbox.add(text("0")).again, "the key is known still"
    assert outbox.outgoing(300) == text("299").outgoing
    clock.now += 2 * DAY
    outbox.clear(Retention(DAY, DAY))
    with pytest.raises(NoRow):
        outbox.row(1)
    assert [row.number for row in outbox.waiting()] == [300]
    outbox.take_back(300)
    clock.now += 2 * DAY
    outbox.clear(Retention(DAY, DAY))
    assert NUMBER not in everything(tmp_path)
    assert b"needle" not in everything(tmp_path)
    assert outbox.add(text("new")).row.number == 301, "no number comes again"


def test_files_go_with_the_last_row_that_needs_them(outbox: Outbox, clock: Clock) -> None:
    for key, id_ in (("1", "17"), ("2", "18"), ("3", "18")):
        outbox.add(picture(key, id_))
    assert outbox.files() == {"17", "18"}
    for number in (1, 2):
        outbox.take_back(number)
    assert outbox.files() == {"18"}
    clock.now += 8 * DAY
    assert outbox.clear(KEEP) == ["17"]
    outbox.take_back(3)
    clock.now += 8 * DAY
    assert outbox.clear(KEEP) == ["18"]


# Kills, damage, disks


def steps(outbox: Outbox) -> None:
    """Send two messages; one of them twice, and in the end it is not known."""
    outbox.add(text("1"))
    outbox.add(text("2"))
    outbox.schedule(1, Pace.NEW, 5.0)
    outbox.hand_over(1, Pace.NEW)
    outbox.put_back(1, "it never left")
    outbox.hand_over(1, Pace.NEW)
    outbox.unknown(1, "nobody knows")
    outbox.sent(1, "3EB0")
    outbox.note_contacts({CHAT: Contact(heard_at=1.0)})
    outbox.remember("[]")
    outbox.take_back(2)
    outbox.clear(Retention(-1.0, -1.0))


def killed_at(folder: Path, statement: int) -> bool:
    """Do all that in a process that is killed before a statement of SQL; tell whether it was."""
    pid = os.fork()
    if pid == 0:
        left = [statement]

        def count(_statement: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with suppress(BaseException):
            outbox = Outbox.open(folder, Clock())
            outbox._connection.set_trace_callback(count)
            steps(outbox)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_before_any_statement_leaves_whole_rows(tmp_path: Path) -> None:
    seen: list[tuple[str, ...]] = []
    for statement in range(1000):
        folder = tmp_path / str(statement)
        folder.mkdir()
        killed = killed_at(folder, statement)
        with closing(Outbox.open(folder, Clock())) as outbox:
            rows = {row.number: row for row in outbox.waiting()}
            for number in (1, 2):
                with suppress(NoRow):
                    rows[number] = outbox.row(number)
            unsettled = set(outbox.unsettled().values())
            for row in rows.values():
                assert (row.number in unsettled) == (row.state in (State.SENDING, State.UNKNOWN))
                assert (row.message is not None) == (row.state is State.SENT)
                if not row.state.is_over:
                    assert outbox.outgoing(row.number) == text(str(row.number)).outgoing
            seen.append(tuple(str(rows[number].state) for number in sorted(rows)))
            for key in ("1", "2"):  # whoever asked does so again
                assert outbox.add(text(key)).row.number == int(key)
        if not killed:
            break
    assert not killed
    found = list(dict.fromkeys(seen))
    assert found == [
        (), ("queued",), ("queued", "queued"), ("sending", "queued"), ("unknown", "queued"),
        ("sent", "queued"), ("sent", "taken_back"),
    ]  # fmt: skip


def test_on_a_full_disk_nothing_has_changed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1024) as folder:
        with closing(Outbox.open(folder)) as outbox:
            outbox.add(text("1"))
            filler = fill(folder)
            keys = (str(number) for number in range(2, 1000))
            with pytest.raises(sqlite3.OperationalError, match="full"):
                all(outbox.add(text(key)) for key in keys)
            before = outbox.waiting()
            with pytest.raises(sqlite3.OperationalError, match="full"):
                all(outbox.hand_over(row.number, None) for row in before)
            handed = set(outbox.unsettled().values())
            assert {row.number for row in outbox.waiting() if row.state is State.SENDING} == handed
            filler.unlink()
            for row in before:
                if row.number not in handed:
                    outbox.hand_over(row.number, None)
            assert set(outbox.unsettled().values()) == {row.number for row in before}
        with closing(Outbox.open(folder)) as again:
            assert len(again.waiting()) == len(before)


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
@pytest.mark.parametrize("by", ["process", "service"])
def test_a_damaged_outbox_is_put_aside_and_numbers_go_on(
    tmp_path: Path, clock: Clock, damage: bytes, by: str
) -> None:
    (tmp_path / OUTBOX).write_bytes(damage)
    with alone(tmp_path, clock) if by == "service" else closing(Outbox.open(tmp_path, clock)) as outbox:
        number = outbox.add(text()).row.number
    assert number > clock.now
    (aside,) = tmp_path.glob("damaged-outbox-*.sqlite3")
    assert aside.read_bytes() == damage
    with closing(Outbox.open(tmp_path, clock)) as again:
        assert again.add(text("2")).row.number == number + 1


def test_numbers_go_on_after_those_of_earlier_outboxes(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / BEGIN).write_text("70\n")
    with closing(Outbox.open(tmp_path, clock)) as outbox:
        assert outbox.add(text()).row.number == 71


def test_an_outbox_of_a_later_version_is_left_alone(outbox: Outbox, tmp_path: Path) -> None:
    outbox.close()
    with closing(sqlite3.connect(tmp_path / OUTBOX)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / OUTBOX).read_bytes()
    for open_ in (Outbox.open, OutboxReader.open, opened_alone):
        with pytest.raises(OutboxError, match=r"the outbox .* is of version 99"):
            open_(tmp_path)
    assert (tmp_path / OUTBOX).read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER bad AFTER INSERT ON rows BEGIN SELECT 1; END",
        "CREATE VIEW bad AS SELECT 1",
        "ALTER TABLE rows ADD COLUMN bad AS (hex(zeroblob(1000)))",
        "CREATE INDEX bad ON rows (hex(zeroblob(1000)))",
        "DROP TABLE meta",
    ],
)
def test_a_database_of_another_form_is_not_read(outbox: Outbox, tmp_path: Path, statement: str) -> None:
    outbox.close()
    with closing(sqlite3.connect(tmp_path / OUTBOX)) as connection, connection:
        connection.execute(statement)
    for open_ in (Outbox.open, OutboxReader.open, opened_alone):
        with pytest.raises(OutboxError, match="is no outbox"):
            open_(tmp_path)


# The service, in the place of a process


def opened_alone(folder: Path) -> None:
    with alone(folder):
        pass


def test_the_service_writes_what_the_process_finds(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with alone(folder) as outbox:
        outbox.add(text())
        assert not (folder / f"{OUTBOX}-shm").exists(), "nothing is mapped into memory"
    assert [path.name for path in folder.iterdir()] == [OUTBOX]
    assert folder.stat().st_mode & 0o777 == 0o700
    with closing(Outbox.open(folder)) as outbox:
        assert outbox.outgoing(1) == text().outgoing
        with pytest.raises(OutboxBusy):
            opened_alone(folder)
        outbox.take_back(1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_service_goes_on_after_a_killed_process(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            Outbox.open(tmp_path).add(text())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    # What the process has left for SQLite to map: whoever did would be killed by it.
    os.truncate(tmp_path / f"{OUTBOX}-shm", 0)
    with alone(tmp_path) as outbox:
        assert outbox.add(text("2")).row.number == 2
    with closing(Outbox.open(tmp_path)) as outbox:
        assert [row.number for row in outbox.waiting()] == [1, 2]


def test_the_service_waits_for_a_reader(tmp_path: Path) -> None:
    opened_alone(tmp_path)
    reader = OutboxReader.open(tmp_path)
    with pytest.raises(OutboxBusy):
        opened_alone(tmp_path)
    reader.close()
    opened_alone(tmp_path)


@pytest.mark.parametrize("what", ["link", "second name", "fifo", "journal", "folder"])
def test_the_service_opens_nothing_but_files_of_the_account(tmp_path: Path, what: str) -> None:
    folder, mine = tmp_path / "a", tmp_path / "mine"
    opened_alone(folder)
    opened_alone(mine)
    before = (mine / OUTBOX).read_bytes()
    path = folder / OUTBOX
    match what:
        case "link":
            path.unlink()
            path.symlink_to(mine / OUTBOX)
        case "second name":
            path.unlink()
            path.hardlink_to(mine / OUTBOX)
        case "fifo":
            os.mkfifo(folder / f"{OUTBOX}-wal")
        case "journal":
            (folder / f"{OUTBOX}-journal").write_bytes(b"x")
        case "folder":
            path.unlink()
            folder.rmdir()
            folder.symlink_to(mine)
    with pytest.raises(OutboxError):
        opened_alone(folder)
    assert (mine / OUTBOX).read_bytes() == before
    assert [one.name for one in mine.iterdir()] == [OUTBOX]


def test_only_the_owner_may_read(outbox: Outbox, tmp_path: Path) -> None:
    outbox.add(text())
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


# Readers


def test_a_reader_sees_rows(outbox: Outbox, tmp_path: Path) -> None:
    for number in range(10):
        outbox.add(text(str(number)))
    outbox.take_back(4)
    with closing(OutboxReader.open(tmp_path)) as reader:
        assert [row.number for row in reader.rows(3, 3)] == [4, 5, 6]
        assert [row.number for row in reader.rows(3, 3, {State.QUEUED})] == [5, 6, 7]
        assert [row.number for row in reader.last(2)] == [9, 10]
        assert reader.row(4).state is State.TAKEN_BACK
        assert reader.outgoing(5) == text("4").outgoing
        assert reader.count({State.QUEUED}) == 9
        before = reader.changed()
        outbox.hand_over(1, None)
        outbox.sent(1, "3EB0")
        assert reader.changed() != before
        assert reader.by_message("3EB0") == reader.row(1)
        assert reader.by_message("3EB1") is None
        for call in (reader.row, reader.outgoing):
            with pytest.raises(NoRow):
                call(11)


def test_no_outbox_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoOutbox, match="there is no outbox"):
            OutboxReader.open(folder)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "other"), ("kind", 5), ("chat", "a b@lid"), ("chat", b"\xff"), ("state", "other"),
        ("created_at", "soon"), ("changed_at", -1.0), ("expires_at", 1e300), ("queued_until", "x"),
        ("message", "a b"), ("message", "x" * 500), ("pace", "other"), ("code", "x"), ("code", -1),
        ("why", "a\nb"), ("why", "x" * 500), ("tag", "x" * 600), ("tag", b"\xff"),
    ],
)  # fmt: skip
def test_a_row_that_is_none_is_left_out(outbox: Outbox, tmp_path: Path, column: str, value: object) -> None:
    for number in range(3):
        outbox.add(text(str(number)))
    with closing(sqlite3.connect(tmp_path / OUTBOX)) as connection, connection:
        connection.execute(f"UPDATE rows SET {column} = ? WHERE number = 2", (value,))
    with closing(OutboxReader.open(tmp_path)) as reader:
        assert [row.number for row in reader.rows()] == [1, 3]
        with pytest.raises(NoRow):
            reader.row(2)


@pytest.mark.parametrize("body", ["{", "[]", '{"to": "x"}', b"\xff", 5])
def test_a_message_that_is_none_is_no_message(outbox: Outbox, tmp_path: Path, body: object) -> None:
    outbox.add(text())
    with closing(sqlite3.connect(tmp_path / OUTBOX)) as connection, connection:
        connection.execute("UPDATE rows SET body = ?", (body,))
    with closing(OutboxReader.open(tmp_path)) as reader, pytest.raises(NoRow):
        reader.outgoing(1)


def test_no_question_reads_all_rows(outbox: Outbox) -> None:
    """An outbox has some ten thousand rows, and is asked while messages are sent."""
    asked: list[str] = []
    outbox.add(text())
    outbox._connection.set_trace_callback(asked.append)
    steps(outbox)
    outbox._connection.set_trace_callback(None)
    plans = [
        row[3]
        for statement in asked
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and " rows" in statement
        for row in outbox._connection.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert plans
    assert [one for one in plans if one.startswith("SCAN") and one != "SCAN CONSTANT ROW"] == []


def test_nothing_of_a_message_is_shown(outbox: Outbox) -> None:
    added = outbox.add(text())
    shown = f"{text()!r} {added!r} {outbox.outgoing(1)!r} {outbox!r}"
    assert "needle" not in shown
    assert NUMBER.decode() not in shown


# Any order of anything


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*MOVES, "add", "clear", "open"]), st.integers(0, 3)), max_size=60))
def test_rows_come_once_and_end_once(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("outbox"), Clock()
    outbox = Outbox.open(folder, clock)
    ends: dict[int, State] = {}
    numbers: dict[int, int] = {}
    for move, which in moves:
        clock.now += 3600
        if move == "add":
            row = outbox.add(text(str(which))).row
            if numbers.setdefault(which, row.number) != row.number:
                assert row.number > max(numbers.values())
                numbers[which] = row.number
        elif move == "clear":
            outbox.clear(KEEP)
        elif move == "open":
            outbox.close()
            outbox = Outbox.open(folder, clock)
        else:
            with suppress(NotWaiting, NoRow):
                MOVES[move](outbox, numbers.get(which, 99))
        for number in numbers.values():
            with suppress(NoRow):
                state = outbox.row(number).state
                if number in ends:
                    assert state is ends[number]
                elif state.is_over:
                    ends[number] = state
    counted = [row for row in outbox.waiting() if row.state is State.SENDING or row.expires_at >= clock.now]
    assert outbox.count == sum(row.state is not State.UNKNOWN for row in counted)
    outbox.close()
    assert len(files(folder / OUTBOX)) == 4
    assert [path.name for path in folder.iterdir()] == [OUTBOX]


def test_the_body_is_what_the_service_passes_on() -> None:
    assert wire.from_text(text().body) == text().outgoing
