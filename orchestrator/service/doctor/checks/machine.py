"""Whether this machine has what `run` refuses to start without."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.service import needs
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context


def find(context: Context) -> Iterator[Finding]:
    """Look at limits, memory and system calls; where no service runs, at the state folder, too."""
    accounts = context.accounts()
    paths = context.paths.or_none() if context.is_free() else None
    for need in (*needs.of_machine(accounts), *(needs.of_folder(paths) if paths else ())):
        yield (fail if need.lacks else ok)(need.text, need.advice, what=need.name)
    if paths is not None and (now := needs.available_memory(accounts)).lacks:
        yield warn(now.text, now.advice, what=now.name)


CHECK = Check("machine", "this machine", "Whether this machine has what the service needs.", find)
