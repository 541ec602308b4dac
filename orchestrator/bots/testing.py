"""Tests bots without WhatsApp and without the service.

    from orchestrator.bots.testing import Tester
    from my_bot import bot

    def test_answer() -> None:
        assert Tester(bot).message("Hello").replies == ["You said Hello"]

In a coroutine, the same methods are awaited: ``handled = await tester.message("Hello")``.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from orchestrator.bots import actions
from orchestrator.bots.bot import Bot
from orchestrator.bots.contents import Source
from orchestrator.bots.events import Delivery, Kind
from orchestrator.bots.runner import SECONDS, Result, Runner
from orchestrator.errors import OrchestratorError
from orchestrator.sending import asks, wire

ACCOUNT: Final = "support"
"""The account that events come from, unless a test says something else."""
PHONE: Final = "+4915100002"
_LID: Final = "269139479534551@lid"
_GROUP: Final = "120363000000000001@g.us"
_TIME: Final = "2026-11-28T10:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that the bot sent.

    Attributes:
        account: From which account.
        chat: To which chat: an address, or a number with +.
        text: The text.
        reply_to: The id of the message that it answers, None for none.
        mentions: Whom it mentions.
    """

    account: str
    chat: str
    text: str
    reply_to: str | None = None
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """Anything that the bot sent to a chat.

    Attributes:
        account: From which account.
        chat: To which chat: an address, or a number with +.
        kind: What it is, such as "text", "image" or "poll".
        message: All that it says, as docs/sending.md has it.
        file: Its file.
    """

    account: str
    chat: str
    kind: str
    message: Mapping[str, Any]
    file: bytes | None = None


@dataclass(slots=True)
class Did:
    """What the bot did.

    Attributes:
        texts: The texts that it sent, in order.
        sent: All that it sent, texts and others, in order.
        edits: Ids of messages with the texts that it put in their place.
        revoked: Ids of messages that it deleted.
        reactions: Ids of messages with the emojis that it put there.
        read: Ids of messages that it marked as read.
        typing: What it showed: "typing" and "paused".
        asked: What else it asked for, such as ``{"kind": "groups"}``.
    """

    texts: list[Text] = field(default_factory=list)
    sent: list[Posted] = field(default_factory=list)
    edits: list[tuple[str, str]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    typing: list[str] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)


class Handled(Awaitable["Handled"]):
    """An event that was fed to the bot, and what the bot did in the last attempt.

    Attributes:
        did: What it did.
        result: "done", "ignored" (no handler matches), "rejected", or "failed" (it is brought again).
        handler: The name of the handler.
        retry_after: What `Retry` asked for.
        error: What the handler raised.
    """

    def __init__(self, tester: Tester, raw: Mapping[str, Any]) -> None:
        self._tester = tester
        self._raw = raw
        self._next = 1
        self._is_over = False
        self.did = Did()
        self.result: Result = "failed"
        self.handler = ""
        self.retry_after: float | None = None
        self.error: BaseException | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        if not self._is_over:
            yield from self._try().__await__()
        return self

    @property
    def replies(self) -> list[str]:
        """The texts that it sent."""
        return [one.text for one in self.did.texts]

    def again(self) -> Handled:
        """Bring the same event again, as after a failure. What was sent then is not sent twice."""
        self._next += 1
        self._is_over = False
        return self._tester.run(self)

    async def _try(self) -> None:
        self._is_over = True
        self.did = Did()
        await self._tester.attempt(self, self._raw, self._next)


