"""Processes that an earlier service has left on the sessions."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.service import orphans
from orchestrator.store import sessions

_HOLD = """
import os, signal, sys, time
from pathlib import Path
from orchestrator.store import sessions as session
descriptor = session.lock(Path(sys.argv[1]))
if sys.argv[2] == "nameless":
    os.ftruncate(descriptor, 0)
print("held", flush=True)
if sys.argv[2] == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
sys.stdin.read()
"""


def lock_of(sessions: Path, name: str) -> Path:
    """Return the lock of an account: of "sales" as a service of version 0.1 has made it."""
    if name == "sales":
        return sessions / "sales.lock"
    (sessions / name).mkdir(exist_ok=True)
    return sessions / name / "session.lock"


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[str, str], psutil.Process]]:
    """Start a process that holds the session of an account."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, how: str) -> psutil.Process:
        lock = lock_of(tmp_path, name)
        command = [sys.executable, "-c", _HOLD, str(lock), how]
        running = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(running)
        assert running.stdout is not None
        assert running.stdout.readline() == "held\n"
        return psutil.Process(running.pid)

    yield start
    for running in started:
        running.kill()
        running.communicate()


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_who_cannot_end_by_itself_is_ended(
    tmp_path: Path, hold: Callable[[str, str], psutil.Process]
) -> None:
    stopped, busy = hold("support", "stopped"), hold("sales", "busy")
    said = orphans.end(tmp_path)
    assert [sentence.partition(":")[0] for sentence in said] == ["support", "sales"]
    assert f"ended process {stopped.pid}, which an earlier service left running" in said[0]
    assert has_ended(stopped)
    assert has_ended(busy)
    assert orphans.end(tmp_path) == []


def test_nobody_is_ended_who_does_not_hold_the_session(
    tmp_path: Path, hold: Callable[[str, str], psutil.Process]
) -> None:
    holder, other = hold("support", "nameless"), hold("sales", "busy")
    lock = lock_of(tmp_path, "support")
    lock.write_text(f"{other.pid}\n")
    (tmp_path / "sales.lock").rename(tmp_path / "sales.kept")
    assert orphans.end(tmp_path) == []
    assert not has_ended(holder), "nobody knows who it is"
    assert not has_ended(other), "it has another session"


def test_sessions_that_nobody_holds_are_no_news(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, "support")
    lock.write_text("1\n")
    (tmp_path / "link.lock").symlink_to(lock)
    (tmp_path / "folder.lock").mkdir()
    (tmp_path / "linked").symlink_to(lock.parent)
    os.mkfifo(lock_of(tmp_path, "pipe"))
    assert orphans.end(tmp_path) == []
    assert orphans.end(tmp_path / "nothing") == []
    with os.fdopen(sessions.lock(lock), "rb"):
        assert orphans.end(tmp_path) == [], "it never ends itself"
