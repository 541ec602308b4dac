"""What processes use: read of real processes, for real accounts, and without holding up the service."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.fleet import PATIENCE, Fleet, asynchronous
from support.probed import as_nobody, python_path

from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.control.view import VERSION, AccountView
from orchestrator.service import usage
from orchestrator.service.usage import UsageReader
from orchestrator.system import processes
from orchestrator.system.processes import Usage

_BUSY = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
while time.process_time() < 0.3:
    pass
print("busy", flush=True)
sys.stdin.read()
"""


def test_what_a_process_uses_is_read() -> None:
    command = [sys.executable, "-c", _BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        found = processes.usage(running.pid)
        assert found.cpu_s is not None
        assert 0.25 <= found.cpu_s < 30
        assert found.threads == 2
        running.kill()
    assert processes.usage(running.pid) == Usage(None, None), "it is gone"


def test_what_the_kernel_hides_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(_: psutil.Process) -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "num_threads", hidden)
    found = processes.usage(os.getpid())
    assert found.threads is None
    assert found.cpu_s is not None


_HIDE = """
from orchestrator.system import cores
cores.keep_out_of_cores()
"""
_READ = """
import sys
from orchestrator.system import processes
print(*processes.usage(int(sys.argv[1])))
"""


def test_a_process_that_keeps_its_memory_to_itself_is_counted() -> None:
    """By another process of the same user without privileges."""
    line = [*as_nobody(), "-c"]
    environment = {"PYTHONPATH": python_path()}
    with subprocess.Popen(
        [*line, _HIDE + _BUSY], env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        read = [*line, _HIDE + _READ, str(running.pid)]
        done = subprocess.run(read, env=environment, cwd="/", capture_output=True, text=True, check=True)
        cpu, threads = done.stdout.split()
        assert 0.25 <= float(cpu) < 30
        assert threads == "2"
        running.kill()


def test_without_descriptors_nothing_is_known_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(psutil, "Process", none_left)
    found = processes.usage(os.getpid())
    assert found.threads is None
    assert found.cpu_s is not None, "that takes no descriptor"


def numbers(account: dict[str, Any]) -> tuple[object, object, object]:
    return account["cpu_s"], account["open_files"], account["threads"]


@asynchronous
async def test_commands_say_what_the_accounts_processes_use(tmp_path: Path) -> None:
    idle = AccountSettings("idle", enabled=False)
    async with Fleet(tmp_path, "a", idle, control=True) as fleet:
        await fleet.until("a", State.PAIRING)
        process = psutil.Process(fleet.pid("a"))
        busy, none = (await fleet.call("list"))["accounts"]
        # psutil counts whole hundredths of seconds, of which it leaves out up to two.
        assert 0 < busy["cpu_s"] <= sum(process.cpu_times()[:2]) + 0.03
        assert (busy["open_files"], busy["threads"]) == (23, process.num_threads())
        assert numbers(none) == (None, None, None)
        explained = (await fleet.call("explain", name="a"))["account"]
        assert numbers(explained)[1:] == numbers(busy)[1:]
        with fleet.client.stream("watch", names=["a"]) as events:
            event = await asyncio.wait_for(asyncio.to_thread(next, iter(events)), PATIENCE)
        assert numbers(event["accounts"][0])[1:] == numbers(busy)[1:]
        assert (await fleet.call("ping"))["view_version"] == VERSION
        await fleet.call("stop", names=["a"], wait=True)
        assert numbers((await fleet.call("list"))["accounts"][0]) == (None, None, None)


@asynchronous
async def test_the_service_goes_on_while_many_processes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(pid: int) -> Usage:
        time.sleep(0.001)
        return Usage(1.0, pid)

    monkeypatch.setattr(processes, "usage", slowly)
    views = [AccountView(f"a{pid}", "connected", pid=pid) for pid in range(1, 301)]
    reading = asyncio.ensure_future(UsageReader().add(views))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert [view.threads for view in reading.result()] == list(range(1, 301))
    assert turns > 20, "5 ms at a time"


@asynchronous
async def test_who_asks_often_gets_what_was_read_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[int] = Counter()

    def count(pid: int) -> Usage:
        reads[pid] += 1
        return Usage(float(reads[pid]), None)

    monkeypatch.setattr(processes, "usage", count)
    monkeypatch.setattr(usage, "FRESH_SECONDS", 0.3)
    reader, view = UsageReader(), AccountView("a", "connected", pid=1)

    async def read() -> float | None:
        (found,) = await reader.add([view])
        return found.cpu_s

    assert [await read(), await read(), await read()] == [1.0, 1.0, 1.0]
    await asyncio.sleep(0.3)
    assert await read() == 2.0
    await asyncio.sleep(0.3)
    assert await reader.add([AccountView("a", "backoff")]) == [AccountView("a", "backoff")]
    assert not reader._read, "nothing is kept of processes that nobody asks about"
