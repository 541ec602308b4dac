"""A world of its own for a program: its processes and networks are gone when it ends, however it ends.

The program runs again in new namespaces of the kernel: for processes, so that the kernel ends all of them
with the first; for the network, so that interfaces and addresses of this machine are neither used nor
changed; and for mounts, so that ``/proc`` shows the processes inside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from orchestrator.system.os_errors import trouble

PROGRAMS: Final = ("ip", "nsenter", "setpriv", "unshare")
"""What has to be on this machine."""
INTERRUPTED: Final = 130
"""What a program exits with that was ended by Ctrl-C."""
_FOLDER: Final = "ORCHESTRATOR_RIG_FOLDER"
_FIRST: Final = '"$@"; exit $?'
"""The first process inside: a shell, which also reaps what nobody waits for."""


class Unsuitable(Exception):  # noqa: N818 - nothing went wrong yet
    """This machine cannot have such worlds. The message says why."""


def why_not() -> str | None:
    """Return why there can be no such world here, None if there can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces: run this as root"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"there is no {', '.join(missing)}: install iproute2 and util-linux"
    # A network between two worlds is tried as well: some containers allow the one and not the other.
    trial = "ip link set lo up && ip link add rig0 type veth peer name rig1"
    done = subprocess.run([*_unshare(), "sh", "-c", trial], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"network namespaces cannot be made here: {done.stderr.strip() or 'not allowed'}"
    return None


def folder() -> Path | None:
    """Return the folder for everything, None outside such a world."""
    found = os.environ.get(_FOLDER)
    return None if found is None else Path(found)


def run(module: str, arguments: Sequence[str], *, parent: Path | None = None, keep: bool = False) -> int:
    """Run a module in a world of its own; return its exit code.

    Ctrl-C reaches the program inside, which has to end. SIGTERM ends everything at once.
    The folder is removed at the end, unless the program has failed by itself: its logs may be wanted.

    Args:
        module: The module, as after ``python -m``.
        arguments: What it is given.
        parent: Where the folder for everything is made; by default where temporary files are.
        keep: Whether the folder stays in any case.

    Raises:
        Unsuitable: That cannot be done here.
    """
    if (why := why_not()) is not None:
        raise Unsuitable(why)
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="rig-", dir=parent))
    except OSError as error:
        raise Unsuitable(f"no folder can be made to work in: {trouble(error)}") from None
    place.chmod(0o755)  # the server of the database runs as another user
    code = 1
    try:
        code = _run([sys.executable, "-m", module, *arguments], {**os.environ, _FOLDER: str(place)})
    finally:
        if not keep and (code <= 0 or code == INTERRUPTED):
            shutil.rmtree(place, ignore_errors=True)
        else:
            print(f"\nall logs are in {place}", file=sys.stderr)
    return code


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    process = subprocess.Popen([*_unshare(), "sh", "-c", _FIRST, "sh", *command], env=environment)

    def end(_number: int, _frame: FrameType | None) -> None:
        process.kill()

    def wait(_number: int, _frame: FrameType | None) -> None:
        """Nothing: the terminal has sent the program inside the same signal."""

    before = signal.signal(signal.SIGTERM, end), signal.signal(signal.SIGINT, wait)
    try:
        return process.wait()
    finally:
        process.kill()  # no harm if it has ended
        process.wait()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def _unshare() -> list[str]:
    # If this process is killed, the kernel kills `unshare`; with that, the first process inside, and so all.
    ends = ["setpriv", "--pdeathsig", "KILL"]
    return [*ends, "unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
