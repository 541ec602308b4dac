"""Networks: each machine has one cable to the database and one to WhatsApp, which can be pulled out.

This process is where the database and WhatsApp are. A machine is a network namespace with two pairs of
virtual interfaces. A cable that is out is an interface that is down at this end: the machine loses its
carrier, and nothing passes in either direction. Nobody else is told: connections stay as they were until
somebody gives up.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

WHATSAPP: Final = "10.66.1.1"
"""Where WhatsApp is."""
DATABASE: Final = "10.66.2.1"
"""Where the database is."""
MACHINES: Final = "10.67.0.0/16"
"""The addresses by which machines reach the database."""
MOST: Final = 200
"""How many machines there may be."""


class Side(StrEnum):
    """Where a cable leads to."""

    DATABASE = "database"
    WHATSAPP = "whatsapp"


_HERE: Final = {Side.DATABASE: "10.67", Side.WHATSAPP: "10.68"}
_THERE: Final = {Side.DATABASE: DATABASE, Side.WHATSAPP: WHATSAPP}


def prepare() -> None:
    """Give this process's network the addresses of the database and of WhatsApp.

    Raises:
        AssertionError: It could not be done; the message says why.
    """
    ip("link", "set", "lo", "up")
    for address in (WHATSAPP, DATABASE):
        ip("address", "add", f"{address}/32", "dev", "lo")


def address(number: int, side: Side) -> str:
    """Return the address of a machine at one of its cables."""
    return f"{_HERE[side]}.{number}.2"


class Network:
    """The network of a machine, which outlives the machine's processes.

    Args:
        number: Which machine, from 1 to `MOST`.
    """

    def __init__(self, number: int) -> None:
        assert 0 < number <= MOST, number
        self.number = number
        self.out: set[Side] = set()
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is not meant for it
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        for side in Side:
            self._lay(side)

    def close(self) -> None:
        """Give the network up; the kernel removes what nobody uses any more."""
        self._holder.communicate()  # its input ends, and with it `cat`

    @property
    def inside(self) -> tuple[str, ...]:
        """What has to stand before a command for it to run on the machine."""
        return ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--")

    def pull(self, *sides: Side) -> None:
        """Pull cables out; no harm if they are out."""
        for side in sides:
            ip("link", "set", self._name(side), "down")
            self.out.add(side)

    def plug(self, *sides: Side) -> None:
        """Put cables in again; no harm if they are in."""
        for side in sides:
            ip("link", "set", self._name(side), "up")
            self.out.discard(side)

    def _name(self, side: Side) -> str:
        return f"{side.value[0]}{self.number}"

    def _lay(self, side: Side) -> None:
        """Make a cable."""
        net, name = f"{_HERE[side]}.{self.number}", self._name(side)
        there = ["peer", "name", side.value, "netns", str(self._holder.pid)]
        ip("link", "add", name, "type", "veth", *there)
        ip("address", "add", f"{net}.1/30", "dev", name)
        ip("link", "set", name, "up")
        ip("address", "add", f"{net}.2/30", "dev", side.value, inside=self.inside)
        ip("link", "set", side.value, "up", inside=self.inside)
        ip("route", "add", f"{_THERE[side]}/32", "via", f"{net}.1", inside=self.inside)


def ip(*arguments: str, inside: Sequence[str] = ()) -> None:
    """Change a network.

    Args:
        *arguments: What ``ip`` is given.
        inside: What stands before the command, for the network of a machine.

    Raises:
        AssertionError: It could not be done; the message says why.
    """
    done = subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
