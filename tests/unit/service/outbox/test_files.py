"""Files on their way into an account's folder, where the account's process may write, too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pictures import PNG

from orchestrator.errors import OrchestratorError
from orchestrator.service.outbox import files
from orchestrator.service.outbox.files import Incoming
from orchestrator.store.layout import OUTGOING

SECONDS = 10.0
"""Far longer than anything here takes, unless it waits for ever."""


@pytest.fixture
def incoming(tmp_path: Path) -> Incoming:
    source = os.memfd_create("source")
    os.write(source, PNG)
    found = Incoming.begin(tmp_path)
    found.copy(source, lambda _head, _size: None)
    os.close(source)
    return found


def written(folder: Path) -> Path:
    (found,) = (folder / OUTGOING).iterdir()
    return found


def ends(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises; it must not wait for anything."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except OrchestratorError as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert raised, "it waits"
    return raised[0]


@pytest.mark.parametrize("call", [lambda one: one.replace(b"x"), lambda one: one.open()])
def test_a_pipe_in_the_place_of_the_copy_keeps_nobody_waiting(
    incoming: Incoming, tmp_path: Path, call: Callable[[Incoming], object]
) -> None:
    place = written(tmp_path)
    place.unlink()
    os.mkfifo(place)
    raised = ends(lambda: call(incoming))
    assert isinstance(raised, OrchestratorError)
    assert raised.key == "media_no_room"
    incoming.close(keep=False)


@pytest.mark.parametrize("call", [lambda one: one.replace(b"x"), lambda one: one.open()])
def test_a_link_in_the_place_of_the_copy_is_not_followed(
    incoming: Incoming, tmp_path: Path, call: Callable[[Incoming], object]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"as it was")
    place = written(tmp_path)
    place.unlink()
    place.symlink_to(elsewhere)
    assert isinstance(ends(lambda: call(incoming)), OrchestratorError)
    assert elsewhere.read_bytes() == b"as it was"
    incoming.close(keep=False)


def test_a_source_that_shrinks_meanwhile_gives_what_was_read(tmp_path: Path) -> None:
    source = os.memfd_create("source")
    os.truncate(source, 5 << 20)
    asked: list[int] = []

    def refusal(_head: bytes, size: int) -> None:
        asked.append(size)
        if len(asked) == 3:
            os.truncate(source, 1 << 20)

    found = Incoming.begin(tmp_path)
    found.copy(source, refusal)
    found.finish()
    found.close(keep=True)
    os.close(source)
    assert found.size == written(tmp_path).stat().st_size < 5 << 20


def test_the_files_of_an_account_have_a_bound_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 3 * len(PNG))
    source = os.memfd_create("source")
    os.write(source, PNG)

    def bring() -> str | None:
        one = Incoming.begin(tmp_path)
        try:
            one.copy(source, lambda _head, _size: None)
            one.finish()
        except OrchestratorError as error:
            one.close(keep=False)
            return error.key
        one.close(keep=True)
        return None

    assert [bring() for _ in range(4)] == [None, None, None, "outbox_full"]
    next((tmp_path / OUTGOING).iterdir()).unlink()  # it was sent
    assert bring() is None
    monkeypatch.setattr(files, "MOST_FILES", 2)
    next((tmp_path / OUTGOING).iterdir()).unlink()
    assert bring() == "outbox_full"
    os.close(source)
