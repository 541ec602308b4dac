"""What operators do with consumers: the commands that the service hands on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.consumers.settings import Webhook
from orchestrator.control.consumers import COMMANDS, MOST_DEAD, MOST_TRACED
from orchestrator.errors import NoSuchConsumer, OrchestratorError
from orchestrator.gateway.dispatch.dispatcher import Dispatcher, From
from orchestrator.gateway.dispatch.pulls import Pulls
from orchestrator.gateway.webhooks.endpoint import WebhookEndpoint, Webhooks

Json: TypeAlias = dict[str, Any]

_Command: TypeAlias = Callable[[Json], Awaitable[Json]]
_EVENT: Final = re.compile(r"[!-~]{1,128}")
_MOST: Final = 2**53
"""The largest number that JSON carries safely."""


class Operators:
    """Answers the commands.

    Args:
        dispatcher: Knows the consumers, and what waits for them.
        webhooks: Sends tests.
        pulls: Forgets pulls.
    """

    def __init__(self, dispatcher: Dispatcher, webhooks: Webhooks, pulls: Pulls) -> None:
        self._dispatcher = dispatcher
        self._webhooks = webhooks
        self._pulls = pulls
        self._commands: Mapping[str, _Command] = {
            "consumers": self._consumers,
            "webhook_test": self._test,
            "webhook_pause": self._of_webhooks(self._pause),
            "webhook_resume": self._of_webhooks(self._resume),
            "webhook_replay": self._replay,
            "webhook_dead": self._dead,
            "consumer_pause": self._pause,
            "consumer_resume": self._resume,
            "consumer_replay": self._replay,
            "consumer_dead": self._dead,
            "consumer_reset": self._reset,
            "consumer_remove": self._remove,
            "consumer_trace": self._trace,
        }

    async def answer(self, command: str, arguments: Mapping[str, Any]) -> Json:
        """Carry out a command of `control.consumers.COMMANDS`.

        Args:
            command: Its name.
            arguments: What it is told. Nothing about them is checked yet.

        Raises:
            OrchestratorError: The gateway refuses, or does not know the command.
        """
        if command not in COMMANDS:
            raise OrchestratorError("the gateway does not know this command", key="unknown_command")
        unknown = sorted(set(arguments) - set(COMMANDS[command]))
        if unknown:
            raise _bad(f"{command} does not take all of these arguments")
        return await self._commands[command]({key: arguments.get(key) for key in COMMANDS[command]})

    async def _consumers(self, given: Json) -> Json:
        name = given["name"]
        if name is not None:
            found = self._dispatcher.status(_name(name))
            return {
                "consumers": [self._describe(one) for one in found],
                "positions": self._dispatcher.positions(name),
            }
        kind = given["kind"]
        if kind not in (None, "webhook", "bot", "pull"):
            raise _bad("kind is webhook, bot or pull")
        found = [one for one in self._dispatcher.status() if kind in (None, one["kind"])]
        return {"consumers": [self._describe(one) for one in found]}

    def _describe(self, status: Json) -> Json:
        """Add what the configuration says of a webhook."""
        endpoint = self._webhooks.get(status["name"])
        return status if endpoint is None else {**status, **about(endpoint.webhook)}

    async def _test(self, given: Json) -> Json:
        return (await self._webhook(given["name"]).test()).as_json()

    def _of_webhooks(self, command: _Command) -> _Command:
        """Return a command that takes webhooks only."""

        async def checked(given: Json) -> Json:
            self._webhook(given["name"])
            return await command(given)

        return checked

    async def _pause(self, given: Json) -> Json:
        await self._dispatcher.pause(_name(given["name"]))
        return await self._consumers({"name": given["name"]})

    async def _resume(self, given: Json) -> Json:
        await self._dispatcher.resume(_name(given["name"]))
        return await self._consumers({"name": given["name"]})

    async def _replay(self, given: Json) -> Json:
        event = given["event"]
        if event is not None and not _is_event(event):
            raise _bad("event is the id of an event")
        return {"replayed": await self._dispatcher.replay(_name(given["name"]), event)}

    async def _dead(self, given: Json) -> Json:
        limit = _number(given["limit"], "limit", 1, MOST_DEAD) if given["limit"] is not None else MOST_DEAD
        after = _number(given["after"], "after", 0, _MOST) if given["after"] is not None else 0
        return {"dead": await self._dispatcher.dead(_name(given["name"]), limit, after)}

    async def _reset(self, given: Json) -> Json:
        account, to = given["account"], given["to"]
        if account is not None and not (isinstance(account, str) and is_name(account)):
            raise _bad("account is the name of an account")
        where: From = to if to in ("beginning", "now") else _number(to, "to", 0, _MOST)
        return {"positions": await self._dispatcher.reset(_name(given["name"]), where, account)}

    async def _remove(self, given: Json) -> Json:
        name = _name(given["name"])
        if self._dispatcher.is_consumer(name):
            raise _bad("a webhook or a bot goes when it is taken out of the configuration")
        await self._pulls.remove(name)
        return {}

    async def _trace(self, given: Json) -> Json:
        events = given["events"]
        if not isinstance(events, list) or len(events) > MOST_TRACED or not all(map(_is_event, events)):
            raise _bad(f"events are at most {MOST_TRACED} ids of events")
        return {"events": {event: await self._dispatcher.trace(event) for event in events}}

    def _webhook(self, name: object) -> WebhookEndpoint:
        endpoint = self._webhooks.get(_name(name))
        if endpoint is None and self._dispatcher.is_consumer(str(name)):
            raise NoSuchConsumer(f"{name} is no webhook; `orchestrator consumer` has commands for bots, too")
        if endpoint is None:
            raise NoSuchConsumer(f"there is no webhook {name}; `orchestrator webhook list` names them")
        return endpoint


def about(webhook: Webhook) -> Json:
    """Return what may be shown of a webhook's settings."""
    return {"url": webhook.shown_url, "parallel": webhook.parallel, "timeout": webhook.timeout}


def _name(value: object) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise _bad("name is the name of a consumer")
    return value


def _is_event(value: object) -> bool:
    return isinstance(value, str) and _EVENT.fullmatch(value) is not None


def _number(value: object, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _bad(f"{what} is a whole number from {least} to {most}")
    return value


def _bad(why: str) -> OrchestratorError:
    return OrchestratorError(why, key="bad_request")
