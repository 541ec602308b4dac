"""Whether a running service can start processes."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.check import Check, Finding, fail, ok
from orchestrator.service.doctor.context import Context


def find(context: Context) -> Iterator[Finding]:
    """Have the service start a process that does nothing: it may run well and start no account any more."""
    if context.paths.or_none() is None or context.ping.or_none() is None:
        return
    try:
        context.client.get().call("trial")
    except OrchestratorError as error:
        # Older services do not know the command, and the oldest send no key.
        if error.key != "unknown_command" and "no such command" not in str(error):
            yield fail(str(error), "see the service's log; if the error stays, restart the service")
    else:
        yield ok("the service can start processes")


CHECK = Check("starting", "starting", "Whether a running service can start processes.", find)
