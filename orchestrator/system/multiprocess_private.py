"""Everything that is used of multiprocess without being documented: private names, patches and formats.

multiprocess has no public way to replace a fork server, to choose where it listens, or to start it without
the current folder on its path. Nothing outside this module touches a private name of multiprocess.
`tests/unit/system/test_multiprocess_private.py` says what is expected of each name. A version of multiprocess
that breaks one fails there. `pyproject.toml` allows no version that was not tried.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import multiprocess
from multiprocess import forkserver, process, reduction, resource_tracker, spawn, util

from orchestrator.system import interpreter

EXIT_UNKNOWN: Final = 255
"""The exit status that multiprocess reports for a child whose fork server, which alone learns it, is gone."""
LENGTH: Final = struct.Struct("!i")
"""How a connection writes the length of a message in front of the message."""

_told: dict[str, str] = {}
_suggested: dict[str, str] = {}


class FormerServer(NamedTuple):
    """A fork server that makes no children any more.

    Attributes:
        pid: The process id of the fork server.
        alive: A descriptor that this process has open, and a child of the fork server until `leave_helpers`.
            The fork server ends when nobody has it open any more. It does not wait to tell how its last child
            ended, so this process closes the descriptor after the last child.
    """

    pid: int
    alive: int


def fork_server_pid() -> int | None:
    """Return the process id of the fork server, None if there is none."""
    pid: int | None = forkserver._forkserver._forkserver_pid  # noqa: SLF001
    return pid


def resource_tracker_pid() -> int | None:
    """Return the process id of the resource tracker, None if there is none."""
    pid: int | None = resource_tracker._resource_tracker._pid  # noqa: SLF001
    return pid


def let_go_of_fork_server() -> FormerServer | None:
    """Have the next child made by a new fork server, and remove the socket of the one there is.

    No thread may be starting a child meanwhile.

    Returns:
        The fork server there was, None if there was none.
    """
    server = forkserver._forkserver  # noqa: SLF001
    if server._forkserver_pid is None:  # noqa: SLF001
        return None
    former = FormerServer(server._forkserver_pid, server._forkserver_alive_fd)  # noqa: SLF001
    address: str = server._forkserver_address  # noqa: SLF001
    server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None  # noqa: SLF001
    with contextlib.suppress(OSError):
        Path(address).unlink()
    return former


def reap_helpers() -> None:
    """Wait for the end of the fork server and of the resource tracker, which were told to end."""
    for helper in (forkserver._forkserver, resource_tracker._resource_tracker):  # noqa: SLF001
        with contextlib.suppress(OSError):
            helper._stop()  # noqa: SLF001


def forget_child(child: object) -> None:
    """Take a process off multiprocess's list of children.

    Every start looks through that list for children that have ended. It does so in another thread than the
    one that reaps them, and the second of the two to ask is told `EXIT_UNKNOWN`.
    """
    process._children.discard(child)  # noqa: SLF001


def leave_helpers() -> None:
    """In a child: close the pipes to the fork server and to the resource tracker, which every child is given.

    A byte in the first would end the fork server, which alone learns how the children of others end. By the
    second the tracker, which is not confined, would be told what to remove at its end.
    """
    for helper, name in (
        (forkserver._forkserver, "_forkserver_alive_fd"),  # noqa: SLF001
        (resource_tracker._resource_tracker, "_fd"),  # noqa: SLF001
    ):
        descriptor = getattr(helper, name)
        if descriptor is not None:
            setattr(helper, name, None)
            with contextlib.suppress(OSError):
                os.close(descriptor)


def set_temporary_folder(folder: str) -> None:
    """Choose where multiprocess makes its sockets: by default in /tmp, which others clean up."""
    process.current_process()._config["tempdir"] = folder  # noqa: SLF001


def forget_temporary_folder() -> None:
    """Let multiprocess choose again where it makes its sockets."""
    process.current_process()._config.pop("tempdir", None)  # noqa: SLF001


def tell_helpers(name: str, text: str) -> None:
    """Put a variable into the environment of helpers that start from now on, and not into this process's."""
    _told[name] = text


def suggest_to_helpers(name: str, text: str) -> None:
    """Do the same with a variable that stays as it is if this process's environment has it."""
    _suggested[name] = text


def start_helpers_guarded() -> None:
    """Have multiprocess start its fork server and its resource tracker as `interpreter` does."""
    util.spawnv_passfds = _spawn_guarded
    spawn.get_preparation_data = preparation_data


def _spawn_guarded(path: bytes, args: list[Any], passfds: Any) -> int:  # noqa: ANN401
    # multiprocess cannot choose the environment. Children of the fork server have the fork server's.
    from subprocess import Popen  # the fork server imports this module, too, and starts no program

    # A terminal sends SIGINT to helpers, too. A helper that still loads has no handler, and would end with a
    # traceback. The mask is inherited; an account's process empties it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        helper = Popen(
            interpreter.guarded(args),
            executable=path,
            env=_suggested | interpreter.helper_environment(os.environ) | _told,
            pass_fds=tuple(map(int, passfds)),
            restore_signals=False,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # multiprocess waits for the process. Popen must not.
    helper.returncode = 0
    return helper.pid


def preparation_data(name: str) -> dict[str, Any]:
    """Return what a child has to know before it can read what it is to run.

    multiprocess would add the main module, which is the whole command line and takes 70 ms and some MB in
    each child, and the current folder, which may have been removed.

    Args:
        name: What the child is called.
    """
    return {"name": name, "authkey": multiprocess.current_process().authkey, "sys_path": sys.path.copy()}


def bear_hang_ups() -> None:
    """In a fork server: go on when the parent connects and hangs up without sending descriptors.

    The parent does so when it runs out of descriptors itself, after it has connected.
    """
    reduction.recvfds = _receive_descriptors


def _receive_descriptors(sock: socket.socket, size: int, receive: Any = reduction.recvfds) -> list[int]:  # noqa: ANN401
    try:
        received: list[int] = receive(sock, size)
    except EOFError:
        # The only error that the fork server's loop survives.
        raise ConnectionAbortedError(errno.ECONNABORTED, "nothing was sent") from None
    return received
