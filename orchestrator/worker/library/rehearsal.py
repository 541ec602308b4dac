"""What every account's process does first and in the same way, done once in the process that makes them.

What is worked out here is shared by all children: patterns that were compiled, the fields of messages. A
child that works it out for itself writes to memory that it would otherwise share, some 16 KB for each
function that runs. Decision 024; `tests/e2e/test_child_work.py` says what a child may still run.
"""

from __future__ import annotations

import contextlib
import os
import platform
from typing import Final

from orchestrator.accounts import phones, pipe, proxy
from orchestrator.system import seccomp
from orchestrator.system.redaction import redact
from orchestrator.worker.library.lines import Scrubber

_PROXIES: Final = ("http://user:password@proxy.example:3128", "socks5://192.0.2.1:1080", "[2001:db8::1]:1")
_LINE: Final = "INFO Successfully paired +4915100000000, from account@example.org in 0123456789abcdef"


def rehearse() -> None:
    """Do it, with made-up values; nothing of it is kept but what Python remembers."""
    pipe.know_all()
    if platform.machine() in seccomp.ARCHITECTURES:
        seccomp.packed(platform.machine(), pid=os.getpid())
    for url in _PROXIES:
        proxy.parse_environment(url)
    phones.same("+4915100000000", "+4915100000001")
    redact(Scrubber(["a secret"]).clean(_LINE))


def number_classes() -> None:
    """Look something up in each class: Python numbers a class when that is done for the first time."""
    seen: set[type] = {object}
    pending: list[type] = [object]
    while pending:
        one = pending.pop()
        with contextlib.suppress(Exception):  # whatever the class of a class does where it is asked
            getattr(one, "__init__", None)
        more = set[type](type.__subclasses__(one)) - seen
        seen |= more
        pending += more
