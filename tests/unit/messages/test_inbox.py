"""The inbox: nothing twice, nothing out of order, nothing left of what was deleted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.accounts.settings import Messages
from orchestrator.messages import database
from orchestrator.messages.database import DATABASE, InboxError, NoInbox, files
from orchestrator.messages.entry import (
    MAX_RAW,
    Entry,
    Stored,
    UnfitError,
    address,
    check,
    identifier,
    seconds,
)  # fmt: skip
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.retention import SEEN_SECONDS, Retention
from orchestrator.store.layout import BEGIN

CHAT = "269139479534551@lid"
DAY = 86_400.0


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path, clock: Clock) -> Iterator[Inbox]:
    opened = Inbox.open(tmp_path, clock)
    yield opened
    opened.close()


def entry(number: int, **changes: Any) -> Entry:  # noqa: ANN401
    values = {"source": "message", "chat": CHAT, "sender": CHAT, "id": f"3EB0{number:06}", "at": 1.0}
    return Entry(**{**values, "raw": b"needle %d" % number, **changes})


def read(folder: Path) -> list[Stored]:
    reader = Reader.open(folder)
    try:
        return reader.after(0, 10_000)
    finally:
        reader.close()


def last(inbox: Inbox) -> float | None:
    return inbox.last_message_at


def test_when_the_last_message_was_stored_is_known_again(tmp_path: Path, clock: Clock) -> None:
    def reopened() -> Inbox:
        return Inbox.open(tmp_path, clock)

    inbox = reopened()
    assert last(inbox) is None
    inbox.append(entry(1, source="receipt"))
    assert last(inbox) is None, "a receipt is no message"
    clock.now += 10
    inbox.append(entry(2))
    came = clock.now
    clock.now += 10
    inbox.append(entry(2))
    inbox.append(entry(3, source="lost"))
    assert last(inbox) == came, "the same message again is none"
    inbox.close()
    inbox = reopened()
    assert last(inbox) == came
    clock.now += 10
    inbox.append(entry(4))
    assert last(inbox) == clock.now
    inbox.close()


def test_only_the_last_entries_are_looked_at_for_a_message(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.messages.inbox._LOOKED_AT", 3)
    inbox = Inbox.open(tmp_path, clock)
    for number, source in enumerate(("message", "lost", "lost")):
        inbox.append(entry(number, source=source))
    inbox.close()
    inbox = Inbox.open(tmp_path, clock)
    assert inbox.last_message_at == clock.now
    inbox.append(entry(9, source="lost"))
    inbox.close()
    inbox = Inbox.open(tmp_path, clock)
    assert inbox.last_message_at is None
    inbox.close()


def test_what_is_stored_is_read_in_order_and_as_it_was(inbox: Inbox, tmp_path: Path, clock: Clock) -> None:
    wanted = [entry(number, notes={"phones": {CHAT: "+49151"}}, extra="x") for number in range(250)]
    assert [inbox.append(one) for one in wanted] == list(range(1, 251))
    found = read(tmp_path)
    assert [one.seq for one in found] == list(range(1, 251))
    assert all(one.stored_at == clock.now for one in found)
    assert [(one.id, one.raw, one.notes, one.extra) for one in found] == [
        (one.id, one.raw, one.notes, one.extra) for one in wanted
    ]
    reader = Reader.open(tmp_path)
    assert [one.seq for one in reader.after(240, 3)] == [241, 242, 243]
    assert (reader.before_last(2), reader.before_last(251)) == ((248, True), (0, False))
    assert [one.seq for one in reader.find("3EB0000007")] == [8]
    assert reader.newest() == 250


def test_a_reader_takes_few_large_messages_at_once(inbox: Inbox, tmp_path: Path) -> None:
    for number in range(9):
        inbox.append(entry(number, raw=bytes(MAX_RAW)))
    with contextlib.closing(Reader.open(tmp_path)) as reader:
        seqs: list[int] = []
        while batch := reader.after(seqs[-1] if seqs else 0, 200):
            assert sum(len(one.raw) for one in batch) <= 5 * MAX_RAW
            seqs += [one.seq for one in batch]
        assert seqs == list(range(1, 10))


def test_a_message_is_found_among_whatever_has_its_identifier(inbox: Inbox, tmp_path: Path) -> None:
    others = [entry(1, sender=f"{number}@lid", chat="1@g.us", raw=bytes(MAX_RAW)) for number in range(9)]
    for one in (*others, entry(1, source="receipt"), entry(1)):
        inbox.append(one)
    with contextlib.closing(Reader.open(tmp_path)) as reader:
        found = reader.message(CHAT, entry(1).id)
        assert found is not None
        assert (found.source, found.chat) == ("message", CHAT)
        assert reader.message("2@lid", entry(1).id) is None
        assert reader.chats_of(entry(1).id) == ["1@g.us", CHAT]


def test_the_same_entry_is_stored_once(inbox: Inbox) -> None:
    assert inbox.append(entry(1)) == 1
    assert inbox.append(entry(1, raw=b"other", at=5.0, notes={"a": 1})) is None
    assert inbox.append(entry(1, source="lost")) is not None
    assert inbox.append(entry(1, sender="1@lid")) is not None
    assert inbox.append(entry(1, extra="read")) is not None
    assert (inbox.count, inbox.lost) == (4, 1)


def test_an_entry_that_was_deleted_does_not_come_again(inbox: Inbox, clock: Clock) -> None:
    inbox.append(entry(1))
    clock.now += 8 * DAY
    assert inbox.clear(Retention(7 * DAY, 30 * DAY)) == 1
    assert inbox.append(entry(1)) is None
    assert inbox.ledger.known([entry(1).key]) == {entry(1).key}
    clock.now += SEEN_SECONDS + 30 * DAY
    inbox.clear(Retention(7 * DAY, 30 * DAY))
    assert inbox.ledger.known([entry(1).key]) == set()


def test_numbers_rise_across_everything(tmp_path: Path, clock: Clock) -> None:
    for _ in range(3):
        inbox = Inbox.open(tmp_path, clock)
        inbox.append(entry(int(clock.now)))
        clock.now += 10 * DAY
        inbox.clear(Retention(DAY, DAY))
        inbox.close()
    with contextlib.closing(Reader.open(tmp_path)) as reader:
        assert reader.newest() == 3
    (tmp_path / BEGIN).write_text("70\n")
    for file in files(tmp_path / DATABASE):
        file.unlink(missing_ok=True)
    again = Inbox.open(tmp_path, clock)
    assert again.append(entry(1)) == 71
    again.close()


@pytest.mark.parametrize("taken", [None, 0, 2, 5])
def test_only_what_all_have_had_goes_after_the_shorter_time(
    inbox: Inbox, tmp_path: Path, clock: Clock, taken: int | None
) -> None:
    for number in range(5):
        inbox.append(entry(number))
    clock.now += 8 * DAY
    inbox.append(entry(9))
    inbox.clear(Retention(7 * DAY, 30 * DAY), taken=taken)
    assert [one.seq for one in read(tmp_path)] == list(range((5 if taken is None else taken) + 1, 7))
    clock.now += 23 * DAY
    inbox.clear(Retention(7 * DAY, 30 * DAY), taken=0)
    assert [one.seq for one in read(tmp_path)] == [6]


def test_nothing_is_left_of_what_was_deleted(inbox: Inbox, tmp_path: Path, clock: Clock) -> None:
    for number in range(1000):
        inbox.append(entry(number, notes={"names": {CHAT: f"needle of {number}"}}))
    everything = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert everything.count(b"needle") >= 2000
    clock.now += 8 * DAY
    pauses: list[None] = []
    assert inbox.clear(Retention(DAY, DAY), pause=lambda: pauses.append(None)) == 1000
    assert len(pauses) >= 5, "in batches"
    assert b"needle" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_reader_in_the_way_puts_off_the_overwriting_and_no_more(
    inbox: Inbox, tmp_path: Path, clock: Clock
) -> None:
    inbox.append(entry(1))
    inbox.clear(Retention(7 * DAY, 7 * DAY))
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM entries").fetchall()
    clock.now += 8 * DAY
    inbox._connection.execute("PRAGMA busy_timeout = 10")
    assert inbox.clear(Retention(DAY, DAY)) == 1
    other.execute("COMMIT")
    other.close()
    assert inbox.clear(Retention(DAY, DAY)) == 0
    assert b"needle" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_reader_in_the_way_does_not_hold_up_what_comes_in(
    inbox: Inbox, tmp_path: Path, clock: Clock
) -> None:
    inbox.append(entry(1))
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM entries").fetchall()
    clock.now += 8 * DAY
    inbox._connection.execute("PRAGMA busy_timeout = 3600000")
    thread = threading.Thread(target=inbox.clear, args=(Retention(DAY, DAY),), daemon=True)
    thread.start()
    thread.join(30)
    waits = thread.is_alive()
    other.execute("COMMIT")
    other.close()
    thread.join(30)
    assert not waits, "and a callback would wait with it"
    assert inbox._connection.execute("PRAGMA busy_timeout").fetchone() == (3_600_000,)


def test_what_could_not_be_written_is_not_counted(inbox: Inbox, clock: Clock) -> None:
    for number, source in enumerate(("message", "lost")):
        inbox.append(entry(number, source=source))

    class Full:
        """A disk that is full whenever something is to be written for good."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk is full")
            return real.execute(statement, *values)

    real = inbox._connection
    setattr(inbox, "_connection", Full())  # noqa: B010
    clock.now += 8 * DAY
    with pytest.raises(sqlite3.OperationalError):
        inbox.append(entry(9, source="lost"))
    with pytest.raises(sqlite3.OperationalError):
        inbox.clear(Retention(DAY, DAY))
    setattr(inbox, "_connection", real)  # noqa: B010
    assert (inbox.count, inbox.lost) == (2, 1)


