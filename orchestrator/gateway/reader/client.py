"""The gateway's end of the readers: one request after the other, and another reader when one died or hangs.

All accounts share one reader. An account that made it fail is read by a second one for a while, so that the
others wait for such an account once at most. A reader that is cut off from where messages are kept is no
fault of an account: all wait a moment then, until there is another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.reader import wire
from orchestrator.gateway.reader.blame import Blame
from orchestrator.gateway.reader.maker import MAX_REPLY, ORDER, ReaderHandle
from orchestrator.gateway.reader.wire import Answer, Ask, Refused, WireError

log = logging.getLogger(__name__)

SECONDS: Final = 6.0
"""Seconds that an answer may take: the reader stops by itself after three, unless something holds it."""
IDLE_SECONDS: Final = 60.0
"""Seconds after which the second reader is given up if nobody asks it."""
COMMON, APART = 0, 1
"""The places of the two readers."""
MAKER_SECONDS: Final = 10.0
"""Seconds until a new reader is there: the first one waits for the definitions of WhatsApp's messages."""
CUT_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds until there is another reader after one that was cut off, after two in a row and so on."""
_LATER: Final = 0.01  # so that whoever asks at once is not too early
WAITING: Final = 10_000
"""Requests that wait at once. There are some for each consumer."""


HandOn: TypeAlias = Callable[[socket.socket], object]


class FeedError(OrchestratorError):
    """The events of an account cannot be read now; those of other accounts can. Trying again later helps."""

    key = "inbox_unusable"


class ReaderGone(Exception):  # noqa: N818 - named for what it says
    """The process that makes readers is gone: the gateway has to begin anew."""


class _CutOff(Exception):  # noqa: N818
    """The reader is cut off from where messages are kept, and there is no other one yet.

    Args:
        seconds: When there may be.
        is_new: Whether that has only now turned out.
    """

    def __init__(self, seconds: float, *, is_new: bool) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.is_new = is_new


class ReaderClient:
    """Asks the readers.

    Args:
        handle: The process that makes readers.
        again: Called with an account that was left alone and can be read again.
        clock: Returns monotonic seconds.
        hand_on: Gets the socket by which a new reader asks for messages, where they are in no files.

    Attributes:
        deaths: How many readers have died or were ended because they hung.
        maker: The process that makes them.
    """

    def __init__(
        self,
        handle: ReaderHandle,
        again: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        hand_on: HandOn = socket.socket.close,
    ) -> None:
        self.deaths = 0
        self.maker = handle.pid
        self._again = again
        self._clock = clock
        self._blame = Blame()
        self._maker = _Maker(handle, hand_on)
        self._lanes = (_Lane(COMMON, self._maker, clock), _Lane(APART, self._maker, clock))
        self._postponed: set[str] = set()

    async def ask(self, ask: Ask) -> Answer:
        """Ask a reader, after those who asked before.

        Raises:
            FeedError: The account cannot be read now.
        """
        now = self._clock()
        if self._blame.wait(ask.account, now) > 0:
            raise _unreadable(ask.account)
        lane = self._lanes[APART if self._blame.suspects(ask.account, now) else COMMON]
        return await lane.put(ask)

    async def run(self) -> None:
        """Pass requests on until cancelled.

        Raises:
            ReaderGone: There are no readers any more.
        """
        parts = [asyncio.ensure_future(self._serve(lane)) for lane in self._lanes]
        try:
            await asyncio.gather(*parts)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def keep(self, accounts: frozenset[str]) -> None:
        """Forget all accounts but these."""
        self._blame.keep(accounts)

    def close(self) -> None:
        """End the readers, and what makes them."""
        for lane in self._lanes:
            lane.close()
        self._maker.close()

    async def _serve(self, lane: _Lane) -> None:
        while True:
            ask, future = await lane.get()
            if future.done():  # whoever asked does not wait any more
                continue
            try:
                answer = await self._answer(lane, ask)
            except FeedError as error:
                if not future.done():
                    future.set_exception(error)
            except BaseException as error:
                if isinstance(error, ReaderGone) and not future.done():
                    future.set_exception(_unreadable(ask.account))
                future.cancel()
                raise
            else:
                if not future.done():
                    future.set_result(answer)

    async def _answer(self, lane: _Lane, ask: Ask) -> Answer:
        if self._blame.wait(ask.account, self._clock()) > 0:  # because of a request before this one
            raise _unreadable(ask.account)
        try:
            answer = await lane.exchange(ask)
        except _CutOff as error:
            raise self._postpone(ask.account, error) from None
        except Refused as refused:
            raise self._blamed(ask.account, f"({refused.key})", refused.key) from None
        except TimeoutError:
            why = f"within {SECONDS:.0f} s"
        except WireError as error:
            why = f"from an answer {error}"
        except (OSError, EOFError):
            why = "because the process that reads them died"
        else:
            if self._blame.worked(ask.account, self._clock()):
                log.warning("%s: the messages can be read again", ask.account)
            return answer
        self.deaths += 1
        raise self._blamed(ask.account, why)

    def _postpone(self, account: str, error: _CutOff) -> FeedError:
        """Have an account asked for again when there may be another reader; return the error that says so."""
        if error.is_new:
            self.deaths += 1
            log.error(
                "the process that reads messages is cut off from where they are kept; there is another one"
                " in %.1f s",
                error.seconds,
            )
        if not self._postponed:
            asyncio.get_running_loop().call_later(error.seconds + _LATER, self._resume)
        self._postponed.add(account)
        why = f"the messages of {account} cannot be read for the moment: try again"
        return FeedError(why, key="service_busy")

    def _resume(self) -> None:
        postponed, self._postponed = self._postponed, set()
        for account in sorted(postponed):
            self._again(account)

    def _blamed(self, account: str, why: str, key: str | None = None) -> FeedError:
        """Leave an account alone for a while, and return the error that says so."""
        seconds = self._blame.failed(account, self._clock())
        log.error("%s: the messages could not be read %s; asked again in %.1f s", account, why, seconds)
        asyncio.get_running_loop().call_later(seconds + _LATER, self._again, account)
        return _unreadable(account, key)


class _Lane:
    """Those who wait for one reader, and the reader.

    Args:
        place: The reader's place.
        maker: Makes it.
        clock: Returns monotonic seconds.
    """

    def __init__(self, place: int, maker: _Maker, clock: Callable[[], float]) -> None:
        self._place = place
        self._maker = maker
        self._clock = clock
        self._cuts = 0  # readers in a row that were cut off
        self._not_before = float("-inf")  # when there may be a reader after those
        self._sock: socket.socket | None = None
        self._waiting: asyncio.Queue[tuple[Ask, asyncio.Future[Answer]]] = asyncio.Queue(WAITING)

    async def put(self, ask: Ask) -> Answer:
        """Wait for the answer to a request.

        Raises:
            FeedError: Too many wait, or there is no answer.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((ask, future))
        except asyncio.QueueFull:
            raise FeedError("too many wait for messages to be read: try again", key="service_busy") from None
        return await future

    async def get(self) -> tuple[Ask, asyncio.Future[Answer]]:
        """Return the next request; a second reader that nobody asks is given up meanwhile."""
        if self._place == COMMON or self._sock is None:
            return await self._waiting.get()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._waiting.get()
        except TimeoutError:
            self.drop()  # it ends by itself
            return await self._waiting.get()

    async def exchange(self, ask: Ask) -> Answer:
        """Ask the reader, which is made if there is none; after an error there is none any more.

        Raises:
            FeedError: There can be no reader now.
            ReaderGone: There are no readers any more.
            Refused: The reader could not read.
            _CutOff: It can read nothing any more.
            EOFError, OSError, TimeoutError, WireError: There is no answer, or a wrong one.
        """
        if self._sock is None:
            if (left := self._not_before - self._clock()) > 0:
                raise _CutOff(left, is_new=False)
            self._sock = await self._maker.make(self._place)
        try:
            async with asyncio.timeout(SECONDS):
                answer = wire.read_answer(await _exchange(self._sock, wire.write_request(ask)), ask)
        except Refused as refused:
            if refused.key == wire.CUT_OFF:
                raise self._cut_off() from None
            raise
        except BaseException:
            self.drop()  # an answer may be half read
            raise
        self._cuts = 0
        return answer

    def _cut_off(self) -> _CutOff:
        """Give the reader up; return the error that says when there may be another one."""
        self.drop()
        seconds = CUT_OFF_SECONDS[min(self._cuts, len(CUT_OFF_SECONDS) - 1)]
        self._cuts += 1
        self._not_before = self._clock() + seconds
        return _CutOff(seconds, is_new=True)

    def drop(self) -> None:
        """Give the reader up. The maker ends it when it makes the next one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def close(self) -> None:
        """Give the reader up, and those who wait for it."""
        self.drop()
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].cancel()


class _Maker:
    """Has readers made, one after the other.

    Args:
        handle: The process that makes them.
        hand_on: Gets the socket by which a new reader asks for messages, where they are in no files.
    """

    def __init__(self, handle: ReaderHandle, hand_on: HandOn) -> None:
        self._hand_on = hand_on
        self._control = handle.control
        self._control.setblocking(False)
        self._orders = 0
        self._one_at_a_time = asyncio.Lock()

    async def make(self, place: int) -> socket.socket:
        """Have a reader made; the one that had its place is ended.

        Raises:
            FeedError: There can be none now.
            ReaderGone: There are none any more.
        """
        try:
            async with self._one_at_a_time, asyncio.timeout(MAKER_SECONDS):
                reply, descriptors = await self._order(place)
        except TimeoutError:
            raise FeedError("the process that reads messages does not start: try again") from None
        except (OSError, EOFError, ValueError):
            raise ReaderGone("the process that makes readers of messages is gone") from None
        if not descriptors:
            why = str(reply.get("error", "there is no process that reads messages"))
            raise FeedError(why, key="machine_unfit")
        sock = socket.socket(fileno=descriptors[0])
        sock.setblocking(False)
        for descriptor in descriptors[1:]:
            self._hand_on(socket.socket(fileno=descriptor))
        if (ended := reply.get("ended")) is not None:
            log.warning("a process that reads messages ended (%s), another one reads on", _status(ended))
        return sock

    async def _order(self, place: int) -> tuple[dict[str, Any], list[int]]:
        self._orders += 1
        await asyncio.get_running_loop().sock_sendall(self._control, ORDER % (self._orders, place))
        while True:
            reply, descriptors = await _receive(self._control)
            if reply.get("order") == self._orders:
                return reply, descriptors
            for descriptor in descriptors:  # which came too late, and is closed at the other end
                os.close(descriptor)

    def close(self) -> None:
        """Have no readers made any more: the maker ends, and so do they."""
        self._control.close()


async def _exchange(sock: socket.socket, request: bytes) -> bytes:
    """Send a request and return the answer without its length.

    Raises:
        EOFError, OSError, WireError: There is none.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, request)
    (size,) = wire.LENGTH.unpack(await _exactly(sock, wire.LENGTH.size))
    if size > wire.MAX_ANSWER:
        raise WireError("of another length")
    return await _exactly(sock, size)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = bytearray()
    while len(found) < size:
        piece = await loop.sock_recv(sock, min(size - len(found), 256 << 10))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


async def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return what the maker says, and the descriptors that come with it, if there are any.

    Raises:
        EOFError, OSError: It says nothing any more.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(control, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(control)
    data, descriptors, _, _ = socket.recv_fds(control, MAX_REPLY, 2)
    if not data:
        raise EOFError
    return json.loads(data), list(descriptors)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _unreadable(account: str, key: str | None = None) -> FeedError:
    known = key if key in ("permission_denied", "internal_error") else None
    return FeedError(
        f"the messages of {account} cannot be read now: `orchestrator messages {account}` says why", key=known
    )


def _status(ended: object) -> str:
    if type(ended) is not int:
        return "nobody knows how"
    if ended >= 0:
        return f"exit code {ended}"
    try:
        return signal.Signals(-ended).name
    except ValueError:
        return f"signal {-ended}"
