"""The machine's own trouble, met by the real service with the real library: nobody is lost, all come back."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.full_disk import fill, kept_full, small_disk
from support.linked import wait_until
from support.service import ORPHAN_SECONDS, PATIENCE, Json, Service, end, is_alive, wait_gone
from support.trouble import MemoryGroup, fork_server, frozen, no_descriptors, no_new_processes

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system.memory import MARGIN

Numbers = Mapping[str, str]
pytestmark = pytest.mark.timeout(900)

AGAIN = "it is tried again and again"
STALL_SECONDS = 33.0
"""Longer than every deadline for a sign of life."""


@pytest.fixture
def numbers(make_number: Callable[[], str]) -> Numbers:
    return {name: make_number() for name in ("one", "two")}


@pytest.fixture
def service(sandbox: SandboxProcess, folder: Path, numbers: Numbers) -> Iterator[Service]:
    """A service with two connected accounts."""
    with Service(folder, sandbox, list(numbers)) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield service
        assert not service.quarantined("*")
        assert not [line for line in service.log if "Traceback" in line]


def kinds(service: Service, name: str) -> set[str]:
    """Return the kinds of all ends in an account's history."""
    return {entry["kind"] for entry in service.explain(name)["timeline"] if entry["kind"]}


# The disk


@pytest.mark.files_only("the disk that is full is this machine's")
def test_a_disk_that_becomes_full_in_a_burst_loses_nothing_silently(
    sandbox: SandboxProcess, numbers: Numbers, folder: Path
) -> None:
    """What waits in the library has the reserve for room, and WhatsApp keeps the rest."""
    one, two = numbers.values()
    sandbox.client.add_phone(two)
    accounts: dict[str, Json] = {"one": {"messages": {"allow": "*"}}}
    with small_disk(folder / "disk", 16 * 1024) as disk, Service(disk, sandbox, accounts) as service:
        service.pair("one", one)
        filler = fill(disk, leave=64 * 1024)
        ids = sandbox.client.send_burst(two, one, 200, 200)
        about = service.wait_for_state("one", "backoff")
        assert (about["kind"], about["reason"]) == ("machine", "the disk is full: make room")
        filler.unlink()
        service.wait_for_state("one", "connected")
        with service.kept.inbox("one") as reader:

            def told() -> set[str]:
                return {one.id for one in reader.after(0, 1000)}

            wait_until(lambda: told() >= set(ids), "nobody says what became of a message")
            messages = [one.id for one in reader.after(0, 1000) if one.source == "message"]
        assert len(messages) == len(set(messages))
        # One that the library cannot decrypt, because it cannot write, is told as such and asked for again.
        assert len(messages) > len(ids) - 5


@pytest.mark.files_only("the disk that is full is this machine's")
def test_a_full_disk(sandbox: SandboxProcess, numbers: Numbers, folder: Path) -> None:
    """Configuration, sessions, histories and codes are all on it."""
    one, two = numbers.values()
    with small_disk(folder / "disk", 16 * 1024) as disk, Service(disk, sandbox, list(numbers)) as service:
        service.pair("one", one)
        service.wait_for_code("two")
        sandbox.client.add_phone(two)
        filler = fill(disk)

        # The configuration stays as it is, and the command says why.
        before = service.config_file.read_bytes()
        refused = service.command("add", "another", check=False)
        assert refused.returncode == 1
        assert "the disk is full: make room; nothing was changed" in refused.stderr
        assert service.config_file.read_bytes() == before

        # What comes in cannot be stored: the account leaves rather than lose it, and keeps its session.
        sandbox.client.send_text(two, one, "with no room")
        about = service.wait_for_state("one", "backoff")
        assert (about["kind"], about["reason"]) == ("machine", "the disk is full: make room")
        session = service.kept.session("one")
        since = sandbox.client.last_event()
        waiting = sandbox.client.send_text(two, one, "while it is away")
        service.until(lambda all_: all_["one"]["attempt"] > 12, AGAIN, timeout=3 * PATIENCE)
        assert service.kept.session("one") == session

        # A terminal shows the codes; whoever uses one is told that it cannot work.
        with service.client.stream("qr", name="two") as events:
            code = next(event["code"]["text"] for event in events if event.get("code"))
        with kept_full(disk):  # an account that leaves makes some room
            with pytest.raises(Exception, match="refused"):
                sandbox.client.scan(two, text=code)
            service.wait_for_log("two: pairing → backoff: the disk is full: make room")

        # With room again, all comes by itself.
        filler.unlink()
        service.wait_for_state("one", "connected")
        sandbox.client.wait_for("receipt", PATIENCE, since, id=waiting, type="inactive", by=one)
        service.pair("two", two)
        service.command("add", "another", "--disabled")
        assert kinds(service, "one") == {"machine"}
        assert not service.quarantined("*")
        assert not [line for line in service.log if "Traceback" in line]


