"""The commands of the control socket about the fleet as a whole, settings in force, and files of messages."""

from __future__ import annotations

from typing import Final

from orchestrator.accounts.attachments import is_id
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.strips import MOST_HOURS
from orchestrator.config import in_force
from orchestrator.control.protocol import Json
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Commands
from orchestrator.service.supervisor import Supervisor

_HOURS: Final = 24


def add(commands: Commands, supervisor: Supervisor) -> None:
    """Have a service's control socket take these commands, too."""
    ours = _Commands(supervisor)
    commands.add(
        {
            "facts": ours.facts,
            "maintenance": ours.maintenance,
            "media": ours.media,
            "settings": ours.settings,
            "strips": ours.strips,
            "trial": ours.trial,
        },
        {},
    )


class _Commands:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def facts(self, request: Json) -> Json:
        """Say how the fleet, the library, the ways out, the disk and the memory are."""
        Arguments(request)
        return await self._supervisor.upkeep.facts()

    async def maintenance(self, request: Json) -> Json:
        """Turn maintenance on or off, or only say whether it is on."""
        arguments = Arguments(request, "on")
        if "on" in request:
            await self._supervisor.upkeep.maintain(on=arguments.flag("on"))
        return self._supervisor.upkeep.maintenance()

    async def trial(self, request: Json) -> Json:
        """Test whether processes can be started."""
        Arguments(request)
        await self._supervisor.try_start()
        return {}

    async def media(self, request: Json) -> Json:
        """Say where the file of a message is, when it is there."""
        arguments = Arguments(request, "name", "media")
        name, media = arguments.name(), arguments.text("media")
        if name not in (known := self._supervisor.names()):
            raise no_such_account(name, known=known)
        if not is_id(media):
            raise BadRequest("media must be the identifier of an attachment, a number")
        return {"path": str(await self._supervisor.fetch(name, media))}

    async def settings(self, request: Json) -> Json:
        """Say which settings of an account are in force, and where each comes from."""
        name = Arguments(request, "name").name()
        settings = self._supervisor.settings
        if name not in settings.accounts:
            raise no_such_account(name, known=settings.accounts)
        return {"settings": [one._asdict() for one in in_force.of_account(settings, name)]}

    async def strips(self, request: Json) -> Json:
        """Say how accounts were over the last hours: all accounts, unless some are named, or none."""
        arguments = Arguments(request, "names", "hours")
        known = self._supervisor.names()
        names = known if request.get("names") is None else arguments.names()
        hours = arguments.number("hours", _HOURS, MOST_HOURS)
        if not hours:
            raise BadRequest(f"hours must be a whole number from 1 to {MOST_HOURS}")
        there = set(known)
        if unknown := [name for name in names if name not in there]:
            raise no_such_account(*unknown, known=known)
        return await self._supervisor.upkeep.strips.of(names, hours)