def test_no_question_of_a_start_reads_all_messages(inbox: Inbox, tmp_path: Path) -> None:
    for number, source in enumerate(("message", "lost", "message")):
        inbox.append(entry(number, source=source, notes={"media": str(number)} if number else {}))
    inbox.close()
    asked: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:  # noqa: ANN401
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(asked.append)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", traced)
        again, reader = Inbox.open(tmp_path), Reader.open(tmp_path)
    assert (again.count, again.lost) == (3, 1)
    assert reader.with_media(0) == [(2, "1"), (3, "2")]
    plans = [
        row[3]
        for statement in asked
        if statement.startswith("SELECT") and "entries" in statement and "sqlite_" not in statement
        for row in again._connection.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert plans
    assert [one for one in plans if "USING" not in one or "PRIMARY KEY" in one] == []
    for one in (again, reader):
        one.close()


def test_only_the_owner_may_read(inbox: Inbox, tmp_path: Path) -> None:
    inbox.append(entry(1))
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_many_threads_write_one_after_the_other(inbox: Inbox, tmp_path: Path) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 50):
            inbox.append(entry(number))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 400, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(tmp_path)
    assert sorted(one.id for one in found) == sorted({one.id for one in found})
    assert len(found) == inbox.count == 410


def test_marks_are_kept(inbox: Inbox, tmp_path: Path) -> None:
    assert inbox.meta("mark") is None
    inbox.set_meta(mark="1", other="2")
    inbox.set_meta(mark=None, other="3")
    inbox.close()
    again = Inbox.open(tmp_path)
    assert (again.meta("mark"), again.meta("other")) == (None, "3")
    again.close()


