"""What the service tells systemd about itself: the parts of sd_notify(3) and sd_watchdog_enabled(3) it uses.

Nothing here waits or raises: a service must not fail because nobody listens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd sets for the main process alone."""
MAX_STATUS: Final = 200
"""Characters of a status: ``systemctl status`` shows it on one line."""
_LIFE: Final = ("READY", "RELOADING", "STOPPING")
"""Of these, only what was said last is true."""


class Notifier:
    """Tells systemd how the service is; without a systemd that wants to know, it does nothing.

    Args:
        address: The socket, as ``$NOTIFY_SOCKET`` names it: a path, or a name after ``@``; None for none.
        watchdog: Seconds within which systemd wants to hear from the service again and again; None for never.

    Attributes:
        watchdog: Seconds within which systemd expects the next sign of life, None for never.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        self._unsent: dict[str, str] = {}
        self._address = ""
        self._socket: socket.socket | None = None
        if address is None or address[:1] not in ("/", "@"):
            return
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        with contextlib.suppress(OSError):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Make one as the environment says, and take what says so out of it, so that no child inherits it.

        Args:
            environ: The environment.
        """
        watchdog = watchdog_seconds(environ, os.getpid())
        address = environ.get("NOTIFY_SOCKET")
        for name in VARIABLES:
            environ.pop(name, None)
        return cls(address, watchdog)

    @property
    def listens(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def ready(self, status: str | None = None) -> None:
        """Say that the service is there for its users, or is again after a reload."""
        self._tell({"READY": "1"} | _status(status))

    def reloading(self) -> None:
        """Say that the service reads its configuration again; `ready` ends that, whatever came of it."""
        # From 253 on systemd tells by the time which reload is meant.
        self._tell(
            {"RELOADING": "1", "MONOTONIC_USEC": str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)}
        )

    def stopping(self, status: str | None = None) -> None:
        """Say that the service is about to end."""
        self._tell({"STOPPING": "1"} | _status(status))

    def status(self, text: str) -> None:
        """Say what the service is doing, in a line for people."""
        self._tell(_status(text))

    def alive(self) -> None:
        """Say that the service does not hang, if that is asked for; and all that could not be sent before."""
        self._tell({"WATCHDOG": "1"} if self.watchdog else {})

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, variables: Mapping[str, str]) -> None:
        if self._socket is None:
            return
        if not variables.keys().isdisjoint(_LIFE):
            for name in (*_LIFE, "MONOTONIC_USEC"):
                self._unsent.pop(name, None)
        self._unsent.update(variables)
        if not self._unsent:
            return
        data = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        try:
            self._socket.sendto(data.encode(errors="replace"), socket.MSG_NOSIGNAL, self._address)
        except BlockingIOError:
            return  # systemd has much to read: this goes along with what is said next
        except OSError:
            pass  # nobody listens
        self._unsent.clear()


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return within how many seconds systemd wants to hear from a process again, None for never.

    Args:
        environ: The process's environment.
        pid: Its id; the watchdog may be meant for another.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    whose = environ.get("WATCHDOG_PID", str(pid))
    if not microseconds.isdecimal() or int(microseconds) == 0 or whose != str(pid):
        return None
    return int(microseconds) / 1e6


def _status(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    # A line break would begin another variable.
    return {"STATUS": " ".join(text.split())[:MAX_STATUS]}
