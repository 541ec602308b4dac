"""What a process gives up before it handles what strangers send: files, system calls, its core files.

A process of one account parses what anybody may send. Confined, it reads what it needs to work, writes in its
account's own folders, and reaches no other process. Three parts of the kernel do that: Landlock for files
(`landlock`), a filter of system calls (`seccomp`), and the mark that closes its memory (`cores`). The process
that makes the accounts' processes is confined as well, as far as its children allow.

Which files are open is decided by pure functions in `open_files`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from orchestrator.system import kernel, landlock, seccomp
from orchestrator.system.cores import keep_out_of_cores
from orchestrator.system.landlock import Rule

_CAPABILITY_VERSION = 0x20080522
_KEPT_CAPABILITIES = (1 << 1) | (1 << 3)
"""Those of root that let it use files of any owner and mode; what it may reach, Landlock decides."""


class Lack(NamedTuple):
    """A part that is missing.

    Attributes:
        word: A word for it that a process may tell another.
        text: Its name for people.
        advice: What to do about it, for people; empty if that depends on the machine.
    """

    word: str
    text: str
    advice: str = ""


FILES: Final = Lack("files", "file isolation (Landlock)")
CALLS: Final = Lack("calls", "system-call filter (seccomp)")
SIGNALS: Final = Lack("signals", "isolation of signals (Landlock ABI 6)")
TRUNCATION: Final = Lack("truncation", "protection of files from being emptied (Landlock ABI 3)")
ALL: Final = Lack("off", "any isolation (`confine: off`)")
FAULT: Final = Lack("fault", "a part that could not be set up (see the log)")
LACKS: Final = {lack.word: lack for lack in (FILES, CALLS, SIGNALS, TRUNCATION, ALL, FAULT)}
"""All of them, by their words."""


class ConfinementError(Exception):
    """The process could not be confined although the kernel has what it takes; the text says why."""


class Kernel(NamedTuple):
    """What this process can use of the kernel.

    Attributes:
        landlock: The version of Landlock, 0 if there is none.
        filters: Whether system calls can be filtered.
        error: The number of the error that Landlock gave, if there is none.
        machine: The processor's architecture.
    """

    landlock: int
    filters: bool
    error: int = 0
    machine: str = "x86_64"


def look() -> Kernel:
    """Ask the kernel what this process can use; nothing changes by it."""
    try:
        abi, error = landlock.version(), 0
    except OSError as refused:
        abi, error = 0, refused.errno or errno.ENOSYS
    return Kernel(abi, seccomp.is_available(), error, platform.machine())


def lacks(kernel: Kernel) -> tuple[Lack, ...]:
    """Return what a kernel cannot keep from a process, the most important first; pure.

    The filter of system calls does without Landlock what older versions of Landlock do not do.
    """
    found = []
    if not kernel.landlock:
        found.append(FILES._replace(advice=_landlock_advice(kernel.error)))
    if not kernel.filters:
        found.append(CALLS._replace(advice=_filter_advice(kernel.machine)))
        if kernel.landlock < landlock.SCOPES_ABI:
            found.append(SIGNALS._replace(advice="use Linux 6.12 or newer"))
        if 0 < kernel.landlock < landlock.TRUNCATE_ABI:
            found.append(TRUNCATION._replace(advice="use Linux 6.2 or newer"))
    return tuple(found)


def missing() -> tuple[Lack, ...]:
    """Return what the running kernel cannot keep from a process; empty if it has all there is."""
    return lacks(look())


def words(found: Iterable[Lack]) -> str:
    """Return what is missing as words with blanks between, for another process."""
    return " ".join(lack.word for lack in found)


def refusal(found: Iterable[Lack]) -> str:
    """Return why nothing starts where the configuration requires all parts, and what to do about it."""
    said = "; ".join(f"{lack.text}: {lack.advice}" if lack.advice else lack.text for lack in found)
    return (
        f"`confine: required` is set, and this machine lacks what isolates the accounts' processes: {said}."
        " Or set `confine: auto` to go on without"
    )


def confine(
    rules: Iterable[Rule], *, makes_processes: bool = False, network: bool = True
) -> tuple[Lack, ...]:
    """Confine this process, for good, as far as the kernel can. Call it while there is one thread only.

    Threads that it starts later, and other processes that it makes, are confined as it is.

    Args:
        rules: The files that stay open.
        makes_processes: Whether this process makes others, which confine themselves further.
        network: Whether this process may speak to other machines.

    Returns:
        What the kernel lacks.

    Raises:
        ConfinementError: It could not be done; what was done by then stays.
    """
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - their number is all that is needed
    if threads != 1:
        raise ConfinementError(f"{threads} threads run already, and all but one would not be confined")
    able = look()
    try:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        _drop_capabilities()
        if able.landlock:
            landlock.restrict(rules, able.landlock)
        if able.filters:
            pid = None if makes_processes else os.getpid()
            seccomp.install(seccomp.packed(able.machine, pid=pid, network=network))
        keep_out_of_cores()
    except OSError as error:
        raise ConfinementError(error.strerror or str(error)) from error
    return lacks(able)


def _drop_capabilities() -> None:
    """Give up what root may do and an account's process need not; another user's process has nothing."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    held = ctypes.create_string_buffer(24)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, held) != 0:
        return
    permitted = struct.unpack("=6I", held.raw)[1] & _KEPT_CAPABILITIES
    libc.capset(header, struct.pack("=6I", permitted, permitted, 0, 0, 0, 0))


def _landlock_advice(error: int) -> str:
    if error == errno.EOPNOTSUPP:
        return "add landlock to the list lsm= on the kernel's command line, and boot again"
    if error in (errno.EPERM, errno.EACCES):
        return (
            "what started this process forbids it: write the unit anew with `orchestrator install-unit`, or"
            " allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self in the container"
        )
    return "use Linux 5.13 or newer, with Landlock built in (CONFIG_SECURITY_LANDLOCK)"


def _filter_advice(machine: str) -> str:
    if machine not in seccomp.ARCHITECTURES:
        return f"there is a filter for {' and '.join(seccomp.ARCHITECTURES)}, and none for {machine}"
    return "use a kernel with CONFIG_SECCOMP_FILTER, or allow prctl(PR_SET_SECCOMP) in the container"
