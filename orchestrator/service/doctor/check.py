"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from orchestrator.errors import OrchestratorError
from orchestrator.service.doctor.context import Context
from orchestrator.system.redaction import redact

Status: TypeAlias = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
        status: OK, WARN or FAIL.
        check: What was looked at, for people. By default the check's title.
        text: What was found.
        advice: What to do, or nothing.
        key: The key of the check, for programs.
    """

    status: Status
    check: str
    text: str
    advice: str = ""
    key: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. A module of `checks` has one.

    Attributes:
        key: Its name for programs, which never changes.
        title: Its name for people.
        about: What it looks at, a sentence.
        find: Looks, and yields what it finds.
    """

    key: str
    title: str
    about: str
    find: Callable[[Context], Iterator[Finding]]


def ok(text: str, advice: str = "", *, what: str = "") -> Finding:
    """Return a finding that is as it should be.

    Args:
        text: What was found.
        advice: What can be done.
        what: What was looked at, if that is less than the check's title says.
    """
    return Finding("OK", what, text, advice)


def warn(text: str, advice: str = "", *, what: str = "") -> Finding:
    """Return a finding that may lead to trouble; the arguments are those of `ok`."""
    return Finding("WARN", what, text, advice)


def fail(text: str, advice: str = "", *, what: str = "") -> Finding:
    """Return a finding that keeps accounts from working; the arguments are those of `ok`."""
    return Finding("FAIL", what, text, advice)


def uncheckable(error: Exception) -> Finding:
    """Return a finding that says why a check could not look."""
    if isinstance(error, OrchestratorError):
        return fail(redact(str(error)))
    if isinstance(error, OSError):
        text = f"cannot look at {error.filename or 'a file'}: {error.strerror or error}"
        return fail(redact(text), "run this command as the service's user, with `sudo -u`")
    text = f"could not be checked: {type(error).__name__}: {error}"
    return fail(redact(text), "please report this: it is a bug in the orchestrator")
