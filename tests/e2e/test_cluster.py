"""Two machines that share a database: real services, real accounts, and a sandbox that sees every link."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.postgres import FreshDatabase
from support.service import Service

from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.process import SandboxProcess

NAMES = ["anna", "bert", "cora", "dora"]
BACK_SECONDS = 90.0
"""For all accounts to be connected elsewhere. The goal is 30 s, which benchmarks measure."""


class Pair:
    """Two shards.

    Attributes:
        asked: Those that can answer: one that is frozen would be waited for.
    """

    def __init__(self, one: Service, other: Service, numbers: dict[str, str]) -> None:
        self.one, self.other, self.numbers = one, other, numbers
        self.asked: tuple[Service, ...] = (one, other)

    def where(self) -> dict[str, list[Service]]:
        """Return the services that have each account connected, as they say."""
        found: dict[str, list[Service]] = {name: [] for name in NAMES}
        for service in self.asked:
            try:
                accounts = service.accounts()
            except (OrchestratorError, AssertionError):
                continue  # it is not there
            for about in accounts:
                if about["state"] == "connected":
                    found[about["name"]].append(service)
        return found

    def until_connected(self, *services: Service) -> None:
        """Wait until each account is connected on one of these services, and on no other."""
        until = time.monotonic() + BACK_SECONDS
        while True:
            where = self.where()
            if all(len(having) == 1 and having[0] in services for having in where.values()):
                return
            assert time.monotonic() < until, (
                {name: [one.folder.name for one in having] for name, having in where.items()},
                self.one.log[-40:],
                self.other.log[-40:],
            )
            time.sleep(0.2)

    def timeline(self, name: str) -> list[dict[str, Any]]:
        """Return the history of an account, which moves with the account."""
        (service,) = self.where()[name]
        return service.timeline(name)

    def links(self) -> dict[str, int]:
        """Return how many links WhatsApp has of each account."""
        return {name: len(self.one.connections(number)) for name, number in self.numbers.items()}


@pytest.fixture
def two(
    fresh: FreshDatabase, sandbox: SandboxProcess, tmp_path: Path, make_number: Callable[[], str]
) -> Iterator[Pair]:
    """Two services that share a database, with linked accounts on each."""
    fresh.ready()
    numbers = {name: make_number() for name in NAMES}
    services = []
    with ExitStack() as running:
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            store = {"dsn_file": str(fresh.dsn_file(folder))}
            cluster = {"shard": name}
            services.append(
                running.enter_context(Service(folder, sandbox, NAMES, store=store, cluster=cluster))
            )
        pair = Pair(services[0], services[1], numbers)
        for name, number in numbers.items():
            pair_where_it_is(pair, name, number)
        pair.until_connected(*services)
        yield pair


def pair_where_it_is(pair: Pair, name: str, number: str) -> None:
    until = time.monotonic() + BACK_SECONDS
    while True:
        for service in (pair.one, pair.other):
            if any(about["name"] == name for about in service.accounts()):
                service.pair(name, number)
                return
        assert time.monotonic() < until, (pair.one.log[-40:], pair.other.log[-40:])
        time.sleep(0.1)


def test_a_machine_that_is_killed_is_made_up_for(two: Pair) -> None:
    two.one.kill()
    two.until_connected(two.other)
    assert set(two.links().values()) == {1}


def test_a_machine_that_stops_hands_its_accounts_over_and_gets_some_back(two: Pair) -> None:
    assert two.one.stop() == 0
    two.until_connected(two.other)
    two.one.start()
    until = time.monotonic() + BACK_SECONDS
    while not two.one.accounts():
        assert time.monotonic() < until
        time.sleep(0.2)
    two.until_connected(two.one, two.other)


def test_a_machine_that_was_frozen_makes_no_fight(two: Pair) -> None:
    frozen = []
    for pid in (two.one.pid, *(process.pid for process in two.one.processes())):
        with contextlib.suppress(ProcessLookupError):  # one that has just done what it was started for
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
    two.asked = (two.other,)
    try:
        two.until_connected(two.other)
        before = {name: len(two.timeline(name)) for name in NAMES}
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    two.asked = (two.one, two.other)
    two.one.wait_for_log("begins anew")
    two.until_connected(two.one, two.other)
    assert set(two.links().values()) == {1}
    for name in NAMES:
        after = two.timeline(name)[before[name] :]
        assert "replaced" not in {entry.get("kind") for entry in after}, after


def test_an_operator_moves_an_account_drains_a_machine_and_sees_who_runs_what(two: Pair) -> None:
    two.one.command("cluster", "drain", "one")
    two.until_connected(two.other)
    status = json.loads(two.one.command("cluster", "status", "--json").stdout)
    assert status["accounts"] == dict.fromkeys(NAMES, "two")
    assert status["drained"] == ["one"]
    assert "drained" in two.other.command("cluster", "status").stdout
    two.one.command("cluster", "drain", "one", "--undo")
    two.other.command("cluster", "move", "cora", "one")
    until = time.monotonic() + BACK_SECONDS
    while two.where()["cora"] != [two.one]:
        assert time.monotonic() < until
        time.sleep(0.2)
    two.until_connected(two.one, two.other)
