"""The form of requests and answers on the control socket.

A request is one line, ``{"command": …, …}``. The answer is one line or, for commands that watch, many:
``{"event": …}`` while the command goes on, then ``{"result": …}`` or
``{"error": …, "exit_code": …, "key": …}`` as the last.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from orchestrator.errors import ExitCode, NoSuchAccount, NotRunning, OrchestratorError

MAX_LINE = 1024 * 1024
"""Bytes of a line. A list of 1,000 accounts has about 400 kB."""
MAX_REQUEST = 320 * 1024
"""Bytes of a request. The longest is a message to be sent: 96 KiB in UTF-8, and three times that in ASCII."""

Json: TypeAlias = dict[str, Any]

_ERRORS: dict[int, type[OrchestratorError]] = {
    ExitCode.NOT_RUNNING: NotRunning,
    ExitCode.NO_SUCH_ACCOUNT: NoSuchAccount,
}


class ProtocolError(ValueError):
    """A line has no valid form. The message says what is wrong."""


def encode(value: Json) -> bytes:
    """Write a line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Json:
    """Read a line.

    Raises:
        ProtocolError: The line is not a JSON object.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("the line is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("the line is not a JSON object")
    return value


def error_answer(error: OrchestratorError) -> Json:
    """Return what stands for an error in an answer."""
    return {"error": str(error), "exit_code": int(error.exit_code), "key": error.key}


def read_error(answer: Json) -> OrchestratorError:
    """Return the error that an answer stands for. Older services send no key."""
    code, key = answer.get("exit_code"), answer.get("key")
    kind = _ERRORS.get(code, OrchestratorError) if isinstance(code, int) else OrchestratorError
    return kind(str(answer.get("error", "no reason given")), key=key if isinstance(key, str) else None)
