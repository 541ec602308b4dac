"""What a child may say, and what it may not: strategies and a table, by message and field."""

from __future__ import annotations

import base64
import json
import string
from typing import Any, Final

from hypothesis import strategies as st
from support.pictures import PIXEL, PNG, SIGNATURE, header

from orchestrator.accounts import pipe
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import FromChild, Message

TIMES = st.floats(0, 2**33, allow_nan=False).map(lambda time: time + 0)
SENTENCES = st.text(st.characters(codec="utf-8"), max_size=400).map(
    lambda text: " ".join("".join(one for one in text if one.isprintable()).split())
)
PHONES = st.text(string.digits, min_size=5, max_size=20)
QR = st.text([chr(number) for number in range(33, 127)], min_size=20, max_size=700)
CODES = st.from_regex(r"[1-9A-HJ-NP-TV-Z]{4}-?[1-9A-HJ-NP-TV-Z]{4}", fullmatch=True)

FROM_CHILD: st.SearchStrategy[FromChild] = st.one_of(
    st.builds(pipe.Loading, missing=st.from_regex(r"(?:[a-z]{1,16}(?: [a-z]{1,16}){0,7})?", fullmatch=True)),
    st.just(pipe.NotLoaded()),
    st.builds(pipe.Connecting, paired=st.booleans()),
    st.builds(pipe.Code, text=QR, png=st.just(PNG), issued_at=TIMES, expires_at=TIMES),
    st.builds(pipe.LinkCode, code=CODES, expires_at=TIMES),
    st.builds(pipe.Paired, phone=PHONES),
    st.builds(pipe.Connected, phone=PHONES | st.just("")),
    st.builds(pipe.LinkLost, why=SENTENCES),
    st.builds(
        pipe.Heartbeat,
        last_seen_at=st.none() | TIMES,
        memory_bytes=st.integers(0, 2**50),
        open_files=st.none() | st.integers(0, 2**31),
    ),
    st.builds(
        pipe.Ended,
        kind=st.sampled_from(list(Kind)),
        text=SENTENCES,
        code=st.none() | st.integers(0, 9_999_999_999),
        expire=st.none() | TIMES,
    ),
    st.builds(pipe.Sent, id=st.integers(0, 2**53), error=st.none() | SENTENCES),
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    FROM_CHILD,
    st.just(pipe.Stop()),
    st.builds(
        pipe.Send,
        id=st.integers(0, 2**53),
        to=PHONES,
        text=st.text(st.characters(codec="utf-8"), max_size=300),
    ),
)

RIGHT: Final[dict[str, dict[str, Any]]] = {
    "Loading": {"missing": "signals"},
    "NotLoaded": {},
    "Connecting": {"paired": True},
    "Code": {
        "text": "2@" + "A" * 40,
        "png": base64.b64encode(PNG).decode(),
        "issued_at": 1_800_000_000.0,
        "expires_at": 1_800_000_060.0,
    },
    "LinkCode": {"code": "ABCD-1234", "expires_at": 1_800_000_160.0},
    "Paired": {"phone": "4915100000001"},
    "Connected": {"phone": "4915100000001"},
    "LinkLost": {"why": "the connection was lost"},
    "Heartbeat": {"last_seen_at": 1_800_000_000.0, "memory_bytes": 16_000_000, "open_files": 23},
    "Sent": {"id": 1, "error": "not sent"},
    "Ended": {"kind": "network", "text": "over", "code": 503, "expire": 60.0},
}
"""The fields of every message from a child, as JSON has them."""

