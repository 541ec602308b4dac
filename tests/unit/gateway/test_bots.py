"""A bot and the gateway, at the two ends of a port."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.bot_process import Service, go

from orchestrator.bots import (
    ActionError,
    Bot,
    Contact,
    Document,
    Image,
    Location,
    Message,
    Poll,
    Reject,
    Retry,
    Sticker,
)  # fmt: skip
from orchestrator.bots.serving import Serving
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.control.companions import BotExit
from orchestrator.control.port import Port
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import bot_sends, bots
from orchestrator.gateway.bots import BotEndpoint
from orchestrator.sending.row import State

NEEDLE = "needle-of-the-peer"


@dataclass
class Event:
    id: str = "evt_support_17"
    type: str = "message.received"
    account: str = "support"
    at: float = 1_800_000_000.0
    text: str = "Hello"

    @property
    def body(self) -> bytes:
        chat = {"id": "4915100002@lid", "type": "direct", "phone": "+4915100002", "name": None}
        data = {"id": "M1", "chat": chat, "sender": chat, "kind": "text", "text": self.text, "media": None}
        return json.dumps(
            {"id": self.id, "type": self.type, "account": self.account, "seq": 17, "data": data}
        ).encode()


@dataclass
class Opened:
    file: io.BytesIO


class Files:
    def __init__(self) -> None:
        self.pending = 2

    async def media(self, account: str, media_id: str, asker: dict[str, Any]) -> Opened:
        assert account == "support"
        assert asker == {"bot": "echo"}
        if media_id != "7":
            raise OrchestratorError("there is none", key="media_unknown")
        self.pending -= 1
        if self.pending > 0:
            raise OrchestratorError("not yet", key="media_pending")
        return Opened(io.BytesIO(b"x" * 1_000_000))


class World:
    """A bot, its endpoint, and what is around them."""

    def __init__(self, bot: Bot, folder: Path, seconds: float = 30.0) -> None:
        self.bot = bot
        self.seconds = seconds
        self.folder = folder
        self.service = Service(folder)
        self.endpoint = self.new_endpoint()
        self.ends: list[BotExit] = []

    def new_endpoint(self) -> BotEndpoint:
        accounts = frozenset({"support"})
        return BotEndpoint("echo", self.service.sending, Files(), accounts=accounts, seconds=self.seconds)

    @asynccontextmanager
    async def running(self) -> Any:  # noqa: ANN401
        ours, theirs = socket.socketpair()
        self.endpoint.attach(ours)
        serving = Serving(self.bot, theirs, folder=Path(__file__).parent, seconds=self.seconds)
        task = asyncio.get_running_loop().create_task(serving.run())
        try:
            yield serving
        finally:
            serving.stop()
            self.ends.append(await task)
            await self.service.uploads.close()

    async def deliver(self, event: Event | None = None, number: int = 1) -> Outcome:
        return await self.endpoint.deliver(Attempt(event or Event(), number))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)


def echo() -> Bot:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply(f"You said {message.text}")

    return bot


def test_an_event_goes_to_the_bot_and_a_reply_comes_from_it(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running():
            assert await world.deliver() == Delivered()
        (sent,) = world.service.sent
        assert (sent["as"], sent["name"], sent["to"]) == ("echo", "support", "4915100002@lid")
        assert (sent["kind"], sent["text"], sent["reply_to"]) == ("text", "You said Hello", "M1")
        assert world.ends == [BotExit.ASKED]

    go(test)


def test_events_wait_for_a_bot_that_is_not_there(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        waiting = asyncio.ensure_future(world.deliver())
        await asyncio.sleep(0)
        assert not world.endpoint.is_ready
        async with world.running():
            assert await waiting == Delivered()
        assert not world.endpoint.is_ready
        waiting = asyncio.ensure_future(world.deliver())
        await asyncio.sleep(0)
        world.endpoint.close()
        assert await waiting == Failed("the gateway ends, or the bot was removed")

    go(test)


def test_events_that_no_handler_is_for_stay_here(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running() as serving:
            serving._serve = None
            assert await world.deliver(Event(type="message.status")) == Delivered()

    go(test)


def test_a_long_event_goes_as_a_file_in_memory(tmp_path: Path) -> None:
    bot = Bot()
    seen: list[int] = []

    @bot.on_message()
    async def answer(message: Message) -> None:
        seen.append(len(message.text))

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            for length in (10, bots.MAX_INLINE, 2_000_000):
                assert await world.deliver(Event(text="x" * length)) == Delivered()

    go(test)
    assert seen == [10, bots.MAX_INLINE, 2_000_000]


def test_a_retry_sends_no_reply_twice(tmp_path: Path) -> None:
    bot = Bot()
    rows: list[Any] = []

    @bot.on_message()
    async def answer(message: Message) -> None:
        sent = await message.reply(f"attempt {message.attempt}")
        await message.reply("second")
        rows.append((sent.row, sent.id, sent.state))
        if message.attempt < 4:
            raise KeyError(NEEDLE)

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            outcome = await world.deliver()
            assert isinstance(outcome, Failed)
            assert outcome.why.startswith("KeyError in test_bots.py:")
            assert isinstance(await world.deliver(number=2), Failed)
        world.endpoint = world.new_endpoint()  # of the next gateway
        async with world.running():
            assert isinstance(await world.deliver(number=3), Failed)
            assert await world.deliver(number=4) == Delivered()
        assert world.service.texts == ["attempt 1", "second"]

    go(test)
    assert rows[:2] == [(1, "3EB0A1", "sent")] * 2
    assert rows[2:] == [(None, None, "unknown")] * 2, "the next gateway does not know the row of other words"


def test_what_failed_is_sent_again_and_what_may_have_been_sent_is_not(tmp_path: Path) -> None:
    bot = Bot()
    seen: list[str] = []

    @bot.on_message()
    async def answer(message: Message) -> None:
        try:
            seen.append((await message.reply("Hello")).state)
        except ActionError as error:
            seen.append(f"{error.key}: {error}")
            raise

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            world.service.ends, world.service.why = State.FAILED, "WhatsApp refuses the message"
            assert isinstance(await world.deliver(), Failed)
            world.service.ends = State.EXPIRED
            assert isinstance(await world.deliver(number=2), Failed)
            world.service.ends, world.service.why = State.SENT, None
            for number in (3, 4):
                assert await world.deliver(number=number) == Delivered()
            world.service.errors["send"] = OrchestratorError("full", key="outbox_full")
            assert isinstance(await world.deliver(Event(id="evt_support_18")), Failed)
        assert len(world.service.sent) == 3

    go(test)
    refused = "not_sent: the message was not sent: WhatsApp refuses the message"
    assert seen == [refused, refused, "sent", "sent", "outbox_full: full"]


def test_what_waits_in_the_outbox_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_sends, "WAIT_SECONDS", 0.0)
    bot = Bot()
    seen: list[Any] = []

    @bot.on_message()
    async def answer(message: Message) -> None:
        sent = await message.reply("Hello")
        seen.extend([sent.state, sent.id, sent.row])
        with pytest.raises(ActionError) as caught:
            await sent.edit("Hello!")
        seen.append(caught.value.key)

    async def test() -> None:
        world = World(bot, tmp_path)
        world.service.ends = State.QUEUED
        async with world.running():
            assert await world.deliver() == Delivered()

    go(test)
    assert seen == ["queued", None, 1, "message_unknown"]


def test_waiting_for_what_is_on_its_way_leaves_a_handler_its_time(tmp_path: Path) -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        for _ in range(8):
            await message.reply("Hello")

    async def test() -> None:
        world = World(bot, tmp_path, seconds=2.0)
        world.service.ends = State.QUEUED
        async with world.running():
            assert await world.deliver() == Delivered()
        waits = [one["wait"] for _, command, one in world.service.asked if command == "send"]
        assert waits == sorted(waits, reverse=True)
        assert waits[0] <= 1.0

    go(test)


def test_what_is_on_its_way_when_the_bot_ends_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        world.service.go.clear()
        async with world.running() as serving:
            waiting = asyncio.ensure_future(world.deliver())
            await until(lambda: bool(world.service.asked))
            serving._port.close()  # as if it were killed
        assert await waiting == Failed("the bot's process ended while it handled the event")
        async with world.running():
            waiting = asyncio.ensure_future(world.deliver(number=2))
            await until(lambda: bool(world.endpoint.running))
            world.service.go.set()
            assert await waiting == Delivered()
        assert len(world.service.sent) == 1

    go(test)


def test_everything_can_be_sent_with_its_file(tmp_path: Path) -> None:
    bot = Bot()
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1_000_000))

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply(Image(picture, caption="A cat", mentions=["+4915100003"]), tag="t")
        await message.reply(Document(b"%PDF-1.7", name="bill.pdf"), quote=False)
        await message.reply(Document(picture))
        await message.reply(Location(52.5, 13.4, "Here"))
        await message.reply(Contact("Ada", ["+4915100003"]))
        await message.reply(Poll("When?", ["Now", "Later"], selectable=0))
        sent = await bot.send("support", "+4915100004", "Hello", expires=60)
        await sent.edit("Hello!")
        await sent.react("\N{THUMBS UP SIGN}")
        await sent.revoke()
        await message.revoke()
        await message.mark_read()
        for wrong in (Image(tmp_path / "not there"), Image("/dev/null"), Sticker(b"")):
            with pytest.raises(ActionError) as caught:
                await message.reply(wrong)
            assert caught.value.key in ("file_missing", "file_unfit")

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            assert await world.deliver() == Delivered()
            kinds = [one["kind"] for one in world.service.sent]
            assert kinds == [
                "image", "document", "document", "location", "contact", "poll", "text", "edit", "reaction",
                "revocation", "revocation", "read",
            ]  # fmt: skip
            image, bill, named = world.service.sent[:3]
            assert (image["caption"], image["tag"], image["mentions"]) == ("A cat", "t", ["+4915100003"])
            assert (bill["file_name"], bill["reply_to"], named["file_name"]) == ("bill.pdf", None, "cat.png")
            assert world.service.files[0] == picture.read_bytes()[: 1 << 20]
            assert world.service.files[1] == b"%PDF-1.7"
            asked = [one for _, command, one in world.service.asked if command == "send"]
            assert asked[6]["expires"] == 60
            assert all("key" in one for one in asked[:7])
            assert not any("key" in one for one in asked[7:12])
            assert not list((tmp_path / "uploads").iterdir()), "the service has copies"

    go(test)


def test_groups_and_numbers(tmp_path: Path) -> None:
    bot = Bot()
    seen: list[Any] = []
    group = "120363041234567890@g.us"

    @bot.on_message()
    def look(_: Message) -> None:
        groups = bot.groups("support")
        seen.extend(one.subject for one in groups.list().value)
        seen.append(groups.create("Team", "+4915100003").value.id)
        seen.extend(one.done for one in groups.add(group, "+4915100003").value)
        groups.set_subject(group, "Team")
        groups.leave(group)
        seen.append(groups.invite_link(group, reset=True).value)
        seen.extend(one.exists for one in bot.find_numbers("support", "+4915100002").value)
        with pytest.raises(ActionError, match="group must be the address"):
            groups.get("../../etc/passwd")

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            assert await world.deliver() == Delivered()
        commands = [command for _, command, _ in world.service.asked]
        assert commands == ["look", "act", "act", "act", "act", "act", "look"]

    go(test)
    assert seen == ["Team", group, True, "https://chat.whatsapp.com/AbCdEf", True]


def test_the_end_of_a_process_is_laid_on_an_event_only_if_it_was_alone(tmp_path: Path) -> None:
    bot = Bot()
    started: list[str] = []
    block = asyncio.Event()

    @bot.on_message()
    async def answer(message: Message) -> None:
        started.append(message.event_id)
        await block.wait()

    async def test() -> None:
        world = World(bot, tmp_path)
        events = [Event(id=f"evt_support_{number}") for number in range(3)]
        waiting = [asyncio.ensure_future(world.deliver(event)) for event in events]
        async with world.running() as serving:
            await until(lambda: len(started) == 3)
            serving._port.close()
        async with world.running() as serving:
            await until(lambda: len(started) == 6)
            serving._port.close()
        failed = Failed("the bot's process ended while it handled the event")
        assert await asyncio.gather(*waiting) == [failed] * 3

    go(test)


def test_a_bot_that_is_asked_to_end_finishes_what_it_handles(tmp_path: Path) -> None:
    bot = Bot()
    begun, block = asyncio.Event(), asyncio.Event()

    @bot.on_message()
    async def answer(message: Message) -> None:
        begun.set()
        await block.wait()
        await message.reply("done")

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running() as serving:
            waiting = asyncio.ensure_future(world.deliver())
            await begun.wait()
            serving.stop()
            await until(lambda: not world.endpoint.is_ready)
            later = asyncio.ensure_future(world.deliver(Event(id="evt_support_18")))
            block.set()
            assert await waiting == Delivered()
        assert not later.done()
        later.cancel()
        assert world.service.texts == ["done"]

    go(test)


def test_a_handler_that_hangs_ends_the_process_and_nothing_else_is_lost(tmp_path: Path) -> None:
    bot = Bot()
    over = threading.Event()
    started: list[str] = []
    block = asyncio.Event()

    @bot.on_message(text="hang")
    def hang(_: Message) -> None:
        over.wait()

    @bot.on_message()
    async def other(message: Message) -> None:
        started.append(message.event_id)
        await block.wait()

    async def test() -> None:
        world = World(bot, tmp_path, seconds=0.2)
        ours, theirs = socket.socketpair()
        world.endpoint.attach(ours)
        serving = Serving(bot, theirs, folder=tmp_path, seconds=0.2)
        task = asyncio.get_running_loop().create_task(serving.run())
        hung = await world.deliver(Event(text="hang"))
        assert isinstance(hung, Failed)
        assert hung.why.endswith("hang took longer than 0.2 s")
        waiting = asyncio.ensure_future(world.deliver(Event(id="evt_support_18")))
        assert await task == BotExit.HUNG
        over.set()
        assert not waiting.done()
        block.set()
        async with world.running():
            assert await waiting == Delivered()

    go(test)


def test_files_come_in_pieces(tmp_path: Path) -> None:
    bot = Bot()
    seen: list[Any] = []

    @bot.on_message()
    async def look(message: Message) -> None:
        from orchestrator.bots.events import Media

        message.media = Media("7")
        seen.append(len((await message.download()).data))
        for bad in ("8", "../../etc/passwd", "9" * 30):
            message.media = Media(bad)
            with pytest.raises(ActionError) as caught:
                await message.download()
            seen.append(caught.value.key)

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            assert await world.deliver() == Delivered()

    go(test)
    assert seen == [1_000_000, "media_unknown", "bad_request", "bad_request"]


@pytest.mark.parametrize(
    ("what", "key"),
    [
        ({"account": "sales"}, "no_such_account"),
        ({"account": "../x"}, "bad_request"),
        ({"account": None}, "bad_request"),
        ({"message": {"to": "4915100002@lid", "kind": "eval"}}, "bad_request"),
        ({"message": None}, "bad_request"),
        ({"message": {"to": "file:///etc/passwd", "text": "x"}}, "bad_request"),
        ({"message": {"to": "4915100002@lid", "text": ""}}, "bad_text"),
        ({"message": {"to": "4915100002@lid", "kind": "image", "media": "../../etc/passwd"}}, "bad_request"),
        ({"message": {"to": "4915100002@lid", "kind": "image", "media": "77"}}, "file_missing"),
        ({"file_name": 7}, "bad_request"),
        ({"expires": -1}, "bad_request"),
        ({"expires": 1e8}, "bad_request"),
        ({"expires": True}, "bad_request"),
    ],
    ids=str,
)
def test_what_a_bot_wants_to_send_is_checked(tmp_path: Path, what: dict[str, Any], key: str) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running() as serving:
            message = {"to": "4915100002@lid", "text": "x"}
            with pytest.raises(OrchestratorError) as caught:
                await serving._port.call("send", **{"account": "support", "message": message, **what})
        assert caught.value.key == key
        assert not world.service.sent

    go(test)


def test_a_file_is_one_regular_file_of_bounded_size(tmp_path: Path) -> None:
    message = {"to": "4915100002@lid", "kind": "document"}
    keys: list[str] = []

    async def test() -> None:
        world = World(echo(), tmp_path)
        world.service.sending.largest = lambda _: 1000
        read, write = os.pipe()
        large = os.memfd_create("large", os.MFD_CLOEXEC)
        os.truncate(large, 1 << 40)
        async with world.running() as serving:
            for wanted, fds in ((message, [read]), (message, [large]), (message, [large, large]),
                                ({"to": "4915100002@lid", "text": "x"}, [large])):  # fmt: skip
                with pytest.raises(OrchestratorError) as caught:
                    await serving._port.call("send", fds=fds, account="support", message=wanted)
                keys.append(caught.value.key)
        for descriptor in (read, write, large):
            os.close(descriptor)
        assert not world.service.sent

    go(test)
    assert keys == ["file_missing", "file_too_large", "bad_request", "bad_request"]


@pytest.mark.parametrize("action", [None, {"kind": "eval"}, {"kind": "text", "chat": "1@lid", "text": "x"}])
def test_what_a_bot_asks_for_is_checked(tmp_path: Path, action: object) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running() as serving:
            with pytest.raises(OrchestratorError) as caught:
                await serving._port.call("act", account="support", action=action)
        assert caught.value.key == "bad_request"
        assert not world.service.asked

    go(test)


def test_a_bot_is_told_no_more_than_it_may_know(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running() as serving:
            for command in ("list", "configure", "code", "event", "bot"):
                with pytest.raises(OrchestratorError) as caught:
                    await serving._port.call(command)
                assert caught.value.key == "unknown_command"

    go(test)


def test_a_place_counts_only_for_an_event_that_the_bot_has(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        async with world.running() as serving:
            message = {"to": "4915100002@lid", "kind": "text", "text": "x"}
            for place in (0, 0, -1, True, 10**9, "0"):
                await serving._port.call(
                    "send", account="support", message=message, event="evt_other_1", place=place
                )
        assert len(world.service.sent) == 6

    go(test)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ({"result": "done"}, Delivered()),
        ({"result": "rejected"}, Delivered()),
        (
            {"result": "failed", "why": "KeyError in a b.py:7 f", "retry_after": 7},
            Failed("KeyError in a b.py:7 f", 7.0),
        ),
        ({"result": "failed", "why": "x took longer than 60 s"}, Failed("x took longer than 60 s")),
        ({"result": "failed", "why": "what she wrote"}, Failed("the handler failed")),
        ({"result": "failed", "why": "X in \x1b[31m"}, Failed("the handler failed")),
        ({"result": 7, "why": None, "retry_after": True}, Failed("the handler failed")),
        ({}, Failed("the handler failed")),
    ],
    ids=str,
)
def test_what_a_bot_answers_is_checked(tmp_path: Path, answer: Any, wanted: Outcome) -> None:  # noqa: ANN401
    async def test() -> None:
        world = World(echo(), tmp_path)
        ours, theirs = socket.socketpair()
        world.endpoint.attach(ours)

        async def serve(_: Any) -> Any:  # noqa: ANN401
            return answer

        port = Port(theirs, serve)
        await port.call("hello", types=["*"])
        assert await world.deliver() == wanted
        port.close()

    go(test)


def test_a_bot_that_gives_no_answer_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots, "MARGIN_SECONDS", 0.1)

    async def test() -> None:
        world = World(echo(), tmp_path, seconds=0.1)
        ours, theirs = socket.socketpair()
        gone = asyncio.Event()
        world.endpoint.attach(ours)

        async def serve(_: Any) -> Any:  # noqa: ANN401
            await asyncio.Event().wait()

        port = Port(theirs, serve, gone.set)
        await port.call("hello", types=["*"])
        assert await world.deliver() == Failed("the bot gave no answer within 0.2 s")
        await gone.wait()
        assert not world.endpoint.is_ready

    go(test)


@pytest.mark.parametrize(
    ("raised", "wanted"), [(Reject(), Delivered()), (Retry(5), Failed("Retry", 5.0))], ids=str
)
def test_a_handler_says_what_becomes_of_the_event(tmp_path: Path, raised: Exception, wanted: Outcome) -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(_: Message) -> None:
        raise raised

    async def test() -> None:
        world = World(bot, tmp_path)
        async with world.running():
            assert await world.deliver() == wanted

    go(test)


def test_a_bot_that_speaks_nonsense_loses_its_port(tmp_path: Path) -> None:
    async def test() -> None:
        world = World(echo(), tmp_path)
        ours, theirs = socket.socketpair()
        lost = asyncio.Event()
        world.endpoint.attach(ours, lost.set)
        theirs.send(b"\xff" * 64)
        await lost.wait()
        with suppress(OSError):
            theirs.close()
        async with world.running():
            assert await world.deliver() == Delivered()

    go(test)
