"""The messages between a child and its parent: what is written is read, and nothing else is."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import FROM_CHILD, MESSAGES, RIGHT, WRONG, with_field
from support.pictures import PNG

from orchestrator.accounts import acts, outgoing, pipe
from orchestrator.accounts.bounds import Field, Range, fields_of
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import Message, MessageError, decode, encode
from orchestrator.sending import forms, wire
from orchestrator.sending.row import Pace, State
from orchestrator.system.redaction import redact

ADA = "269139479534551@lid"
SEND = {"id": 1, "body": "{}", "key": "0a" * 32, "key_until": 2.0, "expires_at": 1.0}


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
STRANGE = st.one_of(
    JSON.map(json.dumps),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1e400", "-0", "-0.0", "1" + "0" * 4000, '"\\ud800"']),
    st.integers().map(lambda number: f"{number}" * 300),
)
PLACES = [(name, field) for name, known in RIGHT.items() for field in known]


@given(st.sampled_from(PLACES), STRANGE)
def test_whatever_a_field_holds_is_refused_or_within_its_bounds(place: tuple[str, str], value: str) -> None:
    """What is read can be written again, so it is within the bounds; and nothing but an error is raised."""
    with contextlib.suppress(MessageError):
        message = decode(with_field(*place, value))
        assert decode(encode(message)) == message


@given(
    st.sampled_from([*RIGHT, "Stop", "Act", "Send"]),
    st.dictionaries(st.sampled_from(sorted({field for _, field in PLACES})), JSON),
)
def test_messages_with_other_fields_are_refused(name: str, values: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        decode(json.dumps({"type": name, **values}).encode())


def test_the_page_about_protocols_has_every_message_and_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs/protocol.md").read_text()
    for cls in (*get_args(pipe.FromChild), *get_args(pipe.FromParent)):
        names = [f"`{one.name}`" for one in fields(cls)]
        assert f"| `{cls.__name__}` | {', '.join(names)}".rstrip() in page
        bounds = page[page.index("### Bounds") : page.index("### Order and number")]
        assert all(name in bounds for name in names)


def test_the_table_has_every_message_and_every_field() -> None:
    assert {name: set(known) for name, known in RIGHT.items()} == {
        cls.__name__: {one.name for one in fields(cls)} for cls in get_args(pipe.FromChild)
    }
    for name, known in RIGHT.items():
        assert type(decode(json.dumps({"type": name, **known}).encode())).__name__ == name
    assert {(name, field) for name, field, _ in WRONG} == set(PLACES)


@pytest.mark.parametrize(("name", "field"), PLACES)
def test_what_a_field_may_not_hold_is_refused_and_not_quoted(name: str, field: str) -> None:
    for _, _, value in (one for one in WRONG if one[:2] == (name, field)):
        data = with_field(name, field, value)
        with pytest.raises(MessageError) as refused:
            decode(data)
        shown = str(refused.value)
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown) < 100
        assert value.strip('"') not in shown or len(value) < 6


OPTIONAL = (
    *(("Ended", "code"), ("Ended", "expire"), ("Loading", "missing")),
    *(("Heartbeat", field) for field in ("open_files", "stored", "lost", "refused", "queued")),
    *(("Heartbeat", field) for field in ("last_in_at", "last_out_at")),
    *(("Queued", field) for field in RIGHT["Queued"] if field != "id"),
    *(("Restricted", "until"), ("Restricted", "code")),
)


@pytest.mark.parametrize(("name", "field"), PLACES)
def test_a_field_that_is_not_there(name: str, field: str) -> None:
    values = {key: value for key, value in RIGHT[name].items() if key != field}
    if (name, field) in OPTIONAL:
        assert decode(json.dumps({"type": name, **values}).encode())
        return
    with pytest.raises(MessageError, match=f"a {name} without {field}"):
        decode(json.dumps({"type": name, **values}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"1",
        b"NaN",
        b'{"type": 1}',
        b'{"type": ["Stop"]}',
        b'{"type": "Other"}',
        b'{"type": "Connecting"}',
        b'{"type": "Connecting", "paired": true, "more": 1}',
        b'{"type": "Connecting", "paired": true, "paired": true}',
        b'{"type": "Stop", "type": "Stop"}',
        b'{"type": "Stop", "\\u0000": 1}',
        b'{"type": "Stop"} {"type": "Stop"}',
        b'{"type": "Stop"}\0',
        b'\xef\xbb\xbf{"type": "Stop"}',
        '{"type": "Stop"}'.encode("utf-16"),
        '{"type": "Stop"}'.encode("utf-32"),
        '{"type": "LinkLost", "why": "für"}'.encode(),
        b'{"type": "LinkLost", "why": "\xff"}',
        *(
            json.dumps({"type": "Send", **SEND, **wrong}).encode()
            for wrong in list[dict[str, object]](
                [
                    {"id": True},
                    {"body": None},
                    {"body": "\ud800"},
                    {"body": "x" * (outgoing.MAX_WRITTEN + 1)},
                    {"key": "0a"},
                    {"key": "0A" * 32},
                    {"key_until": -1},
                    {"expires_at": float("inf")},
                ]
            )
        ),
        *(
            json.dumps({"type": "Secrets", "found": wrong}).encode()
            for wrong in (
                *("0a:3EB0", f"{'0a' * 16}", f"{'0a' * 16}:", f"{'0a' * 16}:3EB0 ", f" {'0a' * 16}:3EB0"),
                " ".join([f"{'0a' * 16}:3EB0"] * 101),
            )
        ),
        b'{"type": "TakeBack", "id": 1, "row": 0}',
        b'{"type": "Acted", "id": 1}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"type": "LinkLost", "why": ' + b"[" * 50_000 + b"]" * 10,
        b'{"type": "LinkLost", "why": ' + b'{"a":' * 10_000,
        b'"' + b"x" * 70_000 + b'"',
    ],
)
def test_what_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


def test_too_much_is_not_written() -> None:
    with pytest.raises(MessageError, match="too long"):
        encode(pipe.Act(1, "x" * (outgoing.MAX_WRITTEN + 1)))
    with pytest.raises(MessageError, match="too long"):
        encode(pipe.Acted(1, acts.Fate.DONE, None, "", "x" * outgoing.MAX_RESULT))


@pytest.mark.parametrize(
    "card",
    ["a", '"', "\0", "é", "€", "\N{GRINNING FACE}"],
    ids=["plain", "quoted", "control", "two", "three", "four"],
)
def test_the_largest_messages_fit(card: str) -> None:
    """Whatever `sending.wire` takes for a message goes over the pipe."""
    card_size = len(json.dumps(card, ensure_ascii=False).encode()) - 2
    cards = min(forms.MAX_VCARD - 11, 4600 // card_size)
    contact = forms.Contact("A", (), "BEGIN:VCARD" + cards * card)
    body = wire.as_text(forms.Outgoing(ADA, forms.Contacts((contact,) * forms.MAX_CONTACTS)))
    assert len(body.encode()) > 0.9 * forms.MAX_BODY or card == '"'
    send = pipe.Send(2**53, body, "0a" * 32, 2.0**33, 2.0**33)
    assert len(encode(send)) <= pipe.MAX_MESSAGE
    assert decode(encode(send)) == send


def test_the_largest_answers_fit() -> None:
    why, tag = 500 * "\N{GRINNING FACE}", outgoing.MAX_TAG * "\N{GRINNING FACE}"
    acted = pipe.Acted(2**53, acts.Fate.UNKNOWN, 9_999_999_999, why, "x" * (outgoing.MAX_RESULT - 2))
    queued = pipe.Queued(
        *(2**53, 2**53, "taken_back", "reply", 128 * "A", 1.5, 463, why, outgoing.Fault.NOT_WAITING, True),
        *("revocation", f"{'1' * 20}@s.whatsapp.net", tag, 1.5, 1.5, 1.5),
    )
    unsettled = pipe.Unsettled(" ".join(["0a" * 16] * 100))
    for message in (acted, queued, unsettled):
        assert len(encode(message)) <= pipe.MAX_FROM_CHILD
        assert decode(encode(message)) == message


def test_the_words_for_rows_are_those_of_sending() -> None:
    """The packages below cannot import `sending`."""
    for known, words in ((outgoing.KIND, forms.Kind), (outgoing.STATE, State), (outgoing.PACE, Pace)):
        assert known.pattern.split("|") == [str(one) for one in words]
    assert outgoing.MAX_BODY == forms.MAX_BODY
    assert outgoing.MAX_TAG == forms.MAX_TAG


# What an honest child says fits

ODD = "\x1b[31mfailed\x1b[0m:\r\n\t\u202eto \u200bdial\ud800 " + "wss://web.whatsapp.com \x9b2J" * 200


@given(st.text() | st.just(ODD))
def test_whatever_others_have_worded_is_made_to_fit(text: str) -> None:
    for message in (
        pipe.LinkLost(text),
        pipe.Acted(1, acts.Fate.FAILED, None, text, None),
        pipe.Ended(Kind.CRASH, text),
    ):
        read = decode(encode(message))
        (shown,) = (getattr(read, one) for one in ("why", "about", "text") if hasattr(read, one))
        assert shown.isprintable()
        assert len(shown) <= 500


def test_a_text_that_is_cut_says_so_and_keeps_its_words() -> None:
    read = decode(encode(pipe.LinkLost(ODD)))
    assert isinstance(read, pipe.LinkLost)
    assert read.why.startswith("[31mfailed [0m: to dial wss://web.whatsapp.com 2J")
    assert read.why.endswith("…")
    fine = pipe.LinkLost("für “alle” → 3 mal täglich…")
    assert decode(encode(fine)) == fine


@given(st.floats(allow_nan=False) | st.integers())
def test_times_that_others_have_reckoned_are_made_to_fit(time: float) -> None:
    ended = decode(encode(pipe.Ended(Kind.TEMPORARY_BAN, "banned", 101, time)))
    assert isinstance(ended, pipe.Ended)
    assert ended.expire == min(max(time, 0), 2**33)
    beat = decode(encode(pipe.Heartbeat(time, 1)))
    assert isinstance(beat, pipe.Heartbeat)
    assert beat.last_seen_at == ended.expire
    assert str(beat.last_seen_at) != "-0.0"


@pytest.mark.parametrize(
    "message",
    [
        pipe.Code("too short", PNG, 1.0, 2.0),
        pipe.Code("2@" + "A" * 40, b"no picture", 1.0, 2.0),
        pipe.LinkCode("ABCDEFGHI", 1.0),
        pipe.Paired(""),
        pipe.Connected("not a number"),
        pipe.Heartbeat(None, -1),
        pipe.Heartbeat(float("nan"), 1),
        pipe.Acted(-1, acts.Fate.DONE, None, "", None),
        pipe.Acted(1, acts.Fate.DONE, None, "", "\ud800"),
        pipe.Queued(1, to="+4915100001"),
        pipe.Queued(1, message="not one word"),
        pipe.Send(1, "{}", "my key", 2.0, 1.0),
    ],
)
def test_what_no_honest_side_says_is_not_written(message: Message) -> None:
    with pytest.raises(MessageError) as refused:
        encode(message)
    assert "ABCDEFGHI" not in str(refused.value)


# How bounds are declared


@dataclass
class Unbounded:
    number: int


@dataclass
class Mixed:
    number: int | str


@dataclass
class Nested:
    names: list[str]


@dataclass
class Bounded:
    number: Annotated[int, Range(1, 3)] | None = None


@pytest.mark.parametrize("kind", get_args(Message))
def test_every_field_has_bounds(kind: type) -> None:
    assert fields_of(kind)[0].keys() == {one.name for one in fields(kind)}


@pytest.mark.parametrize("kind", [Unbounded, Mixed, Nested])
def test_a_field_without_bounds_is_a_mistake_of_whoever_adds_it(kind: type) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__}.* does not say what it may hold"):
        fields_of(kind)


def test_a_field_with_bounds() -> None:
    known, required = fields_of(Bounded)
    assert isinstance(known["number"], Field)
    assert not required
    assert known["number"].read(None) is None
    assert known["number"].read(3) == 3


@given(FROM_CHILD)
def test_secrets_are_not_in_the_repr(message: pipe.FromChild) -> None:
    shown = repr(message)
    for secret in ("text", "png", "phone", "result", "message", "to", "tag", "digests"):
        if not isinstance(message, pipe.Ended) and hasattr(message, secret):
            assert f" {secret}=" not in shown
    assert not isinstance(message, pipe.LinkCode) or message.code not in shown
    digest = "0a" * 32
    for told in (
        pipe.Act(1, '{"text": "my secret"}'),
        pipe.Acted(1, acts.Fate.DONE, None, "", '{"id": "3EB0A1"}'),
        pipe.Send(1, '{"text": "my secret"}', digest, 2.0, 1.0),
        pipe.Queued(1, 7, message="3EB0A1", to=ADA, tag="my secret"),
        pipe.Moved(7, "sent", None, "3EB0A1", None, None, None, 1.0),
        pipe.Unsettled(digest[:32]),
        pipe.Secrets(digest[:32], f"{digest[:32]}:3EB0A1"),
    ):
        assert not any(one in repr(told) for one in ("my secret", "3EB0A1", ADA, digest[:32]))


@pytest.mark.parametrize("letter", "123456789ABCDEFGHJKLMNPQRSTVWXYZ")
def test_each_code_that_the_service_takes_is_hidden_in_its_log(letter: str) -> None:
    code = f"{letter}A2B-C3D{letter}"
    assert decode(encode(pipe.LinkCode(code, 1.0))) == pipe.LinkCode(code, 1.0)
    assert redact(f"it showed {code}, and went on") == "it showed [link code], and went on"
