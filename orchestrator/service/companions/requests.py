"""What the gateway asks the service for: checked by `roles`, done by the commands of the control socket."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.accounts.looking import LOOK_SECONDS
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.pipe import Code, LinkCode
from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import Http, Listen, Systemd, Unix
from orchestrator.control.port import Request
from orchestrator.control.protocol import Json, read_error
from orchestrator.errors import OrchestratorError
from orchestrator.service import who
from orchestrator.service.aside import Aside
from orchestrator.service.companions import accounts_file, roles
from orchestrator.service.companions.following import Following
from orchestrator.service.companions.pace import Pace
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.control.commands import Caller, Commands, Handed, Result
from orchestrator.service.looking import Looking
from orchestrator.service.messages import Messages
from orchestrator.system.clock import iso

log = logging.getLogger(__name__)

TOKENS_SECONDS: Final = 0.5
"""How often the tokens' file is looked at, at most."""
MOST: Final = 2**53
"""The highest number of an entry that the gateway names."""
_DESCRIBES: Final = frozenset({"list", "explain"})
"""What takes time for each account or entry: some 30 ms with 500 accounts."""
_ORDERS: Final = frozenset({"start", "stop", "restart"})
_CODES: Final = frozenset({"code"})
_LOOKS: Final = frozenset({"code", "watching", "history"})
MAX_ENTRIES: Final = 1000
"""Entries of a history in one answer."""

Handler: TypeAlias = Callable[[Json], Awaitable[Json]]


class TokenFile(Protocol):
    """The file of the tokens: see `access.tokens.Tokens`."""

    def load(self) -> None:
        """Read the file if it has changed."""

    def principal(self, token_id: str, now: float) -> Principal | None:
        """Return who holds a token."""


