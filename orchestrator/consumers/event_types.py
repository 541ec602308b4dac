"""The types of events, and the patterns by which a consumer chooses some of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

EVENT_TYPES: tuple[str, ...] = (
    "message.received",
    "message.edited",
    "message.revoked",
    "message.reaction",
    "message.poll_vote",
    "message.status",
    "message.lost",
    "message.undecryptable",
    "call.offered",
    "group.changed",
    "group.joined",
    "account.connected",
    "account.disconnected",
    "account.code",
    "account.paired",
    "account.logged_out",
    "account.banned",
    "account.replaced",
    "account.outdated",
    "account.failed",
    "account.restricted",
    "account.phone_offline",
    "webhook.disabled",
    "test",
)
"""All types of events."""

_PATTERN = re.compile(r"\*|[a-z]+(?:\.(?:[a-z_]+|\*))?", re.ASCII)


def is_pattern(text: str) -> bool:
    """Tell whether a text chooses at least one type: a type, ``*``, or a group such as ``message.*``."""
    return _PATTERN.fullmatch(text) is not None and any(matches(text, one) for one in EVENT_TYPES)


def matches(pattern: str, event_type: str) -> bool:
    """Tell whether a pattern chooses a type."""
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def chosen(patterns: Iterable[str], event_type: str) -> bool:
    """Tell whether one of the patterns chooses a type."""
    return any(matches(one, event_type) for one in patterns)
