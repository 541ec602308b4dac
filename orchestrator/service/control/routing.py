"""Decides where a command is carried out: here, or on the machine of the cluster that has the account.

This is the one place that decides so, for the control socket, the page and the HTTP API. A command for an
account of another machine becomes an order. What carries texts, numbers or files, and what follows codes,
becomes none, because an order is a row that others could read: it is refused, and the machine is named. The
picture of a code is in the database, where this machine may read it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from orchestrator.accounts.states import State
from orchestrator.control.protocol import Json, error_answer, read_error
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError, StateError, StoreAway
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Commands, Events, Result
from orchestrator.service.elsewhere import Elsewhere
from orchestrator.service.roster import is_leaving
from orchestrator.system.clock import iso

if TYPE_CHECKING:  # only a cluster has a database
    from orchestrator.service.orders import Orders

SEVERAL: Final = frozenset({"start", "stop", "restart"})
"""Commands for several accounts: each account's part becomes an order of its own."""
ORDERS: Final = frozenset({"repair", "link", "log_out", "restore"})
"""Commands for one account that become an order."""
STREAMED: Final = frozenset({"repair", "link"})
"""Those of them that go on with the account's codes, if that is wanted."""
REFUSED: Final = frozenset({"qr", "send", "take_back", "act", "look", "media", "rename"})
"""Commands for one account that the account's own machine alone carries out."""
_ARGUMENTS: Final = {
    "start": ("all",),
    "stop": ("all", "wait"),
    "restart": ("all",),
    "repair": ("pairing", "any_phone"),
    "link": ("pairing",),
    "log_out": (),
    "restore": ("quarantine",),
}
"""What an order takes along of its request."""

Handler: TypeAlias = Callable[..., Any]

LONGEST_ANSWER: Final = 15_000
"""Characters of an answer, so that it fits into a row also where it is not ASCII."""


class Routing:
    """Sends commands where the accounts are.

    Args:
        commands: The commands of this machine.
        elsewhere: The accounts that other machines run.
        orders: The orders for them.
    """

    def __init__(self, commands: Commands, elsewhere: Elsewhere, orders: Orders) -> None:
        self._commands = commands
        self._elsewhere = elsewhere
        self._orders = orders
        orders.carry_out = self.carry_out
        commands.route = self.of

    def of(self, name: str, command: Handler) -> Handler:
        """Return what answers a command, wherever its accounts are."""
        if name in SEVERAL:
            return lambda request: self._several(name, command, request)
        if name in STREAMED:
            return lambda request: self._streamed(name, command, request)
        if name in ORDERS:
            return lambda request: self._one(name, command, request)
        if name == "remove":
            return lambda request: self._remove(command, request)
        if name == "code":
            return lambda request: self._code(command, request)
        if name in REFUSED:
            return lambda request, *more: self._refused(command, request, *more)
        return command

    async def carry_out(self, command: str, name: str, arguments: Json) -> Json:
        """Do what an order says, for an account that runs here.

        Raises:
            OrchestratorError: It cannot be done.
        """
        known = _ARGUMENTS.get(command)
        if known is None or not arguments.keys() <= {*known}:
            raise BadRequest("the account's machine has another version, which does not know this order")
        if self._elsewhere.has(name):
            raise is_leaving(name)
        named: Json = {"name": name}
        if command in SEVERAL:
            named = {"names": [name], "as_all": arguments.pop("all", False)}
        answer = self._commands.plain(command)({**arguments, **named, "command": command})
        if not isinstance(answer, AsyncGenerator):
            return _bounded(await answer)
        async for event in answer:
            if isinstance(event, Result):
                return _bounded(event.value)
        raise RuntimeError("the command has no last word")

    # Where a command goes

    async def _several(self, name: str, command: Handler, request: Json) -> Json:
        arguments = Arguments(request, "names", *_ARGUMENTS[name])
        await self._elsewhere.refresh()
        named, everyone = arguments.names(), arguments.flag("all")
        others = [one for one in named if self._elsewhere.has(one)]
        if everyone and not named:
            others = [one for one in self._elsewhere.names() if self._is_meant(one, name)]
        if not others:
            return await _answer(command(request))
        here = [one for one in named if one not in others]
        along = _taken_along(name, request)
        if not (here or everyone):
            return _merged(await _nothing(), await self._orders.give(others, name, along), [*named, *others])
        mine = _answer(command({**request, "names": here}))
        if name == "stop":  # which may wait for the processes to end, here and there at the same time
            found, answers = await asyncio.gather(mine, self._give(others, name, along))
        else:
            found = await mine  # if nothing can be done here, nothing is done elsewhere
            answers = await self._give(others, name, along)
        return _merged(found, answers, [*named, *others])

    async def _give(self, others: Sequence[str], name: str, along: Json) -> Mapping[str, Json]:
        """Give orders beside what is done here: that they cannot be given is said of each account."""
        try:
            return await self._orders.give(others, name, along)
        except OrchestratorError as error:
            return dict.fromkeys(others, error_answer(error))

    def _is_meant(self, name: str, command: str) -> bool:
        """Tell whether an account elsewhere is meant by ``all``, as on its own machine."""
        state = self._elsewhere.describe(name).state
        return state != State.DISABLED and not (command == "restart" and state == State.STOPPED)

    async def _one(self, name: str, command: Handler, request: Json) -> Json:
        account = await self._elsewhere_of(request)
        if account is None:
            return await _answer(command(request))
        return await self._order(account, name, request)

    async def _streamed(self, name: str, command: Handler, request: Json) -> Events:
        account = await self._elsewhere_of(request)
        if account is None:
            async for event in command(request):
                yield event
            return
        arguments = Arguments(request, "name", "wait", *_ARGUMENTS[name])
        arguments.pairing()
        if arguments.flag("wait"):
            # Nobody is left before an empty screen: the account's own machine shows the codes.
            raise self._not_here(
                account,
                f"run the command on that machine, or here with --no-wait: `orchestrator {name} {account}"
                " --no-wait`",
            )
        yield Result(await self._order(account, name, request))

    async def _order(self, account: str, name: str, request: Json) -> Json:
        Arguments(request, "name", "wait", *_ARGUMENTS[name])
        answer = (await self._orders.give([account], name, _taken_along(name, request)))[account]
        if isinstance(found := answer.get("result"), dict):
            return found
        raise read_error(answer)

    async def _remove(self, command: Handler, request: Json) -> Json:
        """Remove an account; one of another machine only from the configuration of this one."""
        account = await self._elsewhere_of(request)
        shard = None if account is None else self._elsewhere.shard_of(account)
        if shard is None or shard == self._elsewhere.me:
            return await _answer(command(request))
        Arguments(request, "name", "keep_session", "unlink")
        answer = self._commands.plain("reload")({"command": "reload"})
        assert not isinstance(answer, AsyncGenerator)
        reloaded = await answer
        return {**reloaded, "runs_on": shard}

    async def _code(self, command: Handler, request: Json) -> Json:
        """Return the code that an account shows: of one elsewhere the picture, which the database has."""
        account = self._account_elsewhere(request)
        if account is None:
            return await _answer(command(request))
        found = None
        with contextlib.suppress(StateError):
            found = await self._elsewhere.code(account)
        if found is None:
            raise self._not_here(account, "that machine alone shows what code there is")
        png, left = found
        shown = base64.b64encode(png).decode()
        return {"kind": "qr", "text": None, "png": shown, "expires_at": iso(time.time() + left)}

    def _refused(self, command: Handler, request: Json, *more: object) -> object:
        account = self._account_elsewhere(request)
        if account is not None:
            raise self._not_here(account, "run the command on that machine")
        return command(request, *more)

    async def _elsewhere_of(self, request: Json) -> str | None:
        """Return the name of the account that a request is for, if it does not run here."""
        if self._account_elsewhere(request) is not None:
            await self._elsewhere.refresh()
        return self._account_elsewhere(request)

    def _account_elsewhere(self, request: Json) -> str | None:
        name = request.get("name")
        return name if isinstance(name, str) and self._elsewhere.has(name) else None

    def _not_here(self, account: str, to_do: str) -> OrchestratorError:
        """Say why this machine does not do what is wanted of an account, and what to do."""
        elsewhere = self._elsewhere
        if elsewhere.away is not None:
            return StoreAway(f"the database is away, so nothing can be done with {account}: {elsewhere.away}")
        shard = elsewhere.shard_of(account)
        if shard is None or shard == elsewhere.me:
            return OrchestratorError(
                f"{account} waits for a machine of the cluster: `orchestrator cluster status` shows which run"
                " and how many accounts each takes",
                key="on_other_shard",
            )
        return OrchestratorError(f"{account} runs on the machine {shard}: {to_do}", key="on_other_shard")


