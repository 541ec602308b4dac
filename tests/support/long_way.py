"""A way to a server that is as long as a test wants: what the server says arrives later."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self


class LongWay:
    """Takes connections at a port of 127.0.0.1 and leads them to another one; as a context manager.

    Args:
        to: The server's port.

    Attributes:
        port: The port.
        seconds: By how much later arrives what the server says; it may be changed at any time.
    """

    def __init__(self, to: int) -> None:
        self.seconds = 0.0
        self._open: set[socket.socket] = set()
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def cut(self) -> None:
        """Reset all connections, as a router does that has lost what it knew of them."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RD)
                os.close(one.detach())

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is over
            while True:
                client = self._server.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            self._open |= {client, server}
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = threading.Thread(target=self._lead, args=(client, server, False), daemon=True)
            there.start()
            self._lead(server, client, True)
            there.join()

    def _lead(self, source: socket.socket, target: socket.socket, is_late: bool) -> None:
        with contextlib.suppress(OSError):  # either end has gone
            while data := source.recv(65536):
                if is_late:
                    time.sleep(self.seconds)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
