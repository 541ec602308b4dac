"""Ports for the services of tests."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_FIRST = 10_000
"""Below this, programs of the machine itself may listen."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""From where to where the kernel takes the ports that nobody has named."""

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port where nobody listens, for a program that will listen later.

    The kernel gives the port to nobody else in the meantime, neither for a connection nor for a server with
    port 0. A port from the kernel's own range might be in use by the time that the program is ready.
    """
    low = int(_RANGE.read_text().split()[0])
    while True:
        port = random.randrange(_FIRST, low) if low > _FIRST + 1000 else 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as one:
            try:
                one.bind((host, port))
            except OSError:
                continue
            found = int(one.getsockname()[1])
        if found not in _given:
            _given.add(found)
            return found
