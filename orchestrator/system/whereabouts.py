"""Where a process runs, for people who look for it: its unit, its terminal, and where its log goes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from orchestrator.system import logs
from orchestrator.system.folders import user_name

Kind = Literal["journal", "file", "terminal", "pipe", "nowhere"]
_CGROUP: Final = Path("/proc/self/cgroup")
_SERVICE: Final = ".service"


@dataclass(frozen=True, slots=True)
class Unit:
    """The systemd unit whose main process this is.

    Attributes:
        name: What systemctl calls it, without ``.service``.
        of_user: Whether a user's own systemd runs it, so that systemctl needs ``--user``.
    """

    name: str
    of_user: bool = False


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where this process runs.

    Attributes:
        pid: Its id.
        user: The name of its user.
        unit: Its unit; None if no systemd has started it.
        terminal: Its terminal, such as /dev/pts/3; None if it has none.
        log: Where its log goes.
        path: The file of the log, or the terminal; None for others.
    """

    pid: int
    user: str
    unit: Unit | None
    terminal: str | None
    log: Kind
    path: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def look(log_file: Path | None = None) -> Whereabouts:
    """Look where this process runs; this never fails.

    Args:
        log_file: The file that its log goes to, if it is not standard error.
    """
    try:
        cgroup = _CGROUP.read_text()
    except OSError:
        cgroup = ""
    log: tuple[Kind, str | None] = ("file", str(log_file)) if log_file is not None else _output(2)
    return Whereabouts(
        os.getpid(),
        user_name(os.geteuid()),
        unit_of(os.environ, os.getpid(), cgroup),
        next(filter(None, map(_terminal, (2, 1, 0))), None),
        *log,
    )


def unit_of(environ: Mapping[str, str], pid: int, cgroup: str) -> Unit | None:
    """Return the unit whose main process this is, None if no systemd has started it. Pure.

    Many processes are in the group of a unit without being its service, such as those of a desktop's
    terminal. Only the main process has its own id in ``$SYSTEMD_EXEC_PID``.

    Args:
        environ: The environment of the process.
        pid: Its id.
        cgroup: What the kernel says of its control groups, a line for each hierarchy.
    """
    if environ.get("SYSTEMD_EXEC_PID") != str(pid):
        return None
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controllers != "name=systemd":
            continue
        parts = path.split("/")
        named = [part for part in parts if part.endswith(_SERVICE)]
        if named:
            above = named[:-1]
            of_user = any(part.startswith("user@") for part in above)
            return Unit(named[-1].removesuffix(_SERVICE), of_user)
    return None


def _terminal(descriptor: int) -> str | None:
    with contextlib.suppress(OSError):
        return os.ttyname(descriptor)
    return None


def _output(descriptor: int) -> tuple[Kind, str | None]:
    """Say where what is written to a descriptor goes."""
    try:
        about = os.fstat(descriptor)
    except OSError:
        return "nowhere", None
    if logs.is_journal(descriptor=descriptor):
        return "journal", None
    if stat.S_ISREG(about.st_mode):
        with contextlib.suppress(OSError):
            return "file", str(Path(f"/proc/self/fd/{descriptor}").readlink())
    if (terminal := _terminal(descriptor)) is not None:
        return "terminal", terminal
    if stat.S_ISCHR(about.st_mode):
        return "nowhere", None  # /dev/null
    return "pipe", None
