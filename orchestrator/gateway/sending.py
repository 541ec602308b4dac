"""Has an account send something: for the API, the face of the Cloud API, and bots.

A message whose file is an upload or a link goes to the service with the open file. A link is fetched here and
nowhere else. A file that was fetched for a message with a key is kept as long as the key, so that the same
message with the same key has the same file, whatever the link leads to by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import previews
from orchestrator.gateway.links import Links
from orchestrator.gateway.previews import Previews
from orchestrator.gateway.uploads import Upload, Uploads
from orchestrator.sending import wire
from orchestrator.sending.forms import Kind, Media, Outgoing, Text
from orchestrator.sending.media_types import most_bytes
from orchestrator.sending.row import OVER, Row, State, key_digest
from orchestrator.sending.turns import NOT_ON_WHATSAPP

Json: TypeAlias = dict[str, Any]

LARGEST: Final = 64 << 20
"""Bytes of the largest file of an account that the gateway was told nothing of."""
MOST_WAIT: Final = 60.0
"""Seconds that a request may wait for the end of a row."""
MOST_LINKS: Final = 4
"""Links that are fetched for one account at once."""
KEY_DAYS: Final = 3
"""For how many days a key is remembered, unless somebody says otherwise."""
MOST_AT_ONCE: Final = 32
"""Messages of one account that are on their way to the service at once."""
_SERVICE_WAITS: Final = 2.0
"""Seconds for which the service waits for the end of a row. Longer waits must not hold places of the port."""
_LOOK_SECONDS: Final = 0.5
"""How often the gateway looks at the row after that."""
_ANSWER_SECONDS: Final = 45.0
"""How long the service may take beside what the asker waits: it copies the file, and looks at pictures."""
_DAY: Final = 86_400.0
_NOT_SENT: Final = OVER - {State.SENT}


class Asks(Protocol):
    """What is needed of the service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Principal, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Ask the service for something in somebody's name."""
        ...


class Rows(Protocol):
    """What reads outboxes: see `gateway.outboxes.Outboxes`."""

    async def row(self, account: str, number: int) -> Row:
        """Return a row."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a message.

    Attributes:
        row: Its row in the outbox, as `sending.row.Row.as_json` has it.
        again: Whether the row was there before, by its key.
    """

    row: Json = field(repr=False)
    again: bool


class NotSent(OrchestratorError):  # noqa: N818 - named for what it says
    """A message was not sent, and will not be.

    Args:
        row: Its row in the outbox, as `sending.row.Row.as_json` has it.

    Attributes:
        row: The same.
    """

    key = "not_sent"

    def __init__(self, row: Json) -> None:
        super().__init__("the message was not sent")
        self.row = row


class NumberUnknown(NotSent):
    """A message was not sent, because its receiver is not on WhatsApp."""

    key = "number_unknown"


