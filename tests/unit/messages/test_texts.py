"""What may be sent, and the words for what may not or could not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.pipe import MAX_MESSAGE, Send, encode
from orchestrator.errors import OrchestratorError
from orchestrator.messages.texts import MAX_TEXT, check
from orchestrator.worker.send_errors import NOT_CONNECTED, why_not_sent

NUMBER = "+4915100000001"


@pytest.mark.parametrize("text", ["hello", "two\nlines", "x" * MAX_TEXT, "\N{GRINNING FACE}" * MAX_TEXT])
def test_what_may_be_sent_fits_into_a_message(text: str) -> None:
    assert len(encode(Send(2**40, check(NUMBER, text), text))) < MAX_MESSAGE


@pytest.mark.parametrize(
    ("to", "text", "message"),
    [
        ("4915100000001", "hello", "country code"),
        ("+0915100000001", "hello", "country code"),
        ("+49151", "hello", "7 to 15"),
        ("+4915100000001234", "hello", "7 to 15"),
        ("+49 (0)1510 0000001", "hello", "country code"),
        ("+49\u00a01510 0000001", "hello", r"U\+00A0 \(NO-BREAK SPACE\) as character 4"),
        ("+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "hello", "country code"),
        (f"{NUMBER}\n", "hello", "country code"),
        ("120363000000000001@g.us", "hello", "country code"),
        (NUMBER, "", "the text is empty"),
        (NUMBER, " \n", "the text is empty"),
        (NUMBER, "hello" * MAX_TEXT, "too long"),
        (NUMBER, "hello \udcff", "UTF-8"),
    ],
)
def test_what_may_not_be_sent_is_not_quoted(to: str, text: str, message: str) -> None:
    with pytest.raises(OrchestratorError, match=message) as raised:
        check(to, text)
    assert "151000" not in str(raised.value)
    assert "hello" not in str(raised.value)


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


@given(st.text(), st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True), st.text())
def test_no_number_gets_into_the_words(before: str, number: str, after: str) -> None:
    said = why_not_sent(f"{before} {number}@s.whatsapp.net {after}")
    assert number not in said or number in before + after
