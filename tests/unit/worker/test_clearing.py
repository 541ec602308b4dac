"""When the loop has old messages deleted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from support.linked import wait_until

from orchestrator.messages.retention import Retention
from orchestrator.worker.loop import Loop
from orchestrator.worker.machine import Phase

KEEP = Retention(60.0, 600.0)


class Set:
    """A loop whose sender takes note of each clearing, which comes after that of the intake."""

    def __init__(self, phase: Phase) -> None:
        self.cleared: list[Retention] = []
        intake = SimpleNamespace(clears_every=60.0, keep=KEEP, clear=lambda: None)
        sender = SimpleNamespace(clear=self.cleared.append)
        course: Any = SimpleNamespace(phase=phase)
        tools: Any = SimpleNamespace(intake=intake, sender=sender)
        nothing: Any = None
        self.loop = Loop(course, nothing, nothing, None, tools)
        self.now = self.loop._next_clearing

    def beat(self, after: float = 0.0) -> None:
        self.now += after
        self.loop._clear(self.now)

    def wait(self, count: int) -> None:
        wait_until(lambda: len(self.cleared) == count, "nothing is deleted")


@pytest.mark.parametrize("phase", [Phase.DIALLING, Phase.CODES, Phase.ONLINE, Phase.LOST])
def test_old_messages_go_in_time_whether_there_is_a_link_or_not(phase: Phase) -> None:
    at = Set(phase)
    at.beat()
    at.wait(1)
    at.beat(after=59.0)
    at.beat(after=2.0)
    at.wait(2)


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.CLOSING, Phase.LEAVING])
def test_nothing_is_deleted_before_the_start_and_at_the_end(
    phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    Set(phase).beat()


def test_a_thread_that_is_not_to_be_had_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    at = Set(Phase.ONLINE)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        at.beat()
    assert at.cleared == []
    at.beat(after=10.0)
    at.wait(1)
    assert at.cleared == [KEEP]
