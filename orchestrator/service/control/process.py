"""The commands of the control socket about the service's own process, and the one that links an account."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.accounts.events import Order
from orchestrator.accounts.states import State
from orchestrator.control.outlook import already_linked
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service import who
from orchestrator.service.control.arguments import Arguments
from orchestrator.service.control.commands import Commands, Events, Result, follow
from orchestrator.service.supervisor import Supervisor
from orchestrator.system import whereabouts

log = logging.getLogger(__name__)

_ORDERED: Final = "the command shutdown"
_SHOWS: Final = frozenset({State.STARTING, State.CONNECTING, State.PAIRING})
"""The states in which an account that is not linked shows a code, or soon does."""


def add(
    commands: Commands, supervisor: Supervisor, stop: Callable[[str], None], log_file: Path | None
) -> None:
    """Have a service's control socket take these commands, too.

    Args:
        commands: All commands.
        supervisor: Runs the accounts.
        stop: Stops the service in good order; takes who wants that.
        log_file: The file of the service's log, if it has one.
    """
    ours = _Commands(supervisor, stop, log_file)
    commands.add({"process": ours.process, "shutdown": ours.shutdown}, {"link": ours.link})


class _Commands:
    def __init__(self, supervisor: Supervisor, stop: Callable[[str], None], log_file: Path | None) -> None:
        self._supervisor = supervisor
        self._stop = stop
        self._log_file = log_file

    async def process(self, request: Json) -> Json:
        """Say where the service runs, and where its log goes."""
        Arguments(request)
        return whereabouts.look(self._log_file).as_json()

    async def shutdown(self, request: Json) -> Json:
        """Stop the service, unless systemd runs it: the answer comes at once, the end later."""
        Arguments(request)
        found = whereabouts.look(self._log_file)
        if found.unit is not None:
            how = "systemctl --user" if found.unit.of_user else "systemctl"
            raise OrchestratorError(
                f"systemd runs the service as the unit {found.unit.name}, and may start the service again"
                f" (Restart= in the unit): `{how} stop {found.unit.name}` stops the service",
                key="managed_by_systemd",
            )
        self._stop(f"{_ORDERED}{who.by()}")
        return found.as_json()

    async def link(self, request: Json) -> Events:
        """Show the codes of an account that is not linked; have it show some, if it does not."""
        arguments = Arguments(request, "name", "pairing", "wait")
        name, pairing = arguments.name(), arguments.pairing()
        supervisor = self._supervisor
        state = State(supervisor.describe(name).state)
        if supervisor.is_linked(name):
            raise OrchestratorError(already_linked(name), key="already_linked")
        if state not in _SHOWS or supervisor.is_stopping(name) or pairing == "code":
            supervisor.order(name, Order.REPAIR, pairing, by_name=True)
        if arguments.flag("wait"):
            async for event in follow(supervisor, name):
                yield event
        else:
            yield Result({"account": supervisor.describe(name).as_json()})
