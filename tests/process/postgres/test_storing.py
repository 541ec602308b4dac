"""Messages of many accounts in one database that crashes, is taken over, or says nothing of a commit."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from support.outboxes import new
from support.postgres import FreshDatabase, serving
from support.storing import storing_in

from orchestrator.errors import StoreAway
from orchestrator.messages import storing
from orchestrator.messages.entry import Entry
from orchestrator.messages.outbox_form import KeyConflict
from orchestrator.messages.remote import Channel, RemoteInbox, RemoteInboxView, RemoteOutbox
from orchestrator.messages.serving import Serving
from orchestrator.messages.storing import Question
from orchestrator.postgres.database import Database
from orchestrator.postgres.messages.writer import Writer

ADA = "269139479534551@lid"
ACCOUNTS = [f"account{number}" for number in range(6)]


def entry(number: int) -> Entry:
    return Entry("message", ADA, ADA, f"3EB0{number:06}", 1.0, b"needle %d" % number)


def ids(channel: Channel) -> list[tuple[int, str]]:
    return [(one.seq, one.id) for one in RemoteInboxView(channel).after(0, 10_000)]


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_crash_of_the_database_loses_nothing_and_doubles_nothing() -> None:
    """Accounts write all the time while the server crashes, again and again."""
    with serving(fsync="on") as server, storing_in(server.make_database().prepared(), time.time) as open_one:
        channels = {one: open_one(one) for one in ACCOUNTS}
        ready = threading.Barrier(len(ACCOUNTS) + 1)

        over, done = threading.Event(), dict.fromkeys(ACCOUNTS, 0)

        def write(account: str) -> tuple[list[int | None], list[int]]:
            inbox, outbox = RemoteInbox(channels[account]), RemoteOutbox(channels[account])
            seqs, rows = [], []
            ready.wait(30)
            for number in itertools.count():
                if over.is_set():
                    break
                seqs.append(inbox.append(entry(number)))
                done[account] = number
                if number % 3 == 0:
                    rows.append(outbox.add(new(str(number))).row.number)
            return seqs, rows

        with ThreadPoolExecutor() as pool:
            written = {one: pool.submit(write, one) for one in ACCOUNTS}
            ready.wait(30)
            for crashes in range(1, 4):
                wait_until(lambda crashes=crashes: all(done[one] > 20 * crashes for one in ACCOUNTS))  # type: ignore[misc]
                server.crash()
                server.start()
            over.set()
            found = {one: future.result(120) for one, future in written.items()}
        for account, (seqs, rows) in found.items():
            stored = ids(channels[account])
            assert stored == [(number + 1, entry(number).id) for number in range(len(seqs))]
            # None: it was stored by a commit of which nobody knew.
            assert [one for one in seqs if one is not None] == [
                seq for seq, one in enumerate(seqs, 1) if one is not None
            ]
            assert rows == list(range(1, len(rows) + 1))
            assert [row.number for row in RemoteOutbox(channels[account]).waiting()] == rows


def test_while_the_database_is_away_nothing_is_answered_and_then_all_are_told() -> None:
    told = threading.Event()
    with serving() as server:
        database = server.make_database().prepared()
        with storing_in(database, time.time, lost=told.set) as open_one:
            inbox = RemoteInbox(open_one("support"))
            server.stop()
            with pytest.raises(StoreAway, match="cannot be reached"):
                inbox.append(entry(1))
            assert told.is_set()
            server.start()
            assert inbox.append(entry(1)) == 1, "it is asked again, and stored"


class Silent(Writer):
    """Says nothing of its first commits of anything."""

    silences = 0

    def _store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        answers = super()._store(group)
        if self.silences < 3 and any(question.word not in storing.READS for _, question in group):
            self.silences += 1
            raise psycopg.OperationalError("the connection was lost")
        return answers


def test_a_commit_of_which_nobody_knows_is_done_once(fresh: FreshDatabase) -> None:
    writer = Silent(fresh.prepared(), uuid4())
    at = Serving(writer)
    at.start()
    channel = Channel(at.open("support"))
    try:
        outbox = RemoteOutbox(channel)
        assert outbox.add(new("one")).row.number == 1, "and not again"
        assert writer.silences == 3
        assert [row.number for row in outbox.waiting()] == [1]
        writer.silences = 0
        assert RemoteInbox(channel).append(entry(1)) is None
        assert ids(channel) == [(1, entry(1).id)]
    finally:
        channel.close()
        at.close()


def test_who_is_told_that_the_database_is_away_hears_whether_it_may_have_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database ends after a commit and before its answer, and is away for longer than anybody waits."""
    with serving() as server:
        at = Serving(Writer(server.make_database().prepared(), uuid4()))
        monkeypatch.setattr(at._groups, "_patience", 1.0)
        at.start()
        first, second = Channel(at.open("first")), Channel(at.open("second"))
        outbox, other = RemoteOutbox(first), RemoteOutbox(second)
        commit, lost = psycopg.Connection[Any].commit, threading.Event()

        def commit_and_be_lost(connection: psycopg.Connection[Any]) -> None:
            commit(connection)
            if not lost.is_set():
                server.stop()
                lost.set()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        with ThreadPoolExecutor() as pool, monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "commit", commit_and_be_lost)
            adding = pool.submit(outbox.add, new("one"))
            assert lost.wait(30)
            with pytest.raises(StoreAway) as away:
                other.add(new("two"))
            assert not away.value.in_doubt, "nobody has ever had it"
            with pytest.raises(StoreAway) as lost_answer:
                adding.result(30)
            assert lost_answer.value.in_doubt
        server.start()
        assert [row.number for row in outbox.waiting()] == [1]
        assert outbox.add(new("one")).again
        assert other.waiting() == []
        at.close()
        with pytest.raises(StoreAway) as gone:
            outbox.add(new("three"))
        assert gone.value.in_doubt
        with pytest.raises(StoreAway) as unread:
            outbox.waiting()
        assert not unread.value.in_doubt, "who only reads has nothing to fear"
        first.close()
        second.close()


