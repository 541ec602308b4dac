from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import pipe
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import Message, MessageError, decode, encode

FLOATS = st.floats(0, 4e9, allow_nan=False)
TEXTS = st.text(max_size=200)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(pipe.Connecting, paired=st.booleans()),
    st.builds(pipe.Code, text=TEXTS, png=st.binary(max_size=2000), issued_at=FLOATS, expires_at=FLOATS),
    st.builds(pipe.LinkCode, code=TEXTS, expires_at=FLOATS),
    st.builds(pipe.Paired, phone=TEXTS),
    st.builds(pipe.Connected, phone=TEXTS),
    st.builds(pipe.LinkLost, why=TEXTS),
    st.builds(
        pipe.Heartbeat,
        last_seen_at=st.none() | FLOATS,
        memory_bytes=st.integers(0, 2**40),
    ),
    st.builds(
        pipe.Ended,
        kind=st.sampled_from(list(Kind)),
        text=TEXTS,
        code=st.none() | st.integers(0, 999),
        expire=st.none() | FLOATS,
    ),
    st.builds(pipe.Sent, id=st.integers(0, 2**40), error=st.none() | TEXTS),
    st.just(pipe.Stop()),
    st.builds(pipe.Send, id=st.integers(0, 2**40), to=TEXTS, text=TEXTS),
)


@given(MESSAGES)
def test_what_is_written_is_read_again(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=500))
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


FIELDS = [
    "id", "to", "error", "text", "png", "issued_at", "expires_at", "kind", "code", "paired",
    "memory_bytes",
]  # fmt: skip


@given(
    st.sampled_from(["Code", "Ended", "Heartbeat", "Connecting", "Stop", "Send", "Sent"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)
def test_messages_with_other_fields_are_refused(name: str, values: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        decode(json.dumps({"type": name, **values}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"type": 1}',
        b'{"type": "Other"}',
        b'{"type": "Connecting"}',
        b'{"type": "Connecting", "paired": 1}',
        b'{"type": "Connecting", "paired": true, "more": 1}',
        b'{"type": "Ended", "kind": "tired", "text": ""}',
        b'{"type": "Send", "id": true, "to": "1", "text": ""}',
        b'{"type": "Sent", "id": 1}',
        b'{"type": "Heartbeat", "last_seen_at": "now", "memory_bytes": 1}',
        b'{"type": "Code", "text": "", "png": "%", "issued_at": 1, "expires_at": 2}',
        b"[" * 100_000,
        b'"' + b"x" * 70_000 + b'"',
    ],
)
def test_what_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


def test_too_much_is_not_written() -> None:
    with pytest.raises(MessageError, match="too large"):
        encode(pipe.LinkLost("x" * 70_000))


def test_secrets_are_not_in_the_repr() -> None:
    code = pipe.Code("2@secret", b"png", 1.0, 2.0)
    shown = repr([code, pipe.LinkCode("ABCDEFGH", 1.0), pipe.Connected("4915100001")])
    shown += repr(pipe.Send(1, "4915100001", "my secret"))
    assert "secret" not in shown
    assert "ABCDEFGH" not in shown
    assert "49151" not in shown