def test_no_inbox_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoInbox, match="there is no inbox"):
        Reader.open(tmp_path)
    with pytest.raises(NoInbox, match="there is no inbox"):
        Reader.open(tmp_path / "nowhere")


def again_next(folder: Path, clock: Clock) -> int:
    """Return the number of the next entry."""
    with contextlib.closing(Inbox.open(folder, clock)) as inbox:
        number = inbox.append(entry(10**6))
        assert number is not None
        return number


@pytest.mark.parametrize("ahead", [0, 10, -3600], ids=["at once", "soon", "the clock is set back"])
def test_no_number_comes_again_after_one_damage_and_another(tmp_path: Path, clock: Clock, ahead: int) -> None:
    given: list[int] = []
    for round_ in range(3):
        with contextlib.closing(Inbox.open(tmp_path, clock)) as inbox:
            for number in range(50):  # a burst: more entries than seconds
                seq = inbox.append(entry(100 * round_ + number))
                assert seq is not None
                given.append(seq)
        for file in files(tmp_path / DATABASE):
            file.unlink(missing_ok=True)
        (tmp_path / DATABASE).write_bytes(b"not a database" * 100)
        clock.now += ahead
    assert sorted(set(given)) == given


def test_a_kill_while_an_inbox_is_put_aside_costs_no_number(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 100)

    class KilledError(Exception):
        pass

    def kill(_path: Path, _target: Path) -> None:
        raise KilledError

    monkeypatch.setattr(Path, "replace", kill)
    monkeypatch.setattr(Path, "rename", kill)
    with pytest.raises(KilledError):
        Inbox.open(tmp_path, clock)
    monkeypatch.undo()
    assert again_next(tmp_path, clock) > clock.now


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_inbox_is_put_aside_and_numbers_go_on(tmp_path: Path, clock: Clock, damage: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(damage)
    inbox = Inbox.open(tmp_path, clock)
    number = inbox.append(entry(1))
    assert number is not None
    assert number > clock.now
    inbox.close()
    (aside,) = tmp_path.glob("damaged-*.sqlite3")
    assert aside.read_bytes() == damage
    with contextlib.closing(Reader.open(tmp_path)) as reader:
        assert reader.newest() == number
    assert again_next(tmp_path, clock) == number + 1


def test_pages_that_are_damaged_are_found_at_the_start(tmp_path: Path, clock: Clock) -> None:
    inbox = Inbox.open(tmp_path, clock)
    for number in range(500):
        inbox.append(entry(number, raw=b"x" * 900))
    inbox.close()
    path = tmp_path / DATABASE
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 30] = b"\xfe" * (4096 * 27)
    path.write_bytes(data)
    again = Inbox.open(tmp_path, clock)
    assert (again.append(entry(1)) or 0) > 500
    again.close()
    assert list(tmp_path.glob("damaged-*"))


