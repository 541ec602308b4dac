"""A machine's troubles that any process can be given: no file descriptors, no processes, no time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil
import pytest

from orchestrator.system import groups

PIDS = Path("/sys/fs/cgroup/pids")
"""Where control groups that limit the number of processes are made, by version 1 of their interface."""
MEMORY = Path("/sys/fs/cgroup/memory")
"""The same for memory."""
BALLAST = 1536 * 1024 * 1024


@contextmanager
def no_descriptors(pid: int = 0) -> Iterator[None]:
    """Let a process open no further file until the end of the context, nor in the place of one it closes.

    Some file is always closed meanwhile, if only by the garbage collector, and a start needs very few.

    Args:
        pid: The process, by default this one.
    """
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # that has ended it
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def no_new_processes(processes: list[psutil.Process]) -> Iterator[None]:
    """Let some processes start no other, nor a thread, until the end of the context.

    Only root may make control groups, and not everywhere; elsewhere the test is skipped.
    """
    group = PIDS / f"orchestrator-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        for process in processes:
            (group / "cgroup.procs").write_text(str(process.pid))
        (group / "pids.max").write_text("1")
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (PIDS / "cgroup.procs").write_text(pid)
        group.rmdir()


class MemoryGroup:
    """A control group for processes to which memory can be denied.

    It begins with `BALLAST` bytes that belong to no process: the kernel reckons in thousandths of its limit
    which process is to be ended before others.

    Only root may make control groups, and not everywhere; elsewhere the test is skipped.
    """

    def __init__(self) -> None:
        self._group = MEMORY / f"orchestrator-test-{os.getpid()}"

    def __enter__(self) -> Self:
        try:
            self._group.mkdir()
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error.strerror}")
        self._ballast = os.memfd_create("ballast")
        with self.joined():
            os.posix_fallocate(self._ballast, 0, BALLAST)
        return self

    def __exit__(self, *_: object) -> None:
        self.allow()
        os.close(self._ballast)
        for pid in (self._group / "cgroup.procs").read_text().split():
            self.release(int(pid))
        self._group.rmdir()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Let this process, and all that it starts, belong to it until the end of the context."""
        home = next(line.split(":")[2] for line in groups.OWN.read_text().splitlines() if ":memory:" in line)
        (self._group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            (MEMORY / home.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))

    def release(self, pid: int) -> None:
        """Let a process belong to it no more."""
        with contextlib.suppress(OSError):  # it has ended meanwhile
            (MEMORY / "cgroup.procs").write_text(str(pid))

    def deny(self, spare: int) -> None:
        """Let its processes have no more than they have, but for so many bytes."""
        stat = dict(line.split() for line in (self._group / "memory.stat").read_text().splitlines())
        kernel = int((self._group / "memory.kmem.usage_in_bytes").read_text())
        taken = int(stat["total_rss"]) + int(stat["total_shmem"]) + kernel
        (self._group / "memory.limit_in_bytes").write_text(str(taken + spare))

    def allow(self) -> None:
        """Let them have as much as they want."""
        (self._group / "memory.limit_in_bytes").write_text("-1")


def fork_server(parent: int | None = None) -> psutil.Process:
    """Return the process that a service's children come from.

    Args:
        parent: The service's process, by default this one.
    """
    return _helper(parent, "forkserver")


def resource_tracker(parent: int | None = None) -> psutil.Process:
    """Return the process that multiprocess starts beside it.

    Args:
        parent: The service's process, by default this one.
    """
    return _helper(parent, "resource_tracker")


def _helper(parent: int | None, module: str) -> psutil.Process:
    for process in psutil.Process(parent).children():
        if process.status() == psutil.STATUS_ZOMBIE:
            continue  # which says nothing of what it was
        if any(f"{module} import main" in argument for argument in process.cmdline()):
            return process
    raise AssertionError(f"there is no {module}")


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Let processes stand still until the end of the context."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
