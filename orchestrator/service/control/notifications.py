"""The command of the control socket that tries the program which is told of changes."""

from __future__ import annotations

from orchestrator.control.protocol import Json
from orchestrator.service.control.arguments import Arguments
from orchestrator.service.control.commands import Commands
from orchestrator.service.on_change import Telling


def add(commands: Commands, telling: Telling) -> None:
    """Have a service's control socket take this command, too."""

    async def on_change_test(request: Json) -> Json:
        """Call the program with a test, and say how that ended."""
        Arguments(request)
        return await telling.test()

    commands.add({"on_change_test": on_change_test}, {})