class Submitter:
    """Hands messages to the service.

    Args:
        parent: The service.
        uploads: Files that clients have uploaded.
        links: Fetches files from links.
        rows: Reads outboxes.
        largest: Returns how many bytes the largest file of an account may have.

    Attributes:
        sends: How many messages were taken, by account and by the state of the row in the answer. A key that
            was used before does not count.
    """

    def __init__(
        self,
        parent: Asks,
        uploads: Uploads,
        links: Links,
        rows: Rows,
        largest: Callable[[str], int] = lambda _: LARGEST,
    ) -> None:
        self.uploads = uploads
        self.largest = largest
        self._parent = parent
        self._links = links
        self._rows = rows
        self._previews = Previews(links)
        self._asking: Counter[str] = Counter()
        self.sends: Counter[tuple[str, str]] = Counter()
        self._fetching: Counter[str] = Counter()
        self._under_way: set[tuple[str, str, str]] = set()

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
        """Have an account send something, and return its row in the outbox.

        Args:
            asker: Who wants it. Its keys are its own.
            account: The account.
            message: What is sent, in the words of `sending.wire`: a file by an upload's id, or a link.
            key: A word of the asker's own: the same message with the same word is sent once. None for none.
            wait: How many seconds to wait for the row's end, at most 60. What is not sent by then is still
                on its way.
            expires: After how many seconds the message is not sent any more, None for the account's setting.
            key_days: For how many days the key is remembered, None for three.

        Raises:
            BadAct: The message has no valid form; its words quote nothing of it.
            OrchestratorError: The message cannot be taken: `idempotency_conflict`, `idempotency_running`
                (the same key is under way), `file_missing`, `file_too_large`, `file_unfit`, `link_unusable`,
                `outbox_full` and others. Nothing is sent then, but for `no_answer` and `not_running`.
        """
        outgoing = wire.parse(message)
        wait = min(max(wait, 0.0), MOST_WAIT)
        asked: Json = {"name": account, "message": dict(message), "wait": min(wait, _SERVICE_WAITS)}
        if expires is not None:
            asked["expires"] = expires
        days = KEY_DAYS if key_days is None else key_days
        if key is not None:
            asked |= {"key": key, "key_days": days}
        async with contextlib.AsyncExitStack() as stack:
            if key is not None:
                stack.enter_context(self._alone(asker, account, key))
            fds = []
            if isinstance(outgoing.content, Media):
                upload, file = await stack.enter_async_context(
                    self._file(asker, account, outgoing, key, days * _DAY)
                )
                asked["message"] = _with_file(message, outgoing, upload)
                fds.append(file.fileno())
            elif isinstance(outgoing.content, Text) and outgoing.content.link_preview:
                found = await self._preview(account, outgoing.content.text)
                if found is not None:
                    asked["message"] = {**message, "preview": found.preview}
                if found is not None and found.picture:
                    fds.append(stack.enter_context(_in_memory(found.picture)).fileno())
            with self._turn(account):
                answer = await self._parent.ask(
                    asker, "send", seconds=asked["wait"] + _ANSWER_SECONDS, fds=fds, **asked
                )
            row = await self._settled(account, dict(answer["row"]), wait - asked["wait"])
        if answer.get("again") is not True:
            self.sends[account, str(row["state"])] += 1
        return Submitted(row, answer.get("again") is True)

    async def take_back(self, asker: Principal, account: str, row: int) -> Json:
        """Take a row back that waits, and return it.

        Raises:
            OrchestratorError: There is none (`row_unknown`), or it does not wait (`row_not_waiting`).
        """
        return dict((await self._parent.ask(asker, "take_back", name=account, row=row))["row"])

    async def row(self, account: str, number: int) -> Json:
        """Return a row of an account's outbox.

        Raises:
            OrchestratorError: There is none, or it cannot be read now.
        """
        return (await self._rows.row(account, number)).as_json()

    async def act(self, asker: Principal, account: str, action: Mapping[str, Any]) -> Json:
        """Have an account do something at once that is not queued (`sending.asks`), and return the result.

        Raises:
            OrchestratorError: It cannot be done.
        """
        return await self._do(asker, "act", account, action)

    async def look(self, asker: Principal, account: str, action: Mapping[str, Any]) -> Json:
        """Have an account find something out (`sending.asks`), and return the result.

        Raises:
            OrchestratorError: It cannot be found out.
        """
        return await self._do(asker, "look", account, action)

    async def _do(self, asker: Principal, command: str, account: str, action: Mapping[str, Any]) -> Json:
        answer = await self._parent.ask(
            asker, command, seconds=_ANSWER_SECONDS, name=account, action=dict(action)
        )
        return dict(answer.get("result") or {})

    async def _settled(self, account: str, row: Json, wait: float) -> Json:
        """Wait until a row is over, at most for some seconds, and return it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while row.get("state") not in OVER and (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, _LOOK_SECONDS))
            with contextlib.suppress(OrchestratorError):  # it may be gone, or cannot be read: as it was, then
                row = (await self._rows.row(account, row["row"])).as_json()
        return row

    @contextlib.contextmanager
    def _turn(self, account: str) -> Iterator[None]:
        """Have a message on its way to the service.

        Raises:
            OrchestratorError: There are too many of the account already.
        """
        if self._asking[account] >= MOST_AT_ONCE:
            raise OrchestratorError("too much is sent by the account at once", key="service_busy")
        self._asking[account] += 1
        try:
            yield
        finally:
            self._asking[account] -= 1

    @contextlib.contextmanager
    def _alone(self, asker: Principal, account: str, key: str) -> Iterator[None]:
        """Have nobody else use the same key meanwhile.

        Raises:
            OrchestratorError: Somebody does.
        """
        mark = (owner_of(asker), account, key)
        if mark in self._under_way:
            raise OrchestratorError("the first message with this key is under way", key="idempotency_running")
        self._under_way.add(mark)
        try:
            yield
        finally:
            self._under_way.remove(mark)

    @contextlib.asynccontextmanager
    async def _file(
        self, asker: Principal, account: str, outgoing: Outgoing, key: str | None, keep: float
    ) -> AsyncIterator[tuple[Upload, BinaryIO]]:
        """Open the file of a message.

        Raises:
            OrchestratorError: It cannot be had.
        """
        media = outgoing.content
        assert isinstance(media, Media)
        fetched: Upload | None = None
        if media.link is not None:
            most = most_bytes(outgoing.kind, self.largest(account))
            fetched = await self._fetch(asker, account, media.link, key, keep, most)
        upload, file = await self.uploads.open(fetched.id if fetched else str(media.media), (account,))
        try:
            if upload.size > self.largest(account):
                raise OrchestratorError("the file is too large", key="file_too_large")
            yield upload, file
        finally:
            file.close()
            if fetched is not None and key is None:
                with contextlib.suppress(OrchestratorError):
                    await self.uploads.delete(fetched.id, (account,))

    async def _fetch(
        self, asker: Principal, account: str, link: str, key: str | None, keep: float, most: int
    ) -> Upload:
        """Return the file at a link: for a key, the one that was there when the key was used first."""
        owner = owner_of(asker)
        source = None if key is None else key_digest(owner, account, key, link)
        if source is not None and (known := await self.uploads.fetched(source)) is not None:
            return known
        with self._fetch_turn(account):
            async with self._links.open(link, most=most) as found:
                return await self.uploads.save(
                    found.pieces, account, owner, most=most, name=found.name, source=source, keep=keep
                )

    async def _preview(self, account: str, text: str) -> previews.Found | None:
        """Return what is shown of the first link of a text, None for nothing."""
        try:
            with self._fetch_turn(account):
                return await self._previews.find(text)
        except OrchestratorError:
            return None

    @contextlib.contextmanager
    def _fetch_turn(self, account: str) -> Iterator[None]:
        """Fetch something for an account.

        Raises:
            OrchestratorError: There is too much already.
        """
        if self._fetching[account] >= MOST_LINKS:
            raise OrchestratorError("too many links are fetched for the account", key="service_busy")
        self._fetching[account] += 1
        try:
            yield
        finally:
            self._fetching[account] -= 1


def owner_of(asker: Principal) -> str:
    """Return by what the uploads of somebody are counted."""
    return f"{asker.kind} {asker.id}"


def _in_memory(data: bytes) -> BinaryIO:
    """Return a file that is on no disk, to be read from its beginning."""
    file = os.fdopen(os.memfd_create("picture", os.MFD_CLOEXEC), "w+b")
    file.write(data)
    file.seek(0)
    return file


def _with_file(message: Mapping[str, Any], outgoing: Outgoing, upload: Upload) -> Json:
    """Return a message whose file goes along: a document has the file's name, unless the client gives one."""
    found = {name: value for name, value in message.items() if name != "link"} | {"media": upload.id}
    if outgoing.kind is Kind.DOCUMENT and not found.get("file_name") and upload.name is not None:
        found["file_name"] = upload.name
    return found


def check(row: Json) -> None:
    """Check that a row was sent, or may still be.

    Args:
        row: The row, as `sending.row.Row.as_json` has it.

    Raises:
        NotSent: It was not sent, and never will be.
    """
    if row.get("state") in _NOT_SENT:
        raise NumberUnknown(row) if row.get("why") == NOT_ON_WHATSAPP else NotSent(row)
