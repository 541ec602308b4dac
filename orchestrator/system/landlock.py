"""Landlock, by which a process gives up files: what no rule of its opens is closed to it and its children.

The numbers are those of the kernel's ``include/uapi/linux/landlock.h``. Each version of the interface (ABI)
knows more rights than the one before. A right that the running kernel does not know is left as it is.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from orchestrator.system import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_SCOPES: Final = 0b11
"""No connection to abstract UNIX sockets of others, and no signal to processes that others have started."""
SCOPES_ABI: Final = 6
"""The first version that knows `_SCOPES`."""
TRUNCATE_ABI: Final = 3
"""The first version that tells emptying a file from reading it."""


class Access(enum.IntFlag):
    """What may be done with files beneath a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ: Final = Access.READ_FILE | Access.READ_DIR
"""To read files and folders; programs there cannot be executed."""
OVERWRITE: Final = Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE
"""To read and write files that are there."""
KEEP: Final = (
    READ
    | OVERWRITE
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
    | Access.REFER
)
"""All that a folder of one's own needs: files and folders, but no links, sockets, pipes and devices."""
_OF_FILES: Final = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)  # what the kernel takes for a path that is not a folder


class Rule(NamedTuple):
    """What may be done beneath a path. A path that is not there, or may not be entered, opens nothing."""

    path: Path
    access: Access


def version() -> int:
    """Return which version of Landlock this process can use.

    Raises:
        OSError: None. ENOSYS: the kernel has no Landlock. EOPNOTSUPP: it was switched off when the kernel was
            started. EPERM: a filter, such as that of a unit or a container, forbids the call.
    """
    return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION)


def handled(abi: int) -> Access:
    """Return all rights that a version knows."""
    known = Access.MAKE_SYM | (Access.MAKE_SYM - 1)
    for since, right in ((2, Access.REFER), (TRUNCATE_ABI, Access.TRUNCATE), (5, Access.IOCTL_DEV)):
        if abi >= since:
            known |= right
    return Access(known)


def restrict(rules: Iterable[Rule], abi: int) -> None:
    """Give up all files but those that rules open, for this thread and what it starts from now on.

    Files that are open stay open. From `SCOPES_ABI` on, signals reach only processes that this one starts
    later. There must be no other thread, which would keep its rights. The process must have given up new
    privileges before (PR_SET_NO_NEW_PRIVS).

    Args:
        rules: What stays open.
        abi: The version of Landlock, as `version` returns it.

    Raises:
        OSError: The kernel refuses.
    """
    rights = handled(abi)
    # Files, network, scopes. Older versions know the first field only; the others must be 0 there.
    attributes = struct.pack("=QQQ", rights, 0, _SCOPES if abi >= SCOPES_ABI else 0)
    ruleset = kernel.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for rule in rules:
            _add(ruleset, rule, rights)
        kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _add(ruleset: int, rule: Rule, rights: Access) -> None:
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
            return
        raise
    try:
        access = rule.access & rights
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _OF_FILES
        if access:
            kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)