_TIMES = ("issued_at", "expires_at", "last_seen_at", "expire")
_COUNTS = ("memory_bytes", "open_files", "id", "code")
_SENTENCES = ("why", "text", "error")
NO_NUMBERS = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e300", "-1", "-0.5"),
    *("1" + "0" * 4000, "-1" + "0" * 4000, "0." + "1" * 60_000, "1e" + "9" * 5000, "1E+99999"),
    *("true", "false", '"1"', '""', "[]", "{}", "[[[]]]", '{"a": {}}'),
]
NO_COUNTS = [*NO_NUMBERS, "1.0", "1.5", "1e3", "18014398509481984", "99999999999999999999"]
NO_TEXTS = [
    *("1", "0", "true", "null", "[]", "{}", "NaN", '["a"]'),
    *(json.dumps(text) for text in ("\x1b]0;PWNED\x07", "\x1b[2J", "a\nb", "\r", "\0", "\x7f", "\t")),
    *(json.dumps(text) for text in ("\x85", "\x9b31m", "\u202e", "\u2066", "\u200f", "\u061c", "\u200b")),
    *(json.dumps(text) for text in ("\u200d", "\u2060", "\ufeff", "\u2028", "\u2029", "\U000e0041")),
    *('"\\ud800"', '"\\udfff\\ud800"', '"\\udc80"', json.dumps("x" * 65_000), json.dumps("x" * 701)),
]
_NO_KINDS = ['"tired"', '"NETWORK"', '""', "1", "null", "[]", "true", '"' + "x" * 60_000 + '"']
_NO_PICTURES = [
    *("1", "null", "[]", "true", '""', '"%"', '"AAAA"', '"\\ud800"', json.dumps("A" * 60_000), '"=A"'),
    json.dumps(base64.b64encode(PNG + b"more").decode()),
    json.dumps(base64.b64encode(SIGNATURE + header(30_000, 30_000) + PIXEL).decode()),
]
_NO_PHONES = [
    *NO_TEXTS,
    '"1234"',
    json.dumps("1" * 21),
    '"+4915100000001"',
    '"491510000000\\u0661"',
    '"4915 1"',
]
_NO_QR = [*NO_TEXTS, '""', '"2@A"', json.dumps("2@" + "A " * 20), json.dumps("2@" + "ä" * 40)]
_NO_CODES = [
    *NO_TEXTS,
    '""',
    '"ABCD"',
    '"abcd-1234"',
    '"ABCD-12340"',
    '"ABCD 1234"',
    '"ABCO-1234"',
    '"ABCD-123U"',
]
_NO_LACKS = [
    *(text for text in NO_TEXTS if text != '""'),
    '"Files"',
    '" files"',
    '"files "',
    '"files,calls"',
    json.dumps("x" * 17),
    json.dumps(" ".join(9 * ["files"])),
]


def _wrong(name: str, field: str) -> list[str]:
    """Return JSON that the field may not hold."""
    if field in _TIMES and name != "LinkCode.code":
        return [*NO_NUMBERS, "8589934593", *(["null"] if field in ("issued_at", "expires_at") else [])]
    if field in _COUNTS and name != "LinkCode":
        return [*NO_COUNTS, *(["null"] if name != "Ended" and field != "open_files" else [])]
    if name == "Code":
        return _NO_QR if field == "text" else _NO_PICTURES
    if name == "LinkCode":
        return _NO_CODES
    if field in _SENTENCES:
        return [text for text in NO_TEXTS if text != "null" or name != "Sent"]
    return {
        "phone": _NO_PHONES,
        "kind": _NO_KINDS,
        "paired": ["1", "0", "null", '"true"', "[]", "NaN"],
        "missing": _NO_LACKS,
    }[field]


WRONG: Final[list[tuple[str, str, str]]] = [
    (name, field, value)
    for name, fields in RIGHT.items()
    for field in fields
    for value in _wrong(name, field)
]
"""Message, field, and JSON that the field may not hold."""


def with_field(name: str, field: str, value: str) -> bytes:
    """Return a message with that JSON in one field; the others are right."""
    fields = {key: json.dumps(right) for key, right in RIGHT[name].items()} | {field: value}
    parts = [f'"type": "{name}"', *(f'"{key}": {one}' for key, one in fields.items())]
    return ("{" + ", ".join(parts) + "}").encode()
