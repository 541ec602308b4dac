"""The lock of a state folder: one process at a time works on the folder, and the lock names the process."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.errors import AlreadyRunning, StateError
from orchestrator.system.files import open_file, read_file
from orchestrator.system.locking import flock
from orchestrator.system.os_errors import trouble

PATIENCE = 0.5
"""Seconds for which taking the lock is tried: somebody may just be looking whether it is held."""
_MAX_SIZE = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """What the lock file says. The file is true only while the lock is held.

    Attributes:
        pid: The process that holds the lock.
        what: What the process does.
        socket: Where the process listens for commands, if it does.
    """

    pid: int
    what: str
    socket: Path | None = None


def read_holder(path: Path) -> Holder | None:
    """Return what a lock file says, None if it says nothing.

    Raises:
        PermissionError: This user may not read the file.
    """
    try:
        values = json.loads(read_file(path, _MAX_SIZE))
        socket = values["socket"]
        return Holder(int(values["pid"]), str(values["what"]), None if socket is None else Path(socket))
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_held(path: Path) -> bool:
    """Tell whether a process holds the lock; who may not look, or has no such file, sees none."""
    try:
        descriptor = open_file(path)
    except OSError:
        return False
    try:
        flock(descriptor)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


class InstanceLock:
    """The lock. It is held from the creation of this object until `release` or the end of the process.

    Args:
        path: The lock file, which is made if need be.
        what: What this process does, for others who find the lock held.
        socket: Where this process listens for commands, if it does. Commands find the service by this.

    Raises:
        AlreadyRunning: Another process holds the lock. The message says which.
        StateError: The file cannot be used.
    """

    def __init__(self, path: Path, *, what: str, socket: Path | None = None) -> None:
        self._path = path
        try:
            self._descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StateError(f"{path}: the lock cannot be opened: {trouble(error)}") from None
        try:
            self._take()
            values = {"pid": os.getpid(), "what": what, "socket": socket and str(socket)}
            self._write(json.dumps(values).encode() + b"\n")
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock. The file stays, because a removed file could be locked twice."""
        with contextlib.suppress(OSError):
            self._write(b"")
        os.close(self._descriptor)

    def _take(self) -> None:
        try:
            flock(self._descriptor, patience=PATIENCE)
        except BlockingIOError:
            raise AlreadyRunning(_who_holds(self._path)) from None
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be locked ({error.strerror}): choose a folder on a local disk"
            ) from None

    def _write(self, data: bytes) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, data, 0)
        except OSError as error:
            raise StateError(f"{self._path}: cannot be written: {error.strerror}") from None


def _who_holds(path: Path) -> str:
    holder = read_holder(path)
    if holder is None:
        return f"{path.parent}: another process uses this state folder: `fuser {path}` shows which"
    return (
        f"{path.parent}: process {holder.pid} ({holder.what}) uses this state folder: stop that process"
        " first, or choose another folder with --state-dir"
    )
