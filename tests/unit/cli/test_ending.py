"""What a command keeps open until its process ends is closed while threads still run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import contextlib, sys, threading
from orchestrator.cli.ending import UNTIL_THE_END

@contextlib.contextmanager
def serving():
    stops = threading.Event()
    thread = threading.Thread(target=stops.wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stops.set()
        thread.join()
        print("left", sys.is_finalizing())

UNTIL_THE_END.enter_context(serving())
print("done")
"""


def test_a_thread_can_be_waited_for_at_the_end_of_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == ["done", "left False"]
