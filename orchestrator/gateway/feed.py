"""The feed: what happened to the accounts and came in for them, as rendered events.

Messages are read and rendered by the reader (`gateway.reader`), a process of its own, for strangers have
written them. News of the accounts themselves come from their histories, which the service keeps.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.accounts import acts
from orchestrator.accounts.attachments import is_id
from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.consumers import lifecycle
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, NotRunning, OrchestratorError
from orchestrator.gateway.files import Files, OpenMedia
from orchestrator.gateway.news import News
from orchestrator.gateway.parent import GATEWAY, Who
from orchestrator.gateway.reader import wire
from orchestrator.gateway.reader.client import FeedError, ReaderClient
from orchestrator.gateway.reader.maker import ReaderHandle
from orchestrator.gateway.reader.wire import Ask, Item, WireError
from orchestrator.store import inboxes

log = logging.getLogger(__name__)

__all__ = ("Batch", "Feed", "FeedError", "OpenMedia", "Rendered", "Stream")

Json: TypeAlias = dict[str, Any]
Stream: TypeAlias = Literal["messages", "account"]
"""What is numbered by itself: what came in for an account, or what happened to it."""
MOST: Final = 500
"""Events of one batch."""
REMEMBERED: Final = 1000
"""Attachments of which it is remembered whose they are."""
Heard: TypeAlias = Callable[[str, Stream], None]
"""Takes the account and the stream that has something new; it returns at once."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An event, ready to be handed on.

    Attributes:
        id: What it is known by, the same on every try and for every consumer.
        type: Such as ``message.received``.
        account: The account's name.
        stream: Where it is from.
        seq: Its number within the account and the stream.
        lane: The chat, within which events are in order; empty for those of an account.
        at: When it was stored, in Unix seconds.
        body: The event in JSON, in ASCII, of at most `form.MAX_EVENT` bytes. It is the same bytes each time.
    """

    id: str
    type: str
    account: str
    stream: Stream
    seq: int
    lane: str = field(repr=False)
    at: float
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events in order.

    Attributes:
        events: They; none if there is nothing new, or what is new says nothing to anybody.
        last: The number up to which was looked: the next batch begins after it.
        more: Whether there is more already.
    """

    events: tuple[Rendered, ...]
    last: int
    more: bool


