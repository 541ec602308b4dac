"""Errors as the Cloud API shows them: one of Meta's numbers, and never a word of what was sent. Pure.

The numbers are those of Meta's list, so that programs that know them do the right thing: 190 asks for
another token, 131026 says that nobody has the number, 130429 asks to wait.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from orchestrator.errors import KEYS

Json: TypeAlias = dict[str, Any]

UNSUPPORTED: Final = 131051


@dataclass(frozen=True, slots=True)
class Fault:
    """An error.

    Attributes:
        code: Meta's number.
        title: What Meta calls it.
        status: The status of the answer.
        type: Meta's sort of error.
        details: What is wrong here, and what to do; empty: the title says it.
        retry_after: After how many seconds another try makes sense, None if nothing says so.
    """

    code: int
    title: str
    status: int
    type: str = "OAuthException"
    details: str = ""
    retry_after: int | None = None


_TOKEN: Final = Fault(190, "Invalid OAuth access token", 401)
_DENIED: Final = Fault(10, "Application does not have permission for this action", 403)
_UNKNOWN_OBJECT: Final = Fault(
    100,
    "Unsupported request: no such object",
    404,
    "GraphMethodException",
    # One sentence for all: digits in a path may be any of them.
    "There is no such account, group or file, or the token does not see it.",
)
_NO_METHOD: Final = Fault(3, "Capability or permissions issue", 400)
_MISSING: Final = Fault(131008, "Required parameter is missing", 400)
_INVALID: Final = Fault(131009, "Parameter value is not valid", 400)
_CONFLICT: Final = Fault(100, "Invalid parameter", 409)
_KIND: Final = Fault(UNSUPPORTED, "Unsupported message type", 400)
_LINK: Final = Fault(131052, "Media download error", 400)
_UPLOAD: Final = Fault(131053, "Media upload error", 400)
_MEDIA: Final = Fault(131052, "Media download error", 404)
_NOBODY: Final = Fault(131026, "Message undeliverable", 400)
_LIMIT: Final = Fault(131048, "Spam rate limit hit", 400)
_UNWANTED: Final = Fault(131049, "Message not delivered to maintain healthy ecosystem engagement", 400)
_FAST: Final = Fault(130429, "Rate limit hit", 429, retry_after=60)
_BUSY: Final = Fault(130429, "Rate limit hit", 429, retry_after=1)
_AWAY: Final = Fault(133010, "Phone number not registered", 400)
_LATER: Final = Fault(131016, "Service unavailable", 503, retry_after=2)
_FAILED: Final = Fault(131000, "Something went wrong", 500)
_REFUSED: Final = Fault(131000, "Something went wrong", 400)
"""Of a message that is surely not sent: programs send again after 5xx by themselves, and would fail again."""
_DOUBT: Final = Fault(131000, "Something went wrong", 409)
"""Of a message that may have been taken: a program that tries again by itself would send it twice."""

_FAULTS: Final[Mapping[str, Fault]] = {
    "account_disabled": _AWAY,
    "already_connected": _CONFLICT,
    "bad_media_type": replace(_INVALID, status=415),
    "bad_name": _UNKNOWN_OBJECT,
    "body_too_large": replace(_UPLOAD, status=413),
    "delivery_unknown": _DOUBT,
    "file_missing": _UPLOAD,
    "file_too_large": replace(_UPLOAD, status=413),
    "file_unfit": _UPLOAD,
    "foreign_origin": _DENIED,
    "idempotency_conflict": _CONFLICT,
    "idempotency_running": replace(_BUSY, status=409),
    "link_unusable": _LINK,
    "login_failed": _TOKEN,
    "media_altered": _MEDIA,
    "media_expired": _MEDIA,
    "media_never": _MEDIA,
    "media_no_room": replace(_LATER, retry_after=60),
    "media_pending": replace(_LATER, retry_after=5),
    "media_too_large": _MEDIA,
    "media_unfit": _MEDIA,
    "media_unknown": _UNKNOWN_OBJECT,
    "media_unreachable": replace(_LATER, retry_after=60),
    "message_unknown": replace(_INVALID, status=404),
    "method_not_allowed": replace(_NO_METHOD, status=405),
    "no_answer": replace(_LATER, status=504),
    "no_inbox": replace(_INVALID, status=404),
    "no_such_account": _UNKNOWN_OBJECT,
    "no_such_path": replace(_NO_METHOD, status=404),
    "not_connected": _AWAY,
    "not_running": _LATER,
    "not_sent": _REFUSED,
    "number_unknown": _NOBODY,
    "on_other_shard": _AWAY,
    "order_not_taken": _LATER,
    "order_unknown": replace(_LATER, status=504),
    "outbox_full": replace(_FAST, retry_after=60),
    "outbox_unusable": _LATER,
    "permission_denied": _DENIED,
    "request_timeout": replace(_INVALID, status=408),
    "row_unknown": replace(_INVALID, status=404),
    "scope_missing": _DENIED,
    "service_busy": _BUSY,
    "service_unreachable": _LATER,
    "still_stopping": _LATER,
    "store_away": _LATER,
    "disowned": _LATER,
    "too_many_requests": _BUSY,
    "unauthorized": _TOKEN,
    "uploads_full": replace(_LATER, retry_after=60),
    "wrong_host": replace(_NO_METHOD, status=421),
}

_OF_WHATSAPP: Final[Mapping[int, Fault]] = {
    429: _LIMIT,
    463: _UNWANTED,
    475: _LIMIT,
}
"""What WhatsApp's own numbers mean, by which it refuses a message. What waits for a restriction to end does
not fail, so 463 is about one receiver here."""


class FaultError(Exception):
    """A request cannot be answered.

    Args:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.title)
        self.fault = fault


