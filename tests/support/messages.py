"""What a child may say, and what it may not: strategies and a table, by message and field."""

from __future__ import annotations

import base64
import json
import string
from typing import Any, Final

from hypothesis import strategies as st
from support.pictures import PIXEL, PNG, SIGNATURE, header

from orchestrator.accounts import acts, outgoing, pipe
from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import FromChild, Message

TIMES = st.floats(0, 2**33, allow_nan=False).map(lambda time: time + 0)
SENTENCES = st.text(st.characters(codec="utf-8"), max_size=400).map(
    lambda text: " ".join("".join(one for one in text if one.isprintable()).split())
)
PHONES = st.text(string.digits, min_size=5, max_size=20)
QR = st.text([chr(number) for number in range(33, 127)], min_size=20, max_size=700)
MESSAGE_IDS = st.from_regex(acts.MESSAGE, fullmatch=True)
NUMBERS = st.integers(0, 2**53)
ROWS = st.integers(1, 2**53)
KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SECRETS = st.binary(min_size=16, max_size=16).map(bytes.hex)
STATES = st.from_regex(outgoing.STATE, fullmatch=True)
PACES = st.none() | st.from_regex(outgoing.PACE, fullmatch=True)
REASONS = st.none() | st.integers(0, 9_999_999_999)
BULK = st.text(st.characters(codec="utf-8"), max_size=300)
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
    st.builds(pipe.PhoneSeen, at=TIMES),
    st.builds(
        pipe.Heartbeat,
        last_seen_at=st.none() | TIMES,
        memory_bytes=st.integers(0, 2**50),
        open_files=st.none() | st.integers(0, 2**31),
        stored=st.none() | st.integers(0, 2**53),
        lost=st.integers(0, 2**53),
        refused=st.integers(0, 2**53),
        queued=st.integers(0, 2**53),
        last_in_at=st.none() | TIMES,
        last_out_at=st.none() | TIMES,
    ),
    st.builds(
        pipe.Ended,
        kind=st.sampled_from(list(Kind)),
        text=SENTENCES,
        code=st.none() | st.integers(0, 9_999_999_999),
        expire=st.none() | TIMES,
    ),
    st.builds(
        pipe.Acted,
        id=st.integers(0, 2**53),
        fate=st.sampled_from(acts.Fate),
        code=REASONS,
        about=SENTENCES,
        result=st.none() | BULK,
    ),
    st.builds(
        pipe.Queued,
        id=NUMBERS,
        row=st.none() | ROWS,
        state=st.none() | STATES,
        pace=PACES,
        message=st.none() | MESSAGE_IDS,
        queued_until=st.none() | TIMES,
        code=REASONS,
        why=st.none() | SENTENCES,
        fault=st.none() | st.sampled_from(outgoing.Fault),
        again=st.booleans(),
        kind=st.none() | st.from_regex(outgoing.KIND, fullmatch=True),
        to=st.none() | st.from_regex(acts.CHAT, fullmatch=True),
        tag=st.none() | BULK,
        created_at=st.none() | TIMES,
        changed_at=st.none() | TIMES,
        expires_at=st.none() | TIMES,
    ),
    st.builds(
        pipe.Moved,
        row=ROWS,
        state=STATES,
        pace=PACES,
        message=st.none() | MESSAGE_IDS,
        queued_until=st.none() | TIMES,
        code=REASONS,
        why=st.none() | SENTENCES,
        changed_at=TIMES,
    ),
    st.builds(pipe.Unsettled, digests=st.lists(SECRETS, min_size=1, max_size=5).map(" ".join)),
    st.builds(
        pipe.Restricted,
        what=st.sampled_from(outgoing.Restriction),
        until=st.none() | TIMES,
        code=REASONS,
    ),
    st.builds(
        pipe.Fetched,
        id=st.integers(0, 2**53),
        fault=st.none() | st.sampled_from(list(Fault)),
        about=SENTENCES,
    ),
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    FROM_CHILD,
    st.just(pipe.Stop()),
    st.just(pipe.StoreLost()),
    st.builds(pipe.Send, id=NUMBERS, body=BULK, key=KEYS, key_until=TIMES, expires_at=TIMES),
    st.builds(pipe.TakeBack, id=NUMBERS, row=ROWS),
    st.builds(pipe.Act, id=NUMBERS, body=BULK),
    st.builds(
        pipe.Secrets,
        asked=st.lists(SECRETS, min_size=1, max_size=5).map(" ".join),
        found=st.lists(st.tuples(SECRETS, MESSAGE_IDS).map(":".join), max_size=5).map(" ".join),
    ),
    st.builds(pipe.Taken, seq=st.none() | st.integers(0, 2**53)),
    st.builds(pipe.Extend, until=TIMES),
    st.builds(pipe.Fetch, id=st.integers(0, 2**53), media=st.from_regex("[1-9][0-9]{0,18}", fullmatch=True)),
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
    "Heartbeat": {
        "last_seen_at": 1_800_000_000.0,
        "memory_bytes": 16_000_000,
        "open_files": 23,
        "stored": 17,
        "lost": 1,
        "refused": 4,
        "queued": 2,
        "last_in_at": 1_800_000_000.0,
        "last_out_at": 1_800_000_000.0,
    },
    "PhoneSeen": {"at": 1_800_000_000.0},
    "Acted": {"id": 1, "fate": "failed", "code": 463, "about": "not sent", "result": '{"id": 1}'},
    "Queued": {
        "id": 1,
        "row": 7,
        "state": "queued",
        "pace": "new",
        "message": "3EB0A1",
        "queued_until": 1_800_000_045.0,
        "code": 463,
        "why": "WhatsApp restricts the account",
        "fault": "full",
        "again": False,
        "kind": "text",
        "to": "269139479534551@lid",
        "tag": "order 17",
        "created_at": 1_800_000_000.0,
        "changed_at": 1_800_000_000.0,
        "expires_at": 1_800_086_400.0,
    },
    "Moved": {
        "row": 7,
        "state": "sent",
        "pace": "known",
        "message": "3EB0A1",
        "queued_until": 1_800_000_045.0,
        "code": 429,
        "why": "WhatsApp asks for patience",
        "changed_at": 1_800_000_000.0,
    },
    "Unsettled": {"digests": " ".join(["0a" * 16, "1b" * 16])},
    "Restricted": {"what": "new", "until": 1_800_086_400.0, "code": 463},
    "Fetched": {"id": 1, "fault": "expired", "about": "WhatsApp's server answers with status 500"},
    "Ended": {"kind": "network", "text": "over", "code": 503, "expire": 60.0},
}
"""The fields of every message from a child, as JSON has them."""