class Tester:
    """Feeds events to a bot. Its event loop ends with it, or with the block if it is a context manager.

    Args:
        bot: The bot.
        raises: Whether what a handler raises is raised in the test, too. `Retry` and `Reject` are not.
        seconds: How long a handler may take.
    """

    __test__ = False  # for pytest
    _runner: asyncio.Runner | None = None

    def __init__(self, bot: Bot, *, raises: bool = True, seconds: float = SECONDS) -> None:
        self._bot = bot
        self._raises = raises
        self._seconds = seconds
        self._events = itertools.count(1)
        self._ids = itertools.count(1)
        self._link = _Link()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the event loop that was made for plain tests."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    # What happens

    def message(
        self,
        text: str = "",
        *,
        kind: Kind = "text",
        phone: str = PHONE,
        name: str = "Ada",
        group: str | None = None,
        account: str = ACCOUNT,
        from_me: bool = False,
        file: bytes | None = None,
        file_name: str | None = None,
        mime_type: str | None = None,
        **data: object,
    ) -> Handled:
        """Have somebody write.

        Args:
            text: The text, or the caption of a file.
            kind: What the message is.
            phone: Who writes.
            name: What the person calls itself.
            group: The address of the group in which the person writes, None for a direct chat.
            account: To which account.
            from_me: Whether the account's own phone writes.
            file: The file of the message.
            file_name: What the sender calls it.
            mime_type: What the sender says of its type.
            data: More fields of the event's `data`, such as `location`.
        """
        return self._feed("message.received", account, {
            **self._about(phone, name, group, from_me=from_me),
            **self._content(text, kind, file, file_name, mime_type),
            **data,
        })  # fmt: skip

    def edit(self, text: str, *, phone: str = PHONE, account: str = ACCOUNT, **data: object) -> Handled:
        """Have somebody edit a message; the arguments are those of `message`."""
        return self._feed("message.edited", account, {
            **self._about(phone, "Ada", None), **self._content(text, "text", None, None, None),
            "edited": True, "by_author": True, **data,
        })  # fmt: skip

    def reaction(
        self, emoji: str, *, to: str = "3EB0A0", phone: str = PHONE, account: str = ACCOUNT, **data: object
    ) -> Handled:
        """Have somebody react to a message.

        Args:
            emoji: The emoji; empty to take a reaction back.
            to: The id of the message.
            phone: Who reacts.
            account: Of which account.
            data: More fields of the event's `data`.
        """
        about = {**self._about(phone, "Ada", None), "reaction": {"message_id": to, "emoji": emoji}, **data}
        return self._feed("message.reaction", account, about)

    def status(
        self, message: str, status: Delivery, *, phone: str = PHONE, account: str = ACCOUNT, **data: object
    ) -> Handled:
        """Have something become of a message that the account sent.

        Args:
            message: Its id.
            status: How far it has come.
            phone: Whose phone it is on.
            account: Which account.
            data: More fields of the event's `data`.
        """
        about = self._about(phone, "Ada", None)
        said = {"id": message, "chat": about["chat"], "recipient": about["sender"], "timestamp": _TIME}
        return self._feed("message.status", account, {**said, "status": status, **data})

    def event(self, event_type: str, *, account: str = ACCOUNT, **data: object) -> Handled:
        """Have anything happen.

        Args:
            event_type: The event's type.
            account: Of which account.
            data: Its `data`, as docs/messages.md has it.
        """
        return self._feed(event_type, account, data)

    def answer(self, kind: str, answer: Mapping[str, Any]) -> None:
        """Say what the bot gets when it asks for something that has an answer.

        Args:
            kind: What it asks for, as `Did.asked` has it, such as "groups" or "numbers".
            answer: The answer, as docs/protocol.md has it.
        """
        self._link.answers[kind] = dict(answer)

    @contextmanager
    def failing(self, key: str = "not_connected") -> Iterator[None]:
        """Have everything fail that the bot asks for.

        Args:
            key: How: one of the keys of errors, as `ActionError.key` has it.
        """
        self._link.failing = key
        try:
            yield
        finally:
            self._link.failing = None

    # How

    def run(self, handled: Handled) -> Handled:
        """Handle an event now, or, in a coroutine, when it is awaited."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._runner is None:
                self._runner = asyncio.Runner()
            self._runner.run(_awaited(handled))
        return handled

    async def attempt(self, handled: Handled, raw: Mapping[str, Any], attempt: int) -> None:
        """Handle an event once, and write down what came of it."""
        self._link.did = handled.did
        outcome = await Runner(self._bot, self._link, seconds=self._seconds).handle(raw, attempt)
        handled.result, handled.handler = outcome.result, outcome.handler
        handled.retry_after, handled.error = outcome.retry_after, outcome.error
        is_failure = outcome.result == "failed" and outcome.why != "Retry"
        if self._raises and is_failure and outcome.error is not None:
            raise outcome.error

    def _feed(self, event_type: str, account: str, data: Mapping[str, Any]) -> Handled:
        seq = next(self._events)
        raw = {
            "id": f"evt_{account}_{seq}",
            "type": event_type,
            "timestamp": _TIME,
            "account": account,
            "seq": seq,
            "data": data,
        }
        return self.run(Handled(self, raw))

    def _about(self, phone: str, name: str, group: str | None, *, from_me: bool = False) -> dict[str, Any]:
        digits = "".join(filter(str.isdigit, phone))
        lid = _LID if phone == PHONE else f"{digits}@lid"
        direct = {"id": lid, "type": "direct", "phone": phone, "name": None}
        return {
            "id": f"3EB0A{next(self._ids):X}",
            "chat": {"id": group, "type": "group", "phone": None, "name": "Friends"} if group else direct,
            "sender": {"id": lid, "phone": phone, "name": name},
            "from_me": from_me,
            "timestamp": _TIME,
        }

    def _content(
        self, text: str, kind: str, file: bytes | None, file_name: str | None, mime_type: str | None
    ) -> dict[str, Any]:
        media = None
        if file is not None or kind in ("image", "video", "audio", "voice", "document", "sticker"):
            number = str(next(self._ids))
            content = self._link.files[number] = file or b""
            media = {
                "id": number, "mime_type": mime_type, "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(), "file_name": file_name,
                "caption": text or None, "voice": kind == "voice", "animated": False,
            }  # fmt: skip
        return {
            "kind": kind, "text": None if media else text, "media": media, "reply_to": None, "mentions": [],
            "forwarded": False, "edited": False,
        }  # fmt: skip


async def _awaited(handled: Handled) -> Handled:
    return await handled


class _Link:
    """In the place of the service."""

    def __init__(self) -> None:
        self.did = Did()
        self.failing: str | None = None
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, actions.Json] = {}
        self._sent: dict[tuple[str, str, str, int], actions.Json] = {}
        self._ids = itertools.count(1)

    async def send(
        self,
        account: str,
        message: actions.Json,
        event: str | None,
        place: int | None,
        *,
        file: Source = None,
        file_name: str | None = None,  # noqa: ARG002 - of a real one
        expires: float | None = None,  # noqa: ARG002
    ) -> actions.Json:
        await self._asked()
        # What the service would not take, it does not take here, either.
        to = wire.parse(message if file is None else {**message, "media": "1"}).to
        key = None if event is None or place is None else (event, account, to, place)
        if key is not None and key in self._sent:
            return self._sent[key]
        match message["kind"]:
            case "reaction":
                self.did.reactions.append((message["message"], message["emoji"]))
            case "read":
                self.did.read += message["messages"]
            case "edit":
                self.did.edits.append((message["message"], message["text"]))
            case "revocation":
                self.did.revoked.append(message["message"])
            case kind:
                content = _content(file)
                self.did.sent.append(Posted(account, message["to"], kind, message, content))
                if kind == "text":
                    self.did.texts.append(_text(account, message))
        number = next(self._ids)
        row = {"row": number, "id": f"3EB0B{number:X}", "state": "sent"}
        if key is not None:
            self._sent[key] = row
        return row

    async def act(self, account: str, action: actions.Json) -> actions.Json:  # noqa: ARG002 - of a real one
        await self._asked()
        asks.parse(action)
        if action["kind"] == "typing":
            self.did.typing.append(action["state"])
            return {}
        self.did.asked.append(action)
        return self.answers.get(action["kind"], {})

    async def _asked(self) -> None:
        await asyncio.sleep(0)
        if self.failing is not None:
            raise OrchestratorError(f"the test says {self.failing}", key=self.failing)

    async def media(self, account: str, media: str) -> AsyncIterator[bytes]:  # noqa: ARG002 - of a real one
        if self.failing is not None or media not in self.files:
            raise OrchestratorError("there is no such file", key=self.failing or "media_unknown")
        yield self.files[media]


def _content(file: Source) -> bytes | None:
    return Path(file).read_bytes() if isinstance(file, str | Path) else file


def _text(account: str, message: actions.Json) -> Text:
    return Text(
        account, message["to"], message["text"], message.get("reply_to"), tuple(message.get("mentions", ()))
    )


__all__ = ["ACCOUNT", "PHONE", "Did", "Handled", "Posted", "Tester", "Text"]
