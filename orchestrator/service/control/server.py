"""The service's end of the control socket: connections, their limits, and bad clients.

Each connection carries one request. No client can hold up the service or another client: each connection has
its own task, and its time and memory are limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import traceback
from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol

from orchestrator.control import peer
from orchestrator.control.descriptors import ancillary, close_all
from orchestrator.control.protocol import MAX_LINE, Json, ProtocolError, encode, error_answer
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service import who
from orchestrator.service.control.commands import Caller, Events, Handed, Handing, Result
from orchestrator.service.control.incoming import Incoming
from orchestrator.service.control.listening import ControlSocket
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Commands at once. Each may hold up to `MAX_LINE` of unsent bytes and twice `MAX_REQUEST` of unread ones."""
REQUEST_SECONDS = 10.0
"""How long a client may take to send its request; the orchestrator's own client sends it at once."""
LOOK_SECONDS = 10.0
"""How often the service checks that the socket's file still exists; each check takes 5 microseconds."""
ACCEPT_RETRY_SECONDS = 1.0
"""How long the service waits before it accepts again when it has no file descriptor left."""
SEND_SECONDS = 30.0
"""How long a client may leave an answer unread, such as a client that was stopped by Ctrl-Z."""

LEAVE_SECONDS = 1.0
"""How long those who have connected may take to ask, when the socket is left to the service that begins."""

_MORE = 1024
"""Bytes that are taken in behind a request, of which one says already that there is too much."""

STRANGERS_NAMED = 10
"""How many users the log names who were refused, once each. All refusals are counted."""


class _Gone(Exception):  # noqa: N818
    """The client has closed the connection, or does not read its answer."""


class Answering(Protocol):
    """What answers commands.

    Attributes:
        refused: How many connections of other users were refused.
    """

    refused: int

    def answer(self, request: Json, caller: Caller | None = None) -> Awaitable[Json] | Events | Handing:
        """Carry out a request; see `Commands.answer`."""


