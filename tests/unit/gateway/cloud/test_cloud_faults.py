"""Errors in the form of the Cloud API."""

from __future__ import annotations

import pytest
from pywa.errors import (
    ExpiredAccessToken,
    MediaUploadError,
    MessageUndeliverable,
    RateLimitHit,
    SpamRateLimitHit,
    UnsupportedMessageType,
    WhatsAppError,
)

from orchestrator.errors import KEYS
from orchestrator.gateway.cloud import faults, paths
from orchestrator.gateway.http import problems


def said(key: str) -> str:
    """Return what is said of a key: digits in a path may be an account's, a group's or a file's."""
    if key in ("bad_name", "media_unknown", "no_such_account"):
        return "There is no such account, group or file, or the token does not see it."
    return KEYS[key]


@pytest.mark.parametrize("key", problems.all_keys())
def test_every_error_has_a_number_and_a_status_like_the_apis(key: str) -> None:
    fault = faults.of_key(key)
    theirs = problems.status_of(key)

    assert fault.details == said(key)
    assert 400 <= fault.status < 600
    # Where another try would make a difference, it says the same as the API.
    if theirs in (401, 403, 429):
        assert fault.status == theirs
    if theirs >= 500 and fault.code != 131052:
        assert fault.status >= 429


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("unauthorized", ExpiredAccessToken),
        ("number_unknown", MessageUndeliverable),
        ("file_unfit", MediaUploadError),
        ("too_many_requests", RateLimitHit),
    ],
)
def test_pywa_knows_what_they_are(key: str, kind: type[WhatsAppError]) -> None:
    error = WhatsAppError.from_dict(faults.answer(faults.of_key(key), "trace")["error"])

    assert type(error) is kind
    assert error.details == said(key)
    assert error.fbtrace_id == "trace"


def test_what_whatsapp_refused_has_its_number() -> None:
    error = faults.answer(faults.of_row({"code": 475, "why": "WhatsApp refuses new chats"}), "")["error"]

    assert type(WhatsAppError.from_dict(error)) is SpamRateLimitHit
    assert error["error_data"]["details"] == "WhatsApp refuses new chats"
    assert faults.of_row({"code": 1, "why": None}).details == KEYS["not_sent"]


@pytest.mark.parametrize("code", [463, 475, 429, 400, None])
def test_what_was_refused_has_nobody_try_again_by_itself(code: int | None) -> None:
    assert faults.of_row({"code": code, "why": None}).status == 400


def test_what_may_have_been_taken_has_nobody_try_again_by_itself() -> None:
    assert faults.in_doubt().fault.status == 409


def test_a_kind_that_cannot_be_sent_is_said() -> None:
    error = faults.answer(faults.unsupported("no").fault, "")["error"]

    assert type(WhatsAppError.from_dict(error)) is UnsupportedMessageType
    assert type(error["code"]) is int


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v23.0/15550100/messages", ("v23.0", "15550100", "messages")),
        ("/v23.0/15550100/messages/", ("v23.0", "15550100", "messages")),
        ("/v17.0/5577006791947779410", ("v17.0", "5577006791947779410", "")),
        ("/v17.0/120363000000000001@g.us", ("v17.0", "120363000000000001@g.us", "")),
        ("/v13.0/debug_token", ("v13.0", "", "debug_token")),
        ("/v23.0", None),
        ("/v23.0/", None),
        ("/v23.0//messages", None),
        ("/v23.0/a/b/c", None),
        ("/v23/a/messages", None),
        ("/api/accounts", None),
    ],
)
def test_paths(path: str, found: tuple[str, str, str] | None) -> None:
    assert paths.read(path) == found
    assert paths.is_cloud(path) == (path.startswith("/v23.0") or found is not None)
