"""Whoever goes away while a file is brought in leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support.pictures import PNG

from orchestrator.accounts.settings import Sending
from orchestrator.service.aside import Aside
from orchestrator.service.outbox import files
from orchestrator.service.outbox.sends import Sends, Wanted
from orchestrator.store.layout import OUTGOING

SECONDS = 20.0


class Accounts:
    """One account, of which nothing but its settings and its folder is asked for here."""

    sending = Sending()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sender(self, _name: str) -> Any:  # noqa: ANN401 - a part of an account
        return self

    def messages(self, _name: str) -> Path:
        return self._folder

    def outbox(self, _name: str, *, makes: bool = True) -> Any:  # noqa: ANN401, ARG002 - nobody gets so far
        raise AssertionError

    def note_queued(self, name: str, count: int) -> None:
        raise AssertionError((name, count))


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.parametrize("step", ["begin", "copy", "finish"])
def test_whoever_goes_away_leaves_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    began, go_on, over = threading.Event(), threading.Event(), threading.Event()
    real = getattr(files.Incoming, step)

    def slow(*arguments: object) -> object:
        began.set()
        assert go_on.wait(SECONDS)
        try:
            return real(*arguments)
        finally:
            over.set()

    monkeypatch.setattr(files.Incoming, step, staticmethod(slow) if step == "begin" else slow)

    async def go_away() -> None:
        aside = Aside("test")
        source = os.memfd_create("source")
        os.write(source, PNG)
        sends = Sends(Accounts(tmp_path), aside)
        message = {"to": "+4915100000042", "kind": "document", "file_name": "a.png"}
        before = open_files()
        task = asyncio.ensure_future(sends.send("a", Wanted(message, bytes(32)), source))
        assert await asyncio.to_thread(began.wait, SECONDS)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(over.wait, SECONDS)
        assert open_files() == before
        os.close(source)
        aside.close()

    asyncio.run(go_away())
    assert not list((tmp_path / OUTGOING).iterdir())
