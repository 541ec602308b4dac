"""Whether memory is merged, where the configuration wants it."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.service.doctor.check import Check, Finding, ok, warn
from orchestrator.service.doctor.context import Context
from orchestrator.system import merging
from orchestrator.system.merging import Lack


def find(context: Context) -> Iterator[Finding]:
    """Look at this kernel, and at its switch."""
    settings = context.settings.or_none()
    if settings is not None and settings.memory_merge:
        yield judge(merging.lack())


def judge(lack: Lack | None) -> Finding:
    """Judge what keeps memory from being merged."""
    if lack is None:
        return ok("this machine merges equal memory of the accounts' processes")
    return warn(f"`memory_merge: true` is set, and {lack.text}", lack.advice)


CHECK = Check("memory_merge", "merged memory", "Whether memory is merged, where it is to be.", find)
