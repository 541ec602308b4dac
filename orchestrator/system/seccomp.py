"""A filter of system calls (seccomp), by which a process gives up what no account's process needs.

The filter is a program for the kernel's own small machine (classic BPF), made here and handed over by prctl.
What is refused fails like anything that is forbidden (EPERM): libraries fall back or report an error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

from orchestrator.system import kernel

_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
"""Plus the number of the error that the caller gets."""

_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where the kernel puts what the filter looks at; an argument takes 8 bytes, its lower half first."""
_X32 = 0x40000000
"""The bit of x86-64's other set of calls, which would go round a filter of these numbers."""

_NEW_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x00010000
_TYPE_OF_SOCKET = 0xF
_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX = 0x8901, 0x8902, 0x5412, 0x541C
_F_SETSIG, _F_SETOWN, _F_SETOWN_EX = 10, 8, 15


_STEP: Final = struct.Struct("=HBBI")
_VALUE: Final = struct.Struct("=I")
_ANYBODY: Final = 0x5AA5C33C
"""Stands for a process id; the kernel's are below 2**22, and no other number of a filter looks like it."""


class Instruction(NamedTuple):
    """One step of a filter: an operation, how many steps to skip if it holds and if not, and its number."""

    operation: int
    if_true: int = 0
    if_false: int = 0
    value: int = 0


class Architecture(NamedTuple):
    """A kind of machine: how the kernel calls it, and its place in `CALLS`."""

    audit: int
    column: int


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}
)

CALLS: Final[Mapping[str, tuple[int | None, int | None]]] = MappingProxyType(
    {
        # Other programs.
        "execve": (59, 221), "execveat": (322, 281),
        # Other processes: their memory, files, limits, order of execution.
        "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
        "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
        "process_madvise": (440, 440), "process_mrelease": (448, 448), "perf_event_open": (298, 241),
        "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
        "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
        "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235),
        "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
        # What processes of a user share beside files.
        "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
        "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186),
        "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
        "mq_unlink": (241, 181), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
        # Other views of the machine.
        "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
        "mount": (165, 40), "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429),
        "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
        "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "statmount": (457, 457),
        "listmount": (458, 458), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
        "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
        # Large parts of the kernel in which faults were found before.
        "bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "personality": (135, 92),
        "modify_ldt": (154, None), "uselib": (134, None), "lookup_dcookie": (212, 18),
        "nfsservctl": (180, 42),
        # The machine itself: it takes root to call these, and the service may be root's in a container.
        "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
        "create_module": (174, None), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
        "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
        "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
        "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
        "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58), "iopl": (172, None),
        "ioperm": (173, None), "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145),
        "setregid": (114, 143), "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151),
        "setfsgid": (123, 152), "setgroups": (116, 159),
    }
)  # fmt: skip
"""What is always refused: the numbers on x86-64 and on 64-bit ARM, None where there is no such call."""

OF_CHILDREN: Final[Mapping[str, tuple[int | None, int | None]]] = MappingProxyType(
    {
        # Landlock does not look at these, so they would reach files of other accounts: by their path.
        "chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
        "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5),
        "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
        "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466),
        "file_setattr": (469, 469), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
        "futimesat": (261, None), "truncate": (76, 45),
        # Landlock does not look at these, either: they tell when others use their files.
        "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
        # Further processes, and signals to others. (The parent of all must be able to make them.)
        "fork": (57, None), "vfork": (58, None), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    }
)  # fmt: skip
"""What is refused to an account's process beyond `CALLS`."""

_CHECKED: Final[Mapping[str, tuple[int | None, int | None]]] = MappingProxyType(
    {
        "socket": (41, 198), "socketpair": (53, 199), "clone": (56, 220), "clone3": (435, 435),
        "openat2": (437, 437), "ioctl": (16, 29), "fcntl": (72, 25), "open": (2, None), "openat": (257, 56),
        "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261),
    }
)  # fmt: skip
"""Whose arguments decide."""


def is_available() -> bool:
    """Tell whether this kernel, and what started this process, let it have a filter of its own."""
    if platform.machine() not in ARCHITECTURES:
        return False
    try:
        kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, None)
    except OSError as error:
        return error.errno == errno.EFAULT  # all that is wrong is that there is no filter
    return False


def install(program: bytes) -> None:
    """Have the kernel refuse calls from now on, to this thread and to what it starts.

    The process must have given up new privileges before (PR_SET_NO_NEW_PRIVS).

    Args:
        program: What decides; see `pack` and `packed`.

    Raises:
        OSError: The kernel refuses.
    """

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    steps = len(program) // _STEP.size
    kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(Program(steps, program)))


def pack(program: Iterable[Instruction]) -> bytes:
    """Return a filter as the kernel reads it."""
    return b"".join(_STEP.pack(*one) for one in program)


