"""Where the gateway listens: sockets that the service opens and keeps, so that a new gateway misses nobody.

A connection that comes while one gateway ends and another begins waits in the socket's line.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.access import exposure
from orchestrator.consumers.settings import Listen, Systemd, Tcp, Unix
from orchestrator.errors import OrchestratorError
from orchestrator.service.control.listening import UnixListener
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
"""Connections that may wait to be accepted, in as far as net.core.somaxconn allows it."""
PATIENCE: Final = 2.0
"""Seconds that another service may take to make its socket in the same folder; it takes milliseconds."""

Opened: TypeAlias = socket.socket | UnixListener


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket on which the gateway listens.

    Attributes:
        address: Where, as the configuration has it.
        kind: ``tcp``, ``unix`` or ``systemd``.
        number: A number that no other listener has or had.
        socket: The socket.
    """

    address: str
    kind: str
    number: int
    socket: socket.socket


class Listeners:
    """The sockets on which the gateway listens.

    `open` waits for the file system, so it is called beside the event loop, one at a time.

    Args:
        given: The sockets that systemd has opened.
        count_tokens: Returns how many tokens there are; without one, nothing is open to other machines.

    Attributes:
        problems: What is wrong, a sentence each.
        turn: Is held by whoever opens sockets, and by whoever takes their descriptors: one that is closed
            meanwhile may be another file's by then.
    """

    def __init__(
        self, given: Sequence[socket.socket] = (), count_tokens: Callable[[], int] = lambda: 0
    ) -> None:
        self.problems: tuple[str, ...] = ()
        self.turn = asyncio.Lock()
        self._given = list(given)
        self._count_tokens = count_tokens
        self._opened: dict[Listen, tuple[Opened, int]] = {}
        self._last = 0

    def open(self, wanted: Sequence[Listen]) -> bool:
        """Open what is not open yet, and close what is not wanted any more.

        What cannot be opened is in `problems`, and tried again when this is called again.

        Returns:
            Whether any socket was opened or closed.
        """
        before = self._numbers()
        for listen in [one for one in self._opened if one not in wanted]:
            self._close(listen)  # first: the new address may be the old one and more
        problems = [problem for listen in wanted if (problem := self._ensure(listen))]
        if self._given and Systemd() not in wanted:
            problems.append(
                "systemd has handed over sockets, and `http.listen` does not name them by `systemd`: whoever"
                " connects there waits for nothing"
            )
        for sentence in problems:
            if sentence not in self.problems:
                log.error("%s", sentence)
        self.problems = tuple(problems)
        return self._numbers() != before

    def all(self) -> list[Listener]:
        """Return the open sockets. Another thread may open and close some meanwhile."""
        found = []
        for listen, (opened, number) in tuple(self._opened.items()):
            if isinstance(listen, Systemd):
                found += [
                    Listener(str(_where(one)), "systemd", number + index, one)
                    for index, one in enumerate(self._given)
                ]
            else:
                sock = opened if isinstance(opened, socket.socket) else opened.socket
                found.append(Listener(str(listen), type(listen).__name__.lower(), number, sock))
        return found

    @property
    def given(self) -> tuple[Tcp | Unix, ...]:
        """Where the sockets of systemd listen."""
        return tuple(_where(one) for one in self._given)

    def close(self) -> None:
        """Close all sockets, and remove the files of those that have one; systemd keeps its own."""
        for listen in list(self._opened):
            self._close(listen)
        for one in self._given:
            one.close()
        self._given = []

    def _numbers(self) -> set[int]:
        return {number for _, number in self._opened.values()}

    def _ensure(self, listen: Listen) -> str | None:
        """Open a socket unless it is open; return what is wrong, if anything is."""
        have = self._opened.get(listen)
        if have is not None and not (isinstance(have[0], UnixListener) and have[0].is_gone()):
            return None
        try:
            if have is not None and isinstance(have[0], UnixListener):
                have[0].renew()
                opened: Opened = have[0]
                log.warning("somebody removed %s; the service has made the socket anew", have[0].path)
            else:
                opened = self._open(listen)
        except OrchestratorError as error:
            return f"the gateway cannot listen on {listen}: {error}"
        except OSError as error:
            return f"the gateway cannot listen on {listen}: {why_not(error)}"
        self._opened[listen] = opened, self._last + 1
        self._last += max(1, len(self._given) if isinstance(listen, Systemd) else 1)
        log.info("the gateway listens on %s", listen)
        return None

    def _open(self, listen: Listen) -> Opened:
        match listen:
            case Tcp(host, port):
                if exposure.exposed((listen,)):
                    exposure.check((listen,), self._count_tokens())
                return open_tcp(host, port)
            case Unix(path):
                return _unix(path)
            case Systemd():
                if not self._given:
                    raise OrchestratorError(
                        "systemd has handed over no socket: enable the socket unit, or name an address",
                        key="machine_unfit",
                    )
                exposure.check(self.given, self._count_tokens())
                return self._given[0]

    def _close(self, listen: Listen) -> None:
        opened, _ = self._opened.pop(listen)
        if not isinstance(listen, Systemd):
            opened.close()


def open_tcp(host: str, port: int) -> socket.socket:
    """Listen on an address.

    Raises:
        OSError: That cannot be done; `why_not` says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A service that is started anew need not wait until the connections of the last one are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] and 0.0.0.0 are two addresses, on every machine.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(path: Path) -> UnixListener:
    return UnixListener(path, "the gateway's socket", backlog=BACKLOG, patience=PATIENCE)


def _where(listener: socket.socket) -> Tcp | Unix:
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return Unix(Path(os.fsdecode(name)))
    return Tcp(str(name[0]), int(name[1]))


def why_not(error: OSError) -> str:
    """Say why an address cannot be listened on."""
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there already"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.EACCES | errno.EPERM:
            return "the service's user may not; ports below 1024 need systemd's socket activation"
    return trouble(error)
