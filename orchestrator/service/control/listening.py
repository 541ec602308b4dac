"""Opens UNIX sockets: other users can never connect, and the socket of a live service is never replaced."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from orchestrator.errors import AlreadyRunning, StateError
from orchestrator.system.files import temporary_socket_name
from orchestrator.system.locking import flock

BACKLOG = 64
"""Connections that may wait to be accepted; further ones wait in connect()."""


class UnixListener:
    """A UNIX socket that listens, and its file.

    Args:
        path: The socket's file; its folder must exist.
        what: What the socket is, in errors.
        backlog: Connections that may wait to be accepted.
        patience: Seconds that another service may take to make its socket in the same folder; None for as
            long as it takes.

    Attributes:
        path: The socket's file.
        socket: The socket.

    Raises:
        AlreadyRunning: Another service listens on this path.
        StateError: The socket cannot be made, or another file has this path.
    """

    def __init__(
        self, path: Path, what: str, *, backlog: int = BACKLOG, patience: float | None = None
    ) -> None:
        self.path = path
        self._what = what
        self._backlog = backlog
        self.socket, self._identity = self._make(patience)

    def is_gone(self) -> bool:
        """Tell whether the file was removed, so that no command can connect."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            pass  # nothing is known: do not replace the socket
        return False

    def renew(self) -> None:
        """Make a new socket on the same path, and close the old one.

        Raises:
            AlreadyRunning: Another service listens on this path.
            StateError: The socket cannot be made, or another file has this path. The old socket stays.
        """
        before = self.socket
        self.socket, self._identity = self._make(patience=0.0)
        before.close()

    def close(self) -> None:
        """Stop listening, and remove the file if it is still this socket's."""
        try:
            if _identity(self.path) == self._identity:
                self.path.unlink()
        except OSError:
            pass  # somebody else has removed it
        self.socket.close()

    def _make(self, patience: float | None) -> tuple[socket.socket, tuple[int, int]]:
        """Return a socket that listens and the identity of its file; the class lists the errors."""
        try:
            # Held only while this is done: two services that start at once must not take each other's socket
            # for a stale one.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                flock(folder, patience=patience)
                _check_place(self.path, self._what)
                return _listen(self.path, self._backlog)
            finally:
                os.close(folder)
        except OSError as error:
            raise StateError(f"{self.path}: {self._what} cannot be made: {error.strerror or error}") from None


class ControlSocket(UnixListener):
    """The control socket.

    Args:
        path: The socket's file; its folder must exist.

    Raises:
        AlreadyRunning: Another service listens on this path.
        StateError: The socket cannot be made, or another file has this path.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "the control socket")


def _listen(path: Path, backlog: int) -> tuple[socket.socket, tuple[int, int]]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # No longer than the name it gets in the end, whose length has been checked.
    temporary = path.with_name(temporary_socket_name())
    try:
        # On Linux the file inherits the mode of the unbound socket, so it is never open to others. The umask
        # would do the same, but for all threads.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(os.fspath(temporary))
        try:
            listener.listen(backlog)
            identity = _identity(temporary)
            temporary.rename(path)
        except BaseException:
            temporary.unlink()
            raise
    except BaseException:
        listener.close()
        raise
    return listener, identity


def _check_place(path: Path, what: str) -> None:
    """Check that the path is free, or has only the socket of a service that is gone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StateError(f"{path}: another file has the path of {what}: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        code = probe.connect_ex(os.fspath(path))
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise AlreadyRunning(
            f"{path}: another service listens on this path; stop that service, or choose another state folder"
        )


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
