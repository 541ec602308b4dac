"""The last call is heard whatever the main thread does, and ends the process once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.accounts.deadlines import LAST_CALL
from orchestrator.store import tracebacks
from orchestrator.worker.spec import LAST_CALL_SIGNAL

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, select, sys, threading, time
from orchestrator.worker.last_call import LastCall
call = LastCall({end})
def read():
    while True:
        select.select([call], [], [])
        call.hear()
threading.Thread(target=read, daemon=True).start()
{arm}
os.write(1, b"ready\\n")
{hangs}
"""
HANGS = {
    "lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "code": "while True: pass",
    "call": "time.sleep(3600)",
    "read": "os.read(os.pipe()[0], 1)",
    "blocked": "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, s.valid_signals()); time.sleep(3600)",
}
ARM = "call.arm(lambda seconds: os.write(1, f'{seconds}\\n'.encode()))"
FAILS = "call.arm(lambda seconds: 1 / 0)"


def run(hangs: str, *, end: str = "", arm: str = ARM, signals: int = 1) -> tuple[int, list[str]]:
    """Start the program, send it the signal once it is ready; return its exit status and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(hangs=HANGS[hangs], end=end, arm=arm)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        for _ in range(signals):
            process.send_signal(LAST_CALL_SIGNAL)
        said = process.stdout.read().splitlines()
        return process.wait(60), said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("hangs", HANGS)
def test_it_is_heard_whatever_the_main_thread_does(hangs: str) -> None:
    assert run(hangs) == (-tracebacks.SIGNAL, [str(LAST_CALL.inner)])


def test_it_is_heard_once() -> None:
    assert run("call", end="lambda: os._exit(7)", signals=5) == (7, [str(LAST_CALL.inner)])


@pytest.mark.parametrize("arm", ["", FAILS])
def test_with_nothing_to_take_it_is_an_end_all_the_same(arm: str) -> None:
    assert run("lock", arm=arm) == (-tracebacks.SIGNAL, [])


def test_it_is_no_signal_that_means_something_else() -> None:
    assert LAST_CALL_SIGNAL not in (tracebacks.SIGNAL, signal.SIGTERM)