async def _answer(answer: Awaitable[Json]) -> Json:
    return await answer


async def _nothing() -> Json:
    return {"done": [], "errors": {}, "accounts": []}


def _taken_along(name: str, request: Json) -> Json:
    return {key: request[key] for key in _ARGUMENTS[name] if key in request}


def _bounded(result: Json) -> Json:
    """Return an answer that fits into a row; what is long is left out, and was done all the same."""
    if len(json.dumps(result)) <= LONGEST_ANSWER:
        return result
    return {key: value for key, value in result.items() if len(json.dumps(value)) <= LONGEST_ANSWER // 8}


def _merged(found: Json, answers: Mapping[str, Json], names: Sequence[str]) -> Json:
    """Return the answer of this machine with those of the others, which may be of another version.

    Args:
        found: The answer of this machine.
        answers: Those of the others, by account.
        names: The accounts that were named, in the order in which they are to be.
    """
    done, errors, accounts = [*found["done"]], {**found["errors"]}, [*found["accounts"]]
    warnings = [found["warning"]] if "warning" in found else []
    for name, answer in answers.items():
        result = answer.get("result")
        if not isinstance(result, dict):
            errors[name] = error_answer(read_error(answer))
            continue
        wrong = result.get("errors")
        if isinstance(wrong, dict) and isinstance(wrong.get(name), dict):
            errors[name] = error_answer(read_error(wrong[name]))
            continue
        done.append(name)
        said = result.get("accounts")
        accounts += [one.as_json() for one in _views(said) if one.name == name]
        if isinstance(warning := result.get("warning"), str) and warning not in warnings:
            warnings.append(warning)
    place = {name: number for number, name in reversed([*enumerate(names)])}
    done.sort(key=lambda name: place.get(name, -1))
    accounts.sort(key=lambda one: place.get(one["name"], -1))
    merged: Json = {**found, "done": done, "errors": errors, "accounts": accounts}
    return merged | ({"warning": "; ".join(warnings)} if warnings else {})


def _views(accounts: object) -> list[AccountView]:
    found = []
    for one in accounts if isinstance(accounts, list) else ():
        with contextlib.suppress(OrchestratorError):
            found.append(AccountView.from_json(one))
    return found
