"""Which handler gets what, and what it can do with it."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bots import (
    ActionError,
    Bot,
    Document,
    Edit,
    Event,
    Image,
    Location,
    Message,
    Poll,
    Reaction,
    Reject,
    Retry,
    Revocation,
    Skip,
    Status,
    Voice,
)
from orchestrator.bots.testing import Tester, Text

NEEDLE = "needle-of-the-peer"


def test_an_echo_bot_answers() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply(f"You said {message.text}")

    with Tester(bot) as tester:
        handled = tester.message("Hello", phone="+4915100002")
    assert handled.replies == ["You said Hello"]
    assert handled.did.texts[0].chat == "269139479534551@lid"
    assert handled.did.texts[0].reply_to == "3EB0A1"
    assert (handled.result, handled.handler.rpartition(".")[2]) == ("done", "answer")


def test_a_plain_function_has_the_result_at_once() -> None:
    bot = Bot()
    seen = []

    @bot.on_message
    def answer(message: Message) -> None:
        sent = message.reply("one")
        seen.append(sent.id)
        assert "one" not in repr(sent), "what is printed reaches the log"
        assert repr(sent).startswith("<Sent: row ")
        message.mark_read()
        message.react("👍")
        with message.typing():
            seen.append(message.reply("two", quote=False).id)

    with Tester(bot) as tester:
        handled = tester.message("Hello")
    assert handled.replies == ["one", "two"]
    assert seen == ["3EB0B1", "3EB0B4"]
    assert handled.did.reactions == [("3EB0A1", "👍")]
    assert handled.did.read == ["3EB0A1"]
    assert handled.did.typing == ["typing", "paused"]
    assert handled.did.texts[1].reply_to is None


def test_what_is_not_awaited_is_done_all_the_same() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        message.reply("forgotten")  # on purpose

    with Tester(bot) as tester:
        assert tester.message("Hello").replies == ["forgotten"]
        with tester.failing("not_connected"), pytest.raises(ActionError) as caught:
            tester.message("Hello")
    assert caught.value.key == "not_connected"


def test_an_error_that_a_handler_knows_is_no_failure() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        with pytest.raises(ActionError):
            await message.reply("Hello")

    with Tester(bot) as tester, tester.failing():
        assert tester.message("Hello").result == "done"


def test_coroutines_can_be_tested_in_coroutines() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        async with message.typing():
            sent = await message.reply(message.text.upper())
        assert sent.id

    async def go() -> None:
        handled = await Tester(bot).message("hello")
        assert handled.replies == ["HELLO"]
        assert handled.did.typing == ["typing", "paused"]

    asyncio.run(go())


def test_the_first_handler_that_matches_gets_the_event() -> None:
    bot = Bot()

    @bot.on_message(text=r"(?i)^/help\b")
    async def give_help(message: Message) -> None:
        await message.reply("help")

    @bot.on_message(kind=["image", "video"])
    async def look(message: Message) -> None:
        await message.reply(f"a picture: {message.text}")

    @bot.on_message(chat="group")
    async def group(message: Message) -> None:
        await message.reply("group")

    @bot.on_message(chat="+4915100009")
    async def boss(message: Message) -> None:
        await message.reply("yes, boss")

    @bot.on_message(account="sales", from_me=None)
    async def sales(message: Message) -> None:
        await message.reply("sales")

    @bot.on_message(from_me=True)
    async def own(message: Message) -> None:
        await message.reply("my own")

    with Tester(bot) as tester:
        assert tester.message("/HELP me", group="120363000000000001@g.us").replies == ["help"]
        assert tester.message("see", kind="image").replies == ["a picture: see"]
        assert tester.message("hi", group="120363000000000001@g.us").replies == ["group"]
        assert tester.message("hi", phone="+4915100009").replies == ["yes, boss"]
        assert tester.message("hi", account="sales").replies == ["sales"]
        assert tester.message("hi", from_me=True).replies == ["my own"]
        assert tester.message("hi").result == "ignored"


def test_a_pattern_leaves_what_it_found() -> None:
    bot = Bot()

    @bot.on_message(text=re.compile(r"^order (\d+)$"))
    async def order(message: Message) -> None:
        assert message.match is not None
        await message.reply(message.match[1])

    with Tester(bot) as tester:
        assert tester.message("order 17").replies == ["17"]
        assert tester.message("order").result == "ignored"


def test_a_handler_can_leave_the_event_to_the_next_one() -> None:
    bot = Bot()

    @bot.on_message()
    async def first(message: Message) -> None:
        if message.text != "mine":
            raise Skip

    @bot.on_message()
    def second(message: Message) -> None:
        if message.text != "hers":
            raise Skip

    with Tester(bot) as tester:
        assert tester.message("mine").handler.endswith("first")
        assert tester.message("hers").handler.endswith("second")
        assert tester.message("nobody's").result == "ignored"


def test_other_events_have_classes_of_their_own() -> None:
    bot = Bot()
    seen: list[Any] = []

    @bot.on_reaction(emoji="👍")
    def liked(reaction: Reaction) -> None:
        seen.append((reaction.emoji, reaction.message_id))

    @bot.on_edit()
    def edited(edit: Edit) -> None:
        seen.append((edit.text, edit.by_author))

    @bot.on_revoke
    def revoked(revocation: Revocation) -> None:
        seen.append((revocation.id, revocation.by_author))

    @bot.on_status(status=["read", "delivered"])
    def status(status: Status) -> None:
        seen.append((status.id, status.status, status.recipient and status.recipient.phone))

    @bot.on_event("account.*")
    def account(event: Event) -> None:
        seen.append((event.type, event.data["reason"]))

    assert bot.types == (
        "account.*", "message.edited", "message.reaction", "message.revoked", "message.status",
    )  # fmt: skip
    with Tester(bot) as tester:
        tester.reaction("👍", to="M1")
        assert tester.reaction("👎").result == "ignored"
        tester.edit("new")
        tester.event("message.revoked", id="M2", by_author=None)
        tester.status("M3", "read")
        assert tester.status("M3", "sent").result == "ignored"
        tester.event("account.logged_out", reason="why")
    assert seen == [
        ("👍", "M1"), ("new", True), ("M2", None), ("M3", "read", "+4915100002"),
        ("account.logged_out", "why"),
    ]  # fmt: skip


def test_a_retry_sends_no_reply_twice() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply(f"one of attempt {message.attempt}")
        await bot.send("sales", "+4915100003", "Somebody wrote")
        if message.attempt == 1:
            raise OSError("the database is away")
        await message.reply("two")

    with Tester(bot, raises=False) as tester:
        handled = tester.message("Hello")
        assert handled.result == "failed"
        assert isinstance(handled.error, OSError)
        assert handled.did.texts[1] == Text("sales", "+4915100003", "Somebody wrote")
        handled.again()
        assert (handled.result, handled.replies) == ("done", ["two"])


@pytest.mark.parametrize(("error", "result"), [(Reject(), "rejected"), (Retry(30), "failed")])
def test_a_handler_says_what_becomes_of_the_event(error: Exception, result: str) -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(_: Message) -> None:
        raise error

    with Tester(bot) as tester:
        handled = tester.message("Hello")
    assert handled.result == result
    assert handled.retry_after == (30.0 if result == "failed" else None)


def test_an_error_in_a_handler_is_an_error_in_its_test() -> None:
    bot = Bot()

    @bot.on_message()
    def answer(_: Message) -> None:
        raise SystemExit("no")

    with Tester(bot) as tester, pytest.raises(SystemExit):
        tester.message("Hello")


def test_files_are_downloaded(tmp_path: Path) -> None:
    bot = Bot()

    @bot.on_message(kind="document")
    async def keep(message: Message) -> None:
        file = await message.download()
        assert (file.data, file.path) == (b"content", None)
        file = await message.download(tmp_path / "here")
        assert file.data == b"content"
        await message.reply(str(file.path))

    @bot.on_message(kind="image")
    def keep_plainly(message: Message) -> None:
        assert message.download().data == b"content"

    with Tester(bot) as tester:
        assert tester.message("", kind="document", file=b"content").replies == [str(tmp_path / "here")]
        assert tester.message("", kind="image", file=b"content").result == "done"
        assert [path.name for path in tmp_path.iterdir()] == ["here"]
        with pytest.raises(ActionError):
            tester.message("", kind="document", media=None)


def test_a_result_must_be_awaited_before_it_is_read() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        with pytest.raises(RuntimeError, match="await it first"):
            _ = message.reply("Hello").id

    with Tester(bot) as tester:
        tester.message("Hello")


def test_a_function_that_returns_a_coroutine_is_awaited() -> None:
    bot = Bot()

    async def reply(message: Message) -> None:
        await message.reply("Hello")

    bot.on_message()(lambda message: reply(message))
    with Tester(bot) as tester:
        assert tester.message("Hello").replies == ["Hello"]


def test_all_that_is_sent_is_written_down(tmp_path: Path) -> None:
    bot = Bot()
    (tmp_path / "cat.jpg").write_bytes(b"a cat")

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply(Image(tmp_path / "cat.jpg", "A cat"), tag="t")
        await message.reply(Document(link="https://example.com/bill.pdf", name="bill.pdf"), quote=False)
        text = await message.reply("first")
        await text.edit("second")
        await text.react("\N{THUMBS UP SIGN}")
        await text.revoke()
        await bot.send("sales", "+4915100003", Poll("When?", ["Now", "Later"]))
        if message.attempt == 1:
            raise Retry(after=1)

    with Tester(bot) as tester:
        handled = tester.message("Hello")
        image, bill, text, poll = handled.did.sent
        assert (image.kind, image.file, image.message["caption"]) == ("image", b"a cat", "A cat")
        assert (image.account, image.message["tag"], bill.message["reply_to"]) == ("support", "t", None)
        assert (bill.file, bill.message["link"]) == (None, "https://example.com/bill.pdf")
        assert (poll.account, poll.chat) == ("sales", "+4915100003")
        assert (handled.replies, text.kind) == (["first"], "text")
        assert handled.did.edits == [("3EB0B3", "second")]
        assert (handled.did.revoked, handled.did.reactions) == (
            ["3EB0B3"],
            [("3EB0B3", "\N{THUMBS UP SIGN}")],
        )
        handled.again()
        assert not handled.did.sent
        assert handled.did.edits == [("3EB0B3", "second")], "this can be done twice"


def test_what_a_bot_finds_out_is_what_the_test_says() -> None:
    bot = Bot()
    group = {"id": "120363000000000001@g.us", "subject": "Friends", "member_count": 2}
    member = {"id": "1@lid", "phone": "+4915100002", "role": "owner"}

    @bot.on_message()
    def answer(message: Message) -> None:
        groups = bot.groups(message.account)
        (one,) = groups.list().value
        whole = groups.get(one.id).value
        (changed,) = groups.remove(one.id, "+4915100002").value
        message.reply(f"{one.subject} {one.member_count} {whole.members[0].role} {changed.code}")
        message.mark_read()

    with Tester(bot) as tester:
        tester.answer("groups", {"groups": [group], "groups_left_out": 0})
        tester.answer("group", {"group": {**group, "members": [member]}})
        tester.answer("group_members", {"members": [{**member, "done": False, "code": 403}]})
        handled = tester.message("Hello")
    assert handled.replies == ["Friends 2 owner 403"]
    assert [one["kind"] for one in handled.did.asked] == ["groups", "group", "group_members"]


def test_a_message_that_could_never_be_sent_fails_in_a_test_too() -> None:
    bot = Bot()

    @bot.on_message()
    def answer(message: Message) -> None:
        message.reply(Poll("When?", ["Now"]))

    with Tester(bot, raises=False) as tester:
        error = tester.message("Hello").error
    assert isinstance(error, ActionError)
    assert (error.key, str(error)) == (
        "bad_request",
        "a poll takes name, and two options or more that differ",
    )


@pytest.mark.parametrize("make", [Image, Voice])
def test_a_file_or_a_link_is_sent(make: Callable[..., object]) -> None:
    for arguments in ({}, {"file": b"x", "link": "https://example.com/x"}):
        with pytest.raises(ValueError, match="either a file or a link"):
            make(**arguments)
    assert NEEDLE not in repr(make(NEEDLE.encode()))


def test_only_a_text_has_mentions_beside_it() -> None:
    bot = Bot()

    @bot.on_message()
    def answer(message: Message) -> None:
        message.reply(Location(1, 2), mentions=["+4915100003"])

    with Tester(bot) as tester, pytest.raises(ValueError, match="only a text has mentions"):
        tester.message("Hello")


def test_a_status_says_of_which_message() -> None:
    bot = Bot()
    seen: list[object] = []

    @bot.on_status()
    def see(status: Status) -> None:
        seen.extend([status.row, status.tag, status.code, status.why])

    with Tester(bot) as tester:
        tester.status("M", "failed", row=7, tag="order 17", code=463, why="WhatsApp refuses it")
        tester.status("M", "read", row=True)
    assert seen == [7, "order 17", 463, "WhatsApp refuses it", None, None, None, None]


def test_nothing_can_be_sent_by_a_bot_that_does_not_run() -> None:
    with pytest.raises(RuntimeError, match="does not run"):
        Bot().send("support", "+4915100002", "Hello")


@pytest.mark.parametrize(
    "arguments", [{"kind": "picture"}, {"kind": []}, {"account": ""}, {"chat": [1]}], ids=str
)
def test_what_can_never_match_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="can never be"):
        Bot().on_message(**arguments)


def test_what_is_printed_has_no_text_name_or_number() -> None:
    bot = Bot()
    seen: list[str] = []

    @bot.on_event()
    def see(event: Event) -> None:
        assert isinstance(event, Message)
        seen.extend(map(repr, (event, event.chat, event.sender, event.media, event.reply_to)))

    with Tester(bot) as tester:
        tester.message(
            NEEDLE,
            kind="document",
            name=NEEDLE,
            phone="+49123456789",
            file_name=NEEDLE,
            reply_to={"id": "M", "sender": "49123456789@lid"},
        )
    assert seen[0] == "<Message evt_support_1 message.received>"
    assert not [one for one in seen if NEEDLE in one or "49123456789" in one]


def test_odd_events_are_taken_as_they_are() -> None:
    bot = Bot()
    seen: list[Event] = []
    bot.on_event("*")(seen.append)
    with Tester(bot) as tester:
        for kind in ("message.received", "message.edited", "message.reaction", "message.status", "new.type"):
            values: list[Any] = [None, 7, "x", [], {}]
            for value in values:
                tester.event(kind, id=value, chat=value, sender=value, timestamp=value, media=value,
                             text=value, reply_to=value, mentions=value, reaction=value, status=value,
                             recipient=value)  # fmt: skip
    assert len(seen) == 25


def test_a_tester_leaves_nothing_open() -> None:
    bot = Bot()

    @bot.on_message()
    async def answer(message: Message) -> None:
        await message.reply("Hello")

    assert Tester(bot).message("Hello").replies == ["Hello"]  # as users write it; warnings are errors here
    gc.collect()
