"""The expected bytes were put together by hand from the description of the format, not by the encoder."""

import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.wire import binxml
from orchestrator.sandbox.wire.binxml import MAX_DEPTH, MAX_SIZE, BinaryXMLError, Codec
from orchestrator.sandbox.wire.jid import GROUP, JID, LID, PN
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import Tokens, load_tokens

TOKENS = load_tokens()
CODEC = Codec(TOKENS)


def frame(text: str) -> bytes:
    """The flags byte and bytes in hex; _ is <receipt>'s list header for one attribute, "id"."""
    return b"\0" + bytes.fromhex(text.replace("_", "f8 03 07 08"))


def attribute(value: str | JID) -> Node:
    return Node("receipt", {"id": value})


# Both ways: what is encoded like this and decodes to this.
VECTORS: dict[str, tuple[Node, str]] = {
    "an element alone": (Node("receipt"), "f8 01 07"),
    "single-byte token": (attribute("to"), "_ 11"),
    "last single-byte token": (attribute("screen_height"), "_ eb"),
    "dictionary 0": (attribute("active"), "_ ec 01"),
    "dictionary 1": (attribute("reject"), "_ ed 00"),
    "dictionary 2, a token though digits": (attribute("64"), "_ ee 00"),
    "dictionary 3": (attribute("1961"), "_ ef ff"),
    "nibbles, even": (attribute("4915100001"), "_ ff 05 49 15 10 00 01"),
    "nibbles, odd": (attribute("4.3-2"), "_ ff 83 4b 3a 2f"),
    "nibbles, no digits": (attribute("--"), "_ ff 01 aa"),
    "nibbles, 127": (attribute("7" * 127), "_ ff c0" + "77" * 63 + "7f"),
    "nibbles, too many": (attribute("7" * 128), "_ fc 80" + "37" * 128),
    "hex, even": (attribute("3EB0FF"), "_ fb 03 3e b0 ff"),
    "hex, odd": (attribute("ABC"), "_ fb 82 ab cf"),
    "hex, 127": (attribute("E" * 127), "_ fb c0" + "ee" * 63 + "ef"),
    "hex, too many": (attribute("E" * 128), "_ fc 80" + "45" * 128),
    "hex in small letters is no hex": (attribute("3eb0ff"), "_ fc 06 33 65 62 30 66 66"),
    "digits of another script are text": (attribute("٣"), "_ fc 02 d9 a3"),
    "a line feed after digits": (attribute("777\n"), "_ fc 04 37 37 37 0a"),
    "a zero byte": (attribute("\0"), "_ fc 01 00"),
    "text, 255 bytes": (attribute("z" * 255), "_ fc ff" + "7a" * 255),
    "text, 256 bytes": (attribute("z" * 256), "_ fd 00 01 00" + "7a" * 256),
    "a name that is no token": (Node("Ü", {"mine!": "id"}), "f8 03 fc 02 c3 9c fc 05 6d 69 6e 65 21 08"),
    "WhatsApp itself": (attribute(JID("")), "_ fa 00 03"),
    "a phone": (attribute(JID("4915100001")), "_ fa ff 05 49 15 10 00 01 03"),
    "a linked device": (attribute(JID("4915100001", PN, 3)), "_ f7 00 03 ff 05 49 15 10 00 01"),
    "a device of a LID": (attribute(JID("26913", LID, 255)), "_ f7 01 ff ff 83 26 91 3f"),
    "a hosted device": (attribute(JID("26913", "hosted", 99)), "_ f7 80 63 ff 83 26 91 3f"),
    "a hosted account": (attribute(JID("26913", "hosted")), "_ f7 80 00 ff 83 26 91 3f"),
    "a hosted LID": (attribute(JID("26913", "hosted.lid", 7)), "_ f7 81 07 ff 83 26 91 3f"),
    "a LID": (attribute(JID("26913", LID)), "_ fa ff 83 26 91 3f 76"),
    "a group": (attribute(JID("120363-1", GROUP)), "_ fa ff 04 12 03 63 a1 1c"),
    "a list of receivers": (attribute(JID("status", "broadcast")), "_ fa 0b 0d"),
    "another network": (attribute(JID("7.7", "x@y")), "_ fa ff 82 7b 7f fc 03 78 40 79"),
    "text that looks like an address": (attribute("1@lid"), "_ fc 05 31 40 6c 69 64"),
    "no bytes": (Node("receipt", {}, b""), "f8 02 07 fc 00"),
    "one byte": (Node("receipt", {}, b"\0"), "f8 02 07 fc 01 00"),
    "bytes that look like a token": (Node("receipt", {}, b"id"), "f8 02 07 fc 02 69 64"),
    "bytes and attributes": (Node("receipt", {"id": "to"}, b"!"), "f8 04 07 08 11 fc 01 21"),
    "children": (
        Node("receipt", {"id": "to"}, [Node("id"), Node("to", {}, [Node("from", {}, b"")])]),
        "f8 04 07 08 11 f8 02 f8 01 08 f8 02 11 f8 01 f8 02 06 fc 00",
    ),
    "255 children": (Node("receipt", {}, [Node("id")] * 255), "f8 02 07 f8 ff" + "f8 01 08" * 255),
    "256 children": (Node("receipt", {}, [Node("id")] * 256), "f8 02 07 f9 01 00" + "f8 01 08" * 256),
    "127 attributes": (
        Node("receipt", {chr(0x4E00 + index): "to" for index in range(127)}),
        "f8 ff 07" + "".join(f"fc 03 e4b8{0x80 + index:02x} 11" for index in range(64))
        + "".join(f"fc 03 e4b9{0x80 + index:02x} 11" for index in range(63)),
    ),
    "127 attributes and content": (
        Node("receipt", {chr(0x4E00 + index): "to" for index in range(127)}, b""),
        "f9 01 00 07" + "".join(f"fc 03 e4b8{0x80 + index:02x} 11" for index in range(64))
        + "".join(f"fc 03 e4b9{0x80 + index:02x} 11" for index in range(63)) + "fc 00",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("node", "expected"), VECTORS.values(), ids=VECTORS)
def test_both_ways(node: Node, expected: str) -> None:
    assert CODEC.encode(node) == frame(expected)
    assert CODEC.decode(frame(expected)) == node


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0xFF, "fc ff"),
        (0x100, "fd 00 01 00"),
        (0xFFFFF, "fd 0f ff ff"),
        (0x100000, "fe 00 10 00 00"),
    ],
)
def test_lengths_of_bytes(size: int, head: str) -> None:
    body = b"\xfc" * size
    expected = frame("f8 02 07" + head) + body
    assert CODEC.encode(Node("receipt", {}, body)) == expected
    assert CODEC.decode(expected) == Node("receipt", {}, body)


