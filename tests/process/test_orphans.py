"""Processes that an earlier service has left on the sessions."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.probed import as_nobody, give, python_path

from orchestrator.service import orphans
from orchestrator.store import sessions
from orchestrator.system import locking

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

_HIDE = """
from orchestrator.system import cores
cores.keep_out_of_cores()
"""
_END = """
import sys
from pathlib import Path
from orchestrator.service import orphans
print(orphans.end(Path(sys.argv[1])))
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


def test_who_keeps_its_memory_to_itself_is_ended_too(tmp_path: Path) -> None:
    """As it is for a user without privileges, who cannot see what such a process has open."""
    give(tmp_path)
    line = [*as_nobody(), "-c"]
    where = {"env": {"PYTHONPATH": python_path()}, "cwd": "/", "text": True, "stdout": subprocess.PIPE}
    lock = str(tmp_path / "support.lock")
    hold = f"{_HIDE}{_HOLD}"
    with subprocess.Popen([*line, hold, lock, "stopped"], stdin=subprocess.PIPE, **where) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == "held\n"
        done = subprocess.run([*line, f"{_HIDE}{_END}", str(tmp_path)], check=True, **where)  # type: ignore[call-overload]
        assert holder.wait(60) == -signal.SIGKILL
    assert done.stdout == f"['support: ended process {holder.pid}, which an earlier service left running']\n"


def test_a_list_of_locks_that_is_hidden_ends_nobody(
    tmp_path: Path, hold: Callable[[str, str], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = hold("support", "busy")
    monkeypatch.setattr(locking, "_LOCKS", tmp_path / "nothing")
    assert orphans.end(tmp_path) == []
    assert not has_ended(busy)


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
