"""What a handler asks for, and how it gets the answer: by ``await``, or at once in a plain function.

Whatever is asked for has begun when the method returns. In a thread without an event loop, the method also
waits for the end. So one method serves both kinds of handlers, and a forgotten ``await`` loses no reply.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Generic, Protocol, Self, TypeAlias, TypeVar

from orchestrator.bots.contents import Content, Source, file_of
from orchestrator.bots.errors import ActionError
from orchestrator.errors import OrchestratorError

Json: TypeAlias = dict[str, Any]

TYPING_SECONDS: Final = 10.0
"""How often "typing" is shown anew. WhatsApp's clients show it for some 25 s (measured with a phone)."""


class Link(Protocol):
    """The way to the service, used in the bot's event loop."""

    async def send(
        self,
        account: str,
        message: Json,
        event: str | None,
        place: int | None,
        *,
        file: Source = None,
        file_name: str | None = None,
        expires: float | None = None,
    ) -> Json:
        """Have an account send something, and return its row in the outbox.

        Args:
            account: The account.
            message: What is sent, as docs/sending.md has it, without its file.
            event: The event that is handled, None outside of handlers.
            place: Which message of the event's handler to that chat it is, from 0 on; None for what may be
                sent twice.
            file: Its file: bytes, or where it is.
            file_name: What the file is called.
            expires: After how many seconds it is not sent any more.

        Raises:
            OrchestratorError: It was not sent.
        """
        ...

    async def act(self, account: str, action: Json) -> Json:
        """Have an account do something at once, and return what came of it.

        Args:
            account: The account.
            action: What it does, as docs/protocol.md has it.

        Raises:
            OrchestratorError: It was not done.
        """
        ...

    def media(self, account: str, media: str) -> AsyncIterator[bytes]:
        """Yield a file of a message, piece by piece.

        Raises:
            OrchestratorError: There is none, or it cannot be fetched.
        """
        ...


class _Action:
    """Something that was asked for."""

    __slots__ = ("_asked", "_observed")

    def __init__(self, asked: Future[Any]) -> None:
        self._asked = asked
        self._observed = False

    @property
    def done(self) -> bool:
        """Whether it is over."""
        return self._asked.done()

    def _wait(self) -> Generator[Any, None, None]:
        self._observed = True
        yield from self._end().__await__()

    def _end(self) -> asyncio.Future[Any]:
        """Return what ends with it. A handler that is canceled does not take back what is on its way."""
        ends = asyncio.wrap_future(self._asked)
        # Nobody is left to be told of an error if the handler was canceled.
        ends.add_done_callback(lambda one: one.cancelled() or one.exception())
        return asyncio.shield(ends)

    def _result(self) -> Any:  # noqa: ANN401 - whatever was asked for
        if not self._asked.done():
            raise RuntimeError("await it first: it is not over yet")
        self._observed = True
        return self._asked.result()

    async def settle(self) -> None:
        """Wait for the end.

        Raises:
            ActionError: It was not done, and the handler does not know.
        """
        try:
            await self._end()
        except ActionError:
            if not self._observed:
                raise


_A = TypeVar("_A", bound=_Action)
_T = TypeVar("_T")


