"""The form of what commands and the service say to each other.

A request is one line, ``{"command": …, …}``. The answer is one line or, for commands that watch, many:
``{"event": …}`` while it goes on, then ``{"result": …}`` or ``{"error": …, "exit_code": …}`` as the last.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

MAX_LINE = 1024 * 1024
"""Bytes of a line: 1,000 accounts in a list are about 400 kB."""
MAX_REQUEST = 64 * 1024
"""Bytes of a request; the longest names every account of a large fleet."""

Json: TypeAlias = dict[str, Any]


class ProtocolError(ValueError):
    """A line is not what it should be; the message says what is wrong with it."""


def encode(value: Json) -> bytes:
    """Write a line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Json:
    """Read a line.

    Raises:
        ProtocolError: It is no JSON object.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("the line is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("the line is not a JSON object")
    return value
