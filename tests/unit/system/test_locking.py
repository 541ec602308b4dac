"""Locks: how long they are waited for, and what is said when they are not to be had."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.system import locking
from orchestrator.system.locking import flock, holders, lock_file


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


def test_the_kernel_says_who_holds_a_lock(path: Path) -> None:
    path.write_text("4711\n")  # whatever is written there
    assert holders(path) == frozenset()
    descriptor = lock_file(path)
    other = lock_file(path.with_name("other"))
    try:
        assert holders(path) == {os.getpid()}
    finally:
        os.close(descriptor)
        os.close(other)
    assert holders(path) == frozenset()


@pytest.mark.parametrize("names_file", [True, False], ids=["by a lock", "by its device and number"])
def test_a_lock_is_found_by_the_name_that_the_kernel_gives_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, names_file: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no such locks here")

    if not names_file:
        monkeypatch.setattr("fcntl.lockf", refuse)
    descriptor = lock_file(path)
    try:
        about = os.fstat(descriptor)
        place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
        lines = (
            f"1: FLOCK  ADVISORY  WRITE 11 {place} 0 EOF",
            f"1: -> FLOCK  ADVISORY  WRITE 12 {place} 0 EOF",
            f"2: POSIX  ADVISORY  WRITE 13 {place} 0 EOF",
            f"3: FLOCK  ADVISORY  WRITE 14 {place}0 0 EOF",
            f"4: LEASE  ACTIVE    READ  15 {place} 0 EOF",
        )
        listed = path.with_name("locks")
        listed.write_text("\n".join(lines))
        monkeypatch.setattr(locking, "_LOCKS", listed)
        assert holders(path) == {11}
    finally:
        os.close(descriptor)
