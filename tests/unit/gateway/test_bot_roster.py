"""Bots of the configuration, and bots that somebody runs by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.bot_process import NoFiles, Service, until

from orchestrator.consumers.settings import BotSettings
from orchestrator.control.port import Port, Request
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import bot_roster
from orchestrator.gateway.bot_roster import BotRoster

BOT: dict[str, Any] = {
    "name": "echo",
    "accounts": None,
    "events": ["message.*"],
    "timeout": 60.0,
    "parallel": 8,
    "attached": False,
}


def settings(name: str = "echo", **more: Any) -> dict[str, BotSettings]:  # noqa: ANN401
    return {name: BotSettings(name, "my_bot:bot", Path("/bots"), **more)}


def asked(**about: Any) -> tuple[Request, socket.socket]:  # noqa: ANN401
    ours, theirs = socket.socketpair()
    ends.callback(theirs.close)
    return Request("bot", {**BOT, **about}, [ours.detach()]), theirs


class Changes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


ends = ExitStack()


def go(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with ends:
        asyncio.run(asyncio.wait_for(test(), 30))


def test_bots_of_the_configuration_come_and_go(tmp_path: Path) -> None:
    async def test() -> None:
        changed = Changes()
        roster = BotRoster(Service(tmp_path).sending, NoFiles(), changed)
        roster.configure(settings(accounts=frozenset({"support"}), timeout=5.0))
        endpoint = roster._endpoints["echo"]
        assert not roster.endpoints
        assert (endpoint.accounts, endpoint.seconds) == (frozenset({"support"}), 5.0)
        request, theirs = asked()
        roster.attach(request)
        port = Port(theirs)
        await port.call("hello", types=["*"])
        assert endpoint.is_ready
        roster.configure(settings(timeout=7.0))
        assert roster.endpoints["echo"] is endpoint
        assert (endpoint.accounts, endpoint.seconds) == (None, 7.0)
        roster.configure({})
        assert not roster.endpoints
        assert not endpoint.is_attached
        assert not roster.consumers
        assert changed.count == 2  # it came and went
        port.close()
        roster.close()

    go(test)


def test_a_bot_by_hand_is_new_once_and_remembered_for_some_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_roster, "LINGER_SECONDS", 0.05)

    async def test() -> None:
        changed = Changes()
        roster = BotRoster(Service(tmp_path).sending, NoFiles(), changed)
        request, theirs = asked(name="dev-echo", attached=True, is_new=True, accounts=["support"], parallel=3)
        roster.attach(request)
        consumer = roster.consumers["dev-echo"]
        assert (consumer.kind, consumer.accounts, consumer.parallel) == ("bot", frozenset({"support"}), 3)
        assert changed.count == 1
        assert not roster.endpoints  # first its position is moved
        roster.release("dev-echo")
        roster.release("dev-echo")
        assert list(roster.endpoints) == ["dev-echo"]
        assert changed.count == 2
        for _ in range(3):  # its code changes
            theirs.close()
            await until(lambda: not roster.endpoints)
            assert "dev-echo" in roster.consumers
            request, theirs = asked(name="dev-echo", attached=True)
            roster.attach(request)
            assert list(roster.endpoints) == ["dev-echo"]
        assert roster.consumers["dev-echo"].accounts is None
        await asyncio.sleep(0.1)
        assert "dev-echo" in roster.endpoints
        theirs.close()
        await until(lambda: not roster.consumers)
        request, theirs = asked(name="dev-echo", attached=True)
        roster.attach(request)
        roster.close()

    go(test)


def test_the_configuration_takes_a_name(tmp_path: Path) -> None:
    async def test() -> None:
        roster = BotRoster(Service(tmp_path).sending, NoFiles(), Changes())
        request, theirs = asked(attached=True)
        roster.attach(request)
        roster.configure(settings())
        assert not roster.consumers
        assert theirs.recv(1) == b""
        request, theirs = asked(attached=True)
        with pytest.raises(OrchestratorError):
            roster.attach(request)
        assert theirs.recv(1) == b""
        roster.close()

    go(test)


@pytest.mark.parametrize(
    "about",
    [
        {"name": "../x"},
        {"name": None},
        {"accounts": "support"},
        {"accounts": [1]},
        {"events": None},
        {"timeout": 0},
        {"timeout": "x"},
        {"parallel": 0},
        {"parallel": True},
        {"parallel": 10**6},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, about: dict[str, Any]) -> None:
    async def test() -> None:
        roster = BotRoster(Service(tmp_path).sending, NoFiles(), Changes())
        roster.configure(settings())
        request, theirs = asked(**about)
        with pytest.raises(OrchestratorError) as caught:
            roster.attach(request)
        assert caught.value.key == "bad_request"
        assert theirs.recv(1) == b""
        roster.close()

    go(test)


def test_a_bot_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        roster = BotRoster(Service(tmp_path).sending, NoFiles(), Changes())
        request, theirs = asked()
        with pytest.raises(OrchestratorError):
            roster.attach(request)
        assert theirs.recv(1) == b""
        theirs.close()
        for number in range(bot_roster.MAX_BY_HAND):
            request, _ = asked(name=f"dev-{number}", attached=True)
            roster.attach(request)
        request, theirs = asked(name="dev-more", attached=True)
        with pytest.raises(OrchestratorError):
            roster.attach(request)
        roster.close()

    go(test)
