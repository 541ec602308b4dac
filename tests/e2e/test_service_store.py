"""The service with its accounts in Postgres: the database goes and comes, the service is killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.linked import wait_until
from support.postgres import PostgresServer, serving, signal_to
from support.service import Accounts, Service

from orchestrator.postgres.ownership import LEASE_SECONDS
from orchestrator.sandbox.process import SandboxProcess

NAMES = ("one", "two")


def configured(service: Service, server: PostgresServer, folder: Path) -> None:
    fresh = server.make_database()
    fresh.ready()
    service.configure({name: {} for name in NAMES}, store={"dsn_file": str(fresh.dsn_file(folder))})


def told(service: Service, name: str) -> object:
    return json.loads(service.command("history", name, "--json").stdout)


def connected(found: Accounts) -> bool:
    return all(found[name]["state"] == "connected" for name in NAMES)


def away(found: Accounts) -> bool:
    return all(found[name]["pid"] is None and found[name]["kind"] == "store" for name in NAMES)


def test_without_its_database_nobody_is_linked_and_all_are_back_with_it(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in NAMES}
    with serving() as server, Service(folder, sandbox, start=False) as service:
        configured(service, server, folder)
        service.start()
        for name, number in numbers.items():
            service.pair(name, number)
        server.crash()
        service.until(away, "all have hung up")
        for number in numbers.values():
            assert service.connections(number) == []
        assert service.command("ping").returncode == 0
        # What cannot be kept is refused, and not done by half when the database is back.
        for order in (["repair", NAMES[0], "--yes", "--no-wait"], ["maintenance", "on"]):
            refused = service.command(*order, check=False)
            assert refused.returncode == 1
            assert "is away: nothing was done" in refused.stderr
        assert "starts in its turn when the database is back" in service.command("explain", NAMES[0]).stdout
        time.sleep(LEASE_SECONDS + 1)  # the accounts are nobody's any more, and the service takes them again
        server.start()
        service.until(connected, "all are back")
        assert service.command("maintenance", "status").stdout.startswith("maintenance is off")
        for name in NAMES:  # what happened meanwhile is written down as soon as the database takes it
            wait_until(lambda name=name: "'store'" in str(told(service, name)), "the history does not say so")  # type: ignore[misc]

        # The service is killed, and starts while the database is away: it waits, and is alive.
        service.kill()
        server.stop()
        since, known = sandbox.client.last_event(), len(service.log)
        service.launch()
        service.wait_for_log("the service waits for its store", after=known)
        assert {one["kind"] for one in service.accounts()} == {"store"}
        server.start()
        service.wait_for_log("the control socket is", after=known)
        service.until(connected, "all are back")
        assert not [event for event in sandbox.client.events(since) if event["event"] == "pairing"]


def test_a_database_that_hangs_is_away(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    with serving() as server, Service(folder, sandbox, start=False) as service:
        configured(service, server, folder)
        service.start()
        for name in NAMES:
            service.pair(name, make_number())
        with server.superuser() as connection:
            found = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            pids = [server.pid, *(pid for (pid,) in found.fetchall())]
        try:
            signal_to(pids, signal.SIGSTOP)
            service.until(away, "all have hung up")
            assert service.command("ping").returncode == 0
        finally:
            signal_to(pids[::-1], signal.SIGCONT)
        service.until(connected, "all are back")


@pytest.mark.parametrize("name", NAMES[:1])
def test_a_repair_puts_the_session_away_in_the_database(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path, name: str
) -> None:
    with serving() as server, Service(folder, sandbox, start=False) as service:
        configured(service, server, folder)
        service.start()
        number = make_number()
        service.pair(name, number)
        known = len(service.log)
        service.command("repair", name, "--yes", "--no-wait")
        service.wait_for_log("was put into quarantine (repair)", after=known)
        service.pair(name, number)
        service.command("rename", name, "three")
        service.wait_for_state("three", "connected")
        found = service.command("quarantine", "list").stdout
        assert f"{name}-" in found
        assert "repair" in found
        service.command("quarantine", "purge", "--all", "--yes")
        assert f"{name}-" not in service.command("quarantine", "list").stdout
