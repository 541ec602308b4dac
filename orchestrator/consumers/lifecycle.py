"""What the history of an account says to consumers: its entries as events ``account.…``. Pure.

An entry of the history is a change of state, or something else that has happened, see `store.timeline`. It
gives one event or none. An event never has a code that links a device. Its reason is the one of the history,
which is redacted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State

_OF_STATES: Final = {
    State.CONNECTED: "account.connected",
    State.PAIRING: "account.code",
    State.BANNED: "account.banned",
    State.REPLACED: "account.replaced",
    State.OUTDATED: "account.outdated",
    State.FAILED: "account.failed",
}
"""What is said when an account comes into a state from another one."""
_OF_EVENTS: Final = {"phone_offline": "account.phone_offline", "restricted": "account.restricted"}
"""What is said of something that has happened besides."""
_LONGEST: Final = 500
"""Characters of a reason, as the history keeps it."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that has happened to an account, as consumers get it.

    Attributes:
        id: What it is known by.
        type: Its type.
        number: Its number in the account's history.
        at: When, in Unix seconds.
        body: The event in JSON, in ASCII.
    """

    id: str
    type: str
    number: int
    at: float
    body: bytes = field(repr=False)


def render(account: str, entry: Mapping[str, Any]) -> Happening | None:
    """Return the event of an entry of an account's history, None if the entry says nothing to consumers.

    Args:
        account: The account's present name.
        entry: The entry. What is missing or of another type than it should be is taken as not known.
    """
    number, at = entry.get("n"), _time(entry.get("at"))
    kind = type_of(entry)
    if type(number) is not int or number <= 0 or at is None or kind is None:
        return None
    moment, seconds = at
    event = {
        "id": f"evt_{account}_account_{number}",
        "type": kind,
        "timestamp": moment,
        "account": account,
        "seq": None,
        "data": {
            "state": _text(entry, "to"),
            "previous": _text(entry, "from"),
            "kind": _text(entry, "kind"),
            "reason": _text(entry, "reason"),
            "whatsapp_code": _whole(entry.get("code")),
            "attempt": _whole(entry.get("attempt")) or 0,
            "retry_in": _seconds(entry.get("delay")),
        },
    }
    body = json.dumps(event, separators=(",", ":")).encode()
    return Happening(str(event["id"]), kind, number, seconds, body)


def type_of(entry: Mapping[str, Any]) -> str | None:
    """Return the type of the event of an entry, None if the entry says nothing to consumers."""
    happened, before, after = (entry.get(key) for key in ("event", "from", "to"))
    if happened is not None:
        return _OF_EVENTS.get(happened) if isinstance(happened, str) else None
    if not isinstance(after, str) or before == after:
        return None
    if after in _OF_STATES:
        return _OF_STATES[State(after)]
    if entry.get("kind") == Kind.LOGGED_OUT:
        return "account.logged_out"
    if before == State.PAIRING and after == State.CONNECTING:
        return "account.paired"
    return "account.disconnected" if before == State.CONNECTED else None


def _time(value: object) -> tuple[str, float] | None:
    """Return a time of the history as it is written in events, and in Unix seconds; None if it is none."""
    try:
        found = datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None or found.year < 1970:
        return None
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z", found.timestamp()


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value[:_LONGEST] if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= 9_999_999_999 else None


def _seconds(value: object) -> float | None:
    return (
        value if isinstance(value, int | float) and type(value) is not bool and 0 <= value < 2**33 else None
    )