class ControlServer:
    """Answers the commands that come over a socket.

    Args:
        listener: The socket.
        commands: What to answer.
    """

    def __init__(self, listener: ControlSocket, commands: Answering) -> None:
        self._listener = listener
        self._commands = commands
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._begun: set[asyncio.Task[None]] = set()  # those whose task closes them itself
        self._silent: dict[asyncio.Task[None], None] = {}  # those that have said nothing yet, by age
        self._turned_away: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._look_again: asyncio.TimerHandle | None = None
        self._full = False
        self._unreachable = False
        self._strangers: set[int] = set()

    async def start(self) -> None:
        """Begin to accept connections."""
        # asyncio's own server logs a hundred tracebacks a second while there are no descriptors.
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener.socket.fileno(), self._accept)
        self._look_again = loop.call_later(LOOK_SECONDS, self._look)

    async def close(self) -> None:
        """End all connections, telling those that wait that the service stops, and remove the socket."""
        self._accept_no_more()
        self._listener.close()
        await self._end_all()

    async def leave(self) -> None:
        """Leave the socket to who listens next. Who has asked is answered; whoever connects waits."""
        self._accept_no_more()
        if self._connections:
            await asyncio.wait(self._connections, timeout=LEAVE_SECONDS)
        await self._end_all()

    def _accept_no_more(self) -> None:
        if self._listener.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.socket.fileno())
        for timer in (self._retry, self._look_again):
            if timer is not None:
                timer.cancel()

    async def _end_all(self) -> None:
        for task in self._connections:
            task.cancel()
        # Each ends by itself now; none waits for its client.
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _look(self) -> None:
        """Listen anew if the socket was removed: without one, nobody could as much as stop an account."""
        loop = asyncio.get_running_loop()
        self._look_again = loop.call_later(LOOK_SECONDS, self._look)
        if self._retry is not None or not self._listener.is_gone():
            return
        loop.remove_reader(self._listener.socket.fileno())
        try:
            self._listener.renew()
        except OrchestratorError as error:
            if not self._unreachable:
                log.error(
                    "somebody removed the control socket, so no command can reach the service: %s", error
                )
            self._unreachable = True
        else:
            log.warning("somebody removed %s; the service has made the socket anew", self._listener.path)
            self._unreachable = False
        finally:
            loop.add_reader(self._listener.socket.fileno(), self._accept)

    def _accept(self) -> None:
        # One in a turn of the loop: it takes some turns to read a request, and whoever has sent one must not
        # be taken for silent because `MAX_CONNECTIONS` others came meanwhile.
        try:
            connection, _ = self._listener.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._wait(error)
            return
        if self._retry is not None:
            log.warning("the service accepts commands again")
            self._retry = None
        if not self._refuses(connection):
            self._take(connection)

    def _refuses(self, connection: socket.socket) -> bool:
        """Close the connection of another user, whatever let that user in; return whether that was done."""
        try:
            process, user = peer.of(connection)
        except OSError:
            connection.close()  # nobody knows who that is
            return True
        if peer.is_ours(user):
            return False
        self._commands.refused += 1
        if user not in self._strangers and len(self._strangers) < STRANGERS_NAMED:
            self._strangers.add(user)
            log.warning(
                "process %d of user %d tried to give a command and was refused, as others of this user will"
                " be: the mode or the folder of %s was changed, or the user got the socket another way",
                process, user, self._listener.path,
            )  # fmt: skip
        _turn_away(connection, _STRANGER)
        return True

    def _wait(self, error: OSError) -> None:
        """Let those who want to connect wait: asking again at once gives nothing but the same error."""
        if self._retry is None:
            log.error("the service cannot accept commands for now: %s", trouble(error))
        loop, descriptor = asyncio.get_running_loop(), self._listener.socket.fileno()
        loop.remove_reader(descriptor)
        self._retry = loop.call_later(ACCEPT_RETRY_SECONDS, loop.add_reader, descriptor, self._accept)

    def _take(self, connection: socket.socket) -> None:
        full = len(self._connections) - len(self._turned_away) >= MAX_CONNECTIONS
        if full and not self._full:
            log.warning("the service refuses further commands: %d are connected", MAX_CONNECTIONS)
        self._full = full
        if full and not self._make_room():
            _turn_away(connection, _TOO_MANY)
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._over)

    def _make_room(self) -> bool:
        """End the oldest connection that has not said what it wants; return whether there is one.

        Our own client says it at once. One that does not, however often it connects, keeps nobody out.
        """
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        del self._silent[oldest]
        self._turned_away.add(oldest)
        oldest.cancel()
        return True

    def _over(self, task: asyncio.Task[None]) -> None:
        connection = self._connections.pop(task)
        self._silent.pop(task, None)
        self._turned_away.discard(task)
        if task not in self._begun:
            connection.close()
        self._begun.discard(task)

    async def _serve(self, connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._begun.add(task)
        self._silent[task] = None
        incoming = Incoming(connection)
        try:
            await incoming.receive(REQUEST_SECONDS)
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_MORE)
        except BaseException as error:
            close_all(incoming.fds)
            if isinstance(error, asyncio.CancelledError):
                _turn_away(connection, self._farewell(task))
            connection.close()
            raise
        # A line is sent off whole before the next one is made: no more than one is ever unsent.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            last = await self._last_word(task, incoming, reader, writer)
            if last is not None:
                await _send(writer, last)
        except _Gone:
            writer.transport.abort()  # what is unsent is of no use to anybody
        except asyncio.CancelledError:
            # There is room for a line unless the client does not read, and then it does not matter.
            writer.write(encode(self._farewell(task)))
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            raise
        finally:
            close_all(incoming.fds)
            writer.close()

    def _farewell(self, task: asyncio.Task[None]) -> Json:
        """Return what is said to a client whose connection is ended."""
        return _TOO_MANY if task in self._turned_away else _STOPPED

    def _note_who(self, command: object, connection: socket.socket) -> None:
        """Note for the rest of this task who gives the command."""
        with contextlib.suppress(OSError):
            process, user = peer.of(connection)
            who.begin(who.peer(process, user))
            log.debug("command %s from process %d of user %d", command, process, user)

    async def _last_word(
        self,
        task: asyncio.Task[None],
        incoming: Incoming,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Json | None:
        """Carry out the request; return the line to end with, None if nobody is there to hear it.

        Raises:
            _Gone: The client does not hear the events.
        """
        name: object = None
        try:
            self._silent.pop(task, None)
            request = incoming.request()
            if request is None:
                return None
            name = request.get("command")
            self._note_who(name, writer.get_extra_info("socket"))
            answer = self._commands.answer(request, Caller(fds=incoming.fds))
            if isinstance(answer, AsyncGenerator):
                if incoming.has_more:
                    await answer.aclose()
                    return _ONE_REQUEST
                return await _with_events(answer, reader, writer)
            return {"result": await answer}
        except OrchestratorError as error:
            return error_answer(error)
        except ProtocolError as error:
            return _error(str(error), "bad_request")
        except _Gone:
            raise
        except Exception as error:  # noqa: BLE001 - a bug is answered, and logged
            # What the error says could quote what was asked for: a message, or a number.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("unhandled exception in the command %.40r: %s\n%s", name, type(error).__name__, where)
            return _error(
                f"a bug in the service: {type(error).__name__}; its log has the details", "internal_error"
            )


async def _send(writer: asyncio.StreamWriter, line: Json) -> None:
    """Send a line and wait until it is out.

    Raises:
        _Gone: The client is no longer there, or does not read.
    """
    data = encode(line)
    if len(data) > MAX_LINE:
        data = encode(_error("the answer is too long; name fewer accounts", "answer_too_long"))
    writer.write(data)
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await writer.drain()
    except (ConnectionError, TimeoutError):
        raise _Gone from None


def _hand_over(writer: asyncio.StreamWriter, handed: Handed) -> None:
    """Send an event with its sockets. Nothing is unsent before it, and it is short: it goes at once.

    Raises:
        _Gone: The client is no longer there, or does not read.
    """
    data = encode({"event": handed.value})
    try:
        own = os.dup(writer.get_extra_info("socket").fileno())
        with socket.socket(fileno=own) as connection:
            fds = [one.fileno() for one in handed.sockets]
            if connection.sendmsg([data], ancillary(fds)) < len(data):
                raise _Gone
    except OSError:
        raise _Gone from None
    finally:
        for one in handed.sockets:
            one.close()


async def _with_events(
    events: Events | Handing, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Json | None:
    """Send events, and return the last word; or None as soon as the client goes, which ends the command."""
    pump = asyncio.ensure_future(_pump(events, writer))
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        if pump.done():
            return pump.result()
        if gone.exception() is None and gone.result():
            return _ONE_REQUEST
        return None
    finally:
        pump.cancel()
        gone.cancel()
        await asyncio.gather(pump, gone, return_exceptions=True)


async def _pump(events: Events | Handing, writer: asyncio.StreamWriter) -> Json:
    async with contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Result):
                return {"result": event.value}
            if isinstance(event, Handed):
                _hand_over(writer, event)
            else:
                await _send(writer, {"event": event})
    raise RuntimeError("the command has no last word")


def _error(message: str, key: str) -> Json:
    return error_answer(OrchestratorError(message, key=key))


_ONE_REQUEST = _error("one connection has one request", "bad_request")
_TOO_MANY = _error("too many commands at once; try again in a moment", "service_busy")
_STOPPED = error_answer(NotRunning("the service has stopped"))
_STRANGER = _error("only root and the user of the service may give commands", "permission_denied")


def _turn_away(connection: socket.socket, answer: Json) -> None:
    """Say why a connection is not taken, if the client hears it at once, and close."""
    with connection, contextlib.suppress(OSError):
        connection.setblocking(False)
        connection.send(encode(answer))