# One way only: what the encoder would write otherwise.
@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("f9 00 01 07", Node("receipt")),
        ("f8 01 fc 07" + b"receipt".hex(), Node("receipt")),
        ("f8 02 07 00", Node("receipt")),
        ("f8 02 07 f8 00", Node("receipt")),
        ("f8 02 07 f9 00 00", Node("receipt")),
        ("f8 02 07 08", Node("receipt", {}, b"id")),
        ("f8 02 07 ec 01", Node("receipt", {}, b"active")),
        ("f8 02 07 ff 81 1f", Node("receipt", {}, b"1")),
        ("f8 02 07 fb 81 af", Node("receipt", {}, b"A")),
        ("f8 02 07 fd f0 00 01 21", Node("receipt", {}, b"!")),
        ("f8 02 07 fe 00 00 00 01 21", Node("receipt", {}, b"!")),
        ("_ fd 00 00 02 c3 9c", attribute("Ü")),
        ("_ ff 7f" + "12" * 127, attribute("12" * 127)),
        ("_ fb 7f" + "FF" * 127, attribute("FF" * 127)),
        ("_ 00", attribute("")),
        ("_ fc 00", attribute("")),
        ("_ ff 00", attribute("")),
        ("_ fa fc 00 03", attribute(JID(""))),
        ("_ f7 00 00 ff 81 1f", attribute(JID("1"))),
        ("_ f6 ff 81 1f 01 02 fc 04" + b"msgr".hex(), attribute(JID("1", "msgr", 258))),
        ("_ f5 ff 81 1f 00 03 00 07 fc 07" + b"interop".hex(), attribute(JID("7-1", "interop", 3))),
    ],
)
def test_other_forms_are_read(text: str, node: Node) -> None:
    assert CODEC.decode(frame(text)) == node


