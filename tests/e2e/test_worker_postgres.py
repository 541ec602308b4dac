"""A child whose session is in Postgres, with the real neonize and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.accounts import StartWorker, link, starter
from support.postgres import FreshDatabase, PostgresServer, serving

from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.postgres.sessions import Sessions
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store import realm
from orchestrator.store.layout import StatePaths

NAME = "support"


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
