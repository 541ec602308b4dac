"""Events that are about no account: that a webhook was disabled, and tests.

They are in no stream, so they have no number. Whoever gets one gets it under the same id on each try.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

DISABLED: Final = "webhook.disabled"
TEST: Final = "test"


@dataclass(frozen=True, slots=True)
class Notice:
    """Such an event, as consumers get it.

    Attributes:
        id: What it is known by.
        type: Its type.
        account: Empty: it is about none.
        at: When it happened, in Unix seconds.
        body: The event in JSON, in ASCII.
    """

    id: str
    type: str
    at: float
    body: bytes = field(repr=False)
    account: str = ""


def disabled(webhook: str, why: str, at: float) -> Notice:
    """Say to the other consumers that a webhook gets nothing any more.

    Args:
        webhook: Its name.
        why: The reason, in words of ours.
        at: When, in Unix seconds.
    """
    return _make(f"evt_disabled_{webhook}_{_ms(at)}", DISABLED, at, {"webhook": webhook, "reason": why})


def test(webhook: str, at: float) -> Notice:
    """Return what an operator sends to a webhook to see whether it works.

    Args:
        webhook: Its name.
        at: When, in Unix seconds.
    """
    return _make(f"evt_test_{webhook}_{_ms(at)}", TEST, at, {"webhook": webhook})


def _make(name: str, kind: str, at: float, data: dict[str, Any]) -> Notice:
    moment = datetime.fromtimestamp(_ms(at) / 1000, UTC).isoformat(timespec="milliseconds")
    event = {
        "id": name,
        "type": kind,
        "timestamp": moment.replace("+00:00", "Z"),
        "account": None,
        "seq": None,
        "data": data,
    }
    return Notice(name, kind, at, json.dumps(event, separators=(",", ":")).encode())


def _ms(at: float) -> int:
    return int(at * 1000)
