"""What programs and people see of an account: its fields, and their form in JSON. The only copy of both.

Cheap to import, since every command that shows accounts needs it: `NamedTuple` takes a tenth of the time that
`dataclasses` takes.
"""

# Without `from __future__ import annotations`: the types of the fields are used when JSON is read.

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

from orchestrator.errors import OrchestratorError

VERSION: Final = 1
"""The version of the fields. It grows when the meaning of a field changes, and not with a new field."""

T = TypeVar("T", bound=NamedTuple)


class LastExit(NamedTuple):
    """How the last process of an account ended.

    Attributes:
        at: UTC time in ISO form, such as 2026-11-22T10:00:00Z.
        kind: The kind of failure; see `accounts.failure`.
        code: Exit code, or minus the number of a signal; None if nobody knows.
        traceback: Path of the file with the stack traces, if there is one.
    """

    at: str | None = None
    kind: str | None = None
    code: int | None = None
    traceback: str | None = None


class AccountView(NamedTuple):
    """An account as others see it. Times are in UTC and ISO form.

    Attributes:
        name: The account.
        state: A word of `accounts.states.State`, or one that a service of another version knows.
        since: When the state changed last.
        reason: Why the account is not connected, for people.
        kind: The kind of failure that led to the state.
        phone: The number; masked unless it was asked for in full.
        pid: The account's process.
        attempt: How often in a row the account ended with this kind.
        next_retry_at: When the next try is.
        held: Whether the account waits for another account's test.
        restarts: How many processes came after the first.
        uptime_s: Seconds since the account connected.
        last_seen_at: When WhatsApp was last heard.
        qr_path: The picture of the current code, if it was written.
        qr_expires_at: When the current code expires.
        memory_bytes: Memory of the process (PSS), as of its last report.
        cpu_s: CPU seconds of the process; None if they cannot be read, or were not asked for.
        open_files: Open files of the process, as of its last report.
        threads: Threads of the process; None if they cannot be read, or were not asked for.
        isolation: How the process is isolated: ``full``, ``off``, or ``without`` and the parts that are
            missing; None if there is no process, or it has not said so yet.
        last_exit: How the process before ended.
    """

    name: str
    state: str
    since: str | None = None
    reason: str | None = None
    kind: str | None = None
    phone: str | None = None
    pid: int | None = None
    attempt: int = 0
    next_retry_at: str | None = None
    held: bool = False
    restarts: int = 0
    uptime_s: float | None = None
    last_seen_at: str | None = None
    qr_path: str | None = None
    qr_expires_at: str | None = None
    memory_bytes: int | None = None
    cpu_s: float | None = None
    open_files: int | None = None
    threads: int | None = None
    isolation: str | None = None
    last_exit: LastExit | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**self._asdict(), "last_exit": self.last_exit and self.last_exit._asdict()}

    @classmethod
    def from_json(cls, values: object) -> "AccountView":
        """Read the fields from plain values.

        A service of another version may have written these values: fields that are not known are ignored, and
        fields that are missing or have another type get their default.

        Raises:
            OrchestratorError: The values are no account: the name or the state is missing.
        """
        if not isinstance(values, Mapping):
            values = {}
        found = _known(cls, values)
        if "name" not in found or "state" not in found:
            raise OrchestratorError(
                "the service describes an account without name or state; it is not a compatible version",
                key="protocol_mismatch",
            )
        end = values.get("last_exit")
        if isinstance(end, Mapping):
            found["last_exit"] = LastExit(**_known(LastExit, end))
        return cls(**found)


def _known(kind: type[T], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields that a class has, as far as their types are right."""
    return {
        field: values[field]
        for field, wanted in kind.__annotations__.items()
        if field in values and (isinstance(values[field], wanted) or _is_whole(values[field], wanted))
    }


def _is_whole(value: object, wanted: object) -> bool:
    """Tell whether a value is a whole number where a number with a fraction is expected."""
    return type(value) is int and wanted == float | None
