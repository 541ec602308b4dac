"""Doors of the kernel: programs, namespaces, cores, keys, and what has been inherited."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from orchestrator.system.probe.calls import call, call_holding, function, in_process
from orchestrator.system.probe.doors import Absent, Attempt, Door
from orchestrator.system.probe.report import Aims, By, Wanted

_GET_DUMPABLE = 3
_EMPTY_PATH = 0x1000
_NEW_USER = 0x10000000
_NEW_MOUNTS = 0x00020000
_TIOCSTI = 0x5412
_ASK = 0xFFFFFFFF
_FIRST_BIT = 1
_SIGCHLD = 17
_USER_ONLY = 1
_GET_KEYRING = 0
_USERS_KEYS, _SESSIONS_KEYS = -4, -3
_STANDARD = 3
_CLONE3 = struct.pack("QQQQQQQQ", _NEW_USER, 0, 0, 0, _SIGCHLD, 0, 0, 0)
"""The arguments of clone3(2) for a process in a namespace of its own."""


def doors(aims: Aims) -> Iterator[Door]:
    """Return what is tried on the kernel."""
    yield from _programs(aims)
    yield from _cores()
    yield from _namespaces()
    yield from _subsystems()
    yield from _terminal()
    yield from _descriptors(aims)


def _programs(aims: Aims) -> Iterator[Door]:
    door = "running programs"
    yield Door(door, "make a process", lambda: in_process(lambda: None), by="calls")
    yield Door(door, f"posix_spawn of {aims.program}", lambda: _spawn(aims.program), by="calls")
    if aims.own:
        no_program = Path(aims.own[0]) / f"orchestrator-probe-{os.getpid()}-program"
        yield Door(door, "execve of a file of its own", lambda: _execute_own(no_program), by="calls")
    yield Door(door, "execveat of a file in memory", _execute_memory, by="calls")


def _cores() -> Iterator[Door]:
    door = "cores"
    yield Door(door, "the limit of a core's size is above 0", _core_limit, by="limits")
    yield Door(door, "the hard limit of a core's size is above 0", _hard_core_limit, by="limits")
    yield Door(door, "the process is dumpable", _dumpable, by="dumpable")


def _namespaces() -> Iterator[Door]:
    door = "namespaces"
    for what, flags in (("user", _NEW_USER), ("user and mount", _NEW_USER | _NEW_MOUNTS)):
        unshare = partial(call, "unshare", flags)
        yield Door(door, f"unshare: {what} namespace", partial(in_process, unshare), by="calls")
    yield Door(
        door, "unshare: called as it never works", lambda: _lets_through("unshare", _FIRST_BIT), by="calls"
    )
    yield Door(door, "setns: called as it never works", lambda: _lets_through("setns", -1, 0), by="calls")
    yield Door(
        door, "clone: user namespace", lambda: _clone("clone", _NEW_USER | _SIGCHLD, 0, 0, 0, 0), by="calls"
    )
    yield Door(door, "clone3: user namespace", lambda: _clone("clone3", _CLONE3, len(_CLONE3)), by="calls")
    yield Door(door, "mount", lambda: _calls("mount", b"none\0", b"/mnt\0", b"tmpfs\0", 0, None), by="kernel")
    yield Door(door, "fsopen", lambda: _opens("fsopen", b"tmpfs\0", 1), by="kernel")
    yield Door(door, "open_tree", lambda: _opens("open_tree", -100, b"/\0", 1), by="kernel")
    yield Door(door, "chroot", lambda: os.chroot("/"), by="kernel")


def _subsystems() -> Iterator[Door]:
    door = "the kernel's subsystems"
    attributes = ctypes.create_string_buffer(struct.pack("IIIIQ", 1, 128, 0, 0, 0), 128)
    attempts: dict[str, tuple[By, Attempt]] = {
        "io_uring": ("calls", lambda: _opens("io_uring_setup", 1, ctypes.create_string_buffer(120))),
        "bpf: make a map": ("kernel", lambda: _opens("bpf", 0, _map(), 72)),
        "perf_event_open": ("calls", lambda: _opens("perf_event_open", attributes, 0, -1, -1, 0)),
        "userfaultfd": ("calls", lambda: _opens("userfaultfd", _USER_ONLY)),
        "keyctl: the user's keys": ("calls", lambda: _calls("keyctl", _GET_KEYRING, _USERS_KEYS, 0)),
        "keyctl: the session's keys": ("calls", lambda: _calls("keyctl", _GET_KEYRING, _SESSIONS_KEYS, 0)),
        "add_key": ("calls", lambda: _calls("add_key", b"user\0", b"orchestrator-probe\0", b"x", 1, -1)),
        "fanotify": ("calls", lambda: _opens("fanotify_init", 0x200, 0)),
        "open_by_handle_at": ("kernel", lambda: _by_handle()),
        "personality": ("calls", lambda: _calls("personality", _ASK)),
        "load a module": ("kernel", lambda: _no_module()),
        "shared memory of System V": ("calls", lambda: _system_v("shmget", 0, 4096, 0o600)),
        "semaphores of System V": ("calls", lambda: _system_v("semget", 0, 1, 0o600)),
        "messages of System V": ("calls", lambda: _system_v("msgget", 0, 0o600)),
    }
    for what, (by, attempt) in attempts.items():
        yield Door(door, what, attempt, by=by)


def _terminal() -> Iterator[Door]:
    yield Door("the operator's terminal", "open /dev/tty", _open_terminal)
    for descriptor, _ in _inherited():
        if os.isatty(descriptor):
            what = f"type into the terminal of descriptor {descriptor}"
            yield Door("the operator's terminal", what, partial(_type, descriptor), by="calls")


def _descriptors(aims: Aims) -> Iterator[Door]:
    """Tell of each open descriptor; those of files that are not its own are doors."""
    door = "inherited descriptors"
    for descriptor, target in _inherited():
        said = partial(_describe, descriptor, target)
        path = target.removesuffix(" (deleted)")
        is_others = (
            path.startswith("/")
            and path != "/dev/null"
            and not path.startswith(("/memfd:", "/proc/", "/sys/"))
        )
        ours = map(os.path.realpath, (*aims.own, *aims.kept))
        is_own = any(path == one or path.startswith(f"{one}/") for one in ours)
        wanted: Wanted = "closed" if is_others and not is_own else "either"
        yield Door(door, f"use descriptor {descriptor}", said, wanted=wanted)


def _inherited() -> list[tuple[int, str]]:
    found = []
    for entry in sorted(map(int, os.listdir("/proc/self/fd"))):  # noqa: PTH208
        try:
            found.append((entry, os.readlink(f"/proc/self/fd/{entry}")))  # noqa: PTH115
        except OSError:
            continue  # the one by which the folder was read
    return found


def _describe(descriptor: int, target: str) -> str:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    way = {os.O_RDONLY: "read", os.O_WRONLY: "write"}.get(flags & os.O_ACCMODE, "read and write")
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    names = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
    return f"{names.get(kind, 'other')}, {way}, {target}"


def _spawn(program: str) -> None:
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        quiet = [(os.POSIX_SPAWN_DUP2, nothing, number) for number in range(_STANDARD)]
        pid = os.posix_spawn(program, [program], {}, file_actions=quiet)
    finally:
        os.close(nothing)
    os.waitpid(pid, 0)


def _execute_own(path: Path) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o700)
    os.write(descriptor, b"no program")
    os.close(descriptor)
    try:
        arguments = (ctypes.c_char_p * 2)(os.fsencode(path), None)
        _is_no_program(lambda: function("execv", os.fsencode(path) + b"\0", arguments))  # type: ignore[arg-type]
    finally:
        path.unlink()


def _execute_memory() -> None:
    descriptor = os.memfd_create("orchestrator-probe")
    try:
        os.write(descriptor, b"no program")
        _is_no_program(lambda: call("execveat", descriptor, b"\0", None, None, _EMPTY_PATH))
    finally:
        os.close(descriptor)


def _is_no_program(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError as error:
        if error.errno != errno.ENOEXEC:  # it would have been run
            raise


def _core_limit() -> str:
    return _size(resource.getrlimit(resource.RLIMIT_CORE)[0])


def _hard_core_limit() -> str:
    return _size(resource.getrlimit(resource.RLIMIT_CORE)[1])


def _size(limit: int) -> str:
    if limit == 0:
        raise PermissionError(errno.EPERM, "it is 0")
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} bytes"


def _dumpable() -> None:
    if function("prctl", _GET_DUMPABLE, 0, 0, 0, 0) == 0:
        raise PermissionError(errno.EPERM, "it is not")


def _lets_through(name: str, *arguments: int) -> None:
    """Make a call with arguments that the kernel takes for wrong, unless it refuses the call as such."""
    try:
        call(name, *arguments)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):
            raise


def _clone(name: str, *arguments: int | bytes) -> None:
    pid = call_holding(name, *arguments)
    if pid == 0:
        call_holding("exit_group", 0)
    os.waitpid(pid, 0)


def _calls(name: str, *arguments: int | bytes | None) -> None:
    call(name, *arguments)


def _opens(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> None:
    os.close(call(name, *arguments))


def _map() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("IIIII", 2, 4, 8, 1, 0), 72)


def _by_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("II", 8, 1), 16)
    try:
        _opens("open_by_handle_at", -100, handle, 0)
    except OSError as error:
        if error.errno != errno.ESTALE:  # it was allowed, and there is no such file
            raise


def _no_module() -> None:
    try:
        call("finit_module", -1, b"\0", 0)
    except OSError as error:
        if error.errno != errno.EBADF:  # it was allowed, and there is no such file
            raise


def _system_v(name: str, *arguments: int) -> None:
    made = call(name, *arguments)
    remove = {
        "shmget": ("shmctl", made, 0, None),
        "semget": ("semctl", made, 0, 0),
        "msgget": ("msgctl", made, 0, None),
    }
    function(*remove[name])


def _open_terminal() -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            raise Absent from None  # there is none
        raise


def _type(descriptor: int) -> None:
    try:
        function("ioctl", descriptor, _TIOCSTI, None)
    except OSError as error:
        if error.errno != errno.EFAULT:  # it was allowed, and there was nothing to type
            raise