_TIMES = (
    *("issued_at", "expires_at", "last_seen_at", "expire", "at", "until"),
    *("queued_until", "created_at", "changed_at", "last_in_at", "last_out_at"),
)
_COUNTS = ("memory_bytes", "open_files", "stored", "lost", "refused", "queued", "id", "code", "row")
_SENTENCES = ("why", "text", "about")
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
_NO_FLAGS = ["1", "0", "null", '"true"', "[]", "NaN"]
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
_NO_MESSAGE_IDS = [*(text for text in NO_TEXTS if text != "null"), '""', '"3EB0 A1"', json.dumps("A" * 129)]
_NO_LACKS = [
    *(text for text in NO_TEXTS if text != '""'),
    '"Files"',
    '" files"',
    '"files "',
    '"files,calls"',
    json.dumps("x" * 17),
    json.dumps(" ".join(9 * ["files"])),
]


_TOO_LONG = json.dumps("x" * 132_000)
_NO_BULK = ["1", "0", "true", "[]", "{}", "NaN", '["a"]', '"\\ud800"', _TOO_LONG]
_NO_WORDS = [*(text for text in NO_TEXTS if text != "null"), '""', '"QUEUED"', '"queued "', '"text or"']
_NO_CHATS = [
    *(text for text in NO_TEXTS if text != "null"),
    '"12345"',
    '"12345@lid\\n"',
    '"status@broadcast"',
]
_NO_DIGESTS = [
    *(*NO_TEXTS, '""', '"0a"', json.dumps("0A" * 16), json.dumps("0a" * 17)),
    json.dumps("  ".join(2 * ["0a" * 16])),
    json.dumps(" ".join(101 * ["0a" * 16])),
]
_NULL: Final = {
    *{("Ended", "code"), ("Ended", "expire"), ("Heartbeat", "open_files"), ("Heartbeat", "stored")},
    *(("Heartbeat", field) for field in ("last_seen_at", "last_in_at", "last_out_at")),
    *{("Acted", "code"), ("Acted", "result"), ("Fetched", "fault")},
    *{("Restricted", "until"), ("Restricted", "code")},
    *(("Moved", field) for field in ("pace", "message", "queued_until", "code", "why")),
    *(("Queued", field) for field in RIGHT["Queued"] if field not in ("id", "again")),
}
"""Fields that may hold nothing."""


def _wrong(name: str, field: str) -> list[str]:
    """Return JSON that the field may not hold."""
    found = [one for one in _of_kind(name, field) if one != "null"]
    return found if (name, field) in _NULL else [*found, "null"]


def _of_kind(name: str, field: str) -> list[str]:
    if field in _TIMES:
        return [*NO_NUMBERS, "8589934593"]
    if field in _COUNTS and name != "LinkCode":
        return [*NO_COUNTS, *(["0"] if field == "row" else [])]
    if name == "Code":
        return _NO_QR if field == "text" else _NO_PICTURES
    if name == "LinkCode":
        return _NO_CODES
    if field in _SENTENCES:
        return NO_TEXTS
    return {
        "phone": _NO_PHONES,
        "kind": _NO_KINDS,
        "paired": _NO_FLAGS,
        "again": _NO_FLAGS,
        "missing": _NO_LACKS,
        "fault": _NO_KINDS,
        "fate": _NO_KINDS,
        "what": _NO_KINDS,
        "message": _NO_MESSAGE_IDS,
        "state": _NO_WORDS,
        "pace": _NO_WORDS,
        "to": _NO_CHATS,
        "digests": _NO_DIGESTS,
        "result": _NO_BULK,
        "tag": _NO_BULK,
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
