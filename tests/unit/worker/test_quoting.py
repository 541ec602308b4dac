"""Whatever strangers have written can be quoted, and takes nothing of others along."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from support.protobufs import ADA, Message, event
from support.strategies import messages

from orchestrator.messages.entry import Stored
from orchestrator.worker.composing import quoting


def stored(message: Any) -> Stored:  # noqa: ANN401 - protobuf
    raw = message if isinstance(message, bytes) else event(message).SerializePartialToString()
    return Stored("message", ADA, ADA, "M1", 1.0, raw)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)
@given(messages(Message))
def test_every_message_can_be_quoted_and_takes_no_others_along(message: Any) -> None:  # noqa: ANN401
    quoted = quoting.quotation(quoting.said(stored(message)))
    assert not quoted.HasField("messageContextInfo")
    for field, part in quoted.ListFields():
        if field.message_type is not None and "contextInfo" in field.message_type.fields_by_name:
            assert not part.HasField("contextInfo")
    assert len(quoted.SerializePartialToString()) <= quoting.MAX_QUOTE


@pytest.mark.parametrize("raw", [b"", b"\xff\xff", b"\x0a\x03abc"])
def test_what_cannot_be_read_is_quoted_without_words(raw: bytes) -> None:
    assert quoting.quotation(quoting.said(stored(raw))).HasField("conversation")
    assert not quoting.is_own(stored(raw))


def test_what_lacks_a_field_that_must_be_there_is_quoted_without_words() -> None:
    message = Message()
    message.extendedTextMessage.text = "Look"
    message.extendedTextMessage.endCardTiles.add(username="ada")
    quoted = quoting.quotation(quoting.said(stored(message)))
    assert (quoted.conversation, quoted.HasField("extendedTextMessage")) == ("", False)


def test_a_large_quote_loses_its_pictures_and_then_its_words() -> None:
    picture = Message()
    picture.imageMessage.caption, picture.imageMessage.JPEGThumbnail = "Look", bytes(100_000)
    quoted = quoting.quotation(quoting.said(stored(picture)))
    assert (quoted.imageMessage.caption, quoted.imageMessage.JPEGThumbnail) == ("Look", b"")
    quoted = quoting.quotation(quoting.said(stored(Message(conversation="x" * 100_000))))
    assert quoted.conversation == ""