class Done(_Action, Awaitable["Done"]):
    """Something without a result."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._wait()
        return self


class Answer(_Action, Awaitable["Answer[_T]"], Generic[_T]):
    """What was found out."""

    __slots__ = ("_read",)

    def __init__(self, asked: Future[Any], read: Callable[[Json], _T]) -> None:
        super().__init__(asked)
        self._read = read

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._wait()
        return self

    @property
    def value(self) -> _T:
        """It.

        Raises:
            RuntimeError: It is not over: a coroutine must await it first.
            ActionError: It could not be found out.
        """
        return self._read(self._result())


class Sent(_Action, Awaitable["Sent"]):
    """A message or a reaction that was sent, or is on its way."""

    __slots__ = ("_account", "_chat", "_turn")

    def __init__(self, asked: Future[Any], turn: Turn, account: str, chat: str) -> None:
        super().__init__(asked)
        self._turn, self._account, self._chat = turn, account, chat

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._wait()
        return self

    def __repr__(self) -> str:
        # Never the message: what is printed reaches the log. To look is not to know of a failure.
        if not self._asked.done():
            return "<Sent: not over yet>"
        if self._asked.cancelled() or self._asked.exception() is not None:
            return "<Sent: not sent>"
        return f"<Sent: row {self._asked.result().get('row')}, {self._asked.result().get('state')}>"

    @property
    def id(self) -> str | None:
        """WhatsApp's id of it, by which `Status` names it. None if that is not known, or not yet.

        Raises:
            RuntimeError: It is not over: a coroutine must await it first.
            ActionError: It was not sent.
        """
        found = self._result().get("id")
        return found if isinstance(found, str) else None

    @property
    def row(self) -> int | None:
        """Its row in the outbox, by which `Status` names it, too. Raises the same errors as `id`."""
        found = self._result().get("row")
        return found if isinstance(found, int) else None

    @property
    def state(self) -> str:
        """How far it has come: sent; queued, sending or unknown if it is still on its way.

        Raises the same errors as `id`.
        """
        return str(self._result().get("state", "unknown"))

    def edit(self, text: str, *, mentions: Sequence[str] = ()) -> Sent:
        """Put another text in its place.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.edit(self._account, self._chat, self._known, text, mentions=mentions)

    def revoke(self) -> Sent:
        """Delete it for everyone.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.revoke(self._account, self._chat, self._known)

    def react(self, emoji: str) -> Sent:
        """React to it.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.react(self._account, self._chat, self._known, emoji)

    @property
    def _known(self) -> str:
        if self.id is None:
            raise ActionError("the message is still on its way: its id is not known yet", "message_unknown")
        return self.id


