"""The command of the control socket that says what a reload would do."""

from __future__ import annotations

from orchestrator.control.protocol import Json
from orchestrator.service.control.arguments import Arguments
from orchestrator.service.control.commands import Commands
from orchestrator.service.supervisor import Supervisor


def add(commands: Commands, supervisor: Supervisor) -> None:
    """Have a service's control socket take the command, too."""

    async def plan(request: Json) -> Json:
        """Read the configuration, and say what a reload of it would do; nothing changes."""
        Arguments(request)
        return await supervisor.reloader.plan()

    commands.add({"plan": plan}, {})
