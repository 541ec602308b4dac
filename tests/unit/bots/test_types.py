"""The types of bots. mypy checks this file, too, and an error that is ignored must be one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

import pytest

from orchestrator.bots import Bot, Event, Group, Image, Message, Reaction, Sent
from orchestrator.bots.testing import Tester


def test_decorators_keep_the_types_of_handlers() -> None:
    bot = Bot()

    @bot.on_message(kind="text", chat={"group"})
    async def answer(message: Message) -> None:
        sent = await message.reply("Hello")
        assert_type(sent, Sent)
        assert_type(sent.id, str | None)
        assert_type((await message.download()).data, bytes)
        assert_type(await message.reply(Image(b"x")), Sent)
        assert_type((await bot.groups("support").list()).value, tuple[Group, ...])
        await message.reply(b"x")  # type: ignore[arg-type]

    @bot.on_message
    def plain(message: Message) -> int:
        assert_type(message.reply("Hello"), Sent)
        return 7

    @bot.on_event("message.*")
    def anything(event: Event) -> None:
        assert_type(event.seq, int | None)

    wanted: Callable[[Message], Coroutine[Any, Any, None]] = answer
    assert wanted is answer
    number: Callable[[Message], int] = plain
    assert number is plain
    with Tester(bot) as tester:
        assert tester.message("Hello").handler.endswith("plain")


def test_mistakes_are_found_by_their_types() -> None:
    bot = Bot()
    with pytest.raises(ValueError, match="kind can never be 'picture'"):
        bot.on_message(kind="picture")  # type: ignore[arg-type]

    def handler(message: Message) -> None: ...

    bot.on_message()(handler)
    bot.on_event()(handler)  # type: ignore[type-var]
    bot.on_reaction()(handler)  # type: ignore[type-var]
    bot.on_reaction(lambda reaction: reaction.emoji)

    def reacted(reaction: Reaction) -> None: ...

    bot.on_reaction(reacted)
    with pytest.raises(TypeError, match="must be a function"):
        bot.on_message("hello")  # type: ignore[call-overload]