def of_key(key: str, *, status: int | None = None) -> Fault:
    """Return the error of a key of `errors.KEYS`.

    Args:
        key: The key; one that is not known is an error of the server.
        status: The status of the answer, if it is not that of the number.
    """
    known = key if key in KEYS else "failed"
    fault = _FAULTS.get(known)
    if fault is None:
        fault = _INVALID if known.startswith("bad_") else _FAILED
    return replace(
        fault, details=fault.details or KEYS[known], status=fault.status if status is None else status
    )


def of_row(row: Mapping[str, Any]) -> Fault:
    """Return the error of a message that was not sent, by its row in the outbox.

    Args:
        row: The row, as `sending.row.Row.as_json` has it.
    """
    fault = of_code(row.get("code"))
    why = row.get("why")
    return replace(fault, details=why if isinstance(why, str) and why else KEYS["not_sent"])


def of_code(code: object) -> Fault:
    """Return the error of WhatsApp's own number, or of none."""
    return _OF_WHATSAPP.get(code, _REFUSED) if isinstance(code, int) else _REFUSED


def in_doubt() -> FaultError:
    """Return the error of a message of which nobody knows whether it was taken."""
    return FaultError(replace(_DOUBT, details=f"{KEYS['delivery_unknown']} Look into the outbox first."))


def missing(field: str) -> FaultError:
    """Return the error of a request that lacks a field."""
    return FaultError(replace(_MISSING, details=f"{field} is missing"))


def invalid(why: str) -> FaultError:
    """Return the error of a field with another value.

    Args:
        why: What is wrong, in words of ours that quote nothing.
    """
    return FaultError(replace(_INVALID, details=why))


def unsupported(why: str) -> FaultError:
    """Return the error of a kind of message that an account cannot send.

    Args:
        why: What is not there, in words of ours that quote nothing.
    """
    return FaultError(replace(_KIND, details=why))


def answer(fault: Fault, trace: str) -> Json:
    """Return an error as the body of an answer.

    Args:
        fault: The error.
        trace: A word by which the answer can be told from others; of no further use here.
    """
    return {
        "error": {
            "message": f"(#{fault.code}) {fault.title}",
            "type": fault.type,
            "code": fault.code,
            "error_data": {"messaging_product": "whatsapp", "details": fault.details or fault.title},
            "fbtrace_id": trace,
        }
    }


def body(fault: Fault, trace: str) -> bytes:
    """Return an error as the bytes of an answer."""
    return json.dumps(answer(fault, trace)).encode()


def in_webhook(fault: Fault) -> Json:
    """Return an error as an entry of `errors` in a webhook's body."""
    return {
        "code": fault.code,
        "title": fault.title,
        "message": fault.title,
        "error_data": {"details": fault.details or fault.title},
    }
