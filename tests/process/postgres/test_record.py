"""What is written down of accounts in a database that goes away, and by services that do."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.postgres import FreshDatabase, serving

from orchestrator.errors import AlreadyRunning, StateError, StoreAway, StoreUnusable
from orchestrator.postgres import ids, ownership, record, rows, writing
from orchestrator.postgres.codes import CodeRows
from orchestrator.postgres.database import Connection, Database, Heard, Listener
from orchestrator.postgres.ownership import OwnerRow
from orchestrator.postgres.pending import Code
from orchestrator.postgres.record import RecordRows
from orchestrator.postgres.writing import Writer
from orchestrator.store.codes.draw import render
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.layout import StatePaths
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.status import Kept
from orchestrator.store.timeline import TimelineEntry
from orchestrator.store.told import Kept as Told
from orchestrator.store.told import Last

NOW = 1_800_000_000.0


def folder(path: Path, name: str = "state") -> StatePaths:
    paths = StatePaths.of(path / name, environ={})
    paths.prepare()
    return paths


@contextmanager
def recording(database: Database, paths: StatePaths) -> Iterator[RecordRows]:
    writer = Writer(database)
    yield RecordRows(database, writer, RecordFiles(paths))
    writer.close()


def entry(number: int, at: float = NOW) -> TimelineEntry:
    return TimelineEntry(at, "starting", "backoff", attempt=number)


def codes(database: Database) -> dict[str, float]:
    """Return the codes that there are, with the seconds that they still hold."""
    found = database.run(
        lambda connection: connection.execute(
            "SELECT name, extract(epoch FROM expires_at - clock_timestamp())::float8"
            " FROM orchestrator.code JOIN orchestrator.account ON account.id = code.account"
        ).fetchall()
    )
    return {str(name): float(left) for name, left in found}


# Several machines


def test_what_was_told_of_an_account_is_there_for_the_machine_that_gets_it(
    tmp_path: Path, fresh: FreshDatabase
) -> None:
    database = fresh.prepared()
    call = Last(NOW, "/usr/bin/tell")
    with (
        recording(database, folder(tmp_path, "one")) as one,
        recording(database, folder(tmp_path, "two")) as two,
    ):
        one.keep_told(Told({"a": {"down": "backoff"}, "b": {"down": "failed"}}, 3, call), {"a", "b"})
        two.keep_told(Told({"c": {"down": "failed"}}), {"c"})
        assert one.flush(30)
        assert two.told() == Told(
            {"a": {"down": "backoff"}, "b": {"down": "failed"}, "c": {"down": "failed"}}
        )
        two.keep_told(Told({"c": {"down": "failed"}}), {"a", "c"})  # a has come, and is well
        assert two.flush(30)
        one.keep_told(Told({"b": {"down": "banned"}}, 0, call), {"b"})
        assert one.flush(30)
        assert one.told() == Told({"b": {"down": "banned"}, "c": {"down": "failed"}}, 0, call)


# A database that goes away


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_what_happens_while_the_database_is_away_is_there_once_and_in_order_when_it_is_back(
    tmp_path: Path, how: str
) -> None:
    with serving() as server:
        database = server.make_database().prepared()
        with recording(database, folder(tmp_path)) as kept:
            kept.load()
            stop = threading.Event()
            numbers: list[int] = []

            def write() -> None:
                while not stop.wait(0.002):
                    numbers.append(len(numbers))
                    assert kept.append("a", entry(numbers[-1]))
                    if numbers[-1] % 7 == 0:
                        with contextlib.suppress(StoreAway):
                            kept.save({"a": Kept(shown={"number": numbers[-1]})})

            thread = threading.Thread(target=write)
            thread.start()
            try:
                for _ in range(2):
                    time.sleep(0.3)
                    server.stop() if how == "stop" else server.crash()
                    time.sleep(0.5)
                    server.start()
            finally:
                stop.set()
                thread.join()
            assert kept.flush(30)
            kept.save({"a": Kept(shown={"number": "last"})})
            assert kept.flush(30)
            found = kept.tail("a", len(numbers) + 10)
            assert [one["attempt"] for one in found] == numbers
            known = [one["n"] for one in found]
            assert known == sorted(set(known))
            assert kept.load()["a"].shown == {"number": "last"}


def test_who_asks_while_the_database_is_away_learns_what_waits(tmp_path: Path) -> None:
    with serving() as server:
        database = server.make_database().prepared()
        with recording(database, folder(tmp_path)) as kept:
            kept.append("a", entry(1))
            assert kept.flush(10)
            server.stop()
            kept.append("a", entry(2))
            assert not kept.flush(1)
            assert [one["attempt"] for one in kept.tail("a", 9)] == [2]
            assert kept.alive() is None
            with pytest.raises(StoreAway):  # who goes by numbers must not begin again with the first one
                kept.newest("a")
            with pytest.raises(StoreAway):
                kept.after("a", 0, 9)
            with pytest.raises(StateError, match="cannot be reached") as caught:
                kept.save({"a": Kept(stopped=True)})
            assert caught.value.key == "store_away"
            with pytest.raises(StateError, match="cannot be reached"):
                kept.load()
            server.start()
            assert kept.flush(10)
            assert [one["attempt"] for one in kept.tail("a", 9)] == [1, 2]
            assert kept.load()["a"].stopped


@pytest.mark.parametrize("how", ["fails", "takes long"])
def test_who_reads_on_in_a_history_is_told_that_its_newest_entry_is_not_written_yet(
    tmp_path: Path, fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An answer without it would pass for all that there is, until something else happens to the account."""
    begun, may_write = threading.Event(), threading.Event()

    def check(connection: Connection) -> None:  # noqa: ARG001
        begun.set()
        if how == "takes long":
            may_write.wait(30)
        elif not may_write.is_set():
            raise StoreAway("the database does not answer")

    monkeypatch.setattr(record, "_FIRST_SECONDS", 0.05)
    database = fresh.prepared()
    writer = Writer(database, check)
    kept = RecordRows(database, writer, RecordFiles(folder(tmp_path)))
    try:
        kept.append("a", entry(1))
        assert begun.wait(30)
        with pytest.raises(StoreAway):
            kept.after("a", 0, 10)
        with pytest.raises(StoreAway):
            kept.newest("a")
        # Nothing is missing of others, and who asks for what there is gets what there is.
        assert (kept.after("b", 0, 10), kept.newest("b")) == ([], 0)
        assert [one["attempt"] for one in kept.tail("a", 5)] == [1]
        assert list(kept.backwards("a")) == []
        may_write.set()
        assert kept.flush(30)
        (found,) = kept.after("a", 0, 10)
        assert (found["attempt"], found["n"]) == (1, kept.newest("a"))
    finally:
        may_write.set()
        writer.close()