def packed(machine: str, *, pid: int | None, network: bool = True) -> bytes:
    """Return a filter of `make` as the kernel reads it.

    All but the process id is the same for every account: it is made once, if the process that makes them asks
    for it first.

    Args:
        machine: See `make`.
        pid: See `make`.
        network: See `make`.
    """
    if pid is None:
        return pack(make(machine, pid=None, network=network))
    return _of_anybody(machine, network).replace(_VALUE.pack(_ANYBODY), _VALUE.pack(pid))


@cache
def _of_anybody(machine: str, network: bool) -> bytes:
    return pack(make(machine, pid=_ANYBODY, network=network))


def make(machine: str, *, pid: int | None, network: bool = True) -> list[Instruction]:
    """Make a filter.

    Args:
        machine: The architecture, one of `ARCHITECTURES`.
        pid: For an account's process: its id, to which alone it may send signals. None for the process that
            makes those, which has to make processes and files, and whose filter its children inherit.
        network: Whether it may speak to other machines.
    """
    architecture = ARCHITECTURES[machine]
    program = [
        Instruction(_LOAD, value=_ARCHITECTURE),
        Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        _refuse(errno.EPERM),
        Instruction(_LOAD, value=_NUMBER),
    ]
    if machine == "x86_64":
        program += [Instruction(_JUMP_AT_LEAST, 0, 1, _X32), _refuse(errno.EPERM)]
    rules = _rules(pid, network)
    for name, numbers in {**CALLS, **OF_CHILDREN, **_CHECKED}.items():
        number, steps = numbers[architecture.column], rules.get(name)
        if number is not None and steps is not None:
            program += [Instruction(_JUMP_EQUAL, 0, len(steps), number), *steps]
    return [*program, Instruction(_RETURN, value=_ALLOW)]


def _rules(pid: int | None, network: bool) -> dict[str, list[Instruction]]:
    """Return the steps for each call that is looked at; each ends in a decision."""
    permit, forbid = Instruction(_RETURN, value=_ALLOW), _refuse(errno.EPERM)
    rules = {name: [forbid] for name in CALLS}
    families = [socket.AF_INET, socket.AF_INET6] if network else []
    rules["socket"] = _if_among(0, families, permit, _refuse(errno.EAFNOSUPPORT))
    # A pair of these is connected for good. A pair of datagrams could be sent on to any UNIX socket.
    pairs = [socket.SOCK_STREAM, socket.SOCK_SEQPACKET]
    rules["socketpair"] = _if_among(1, pairs, permit, _refuse(errno.EAFNOSUPPORT), mask=_TYPE_OF_SOCKET)
    # As if the kernel were older: their arguments lie in memory, where a filter cannot look.
    rules["clone3"] = rules["openat2"] = [_refuse(errno.ENOSYS)]
    rules["ioctl"] = _if_among(1, [_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX], forbid, permit)
    rules["fcntl"] = _if_among(1, [_F_SETOWN, _F_SETOWN_EX, _F_SETSIG], forbid, permit)
    rules["clone"] = [_argument(0), Instruction(_JUMP_ANY, 0, 1, _NEW_NAMESPACES), forbid, permit]
    if pid is None:
        return rules
    rules |= {name: [forbid] for name in OF_CHILDREN}
    rules["clone"] = [*rules["clone"][:3], Instruction(_JUMP_ANY, 1, 0, _CLONE_THREAD), forbid, permit]
    rules["kill"] = rules["tgkill"] = _if_among(0, [pid], permit, forbid)
    rules["prlimit64"] = _if_among(0, [0, pid], permit, forbid)
    # Before its third version, Landlock takes this for reading.
    emptying = os.O_TRUNC | os.O_RDONLY
    flags = os.O_TRUNC | os.O_ACCMODE
    rules["open"] = _if_among(1, [emptying], forbid, permit, mask=flags)
    rules["openat"] = _if_among(2, [emptying], forbid, permit, mask=flags)
    return rules


def _if_among(
    argument: int,
    values: Iterable[int],
    then: Instruction,
    otherwise: Instruction,
    *,
    mask: int | None = None,
) -> list[Instruction]:
    """Return the steps that decide by whether an argument of a call is one of some values."""
    wanted = list(values)
    tests = [Instruction(_JUMP_EQUAL, len(wanted) - at, 0, value) for at, value in enumerate(wanted)]
    masked = [] if mask is None else [Instruction(_AND, value=mask)]
    return [_argument(argument), *masked, *tests, otherwise, then]


def _argument(number: int) -> Instruction:
    return Instruction(_LOAD, value=_ARGUMENTS + 8 * number)


def _refuse(error: int) -> Instruction:
    return Instruction(_RETURN, value=_REFUSE | error)
