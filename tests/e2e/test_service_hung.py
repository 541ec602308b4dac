"""Hung, not dead: one service whose accounts hang, each in its own way, and some that are only slow.

Each waits for real deadlines, the longest of which is 50 s: together they take little longer.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.kept import Contents
from support.service import Json, Service

from orchestrator.accounts.child import HEARTBEAT_DEADLINE
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store.tracebacks import SIGNAL
from orchestrator.worker.deadlines import CALLBACK_SECONDS, DIAL_SECONDS
from orchestrator.worker.loop import HEARTBEAT_SECONDS

ENDS = {"stopped": "crash", "callback": "crash", "held": "crash", "loop": "crash", "upgrade": "network"}
"""Those whose processes hang, each with the kind of its end."""
SILENT = "silent"
FINE = ("throttled", "slow", "healthy")
pytestmark = pytest.mark.timeout(900)

SILENCE = 45.0
"""Seconds from a peer's falling silent within which the account is not shown as connected any more."""
LATE = 45.0
"""What a machine that is busy with other tests may add to a deadline."""
EARLY = 5.0
"""What it may have added to the last sign of life before all began, from which a deadline counts."""
HOOK = Path(__file__).parents[1] / "support" / "slow_callbacks"
_ON, _OFF = 0.05, 0.45  # seconds for which a throttled process runs and stands still, in turns


@dataclass
class Ward:
    """The service, and what there was before it all.

    Attributes:
        numbers: The accounts' phones.
        links: Their processes and connections.
        known: How many entries their timelines had.
        sessions: Whom their sessions were linked to.
        stopped: The files of the session whose process was stopped, then and when it had ended.
        silent: The account with the silent peer, as it was shown before the peer answered again.
        listed: Its row of the list at that moment.
        began: Unix time at which all began.
        callbacks: Where each account has a folder that tells its callbacks what to do, and that they fill.
    """

    service: Service
    sandbox: SandboxProcess
    numbers: dict[str, str]
    links: dict[str, tuple[int, int]]
    known: dict[str, int]
    sessions: dict[str, list[str]]
    stopped: tuple[Contents, Contents]
    silent: Json
    listed: str
    began: float
    callbacks: Path

    def entries(self, name: str) -> list[Json]:
        return self.service.timeline(name)[self.known[name] :]

    def entry(self, name: str, kind: str, to: str = "backoff") -> Json:
        """Return an entry, by default that of an end, with the seconds it came ``after`` the beginning."""
        entry = self.service.wait_for_entry(name, after=self.known[name], kind=kind, to=to)
        at = datetime.fromisoformat(entry["at"]).astimezone(UTC).timestamp()
        return {**entry, "after": at - self.began}

    def end(self, name: str) -> Json:
        """Return the entry of the end of an account whose process hangs."""
        return self.entry(name, ENDS[name])

    def is_back(self, name: str) -> Json:
        """Wait until an account is connected by another process, with the session it had."""
        about = self.service.wait_for_state(name, "connected", after=self.links[name][0])
        assert self.service.kept.devices(name) == self.sessions[name]
        assert not self.service.quarantined(name)
        return about

    def traceback(self, name: str) -> str:
        """Return what `explain` says the traceback is in."""
        path = self.service.state / "tracebacks" / f"{name}.txt"
        assert f"  traceback {path}\n" in self.service.command("explain", name).stdout
        assert any(f"{name}: the traceback of process" in line for line in self.service.log)
        return path.read_text()

    def link(self, name: str) -> tuple[int, int]:
        return self.service.child(name), self.service.connection(self.numbers[name])


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """Let a process have a tenth of the time."""
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(_OFF)
            os.kill(pid, signal.SIGCONT)
            over.wait(_ON)

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def ward(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Ward]:
    client = shared_sandbox.client
    numbers = {name: make_number() for name in (*ENDS, SILENT, *FINE)}
    somebody = make_number()
    client.add_phone(somebody, "Ada")
    accounts: dict[str, Json] = {name: {} for name in numbers}
    accounts["upgrade"] = {"proxy": f"http://upgrade:secret-word@127.0.0.1:{shared_sandbox.port}"}
    # So that its session can be looked at before it is used again.
    accounts["stopped"] = {"backoff": {"base": "1h", "factor": 1, "max": "1h", "jitter": 0}}
    accounts["loop"] = {"messages": {"allow": "*"}}
    folder = make_folder()
    service = Service(folder, shared_sandbox, accounts)
    # An account's process reads and writes in its own folders only.
    callbacks = service.state / "messages"
    service.environment["ORCHESTRATOR_TEST_SLOW_CALLBACKS"] = str(callbacks)
    service.environment["PYTHONPATH"] += f"{os.pathsep}{HOOK}"
    with service:
        for name, number in numbers.items():
            service.pair(name, number)
        links = {name: (service.child(name), service.connection(number)) for name, number in numbers.items()}
        sessions = {name: service.kept.devices(name) for name in numbers}
        known = {name: len(service.timeline(name)) for name in numbers}
        began = time.time()
        os.kill(links["stopped"][0], signal.SIGSTOP)
        stopped = service.kept.session("stopped")
        hole = client.fault("blackhole", numbers[SILENT])
        client.fault("hang", "proxy:upgrade", phase="upgrade")
        service.command("restart", "upgrade")
        (callbacks / "loop" / "go").touch()  # its callbacks need not wait
        for name, word in {"callback": "sleep", "held": "hold", "loop": "loop", "slow": "slow"}.items():
            (callbacks / name / "word").write_text(word)
            client.send_text(somebody, numbers[name], "hello")
        for _ in range(20):
            client.send_text(somebody, numbers["slow"], "hello again")
        with throttled(links["throttled"][0]):
            # Nobody stays so for longer than a minute and a half: seen now, and then the peer answers again.
            silent = service.wait_for_state(SILENT, "reconnecting")
            listed = service.command("list", SILENT).stdout
            client.clear_faults(hole["id"])
            service.wait_for_entry("stopped", after=known["stopped"], to="backoff")
            left = service.kept.session("stopped")
            service.command("start", "stopped")
            yield Ward(
                service, shared_sandbox, numbers, links, known, sessions, (stopped, left), silent, listed,
                began, callbacks,
            )  # fmt: skip
        client.clear_faults()


