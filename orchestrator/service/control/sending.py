"""The commands about sending, of the control socket and of the gateway's port."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from orchestrator.control.protocol import Json
from orchestrator.sending.row import MAX_KEY, is_key, key_digest
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Caller, Commands
from orchestrator.service.outbox.sends import KEY_SECONDS, Sends, Wanted

MAX_WAIT: Final = 60
"""Seconds that a client may wait for a message to be sent."""
MAX_EXPIRES: Final = 30 * 86_400
MAX_KEY_DAYS: Final = 35
"""Days for which a key can be kept; bots answer events that are as old."""
MAX_ROW: Final = 2**53


def add(commands: Commands, sends: Sends) -> None:
    """Have a service's control socket take these commands, too."""
    ours = _Commands(sends)
    commands.add({"take_back": ours.take_back, "act": ours.act, "look": ours.look}, {})
    commands.add_sending({"send": ours.send})


class _Commands:
    def __init__(self, sends: Sends) -> None:
        self._sends = sends

    async def send(self, request: Json, caller: Caller) -> Json:
        """Write a message into an account's outbox."""
        arguments = Arguments(request, "name", "message", "key", "wait", "expires", "key_days")
        source = _only(caller.fds)
        wanted = Wanted(
            arguments.value("message"),
            _key(arguments, caller.owner),
            _seconds(arguments, "wait", 0, MAX_WAIT) or 0.0,
            _seconds(arguments, "expires", 1, MAX_EXPIRES),
            max(KEY_SECONDS, 86_400.0 * arguments.number("key_days", 0, MAX_KEY_DAYS)),
        )
        return await self._sends.send(arguments.name(), wanted, source)

    async def take_back(self, request: Json) -> Json:
        """Take a row of an account's outbox back."""
        arguments = Arguments(request, "name", "row")
        number = arguments.number("row", 0, MAX_ROW)
        if not number:
            raise BadRequest("row must be the number of a row")
        return await self._sends.take_back(arguments.name(), number)

    async def act(self, request: Json) -> Json:
        """Have an account do something at once."""
        arguments = Arguments(request, "name", "action")
        return await self._sends.act(arguments.name(), arguments.value("action"))

    async def look(self, request: Json) -> Json:
        """Have an account find something out."""
        arguments = Arguments(request, "name", "action")
        return await self._sends.act(arguments.name(), arguments.value("action"), looks=True)


def _key(arguments: Arguments, owner: Sequence[str]) -> bytes:
    """Return what stands for a client's key; without one, what nobody can guess."""
    key = arguments.value("key")
    if key is None:
        return os.urandom(32)
    if not is_key(key):
        raise BadRequest(f"key must be 1 to {MAX_KEY} characters from ! to ~")
    return key_digest(*owner, key)


def _only(fds: Sequence[int]) -> int | None:
    if len(fds) > 1:
        raise BadRequest("a message has one file at most")
    return fds[0] if fds else None


def _seconds(arguments: Arguments, key: str, least: int, most: int) -> float | None:
    value = arguments.value(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{key} must be a number of seconds from {least} to {most}")
    return float(value)