def test_a_command_waits_for_what_it_writes(tmp_path: Path) -> None:
    with serving() as server:
        database = server.make_database().prepared()
        writer = Writer(database)
        kept = RecordRows(database, writer, RecordFiles(folder(tmp_path)), waits=True)
        kept.save({"a": Kept(stopped=True)})
        assert writer.look(lambda pending: [] if pending.is_empty else ["waits"]) == []
        server.stop()
        with pytest.raises(StateError, match="cannot be reached"):
            kept.save({"a": Kept()})
        assert not writer.close(0.1)


def test_maintenance_is_written_before_anybody_relies_on_it(tmp_path: Path, fresh: FreshDatabase) -> None:
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        kept.keep_maintenance(NOW)
        with fresh.superuser() as other:
            row = other.execute("SELECT value FROM orchestrator.fact WHERE key = 'maintenance'").fetchone()
            assert row == ({"since": NOW},)


def test_maintenance_that_makes_no_sense_is_on_since_it_was_written(
    tmp_path: Path, fresh: FreshDatabase
) -> None:
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        with fresh.superuser() as other:
            other.execute("INSERT INTO orchestrator.fact (key, value) VALUES ('maintenance', '[1]')")
        since = kept.maintenance()
        assert since is not None
        assert abs(since - time.time()) < 60


def test_texts_that_no_database_likes_come_back_as_they_were(tmp_path: Path, fresh: FreshDatabase) -> None:
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        strange = {"reason": "\ud83d \x00 \u202e ' -- %s {}"}
        kept.save({"a": Kept(shown=strange)})
        kept.append("a", TimelineEntry(NOW, "x", "y", reason="a 'quoted' \ud83d %s"))
        assert kept.flush(10)
        assert kept.load()["a"].shown == strange
        (found,) = kept.tail("a", 1)
        assert "'quoted'" in found["reason"]


