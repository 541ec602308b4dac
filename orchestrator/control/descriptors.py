"""Descriptors that come over a socket with bytes: SCM_RIGHTS, as unix(7) describes it."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any

_ITEM = array.array("i").itemsize


def receive(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int], bool]:
    """Receive bytes, and the descriptors that came with them.

    Args:
        sock: The socket.
        size: How many bytes at most.
        most: How many descriptors at most.

    Returns:
        The bytes, the descriptors, which are the caller's to close, and whether there were more of these.

    Raises:
        OSError: Nothing can be received.
    """
    room = socket.CMSG_SPACE(most * _ITEM)
    data, ancillary, flags, _ = sock.recvmsg(size, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, item in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(item[: len(item) - len(item) % _ITEM])
    return data, list(fds), bool(flags & socket.MSG_CTRUNC)


def ancillary(fds: Sequence[int]) -> list[Any]:
    """Return what `socket.sendmsg` sends descriptors by; nothing if there are none."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
