"""The commands of the control socket by which accounts leave WhatsApp, and sessions leave the quarantine."""

from __future__ import annotations

from typing import Final

from orchestrator.control.protocol import Json
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Commands
from orchestrator.service.supervisor import Supervisor

MOST_FOLDERS: Final = 1000
"""Folders that one request may name."""


def add(commands: Commands, supervisor: Supervisor) -> None:
    """Have a service's control socket take these commands, too."""
    ours = _Commands(supervisor)
    commands.add({"log_out": ours.log_out, "purge": ours.purge}, {})


class _Commands:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def log_out(self, request: Json) -> Json:
        """Have WhatsApp log an account out, which stays in the configuration."""
        found = await self._supervisor.leaving.log_out(Arguments(request, "name").name())
        return {"unlinked": found.unlinked, "why_linked": found.why}

    async def purge(self, request: Json) -> Json:
        """Delete folders of the quarantine for good."""
        arguments = Arguments(request, "folders")
        folders = arguments.value("folders")
        if not isinstance(folders, list) or not all(isinstance(one, str) for one in folders):
            raise BadRequest("folders must be a list of names")
        if not 0 < len(folders) <= MOST_FOLDERS:
            raise BadRequest(f"folders must be a list of 1 to {MOST_FOLDERS} names")
        return await self._supervisor.leaving.purge(folders)
