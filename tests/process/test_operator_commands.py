"""A program of the operator's, run to its end: what it gets, what is kept, what is killed."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.service.on_change import problem
from orchestrator.system import commands
from orchestrator.system.commands import MOST_OUTPUT, Outcome, Stop

LONG = 60.0
BRIEF = 5.0
"""Seconds within which a shell says a word also on a busy machine."""
LOOK = 'import os; print(sorted(os.listdir("/proc/self/fd")), os.getsid(0) == os.getpid())'


@pytest.fixture
def stop() -> Iterator[Stop]:
    made = Stop()
    yield made
    made.close()


def run(stop: Stop, script: str, *, given: bytes = b"", seconds: float = LONG) -> Outcome:
    variables = commands.environment(os.environ, {})
    return commands.run(["/bin/sh", "-c", script], given, variables=variables, seconds=seconds, stop=stop)


def test_it_reads_what_it_is_given_and_its_last_words_are_kept(stop: Stop) -> None:
    given = b"x" * 3_000_000  # more than a pipe takes
    outcome = run(stop, "wc -c; echo oh >&2; pwd; umask; exit 3", given=given)
    assert outcome == Outcome(3, "3000000\noh\n/\n0077")
    assert not outcome.worked


def test_one_that_does_not_read_is_no_trouble(stop: Stop) -> None:
    assert run(stop, "exit 0", given=b"x" * 3_000_000).worked


def test_it_has_no_descriptor_but_three_and_a_session_of_its_own(stop: Stop) -> None:
    held = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(held, False)
    try:
        outcome = run(stop, f"exec {sys.executable} -c '{LOOK}'")
    finally:
        os.close(held)
    assert outcome.output == "['0', '1', '2', '3'] True"  # 3 is the folder that is listed


def test_it_has_a_short_environment() -> None:
    base = {
        "PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "TOKEN": "secret", "HTTPS_PROXY": "http://u:p@proxy:1",
        "PYTHONPATH": "/x", "SSL_CERT_FILE": "/company.pem", "NOTIFY_SOCKET": "/run/x",
    }  # fmt: skip
    kept = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "SSL_CERT_FILE": "/company.pem"}
    assert commands.environment(base, {}) == kept
    assert commands.environment({}, {"URL": "x"}) == {"PATH": "/usr/local/bin:/usr/bin:/bin", "URL": "x"}
    # The sandbox's certificate is for nobody else.
    sandbox = {**base, "ORCHESTRATOR_SANDBOX_ROOT_KEY": "00"}
    assert "SSL_CERT_FILE" not in commands.environment(sandbox, {})


def test_one_that_hangs_is_killed_with_all_that_it_has_started(stop: Stop, tmp_path: Path) -> None:
    script = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/pid; echo begun; wait"
    outcome = run(stop, script, seconds=BRIEF)
    assert outcome.is_late
    assert not outcome.worked
    assert outcome.output == "begun"
    _check_gone(int((tmp_path / "pid").read_text()))


def test_what_is_left_behind_may_finish_within_the_time(stop: Stop, tmp_path: Path) -> None:
    """`mail` returns while the letter is still being handed over."""
    outcome = run(stop, f"(sleep 1; touch {tmp_path}/sent) > /dev/null 2>&1 &")
    assert outcome.worked
    assert (tmp_path / "sent").exists()


def test_what_is_left_behind_without_end_is_killed(stop: Stop, tmp_path: Path) -> None:
    outcome = run(stop, f"sleep 1000 > /dev/null & echo $! > {tmp_path}/pid", seconds=BRIEF)
    assert outcome.worked
    _check_gone(int((tmp_path / "pid").read_text()))


def test_one_that_prints_without_end_is_killed_and_its_last_words_are_bounded(stop: Stop) -> None:
    outcome = run(stop, "yes", seconds=2)
    assert outcome.is_late
    assert len(outcome.output) <= MOST_OUTPUT


def test_it_is_ended_when_the_service_stops(stop: Stop, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begun")
    found: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: found.append(run(stop, f"echo > {tmp_path}/begun; sleep 1000; echo never"))
    )
    thread.start()
    (tmp_path / "begun").read_bytes()  # returns when the program writes
    stop.set()
    thread.join(LONG)
    assert found[0].is_stopped
    assert not found[0].worked


def test_one_that_is_no_program(stop: Stop, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o700)
    with pytest.raises(OSError, match="Exec format"):
        commands.run([str(tmp_path / "text")], b"", variables={}, seconds=LONG, stop=stop)


def test_a_program_that_others_can_change_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir(mode=0o700)
    program = folder / "tell"
    assert "does not exist" in str(problem(program))
    program.write_text("#!/bin/sh\n")
    program.chmod(0o600)
    if os.geteuid() != 0:
        assert "cannot be executed" in str(problem(program))
    program.chmod(0o700)
    assert problem(program) is None
    program.chmod(0o707)
    assert f"`chmod o-w {program}`" in str(problem(program))
    program.chmod(0o700)
    folder.chmod(0o777)
    assert f"`chmod o-w {folder}`" in str(problem(program))
    folder.chmod(0o700)
    assert "is no file" in str(problem(folder))


def _check_gone(pid: int) -> None:
    """Wait until a process that was killed is dead; it may be left for somebody else to collect."""
    deadline = time.monotonic() + LONG
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        os.sched_yield()
    assert not psutil.pid_exists(pid)
