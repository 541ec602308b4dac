"""Sockets that systemd has opened for the service: sd_listen_fds(3)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

FIRST: Final = 3
"""The descriptor of the first socket."""
MOST: Final = 64
"""Sockets that are taken; nobody needs as many."""
VARIABLES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What systemd sets for the main process alone."""


def take(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Take the sockets, and what says so out of the environment, so that no child inherits them.

    Descriptors that are no sockets on which a stream is listened for are left out, and closed.

    Args:
        environ: The environment.
    """
    values = [environ.pop(name, "") for name in VARIABLES]
    count, process = values[0], values[1]
    if not count.isascii() or not count.isdigit() or process != str(os.getpid()):
        return []
    found = []
    for descriptor in range(FIRST, FIRST + min(int(count[:9]), MOST)):
        listener = _listener(descriptor)
        if listener is not None:
            found.append(listener)
    return found


def _listener(descriptor: int) -> socket.socket | None:
    """Return a descriptor as a socket; None if it is none, or does not listen."""
    try:
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        return None
    listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if one.type != socket.SOCK_STREAM or not listens:
        one.close()
        return None
    one.setblocking(False)
    return one
