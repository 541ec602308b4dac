"""Disks that are full or cannot be written: as root with mount(8), else by a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kilobytes: int = 64) -> Iterator[Path]:
    """Mount a file system of that size on a new folder; where that is not allowed, the test is skipped."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    options = f"size={kilobytes}k,mode=700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    """Forbid all writing to a mounted file system, for root as well."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Forbid all writing to a mounted file system until the end of the context.

    Files that are open for writing stay so, as they would not let the file system itself become read-only.
    """
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill a disk to the last byte but so many; removing the file that is returned makes room again."""
    filler = folder / ".filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while True:
            if os.write(descriptor, bytes(4096)) < 4096:
                break
    except OSError:
        pass
    finally:
        os.close(descriptor)
    if leave:
        os.truncate(filler, max(0, filler.stat().st_size - leave))
    return filler


@contextmanager
def kept_full(folder: Path) -> Iterator[Path]:
    """Keep a disk full, also while others delete files there; yield the file to remove for room again."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.01):
            fill(folder)

    filler = fill(folder)
    filling = threading.Thread(target=work)
    filling.start()
    try:
        yield filler
    finally:
        is_over.set()
        filling.join()


@contextmanager
def size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: a write is cut short there, the next one fails.

    Anybody may do that. The error is "File too large", and everything this process writes is concerned.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
