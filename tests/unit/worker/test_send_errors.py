"""What the library says of a message that was not sent, and what that means for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.worker.send_errors import NOT_CONNECTED, failure, why_not_sent


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("websocket not connected", NOT_CONNECTED),
        ("server returned error 463", "have not written to it"),
        ("server returned error 463", "this receiver takes none from this account, or"),
        ("server returned error 475", "as many new chats as it currently may"),
        ("server returned error 429", "too many messages"),
        ("server returned error 479", "refuses the message (error 479)"),
        ("no LID found for 4915100000001@s.whatsapp.net from server", "this number is not on WhatsApp"),
        ("failed to get device list: failed to send usync query: info query timed out", "may still arrive"),
        ("timed out waiting for message send response", "may still arrive"),
        ("websocket disconnected before info query returned response", "may still arrive"),
        ("context deadline exceeded", "did not answer in time"),
        (
            "something about 4915100000001@s.whatsapp.net",
            "neonize could not send the message: something about",
        ),
    ],
)
def test_an_error_of_the_library_becomes_words(error: str, words: str) -> None:
    assert words in why_not_sent(error)


@pytest.mark.parametrize(
    ("error", "certainty", "code"),
    [
        ("server returned error 463", "refused", 463),
        ("failed to get group info: info query returned status 429: rate-overlimit", "refused", 429),
        ("no LID found for 4915100000001@s.whatsapp.net from server", "refused", None),
        ("failed to send message node: websocket not connected", "before", None),
        ("websocket not connected", "unknown", None),
        ("failed to get device list: failed to send usync query: info query timed out", "before", None),
        ("failed to get device list: info query returned status 503: service-unavailable", "before", None),
        ("server returned error 503", "refused", 503),
        ("you're not participating in that group", "refused", None),
        ("failed to get group info: that group does not exist", "refused", None),
        ("timed out waiting for message send response", "unknown", None),
        ("websocket disconnected before info query returned response", "unknown", None),
        ("KeyError", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_what_an_error_means_for_the_message(error: str, certainty: str, code: int | None) -> None:
    found = failure(error)
    assert (found.certainty, found.code) == (certainty, code)
    # Only of what nobody knows anything of may people be told that it may still arrive.
    assert "may still" not in found.why or certainty == "unknown"


@given(st.text(), st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True), st.text())
def test_no_number_gets_into_the_words(before: str, number: str, after: str) -> None:
    said = why_not_sent(f"{before} {number}@s.whatsapp.net {after}")
    assert number not in said or number in before + after