class File(_Action, Awaitable["File"]):
    """The file of a message."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._wait()
        return self

    @property
    def data(self) -> bytes:
        """Its content.

        Raises:
            RuntimeError: It is not over: a coroutine must await it first.
            ActionError: It could not be fetched.
        """
        found: bytes | Path = self._result()
        return found.read_bytes() if isinstance(found, Path) else found

    @property
    def path(self) -> Path | None:
        """Where it was written, None if it is in memory. Raises the same errors as `data`."""
        found: bytes | Path = self._result()
        return found if isinstance(found, Path) else None


class Typing(_Action, Awaitable["Typing"]):
    """The account is shown as typing, as long as the block takes if it is used as a context manager."""

    __slots__ = ("_account", "_again", "_chat", "_turn")

    def __init__(self, asked: Future[Any], turn: Turn, account: str, chat: str) -> None:
        super().__init__(asked)
        self._turn, self._account, self._chat = turn, account, chat
        self._again: Future[None] | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._wait()
        return self

    def __enter__(self) -> Self:
        self._again = self._turn.begin(self._keep_on())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._again is not None:
            self._again.cancel()
            self._turn.begin(self._turn.show(self._account, self._chat, "paused"))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(TYPING_SECONDS)
            await self._turn.show(self._account, self._chat, "typing")


class Turn:
    """One attempt to handle an event. It knows what was asked for in it.

    Args:
        link: The way to the service.
        loop: The bot's event loop.
        event: The event's id, None outside of handlers.
        attempt: Which attempt it is, from 1 on.
    """

    def __init__(
        self, link: Link, loop: asyncio.AbstractEventLoop, event: str | None = None, attempt: int = 1
    ) -> None:
        self.attempt = attempt
        self._link = link
        self._loop = loop
        self._event = event
        self._places: Counter[tuple[str, str]] = Counter()
        self._asked: list[_Action] = []

    # What can be asked for

    def send(
        self,
        account: str,
        to: str,
        content: str | Content,
        *,
        reply_to: str | None = None,
        mentions: Sequence[str] = (),
        link_preview: bool = False,
        tag: str | None = None,
        expires: float | None = None,
    ) -> Sent:
        """Send something; see `Sender.send`."""
        if isinstance(content, str):
            what = {"kind": "text", "text": content, "mentions": [*mentions], "link_preview": link_preview}
        elif mentions or link_preview:
            raise ValueError("only a text has mentions and a link preview; a file has mentions of its own")
        else:
            what = content.as_json()
        place = self._places[account, to]
        self._places[account, to] += 1
        message = {"to": to, **what, "reply_to": reply_to, "tag": tag}
        return self._sent(account, message, place, content, expires)

    def react(self, account: str, chat: str, message: str, emoji: str) -> Sent:
        """React to a message; see `Message.react`."""
        return self._sent(account, {"to": chat, "kind": "reaction", "message": message, "emoji": emoji})

    def edit(self, account: str, chat: str, message: str, text: str, *, mentions: Sequence[str] = ()) -> Sent:
        """Put another text in the place of one that was sent; see `Sent.edit`."""
        what = {"kind": "edit", "message": message, "text": text, "mentions": [*mentions]}
        return self._sent(account, {"to": chat, **what})

    def revoke(self, account: str, chat: str, message: str) -> Sent:
        """Delete a message for everyone; see `Sent.revoke`."""
        return self._sent(account, {"to": chat, "kind": "revocation", "message": message})

    def mark_read(self, account: str, chat: str, messages: Sequence[str]) -> Done:
        """Mark messages as read; see `Message.mark_read`."""
        message = {"to": chat, "kind": "read", "messages": [*messages]}
        return self._ask(Done(self.begin(self._send(account, message, None, "", None))))

    def find_out(self, account: str, action: Json, read: Callable[[Json], _T]) -> Answer[_T]:
        """Have an account do something at once, and return what came of it, as `read` reads it."""
        return self._ask(Answer(self.begin(self._do(account, action)), read))

    def typing(self, account: str, chat: str) -> Typing:
        """Show that the account is typing; see `Message.typing`."""
        return self._ask(Typing(self.begin(self.show(account, chat, "typing")), self, account, chat))

    def download(self, account: str, media: str | None, to: str | Path | None) -> File:
        """Fetch a file; see `Message.download`."""
        return self._ask(File(self.begin(self._fetch(account, media, None if to is None else Path(to)))))

    # How

    async def settle(self) -> None:
        """Wait for everything that was asked for.

        Raises:
            ActionError: Something was not done, and the handler does not know.
        """
        while self._asked:
            await self._asked.pop(0).settle()

    async def show(self, account: str, chat: str, state: str) -> None:
        """Show in a chat what the account does. Nothing depends on it, so it never fails."""
        action = {"kind": "typing", "chat": chat, "state": state}
        with contextlib.suppress(OrchestratorError):
            await self._link.act(account, action)

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin something in the bot's event loop, from whatever thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _ask(self, action: _A) -> _A:
        self._asked.append(action)
        if not _has_loop():
            action._observed = True  # noqa: SLF001 - ours: the caller gets the error now
            action._asked.result()  # noqa: SLF001
        return action

    def _sent(
        self,
        account: str,
        message: Json,
        place: int | None = None,
        content: str | Content = "",
        expires: float | None = None,
    ) -> Sent:
        asked = self.begin(self._send(account, message, place, content, expires))
        return self._ask(Sent(asked, self, account, message["to"]))

    async def _send(
        self, account: str, message: Json, place: int | None, content: str | Content, expires: float | None
    ) -> Json:
        file, name = file_of(content)
        with _as_action_error():
            return await self._link.send(
                account, message, self._event, place, file=file, file_name=name, expires=expires
            )

    async def _do(self, account: str, action: Json) -> Json:
        with _as_action_error():
            return await self._link.act(account, action)

    async def _fetch(self, account: str, media: str | None, to: Path | None) -> bytes | Path:
        if media is None:
            raise ActionError("the message has no file that can be fetched", "media_unknown")
        with _as_action_error():
            pieces = self._link.media(account, media)
            if to is None:
                return b"".join([piece async for piece in pieces])
            return await _write(pieces, to)


async def _write(pieces: AsyncIterator[bytes], to: Path) -> Path:
    """Write a file whole or not at all, in the event loop: a piece takes no time worth a thread."""
    part = to.with_name(f".{to.name[:200]}.part")
    file: IO[bytes]
    try:
        with part.open("wb") as file:
            async for piece in pieces:
                file.write(piece)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return to


present: ContextVar[Turn | None] = ContextVar("present", default=None)
"""The turn of the handler that runs."""


def of_event(raw: Mapping[str, Any], link: Link, loop: asyncio.AbstractEventLoop, attempt: int) -> Turn:
    """Return the turn for an event."""
    return Turn(link, loop, str(raw.get("id", "")), attempt)


@contextlib.contextmanager
def _as_action_error() -> Iterator[None]:
    try:
        yield
    except OrchestratorError as error:
        raise ActionError(str(error), error.key) from None


def _has_loop() -> bool:
    """Tell whether this thread can await."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