def test_a_row_that_is_damaged_says_what_to_do(tmp_path: Path, fresh: FreshDatabase) -> None:
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        kept.save({"a": Kept()})
        assert kept.flush(10)
        with fresh.superuser() as other:
            other.execute("UPDATE orchestrator.status SET kept = '[]'")
        with pytest.raises(StateError, match=r"what is kept of a is damaged, .*: delete .*\.status"):
            kept.load()
        unreadable: dict[str, StateError] = {}
        assert kept.load(unreadable) == {}
        assert [*unreadable] == ["a"], "who has many accounts goes on with the others"


# Timelines


def test_old_entries_go_and_young_ones_stay(
    tmp_path: Path, fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LEAST_KEPT", 5)
    monkeypatch.setattr(rows, "MOST_KEPT", 20)
    monkeypatch.setattr(rows, "_TIDY", 1)
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        for number in range(10):
            kept.append("old", entry(number, NOW - 40 * 86_400))
        kept.append("old", entry(10))
        for number in range(30):
            kept.append("young", entry(number))
        assert kept.flush(60)
        assert [one["attempt"] for one in kept.tail("old", 99)] == [6, 7, 8, 9, 10]
        assert [one["attempt"] for one in kept.tail("young", 99)] == list(range(10, 30))


@pytest.mark.parametrize("taken", [False, True], ids=["nobody", "another"])
def test_what_happened_before_the_database_was_away_is_written_unless_another_machine_has_written_more(
    tmp_path: Path, fresh: FreshDatabase, *, taken: bool
) -> None:
    away = fresh.prepared()
    writer = Writer(away, shared=True)
    kept = RecordRows(away, writer, RecordFiles(folder(tmp_path)))
    kept.append("a", entry(1))
    assert kept.flush(60)
    away.suspend("it is away")
    kept.append("a", entry(2, NOW + 10))
    kept.append("b", entry(3, NOW + 10))
    kept.disown("a")
    if taken:
        with recording(fresh.open(), folder(tmp_path, "other")) as other:
            other.append("a", entry(4, NOW + 20))
            assert other.flush(60)
    away.suspend(None)
    assert kept.flush(60)
    assert [one["attempt"] for one in kept.tail("a", 9)] == ([1, 4] if taken else [1, 2])
    assert [one["attempt"] for one in kept.tail("b", 9)] == [3]
    writer.close()


def test_a_long_history_is_read_in_pieces(
    tmp_path: Path, fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = rows.before

    def counted(*arguments: object, **more: object) -> list[tuple[int, dict[str, object]]]:
        found = real(*arguments, **more)  # type: ignore[arg-type]
        sizes.append(len(found))
        return found

    monkeypatch.setattr(rows, "before", counted)
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        for number in range(450):
            kept.append("a", entry(number))
        assert kept.flush(60)
        backwards = kept.backwards("a")
        assert [next(backwards)["attempt"] for _ in range(3)] == [449, 448, 447]
        assert len(sizes) == 1
        assert [one["attempt"] for one in backwards] == [*range(446, -1, -1)]
        assert sizes == [200, 200, 50, 0]


def test_a_history_follows_to_a_new_name_and_what_there_was_of_that_name_is_of_nobody(
    tmp_path: Path, fresh: FreshDatabase
) -> None:
    database = fresh.prepared()
    with recording(database, folder(tmp_path)) as kept:
        kept.append("new", entry(1))
        kept.append("old", entry(2))
        shown = {"name": "old", "reason": "`orchestrator start old` starts it"}
        kept.save({"new": Kept(), "old": Kept(shown=shown)})
        assert kept.flush(10)
        numbers = kept.newest("old")

        def rename(connection: Connection) -> None:
            assert ids.rename(connection, "new", f"new ({ids.of(connection, 'new')})")
            assert ids.rename(connection, "old", "new")
            record.renamed(connection, ids.of(connection, "new"), "old", "new")

        database.run(rename)
        assert [(one["attempt"], one.get("n")) for one in kept.tail("new", 9)] == [(2, numbers)]
        assert (kept.tail("old", 9), kept.histories()) == ([], ["new"])
        known = kept.load()
        assert [*known] == ["new"]
        assert known["new"].shown == {"name": "new", "reason": "`orchestrator start new` starts it"}


# Codes


def test_a_code_goes_by_the_clock_of_the_database(
    tmp_path: Path, fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_LOOK_SECONDS", 0.2)
    database = fresh.prepared()
    paths = folder(tmp_path)
    writer = Writer(database)
    shown = CodeRows(QrFolder(paths.qr), database, writer)
    shown.prepare(["a", "b", "c"])
    now = time.time()
    shown.show("a", render("2@a", now + 20.9), now)
    shown.show("b", render("2@b", now + 20.9), now)
    assert writer.flush(10)
    assert all(18 < left <= 21 for left in codes(database).values())
    with fresh.superuser() as other:  # what a second of 20 does
        other.execute("UPDATE orchestrator.code SET expires_at = clock_timestamp() WHERE account = ("
                      "SELECT id FROM orchestrator.account WHERE name = 'a')")  # fmt: skip
    deadline = time.monotonic() + 30
    while "a" in codes(database):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [*codes(database)] == ["b"]
    writer.put(lambda pending: pending.show("c", Code(b"late", time.monotonic() - 1)))
    assert writer.close(10)
    assert [*codes(database)] == ["b"], "one that was over before it could be written is not written"


def test_a_notification_says_nothing_of_the_code(tmp_path: Path, fresh: FreshDatabase) -> None:
    database = fresh.prepared()
    writer = Writer(database)
    shown = CodeRows(QrFolder(folder(tmp_path).qr), database, writer)
    with contextlib.closing(Listener(database, [rows.CODES])) as listener:
        shown.show("a", render("2@a", time.time() + 60), time.time())
        assert listener.wait(60) == [Heard(rows.CODES, "")]
        shown.hide("a")
        assert listener.wait(60) == [Heard(rows.CODES, "")]
    assert writer.close(10)


def test_a_picture_that_says_no_time_holds_a_minute_at_the_most(tmp_path: Path, fresh: FreshDatabase) -> None:
    database = fresh.prepared()
    writer = Writer(database)
    shown = CodeRows(QrFolder(folder(tmp_path).qr), database, writer)
    moment = time.time()
    shown.show("a", b"no picture", moment)
    shown.show("b", render("2@b", moment + 3600), moment)
    assert writer.close(10)
    assert all(50 < left <= 60 for left in codes(database).values())


# Ownership


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have time run faster."""
    monkeypatch.setattr(ownership, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(ownership, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(ownership, "_LOOK_SECONDS", 0.3)


@pytest.mark.usefixtures("short")
def test_a_second_service_elsewhere_is_refused_and_told_where_the_first_one_is(
    tmp_path: Path, fresh: FreshDatabase
) -> None:
    database = fresh.ready()
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    with OwnerRow(database, here).take("the service"):
        with pytest.raises(AlreadyRunning) as caught, OwnerRow(database, there).take("the service"):
            pass
        said = str(caught.value)
        assert f"process {os.getpid()} on {os.uname().nodename} (the service)" in said
        assert "end that one first" in said
        assert fresh.password not in said
    with OwnerRow(database, there).take("the service"):  # the first one has given it back
        pass


def leave(database: Database, paths: StatePaths) -> None:
    """Take the accounts as a service does that is killed: nothing renews the row, and nothing removes it."""
    owner = OwnerRow(database, paths)
    owner._wait_and_take("a killed one")


@pytest.mark.usefixtures("short")
def test_a_service_that_was_killed_elsewhere_is_waited_for(tmp_path: Path, fresh: FreshDatabase) -> None:
    database = fresh.ready()
    here = folder(tmp_path, "here")
    here.lock.touch()
    leave(database, here)
    with OwnerRow(database, folder(tmp_path, "there")).take("the service"):
        row = database.run(
            lambda connection: connection.execute("SELECT what FROM orchestrator.owner").fetchone()
        )
        assert row == ("the service",)


def test_a_service_that_was_killed_here_is_followed_at_once(
    tmp_path: Path, fresh: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, paths = fresh.ready(), folder(tmp_path)
    paths.lock.touch()
    leave(database, paths)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits for {seconds} s"))
    with OwnerRow(database, paths).take("the service"):
        pass


@pytest.mark.usefixtures("short")
def test_who_has_lost_the_accounts_writes_no_more_and_is_told(tmp_path: Path, fresh: FreshDatabase) -> None:
    database, paths = fresh.ready(), folder(tmp_path)
    lost = threading.Event()
    owner = OwnerRow(database, paths, lost.set)
    writer = Writer(database, owner.check)
    kept = RecordRows(database, writer, RecordFiles(paths))
    with owner.take("the service"):
        kept.append("a", entry(1))
        assert kept.flush(10)
        with fresh.superuser() as other:
            other.execute(
                "UPDATE orchestrator.owner SET incarnation = repeat('x', 32), place = 'other',"
                " host = 'other', until = clock_timestamp() + interval '1 min'"
            )
        assert lost.wait(20)
        kept.append("a", entry(2))
        assert not kept.flush(0.5)
        assert isinstance(writer.trouble, StoreUnusable)
        with pytest.raises(StateError, match="not owned here any more"):
            kept.save({"a": Kept()})
    assert not writer.close(0.1)
    with fresh.superuser() as other:
        assert other.execute("SELECT entry ->> 'attempt' FROM orchestrator.history").fetchall() == [("1",)]
        assert other.execute("SELECT host FROM orchestrator.owner").fetchall() == [("other",)]


@pytest.mark.usefixtures("short")
def test_who_was_away_longer_than_the_lease_goes_on_if_nobody_took_the_accounts(tmp_path: Path) -> None:
    with serving() as server:
        database = server.make_database().ready()
        lost = threading.Event()
        owner = OwnerRow(database, folder(tmp_path), lost.set)
        writer = Writer(database, owner.check)
        kept = RecordRows(database, writer, RecordFiles(folder(tmp_path)))
        with owner.take("the service"):
            server.stop()
            kept.append("a", entry(1))
            time.sleep(2)
            server.start()
            assert kept.flush(20)
            assert not lost.is_set()
        assert writer.close(1)


def test_what_is_kept_says_nothing_of_the_clock_of_another_machine(
    tmp_path: Path, fresh: FreshDatabase
) -> None:
    """A machine that takes over corrects times only by a clock that runs backward."""
    with recording(fresh.prepared(), folder(tmp_path)) as kept:
        kept.save({"a": Kept(shown={"since": datetime.fromtimestamp(NOW, UTC).isoformat()})})
        assert kept.flush(10)
        with fresh.superuser() as other:
            clock = json.dumps({"wall": time.time() - 5000, "uptime": 9.0, "boot": "of another machine"})
            other.execute("UPDATE orchestrator.status SET clock = %s::json", [clock])
        assert [*kept.load()] == ["a"]


@pytest.mark.usefixtures("short")
def test_who_writes_all_the_time_renews_all_the_same(tmp_path: Path, fresh: FreshDatabase) -> None:
    database = fresh.ready()
    owner = OwnerRow(database, folder(tmp_path))
    with owner.take("the service"), database.connect() as first, database.connect() as second:
        owner.check(first)
        for one, another in ((second, first), (first, second)) * 12:  # at no moment, nobody writes
            time.sleep(0.1)
            owner.check(one)
            another.commit()


def test_who_takes_the_accounts_waits_for_what_is_written(tmp_path: Path, fresh: FreshDatabase) -> None:
    database = fresh.ready()
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    for paths in (here, there):
        paths.lock.touch()
    owner, other = OwnerRow(database, here), OwnerRow(database, there)
    assert owner._try("one")
    with database.connect() as writing, database.connect() as late:
        owner.check(writing)
        with fresh.superuser() as administrator:
            administrator.execute("UPDATE orchestrator.owner SET until = clock_timestamp()")
        taken = threading.Thread(target=other._try, args=("another",))
        taken.start()
        taken.join(0.5)
        assert taken.is_alive()
        with pytest.raises(StoreUnusable, match="not owned here any more"):
            owner.check(late)
        late.rollback()
        # After an outage, an account that starts before the service has taken its accounts again tries again.
        with pytest.raises(StoreAway, match="take its accounts again"):
            owner.admit(late, "a_0123456789abcdef")
        writing.commit()
        taken.join(30)
        assert not taken.is_alive()
    database.run(other.check)
