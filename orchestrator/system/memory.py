"""When memory runs out, the kernel kills a process: which process that should be, and whether it happened.

An exit status does not distinguish this from any other SIGKILL. The kernel counts in files which processes it
killed: for a control group, or else for the whole machine.

A process can also give memory back that it does not use any more.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

from orchestrator.system import groups

MARGIN = 20
"""Thousandths of all memory by which a child counts as larger than it is: 40 MB of 2 GiB, more than the
service or the fork server differ from it. Not much more: another, large program should still come first."""
SCORE = Path("/proc/self/oom_score_adj")
MACHINE = Path("/proc/vmstat")


def stand_before_the_parent() -> None:
    """Have the kernel kill this process rather than its parent when memory runs out.

    If the service dies, all accounts stop; if a child dies, one does. Where the score cannot be written,
    nothing changes.
    """
    with contextlib.suppress(OSError, ValueError):
        SCORE.write_text(str(min(1000, int(SCORE.read_text()) + MARGIN)))


class OomKills:
    """Tells whether the kernel has recently killed processes because memory ran out.

    Args:
        own_groups: The file with this process's control groups; see cgroups(7).
        roots: Where they are.
        machine: The file to look into where no group's can be read.
    """

    def __init__(
        self, own_groups: Path = groups.OWN, roots: Path = groups.ROOT, machine: Path = MACHINE
    ) -> None:
        self._own_groups = own_groups
        self._groups = roots
        self._machine = machine
        self._last = self._before = self._count()

    def look(self) -> None:
        """Take what happened before the last call as known. This is to be called now and then.

        A process may take a while to die, and its exit to be noticed: what the kernel did just before a look
        counts as new until the one after it.
        """
        self._before, self._last = self._last, self._count()

    def any_of_late(self) -> bool:
        """Return whether there were any since the last call of `look` but one; False if nobody can tell."""
        count = self._count()
        return count is not None and self._before is not None and count > self._before

    def _count(self) -> int | None:
        for file in self._files():
            for line in groups.lines(file):
                key, _, value = line.partition(" ")
                if key == "oom_kill" and value.isdecimal():
                    return int(value)
        return None

    def _files(self) -> list[Path]:
        folders = groups.folders("memory", self._own_groups, self._groups)
        names = ("memory.events", "memory.oom_control")
        return [*(folder / name for folder in folders for name in names), self._machine]


def give_back() -> None:
    """Give memory back to the system that C libraries have freed; the C library would keep it for later.

    The 144 certificates of Debian 12 take 0.9 MB when they have been looked at once (glibc 2.36).
    """
    with contextlib.suppress(AttributeError):  # another C library has nothing of the kind
        ctypes.CDLL(None).malloc_trim(0)
