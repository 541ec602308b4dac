"""What a running process costs, from what the kernel counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process, or of a part of it, in bytes.

    Attributes:
        pss: Its proportional share: what it has alone, and its part of what it shares with others.
        rss: All that it has mapped in, however many others have it too.
        private: What it has alone.
        dirty: What of that is in no file: what would be free if the process were not there.
    """

    pss: int = 0
    rss: int = 0
    private: int = 0
    dirty: int = 0

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read it from ``/proc/PID/smaps_rollup``."""
        return cls.read(Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """Read it from the lines that ``/proc`` has about a process or one of its mappings."""
        sizes = {}
        for line in lines:
            name, size, *unit = line.split()
            if unit == ["kB"]:
                sizes[name] = int(size) * 1024
        private = sizes["Private_Clean:"] + sizes["Private_Dirty:"]
        return cls(sizes["Pss:"], sizes["Rss:"], private, sizes["Private_Dirty:"])

    @property
    def shared(self) -> int:
        """What others have too."""
        return self.rss - self.private

    def __add__(self, other: Memory) -> Memory:
        return Memory(
            self.pss + other.pss,
            self.rss + other.rss,
            self.private + other.private,
            self.dirty + other.dirty,
        )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used since its start, all threads, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_of_ended_children(pid: int) -> float:
    """Return the CPU time of the process's children that it has waited for, and of theirs."""
    times = psutil.Process(pid).cpu_times()
    return float(times.children_user + times.children_system)


def merging_seconds() -> float:
    """Return the CPU time that the kernel has used to merge memory, since the machine started."""
    return sum(cpu_seconds(one.pid) for one in psutil.process_iter(["name"]) if one.info["name"] == "ksmd")


def machine_seconds() -> tuple[float, float]:
    """Return what all cores together have spent since the machine started: working, and not."""
    times = psutil.cpu_times()
    idle = float(times.idle + times.iowait)
    return float(times.user + times.nice + times.system + times.irq + times.softirq), idle


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder is on."""
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.is_relative_to(one.mountpoint)]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype
