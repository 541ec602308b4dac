"""Server-Sent Events: everything that happens to the accounts that a token sees, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.selection import Selection
from orchestrator.consumers.writes import Place
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.dispatch import beginning
from orchestrator.gateway.feed import FeedError, Rendered
from orchestrator.gateway.http import positions
from orchestrator.gateway.http.asking import LOOK_SECONDS, Asker, Denied, Reader
from orchestrator.gateway.http.describing import file_of, problems_of
from orchestrator.gateway.http.positions import Positions, Stream

router = APIRouter(prefix="/api/events", tags=["Events"])

_STREAMS: Final = ("messages", "account")
_BATCH: Final = 50
_FEW: Final = 20
"""Streams whose positions go with each event. Those of more go with the last of several: they are long."""
_BEAT_SECONDS: Final = 15.0
"""How often something is sent at least, so that proxies keep the connection."""
_AGAIN_SECONDS: Final = 5.0
"""After how long a stream that could not be read is tried again."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx does not hold back what comes with the second one."""


@router.get(
    "",
    summary="Follow events",
    response_class=StreamingResponse,
    responses=file_of("Events, as Server-Sent Events.", "text/event-stream") | problems_of(404),
)
async def follow_events(
    asker: Reader,
    account: Annotated[
        list[Annotated[str, Query(pattern=f"^{NAME_PATTERN}$")]] | None,
        Query(max_length=100, description="Only events of these accounts."),
    ] = None,
    type_: Annotated[
        list[Annotated[str, Query(pattern=r"^[a-z_.]{0,40}\*?$")]] | None,
        Query(
            alias="type", max_length=20, description="Only these types. A * at the end stands for any rest."
        ),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=positions.LONGEST,
            description="The `id` that came last. What came after it comes first.",
        ),
    ] = None,
) -> StreamingResponse:
    """Follow events as they happen. Without `Last-Event-ID`, it begins with what happens from now on.

    An event comes at least once: after a break, some can come twice, with the same `id` in `data`.
    """
    for name in account or ():
        asker.sees(name)
    if len(account or asker.accounts()) * len(_STREAMS) > positions.MOST:
        raise Denied("bad_request")
    before = None
    if last_event_id:
        try:
            before = Positions(last_event_id)
        except ValueError:
            raise Denied("bad_request") from None
    following = Following(asker, frozenset(account) if account else None, tuple(type_ or ("*",)), before)
    await following.begin()
    return StreamingResponse(following.run(), headers=_HEADERS, media_type="text/event-stream")


class Following:
    """One who follows events.

    Args:
        asker: Who.
        accounts: The accounts that it wants, None for all that it sees.
        types: Patterns of the types that it wants.
        before: How far it has read before, None if it begins now.
    """

    def __init__(
        self,
        asker: Asker,
        accounts: frozenset[str] | None,
        types: tuple[str, ...],
        before: Positions | None,
    ) -> None:
        self._asker = asker
        self._feed = asker.services.feed
        self._accounts = accounts
        self._selection = Selection(Consumer("events", "pull", accounts, types))
        self._before = before
        self._positions: dict[Stream, int] = {}
        self._news: dict[Stream, None] = {}
        self._heard = asyncio.Event()
        self._later: dict[Stream, float] = {}
        self._began_at = asker.shared.wall()
        self._unfound: dict[str, float] = {}  # accounts that could not be read yet, and when to try again

    async def begin(self) -> None:
        """Find where to begin in each stream. An account that cannot be read now is found later."""
        for account in sorted(self._wanted()):
            await self._begin_account(account, is_new=False)

    async def run(self) -> AsyncIterator[bytes]:
        """Yield what is sent, until the token is removed, the server ends, or nobody listens."""
        loop = asyncio.get_running_loop()
        beat = loop.time() + _BEAT_SECONDS
        unsubscribe = self._feed.watch(self._hear)
        try:
            yield b": orchestrator\nretry: 2000\n\n"
            # Whoever is cut off before the first event goes on from here.
            yield self._id() + b"\n\n"
            while True:
                await self._wait()
                self._asker.check()
                for account in sorted(self._wanted() - {name for name, _ in self._positions}):
                    if self._unfound.get(account, 0.0) <= loop.time():
                        await self._begin_account(account, is_new=account not in self._unfound)
                async for part in self._send_news():
                    yield part
                    beat = loop.time() + _BEAT_SECONDS
                if loop.time() >= beat:
                    yield b":\n\n"
                    beat = loop.time() + _BEAT_SECONDS
        except OrchestratorError:
            return  # the token is gone, or the server ends; the client comes again
        finally:
            unsubscribe()

    async def _send_news(self) -> AsyncIterator[bytes]:
        wanted = self._wanted()
        for stream in list(self._news):
            del self._news[stream]
            if stream not in self._positions or stream[0] not in wanted:
                continue
            more = True
            while more:
                try:
                    batch = await self._feed.after(*stream, self._positions[stream], _BATCH)
                except OrchestratorError:
                    self._later[stream] = asyncio.get_running_loop().time() + _AGAIN_SECONDS
                    break
                for event in batch.events:
                    self._asker.check()
                    if not self._selection.wants(event.type):
                        continue
                    self._positions[stream] = event.seq
                    yield self._written(event)
                self._positions[stream] = max(self._positions[stream], batch.last)
                if batch.events:
                    yield self._id() + b"\n\n"
                more = batch.more

    async def _begin_account(self, account: str, *, is_new: bool) -> None:
        found: dict[Stream, int] = {}
        for kind in _STREAMS:
            stream = (account, kind)
            seq = None if self._before is None else self._before.of(stream)
            if seq is None and is_new:
                seq = 0  # what an account that is new has, is new
            try:
                found[stream] = seq if seq is not None else await self._present(stream)
            except FeedError:
                self._unfound[account] = asyncio.get_running_loop().time() + _AGAIN_SECONDS
                return
        self._unfound.pop(account, None)
        self._positions |= found
        for stream in found:
            self._hear(*stream)

    async def _present(self, stream: Stream) -> int:
        """Return the number up to which a stream was written when the client came."""
        account, kind = stream
        if account in self._unfound:
            return await beginning.find(self._feed, Place(account, kind), self._began_at)
        return await self._feed.newest(account, kind)

    async def _wait(self) -> None:
        """Wait for news, and not for long: the token may be removed."""
        now = asyncio.get_running_loop().time()
        for stream, at in list(self._later.items()):
            if at <= now:
                del self._later[stream]
                self._news[stream] = None
        if not self._news:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                pass
        self._heard.clear()

    def _wanted(self) -> frozenset[str]:
        sees = self._asker.accounts()
        return sees if self._accounts is None else sees & self._accounts

    def _hear(self, account: str, stream: str) -> None:
        self._news[account, stream] = None
        self._heard.set()

    def _written(self, event: Rendered) -> bytes:
        lines = [b"event: " + event.type.encode(), b"data: " + event.body]
        here = [self._id()] if len(self._positions) <= _FEW else []
        return b"\n".join([*here, *lines]) + b"\n\n"

    def _id(self) -> bytes:
        return b"id: " + positions.write(self._positions).encode()
