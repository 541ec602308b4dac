"""Expected bytes are written by hand: a field is its number and wire type, a length, the value."""

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.wire import content, proto
from orchestrator.sandbox.wire.proto import Kind, ProtoError

KINDS = [value for value in vars(proto).values() if isinstance(value, Kind)]
NUMBERS = st.integers(0, 2**64 - 1)
EXTENDED_TEXT = content.KINDS["ExtendedTextMessage"]
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
VALUES: dict[int, st.SearchStrategy[object]] = {
    proto.BYTES: st.binary(max_size=40),
    proto.STRING: TEXTS,
    proto.UINT: NUMBERS,
    proto.BOOL: st.booleans(),
}


def fields_of(descriptor: Any) -> st.SearchStrategy[dict[str, object]]:  # noqa: ANN401 - protobuf's own
    """Any fields of a message, each there or not."""
    return st.fixed_dictionaries(
        {},
        optional={
            field.name: fields_of(field.message_type) if field.message_type else VALUES[field.type]
            for field in descriptor.fields
        },
    )


def as_dict(message: Message) -> dict[str, object]:
    return {
        field.name: as_dict(value) if field.message_type else value for field, value in message.ListFields()
    }


@pytest.mark.parametrize(
    ("kind", "fields", "data"),
    [
        (proto.ClientHello, {}, ""),
        (proto.HandshakeMessage, {"client_hello": {"ephemeral": b"\x01\x02"}}, "12 04 0a 02 01 02"),
        (proto.HandshakeMessage, {"client_finish": {"static": b"\x03"}}, "22 03 0a 01 03"),
        (proto.ClientPayload, {"username": 300, "passive": True, "device": 3},
         "08 ac 02 18 01 90 01 03"),
        (proto.ClientPayload, {"pairing_data": {"identity": b"\x05"}}, "9a 01 03 1a 01 05"),
        (proto.CertDetails, {"serial": 7, "not_after": 2**32}, "08 07 28 80 80 80 80 10"),
        (proto.DeviceIdentity, {"raw_id": 0, "key_index": 1, "account_type": 0}, "08 00 18 01 20 00"),
        (content.Message, {"conversation": "hé"}, "0a 03 68 c3 a9"),
        (content.Message, {"device_sent": {"destination": "a", "message": {"conversation": "b"}}},
         "fa 01 08 0a 01 61 12 03 0a 01 62"),
        (content.KINDS["ImageMessage"], {"direct_path": "/"}, "5a 01 2f"),
        (content.KINDS["DocumentMessage"], {"caption": "c"}, "a2 01 01 63"),
    ],
)  # fmt: skip
def test_both_ways(kind: Kind, fields: dict[str, object], data: str) -> None:
    assert kind.encode(**fields) == bytes.fromhex(data)
    assert as_dict(kind.decode(bytes.fromhex(data))) == fields


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_is_written_reads_as_the_same_message(kind: Kind) -> None:
    @given(fields_of(kind.decode(b"").DESCRIPTOR))
    def check(fields: dict[str, object]) -> None:
        assert as_dict(kind.decode(kind.encode(**fields))) == fields

    check()


@given(st.sampled_from(KINDS), st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_proto_error(kind: Kind, data: bytes) -> None:
    try:
        message = kind.decode(data)
    except ProtoError:
        return
    as_dict(message)  # every field can be looked at


def test_absent_fields_are_empty_and_known_to_be_absent() -> None:
    message = content.Message.decode(b"")
    assert message.conversation == ""
    assert message.image.url == ""
    assert not message.HasField("conversation")
    assert not message.HasField("image")
    assert content.Message.decode(bytes.fromhex("0a 00")).HasField("conversation")


def test_unknown_fields_are_skipped() -> None:
    unknown = "a8 06 01  b2 06 02 68 69  bd 06 00 00 00 00"
    assert as_dict(EXTENDED_TEXT.decode(bytes.fromhex(unknown + "0a 01 78" + unknown))) == {"text": "x"}


@pytest.mark.parametrize(
    "data",
    ["0a", "0a 05 68", "0b", "00 00", "ff" * 11, "0a 02 ff fe"],
    ids=["no length", "cut off", "an open group", "field 0", "an endless number", "not UTF-8"],
)
def test_what_is_no_message_is_refused_by_name(data: str) -> None:
    with pytest.raises(ProtoError, match=rf"^{len(bytes.fromhex(data))} bytes are no ExtendedTextMessage$"):
        EXTENDED_TEXT.decode(bytes.fromhex(data))


def test_the_last_of_two_values_counts_and_parts_of_a_message_join() -> None:
    assert EXTENDED_TEXT.decode(bytes.fromhex("0a 01 61 0a 01 62")).text == "b"
    halves = content.Message.encode(conversation="a") + content.Message.encode(image={"url": "u"})
    assert as_dict(content.Message.decode(halves)) == {"conversation": "a", "image": {"url": "u"}}