def rows_of(database: Database) -> list[tuple[Any, ...]]:
    return database.run(
        lambda connection: connection.execute(
            "SELECT box, seq FROM orchestrator_messages.entry ORDER BY 1, 2"
        ).fetchall()
    )


def test_who_was_replaced_writes_nothing_any_more(fresh: FreshDatabase) -> None:
    """A service that was frozen goes on as if nothing had happened, and another has taken over meanwhile."""
    database = fresh.prepared()
    with storing_in(database, time.time) as old, storing_in(database, time.time) as younger:
        frozen = old("support")
        inbox, outbox = RemoteInbox(frozen), RemoteOutbox(frozen)
        inbox.append(entry(1))
        outbox.add(new("one"))
        successor = younger("support")
        assert RemoteInbox(successor).append(entry(2)) == 2
        before = rows_of(database)
        with pytest.raises(StoreAway, match="taken over"):
            inbox.append(entry(3))
        for write in (
            lambda: outbox.add(new("two")),
            lambda: outbox.take_back(1),
            lambda: inbox.set_meta(a="b"),
            lambda: inbox.ledger.pass_over([bytes(16)], 1.0),
        ):
            with pytest.raises(StoreAway, match="taken over"):
                write()
        assert rows_of(database) == before
        assert RemoteInbox(successor).append(entry(3)) == 3, "nothing of what was refused is there"
        assert RemoteOutbox(successor).waiting()[0].number == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM orchestrator_messages.entry",
        "UPDATE orchestrator_messages.entry SET raw = ''",
        "INSERT INTO orchestrator_messages.entry SELECT (one).* FROM orchestrator_messages.entry AS one",
        "DELETE FROM orchestrator_messages.outgoing",
        "UPDATE orchestrator_messages.outgoing SET state = 'sent'",
    ],
)
def test_the_database_itself_refuses_a_write_of_another(fresh: FreshDatabase, statement: str) -> None:
    database = fresh.prepared()
    with storing_in(database, time.time) as open_one:
        channel = open_one("support")
        RemoteInbox(channel).append(entry(1))
        RemoteOutbox(channel).add(new("one"))
        connection = database.connect()
        with connection, pytest.raises(psycopg.Error, match="another service owns"):
            connection.execute(statement)
        assert ids(channel) == [(1, entry(1).id)]


def test_one_that_is_refused_harms_no_other(fresh: FreshDatabase) -> None:
    with storing_in(fresh.prepared(), time.time) as open_one:
        channels = {one: open_one(one) for one in ACCOUNTS}
        for channel in channels.values():
            RemoteOutbox(channel).add(new("one", key="1"))

        def work(account: str) -> int:
            outbox, inbox = RemoteOutbox(channels[account]), RemoteInbox(channels[account])
            for number in range(40):
                if account == ACCOUNTS[0]:
                    with pytest.raises(KeyConflict):
                        outbox.add(new("other", key="1"))
                else:
                    inbox.append(entry(number))
            return int(inbox.count)

        with ThreadPoolExecutor() as pool:
            assert list(pool.map(work, ACCOUNTS)) == [0, *[40] * (len(ACCOUNTS) - 1)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        storing.LENGTHS.pack(4, 0) + b"nope",
        storing.write([None, "append", []]),
        storing.write([None, "drop", []]),
        storing.write([None, "meta", ["x" * 1000]]),
        storing.write([None, "row", [-1]]),
        storing.write([None, "sending", [bytes(16), bytes(15), ADA, 1.0]]),
    ],
)
def test_what_is_no_question_costs_its_sender_the_line_and_nobody_else(
    fresh: FreshDatabase, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    at = Serving(Writer(fresh.prepared(), uuid4()))
    at.start()
    bad, good = at.open("bad"), Channel(at.open("good"))
    try:
        inbox = RemoteInbox(good)
        bad.sendall(garbage)
        bad.settimeout(30)
        assert bad.recv(1) == b""
        assert "no question" in caplog.text
        assert inbox.append(entry(1)) == 1
    finally:
        bad.close()
        good.close()
        at.close()


def test_who_reads_no_answer_holds_up_nobody(fresh: FreshDatabase) -> None:
    at = Serving(Writer(fresh.prepared(), uuid4()))
    at.start()
    mute, good = at.open("mute"), Channel(at.open("good"))
    large = Entry("message", ADA, ADA, "3EB0", 1.0, bytes(4 << 20))
    try:
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        RemoteInbox(Channel(mute)).append(large)
        mute.sendall(storing.write([None, "after", [0, 10, None, 1 << 30]]))
        inbox = RemoteInbox(good)
        assert [inbox.append(entry(number)) for number in range(20)] == list(range(1, 21))
    finally:
        mute.close()
        good.close()
        at.close()
