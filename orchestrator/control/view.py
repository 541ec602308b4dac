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

_MADE_UP_OF_OTHERS: Final = (tuple[str, ...],)
"""Types of fields of which one look does not tell whether a value is right."""


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


class Cause(NamedTuple):
    """Why an account has no session any more.

    Attributes:
        kind: ``logged_out``, ``locked`` or ``damaged``.
        reason: What was seen, for people.
        at: When, in UTC and ISO form.
    """

    kind: str | None = None
    reason: str | None = None
    at: str | None = None


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
        phone_seen_at: When the account's own phone last gave a sign, None if it gave none.
        phone_unlinks_at: About when WhatsApp unlinks the account because its phone is offline, None unless
            the phone gave no sign for ten days.
        qr_path: The picture of the current code, if it was written.
        qr_expires_at: When the current code expires.
        memory_bytes: Memory of the process (PSS), as of its last report.
        cpu_s: CPU seconds of the process; None if they cannot be read, or were not asked for.
        open_files: Open files of the process, as of its last report.
        threads: Threads of the process; None if they cannot be read, or were not asked for.
        isolation: How the process is isolated: ``full``, ``off``, or ``without`` and the parts that are
            missing; None if there is no process, or it has not said so yet.
        stored: Entries in the inbox; None if there is no inbox, or no process has said so yet.
        waiting: Events that a consumer has not had yet; None if there are no consumers.
        refused: Messages that came in since the service started and were not kept: they are not allowed.
        lost: Entries in the inbox about messages that were lost.
        queued: Messages that wait in the outbox; None if no process has said so yet.
        restricted: What the account may not send for now: ``new`` (to people whom it does not know) or
            ``all``; None if it may send everything.
        restricted_until: Until when, None if nobody knows.
        last_exit: How the process before ended.
        tags: The words that the configuration has for the account.
        proxy: The account's proxy without user and password, such as ``socks5://proxy:1080``; None if the
            configuration names none.
        last_in_at: When a message came in last; None if none did, or nobody has said so yet.
        last_out_at: When WhatsApp took a message from the outbox last; None as before.
        note: What the configuration has people remember of the account.
        disabled_until: When the account is enabled by itself; None unless it is disabled until then.
        cause: Why the account has no session any more, until it has one again.
        same_phone: Names of other accounts that are linked to the same number.
        shard: The machine of the cluster that runs the account; None where there is no cluster, or while no
            machine does.
        lease_age_s: Seconds since that machine has last said to the database that it is there.
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
    phone_seen_at: str | None = None
    phone_unlinks_at: str | None = None
    qr_path: str | None = None
    qr_expires_at: str | None = None
    memory_bytes: int | None = None
    cpu_s: float | None = None
    open_files: int | None = None
    threads: int | None = None
    isolation: str | None = None
    stored: int | None = None
    waiting: int | None = None
    refused: int = 0
    lost: int = 0
    queued: int | None = None
    restricted: str | None = None
    restricted_until: str | None = None
    last_exit: LastExit | None = None
    tags: tuple[str, ...] = ()
    proxy: str | None = None
    last_in_at: str | None = None
    last_out_at: str | None = None
    note: str | None = None
    disabled_until: str | None = None
    cause: Cause | None = None
    same_phone: tuple[str, ...] = ()
    shard: str | None = None
    lease_age_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        end, cause = self.last_exit and self.last_exit._asdict(), self.cause and self.cause._asdict()
        lists = {"tags": list(self.tags), "same_phone": list(self.same_phone)}
        return {**self._asdict(), "last_exit": end, "cause": cause, **lists}

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
        cause = values.get("cause")
        if isinstance(cause, Mapping):
            found["cause"] = Cause(**_known(Cause, cause))
        for field in ("tags", "same_phone"):
            texts = values.get(field)
            if isinstance(texts, list | tuple):
                found[field] = tuple(text for text in texts if isinstance(text, str))
        return cls(**found)


def _known(kind: type[T], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields that a class has, as far as their types are right."""
    return {
        field: values[field]
        for field, wanted in kind.__annotations__.items()
        if field in values
        and wanted not in _MADE_UP_OF_OTHERS
        and (isinstance(values[field], wanted) or _is_whole(values[field], wanted))
    }


def _is_whole(value: object, wanted: object) -> bool:
    """Tell whether a value is a whole number where a number with a fraction is expected."""
    return type(value) is int and wanted == float | None
