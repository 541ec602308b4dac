"""What the service needs of this machine for as long as it runs, and what the machine lacks.

`run` and `repair` check these needs before they start anything, and `doctor` checks them at any time.
Problems that come and go, such as a full disk, do not belong here: accounts are retried until they are over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.accounts.words import counted
from orchestrator.errors import StateError
from orchestrator.service.meeting_place import MeetingPlace
from orchestrator.store.layout import StatePaths
from orchestrator.system import groups
from orchestrator.system.files import temporary_name
from orchestrator.system.os_errors import trouble

FILES_BASE, FILES_PER_ACCOUNT = 64, 6
"""Open files of the service: its own, and for each account a pipe, two for its process, and some spare. A
service with one account had 15 open files, and the account's process 23."""
TASKS_BASE, TASKS_PER_ACCOUNT = 16, 11
"""Processes and threads, which the limits count alike: those of the service and its helpers, and those of an
account's process. Most of the threads are Go's (measured with neonize 0.5.2)."""
MEMORY_BASE, MEMORY_PER_ACCOUNT = 64 << 20, 16 << 20
"""Bytes: the service with its helpers, and an account's own before it logs in, the least ever seen."""
MEMORY_CONNECTED = 25 << 20
"""Bytes of an account that has been connected for a while."""
ADDRESSES, DATA = 1 << 30, 256 << 20
"""Bytes that each process may address, and may write to: 2.1 GB and 206 MB were measured. Go only reserves
most of the addresses, and reserves fewer under a limit: 700 MB of addresses and 100 MB of data fail."""
FILE_SIZE = 64 << 20
"""Bytes of the largest file: a session has about one million, messages have many more."""
UNLIMITED = resource.RLIM_INFINITY
_CAPABILITIES = (21, 24)
"""CAP_SYS_ADMIN and CAP_SYS_RESOURCE: with one of them the number of a user's processes has no limit."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that the service needs.

    Attributes:
        name: Its name, for people.
        text: What was found.
        advice: What to do; empty if the machine has what is needed.
    """

    name: str
    text: str
    advice: str = ""

    @property
    def lacks(self) -> bool:
        """Whether the machine lacks this."""
        return bool(self.advice)


def check(paths: StatePaths, accounts: int) -> None:
    """Check all needs. The state folder must exist.

    Args:
        paths: The state folder.
        accounts: How many accounts are to run.

    Raises:
        StateError: The machine lacks something. The message has a line for each need, with what to do.
    """
    _demand(*of_machine(accounts), *of_folder(paths))


def check_before_imports() -> None:
    """Check what the service's modules need to be imported: multiprocess looks for a temporary folder.

    Raises:
        StateError: There is none. The message says what to do.
    """
    _demand(temporary_folder())


def _demand(*needed: Need) -> None:
    lacking = [need for need in needed if need.lacks]
    if lacking:
        message = "\n".join(f"{need.name}: {need.text}: {need.advice}" for need in lacking)
        raise StateError(message, key="machine_unfit")


