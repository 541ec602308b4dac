"""A port: one end of a socket pair over which two of our processes ask each other things, with descriptors.

The gateway and the service have one between them, and each bot and the gateway. Both ends ask and answer,
many things at once. Neither end trusts the other: whoever sends garbage, half a frame, more than may be asked
at once or descriptors that nobody wants loses this port, and nothing else happens. `frames` has the form.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from orchestrator.accounts.flood import Meter
from orchestrator.control import frames
from orchestrator.control.descriptors import close_all, receive
from orchestrator.control.frames import Answer, Asked, Cancel, Event, Frame, FrameError, More
from orchestrator.control.port_sender import Sender
from orchestrator.control.protocol import Json, error_answer, read_error
from orchestrator.errors import NotRunning, OrchestratorError

log = logging.getLogger(__name__)

MAX_CALLS: Final = 128
"""Requests of one end that may be under way at once. Our own end waits for its turn."""
WINDOW: Final = 16
"""Events of a request that may be on their way to an asker that has not taken them in."""
SECONDS: Final = 30.0
"""How long an answer may take, unless the asker says something else."""
STALL_SECONDS: Final = 30.0
"""How long the other end may take for the rest of a frame."""
MOST_A_SECOND: Final = 2000.0
"""Frames of the other end that are heard, on average. Then it has to wait, and nobody else has to."""
MOST_BYTES_A_SECOND: Final = 4.0 * 1024 * 1024
"""Bytes of the other end that are read, on average, where nobody trusts it: reading JSON takes time."""
_BYTES_AT_ONCE: Final = 4
"""Seconds for which such bytes may come all at once."""
_READ: Final = 256 * 1024
"""Bytes that are read in one turn of the event loop."""
_TURN: Final = 32
"""Frames that are heard in one turn of the event loop."""


@dataclass(slots=True)
class Request:
    """Something that the other end asks for. Its arguments are JSON, and nothing about them is checked yet.

    Attributes:
        command: What it asks for.
        arguments: With what.
        fds: Descriptors that came with it. Those that are left when it is answered are closed.
    """

    command: str
    arguments: Json = field(default_factory=dict, repr=False)
    fds: list[int] = field(default_factory=list)

    def take_fds(self) -> list[int]:
        """Return the descriptors; from now on the caller closes them."""
        taken, self.fds = self.fds, []
        return taken


Serve: TypeAlias = Callable[[Request], Awaitable[Json] | AsyncGenerator[Json, None]]
"""Answers a request: with one JSON object, or with events. An `OrchestratorError` goes to the asker."""


async def refuse(request: Request) -> Json:
    """Answer as an end that takes no requests."""
    raise OrchestratorError(f"nobody answers {request.command} here", key="unknown_command")


class _Call:
    """A request of ours that is under way."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Json | None] = asyncio.Queue()
        self.answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self.abandoned = False

    def end(self, answer: Json) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)
        self.events.put_nowait(None)


