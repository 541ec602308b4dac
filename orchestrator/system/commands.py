"""Runs a program of an operator's to its end: its input from memory, its output bounded, its time limited.

The program gets no other descriptor, a session and a process group of its own, and a short environment.
What it leaves behind in that group may go on until the program's time is over, since `mail` returns while the
letter is still being handed over; then the group is killed. `no_new_privs` is not set, nor Landlock, which
needs that: programs that take letters are often set-group-ID, such as Postfix's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_OUTPUT: Final = 4096
"""Bytes at the end of the output that are kept."""
_READ: Final = 16 * 1024
_QUICK: Final = 1 << 20
"""Bytes of output that are read as they come; after these, a program that prints without end has to wait."""
_PAUSE_SECONDS: Final = 0.05
_LAST_READS: Final = 16
_SHORTEST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 0.5
"""Seconds between two looks whether anything is left of a program that has ended."""

_PASSED_ON: Final = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LANGUAGE", "TZ", "TZDIR", "LOCPATH",
        "SSL_CERT_FILE", "SSL_CERT_DIR",
    }
)  # fmt: skip
_SANDBOX: Final = "ORCHESTRATOR_SANDBOX_ROOT_KEY"
"""Where this is set, the certificates that count are the sandbox's, which nobody else has."""
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program has ended.

    Attributes:
        status: Its exit code, or a signal below 0.
        output: The end of what it printed.
        is_late: Whether it was killed because its time was over.
        is_stopped: Whether it was killed because somebody wanted that.
    """

    status: int
    output: str
    is_late: bool = False
    is_stopped: bool = False

    @property
    def worked(self) -> bool:
        """Whether the program has done what it was to do."""
        return self.status == 0 and not self.is_late and not self.is_stopped


class Stop:
    """Ends a running program from another thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def fileno(self) -> int:
        """Return a descriptor that can be read from once the program is to end."""
        return self._read

    def set(self) -> None:
        """End the program that runs, and each that is started later."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"x")

    def close(self) -> None:
        """Let go of the descriptors, when no program runs any more."""
        os.close(self._read)
        os.close(self._write)


def environment(base: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: what every program needs, and what its operator wants.

    Args:
        base: The service's environment.
        own: The program's own variables.
    """
    kept = {name: value for name, value in base.items() if name in _PASSED_ON or name.startswith("LC_")}
    if _SANDBOX in base:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            kept.pop(name, None)
    return {"PATH": _PATH} | kept | dict(own)


def run(
    arguments: Sequence[str], given: bytes, *, variables: Mapping[str, str], seconds: float, stop: Stop
) -> Outcome:
    """Run a program and wait for its end. This blocks: it is for a thread of its own.

    Args:
        arguments: The program, by its absolute path, and its arguments.
        given: What the program reads from its standard input.
        variables: Its whole environment.
        seconds: After this long, the program is killed.
        stop: Ends the program before.

    Raises:
        OSError: The program cannot be started.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            process = _start(arguments, given, variables, write)
        finally:
            os.close(write)
        return _follow(process, read, time.monotonic() + seconds, stop)
    finally:
        os.close(read)


def _start(
    arguments: Sequence[str], given: bytes, variables: Mapping[str, str], output: int
) -> subprocess.Popen[bytes]:
    # A file in memory and no pipe: a program that does not read holds nobody up.
    with open(os.memfd_create("changes"), "w+b") as file:  # noqa: PTH123 - a descriptor
        file.write(given)
        file.seek(0)
        process = subprocess.Popen(
            arguments,
            stdin=file,
            stdout=output,
            stderr=output,
            env=variables,
            cwd="/",
            umask=0o077,
            start_new_session=True,
        )
    with contextlib.suppress(OSError):
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    return process


def _follow(process: subprocess.Popen[bytes], output: int, deadline: float, stop: Stop) -> Outcome:
    """Read the output until nothing of the program is left or its time is over; then kill the rest."""
    os.set_blocking(output, False)
    tail = _Tail(output)
    is_late = is_stopped = False
    pidfd = os.pidfd_open(process.pid)
    try:
        has_ended, wait = False, _SHORTEST_LOOK
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                is_late = not has_ended
                break
            if has_ended:
                if not _has_others(process.pid):
                    break
                left, wait = min(left, wait), min(2 * wait, _LONGEST_LOOK)
            if tail.is_much:
                left = min(left, _PAUSE_SECONDS)
            ready = _wait(
                left, stop.fileno(), -1 if has_ended else pidfd, -1 if tail.is_much else tail.source
            )
            if stop.fileno() in ready:
                is_stopped = True
                break
            tail.take()
            has_ended = has_ended or pidfd in ready
    finally:
        # Its number is nobody else's before it is reaped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        status = process.wait()
    for _ in range(_LAST_READS):
        if not tail.take():
            break
    return Outcome(status, tail.text, is_late, is_stopped)


class _Tail:
    """The end of what a program prints."""

    def __init__(self, pipe: int) -> None:
        self.source = pipe
        self._read = 0
        self._end = b""

    @property
    def is_much(self) -> bool:
        """Whether the program has printed so much that it has to wait."""
        return self._read > _QUICK and self.source >= 0

    @property
    def text(self) -> str:
        """The end, as text, without a line of which the beginning is lost: that may have told what it is."""
        end = self._end
        if self._read > len(end):
            _, line_feed, rest = end.partition(b"\n")
            # One line without an end stays, but for what may be half a word.
            end = rest if line_feed else b" ".join(end.split(None, 1)[1:])
        return end.decode(errors="replace").strip()

    def take(self) -> bool:
        """Read what is there, but not too much; return whether anything was."""
        if self.source < 0:
            return False
        try:
            data = os.read(self.source, _READ)
        except BlockingIOError:
            return False
        if not data:
            self.source = -1  # everybody has closed it
        self._read += len(data)
        self._end = (self._end + data)[-MOST_OUTPUT:]
        return bool(data)


def _wait(seconds: float, *descriptors: int) -> set[int]:
    """Return those of some descriptors that can be read from; those below 0 are none."""
    poll = select.poll()
    for one in descriptors:
        if one >= 0:
            poll.register(one, select.POLLIN)
    return {one for one, _ in poll.poll(max(1, round(seconds * 1000)))}


def _has_others(group: int) -> bool:
    """Tell whether processes besides its leader are in a process group."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a name is all that is needed
        if not name.isdecimal() or int(name) == group:
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            about = Path("/proc", name, "stat").read_bytes()
            state, _, its_group = about.rpartition(b")")[2].split()[:3]  # its name may have anything in it
            if int(its_group) == group and state != b"Z":
                return True
    return False
