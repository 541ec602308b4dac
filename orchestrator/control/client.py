"""How a command asks the running service: synchronous, standard library only, fast to import."""

from __future__ import annotations

import os
import pwd
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.accounts import deadlines
from orchestrator.control import peer
from orchestrator.control.descriptors import ancillary, close_all, receive
from orchestrator.control.protocol import (
    MAX_LINE,
    MAX_REQUEST,
    Json,
    ProtocolError,
    decode,
    encode,
    read_error,
)
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.system.units import RUN

CONNECT_SECONDS = 5
"""How long the service may take to accept a connection. Nothing it does takes a tenth of this."""
ANSWER_SECONDS = deadlines.ANSWER.outer
"""How long an answer may take."""
SEND_SECONDS = deadlines.SEND_ANSWER.outer
"""How long the answer to `send` may take, for which the service waits for WhatsApp."""
_SENDING = frozenset({"send", "take_back", "act", "look"})
"""Commands for which the service may wait for WhatsApp or for an account's process."""
_CHUNK = 64 * 1024
_MOST_FDS = 4


class Client:
    """Asks the service that listens on a socket. Every command makes a connection of its own.

    Args:
        path: The control socket.
        start_command: Returns the command that starts the service. It is called when no program listens.
        trusts: Tells whether the service may be a user's. By default, it is root's or this user's.
    """

    def __init__(
        self,
        path: Path,
        start_command: Callable[[], str] = lambda: RUN,
        trusts: Callable[[int], bool] = peer.is_ours,
    ) -> None:
        self.path = path
        self.start_command = start_command
        self.trusts = trusts

    def call(self, command: str, /, *, file: int | None = None, **arguments: object) -> Json:
        """Give a command and return its result.

        Args:
            command: Its name.
            file: A descriptor of a file that goes along, for commands that take one; the caller closes it.
            arguments: What it takes.

        Raises:
            NotRunning: No program listens, or the service is about to stop.
            NoSuchAccount: The command names an account that does not exist.
            OrchestratorError: The service refuses the command or does not answer in time.
        """
        patience = SEND_SECONDS if command in _SENDING else ANSWER_SECONDS
        with self._stream(command, arguments, patience, () if file is None else (file,)) as stream:
            for _ in stream:
                pass
            return stream.result

    def stream(self, command: str, **arguments: object) -> Stream:
        """Give a command that goes on, and return its events. It raises the same errors as `call`.

        Hours may pass between two events, so only connecting has a time limit.
        """
        return self._stream(command, arguments, None)

    def _stream(
        self, command: str, arguments: Json, timeout: float | None, fds: Sequence[int] = ()
    ) -> Stream:
        request = {"command": command, **arguments}
        return Stream(self.path, request, timeout, self.start_command, self.trusts, fds)


class Stream:
    """The events of a command. As a context manager, it closes the connection at the end.

    Attributes:
        result: The command's result, once the events are over.
    """

    def __init__(
        self,
        path: Path,
        request: Json,
        timeout: float | None,
        start_command: Callable[[], str] = lambda: RUN,
        trusts: Callable[[int], bool] = peer.is_ours,
        fds: Sequence[int] = (),
    ) -> None:
        self.result: Json = {}
        self._fds: list[int] = []
        self._path = path
        self._buffer = bytearray()
        line = encode(request)
        if len(line) > MAX_REQUEST:
            raise OrchestratorError(
                "the request is too long: name fewer accounts, or use --all",
                key="request_too_long",
            )
        self._socket = _connect(path, start_command)
        try:
            _check_peer(self._socket, path, trusts)
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(timeout)
        try:
            sent = self._socket.sendmsg([line], ancillary(fds)) if fds else 0
            self._socket.sendall(memoryview(line)[sent:])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the service has refused the connection, and its answer says why
        except OSError as error:
            self._socket.close()
            raise OrchestratorError(
                f"the service does not take the command: {error.strerror or error}", key="service_unreachable"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Json]:
        try:
            while "event" in (answer := self._answer()):
                yield answer["event"]
        finally:
            self.close()  # one connection has one answer
        if "result" not in answer:
            raise read_error(answer)
        self.result = answer["result"]

    def is_ready(self, seconds: float | None) -> bool:
        """Wait until there is an event or the end; return False if neither comes within so many seconds."""
        if b"\n" in self._buffer:
            return True
        return bool(select.select([self._socket], [], [], seconds)[0])

    def fileno(self) -> int:
        """Return the connection's descriptor, for those who wait for the next event."""
        return self._socket.fileno()

    def take_fds(self) -> list[int]:
        """Return the descriptors that came with the last events; the caller closes them."""
        taken, self._fds = self._fds, []
        return taken

    def close(self) -> None:
        """End the connection; a command that goes on ends with it."""
        self._socket.close()
        close_all(self.take_fds())

    def _answer(self) -> Json:
        end = self._buffer.find(b"\n")
        while end < 0:
            try:
                data, fds, _ = receive(self._socket, _CHUNK, _MOST_FDS)
                self._fds += fds
            except TimeoutError:
                raise OrchestratorError(
                    "the service does not answer: it is busy or hangs; `orchestrator doctor` may say more",
                    key="no_answer",
                ) from None
            except OSError:
                data = b""
            if not data:
                raise NotRunning("the service ended before it answered; the service's log says why")
            searched = len(self._buffer)
            self._buffer += data
            end = self._buffer.find(b"\n", searched)
            if end < 0 and len(self._buffer) > MAX_LINE:
                raise self._not_a_service()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            return decode(line)
        except ProtocolError:
            raise self._not_a_service() from None

    def _not_a_service(self) -> OrchestratorError:
        return OrchestratorError(
            f"the program that listens on {self._path} is not an orchestrator service, or not a compatible"
            " version",
            key="protocol_mismatch",
        )


def _connect(path: Path, start_command: Callable[[], str]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Not settimeout(): where others wait in line, a socket that does not block is refused at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", CONNECT_SECONDS, 0))
        connection.connect(os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        raise NotRunning(
            f"the service is not running: no program listens on {path}; start the service with"
            f" `{start_command()}`, or name its state folder with --state-dir"
        ) from None
    except PermissionError:
        connection.close()
        raise OrchestratorError(
            f"{path}: this user may not talk to the service{_owner_hint(path)}", key="permission_denied"
        ) from None
    except BlockingIOError:
        connection.close()
        raise OrchestratorError(
            f"{path}: the service accepts no connections: it hangs, or too many commands wait for it",
            key="service_busy",
        ) from None
    except OSError as error:
        connection.close()
        raise OrchestratorError(
            f"{path}: the service cannot be reached: {error.strerror or error}", key="service_unreachable"
        ) from None
    return connection


def _check_peer(connection: socket.socket, path: Path, trusts: Callable[[int], bool]) -> None:
    """See that the program at the other end is no stranger's, before it gets as much as a byte.

    Whatever the path leads to by now, the kernel tells whom the connection goes to.

    Raises:
        OrchestratorError: The program is another user's.
    """
    process, user = peer.of(connection)
    if trusts(user):
        return
    raise OrchestratorError(
        f"{path}: the program that listens there (process {process}) is {_name(user)}'s, so it is not the"
        f" service, and got no command; name the service's state folder with --state-dir, or run this as"
        f" that user: `sudo -u {_name(user)} orchestrator …`",
        key="service_untrusted",
    )


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"  # as sudo takes it


def _owner_hint(path: Path) -> str:
    """Name the user to try again as, if the folders above the socket show one."""
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            continue
        return f"; run this as the service's user: `sudo -u {_name(owner)} orchestrator …`"
    return ""