class Service(Protocol):
    """What is needed of the service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Who | Principal, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401
        """Ask for something and return the answer."""


class Feed:
    """The events of all accounts.

    Args:
        messages: The folder of all messages, ``STATE/messages``.
        reader: The process that reads them.
        service: The service, which keeps the accounts' histories and has attachments fetched.
        stored: Whether messages are in a database, and not in that folder.

    Attributes:
        reader: Reads messages.
    """

    def __init__(
        self, messages: Path, reader: ReaderHandle, service: Service, *, stored: bool = False
    ) -> None:
        self._messages = messages
        self._stored = stored
        self._service = service
        self.reader = ReaderClient(reader, self._tell, hand_on=self._hand_on)
        self._handing: set[asyncio.Task[None]] = set()
        self._news = News(
            messages,
            reader.watch,
            self.accounts,
            lambda account: self._tell(account, "messages"),
            stored=stored,
        )
        self._files = Files(messages)
        self._accounts: dict[str, tuple[object, ...]] = {}  # and what is new if it changes
        self._listeners: dict[object, Heard] = {}
        self._owners: dict[str, str] = {}  # of attachments
        self._searching = asyncio.Lock()

    async def run(self) -> None:
        """Listen for news until cancelled; without it, nothing is heard and nothing can be read.

        Raises:
            ReaderGone: Nothing can be read any more.
        """
        parts = [asyncio.ensure_future(part) for part in (self.reader.run(), self._news.run())]
        try:
            await asyncio.gather(*parts)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def _hand_on(self, sock: socket.socket) -> None:
        """Have the service answer a reader, which has no files to read."""
        task = asyncio.get_running_loop().create_task(self._give(sock))
        self._handing.add(task)
        task.add_done_callback(self._handing.discard)

    async def _give(self, sock: socket.socket) -> None:
        with sock:
            try:
                await self._service.ask(GATEWAY, "read_messages", fds=[sock.fileno()])
            except OrchestratorError as error:
                log.warning("messages cannot be read now: %s", error)

    async def close(self) -> None:
        """End the reader."""
        self.reader.close()

    # What there is

    def changed(self, views: Iterable[AccountView], gone: Iterable[str] = ()) -> None:
        """Take in what the service tells of accounts: which there are, and whether something has happened.

        Args:
            views: Accounts that are new or have changed.
            gone: Names of accounts that are gone.
        """
        left = [name for name in gone if self._accounts.pop(name, None) is not None]
        for view in views:
            known = self._accounts.get(view.name)
            # What is told of an account's history, and not what only its row shows.
            now = (
                view.state, view.since, view.reason, view.kind, view.attempt, view.phone_unlinks_at,
                view.restricted, view.restricted_until,
            )  # fmt: skip
            self._accounts[view.name] = now
            if known is None:
                self._tell(view.name)
            if known != now:
                self._tell(view.name, "account")
        self.reader.keep(self.accounts())
        for name in left:
            if name not in self._accounts:
                self._tell(name)

    def accounts(self) -> frozenset[str]:
        """Return the names of the accounts, as the service last told them."""
        return frozenset(self._accounts)

    def knows(self, account: str) -> bool:
        """Tell whether there is an account, as the service last told."""
        return account in self._accounts

    def renamed(self, account: str) -> str | None:
        """Return the name that an account has now which had this name before, None if that is not known.

        Cursors move with it: the numbers go on under the new name. It is known of accounts that have had an
        inbox.
        """
        names = [account]  # it may have been renamed more than once since anybody looked
        while is_name(names[-1]):
            new = inboxes.renamed(self._messages / names[-1])
            if new is None or new in names:
                break
            names.append(new)
        return names[-1] if len(names) > 1 else None

    def is_put_away(self, account: str) -> bool:
        """Tell whether an account's messages are in quarantine or deleted; they are not in a rename."""
        return is_name(account) and inboxes.is_put_away(self._messages / account)

    def are_elsewhere(self, account: str) -> bool:
        """Tell whether an account's messages are under another name by now, or on their way there."""
        return not self._stored and is_name(account) and inboxes.are_elsewhere(self._messages / account)

    def watch(self, heard: Heard) -> Callable[[], None]:
        """Have something called whenever a stream may have something new; return what ends that.

        It is called from the event loop, too often rather than too seldom: also where nothing is new, and
        when an account is gone.
        """
        key = object()
        self._listeners[key] = heard

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    def _tell(self, account: str, stream: Stream = "messages") -> None:
        for heard in [*self._listeners.values()]:
            heard(account, stream)

    # Events

    async def after(
        self, account: str, stream: Stream, seq: int, limit: int, chat: str | None = None
    ) -> Batch:
        """Return the events after a number, in order.

        Args:
            account: The account.
            stream: Where they are from.
            seq: The number; 0 for all that is kept.
            limit: How many at most. There can be fewer although there is more, also none.
            chat: Only those of one chat; of the stream ``messages``.

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: They cannot be read now.
        """
        _check(account)
        limit = max(1, min(limit, MOST))
        if not 0 <= seq < wire.MOST or (chat is not None and (stream == "account" or not wire.is_lane(chat))):
            return Batch((), seq, more=False)
        if stream == "account":
            return await self._happenings(account, seq, limit)
        answer = await self.reader.ask(Ask("after", account, seq, limit, chat))
        try:
            return Batch(tuple(_rendered(account, item) for item in answer.items), answer.last, answer.more)
        except WireError as error:
            raise FeedError(f"the messages of {account} cannot be handed on: an answer {error}") from None

    async def newest(self, account: str, stream: Stream) -> int:
        """Return the highest number that was given, 0 if none was.

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: It cannot be read now.
        """
        _check(account)
        if stream == "messages":
            return (await self.reader.ask(Ask("newest", account))).last
        return _number((await self._history(account, 0, 1)).get("newest"))

    async def one(self, account: str, stream: Stream, seq: int) -> Rendered | None:
        """Return the event of a number, None if it is not kept any more.

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: It cannot be read now.
        """
        if seq <= 0:
            return None
        batch = await self.after(account, stream, seq - 1, 1)
        return next((event for event in batch.events if event.seq == seq), None)

    async def chat_of(self, account: str, message: str) -> str | None:
        """Return the address of the chat of a stored message, None if there is no such message.

        Args:
            account: The account.
            message: The message's identifier.

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: It cannot be looked up now.
        """
        _check(account)
        if not acts.MESSAGE.fullmatch(message):
            return None
        about = (await self.reader.ask(Ask("chat", account, message=message))).about
        chat = None if about is None else about.get("chat")
        return chat if isinstance(chat, str) and wire.is_lane(chat) else None

    async def _happenings(self, account: str, seq: int, limit: int) -> Batch:
        reply = await self._history(account, seq, limit)
        entries = [one for one in reply.get("entries", ()) if isinstance(one, dict)]
        last = max([seq, *(_number(entry.get("n")) for entry in entries)])
        found = [
            happening for entry in entries if (happening := lifecycle.render(account, entry)) is not None
        ]
        events = tuple(
            Rendered(one.id, one.type, account, "account", one.number, "", one.at, one.body) for one in found
        )
        return Batch(events, last, more=len(entries) >= limit)

    async def _history(self, account: str, seq: int, limit: int) -> Json:
        try:
            return await self._service.ask(GATEWAY, "history", name=account, after=seq, limit=limit)
        except NoSuchAccount:
            return {}
        except OrchestratorError as error:
            key = "not_running" if isinstance(error, NotRunning) else "failed"
            raise FeedError(f"the history of {account} cannot be read now: {error}", key=key) from None

    # Attachments

    async def media(self, account: str, media_id: str, asker: Who | Principal) -> OpenMedia:
        """Open the file of a message, and have it fetched first if it is not there.

        Args:
            account: The account.
            media_id: The attachment's identifier.
            asker: For whom: the service checks again whether that one may have it.

        Raises:
            OrchestratorError: It cannot be had; the key says why, ``media_pending`` that it is on its way.
        """
        about = await self._about(account, media_id)
        if about is None:
            raise _unknown()
        try:
            return await self._files.open(account, media_id, about)
        except FileNotFoundError:
            await self._service.ask(asker, "media", name=account, media=media_id)
        try:
            return await self._files.open(account, media_id, about)
        except FileNotFoundError:
            raise OrchestratorError("the attachment was there and is gone", key="media_expired") from None

    async def find_media(self, media_id: str, accounts: Collection[str]) -> tuple[str, Json]:
        """Find whose an attachment is.

        Args:
            media_id: Its identifier.
            accounts: The accounts that may have it.

        Returns:
            The account, and what the event says of the attachment.

        Raises:
            OrchestratorError: None of them has it.
            FeedError: None of those that can be read has it.
        """
        if not is_id(media_id):
            raise _unknown()
        async with self._searching:  # whoever tries identifiers holds up others by one question at a time
            return await self._search(media_id, accounts)

    async def _search(self, media_id: str, accounts: Collection[str]) -> tuple[str, Json]:
        owner = self._owners.get(media_id)
        trouble: FeedError | None = None
        first = [owner] if owner is not None and owner in accounts else []
        for account in dict.fromkeys([*first, *self._files.holders(media_id, accounts), *sorted(accounts)]):
            try:
                about = await self._about(account, media_id)
            except FeedError as error:
                trouble = error
                continue
            if about is not None:
                self._owners[media_id] = account
                while len(self._owners) > REMEMBERED:
                    del self._owners[next(iter(self._owners))]
                return account, about
        raise trouble or _unknown()

    async def _about(self, account: str, media_id: str) -> Json | None:
        """Return what an event says of an attachment, None if no event has it."""
        if not (is_id(media_id) and is_name(account)):
            return None
        return (await self.reader.ask(Ask("media", account, media=media_id))).about


def _rendered(account: str, item: Item) -> Rendered:
    text = wire.body(account, item)
    name = f"evt_{account}_{item.seq}"
    return Rendered(name, item.type, account, "messages", item.seq, item.lane, item.at, text)


def _check(account: str) -> None:
    if not is_name(account):
        raise no_such_account(account)


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value <= wire.MOST else 0


def _unknown() -> OrchestratorError:
    return OrchestratorError("no stored message has this attachment", key="media_unknown")
