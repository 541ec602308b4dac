"""A child ends when it is asked to, when it has waited long enough, and when its parent is gone."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.accounts import Account, StartWorker, link, make_account, starter
from support.worker_process import PATIENCE, WorkerProcess

from orchestrator.accounts.child import HEARTBEAT_DEADLINE
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.worker.deadlines import CLOSE_SECONDS, DIAL_SECONDS, LOST_SECONDS

LATE = 30.0
"""What a machine that is busy with other tests may add to a deadline."""
EARLY = 5.0
"""What it may add to the way of the message from which a deadline of the child's is counted here."""
STOP_SECONDS = CLOSE_SECONDS + LATE
"""Seconds from being asked to stop to being gone; the library itself would hang for ever in some phases."""
ORPHAN_SECONDS = LATE
"""Seconds from the parent's death to the child's, which would live for ever."""

HANGS = ["connect", "tls", "upgrade", "noise", "success"]
PHASES = [*HANGS, "code", "online", "lost", "silent"]


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxProcess]:
    """One of this module's own: a fault for whoever dials next must not strike somebody else's bot."""
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def worker(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[StartWorker]:
    with ExitStack() as running:
        yield starter(sandbox, tmp_path, running)


@pytest.fixture(scope="module")
def account(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Account:
    """A linked account, for all tests that leave it linked."""
    return make_account(shared_sandbox, make_number(), tmp_path_factory.mktemp("account"))


def bring_to(phase: str, worker: StartWorker, sandbox: SandboxProcess, account: Account) -> WorkerProcess:
    """Start a child and wait until it is in that phase."""
    if phase == "code":
        run = worker()
        run.wait_for("Code")
        return run
    since = sandbox.client.last_event()
    if phase in HANGS:
        target = account.target if phase == "success" else "all"
        sandbox.client.fault("hang", target=target, phase=phase)
    run = worker(account=account)
    if phase in HANGS:
        sandbox.client.wait_for("fault", PATIENCE, since, kind="hang")
        run.wait_for("Connecting")
        return run
    run.wait_for("Connected")
    if phase == "lost":
        sandbox.client.fault("refuse")
        run.wait_for("LinkLost")
    elif phase == "silent":
        sandbox.client.fault("blackhole", target=account.target)
    return run


@pytest.mark.parametrize("by", ["message", "signal"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_stop_is_obeyed_in_time(
    worker: StartWorker, sandbox: SandboxProcess, account: Account, phase: str, by: str
) -> None:
    run = bring_to(phase, worker, sandbox, account)
    asked = time.monotonic()
    if by == "message":
        run.tell("stop")
    else:
        run.signal(signal.SIGTERM)
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.STOPPED, EXIT_CODES[Kind.STOPPED])
    assert end["at"] - asked < STOP_SECONDS


def test_a_stop_in_the_first_moment(worker: StartWorker, account: Account) -> None:
    run = worker(account=account)
    run.wait_for("started")
    asked = time.monotonic()
    run.tell("stop")
    end = run.ended()
    assert end["kind"] == Kind.STOPPED
    assert end["at"] - asked < STOP_SECONDS


def test_a_stop_during_the_first_log_in(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    # The library uploads keys then, and crashes if it is told to stop meanwhile.
    sandbox.client.fault("slow", target=number, delay=1)
    run = worker()
    sandbox.client.scan(number, text=run.wait_for("Code")["text"])
    run.wait_for("Paired")
    run.tell("stop")
    end = run.ended()
    assert (end["kind"], end["status"]) == (Kind.STOPPED, EXIT_CODES[Kind.STOPPED])
    sandbox.client.clear_faults()
    again = worker()
    assert again.wait_for("Connecting")["paired"]
    again.wait_for("Connected")


def test_a_terminals_signals_are_the_parents(worker: StartWorker, account: Account) -> None:
    run = worker(account=account)
    run.wait_for("Connected")
    for number in (signal.SIGINT, signal.SIGHUP):
        run.signal(number)
    run.wait_for("Heartbeat", after=run.count())
    run.tell("stop")
    assert run.ended()["kind"] == Kind.STOPPED


@pytest.mark.parametrize("phase", ["upgrade", "code", "online"])
def test_an_orphan_does_not_live_on(
    worker: StartWorker, sandbox: SandboxProcess, account: Account, phase: str
) -> None:
    run = bring_to(phase, worker, sandbox, account)
    with run.watched() as is_gone_within:
        run.kill_parent()
        assert is_gone_within(ORPHAN_SECONDS)


def test_a_parent_that_does_not_listen_holds_nobody_up(worker: StartWorker, account: Account) -> None:
    run = worker(account=account)
    run.wait_for("Connected")
    run.tell("deaf")
    with run.watched() as is_gone_within:
        run.signal(signal.SIGTERM)
        assert is_gone_within(STOP_SECONDS)
    run.tell("hear")
    assert run.ended()["kind"] == Kind.STOPPED


# Deadlines of its own. What each of them is, the tests of the course show; here are the two that the library
# itself does not have.


def test_a_connection_that_never_comes_about(
    worker: StartWorker, sandbox: SandboxProcess, account: Account
) -> None:
    run = bring_to("upgrade", worker, sandbox, account)
    begun = run.wait_for("Connecting")["time"]
    end = run.ended(DIAL_SECONDS + LATE)
    assert (end["kind"], end["status"]) == (Kind.NETWORK, EXIT_CODES[Kind.NETWORK])
    assert DIAL_SECONDS - EARLY <= end["at"] - begun < DIAL_SECONDS + LATE
    assert run.database.read_bytes() == account.database.read_bytes()


def test_a_link_that_does_not_come_back(
    worker: StartWorker, sandbox: SandboxProcess, account: Account
) -> None:
    run = bring_to("lost", worker, sandbox, account)
    lost = run.wait_for("LinkLost")["time"]
    end = run.ended(LOST_SECONDS + LATE)
    assert (end["kind"], end["status"]) == (Kind.NETWORK, EXIT_CODES[Kind.NETWORK])
    assert LOST_SECONDS - EARLY <= end["at"] - lost < LOST_SECONDS + LATE
    beats = [event["time"] for event in run.events if event["event"] == "Heartbeat"]
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < HEARTBEAT_DEADLINE


def test_started_by_spawn_it_works_as_well(worker: StartWorker, sandbox: SandboxProcess, number: str) -> None:
    run = worker(spawn=True)
    link(run, sandbox, number)
    run.tell("stop")
    assert run.ended()["kind"] == Kind.STOPPED
