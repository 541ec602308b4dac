"""Notes which Python functions run in processes that a fork server has made: by the environment alone.

With this folder on PYTHONPATH, behind the sandbox's, each such process adds a line to the file that
ORCHESTRATOR_TEST_RAN names, when a function runs there for the first time: process id, file, module and
function. The file is opened before the process gives up its files.
"""

import os
import sys
import threading
from types import CodeType, FrameType

RAN = "ORCHESTRATOR_TEST_RAN"


def watch(descriptor: int) -> None:
    """Note what runs from now on, in all threads."""
    pid, seen = os.getpid(), set[CodeType]()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code not in seen:
            seen.add(code)
            module = frame.f_globals.get("__name__")
            line = f"{pid}\t{code.co_filename}\t{module}\t{code.co_qualname}\n"
            os.write(descriptor, line.encode())

    sys.setprofile(note)
    threading.setprofile(note)


if RAN in os.environ:
    _file = os.open(os.environ[RAN], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.set_inheritable(_file, True)
    os.register_at_fork(after_in_child=lambda: watch(_file))
