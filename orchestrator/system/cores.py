"""Keeps what is in a process's memory out of core files, and from other processes of the same user."""

from __future__ import annotations

import contextlib
import resource

from orchestrator.system import kernel


def keep_out_of_cores() -> None:
    """Have no core file written of this process, and nobody but root read its memory.

    There are keys and codes in the memory. The size limit alone would not do: where the kernel pipes cores
    into a program, that program decides whether it heeds the limit. A process that is not "dumpable" is not
    offered to that program at all.

    The kernel then gives ``/proc/PID`` of this process to root. The process itself can still read most of it,
    but can no longer write there, as to its ``oom_score_adj``, and not even open its ``mem`` and ``environ``.
    Other processes of the same user can neither trace it nor list its open files. The setting is inherited by
    a fork, and ends when another program is executed; the limit is inherited by all.
    """
    with contextlib.suppress(ValueError, OSError):  # the limit was 0 before, or a stricter one is forbidden
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def open_to_self() -> None:
    """Let this process write to its own ``/proc/self`` again, until it calls `keep_out_of_cores` once more.

    A fork of a process that keeps out of cores needs this before it can set its ``oom_score_adj``. The limit
    of core files stays 0.
    """
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def is_kept_out() -> bool:
    """Return whether this process keeps out of core files."""
    return kernel.prctl(kernel.PR_GET_DUMPABLE) == 0 and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