@pytest.mark.files_only("a folder that is gone")
def test_the_folder_of_sessions_gone_for_a_while(service: Service) -> None:
    """As when its disk is not mounted: nobody is asked to link an account anew for that."""
    pid = service.child("one")
    folder = service.state / "sessions"
    away = folder.rename(service.folder / "away")
    os.kill(pid, signal.SIGKILL)
    service.wait_for_log(f"the folder {folder} is gone: restore it")
    service.until(lambda all_: all_["one"]["attempt"] > 12, AGAIN, timeout=3 * PATIENCE)
    assert service.pngs() == []
    away.rename(folder)
    service.wait_for_state("one", "connected")
    assert kinds(service, "one") == {"crash", "machine"}


@pytest.mark.files_only("a symbolic link")
def test_a_session_that_is_a_planted_link(service: Service) -> None:
    service.command("stop", "one")
    session = service.files.session_file("one")
    target = session.rename(service.folder / "elsewhere.sqlite3")
    before = target.read_bytes()
    target.chmod(0o644)
    session.symlink_to(target)
    service.command("start", "one")
    reason = service.wait_for_state("one", "failed")["reason"]
    assert f"{session} is a symbolic link" in reason
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (before, 0o644)
    session.unlink()
    target.rename(session)
    service.command("start", "one")
    service.wait_for_state("one", "connected")


# Descriptors, processes, memory


def test_no_file_descriptors(service: Service) -> None:
    pid, other = service.child("one"), service.child("two")
    asking: list[list[Any]] = []
    thread = threading.Thread(target=lambda: asking.append(service.accounts()))
    with no_descriptors(service.pid):
        os.kill(pid, signal.SIGKILL)
        line = service.wait_for_log("no process could be started: too many open files")
        assert "LimitNOFILE=" in line
        thread.start()
        service.wait_for_log("the service cannot accept commands for now: too many open files")
    thread.join(PATIENCE)
    assert asking, "who has asked meanwhile is answered"
    service.wait_for_state("one", "connected", after=pid)
    assert service.child("two") == other
    assert kinds(service, "one") <= {"crash", "machine"}


def test_no_more_processes(service: Service) -> None:
    pid, other = service.child("one"), service.child("two")
    with no_new_processes([psutil.Process(service.pid), fork_server(service.pid)]):
        os.kill(pid, signal.SIGKILL)
        service.wait_for_log("no process could be started: no further process is allowed")
        # Commands need none, nor does reading the configuration again.
        assert service.about("two")["state"] == "connected"
        service.client.call("reload")
    service.wait_for_state("one", "connected", after=pid)
    assert service.child("two") == other


def test_no_memory_for_one_more_child(service: Service) -> None:
    """The library reserves some hundred megabytes of addresses, which the children do not get here."""
    pid, other = service.child("one"), service.child("two")
    server = fork_server(service.pid).pid
    size = psutil.Process(server).memory_info().vms + 16 * 1024 * 1024
    before = resource.prlimit(server, resource.RLIMIT_AS)
    known = len(service.timeline("one"))
    resource.prlimit(server, resource.RLIMIT_AS, (size, before[1]))
    try:
        os.kill(pid, signal.SIGKILL)
        service.until(lambda all_: all_["one"]["restarts"] > 2, "it was tried")
    finally:
        resource.prlimit(server, resource.RLIMIT_AS, before)
    service.wait_for_state("one", "connected")
    assert service.child("two") == other
    reasons = [entry["reason"] for entry in service.timeline("one")[known:] if entry["to"] == "backoff"]
    assert "SIGKILL" in reasons[0]
    assert all("raise the limit" in reason or "no memory is left" in reason for reason in reasons[1:]), (
        reasons
    )


def starve(service: Service, group: MemoryGroup, tries: int) -> object:
    """Let the first account have no memory to start with, until it was tried that often.

    On a busy machine each try may take as long as its deadline, for the kernel would rather take the pages of
    files away again and again. Should it connect all the same, memory was given back meanwhile: then there is
    less from that moment on.

    Returns:
        The session that it is tried with.
    """
    while True:
        service.command("stop", "one")
        session = service.kept.session("one")
        group.deny(spare=8 * 1024 * 1024)
        service.client.call("start", names=["one"])
        service.until(
            lambda all_: all_["one"]["attempt"] > tries or all_["one"]["state"] == "connected",
            AGAIN,
            timeout=3 * PATIENCE,
        )
        if service.about("one")["state"] != "connected":
            return session


