"""Lets the kernel keep equal pages of processes once: KSM, kernel samepage merging.

A process says that its pages may be merged, and the processes that it makes say the same. Whether anything is
merged, the machine's owner decides, in ``/sys/kernel/mm/ksm``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.system import kernel

SWITCH: Final = Path("/sys/kernel/mm/ksm/run")
"""1: pages are merged. 0: no more are merged, and those that are stay so. 2: none are merged any more."""


class Lack(NamedTuple):
    """Why nothing is merged.

    Attributes:
        text: What is missing.
        advice: What to do about it.
    """

    text: str
    advice: str


def allow() -> None:
    """Let the kernel merge the pages of this process, and of those that it makes from now on.

    Raises:
        OSError: The kernel cannot, or something forbids the call.
    """
    kernel.prctl(kernel.PR_SET_MEMORY_MERGE, 1)


def lack(switch: Path = SWITCH) -> Lack | None:
    """Return why no page would be merged on this machine, None if there is no reason."""
    try:
        kernel.prctl(kernel.PR_GET_MEMORY_MERGE)
    except OSError:
        return Lack("this kernel merges no memory for processes", "use Linux 6.4 or newer, with CONFIG_KSM")
    try:
        state = switch.read_text().strip()
    except OSError:
        return None  # it is not told, as in a container or where a unit closes the folder
    if state == "1":
        return None
    return Lack(f"this machine merges no memory ({switch} is {state})", f"as root: echo 1 > {switch}")