def test_damage_that_is_met_later_has_the_next_process_begin_anew(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CHECKED", 0)  # as if it were too large to be checked
    inbox = Inbox.open(tmp_path, clock)
    inbox.append(entry(1))
    page = inbox._connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'seen'").fetchone()[0]
    inbox.close()
    path = tmp_path / DATABASE
    data = bytearray(path.read_bytes())
    data[4096 * (page - 1) : 4096 * page] = b"\xfe" * 4096
    path.write_bytes(data)
    with contextlib.closing(Inbox.open(tmp_path, clock)) as again, pytest.raises(sqlite3.DatabaseError):
        again.append(entry(1000))
    with contextlib.closing(Inbox.open(tmp_path, clock)) as new:
        assert (new.append(entry(1000)) or 0) > 500
    with contextlib.closing(Inbox.open(tmp_path, clock)) as same:
        assert same.count == 1
    assert len(list(tmp_path.glob("damaged-*"))) == 1


def test_an_empty_file_becomes_an_inbox(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    inbox = Inbox.open(tmp_path)
    assert inbox.append(entry(1)) == 1
    inbox.close()


@pytest.mark.parametrize("make", ["link", "folder", "fifo"])
def test_something_else_in_the_place_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / DATABASE
    if make == "link":
        path.symlink_to("/etc/passwd")
    elif make == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    for open_ in (Inbox.open, Reader.open):
        with pytest.raises(InboxError, match="is no file: move it away"):
            open_(tmp_path)


def test_an_inbox_of_a_later_version_is_left_alone(inbox: Inbox, tmp_path: Path) -> None:
    inbox.append(entry(1))
    inbox.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / DATABASE).read_bytes()
    for open_ in (Inbox.open, Reader.open):
        with pytest.raises(InboxError, match="is of version 99"):
            open_(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW bad AS SELECT 1",
        "CREATE TRIGGER bad AFTER INSERT ON entries BEGIN SELECT 1; END",
        "ALTER TABLE entries RENAME TO other",
        "ALTER TABLE entries ADD COLUMN bad AS (hex(zeroblob(1000)))",
        "ALTER TABLE entries ADD COLUMN bad DEFAULT 'x'",
        "CREATE INDEX bad ON entries (hex(zeroblob(1000)))",
        "CREATE INDEX bad ON seen (at)",
        "CREATE TABLE bad (x)",
        "CREATE VIRTUAL TABLE bad USING rtree (a, b, c)",
        "DROP INDEX entries_by_id",
        "DROP TABLE meta",
    ],
)
def test_a_database_of_another_form_is_not_read(inbox: Inbox, tmp_path: Path, statement: str) -> None:
    inbox.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute(statement)
    for open_ in (Inbox.open, Reader.open):
        with pytest.raises(InboxError, match="is no inbox"):
            open_(tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("source", "other"), ("source", 5), ("chat", "a b@lid"), ("chat", "x" * 100 + "@lid"), ("sender", ""),
        ("id", "a\nb"), ("id", "x" * 500), ("at", "soon"), ("at", -1), ("at", 1e300), ("stored_at", "x"),
        ("raw", "text"), ("notes", "[1]"), ("notes", "{"), ("notes", "[" * 100_000), ("notes", b"\xff"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_entry_is_left_out_and_the_others_are_read(
    inbox: Inbox, tmp_path: Path, column: str, value: object
) -> None:
    for number in range(3):
        inbox.append(entry(number))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute(f"UPDATE entries SET {column} = ? WHERE seq = 2", (value,))
    skipped: list[object] = []
    reader = Reader.open(tmp_path, skipped.append)
    assert [one.seq for one in reader.after(0)] == [1, 3]
    assert skipped == [2]


@pytest.mark.parametrize("column", ["source", "chat", "sender", "id", "extra", "notes"])
def test_bytes_that_are_no_text_are_not_quoted_and_hide_no_other_entry(
    inbox: Inbox, tmp_path: Path, column: str
) -> None:
    for number in range(3):
        inbox.append(entry(number))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute(f"UPDATE entries SET {column} = CAST(x'6e6565646c65ff' AS TEXT) WHERE seq = 2")
    reader = Reader.open(tmp_path)
    assert [one.seq for one in reader.after(0) if one.seq != 2] == [1, 3]
    assert [one.seq for one in reader.find(entry(2).id)] == [3]
    reader.close()


def test_a_table_whose_name_is_no_text_is_damage(inbox: Inbox, tmp_path: Path, clock: Clock) -> None:
    inbox.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT) WHERE name = 'entries_by_id'")
    again = Inbox.open(tmp_path, clock)
    assert again.append(entry(1)) is not None
    again.close()


def test_what_a_reader_would_refuse_is_not_written(inbox: Inbox) -> None:
    for wrong in (
        entry(1, chat="nobody"), entry(1, id=""), entry(1, at=float("nan")),
        entry(1, raw=b"x" * (MAX_RAW + 1)), entry(1, notes={"a": "x" * 70_000}), entry(1, extra="x" * 301),
    ):  # fmt: skip
        with pytest.raises(UnfitError):
            inbox.append(wrong)
    assert inbox.count == 0


@given(st.text(max_size=400))
def test_any_identifier_becomes_one_that_is_stored_and_found_again(text: str) -> None:
    found = identifier(text)
    assert found == identifier(text)
    assert (found == text) or found.startswith("x")
    check(entry(1, id=found))


@given(st.text(max_size=80), st.text(max_size=40))
def test_an_address_is_one_or_is_refused(user: str, server: str) -> None:
    try:
        found = address(user, server)
    except UnfitError:
        return
    check(entry(1, chat=found, sender=found))


@given(st.integers(-(2**63), 2**63) | st.floats(allow_nan=False))
def test_any_time_becomes_one(time: float) -> None:
    check(entry(1, at=seconds(time)))


def test_milliseconds_are_noticed() -> None:
    assert seconds(1_795_924_657_000) == 1_795_924_657
    assert seconds(1_795_924_657) == 1_795_924_657


@settings(max_examples=30, deadline=None)
@given(keep=st.floats(60, 4000 * DAY), most=st.floats(60, 4000 * DAY), now=st.floats(0, 2**33))
def test_times_of_retention_go_together(keep: float, most: float, now: float) -> None:
    if keep > most:
        return
    retention = Retention.of(Messages(keep=keep, keep_at_most=most))
    taken, any_ = retention.delete_before(now)
    assert retention.forget_before(now) <= any_ <= taken <= now
    assert 0 < retention.interval <= max(10.0, keep / 10)


def test_the_message_of_an_attachment_is_found_by_its_identifier(
    inbox: Inbox, tmp_path: Path, clock: Clock
) -> None:
    for number in range(1, 10):
        notes = {"media": str(100 + number)} if number % 3 == 0 else {}
        inbox.append(entry(number, notes=notes))
        clock.now += DAY
    reader = Reader.open(tmp_path)
    found = reader.find_media("106")
    assert found is not None
    assert (found.id, found.notes["media"]) == (entry(6).id, "106")
    assert reader.find_media("101") is None
    assert reader.with_media(0) == [(3, "103"), (6, "106"), (9, "109")]
    assert reader.with_media(3, limit=1) == [(6, "106")]
    assert reader.with_media(0, clock.now - 2 * DAY) == [(9, "109")]
    plan = reader._connection.execute("EXPLAIN QUERY PLAN SELECT seq FROM entries WHERE media = ?", ("1",))
    assert "entries_by_media" in str(plan.fetchall())
    reader.close()