def test_no_memory_and_the_kernel_ends_the_child(
    sandbox: SandboxProcess, numbers: Numbers, folder: Path
) -> None:
    """It is never given up, as one that crashes is, and the service is not what the kernel chooses."""
    accounts: dict[str, Json] = {"one": {"max_retries": 2}, "two": {}}
    with MemoryGroup() as group, Service(folder, sandbox, accounts, start=False) as service:
        with group.joined():
            service.start()
        for name, number in numbers.items():
            service.pair(name, number)
        other, server = service.child("two"), fork_server(service.pid).pid
        scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (service.pid, other)]
        assert scores[1] - scores[0] == MARGIN
        group.release(other)
        session = starve(service, group, tries=4)
        about = service.wait_for_state("one", "backoff")
        assert about["kind"] == "machine"
        assert "because memory ran out" in about["reason"]
        assert about["last_exit"]["code"] == -signal.SIGKILL
        assert service.kept.session("one") == session
        assert fork_server(service.pid).pid == server
        group.allow()
        service.wait_for_state("one", "connected")
        assert service.child("two") == other
        assert kinds(service, "one") == {"machine"}


def test_the_fork_server_killed(service: Service) -> None:
    pid, other = service.child("one"), service.child("two")
    server = fork_server(service.pid)
    server.kill()
    os.kill(pid, signal.SIGKILL)
    service.wait_for_state("one", "connected", after=pid)
    assert service.child("two") == other
    assert fork_server(service.pid).pid != server.pid
    # The other child ends in good order, although nobody knows its exit status.
    service.command("stop", "two")
    assert service.about("two")["state"] == "stopped"


# Time


def test_the_parent_stalled_for_longer_than_every_deadline(service: Service) -> None:
    """With one of its children, as by Ctrl-Z; the other has filled its pipe with signs of life meanwhile."""
    pids = {name: service.child(name) for name in ("one", "two")}
    with frozen(service.pid, pids["one"]):
        threading.Event().wait(STALL_SECONDS)
    service.wait_for_log("the service itself stood still for")
    known = {name: service.about(name)["last_seen_at"] for name in pids}
    service.until(
        lambda all_: all(all_[name]["last_seen_at"] > known[name] for name in pids), "both are heard of again"
    )
    assert {name: service.child(name) for name in pids} == pids
    assert all(not kinds(service, name) & {"crash"} for name in pids)


# The log


@contextmanager
def with_log(service: Service, log: int) -> Iterator[psutil.Process]:
    """Run a service whose log goes into a pipe of the test's own."""
    process = subprocess.Popen(
        service.command_line("run", "--log-level", "DEBUG"),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=service.environment,
        cwd=service.folder,
        start_new_session=True,
    )
    os.close(log)
    everything = [psutil.Process(process.pid)]
    try:
        while not service.client.path.exists():
            assert process.poll() is None, "it has ended"
            threading.Event().wait(0.05)
        yield everything[0]
        everything += everything[0].children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert not wait_gone(everything, ORPHAN_SECONDS)
    finally:
        end(everything)
        process.wait()


def works(service: Service, name: str, number: str) -> None:
    """See that the service does what it is there for."""
    service.pair(name, number)
    pid = service.child(name)
    os.kill(pid, signal.SIGKILL)
    pid = service.wait_for_state(name, "connected", after=pid)["pid"]
    service.command("restart", name)
    service.wait_for_state(name, "connected", after=pid)
    service.command("stop", name)


def test_the_log_reader_gone(sandbox: SandboxProcess, number: str, folder: Path) -> None:
    read, write = os.pipe()
    service = Service(folder, sandbox, ["one"], start=False)
    with with_log(service, write) as process:
        service.wait_for_code("one")
        os.close(read)
        works(service, "one", number)
        assert is_alive(process)


def test_the_log_reader_stopped(sandbox: SandboxProcess, number: str, folder: Path) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    service = Service(folder, sandbox, ["one"], start=False)
    with with_log(service, write):
        works(service, "one", number)
        # When somebody reads again, what was lost is said.
        found = bytearray()
        reading = threading.Thread(target=lambda: _read(read, found), daemon=True)
        reading.start()
        service.command("start", "one")
        service.wait_for_state("one", "connected")
    reading.join(PATIENCE)
    os.close(read)
    assert b"log records were dropped, because nobody read the log" in found
    assert b"the service has stopped" in found


def _read(descriptor: int, found: bytearray) -> None:
    while data := os.read(descriptor, 65536):
        found += data
