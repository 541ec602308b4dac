"""What bots send. An event that is brought again sends nothing twice: the outbox knows each message by a key.

The key of a message is made of the event, the chat, and its place among the messages of the event's handler
to that chat. So a handler's first message to a chat is the same one in each attempt, whatever it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from orchestrator.access import scopes
from orchestrator.access.scopes import Principal
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.sending import NotSent, Submitted, check, owner_of
from orchestrator.gateway.uploads import Uploads
from orchestrator.sending import asks
from orchestrator.sending.forms import MEDIA, Kind
from orchestrator.sending.media_types import most_bytes
from orchestrator.sending.row import OVER, State

WAIT_SECONDS: Final = 20.0
"""How long a handler waits for the end of a row at most. What is not sent by then is still on its way."""
KEY_DAYS: Final = 35
"""For how many days keys are remembered. Dead letters are kept for 30 days."""
MAX_TRIES: Final = 100
"""Messages that may have failed at one place, one an attempt."""
MAX_KNOWN: Final = 10_000
"""Rows that are remembered of events that are not done."""
_PIECE: Final = 256 * 1024


class Sending(Protocol):
    """What is needed of whoever hands messages to the service: see `gateway.sending.Submitter`."""

    @property
    def uploads(self) -> Uploads:
        """Files that clients have uploaded."""

    def largest(self, account: str, /) -> int:
        """Return how many bytes the largest file of an account may have."""

    async def submit(
        self,
        asker: Principal,
        account: str,
        message: Mapping[str, Any],
        key: str | None = None,
        wait: float = 0.0,
        *,
        expires: float | None = None,
        key_days: int | None = None,
    ) -> Submitted:
        """Have an account send something."""
        ...

    async def act(self, asker: Principal, account: str, action: Mapping[str, Any]) -> Json:
        """Have an account do something at once."""
        ...

    async def look(self, asker: Principal, account: str, action: Mapping[str, Any]) -> Json:
        """Have an account find something out."""
        ...

    async def row(self, account: str, number: int) -> Json:
        """Return a row of an account's outbox."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Which message of an event's handler it is.

    Attributes:
        event: The event's id.
        account: The account that sends it.
        chat: The chat that it is sent to, in the words of the handler.
        place: Which message to that chat it is, from 0 on.
    """

    event: str
    account: str
    chat: str = field(repr=False)
    place: int

    def key(self, number: int) -> str:
        """Return its key; `number` is how many messages have failed at this place before."""
        parts = (self.event, self.account, self.chat, str(self.place), str(number))
        return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class _How:
    """How a message is sent: by whom, from where, which one it is, and for how long."""

    asker: Principal
    account: str
    where: Place | None
    wait: float
    expires: float | None


class BotSends:
    """Has accounts send what one bot asks for.

    Args:
        name: The bot's name.
        sending: Hands messages to the service.
    """

    def __init__(self, name: str, sending: Sending) -> None:
        self._name = name
        self._sending = sending
        self._under_way: dict[Place, asyncio.Task[Json]] = {}
        self._others: set[asyncio.Task[Json]] = set()
        self._rows: dict[str, dict[str, int]] = {}

    async def act(self, account: str, action: object, accounts: frozenset[str] | None) -> Json:
        """Have an account do something at once, or find something out.

        Args:
            account: The account.
            action: What, in the words of `sending.asks`.
            accounts: The accounts of the bot, None for all.

        Raises:
            OrchestratorError: It was not done.
        """
        ask = asks.parse(action)
        do = self._sending.look if asks.changes_nothing(ask) else self._sending.act
        return await do(scopes.bot(self._name, accounts), account, asks.as_json(ask))

    async def send(
        self,
        account: str,
        message: Mapping[str, Any],
        where: Place | None,
        accounts: frozenset[str] | None,
        *,
        wait: float = WAIT_SECONDS,
        file: int | None = None,
        file_name: str | None = None,
        expires: float | None = None,
    ) -> Json:
        """Have an account send a message, and return its row.

        It goes on if the bot's process ends meanwhile. Whoever asks for the same place then gets its end.

        Args:
            account: The account.
            message: The message, in the words of `sending.wire`, but for its file.
            where: Which message of which event it is, None if that may be sent each time.
            accounts: The accounts of the bot, None for all.
            wait: How many seconds to wait for the row's end, at most `WAIT_SECONDS`.
            file: A descriptor of its file, which is owned from now on; None for none.
            file_name: What the file is called.
            expires: After how many seconds it is not sent any more.

        Raises:
            OrchestratorError: It was not sent.
        """
        before = None if where is None else self._under_way.get(where)
        if before is not None:
            _close(file)
            return await asyncio.shield(before)
        wait = min(max(wait, 0.0), WAIT_SECONDS)
        how = _How(scopes.bot(self._name, accounts), account, where, wait, expires)
        work = self._keyed(how, message) if file is None else self._with_file(how, message, file, file_name)
        return await asyncio.shield(self._task(work, where))

    def done(self, event: str) -> None:
        """Forget the rows of an event that is done. Their keys are remembered by the outbox."""
        self._rows.pop(event, None)

    def _task(self, work: Coroutine[Any, Any, Json], where: Place | None) -> asyncio.Task[Json]:
        task = asyncio.get_running_loop().create_task(work)
        self._others.add(task)
        if where is not None:
            self._under_way[where] = task

        def over(ended: asyncio.Task[Json]) -> None:
            self._others.discard(ended)
            if where is not None:
                del self._under_way[where]
            if not ended.cancelled():
                ended.exception()  # whoever waited for it has it, or is gone

        task.add_done_callback(over)
        return task

    async def _with_file(
        self, how: _How, message: Mapping[str, Any], file: int, file_name: str | None
    ) -> Json:
        """Send a message; its file is an upload meanwhile."""
        uploads, account = self._sending.uploads, how.account
        try:
            most = most_bytes(_media_kind(message), self._sending.largest(account))
            pieces = _pieces(file, most)
            upload = await uploads.save(pieces, account, owner_of(how.asker), most=most, name=file_name)
        finally:
            os.close(file)
        try:
            return await self._keyed(how, {**message, "media": upload.id})
        finally:
            with contextlib.suppress(OrchestratorError):  # it goes in its time otherwise
                await uploads.delete(upload.id, (account,))

    async def _keyed(self, how: _How, message: Mapping[str, Any]) -> Json:
        """Send a message, unless an earlier attempt has sent one at its place."""
        submit, where = self._sending.submit, how.where
        if where is None:
            done = await submit(how.asker, how.account, message, None, how.wait, expires=how.expires)
            return _checked(done.row)
        for number in range(MAX_TRIES):
            key = where.key(number)
            try:
                done = await submit(
                    how.asker, how.account, message, key, how.wait, expires=how.expires, key_days=KEY_DAYS
                )
            except OrchestratorError as error:
                if error.key != "idempotency_conflict":
                    raise
                row, was_there = await self._before(where, key), True
            else:
                row, was_there = done.row, done.again
                self._note(where, key, row)
            if not (was_there and _has_failed(row)):
                return _checked(row)
        raise OrchestratorError("the message has failed too often", key="not_sent")

    async def _before(self, where: Place, key: str) -> Json:
        """Return the row of an earlier attempt that has sent something else, empty if it is not known."""
        number = self._rows.get(where.event, {}).get(key)
        return {} if number is None else await self._sending.row(where.account, number)

    def _note(self, where: Place, key: str, row: Json) -> None:
        self._rows.setdefault(where.event, {})[key] = int(row["row"])
        while len(self._rows) > MAX_KNOWN:
            del self._rows[next(iter(self._rows))]


def _has_failed(row: Json) -> bool:
    return row.get("state") in OVER - {State.SENT}


def _checked(row: Json) -> Json:
    """Return a row that was sent, or may still be.

    Raises:
        OrchestratorError: It was not, and will not be.
    """
    try:
        check(row)
    except NotSent as error:
        raise OrchestratorError(f"{error}: {row.get('why') or row.get('state')}", key=error.key) from None
    return row


def _media_kind(message: Mapping[str, Any]) -> Kind:
    kind = message.get("kind")
    if kind not in {str(one) for one in MEDIA}:
        raise OrchestratorError("a message of that kind has no file", key="bad_request")
    return Kind(str(kind))


async def _pieces(file: int, most: int) -> AsyncIterator[bytes]:
    """Yield what a file holds, and a little more than it may hold at most.

    Raises:
        OrchestratorError: It is no file, or cannot be read.
    """
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OrchestratorError("a message's file must be a regular file", key="file_missing")
    at = 0
    while at <= most:
        try:
            piece = await asyncio.to_thread(os.pread, file, _PIECE, at)
        except OSError:
            raise OrchestratorError("the message's file cannot be read", key="file_missing") from None
        if not piece:
            return
        at += len(piece)
        yield piece


def _close(file: int | None) -> None:
    if file is not None:
        os.close(file)
