"""Runs a program as on a kernel that lacks parts of what isolates processes: a filter refuses to set them up.

``python without_isolation.py PART,PART PROGRAM ARGUMENT…``, where a part is ``landlock`` or ``seccomp``.
"""

from __future__ import annotations

import errno
import os
import platform
import sys

from orchestrator.system import kernel, seccomp
from orchestrator.system.seccomp import Instruction

LOAD, EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000
PRCTL = {"x86_64": 157, "aarch64": 167}
SECCOMP = {"x86_64": 317, "aarch64": 277}


def main() -> None:
    parts, *command = sys.argv[1:]
    program = [Instruction(LOAD, value=0)]
    if "landlock" in parts:
        for number in (444, 445, 446):
            program += [Instruction(EQUAL, 0, 1, number), Instruction(RETURN, value=REFUSE | errno.ENOSYS)]
    if "seccomp" in parts:
        machine = platform.machine()
        refuse = Instruction(RETURN, value=REFUSE | errno.EINVAL)
        program += [Instruction(EQUAL, 0, 1, SECCOMP[machine]), refuse]
        program += [
            Instruction(EQUAL, 0, 4, PRCTL[machine]),
            Instruction(LOAD, value=16),
            Instruction(EQUAL, 0, 1, kernel.PR_SET_SECCOMP),
            refuse,
            Instruction(RETURN, value=ALLOW),
        ]
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(seccomp.pack([*program, Instruction(RETURN, value=ALLOW)]))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
