"""What a running process costs, from what the kernel counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process, in bytes.

    Attributes:
        pss: Its proportional share: what it has alone, and its part of what it shares with others.
        rss: All that it has mapped in, however many others have it too.
    """

    pss: int
    rss: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read it from ``/proc/PID/smaps_rollup``."""
        sizes = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size, _ = line.split()
            sizes[name] = int(size) * 1024
        return cls(sizes["Pss:"], sizes["Rss:"])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used since its start, all threads, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def machine_seconds() -> tuple[float, float]:
    """Return what all cores together have spent since the machine started: working, and not."""
    times = psutil.cpu_times()
    idle = float(times.idle + times.iowait)
    return float(times.user + times.nice + times.system + times.irq + times.softirq), idle


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder is on."""
    mounts = [one for one in psutil.disk_partitions(all=True) if folder.is_relative_to(one.mountpoint)]
    return max(mounts, key=lambda one: len(one.mountpoint)).fstype
