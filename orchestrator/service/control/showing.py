"""The command of the control socket that shows an account's code: ``qr``."""

from __future__ import annotations

import logging

from orchestrator.accounts.events import Order
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.showing import begins_round
from orchestrator.control.protocol import Json
from orchestrator.service.control.arguments import Arguments
from orchestrator.service.control.commands import Commands, Events, follow
from orchestrator.service.supervisor import Supervisor

log = logging.getLogger(__name__)


def add(commands: Commands, supervisor: Supervisor) -> None:
    """Have a service's control socket take the command, too."""
    commands.add({}, {"qr": _Showing(supervisor).qr})


class _Showing:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def qr(self, request: Json) -> Events:
        """Yield an account's codes; if its rounds of codes are over and it has no session, begin a new one.

        The account is not taken for one that an operator has named: it waits for the network, or for another
        version of the client, as all others do.
        """
        name = Arguments(request, "name").name()
        supervisor = self._supervisor
        machine = supervisor.machine(name)
        if machine is None:
            raise no_such_account(name, known=supervisor.names())
        if begins_round(
            machine,
            maintenance=supervisor.upkeep.since is not None,
            has_session=lambda: supervisor.is_linked(name),
        ):
            supervisor.order(name, Order.START)
            log.info("%s: somebody wants to see its code: a new round of codes begins", name)
            yield {"note": f"{name} has no session and showed no code: a new round of codes begins"}
        async for event in follow(supervisor, name):
            yield event