@pytest.mark.parametrize(
    "text", ["f8 02 07 f8 01", "f8 02 07 fe ff ff ff ff", "_", "f8", "", "f9 ff ff 07", "_ ff 02 11"]
)
def test_what_is_missing(text: str) -> None:
    with pytest.raises(BinaryXMLError, match="cut off"):
        CODEC.decode(frame(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f8 01 07 00", "1 bytes after"),
        ("f8 00", "without a tag"),
        ("00", "without a tag"),
        ("f8 01 00", "empty tag"),
        ("f8 01 fc 00", "empty tag"),
        ("f8 03 07 00 08", "empty tag or name"),
        ("07", "begins no list"),
        ("fc 01 07", "begins no list"),
        ("f8 02 07 f8 01 07", "begins no list"),
        ("f8 01 f8 00", "begins no text"),
        ("f8 01 fa 00 03", "begins no text"),
        ("f8 03 07 fa 00 03 08", "begins no text"),
        ("_ f8 00", "begins no text"),
        ("_ f0", "begins no text"),
        ("_ f4", "begins no text"),
        ("f8 02 07 fa 00 03", "begins no text"),
        ("_ fa fa 00 03 03", "begins no text"),
        ("_ fa 00 00", "empty tag or name"),
        ("_ f7 02 00 ff 81 1f", "unknown domain 2"),
        ("_ f7 00 00 00", "empty tag or name"),
        ("_ f6 ff 81 1f 00 00 03", "an address of msgr that says 's.whatsapp.net'"),
        ("_ f5 ff 81 1f 00 00 00 00 03", "an address of interop"),
        ("f8 05 07 08 11 08 12", "two attributes 'id'"),
        ("f8 05 07 08 11 fc 02 69 64 12", "two attributes 'id'"),
        ("_ fc 01 ff", "not UTF-8"),
        ("_ fc 03 ed a0 80", "not UTF-8"),
        ("f8 01 fc 02 c3 28", "not UTF-8"),
        ("_ ff 80", "without a filler"),
        ("_ ff 81 12", "without a filler"),
        ("_ fb 81 12", "without a filler"),
        ("_ ff 01 1c", "unknown character"),
        ("_ ff 01 f1", "unknown character"),
        ("_ ff 01 1f", "unknown character"),
    ],
)  # fmt: skip
def test_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BinaryXMLError, match=message):
        CODEC.decode(frame(text))


def test_flags() -> None:
    with pytest.raises(BinaryXMLError, match="empty"):
        CODEC.decode(b"")
    for flags in (1, 3, 4, 0xF8):
        with pytest.raises(BinaryXMLError, match="flags"):
            CODEC.decode(bytes([flags]) + frame("f8 01 07")[1:])


def test_a_compressed_stanza() -> None:
    compressed = zlib.compress(frame("f8 01 07")[1:])
    assert CODEC.decode(b"\2" + compressed) == Node("receipt")
    for data in (b"", b"no", compressed[:-1], compressed + b"\0", compressed[:-1] + b"\0"):
        with pytest.raises(BinaryXMLError, match="compressed data"):
            CODEC.decode(b"\2" + data)


def test_a_compressed_stanza_is_bounded() -> None:
    head = bytes.fromhex("f8 02 07 fe 00 ff ff f8")
    largest = head + bytes(MAX_SIZE - len(head))
    assert len(CODEC.decode(b"\2" + zlib.compress(largest, 1)).data) == MAX_SIZE - 8
    with pytest.raises(BinaryXMLError, match="more than 16777216 bytes"):
        CODEC.decode(b"\2" + zlib.compress(largest + b"\0", 1))


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> Node:
        return Node("to", {}, [nested(depth - 1)]) if depth > 1 else Node("to")

    deepest = CODEC.encode(nested(MAX_DEPTH))
    assert CODEC.decode(deepest) == nested(MAX_DEPTH)
    with pytest.raises(BinaryXMLError, match="levels"):
        CODEC.encode(nested(MAX_DEPTH + 1))
    for depth in (MAX_DEPTH, 100_000):
        with pytest.raises(BinaryXMLError, match="levels"):
            CODEC.decode(b"\0" + depth * bytes.fromhex("f8 02 11 f8 01") + deepest[-3:])


def test_the_number_of_elements_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = CODEC.encode(Node("to", {}, [Node("to", {}, [Node("id")] * 5)] * 5))
    monkeypatch.setattr(binxml, "MAX_ELEMENTS", 31)
    CODEC.decode(encoded)
    monkeypatch.setattr(binxml, "MAX_ELEMENTS", 30)
    with pytest.raises(BinaryXMLError, match="30 elements"):
        CODEC.decode(encoded)