def of_machine(accounts: int) -> Iterator[Need]:
    """Check the needs that do not depend on a folder.

    Args:
        accounts: How many accounts are to run.
    """
    yield proc_is_mounted()
    yield temporary_folder()
    yield null_device()
    yield process_descriptors()
    yield threads()
    yield open_files(accounts, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield file_size(resource.getrlimit(resource.RLIMIT_FSIZE)[0])
    yield addresses(resource.getrlimit(resource.RLIMIT_AS)[0])
    yield data(resource.getrlimit(resource.RLIMIT_DATA)[0])
    yield tasks(accounts, *_room_for_tasks())
    yield memory(accounts, *room_for_memory())


def of_folder(paths: StatePaths) -> Iterator[Need]:
    """Check the state folder, which must exist. Files that are written for the check are removed again."""
    yield databases(paths.sessions)
    yield sockets(paths)


# Of the system


def proc_is_mounted() -> Need:
    """Look for /proc, which shows processes."""
    if Path("/proc/self/status").exists() and Path("/proc/self/fd").is_dir():
        return Need("/proc", "is mounted")
    return Need(
        "/proc",
        "is not mounted",
        "mount /proc with `mount -t proc proc /proc`: the service watches processes through /proc",
    )


def temporary_folder() -> Need:
    """Look for a folder for temporary files, which Python, SQLite and neonize need."""
    try:
        return Need("temporary files", tempfile.gettempdir())
    except OSError:
        return Need(
            "temporary files",
            "this user can write to no folder for temporary files",
            "make /tmp writable, or name another folder in $TMPDIR (under systemd: PrivateTmp=yes)",
        )


def null_device() -> Need:
    """Look for /dev/null, the input of processes that need none."""
    try:
        os.close(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return Need(
                os.devnull,
                f"cannot be opened: {trouble(error)}",
                "make the device: `mknod -m 666 /dev/null c 1 3`",
            )
    return Need(os.devnull, "can be opened")


def process_descriptors() -> Need:
    """Check the system calls with which the service watches and ends processes."""
    name = "pidfd_open"
    try:
        descriptor = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(descriptor, 0)
        finally:
            os.close(descriptor)
    except AttributeError:
        return Need(name, "this Python does not have it", "use a Python that was built on Linux 5.3 or newer")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return Need(name, "was not tried: no file descriptors are left")
        what = (
            "is missing in this kernel" if error.errno == errno.ENOSYS else f"is refused ({error.strerror})"
        )
        return Need(
            name,
            what,
            "use Linux 5.3 or newer, and allow the container or unit to call pidfd_open and pidfd_send_signal"
            " (seccomp, SystemCallFilter=): the service watches processes with these calls",
        )
    return Need(name, "works")


def threads() -> Need:
    """Start a thread."""
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        return Need(
            "threads",
            f"cannot start a thread ({error})",
            "raise the process limit: `ulimit -u`, or TasksMax= of the unit",
        )
    thread.join()
    return Need("threads", "can be started")


# Limits, by what is allowed and how many accounts there are


def open_files(accounts: int, limit: int) -> Need:
    """Judge how many files may be open. The service raises its own limit as far as this.

    Args:
        accounts: How many are enabled.
        limit: How many are allowed.
    """
    needed = FILES_BASE + FILES_PER_ACCOUNT * accounts
    allowed = "no limit" if limit == UNLIMITED else f"{limit} allowed"
    text = f"{allowed}, about {needed} needed for {counted(accounts, 'account')}"
    if limit != UNLIMITED and limit < needed:
        return Need("open files", text, "raise the limit: LimitNOFILE= under systemd, else `ulimit -Hn`")
    return Need("open files", text)


def file_size(limit: int) -> Need:
    """Judge how large a file may be.

    Args:
        limit: Bytes that are allowed.
    """
    if limit == UNLIMITED or limit >= FILE_SIZE:
        return Need("size of files", "no limit" if limit == UNLIMITED else f"{_mb(limit)} allowed")
    return Need(
        "size of files",
        f"{_mb(limit)} allowed, {_mb(FILE_SIZE)} needed",
        "raise the limit: LimitFSIZE= under systemd, else `ulimit -f unlimited`",
    )


def addresses(limit: int) -> Need:
    """Judge how much memory a process may address.

    Args:
        limit: Bytes that are allowed.
    """
    return _memory_of_process(
        "addresses", limit, ADDRESSES, "LimitAS= under systemd, else `ulimit -v unlimited`"
    )


def data(limit: int) -> Need:
    """Judge how much memory a process may write to.

    Args:
        limit: Bytes that are allowed.
    """
    return _memory_of_process("data", limit, DATA, "LimitDATA= under systemd, else `ulimit -d unlimited`")


def _memory_of_process(what: str, limit: int, needed: int, how: str) -> Need:
    if limit == UNLIMITED or limit >= needed:
        return Need(f"{what} of a process", "no limit" if limit == UNLIMITED else f"{_mb(limit)} allowed")
    return Need(
        f"{what} of a process",
        f"{_mb(limit)} allowed, {_mb(needed)} needed",
        f"raise the limit: {how}; to limit the memory that accounts really use, set `memory_limit`",
    )


def tasks(accounts: int, room: int | None, what: str) -> Need:
    """Judge how many processes and threads may be started.

    Args:
        accounts: How many are enabled.
        room: How many more are allowed, None for no limit.
        what: What limits them.
    """
    needed = TASKS_BASE + TASKS_PER_ACCOUNT * accounts
    if room is None:
        return Need("processes", "no limit")
    text = (
        f"{max(0, room)} more processes and threads allowed by {what}, about {needed} needed for {accounts}"
        " accounts"
    )
    if room < needed:
        advice = "raise the limit: TasksMax= or LimitNPROC= under systemd, else `ulimit -u`"
        return Need("processes", text, advice)
    return Need("processes", text)


def memory(accounts: int, room: int | None, what: str, *, each: int = MEMORY_PER_ACCOUNT) -> Need:
    """Judge how much memory there is.

    Args:
        accounts: How many are enabled.
        room: Bytes that are available at most, None if that is unknown.
        what: What limits them.
        each: Bytes that an account needs.
    """
    needed = MEMORY_BASE + each * accounts
    if room is None:
        return Need("memory", "no limit is known")
    text = f"{_mb(room)} allowed by {what}, at least {_mb(needed)} needed for {counted(accounts, 'account')}"
    if room < needed:
        advice = "allow more (MemoryMax= of the unit, the container's limit), or run fewer accounts"
        return Need("memory", text, advice)
    return Need("memory", text)


def _room_for_tasks() -> tuple[int | None, str]:
    """Return how many more processes and threads are allowed, and by what."""
    found: list[tuple[int, str]] = []
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit != UNLIMITED and not _is_above_limits():
        found.append((limit - _tasks_of_user(), f"RLIMIT_NPROC ({limit} for this user)"))
    used = dict(groups.numbers("pids", "pids.current"))
    for folder, most in groups.numbers("pids", "pids.max"):
        if folder in used:
            found.append((most - used[folder], f"the control group {folder} ({most})"))
    return min(found, default=(None, ""))


def _is_above_limits() -> bool:
    """Tell whether the kernel sets this process no limit of processes, as for root."""
    if os.getuid() == 0:
        return True
    lines = groups.lines(Path("/proc/self/status"))
    effective = int(next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0"), 16)
    return any(effective >> capability & 1 for capability in _CAPABILITIES)


def _tasks_of_user() -> int:
    count, user = 0, os.getuid()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if folder.stat().st_uid == user:
                    count += sum(1 for _ in (folder / "task").iterdir())
    return count


def room_for_memory() -> tuple[int | None, str]:
    """Return how many bytes are available at most, and what limits them."""
    limits = groups.numbers("memory", "memory.max", "memory.limit_in_bytes")
    found = [(most, f"the control group {folder}") for folder, most in limits]
    if (total := _sizes("MemTotal", "SwapTotal")) is not None:
        found.append((total, "this machine"))
    return min(found, default=(None, ""))


def available_memory(accounts: int) -> Need:
    """Judge how much memory is free now for accounts that are connected for a while.

    Other programs may free more later, so a lack is only a warning.

    Args:
        accounts: How many accounts are to be started.
    """
    return memory(accounts, *memory_left(), each=MEMORY_CONNECTED)


def memory_left() -> tuple[int | None, str]:
    """Return how many bytes are free now, and what limits them."""
    used = dict(groups.numbers("memory", "memory.current", "memory.usage_in_bytes"))
    found = [
        (most - used[folder] + _cache(folder), f"the control group {folder} ({_mb(used[folder])} are in use)")
        for folder, most in groups.numbers("memory", "memory.max", "memory.limit_in_bytes")
        if folder in used
    ]
    if (free := _sizes("MemAvailable", "SwapFree")) is not None:
        found.append((free, "what other programs leave now"))
    return min(found, default=(None, ""))


def _cache(group: Path) -> int:
    """Return how many bytes a control group uses for files and gives back when a process needs them."""
    facts = dict(line.split(" ", 1) for line in groups.lines(group / "memory.stat") if " " in line)
    text = facts.get("total_inactive_file") or facts.get("inactive_file") or "0"
    return int(text) if text.isdecimal() else 0


def _sizes(*keys: str) -> int | None:
    """Return the sum of these sizes in /proc/meminfo in bytes, None if one is unknown."""
    sizes = dict(line.split(":", 1) for line in groups.lines(Path("/proc/meminfo")) if ":" in line)
    try:
        return sum(int(sizes[key].split()[0]) for key in keys) << 10
    except (KeyError, ValueError, IndexError):
        return None


# Of the state folder


def databases(folder: Path) -> Need:
    """Check that SQLite works in a folder as sessions need it: with locks, a journal and shared memory."""
    import sqlite3  # which nothing else in the service needs

    name = "state folder"
    place = folder / temporary_name("trial")
    try:
        place.touch(0o600)
        with contextlib.closing(sqlite3.connect(place, timeout=1, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=WAL").fetchone()
            database.execute("CREATE TABLE trial (number)")
            database.execute("INSERT INTO trial VALUES (1)")
    except (OSError, sqlite3.Error) as error:
        why = trouble(error) if isinstance(error, OSError) else str(error)
        return Need(
            name,
            f"{folder}: SQLite cannot keep a database there ({why})",
            "choose a writable folder on a local disk, with `state_dir:` or --state-dir",
        )
    finally:
        for path in (place, *(place.with_name(place.name + end) for end in ("-wal", "-shm", "-journal"))):
            with contextlib.suppress(OSError):
                path.unlink()
    return Need(name, f"{folder}: SQLite can keep databases there")


def sockets(paths: StatePaths) -> Need:
    """Check that the service can make a socket for its processes in one of the folders for sockets."""
    place = MeetingPlace(paths.meeting_places)
    try:
        place.path()
    except OSError as error:
        return Need(
            "sockets",
            f"cannot make a socket: {error.strerror or error}",
            "name a folder on a local disk in $RUNTIME_DIRECTORY (RuntimeDirectory= under systemd)",
        )
    finally:
        place.close()
    return Need("sockets", "can be made")


def _mb(size: int) -> str:
    return f"{size >> 20} MB"