class Accounts(Protocol):
    """The running accounts: see `Supervisor`."""

    @property
    def settings(self) -> Settings:
        """The configuration in use."""

    def names(self) -> list[str]:
        """Return the names of all accounts."""

    def code(self, name: str) -> Code | LinkCode | None:
        """Return the code an account shows at the moment."""

    @property
    def looking(self) -> Looking:
        """Who looks at codes."""

    @property
    def messages(self) -> Messages:
        """Where messages are kept."""

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again."""

    def taken(self, accounts: Mapping[str, int | None], waiting: Mapping[str, int | None]) -> None:
        """Take note of what all consumers of accounts have had, and how many events wait."""


class Histories(Protocol):
    """What happened to the accounts: see `store.protocols.Record`."""

    def after(self, name: str, number: int, limit: int) -> list[Json]:
        """Return the first entries of a history with a higher number, oldest first."""

    def newest(self, name: str) -> int:
        """Return the highest number of an entry, 0 without one."""


class Requests:
    """Answers the gateway.

    Args:
        commands: The commands of the control socket.
        accounts: The running accounts.
        histories: What happened to the accounts.
        tokens: Who may ask.
        aside: Does what takes time beside the event loop.

    Attributes:
        by_hand: Returns the accounts of each bot that somebody runs by hand, None for all.
        given: Where the sockets of systemd listen.
        following: Answers about consumers whose positions are in the store; None: they are in no store.
    """

    def __init__(
        self,
        commands: Commands,
        accounts: Accounts,
        histories: Histories,
        tokens: TokenFile,
        aside: Aside,
    ) -> None:
        self.by_hand: Callable[[], Mapping[str, frozenset[str] | None]] = dict
        self.given: Sequence[Listen] = ()
        self.following: Following | None = None
        self._commands = commands
        self._accounts = accounts
        self._histories = histories
        self._tokens = tokens
        self._aside = aside
        self._pace = Pace()
        self._strips_pace = Pace()
        self._looked_at = 0.0
        self._looking = asyncio.Lock()
        self._own: Mapping[str, Handler] = {
            "code": self._code,
            "watching": self._watching,
            "history": self._history,
            "add": self._add,
            "remove": self._remove,
            "repair": self._repair,
            "taken": self._taken,
        }

    def serve(self, request: Request) -> Awaitable[Json] | AsyncGenerator[Json, None]:
        """Answer a request; `control.port` has the form."""
        arguments = dict(request.arguments)
        asker = arguments.pop("as", None)
        if request.command == "watch":
            return self._watch(asker, arguments)
        return self._once(request.command, asker, arguments, request.fds)

    async def _once(self, command: str, asker: object, arguments: Json, fds: Sequence[int]) -> Json:
        principal = await self._checked(command, asker, arguments)
        return _without_hidden(await self._answer(command, principal, arguments, fds), principal)

    async def _checked(self, command: str, asker: object, arguments: Json) -> Principal:
        """Return who asks, having seen that they may, and note it for what the command leads to."""
        roles.rule_of(command)
        principal = await self._who(asker)
        roles.check(command, arguments, principal)
        who.begin(principal.who)
        return principal

    async def _answer(self, command: str, principal: Principal, arguments: Json, fds: Sequence[int]) -> Json:
        request = {**arguments, "command": command}
        if command in _ORDERS:
            return await self._order(request)
        if command == "read_messages":
            return self._read_messages(fds)
        if self.following is not None and command in self.following.commands:
            return await self.following.commands[command](request)  # also while the service stops
        own = self._own.get(command)
        if own is not None:
            self._commands.find("list" if command in _LOOKS else "reload")  # or the service stops
            # Of what is done otherwise here, whoever shows a code has to be where the account is.
            return await (self._commands.route(command, own) if command in _CODES else own)(request)
        if command == "strips":
            return await self._strips_pace.run(lambda: self._strips(principal, request))
        if command in _DESCRIBES:
            return await self._pace.run(lambda: self._describe(principal, request))
        return await self._command(request, Caller((principal.kind, principal.id), fds))

    async def _strips(self, principal: Principal, request: Json) -> Json:
        """Return how the accounts were that this one may know of.

        With 500 accounts this takes seconds where hours are asked for that nobody has asked for just now. So
        it has a pace of its own, and nobody has accounts looked at that are not theirs.
        """
        if principal.accounts is not None and not request.get("names"):
            request = {**request, "names": [n for n in self._accounts.names() if principal.sees(n)]}
        found = await self._command(request)
        return {**found, "accounts": {n: one for n, one in found["accounts"].items() if principal.sees(n)}}

    async def _command(self, request: Json, caller: Caller | None = None) -> Json:
        """Have a command of the control socket answer, as it does there."""
        answer = self._commands.answer(request, caller)
        if isinstance(answer, AsyncGenerator):
            raise OrchestratorError("the command goes on, and is asked for otherwise", key="bad_request")
        return await answer

    async def _who(self, asker: object) -> Principal:
        """Return who asks, as the tokens' file says now."""
        if isinstance(asker, dict) and "token" in asker:
            await self._look()
        settings = self._accounts.settings
        http = settings.http
        return roles.who(
            asker,
            lambda token: self._tokens.principal(token, time.time()),
            {**self.by_hand(), **{name: bot.accounts for name, bot in settings.bots.items()}},
            local=http is not None and any(isinstance(one, Unix) for one in self._places(http)),
        )

    def _places(self, http: Http) -> Sequence[Listen]:
        """Return where the gateway listens."""
        return (*http.listen, *(self.given if Systemd() in http.listen else ()))

    async def _look(self) -> None:
        """Read the tokens' file if it was not looked at just now."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._looked_at >= TOKENS_SECONDS or not self._looked_at:
                await self._aside.run(self._tokens.load)
                self._looked_at = now

    # What goes on

    async def _watch(self, asker: object, arguments: Json) -> AsyncGenerator[Json, None]:
        principal = await self._who(asker)
        roles.check("watch", arguments, principal)
        events = self._commands.find("watch")({**arguments, "command": "watch"})
        assert isinstance(events, AsyncGenerator)
        try:
            async for event in events:
                assert not isinstance(event, Result | Handed)
                principal = await self._who(asker)  # the token may be gone by now
                if principal.accounts is not None:
                    event = _seen(event, principal)
                    if not event["accounts"] and not event["gone"]:
                        continue
                yield event
        finally:
            await events.aclose()

    async def _describe(self, principal: Principal, request: Json) -> Json:
        """Return what is known of accounts; of all only those that this one may know of."""
        found = await self._command(request)
        if request["command"] == "explain" or request.get("names") or principal.accounts is None:
            return found
        return {"accounts": [one for one in found["accounts"] if principal.sees(one["name"])]}

    # What is done otherwise than on the control socket

    async def _order(self, request: Json) -> Json:
        """Give an order to one account, and answer with it, or with what is wrong."""
        name = request.pop("name", None) or request["names"][0]
        answer = self._commands.find(request["command"])({**request, "names": [name]})
        assert not isinstance(answer, AsyncGenerator)
        found = await answer
        if error := found["errors"].get(name):
            raise read_error(error)
        (account,) = found["accounts"]
        return {"account": account} | ({"warning": found["warning"]} if "warning" in found else {})

    async def _repair(self, request: Json) -> Json:
        request.pop("wait", None)
        events = self._commands.find("repair")(request)
        assert isinstance(events, AsyncGenerator)
        async for event in events:
            if isinstance(event, Result):
                return event.value
        raise RuntimeError("the command has no last word")

    async def _code(self, request: Json) -> Json:
        """Return the code that an account shows now: whoever has it can link a device.

        Whoever asks looks: an account with ``pairing: on_demand`` gets a code for that.
        """
        name = roles.named(request)[0]
        code = self._accounts.code(name)
        self._accounts.looking.at([name])
        if code is None and self._accounts.looking.brings(name):
            raise OrchestratorError(f"{name} shows a code soon: ask again", key="code_pending")
        if code is None:
            raise OrchestratorError(f"{name} shows no code at the moment", key="no_code")
        if isinstance(code, LinkCode):
            return {"kind": "link", "text": code.code, "png": None, "expires_at": iso(code.expires_at)}
        png = base64.b64encode(code.png).decode()
        return {"kind": "qr", "text": code.text, "png": png, "expires_at": iso(code.expires_at)}

    async def _watching(self, request: Json) -> Json:
        """Take note that somebody looks at the codes of accounts, as on a wall of codes."""
        Arguments(request, "names")
        self._accounts.looking.at(roles.named(request))
        return {"seconds": LOOK_SECONDS}

    async def _history(self, request: Json) -> Json:
        """Return entries of an account's history after a number, oldest first, and the highest number."""
        arguments = Arguments(request, "name", "after", "limit")
        name = arguments.name()
        if name not in self._accounts.settings.accounts:
            raise no_such_account(name)
        after = arguments.number("after", 0, MOST)
        limit = arguments.number("limit", MAX_ENTRIES, MAX_ENTRIES)

        def read() -> Json:
            entries = self._histories.after(name, after, limit)
            return {"entries": entries, "newest": self._histories.newest(name)}

        return await self._aside.run(read)

    async def _taken(self, request: Json) -> Json:
        self._accounts.taken(_numbers(request, "accounts"), _numbers(request, "waiting"))
        return {}

    def _read_messages(self, fds: Sequence[int]) -> Json:
        """Answer the gateway's reader at the other end of a socket, where messages are in no files."""
        if len(fds) != 1:
            raise BadRequest("one socket comes with it")
        self._accounts.messages.read(socket.socket(fileno=os.dup(fds[0])))
        return {}

    async def _add(self, request: Json) -> Json:
        values = accounts_file.parse(request)
        name, settings = request["name"], self._accounts.settings
        await self._aside.run(
            lambda: accounts_file.add(settings.config_file, settings.state_dir, name, values)
        )
        log.info("%s was added to the configuration%s", name, who.by())
        await self._accounts.reload()
        answer = self._commands.find("list")({"names": [name]})
        assert not isinstance(answer, AsyncGenerator)
        (account,) = (await answer)["accounts"]
        return {"account": account}

    async def _remove(self, request: Json) -> Json:
        name, settings = roles.named(request)[0], self._accounts.settings
        command = self._commands.find("remove")
        await self._aside.run(lambda: accounts_file.remove(settings.config_file, settings.state_dir, name))
        log.info("%s was removed from the configuration%s", name, who.by())
        answer = command(request)
        assert not isinstance(answer, AsyncGenerator)
        return await answer