def test_a_peer_that_is_silent_is_no_connection(ward: Ward) -> None:
    service = ward.service
    entry = ward.entry(SILENT, "network", "reconnecting")
    assert (entry["from"], entry["reason"]) == ("connected", "WhatsApp does not answer")
    assert entry["after"] < SILENCE + LATE
    assert ward.silent["reason"] == "WhatsApp does not answer"
    assert " reconnecting " in ward.listed
    about = service.wait_for_state(SILENT, "connected")
    # Its process was never the trouble.
    assert about["pid"] == ward.links[SILENT][0]
    assert not service.quarantined(SILENT)


def test_a_process_that_is_stopped_is_replaced(ward: Ward) -> None:
    end = ward.end("stopped")
    assert (end["from"], end["reason"]) == ("connected", "no sign of life for 30 s")
    assert HEARTBEAT_DEADLINE - HEARTBEAT_SECONDS - EARLY <= end["after"] < HEARTBEAT_DEADLINE + LATE
    before, after = ward.stopped
    assert before == after
    ward.service.wait_for_log("stopped: process killed: no sign of life for 30 s (it was stopped by a signal")
    last_exit = ward.is_back("stopped")["last_exit"]
    assert (last_exit["code"], last_exit["traceback"]) == (-signal.SIGKILL, None)


def test_a_callback_that_never_returns_is_found(ward: Ward) -> None:
    end = ward.end("callback")
    assert (end["from"], end["reason"].rpartition(" for ")[0]) == (
        "connected", "a callback of neonize has not returned"
    )  # fmt: skip
    assert CALLBACK_SECONDS <= end["after"] < CALLBACK_SECONDS + HEARTBEAT_SECONDS + LATE
    ward.is_back("callback")
    text = ward.traceback("callback")
    assert text.splitlines()[0].endswith(end["reason"])
    assert f'"{HOOK / "sitecustomize.py"}"' in text
    assert " in wait_and_take\n" in text


def test_a_callback_that_keeps_the_lock_of_python_is_found(ward: Ward) -> None:
    end = ward.end("held")
    assert (end["from"], end["reason"]) == ("connected", "no sign of life for 30 s")
    assert HEARTBEAT_DEADLINE - HEARTBEAT_SECONDS - EARLY <= end["after"] < HEARTBEAT_DEADLINE + LATE
    assert ward.is_back("held")["last_exit"]["code"] == -SIGNAL
    text = ward.traceback("held")
    # It hangs where Go has called Python, and the loop waits for the lock.
    assert " in hold\n" in text
    assert " in wait_and_take\n" in text
    assert " in _turn\n" in text or " in run\n" in text


def test_a_main_thread_that_hangs_is_found_and_the_last_call_is_heard(ward: Ward) -> None:
    end = ward.end("loop")
    assert (end["from"], end["reason"]) == ("connected", "no sign of life for 30 s")
    assert ward.is_back("loop")["last_exit"]["code"] == -SIGNAL
    text = ward.traceback("loop")
    assert " in hang_if_asked\n" in text
    # Who writes the traceback has waited until nothing more came from the library.
    assert " in hear\n" in text or " in _obey\n" in text
    service = ward.service
    with service.kept.inbox("loop") as reader:
        stored = reader.after(0)
    assert [one.source for one in stored] == ["message"]


def test_a_call_into_the_library_that_never_returns_is_found(ward: Ward) -> None:
    end = ward.end("upgrade")
    assert (end["from"], end["reason"]) == ("connecting", "no log-in within 50 s")
    assert DIAL_SECONDS <= end["after"] < DIAL_SECONDS + 2 * LATE
    ward.is_back("upgrade")
    text = ward.traceback("upgrade")
    assert "/neonize/client.py" in text
    assert " in connect\n" in text
    assert "secret-word" not in text


def test_who_is_only_slow_is_left_alone(ward: Ward) -> None:
    for name in ENDS:
        ward.end(name)
        ward.is_back(name)
    ward.service.wait_for_state(SILENT, "connected")
    for name in FINE:
        assert ward.entries(name) == []
        assert ward.link(name) == ward.links[name]
        assert ward.service.about(name)["last_exit"] is None
    # All that time one of them was busy with its messages, as it still is.
    calls = len((ward.callbacks / "slow/calls").read_text())
    assert calls >= (time.time() - ward.began) / 5 / 3


def test_nobody_else_has_a_traceback(ward: Ward) -> None:
    for name in ENDS:
        ward.end(name)
    assert sorted(path.name for path in (ward.service.state / "tracebacks").glob("*.txt")) == [
        "callback.txt", "held.txt", "loop.txt", "upgrade.txt"
    ]  # fmt: skip
