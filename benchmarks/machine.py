"""Where a measurement was made: the figures mean nothing without it.

Run as ``python -m benchmarks.machine`` to see what every measurement prints first.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.report import table

PACKAGES = ("neonize", "multiprocess", "typer", "cryptography", "websockets")


def cpu_model() -> str:
    """Return the processor's name as Linux knows it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Return the machine's main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def print_machine() -> None:
    """Print the machine, what else it is doing now, and the versions that matter."""
    libc = "-".join(platform.libc_ver())
    table(
        "machine",
        ("CPU", cpu_model()),
        ("cores", str(cores())),
        ("memory", f"{memory_bytes() / 2**30:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}, {libc}"),
        ("load before", f"{os.getloadavg()[0]:.1f} over the last minute"),
        ("Python", platform.python_version()),
        *((name, version(name)) for name in PACKAGES),
    )


def print_load() -> None:
    """Print how busy the machine was in the end; a measurement that others disturb needs to be repeated."""
    one, five, _ = os.getloadavg()
    print(f"\nload after: {one:.1f} over the last minute, {five:.1f} over the last five, on {cores()} cores")


if __name__ == "__main__":
    print_machine()
