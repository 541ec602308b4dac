"""What operators can do with consumers: every command, and arguments that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.feeds import MemoryFeed
from support.receivers import SECRET, Receiver, status

from orchestrator.access.scopes import LOCAL
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.settings import Webhook
from orchestrator.control.consumers import COMMANDS, MOST_TRACED
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.pulls import Pulls
from orchestrator.gateway.feed import Feed
from orchestrator.gateway.operators import Operators
from orchestrator.gateway.webhooks.client import trust
from orchestrator.gateway.webhooks.endpoint import Webhooks

TLS = trust()
PATIENCE = 60.0

Answer = Callable[..., Awaitable[dict[str, Any]]]


def play(folder: Path, receiver: Receiver, what: Callable[[Answer, MemoryFeed], Awaitable[None]]) -> None:
    async def run() -> None:
        feed = MemoryFeed("support")
        dispatcher = Dispatcher(folder, cast("Feed", feed))
        webhooks = Webhooks(TLS)
        url = receiver.url.replace("//", "//me:needle@") + "&key=needle"
        hook = Webhook("crm", url, secrets=(SECRET,), headers=(("X", "needle"),))
        consumers = {"crm": Consumer("crm", "webhook"), "echo": Consumer("echo", "bot")}
        dispatcher.configure(consumers, {**webhooks.configure({"crm": hook})})
        task = asyncio.ensure_future(dispatcher.run())
        pulls = Pulls(dispatcher)
        operators = Operators(dispatcher, webhooks, pulls)

        async def answer(command: str, **arguments: object) -> dict[str, Any]:
            found = await operators.answer(command, arguments)
            assert "needle" not in repr(found)
            return found

        try:
            await until(lambda: dispatcher.lines.is_ready)
            await pulls.events("archive", None, 0, 1, LOCAL)
            await what(answer, feed)
            await dispatcher.close(1)
        finally:
            webhooks.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def test_every_command(tmp_path: Path) -> None:
    async def what(answer: Answer, feed: MemoryFeed) -> None:
        assert (await answer("consumer_remove", name="archive")) == {}
        every = (await answer("consumers"))["consumers"]
        assert [(one["name"], one["kind"]) for one in every] == [("crm", "webhook"), ("echo", "bot")]
        assert every[0]["url"] == f"http://127.0.0.1:{receiver.port}/hook?…"
        assert "url" not in every[1]
        (crm,) = (await answer("consumers", kind="webhook"))["consumers"]
        assert crm["name"] == "crm"
        assert (await answer("webhook_test", name="crm"))["status"] == 200
        assert (await answer("webhook_pause", name="crm"))["consumers"][0]["state"] == "paused"
        event = feed.add("support", "a@lid")
        await until(lambda: event.seq == 1)
        assert (await answer("webhook_resume", name="crm"))["consumers"][0]["state"] == "active"
        await until(lambda: len(receiver.taken) == 2)
        async with asyncio.timeout(PATIENCE):
            while True:  # the receiver knows it first
                traced = (await answer("consumer_trace", events=[event.id, "evt_nobody_7", "3EB0"]))["events"]
                if {one["consumer"]: one["state"] for one in traced[event.id]}["crm"] == "delivered":
                    break
        assert (await answer("webhook_dead", name="crm")) == {"dead": []}
        assert (await answer("webhook_replay", name="crm")) == {"replayed": 0}
        for command in ("webhook_replay", "consumer_replay"):
            with pytest.raises(OrchestratorError, match="`orchestrator consumer dead crm` lists") as caught:
                await answer(command, name="crm", event=event.id)
            assert caught.value.key == "no_dead_letter"
        positions = (await answer("consumer_reset", name="crm", to="beginning"))["positions"]
        assert {one["stream"] for one in positions} == {"messages", "account"}
        await until(lambda: len(receiver.taken) == 3)
        await answer("consumer_reset", name="crm", to=0, account="support")
        await until(lambda: len(receiver.taken) == 4)
        assert (await answer("consumers", name="crm"))["positions"]
        receiver.behave = status(401)
        tried = await answer("webhook_test", name="crm")
        assert (tried["status"], tried["why"]) == (401, "answered 401")
        assert tried["advice"]

    with Receiver() as receiver:
        play(tmp_path, receiver, what)
        assert receiver.wrong == []


def test_bots_are_steered_like_webhooks(tmp_path: Path) -> None:
    async def what(answer: Answer, feed: MemoryFeed) -> None:
        for name in ("crm", "echo"):
            paused = (await answer("consumer_pause", name=name))["consumers"][0]
            assert (paused["name"], paused["state"]) == (name, "paused")
        feed.add("support", "a@lid")
        for name in ("crm", "echo"):
            assert (await answer("consumer_resume", name=name))["consumers"][0]["state"] == "active"
            assert (await answer("consumer_dead", name=name, limit=1, after=0)) == {"dead": []}
            assert (await answer("consumer_replay", name=name)) == {"replayed": 0}
        await until(lambda: receiver.taken)
        with pytest.raises(OrchestratorError, match="echo is no webhook; `orchestrator consumer`"):
            await answer("webhook_resume", name="echo")
        for command in ("consumer_pause", "consumer_resume", "consumer_dead", "consumer_replay"):
            with pytest.raises(OrchestratorError, match="archive is a pull: its client"):
                await answer(command, name="archive")

    with Receiver() as receiver:
        play(tmp_path, receiver, what)
        assert receiver.wrong == []


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("configure", {}, "unknown_command"),
    ("consumers", {"nonsense": 1}, "bad_request"),
    ("consumers", {"kind": "needle"}, "bad_request"),
    ("consumers", {"name": "nobody"}, "no_such_consumer"),
    ("webhook_test", {"name": "echo"}, "no_such_consumer"),
    ("webhook_pause", {"name": "echo"}, "no_such_consumer"),
    ("webhook_resume", {"name": "nobody"}, "no_such_consumer"),
    ("webhook_dead", {"name": "nobody"}, "no_such_consumer"),
    ("webhook_dead", {"name": "crm", "limit": 0}, "bad_request"),
    ("webhook_dead", {"name": "crm", "limit": 10**9}, "bad_request"),
    ("webhook_dead", {"name": "crm", "after": -1}, "bad_request"),
    ("webhook_replay", {"name": "crm", "event": "needle\n"}, "bad_request"),
    ("webhook_replay", {"name": "crm", "event": 7}, "bad_request"),
    ("consumer_pause", {"name": "nobody"}, "no_such_consumer"),
    ("consumer_resume", {"name": "archive"}, "bad_request"),
    ("consumer_dead", {"name": "echo", "limit": 0}, "bad_request"),
    ("consumer_replay", {"name": "nobody", "event": "evt_a_1"}, "no_such_consumer"),
    ("consumer_replay", {"name": "echo", "event": "needle\n"}, "bad_request"),
    ("consumer_replay", {"name": "echo", "event": "needle"}, "no_dead_letter"),
    ("consumer_remove", {"name": "crm"}, "bad_request"),
    ("consumer_remove", {"name": "nobody"}, "no_such_consumer"),
    ("consumer_reset", {"name": "crm", "to": "needle"}, "bad_request"),
    ("consumer_reset", {"name": "crm", "to": 1.5}, "bad_request"),
    ("consumer_reset", {"name": "crm", "to": True}, "bad_request"),
    ("consumer_reset", {"name": "crm", "to": 7}, "bad_request"),
    ("consumer_reset", {"name": "crm", "to": ["now"]}, "bad_request"),
    ("consumer_reset", {"name": "crm", "to": "now", "account": "../needle"}, "bad_request"),
    ("consumer_trace", {"events": "needle"}, "bad_request"),
    ("consumer_trace", {"events": [1]}, "bad_request"),
    ("consumer_trace", {"events": ["e"] * (MOST_TRACED + 1)}, "bad_request"),
]
NO_NAMES: list[object] = [7, "", "../needle", "needle\n", ["crm"], {"a": 1}, "n" * 64]
WRONG += [
    (command, {"name": name}, "bad_request")
    for command in sorted(COMMANDS)
    if "name" in COMMANDS[command]
    for name in NO_NAMES
]


def test_what_is_no_command_or_no_argument_is_refused(tmp_path: Path) -> None:
    async def what(answer: Answer, _: MemoryFeed) -> None:
        for command, arguments, key in WRONG:
            with pytest.raises(OrchestratorError) as caught:
                await answer(command, **arguments)
            assert caught.value.key == key, (command, arguments)
            assert "needle" not in str(caught.value)

    with Receiver() as receiver:
        play(tmp_path, receiver, what)
        assert not receiver.requests
