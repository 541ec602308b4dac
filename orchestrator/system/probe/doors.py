"""One door: what is tried there, and what an attempt may end with."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.system.probe.report import By, Finding, Wanted

Attempt = Callable[[], object]
"""Tries something; raises OSError where that is refused, and may return a text with more about it."""


class Absent(Exception):  # noqa: N818 - no error
    """There is nothing to try it on."""


@dataclass(frozen=True, slots=True)
class Door:
    """An attempt at a door.

    Attributes:
        name: The door.
        what: What is tried.
        attempt: Tries it.
        wanted: What it is meant to be.
        by: What closes it.
    """

    name: str
    what: str
    attempt: Attempt
    wanted: Wanted = "closed"
    by: By = "files"

    def try_it(self) -> Finding:
        """Try it, and say what came of it."""
        finding = Finding(self.name, self.what, "open", self.wanted, self.by)
        try:
            detail = self.attempt()
        except Absent:
            return _but(finding, result="absent")
        except OSError as error:
            number = error.errno or 0
            name = errno.errorcode.get(number, str(error))
            return _but(finding, result="absent" if number == errno.ESRCH else "closed", error=name)
        return _but(finding, detail=detail if isinstance(detail, str) else "")


def _but(finding: Finding, **changes: str) -> Finding:
    return replace(finding, **changes)  # type: ignore[arg-type]
