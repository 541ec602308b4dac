"""Has accounts send: checks a message, brings its file in, and sees that its row is written once.

While an account has a process, the process alone writes into the outbox, and is asked to. Otherwise the row
is written here. Each message has a key, also if its sender gave none: so whatever becomes of a process
meanwhile, asking again never makes a second row.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.acts import BadAct, Fate
from orchestrator.accounts.outgoing import Fault
from orchestrator.accounts.pipe import FromParent
from orchestrator.accounts.settings import Sending
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError, StoreAway
from orchestrator.messages.outbox_form import Added, New, OutboxBusy, OutboxError
from orchestrator.messages.protocols import OutboxStore
from orchestrator.sending import asks, lengths, media_types, results, telling, wire
from orchestrator.sending.forms import File, Kind, Media, Outgoing, Text
from orchestrator.sending.row import Row
from orchestrator.service.aside import Aside
from orchestrator.service.outbox import direct, files, pictures
from orchestrator.service.outbox.waiting import ProcessEnded, Waiting, nobody_knows, too_busy

Json: TypeAlias = dict[str, Any]

KEY_SECONDS: Final = 72 * 3600.0
"""How long a client's key belongs to its message, if the client does not want it longer."""
RETRY_SECONDS: Final = 0.1
"""Seconds between two tries to write a row: a process comes up or goes, or somebody reads."""
DOUBT_SECONDS: Final = 1.0
"""How long an outbox that cannot be used may be one that a process is just making."""
WRITE_SECONDS: Final = deadlines.STARTING.outer
"""How long it is tried to write a row."""
MOST_PICTURES: Final = 2
"""Pictures that are looked at at once: each takes a process and up to 1 GiB of addresses."""
_PICTURES: Final = frozenset({Kind.IMAGE, Kind.STICKER})
_NO_FILE: Final = {"id": "1", "sha256": "0" * 64, "size": 1, "mime_type": media_types.OTHER}
"""Stands for a file that is still to come, so that the rest of a message can be checked first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message that somebody wants to be sent.

    Attributes:
        message: The message, in the words of `sending.wire`.
        key: What stands for the client's key, 32 bytes.
        wait: Seconds to wait until WhatsApp has taken it.
        expires: Seconds for which it may wait to be sent; None for what the configuration says.
        key_seconds: Seconds for which the key belongs to it.
    """

    message: object = field(repr=False)
    key: bytes = field(repr=False)
    wait: float = 0.0
    expires: float | None = None
    key_seconds: float = KEY_SECONDS


class _Written(NamedTuple):
    row: Row
    again: bool
    queued: int


class Process(Protocol):
    """An account's process: see `service.process`."""

    def tell(self, message: FromParent) -> None:
        """Send the process a message."""


class Sender(Protocol):
    """An account, as far as sending goes: see `roster.Managed`."""

    @property
    def sends(self) -> Waiting:
        """The questions to its processes."""

    @property
    def child(self) -> Process | None:
        """Its process, once it is there."""

    @property
    def state(self) -> State:
        """What the account is doing."""

    @property
    def stopping(self) -> bool:
        """Whether its process was asked to stop."""

    @property
    def sending(self) -> Sending:
        """How it sends."""


class Accounts(Protocol):
    """Finds accounts, and what belongs to them."""

    def sender(self, name: str) -> Sender:
        """Return an account.

        Raises:
            NoSuchAccount: There is none of that name.
        """

    def messages(self, name: str) -> Path:
        """Return the folder of an account's messages."""

    def outbox(self, name: str, *, makes: bool = True) -> AbstractContextManager[OutboxStore]:
        """Open the outbox of an account that has no process; see `service.messages`. It blocks."""

    def note_queued(self, name: str, count: int) -> None:
        """Take note of how many messages wait in the outbox of an account that has no process."""


