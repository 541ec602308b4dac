"""The connections, at a real server that is stopped, crashed and frozen."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import pytest
from support.postgres import FreshDatabase, Way, serving, signal_to

from orchestrator.errors import StoreAway, StoreUnusable
from orchestrator.postgres import ids, schema
from orchestrator.postgres.database import Connection, Database, Listener, notify
from orchestrator.postgres.dsn import parse


def one(connection: Connection) -> int:
    row = connection.execute("SELECT 1").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("way", ["loopback", "socket", "tls"])
def test_connects_in_every_way_and_is_what_it_claims(fresh: FreshDatabase, way: Way) -> None:
    with fresh.open(way) as database:
        row = database.run(
            lambda connection: connection.execute(
                "SELECT session_user, current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            ).fetchone()
        )
        assert row == (fresh.role, fresh.name, way == "tls")


def test_the_server_has_to_show_a_certificate_of_the_right_authority(fresh: FreshDatabase) -> None:
    with serving() as other:
        database = Database(parse(fresh.dsn("tls").replace(str(fresh.server.folder), str(other.folder))))
        with pytest.raises(StoreUnusable, match="certificate"):
            database.run(one)


def test_a_wrong_password_is_said_without_the_password(fresh: FreshDatabase) -> None:
    with pytest.raises(StoreUnusable, match="user or the password") as caught:
        fresh.open(password="needle-7f3a").run(one)
    assert "needle" not in str(caught.value)
    assert fresh.role not in str(caught.value)


def test_work_that_fails_leaves_nothing(fresh: FreshDatabase) -> None:
    database = fresh.prepared()

    def fails(connection: Connection) -> None:
        ids.of(connection, "anna")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.run(fails)
    assert database.run(ids.all_of) == {}


def test_survives_a_server_that_goes_and_comes() -> None:
    with serving() as server:
        database = server.make_database().open()
        assert database.run(one) == 1
        server.crash()
        with pytest.raises(StoreAway, match="nothing listens"):
            database.run(one)
        server.start()
        assert database.run(one) == 1
        server.restart()
        assert database.run(one) == 1


def test_a_statement_that_takes_too_long_is_given_up(fresh: FreshDatabase) -> None:
    with fresh.open() as database:
        with pytest.raises(StoreAway, match="in time"):
            database.run(lambda connection: connection.execute("SELECT pg_sleep(60)"), patience=0.2)
        assert database.run(one) == 1


def test_a_server_that_hangs_is_noticed() -> None:
    with serving() as server:
        database = server.make_database().open()
        assert database.run(one) == 1
        listener = Listener(database, [])
        pids = [server.pid]
        with server.superuser() as connection:
            found = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            pids += [pid for (pid,) in found.fetchall()]
        try:
            signal_to(pids, signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(StoreAway):
                database.run(one, patience=0.5)
            with pytest.raises(StoreAway):
                listener.wait(0.1)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(database.run, one)
                time.sleep(0.5)
                database.suspend("it hangs")
                assert isinstance(asked.exception(5), StoreAway)
            with pytest.raises(StoreAway, match="it hangs"):
                database.run(one)
            assert time.monotonic() - started < 40
        finally:
            signal_to(pids[::-1], signal.SIGCONT)
            listener.close()
        database.suspend(None)
        assert database.run(one) == 1


def test_threads_share_few_connections(fresh: FreshDatabase) -> None:
    database = fresh.open()
    seen: set[int] = set()
    lock = threading.Lock()

    def work(connection: Connection) -> None:
        with lock:
            seen.add(connection.info.backend_pid)
        connection.execute("SELECT pg_sleep(0.01)")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: database.run(work), range(80)))
    assert 1 < len(seen) <= 4


def test_what_meets_others_at_a_row_is_done_again(fresh: FreshDatabase) -> None:
    database = fresh.open()
    made: LiteralString = "CREATE TABLE public.t AS SELECT 1 AS id, 0 AS n UNION SELECT 2, 0"
    database.run(lambda connection: connection.execute(made))
    barrier = threading.Barrier(2)

    def both(first: int) -> None:
        tries = 0

        def work(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            for number in (first, 3 - first):
                connection.execute("UPDATE public.t SET n = n + 1 WHERE id = %s", [number])
                if tries == 1 and number == first:
                    barrier.wait(10)

        database.run(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(both, (1, 2)))
    assert database.run(lambda connection: connection.execute("SELECT sum(n) FROM public.t").fetchone()) == (
        4,
    )


def test_who_listens_hears_and_notices_the_end(fresh: FreshDatabase) -> None:
    database = fresh.open()
    listener = Listener(database, ["orders"])
    assert listener.wait(0.05) == []
    database.run(lambda connection: notify(connection, "orders", "7"))
    assert [(heard.channel, heard.payload) for heard in listener.wait(5)] == [("orders", "7")]
    with fresh.superuser() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [fresh.role]
        )
    started = time.monotonic()
    with pytest.raises(StoreAway):
        listener.wait(5)
    listener.close()
    assert time.monotonic() - started < 4


def test_who_watches_ends_when_that_is_wanted_and_does_not_wait_for_anything(fresh: FreshDatabase) -> None:
    database = fresh.open()
    looks, told = threading.Event(), list[StoreAway]()

    def watch() -> None:
        try:
            with database.watch() as look:
                look(0)
                looks.set()
                look(600)
        except StoreAway as error:
            told.append(error)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert looks.wait(60)
    database.stop_watching()
    thread.join(60)
    assert len(told) == 1
    database.stop_watching()  # nobody watches
    assert database.run(one) == 1


def test_tables_are_made_once_and_those_of_a_later_version_are_refused(fresh: FreshDatabase) -> None:
    database = fresh.open()
    with pytest.raises(StoreUnusable, match="cluster init"):
        database.run(schema.check)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: database.run(schema.prepare), range(4)))
    assert sorted(map(bool, done)) == [False, False, False, True]
    database.run(schema.check)
    database.run(lambda connection: connection.execute("UPDATE orchestrator.part SET version = 99"))
    with pytest.raises(StoreUnusable, match="later version"):
        database.run(schema.prepare)


def test_two_accounts_that_ask_at_once_get_an_id_each_and_only_one(fresh: FreshDatabase) -> None:
    database = fresh.prepared()
    names = ["a" * 63 + "1", "a" * 63 + "2"] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: database.run(lambda connection: ids.of(connection, name)), names))
    assert len(set(found)) == 2
    assert len(database.run(ids.all_of)) == 2
