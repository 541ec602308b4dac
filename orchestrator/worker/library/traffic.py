"""Whether the library talks with the database: it does nothing with a message without that.

The kernel knows when data went over each connection last. The library is Go's, and says nothing of what it
does between two calls.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Final
from urllib.parse import parse_qs, urlsplit

_FDS: Final = "/proc/self/fd"
_LAST_DATA: Final = struct.Struct("=44xI4xI")
"""Where `struct tcp_info` of Linux has the milliseconds since data were sent and received last."""


class Traffic:
    """What goes over this process's connections to one port.

    Args:
        dsn: What the library opens the database with, as `Dsn.for_library` writes it.
    """

    def __init__(self, dsn: str) -> None:
        self._port = int(parse_qs(urlsplit(dsn).query)["port"][0])

    def idle_seconds(self) -> float:
        """Return for how long nothing has been sent or received; infinity without a connection."""
        ages = [float("inf")]
        for name in os.listdir(_FDS):  # noqa: PTH208 - names are all that is wanted
            with contextlib.suppress(OSError):  # it was closed in this moment, or is no socket
                if os.readlink(f"{_FDS}/{name}").startswith("socket:"):  # noqa: PTH115
                    ages.append(self._age(os.dup(int(name))))
        return min(ages)

    def _age(self, descriptor: int) -> float:
        """Return the age of the last data of a connection, infinity if it is another one; close it.

        Raises:
            OSError: It is not connected.
        """
        with _socket(descriptor) as one:
            if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
                return float("inf")
            if one.getpeername()[1] != self._port:
                return float("inf")
            told = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
            sent, received = _LAST_DATA.unpack(told)
            return float(min(sent, received)) / 1000


def _socket(descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise
