"""How a handler ends: in time or not, well or not, and what is told of that."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bots import Bot, Message, runner
from orchestrator.bots.runner import Outcome, Runner

NEEDLE = "needle-of-the-peer"
EVENT = {
    "id": "evt_support_17",
    "type": "message.received",
    "account": "support",
    "seq": 17,
    "data": {"kind": "text", "text": NEEDLE, "chat": {"id": "1@lid", "type": "direct"}},
}


class Nobody:
    """A way to a service that takes for ever."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def send(self, account: str, message: Any, event: str | None, place: int | None, **_: Any) -> Any:  # noqa: ANN401
        self.asked.append((account, message["kind"], event, place))
        await asyncio.Event().wait()

    async def act(self, account: str, action: Any) -> Any:  # noqa: ANN401
        self.asked.append((account, action["kind"]))
        await asyncio.Event().wait()

    async def media(self, account: str, media: str) -> AsyncIterator[bytes]:
        self.asked.append((account, media))
        yield b""


def handle(bot: Bot, *, seconds: float = 60, folder: Path | None = None) -> Outcome:
    async def go() -> Outcome:
        return await Runner(bot, Nobody(), seconds=seconds, folder=folder).handle(EVENT)

    return asyncio.run(go())


def test_a_coroutine_that_takes_too_long_is_canceled() -> None:
    bot = Bot()
    ends = []

    @bot.on_message()
    async def hang(_: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("canceled")

    outcome = handle(bot, seconds=0.01)
    assert (outcome.result, outcome.hung, ends) == ("failed", False, ["canceled"])
    assert outcome.why.endswith("hang took longer than 0.01 s")


def test_a_coroutine_that_waits_for_the_service_for_too_long_is_canceled() -> None:
    bot = Bot()

    @bot.on_message()
    async def hang(message: Message) -> None:
        await message.reply("Hello")

    assert not handle(bot, seconds=0.01).hung


def test_a_coroutine_that_does_not_let_itself_be_canceled_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.01)
    bot = Bot()
    go_on: list[int] = []

    @bot.on_message()
    async def hang(_: Message) -> None:
        while not go_on:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                go_on.append(1)
                await asyncio.sleep(0.05)

    assert handle(bot, seconds=0.01).hung


def test_a_plain_function_that_takes_too_long_hangs() -> None:
    bot = Bot()
    over = threading.Event()

    @bot.on_message()
    def hang(_: Message) -> None:
        over.wait()

    outcome = handle(bot, seconds=0.01)
    over.set()
    assert (outcome.result, outcome.hung) == ("failed", True)


def test_a_time_out_of_the_handlers_own_is_an_error_like_any_other() -> None:
    bot = Bot()

    @bot.on_message()
    async def fail(_: Message) -> None:
        raise TimeoutError

    outcome = handle(bot)
    assert not outcome.hung
    assert outcome.why.startswith("TimeoutError in ")


class OddError(Exception):
    pass


def fail(message: Message) -> None:
    raise OddError(message.text)


@pytest.mark.parametrize("how", ["plain", "coroutine", "cause", "group"])
def test_no_text_of_an_exception_is_logged(how: str, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot()

    @bot.on_message()
    async def handler(message: Message) -> None:
        match how:
            case "plain":
                await asyncio.to_thread(fail, message)
            case "cause":
                try:
                    fail(message)
                except OddError as error:
                    raise KeyError(message.text) from error
            case "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.to_thread(fail, message))
            case _:
                fail(message)

    with caplog.at_level(logging.DEBUG):
        outcome = handle(bot, folder=Path(__file__).parent)
    said = caplog.text + outcome.why + str(outcome.as_json())
    assert NEEDLE not in said
    assert "evt_support_17" in caplog.text
    assert "test_running.py:" in caplog.text
    assert str(Path(__file__).parent) not in caplog.text.replace("caplog", "")
    assert "OddError" in caplog.text
    assert " fail\n" in f"{caplog.text}\n" or how == "group"


def test_a_deep_traceback_is_cut() -> None:
    def recurse(depth: int) -> None:
        if not depth:
            raise OddError(NEEDLE)
        recurse(depth - 1)

    try:
        recurse(100)
    except OddError as error:
        lines = list(runner.describe(error))
    assert len(lines) == runner.MAX_PLACES + 2
    assert lines[1] == "    … 72 more places …"


def test_a_handler_is_told_which_event_it_sends_for() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        message.reply("one")
        message.react("👍")
        bot.send("support", "1@lid", "two")
        bot.send("support", "2@lid", "three")
        message.mark_read()

    async def go() -> list[Any]:
        nobody = Nobody()
        await Runner(bot, nobody, seconds=0.05).handle(EVENT, 2)
        return nobody.asked

    assert asyncio.run(go()) == [
        ("support", "text", "evt_support_17", 0),
        ("support", "reaction", "evt_support_17", None),
        ("support", "text", "evt_support_17", 1),
        ("support", "text", "evt_support_17", 0),
        ("support", "read", "evt_support_17", None),
    ]


@pytest.mark.parametrize(
    ("after", "wanted"),
    [(None, None), (5, 5.0), (-1, None), ("x", None), (float("inf"), 86400.0), (float("nan"), None)],
)
def test_what_a_handler_wants_to_wait_is_bounded(after: Any, wanted: float | None) -> None:  # noqa: ANN401
    assert runner._seconds(after) == wanted
