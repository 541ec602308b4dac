"""Whether this program is tested on this Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from orchestrator.service.doctor.check import Check, Finding, warn
from orchestrator.service.doctor.context import Context
from orchestrator.system import pythons


def find(_: Context) -> Iterator[Finding]:
    """Name a Python on which this program is not tested."""
    yield from judge(sys.version_info)


def judge(version: tuple[Any, ...]) -> Iterator[Finding]:
    """Judge a version. On an untested one accounts may not start, as they did not on 3.13 for a while."""
    if not pythons.is_tried(version):
        major, minor, *_ = version
        yield warn(
            f"this program is not tested on Python {major}.{minor}, and accounts may not start",
            f"use Python {pythons.tried()}, or see first whether `orchestrator demo --once` works",
        )


CHECK = Check("python", "Python", "Whether this program is tested on this Python.", find)
