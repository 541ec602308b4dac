"""Who is at the other end of a connection on the control socket, as the kernel tells."""

from __future__ import annotations

import os
import socket
import struct

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user, group."""


def of(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end.

    The kernel noted them when the connection was made or, for the program that listens, when it began to
    listen.

    Raises:
        OSError: The kernel does not say.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(data)
    return process, user


def is_ours(user: int) -> bool:
    """Tell whether a user is root or this process's own."""
    return user in (0, os.geteuid())
