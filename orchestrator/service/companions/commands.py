"""The commands of the control socket that are about the gateway and the bots."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.config.settings import Settings
from orchestrator.consumers.event_types import is_pattern
from orchestrator.consumers.settings import BotSettings
from orchestrator.control.consumers import COMMANDS
from orchestrator.control.protocol import Json
from orchestrator.service.companions.team import Companions
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Commands, Handed, Handing
from orchestrator.service.supervisor import Supervisor

HAND_ON_SECONDS: Final = 40.0
"""How long the gateway may take for a command that is handed on: a test of a webhook takes its time-out."""
MOST_SECONDS: Final = 3600
MOST_PARALLEL: Final = 64
_ATTACH: Final = ("name", "accounts", "events", "timeout", "parallel", "replace")
_LONGEST: Final = 1000
"""Accounts, or patterns, that a bot may name."""


def add(commands: Commands, supervisor: Supervisor, companions: Companions) -> None:
    """Have a service's control socket take these commands, too."""
    ours = _Commands(supervisor, companions)
    commands.add(
        {
            "companions": ours.companions,
            **{name: functools.partial(ours.hand_on, name) for name in COMMANDS},
        },
        {"attach": ours.attach},
    )


class _Commands:
    def __init__(self, supervisor: Supervisor, companions: Companions) -> None:
        self._supervisor = supervisor
        self._companions = companions

    async def companions(self, request: Json) -> Json:
        """Say how the gateway and the bots are, and what metrics tell of the shard and its database."""
        Arguments(request)
        adopting = self._supervisor.adopting
        return {
            "companions": self._companions.about(),
            "shard": None if adopting is None else adopting.figures() or None,
            "store": self._supervisor.upkeep.database(),
        }

    async def hand_on(self, name: str, request: Json) -> Json:
        """Let the gateway answer, which checks what it is told."""
        Arguments(request, *COMMANDS[name])
        given = {key: value for key, value in request.items() if key != "command"}
        return await self._companions.ask(name, given, HAND_ON_SECONDS)

    async def attach(self, request: Json) -> Handing:
        """Hand over a port to the gateway for a bot that somebody runs by hand, and again for each gateway.

        Each event is ``{"attached": NAME}`` and comes with a socket; see docs/protocol.md.
        """
        bot = _bot(request, self._supervisor.settings)
        number = 0
        replace = Arguments(request, *_ATTACH).flag("replace")
        with self._companions.attached(bot, replace=replace):
            while True:
                is_new = number == 0 and not replace
                end, number = await self._companions.connect(bot, number, is_new=is_new)
                yield Handed({"attached": bot.name}, (end,))


def _bot(request: Json, settings: Settings) -> BotSettings:
    """Return the bot that somebody wants to run.

    Raises:
        BadRequest: The request is wrong.
        NoSuchAccount: It names an account that does not exist.
    """
    arguments = Arguments(request, *_ATTACH)
    name = arguments.name()
    if not is_name(name):
        raise BadRequest("name is no name for a bot")
    accounts = _texts(request, "accounts")
    unknown = [one for one in accounts or () if one not in settings.accounts]
    if unknown:
        raise no_such_account(*unknown, known=settings.accounts)
    events = _texts(request, "events")
    if events is not None and not all(map(is_pattern, events)):
        raise BadRequest("events must be patterns of types, such as message.*")
    like = BotSettings(name, "", Path("/"))
    return BotSettings(
        name,
        "",
        Path("/"),
        accounts=None if accounts is None else frozenset(accounts),
        events=like.events if events is None else tuple(events),
        timeout=float(arguments.number("timeout", round(like.timeout), MOST_SECONDS)),
        parallel=max(1, arguments.number("parallel", like.parallel, MOST_PARALLEL)),
    )


def _texts(request: Json, key: str) -> list[str] | None:
    """Return a list of texts, None if it is left out."""
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _LONGEST or not all(isinstance(one, str) for one in value):
        raise BadRequest(f"{key} must be a list of texts")
    return list(dict.fromkeys(value))