def _number(request: Json, key: str) -> int:
    value = request.get(key)
    if type(value) is not int or not 0 <= value <= MOST:
        raise BadRequest(f"{key} must be a number from 0 to {MOST}")
    return value


def _numbers(request: Json, key: str) -> dict[str, int | None]:
    found = request.get(key, {})
    if not isinstance(found, dict):
        raise BadRequest(f"{key} must be an object")
    return {name: None if value is None else _number(found, name) for name, value in found.items()}


def _without_hidden(answer: Json, principal: Principal) -> Json:
    """Return an answer without the names of accounts and people of which somebody may not know.

    Who sees only some accounts is a guest: nobody tells a guest who runs the service, and which other tokens
    there are.
    """
    if principal.accounts is None or not answer.keys() & {"account", "accounts"}:
        return answer
    answer = dict(answer)
    if isinstance(one := answer.get("account"), dict):
        answer["account"] = _of_account(one, principal)
    if isinstance(several := answer.get("accounts"), list):
        answer["accounts"] = [_of_account(one, principal) for one in several]
    if isinstance(entries := answer.get("timeline"), list):
        answer["timeline"] = [_of_entry(one, principal) for one in entries]
    return answer


def _of_account(account: Json, principal: Principal) -> Json:
    return {**account, "same_phone": [one for one in account.get("same_phone", ()) if principal.sees(one)]}


def _of_entry(entry: Json, principal: Principal) -> Json:
    return {key: value for key, value in entry.items() if key != "by" or value == principal.who}


def _seen(event: Json, principal: Principal) -> Json:
    """Return what somebody may know of an event of `watch`."""
    return {
        "accounts": [_of_account(one, principal) for one in event["accounts"] if principal.sees(one["name"])],
        "gone": [name for name in event["gone"] if principal.sees(name)],
    }
