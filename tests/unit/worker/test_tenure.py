"""A process that may not run any more ends at once, whatever else it does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.accounts import pipe
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.worker import tenure as tenure_module
from orchestrator.worker.loop import Loop
from orchestrator.worker.machine import Phase
from orchestrator.worker.pipe import Link, ParentGone
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


def test_another_thread_is_held_up_until_it_is_known_whether_the_process_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for tenure in (Tenure(None), Tenure(boottime() + 100)):
        tenure.hold()
    tenure = Tenure(boottime() - 1)
    held = threading.Thread(target=tenure.hold)
    held.start()
    held.join(0.1)
    assert held.is_alive()
    tenure.extend(boottime() + 100)
    held.join(5)
    assert not held.is_alive()
    monkeypatch.setattr(tenure_module, "HOLD_SECONDS", 0.05)
    Tenure(boottime() - 1).hold()  # whoever should decide hangs, and others watch over that


class Ended(Exception):  # noqa: N818
    pass


class Waking:
    """A process that has not run for a while, as on a machine that is busy, and hears the service again."""

    def __init__(self, until: float, monkeypatch: pytest.MonkeyPatch) -> None:
        def end(code: int) -> None:
            assert code == EXIT_CODES[Kind.DISOWNED]
            raise Ended

        monkeypatch.setattr(os, "_exit", end)
        self.parent, connection = Pipe()
        nothing: Any = None
        course: Any = SimpleNamespace(phase=Phase.ONLINE)
        self.loop = Loop(course, Link(connection), nothing, None, nothing, Tenure(until))

    def say(self, *messages: pipe.FromParent) -> None:
        for message in messages:
            self.parent.send_bytes(pipe.encode(message))

    def hear(self, *, gone: bool = False) -> list[pipe.FromParent]:
        return self.loop._hear(heard=True, gone=gone)


def test_what_the_service_has_said_meanwhile_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    waking = Waking(boottime() - 1, monkeypatch)
    waking.say(pipe.Extend(boottime() - 0.5), pipe.Extend(boottime() + 100), pipe.Stop())
    assert waking.hear()[-1] == pipe.Stop()


def test_what_the_service_has_said_before_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    waking = Waking(boottime() - 5, monkeypatch)
    waking.say(pipe.Extend(boottime() - 1), pipe.Stop())
    with pytest.raises(Ended):
        waking.hear()


@pytest.mark.parametrize("gone", [True, False])
def test_whose_time_is_over_closes_nothing_also_if_the_service_is_gone(
    gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waking = Waking(boottime() - 1, monkeypatch)
    waking.parent.close()
    with pytest.raises(Ended):
        waking.hear(gone=gone)


@pytest.mark.parametrize("gone", [True, False])
def test_whose_service_is_gone_in_time_closes_all_in_good_order(
    gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waking = Waking(boottime() + 100, monkeypatch)
    waking.parent.close()
    with pytest.raises(ParentGone):
        waking.hear(gone=gone)


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
