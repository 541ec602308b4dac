"""A child whose session is in Postgres, with the real neonize and a real server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.accounts import StartWorker, link, starter
from support.linked import wait_until
from support.postgres import FreshDatabase, PostgresServer, serving

from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.postgres import transfer
from orchestrator.postgres.sessions import Sessions
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store import device, realm
from orchestrator.store.layout import StatePaths
from orchestrator.worker import tenure

NAME = "support"
HOOK = Path(__file__).parents[1] / "support" / "slow_callbacks"
UNTIL_SECONDS = 20.0
"""After which a process may run no more: longer than it takes to connect and to the next heartbeat."""


@pytest.fixture
def worker(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as running:
        yield starter(sandbox, tmp_path, running)


def sessions(fresh: FreshDatabase, folder: Path, way: str) -> Sessions:
    fresh.ready()
    paths = StatePaths.of(folder / "state", environ={})
    paths.prepare()
    return Sessions(fresh.open(way), paths, realm.WHATSAPP)  # type: ignore[arg-type]


def spec(store: Sessions) -> dict[str, Any]:
    assert store.admit(NAME) is None
    place = store.place(NAME)
    return {
        "dsn": place.dsn, "stored": place.stored, "reads": [str(path) for path in place.reads],
        "home": str(place.home), "messages": str(place.messages),
    }  # fmt: skip


@pytest.mark.parametrize("way", ["loopback", "socket", "tls"])
def test_links_and_comes_back_and_leaves_no_file(
    worker: StartWorker, sandbox: SandboxProcess, number: str, fresh: FreshDatabase, tmp_path: Path, way: str
) -> None:
    store = sessions(fresh, tmp_path, way)
    given = spec(store)
    password = str(given["dsn"]).partition("password=")[2].partition("&")[0]
    first = worker(**given, confine="auto", log_level="DEBUG")
    link(first, sandbox, number)
    first.wait_for("Connected")
    about = Path("/proc") / str(first.pid)
    for file in ("cmdline", "environ"):
        assert password.encode() not in (about / file).read_bytes()
    first.tell("stop")
    assert first.ended()["kind"] == "stopped"
    assert store.device(NAME).number == number[1:]
    again = worker(**spec(store), confine="auto", log_level="DEBUG")
    assert again.wait_for("Connecting")["paired"]
    assert again.wait_for("Connected")["phone"] == number[1:]
    assert password not in first.printed() + again.printed()
    assert not list((tmp_path / "state/sessions").rglob("*.sqlite3*"))
    again.tell('{"type": "StoreLost"}')
    end = again.ended(20)
    assert (end["kind"], end["status"]) == ("store", EXIT_CODES[Kind.STORE])


@pytest.mark.parametrize("how", ["reset", "close"])
def test_the_library_does_not_dial_before_it_is_known_whether_the_process_may_run(
    worker: StartWorker, sandbox: SandboxProcess, number: str, fresh: FreshDatabase, tmp_path: Path, how: str
) -> None:
    """After a machine was frozen, the library notices that the link is gone before anybody else runs."""
    store = sessions(fresh, tmp_path, "loopback")
    first = worker(**spec(store))
    link(first, sandbox, number)
    first.wait_for("Connected")
    first.tell("stop")
    first.ended()
    words = tmp_path / "words" / NAME
    words.mkdir(parents=True)
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + UNTIL_SECONDS
    slow = {
        "PYTHONPATH": os.pathsep.join([sandbox.environment()["PYTHONPATH"], str(HOOK)]),
        "ORCHESTRATOR_TEST_SLOW_CALLBACKS": str(tmp_path / "words"),
    }
    again = worker(environment=slow, **spec(store), until=until)
    again.wait_for("Connected")
    (words / "word").write_text("loop")  # its main thread hangs from the next heartbeat on
    wait_until((words / "hangs").exists, "the main thread does not hang")
    while time.clock_gettime(time.CLOCK_BOOTTIME) < until:
        time.sleep(0.1)
    begun = sandbox.client.last_event()
    sandbox.client.fault(how, number)
    sandbox.client.wait_for("closed", since=begun, phone=number)
    time.sleep(tenure.HOLD_SECONDS / 2)
    assert [one["event"] for one in sandbox.client.events(begun) if "login" in one["event"]] == []


def test_a_session_that_is_logged_out_is_gone_from_the_database(
    worker: StartWorker, sandbox: SandboxProcess, number: str, fresh: FreshDatabase, tmp_path: Path
) -> None:
    store = sessions(fresh, tmp_path, "loopback")
    first = worker(**spec(store))
    link(first, sandbox, number)
    first.wait_for("Connected")
    sandbox.client.unlink(number)
    assert first.ended()["kind"] == "logged_out"
    assert store.device(NAME).linked is False


@pytest.mark.parametrize("what", ["stopped", "password"])
def test_a_database_that_lets_it_not_in_is_waited_for(worker: StartWorker, tmp_path: Path, what: str) -> None:
    with serving() as server:
        store = sessions(server.make_database(), tmp_path, "loopback")
        given = spec(store)
        _trouble(server, store, what)
        end = worker(**given).ended()
        assert (end["kind"], end["status"]) == ("store", EXIT_CODES[Kind.STORE])


def _trouble(server: PostgresServer, store: Sessions, what: str) -> None:
    if what == "stopped":
        server.stop()
    else:
        spec(store)  # another service has taken the account


def test_a_session_moves_into_the_database_and_back(
    worker: StartWorker, sandbox: SandboxProcess, number: str, fresh: FreshDatabase, tmp_path: Path
) -> None:
    first = worker()
    link(first, sandbox, number)
    first.tell("stop")
    assert first.ended()["kind"] == "stopped"
    session = transfer.read_file(first.database)
    assert sum(len(table.rows) for table in session.tables) > 800

    store = sessions(fresh, tmp_path, "loopback")
    given = spec(store)
    with psycopg.connect(given["dsn"]) as connection:
        transfer.write_schema(connection, session)
    assert store.device(NAME).marks & device.look(first.database).marks
    second = worker(**spec(store))
    assert second.wait_for("Connected")["phone"] == number[1:]
    second.tell("stop")
    second.ended()

    first.database.unlink()
    for side in ("-wal", "-shm"):
        Path(f"{first.database}{side}").unlink(missing_ok=True)
    with psycopg.connect(spec(store)["dsn"]) as connection:
        back = transfer.read_schema(connection)
    transfer.write_file(first.database, back)
    assert first.database.stat().st_mode & 0o777 == 0o600
    again = transfer.read_file(first.database)
    assert {table.name: sorted(map(repr, table.rows)) for table in again.tables} == {
        table.name: sorted(map(repr, _as_read(table))) for table in back.tables
    }
    third = worker()
    assert third.wait_for("Connected")["phone"] == number[1:]


def _as_read(table: transfer.Table) -> list[list[object]]:
    flags = [" boolean" in part for part in table.made.split(", ") if part.startswith(('"', "CREATE"))]
    return [
        [bool(value) if flag and value is not None else value for flag, value in zip(flags, row, strict=True)]
        for row in table.rows
    ]


def test_the_schema_of_a_moved_session_is_the_one_that_the_library_makes(
    worker: StartWorker, sandbox: SandboxProcess, number: str, fresh: FreshDatabase, tmp_path: Path
) -> None:
    first = worker()
    link(first, sandbox, number)
    first.tell("stop")
    first.ended()
    store = sessions(fresh, tmp_path, "loopback")
    with psycopg.connect(spec(store)["dsn"]) as connection:
        transfer.write_schema(connection, transfer.read_file(first.database))
        moved = {table.name: table.made for table in transfer.read_schema(connection).tables}
    assert store.quarantine(NAME, "removed", 1.0)
    own = worker(**spec(store))
    own.wait_for("Code")
    with psycopg.connect(spec(store)["dsn"]) as connection:
        made = {table.name: table.made for table in transfer.read_schema(connection).tables}
    assert moved == made