class Sends:
    """Has accounts send.

    Args:
        accounts: The accounts.
        aside: Does what takes time beside the event loop.
        wall: Returns Unix seconds.
    """

    def __init__(self, accounts: Accounts, aside: Aside, wall: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._aside = aside
        self._wall = wall
        self._looking = asyncio.Semaphore(MOST_PICTURES)

    # Messages

    async def send(self, name: str, wanted: Wanted, source: int | None = None) -> Json:
        """Write a message into an account's outbox, and wait for what becomes of it if that is wanted.

        Args:
            name: The account.
            wanted: The message.
            source: A descriptor of its file. The caller may close it when this returns or raises.

        Returns:
            ``row``, as clients see it, and ``again``: whether the key belonged to it before.

        Raises:
            NoSuchAccount: There is no account of that name.
            OrchestratorError: The message or its file has no valid form (`bad_request`, `bad_text`,
                `bad_number`, `file_missing`, `file_unfit`, `file_too_large`), there is no room for them
                (`outbox_full`, `media_no_room`), the key is another message's (`idempotency_conflict`), or
                the outbox cannot be used (`outbox_unusable`, `service_busy`). Nothing is written then. With
                `no_answer`, nobody knows.
        """
        account = self._accounts.sender(name)
        settings = account.sending
        outgoing = _checked(wanted.message, source is not None)
        now = self._wall()
        expires = settings.expires if wanted.expires is None else min(wanted.expires, settings.expires)
        async with self._with_file(name, outgoing, source, settings) as (whole, keep):
            new = New(
                whole, wire.as_text(whole), wanted.key, now + wanted.key_seconds, now + expires,
                settings.most_waiting,
            )  # fmt: skip
            row, again = await self._add(name, new)
            keep(not again)
        if wanted.wait:
            row = await account.sends.rows.until_over(row, wanted.wait)
        return {"row": account.sends.rows.latest(row).as_json(), "again": again}

    async def take_back(self, name: str, number: int) -> Json:
        """Take a row back that waits; return it as ``row``.

        Raises:
            NoSuchAccount: There is no account of that name.
            OrchestratorError: There is no such row (`row_unknown`), it does not wait (`row_not_waiting`), or
                the outbox cannot be used.
        """
        self._accounts.sender(name)
        row, _ = await self._write(
            name,
            lambda id_: pipe.TakeBack(id_, number),
            lambda: _taken_back(*direct.take_back(self._accounts.outbox(name, makes=False), number)),
        )
        return {"row": row.as_json()}

    async def _add(self, name: str, new: New) -> tuple[Row, bool]:
        def send(id_: int) -> pipe.Send:
            return pipe.Send(id_, new.body, new.key.hex(), new.key_until, new.expires_at)

        return await self._write(name, send, lambda: _added(*direct.add(self._accounts.outbox(name), new)))

    async def _write(
        self,
        name: str,
        ask: Callable[[int], FromParent],
        write: Callable[[], _Written],
    ) -> tuple[Row, bool]:
        """Have a row written by the account's process, or write it if there is none.

        Returns:
            The row, and whether its key was there before.

        Raises:
            OrchestratorError: See `send`. A process that was asked and ended, and a database that was lost
                meanwhile, may have written the row: whatever then keeps anybody from finding out ends with
                `no_answer`.
        """
        may_be_there = False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WRITE_SECONDS
        doubtful_until = loop.time() + DOUBT_SECONDS
        while True:
            try:
                account = self._accounts.sender(name)  # it may be gone by now
                child = account.child
                if child is not None:
                    return _row(await account.sends.row(child.tell, ask))
                async with account.sends.writing:  # no process begins meanwhile: it would not see the row
                    if self._accounts.sender(name).child is not None:
                        continue
                    written = await self._aside.run(write)
                self._accounts.note_queued(name, written.queued)
                return written.row, written.again
            except direct.Refused as error:
                if may_be_there and error.fault is Fault.UNUSABLE:
                    raise nobody_knows(name) from None
                raise _refusal(name, error.fault) from None
            except ProcessEnded as ended:  # the key is known, if the process has written the row
                may_be_there |= ended.was_asked
            except OutboxBusy:
                pass
            except OrchestratorError as error:
                may_be_there |= isinstance(error, StoreAway) and error.in_doubt
                # Until then, a process that makes the outbox may be at it.
                if not isinstance(error, OutboxError) or loop.time() > doubtful_until:
                    if may_be_there:
                        raise nobody_knows(name) from error
                    raise
            if loop.time() > deadline:
                if may_be_there:
                    raise nobody_knows(name)
                raise OrchestratorError(
                    f"{name}: the outbox is in use: try again in a moment", key="service_busy"
                )
            await asyncio.sleep(RETRY_SECONDS)

    # Files

    @contextlib.asynccontextmanager
    async def _with_file(
        self, name: str, outgoing: Outgoing, source: int | None, settings: Sending
    ) -> AsyncIterator[tuple[Outgoing, Callable[[bool], None]]]:
        """Bring the file of a message into the account's folder.

        Yields:
            The message with its file, and what is told whether the file is needed. It stays as well if nobody
            can know: rows that were never written are found by who clears the folder.
        """
        content = outgoing.content
        if isinstance(content, Text) and source is not None:
            yield await self._with_thumbnail(outgoing, content, source), lambda _: None
            return
        if not isinstance(content, Media) or source is None:
            yield outgoing, lambda _: None
            return
        own = os.dup(source)  # whoever gave it may close it while a thread still reads
        needed = False

        def keep(value: bool) -> None:
            nonlocal needed
            needed = value

        folder, begun = self._accounts.messages(name), list[files.Incoming]()
        try:
            await self._shielded(lambda: begun.append(files.Incoming.begin(folder)))
            file = await self._bring(begun[0], content, own, settings)
            try:
                yield replace(outgoing, content=replace(content, file=file)), keep
            except OrchestratorError as error:
                needed = error.key == "no_answer"
                raise
            except asyncio.CancelledError:
                needed = True
                raise
        finally:
            os.close(own)
            for incoming in begun:
                incoming.close(keep=needed)

    async def _with_thumbnail(self, outgoing: Outgoing, content: Text, source: int) -> Outgoing:
        """Return a text whose preview has a small picture; without one if the picture cannot be used."""
        preview, own = content.preview, os.dup(source)
        try:
            os.lseek(own, 0, os.SEEK_SET)  # and no pipe
            async with self._looking:
                picture = await self._shielded(lambda: pictures.look(own, strip=False))
        except (OrchestratorError, OSError):
            return outgoing
        finally:
            os.close(own)
        assert preview is not None
        preview = replace(preview, thumbnail=picture.thumbnail)
        return replace(outgoing, content=replace(content, preview=preview))

    async def _bring(self, incoming: files.Incoming, content: Media, source: int, settings: Sending) -> File:
        kind, limit = content.kind, settings.media_limit

        def refusal(head: bytes, size: int) -> OrchestratorError | None:
            why = media_types.refusal(kind, media_types.sniff(head), size, limit)
            if why is None:
                return None
            is_large = size > media_types.most_bytes(kind, limit)
            return OrchestratorError(why, key="file_too_large" if is_large else "file_unfit")

        await self._shielded(lambda: incoming.copy(source, refusal))
        mime_type = media_types.sniff(incoming.head)
        found = File(incoming.id, incoming.sha256, incoming.size, mime_type)
        if kind in _PICTURES:
            found = await self._look(incoming, found, strip=settings.strip_metadata)
        elif kind is Kind.DOCUMENT:
            type_ = media_types.document_type(mime_type, content.file_name)
            found = replace(found, mime_type=type_, name=content.file_name)
        else:
            found = replace(found, seconds=await self._shielded(lambda: _length(incoming, mime_type)))
        await self._shielded(incoming.finish)
        return found

    async def _look(self, incoming: files.Incoming, file: File, *, strip: bool) -> File:
        def look() -> pictures.Picture:
            copy = incoming.open()
            try:
                return pictures.look(copy, strip=strip)
            finally:
                os.close(copy)

        async with self._looking:
            picture = await self._shielded(look)
        if picture.stripped is not None:
            data = picture.stripped
            await self._shielded(lambda: incoming.replace(data))
        return replace(
            file,
            sha256=incoming.sha256,
            size=incoming.size,
            width=picture.width,
            height=picture.height,
            animated=picture.animated,
            thumbnail=picture.thumbnail,
        )

    async def _shielded(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the call returns
        """Return what a call returns that uses descriptors: it ends before whoever waits for it does."""
        task = asyncio.ensure_future(self._aside.run(call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait((task,))
            raise

    # What is done at once

    async def act(self, name: str, action: object, *, looks: bool = False) -> Json:
        """Have an account do something at once, and return what came of it as ``result``.

        Args:
            name: The account.
            action: What is to be done, in the words of `sending.asks`.
            looks: Take only what changes nothing.

        Raises:
            NoSuchAccount: There is no account of that name.
            BadAct: The action has no valid form, or changes something where it may not.
            OrchestratorError: The account is not connected (`not_connected`), it was not done (`not_sent`),
                or nobody knows (`delivery_unknown`).
        """
        ask = asks.parse(action)
        if looks and not asks.changes_nothing(ask):
            raise BadAct("an action of this kind changes something: use `act`")
        account = self._accounts.sender(name)
        child = connected(name, account)
        try:
            told = await account.sends.act(child.tell, asks.as_text(ask))
        except ProcessEnded:
            raise _unknown(name, "the account's process ended before it said so") from None
        except TimeoutError:
            raise _unknown(name, "the account's process does not answer") from None
        if error := _fault(name, told):
            raise error
        try:
            return {"result": results.read(ask, told.result)}
        except ValueError:
            raise _unknown(name, "the account's process gave no valid answer") from None


def connected(name: str, account: Sender) -> Process:
    """Return the process of an account that is connected.

    Raises:
        OrchestratorError: The account is not; with the key `not_connected`.
    """
    if account.child is None or account.state is not State.CONNECTED or account.stopping:
        shown = "stopping" if account.stopping else account.state
        raise OrchestratorError(
            f"{name} is not connected but {shown}: `orchestrator explain {name}` says more",
            key="not_connected",
        )
    return account.child


def _checked(message: object, has_file: bool) -> Outgoing:
    """Return what somebody wants to be sent; a file is still to come.

    Raises:
        BadAct: It has no valid form.
        OrchestratorError: A file is missing (`file_missing`).
    """
    if not isinstance(message, Mapping):
        raise BadAct("the message must be an object")
    if "file" in message:
        raise BadAct("the file of a message comes as a descriptor")
    kind = message.get("kind", "text")
    takes_file = isinstance(kind, str) and kind in media_types.FITS
    outgoing = wire.parse({**message, "file": _NO_FILE} if takes_file else message, checked=True)
    if takes_file and not has_file:
        raise OrchestratorError(f"a message of kind {kind} takes a file", key="file_missing")
    if isinstance(outgoing.content, Text) and outgoing.content.preview is not None:
        # The small picture is made here, of the one that comes along.
        preview = replace(outgoing.content.preview, thumbnail=b"")
        return replace(outgoing, content=replace(outgoing.content, preview=preview))
    if has_file and not takes_file:
        raise BadAct(f"a message of kind {kind} takes no file")
    return outgoing


def _length(incoming: files.Incoming, mime_type: str) -> int:
    copy = incoming.open()
    try:
        return lengths.seconds(lambda at, size: os.pread(copy, size, at), incoming.size, mime_type)
    except OSError:
        return 0
    finally:
        os.close(copy)


def _added(added: Added, queued: int) -> _Written:
    return _Written(added.row, added.again, queued)


def _taken_back(row: Row, queued: int) -> _Written:
    return _Written(row, again=False, queued=queued)


def _row(told: pipe.Queued) -> tuple[Row, bool]:
    """Return what a process has answered.

    Raises:
        Refused: It has not done it.
        ProcessEnded: It is not to be trusted.
    """
    if told.fault is not None:
        raise direct.Refused(told.fault)
    try:
        return telling.row_of(told), told.again
    except pipe.MessageError:
        raise ProcessEnded from None


def _refusal(name: str, fault: Fault) -> OrchestratorError:
    match fault:
        case Fault.CONFLICT:
            return OrchestratorError(
                f"{name}: the key was used for another message: use another key", key="idempotency_conflict"
            )
        case Fault.FULL:
            return OrchestratorError(
                f"{name}: as many messages wait to be sent as may: try again once some are sent, or raise"
                " `most_waiting` under `sending:`",
                key="outbox_full",
            )
        case Fault.NO_ROW:
            return OrchestratorError(
                f"{name}: the outbox has no such row, or does not have it any more:"
                f" `orchestrator outbox {name}` shows the rows",
                key="row_unknown",
            )
        case Fault.NOT_WAITING:
            return OrchestratorError(
                f"{name}: the row does not wait any more: `orchestrator outbox {name}` shows what became of"
                " it",
                key="row_not_waiting",
            )
        case Fault.UNUSABLE:
            return OrchestratorError(
                f"{name}: the account's process cannot use the outbox: the service's log says why",
                key="outbox_unusable",
            )


def _fault(name: str, told: pipe.Acted) -> OrchestratorError | None:
    match told.fate:
        case Fate.DONE:
            return None
        case Fate.UNKNOWN:
            return _unknown(name, told.about)
        case Fate.BUSY:
            return too_busy(name)
        case Fate.FAILED:
            return OrchestratorError(f"{name}: it was not done: {told.about}", key="not_sent")


def _unknown(name: str, why: str) -> OrchestratorError:
    return OrchestratorError(f"{name}: it is not known whether it was done: {why}", key="delivery_unknown")
