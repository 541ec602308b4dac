"""Errors as clients see them: RFC 9457, with our keys, and never with anything that the client has sent.

A sentence of `errors.KEYS` says what is wrong. Messages of errors may quote names, numbers and texts: those
stay inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from orchestrator.errors import KEYS

MEDIA_TYPE: Final = "application/problem+json"

_STATUSES: Final[Mapping[int, tuple[str, ...]]] = {
    400: ("bad_cursor", "bad_http", "bad_name", "bad_number", "bad_request", "bad_text"),
    401: ("login_failed", "unauthorized"),
    403: ("foreign_origin", "permission_denied", "scope_missing"),
    404: (
        "code_pending", "file_missing", "media_unknown", "message_unknown", "no_code", "no_dead_letter",
        "no_inbox", "no_such_account", "no_such_consumer", "no_such_path", "row_unknown",
    ),
    405: ("method_not_allowed",),
    408: ("request_timeout",),
    409: (
        "account_disabled", "account_exists", "account_running", "already_connected", "already_linked",
        "config_changed", "config_in_use", "config_invalid", "config_not_editable", "delivery_unknown",
        "duplicate_session",
        "idempotency_conflict", "idempotency_running", "idempotency_unknown", "media_never", "no_number",
        "not_connected", "on_other_shard", "phone_configured", "phone_missing", "phone_taken",
        "row_not_waiting", "session_exists", "still_configured", "too_many_pulls",
    ),
    410: ("media_expired",),
    413: ("body_too_large", "file_too_large", "media_too_large", "request_too_long"),
    415: ("bad_media_type",),
    416: ("bad_range",),
    421: ("wrong_host",),
    422: ("file_unfit", "link_unusable", "not_sent", "number_unknown"),
    429: ("too_many_requests",),
    431: ("head_too_large",),
    502: ("media_altered", "media_unfit", "media_unreachable"),
    503: (
        "inbox_unusable", "media_pending", "not_running", "outbox_full", "outbox_unusable",
        "service_busy", "service_unreachable", "store_away", "disowned", "order_not_taken",
    ),
    504: ("no_answer", "order_unknown", "still_stopping"),
    507: ("media_no_room", "uploads_full"),
}  # fmt: skip
_STATUS_OF: Final = {key: status for status, keys in _STATUSES.items() for key in keys}
RETRY_AFTER: Final[Mapping[str, int]] = {
    "code_pending": 1,
    "idempotency_running": 1,
    "inbox_unusable": 5,
    "media_pending": 5,
    "not_running": 2,
    "order_not_taken": 5,
    "outbox_full": 60,
    "outbox_unusable": 5,
    "service_busy": 1,
    "store_away": 5,
    "disowned": 5,
}
"""After how many seconds another try makes sense, by key."""


def status_of(key: str) -> int:
    """Return the status of an answer about an error. Keys of later versions are errors of the server."""
    return _STATUS_OF.get(key, 500)


def problem(
    key: str,
    *,
    status: int | None = None,
    errors: Iterable[Mapping[str, str]] | None = None,
    row: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an error as JSON.

    Args:
        key: One of `errors.KEYS`; one that is not known counts as ``failed``.
        status: The status of the answer, if it is not that of the key.
        errors: What is wrong with single values: where, and why.
        row: The row of the outbox that it is about.
    """
    key = key if key in KEYS else "failed"
    status = status_of(key) if status is None else status
    found: dict[str, Any] = {
        "type": f"/api/docs#{key}",
        "title": phrase(status),
        "status": status,
        "detail": KEYS[key],
        "key": key,
    }
    if errors is not None:
        found["errors"] = [dict(error) for error in errors]
    if row is not None:
        found["row"] = dict(row)
    return found


def body(key: str, *, status: int | None = None) -> bytes:
    """Return an error as the body of an answer."""
    return json.dumps(problem(key, status=status)).encode()


def phrase(status: int) -> str:
    """Return what a status is called."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def keys_of(status: int) -> tuple[str, ...]:
    """Return the keys of errors with a status."""
    return _STATUSES.get(status, ("failed", "internal_error", "state_unusable"))


def all_keys() -> list[str]:
    """Return the keys of all errors that clients can meet."""
    return sorted({*_STATUS_OF, "failed", "internal_error", "state_unusable"} & KEYS.keys())


def statuses() -> list[int]:
    """Return all statuses of errors."""
    return sorted({*_STATUSES, 500})
