"""A process that may not run any more ends at once, whatever else it does."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.worker.tenure import Tenure

ROOT = Path(__file__).resolve().parents[3]


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_process_waits_no_longer_than_it_may_run() -> None:
    assert Tenure(None).limit(5.0) == 5.0
    assert Tenure(boottime() - 1).limit(5.0) == 0.0
    assert 0 < Tenure(boottime() + 2).limit(5.0) <= 2.0
    assert Tenure(boottime() + 100).limit(5.0) == 5.0


def test_it_is_extended_and_never_cut_short() -> None:
    tenure = Tenure(boottime() - 1)
    tenure.extend(boottime() + 100)
    tenure.extend(boottime() - 50)
    tenure.check()
    forever = Tenure(None)
    forever.extend(boottime() - 1)
    forever.check()


def test_the_process_ends_without_a_word() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from orchestrator.worker.tenure import Tenure; Tenure(1.0).check(); print(1)",
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CODES[Kind.DISOWNED], b"", b"")