def test_what_is_left_out() -> None:
    assert CODEC.encode(Node("receipt", {"to": "", "id": "to", "from": ""}, [])) == frame("_ 11")
    assert CODEC.encode(Node("receipt", {}, ())) == frame("f8 01 07")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node(""), "without a name"),
        (Node("to", {"": "x"}), "without a name"),
        (Node("to", {"id": JID("1", "")}), "without a server"),
        (Node("to", {"id": JID("1", PN, 256)}), "one byte"),
        (Node("to", {"id": JID("1", PN, -1)}), "one byte"),
        (Node("to", {"id": JID("", PN, 1)}), "no device"),
        (Node("to", {"id": JID("1", GROUP, 1)}), "no device"),
        (Node("to", {"id": "\ud800"}), "UTF-8"),
        (Node("to", {}, [Node("id")] * 0x10000), "65536 entries"),
        (Node("to", {str(index): "x" for index in range(0x8000)}), "65537 entries"),
    ],
)
def test_what_cannot_be_written(node: Node, message: str) -> None:
    with pytest.raises(BinaryXMLError, match=message):
        CODEC.encode(node)


def test_an_upload_of_keys() -> None:
    keys = [
        Node("key", {}, [Node("id", {}, n.to_bytes(3)), Node("value", {}, bytes(32))]) for n in range(812)
    ]
    node = Node("iq", {"id": "1.2-3", "to": JID(""), "type": "set"}, [Node("list", {}, keys)])
    assert CODEC.decode(CODEC.encode(node)) == node


def test_without_tokens_everything_is_written_out() -> None:
    plain = Codec(Tokens((), ()))
    node = Node("receipt", {"to": JID(""), "id": "64"}, [Node("active")])
    encoded = plain.encode(node)
    assert b"receipt" in encoded
    assert plain.decode(encoded) == CODEC.decode(encoded) == node
    for text in ("f8 01 07", "f8 01 ec 01"):
        with pytest.raises(BinaryXMLError, match=r"begins no text|unknown token"):
            plain.decode(frame(text))


# Generated stanzas

TEXTS = st.one_of(
    st.sampled_from(sorted(TOKENS.codes)),
    st.text("0123456789-.", min_size=1, max_size=130),
    st.text("0123456789ABCDEF", min_size=1, max_size=130),
    st.text(min_size=1, max_size=70),
)
DEVICES = st.builds(
    JID, TEXTS, st.sampled_from([PN, LID, "hosted", "hosted.lid"]), st.integers(min_value=0, max_value=255)
)
PAIRS = st.builds(JID, TEXTS | st.just(""), st.sampled_from([PN, LID, GROUP, "broadcast"]) | TEXTS)
ATTRIBUTES = st.dictionaries(TEXTS, TEXTS | DEVICES | PAIRS, max_size=5)
BYTES = st.binary(max_size=300) | st.builds(bytes, st.integers(min_value=0, max_value=70_000))


def parents(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(Node, TEXTS, ATTRIBUTES, st.lists(children, min_size=1, max_size=4))


NODES = st.recursive(st.builds(Node, TEXTS, ATTRIBUTES, st.none() | BYTES), parents, max_leaves=8)


@settings(deadline=None)
@given(NODES)
def test_what_is_written_is_read(node: Node) -> None:
    encoded = CODEC.encode(node)
    assert CODEC.decode(encoded) == node
    assert CODEC.decode(b"\2" + zlib.compress(encoded[1:])) == node


def read_or_refuse(data: bytes) -> None:
    try:
        node = CODEC.decode(data)
    except BinaryXMLError:
        return
    assert isinstance(node, Node)


# Bytes that mean something come up more often than by chance.
MEANINGFUL = st.lists(
    st.sampled_from([0, 1, 2, 3, 8, 17, 236, *range(239, 256)]) | st.integers(0, 255), max_size=60
)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=200), MEANINGFUL.map(bytes)), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, compressed: bool) -> None:
    read_or_refuse(data)
    read_or_refuse(b"\0" + data)
    read_or_refuse(b"\0\xf8\x02\x07" + data)
    if compressed:
        read_or_refuse(b"\2" + zlib.compress(data))


def flip(data: bytes, at: int, value: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


DAMAGES: list[Callable[[bytes, int, int], bytes]] = [
    flip,
    lambda data, at, _: data[: at % len(data)],
    lambda data, at, value: data[: at % len(data)] + bytes([value]) + data[at % len(data) :],
    lambda data, at, _: data[: at % len(data)] + data[at % len(data) + 1 :],
]


@settings(deadline=None, max_examples=200)
@given(
    NODES,
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from(DAMAGES), st.integers(0, 500), st.integers(1, 255)), min_size=1, max_size=4
    ),
)
def test_damaged_stanzas_are_read_or_refused(
    node: Node, compressed: bool, damages: list[tuple[Callable[[bytes, int, int], bytes], int, int]]
) -> None:
    data = CODEC.encode(node)
    if compressed:
        data = b"\2" + zlib.compress(data[1:])
    for damage, at, value in damages:
        data = damage(data or b"\0", at, value)
    read_or_refuse(data)
