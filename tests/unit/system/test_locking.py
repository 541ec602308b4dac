"""Locks: how long they are waited for, and what is said when they are not to be had."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.system.locking import flock, lock_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def held(path: Path) -> Iterator[threading.Timer]:
    """Somebody holds the lock; the timer lets go of it."""
    descriptor = lock_file(path)
    timer = threading.Timer(0.2, os.close, (descriptor,))
    yield timer
    if timer.ident is None:
        os.close(descriptor)
    else:
        timer.join()


@pytest.mark.parametrize("patience", [20.0, None])
def test_a_lock_is_waited_for(path: Path, held: threading.Timer, patience: float | None) -> None:
    with path.open() as file:
        held.start()
        flock(file.fileno(), patience=patience)
        with pytest.raises(BlockingIOError):
            lock_file(path)


def test_a_lock_file_is_waited_for_and_then_names_its_new_holder(path: Path, held: threading.Timer) -> None:
    path.write_text("")
    held.start()
    os.close(lock_file(path, patience=20.0))
    assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.usefixtures("held")
def test_patience_ends(path: Path) -> None:
    with path.open() as file:
        with pytest.raises(BlockingIOError):
            flock(file.fileno())
        begun = time.monotonic()
        with pytest.raises(BlockingIOError):
            flock(file.fileno(), patience=0.1)
        assert time.monotonic() - begun >= 0.1
    with pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()}"):
        lock_file(path, patience=0.1)


def test_only_this_module_and_the_sandbox_lock_files() -> None:
    package = Path(lock_file.__code__.co_filename).parents[1]
    found = {
        str(one.relative_to(package)) for one in package.rglob("*.py") if "fcntl.flock(" in one.read_text()
    }
    assert found == {"system/locking.py", "sandbox/server/main.py"}