class Port:
    """One end of a socket pair. It is made, used and closed in an event loop.

    Args:
        sock: The end; the port owns it from now on.
        serve: Answers what the other end asks for.
        lost: Is called once if the other end goes or breaks a rule, and not after `close`.
        peer: What the other end is called in errors, such as "the gateway".
        most_a_second: How many frames of the other end are heard, on average.
        most_bytes_a_second: How many bytes of it are read, on average; None for as many as come.
        finish: Carry out a request that has begun even if the asker goes or gives up, unless it has events.

    Attributes:
        why: Why the port was lost, for a log; empty while it is not, and if the other end just ended.
    """

    def __init__(
        self,
        sock: socket.socket,
        serve: Serve = refuse,
        lost: Callable[[], None] = lambda: None,
        *,
        peer: str = "the other process",
        most_a_second: float = MOST_A_SECOND,
        most_bytes_a_second: float | None = None,
        finish: bool = True,
    ) -> None:
        self.why = ""
        self._socket = sock
        self._serve = serve
        self._lost = lost
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._reader = frames.Reader()
        self._meter = Meter(most_a_second, most_a_second)
        self._bytes: Meter | None = None
        if most_bytes_a_second is not None:
            self._bytes = Meter(most_bytes_a_second, most_bytes_a_second * _BYTES_AT_ONCE)
        self._open = True
        self._last_id = 0
        self._calls: dict[int, _Call] = {}
        self._turn = asyncio.Semaphore(MAX_CALLS)
        self._finish = finish
        self._served: dict[int, asyncio.Task[None]] = {}
        self._credit: dict[int, asyncio.Semaphore] = {}
        self._unwanted: set[int] = set()
        self._sender = Sender(sock, self._end)
        self._half: asyncio.TimerHandle | None = None
        self._resume: asyncio.Handle | None = None
        self._reads = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """Whether the other end may still be there."""
        return self._open

    # To ask

    async def call(
        self,
        command: str,
        /,
        *,
        fds: Sequence[int] = (),
        seconds: float | None = SECONDS,
        **arguments: object,
    ) -> Json:
        """Ask for something and return the answer. Events before it are left out.

        Args:
            command: What to ask for.
            fds: Descriptors to send along; the caller may close them when this returns or raises.
            seconds: How long that may take, None for as long as the other end is there.
            arguments: With what; JSON.

        Raises:
            NotRunning: The other end is gone.
            OrchestratorError: The other end refuses, or does not answer in time.
        """
        try:
            async with asyncio.timeout(seconds):
                number, call = await self._ask(command, arguments, fds)
                try:
                    while (await call.events.get()) is not None:
                        self._post(More(number))
                    return self._result(await call.answer)
                finally:
                    self._abandon(number, call)
        except TimeoutError:
            raise OrchestratorError(
                f"{self._peer} did not answer within {seconds:g} s: it is busy or hangs", key="no_answer"
            ) from None

    async def stream(self, command: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Ask for something that goes on, and yield its events. Closing the generator ends the command.

        Raises:
            NotRunning: The other end is gone.
            OrchestratorError: The other end refuses.
        """
        number, call = await self._ask(command, arguments, ())
        try:
            while (event := await call.events.get()) is not None:
                yield event
                self._post(More(number))
            self._result(await call.answer)
        finally:
            self._abandon(number, call)

    async def _ask(self, command: str, arguments: Json, fds: Sequence[int]) -> tuple[int, _Call]:
        await self._turn.acquire()
        try:
            async with self._sender.turn:
                await self._sender.room()
                if not self._open:
                    raise self._gone()
                number = self._last_id + 1
                try:
                    data = frames.write(Asked(number, command, arguments, tuple(fds)))
                except FrameError as error:
                    raise OrchestratorError(f"{command}: {error}", key="request_too_long") from None
                self._last_id = number
                self._sender.send(data, fds)
                if not self._open:
                    raise self._gone()
        except BaseException:
            self._turn.release()
            raise
        call = self._calls[number] = _Call()
        return number, call

    def _abandon(self, number: int, call: _Call) -> None:
        """Tell the other end that the answer is not wanted; the request counts until it has come."""
        if number in self._calls and not call.abandoned:
            call.abandoned = True
            self._post(Cancel(number))

    def _result(self, answer: Json) -> Json:
        if "result" not in answer:
            raise read_error(answer)
        result: Json = answer["result"]
        return result

    def _gone(self) -> NotRunning:
        return NotRunning(f"{self._peer} is not there any more: try again in a moment")

    # To end

    def close(self) -> None:
        """End the port: what was asked is not answered, and what waits for an answer fails."""
        self._end("", tell=False)

    def _end(self, why: str, *, tell: bool = True) -> None:
        if not self._open:
            return
        self._open = False
        self.why = why
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._socket.fileno())
        self._sender.close()
        for handle in (self._half, self._resume):
            if handle is not None:
                handle.cancel()
        self._socket.close()
        close_all(self._reader.leftover())
        for number, task in self._served.items():
            self._stop(number, task)
        gone = error_answer(self._gone())
        for call in self._calls.values():
            call.end(gone)
            self._turn.release()
        self._calls.clear()
        if tell:
            self._loop.call_soon(self._lost)

    # What comes in

    def _readable(self) -> None:
        try:
            data, fds, truncated = receive(self._socket, _READ, frames.MAX_FDS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, fds, truncated = b"", [], False
        try:
            self._reader.feed(data, fds)
            if truncated:
                raise FrameError("too many descriptors, or this process cannot have more")
        except FrameError as error:
            self._end(str(error))
            return
        if data:
            if self._bytes is not None:
                self._bytes.spend(len(data), self._loop.time())
            self._hear()
        else:
            self._end("" if self._reader.is_empty else "half a frame")

    def _hear(self) -> None:
        """Hear some frames; nothing is read before all are heard that were read."""
        self._resume = None
        try:
            for _ in range(_TURN):
                now = self._loop.time()
                if (wait := self._meter.free_at(now) - now) > 0:
                    return self._pause(wait)
                frame = self._reader.next()
                if frame is None:
                    if self._bytes is not None and (wait := self._bytes.free_at(now) - now) > 0:
                        return self._pause(wait)
                    return self._heard_all()
                self._meter.admit(now)
                self._take(frame)
                if not self._open:
                    return None
        except FrameError as error:
            self._end(str(error))
            return None
        return self._pause(0)

    def _pause(self, seconds: float) -> None:
        if self._reads:
            self._loop.remove_reader(self._socket.fileno())
            self._reads = False
        self._watch_half(waits=False)
        self._resume = (
            self._loop.call_later(seconds, self._hear) if seconds else self._loop.call_soon(self._hear)
        )

    def _heard_all(self) -> None:
        if not self._reads:
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._reads = True
        self._watch_half(waits=not self._reader.is_empty)

    def _watch_half(self, *, waits: bool) -> None:
        """Wait for the rest of a frame for so long only; a part of it does not begin the time anew."""
        if not waits and self._half is not None:
            self._half.cancel()
            self._half = None
        elif waits and self._half is None:
            self._half = self._loop.call_later(STALL_SECONDS, self._end, "half a frame")

    def _take(self, frame: Frame) -> None:
        self._watch_half(waits=False)
        match frame:
            case Asked():
                self._take_request(frame)
            case Cancel(number):
                if task := self._served.get(number):  # or the answer is on its way
                    self._stop(number, task)
            case More(number):
                if (credit := self._credit.get(number)) is not None:
                    credit.release()
            case Event(number, value):
                call = self._calls.get(number)
                if call is None or call.events.qsize() >= WINDOW:
                    raise FrameError("an event that nobody has asked for")
                if not call.abandoned:
                    call.events.put_nowait(value)
            case Answer(number, value):
                call = self._calls.pop(number, None)
                if call is None:
                    raise FrameError("an answer to what was not asked")
                self._turn.release()
                call.end(value)

    def _stop(self, number: int, task: asyncio.Task[None]) -> None:
        """End a request that nobody waits for, unless it is one to be finished."""
        if not self._finish or number in self._credit:
            task.cancel()
        else:
            self._unwanted.add(number)

    def _take_request(self, asked: Asked) -> None:
        request = Request(asked.command, asked.arguments, list(asked.fds))
        if asked.id in self._served or len(self._served) >= MAX_CALLS:
            close_all(request.take_fds())
            raise FrameError("a number that is taken" if asked.id in self._served else "too many requests")
        task = self._loop.create_task(self._answer(asked.id, request))
        self._served[asked.id] = task
        task.add_done_callback(lambda _: self._over(asked.id, request))

    async def _answer(self, number: int, request: Request) -> None:
        """Carry out a request and send its last word."""
        answer = await self._work(number, request)
        async with self._sender.turn:
            await self._sender.room()
            self._settle(number, request, answer)

    def _settle(self, number: int, request: Request, answer: Json) -> None:
        # The place is free before the asker can know of it.
        self._served.pop(number)
        self._credit.pop(number, None)
        self._unwanted.discard(number)
        close_all(request.take_fds())
        try:
            self._post(Answer(number, answer))
        except FrameError as error:
            log.error("the answer to %s of %s: %s", request.command, self._peer, error)
            self._post(Answer(number, _TOO_LONG))

    def _over(self, number: int, request: Request) -> None:
        """Answer a request whose task was canceled, perhaps before it began."""
        if number in self._served:
            self._settle(number, request, _CANCELED)

    async def _work(self, number: int, request: Request) -> Json:
        """Carry out a request; return its last word."""
        try:
            answer = self._serve(request)
            if not isinstance(answer, AsyncGenerator):
                return {"result": await answer}
            await self._pump(number, answer)
        except OrchestratorError as error:
            return error_answer(error)
        except Exception as error:  # noqa: BLE001 - a bug is answered, and logged below
            # What the error says could quote what was asked for: a message, or a number.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "unhandled exception in the request %s of %s: %s\n%s",
                request.command, self._peer, type(error).__name__, where,
            )  # fmt: skip
            text = f"a bug: {type(error).__name__}; the log of the process that was asked has the details"
            return error_answer(OrchestratorError(text, key="internal_error"))
        return {"result": {}}

    async def _pump(self, number: int, events: AsyncGenerator[Json, None]) -> None:
        credit = self._credit[number] = asyncio.Semaphore(WINDOW)
        async with contextlib.aclosing(events):
            if number in self._unwanted:
                return  # the asker has gone before this began
            async for event in events:
                await credit.acquire()
                async with self._sender.turn:
                    await self._sender.room()
                    self._post(Event(number, event))

    def _post(self, frame: Frame) -> None:
        """Send a frame without descriptors, if the port is open.

        Raises:
            FrameError: It cannot be written.
        """
        if self._open:
            self._sender.send(frames.write(frame))


_CANCELED: Final = error_answer(OrchestratorError("the request was taken back", key="canceled"))
_TOO_LONG: Final = error_answer(
    OrchestratorError("the answer is too long; name fewer accounts", key="answer_too_long")
)
