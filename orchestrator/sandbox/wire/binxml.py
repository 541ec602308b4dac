"""Binary XML: stanzas as bytes.

A frame begins with a byte of flags; after it comes one element. An element is a list of its tag,
its attributes' names and values, and its content. Where a text may stand, its first byte tells the
form: one of the frequent words, packed characters, or plain bytes.
"""

from __future__ import annotations

import re
import zlib

from orchestrator.sandbox.wire.jid import JID, LID, PN
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import SINGLE_SIZE, Tokens

MAX_SIZE = 16 * 1024 * 1024
"""Bytes a compressed stanza may grow to: as many as an uncompressed one can have in its frame."""
MAX_DEPTH = 64
"""Elements within elements; real stanzas have fewer than ten."""
MAX_ELEMENTS = 2**18
"""Elements of one stanza. The largest real one, an upload of keys, has some 2,500; the bound keeps
a frame of 16 MiB from becoming a gigabyte of objects."""

_COMPRESSED = 2

_EMPTY = 0
_DICTIONARIES = range(SINGLE_SIZE, 240)
_INTEROP_JID, _MESSENGER_JID, _DEVICE_JID = 245, 246, 247
_LIST_8, _LIST_16 = 248, 249
_JID = 250
_HEX = 251
_BYTES_8, _BYTES_20, _BYTES_32 = 252, 253, 254
_NIBBLES = 255

_JIDS = frozenset((_INTEROP_JID, _MESSENGER_JID, _DEVICE_JID, _JID))
_BYTES = frozenset((_BYTES_8, _BYTES_20, _BYTES_32))

# The byte that stands for the server in an address with a device.
_DOMAINS = {PN: 0, LID: 1, "hosted": 128, "hosted.lid": 129}
_SERVERS = {domain: server for server, domain in _DOMAINS.items()}
# Their addresses are written in the long form even for device 0.
_ALWAYS_WITH_DEVICE = frozenset(("hosted", "hosted.lid"))

# Two characters go into one byte, as hexadecimal digits; nibbles have two other characters for a and b.
_PACKABLE = 127
_AS_NIBBLES = re.compile(rf"[0-9.-]{{1,{_PACKABLE}}}")
_AS_HEX = re.compile(rf"[0-9A-F]{{1,{_PACKABLE}}}")
_TO_NIBBLES = str.maketrans("-.", "ab")
_FROM_NIBBLES = str.maketrans("ab", "-.")
_FILLER = "f"
_NO_NIBBLES = re.compile("[c-f]")
_ODD = 0x80


class BinaryXMLError(ValueError):
    """Bytes that are no stanza, or a stanza that cannot be written; the message says where or what."""


class Codec:
    """Reads and writes stanzas with one set of token tables."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def encode(self, node: Node) -> bytes:
        """Write a stanza, uncompressed, with the byte of flags in front.

        Attributes with an empty value and an empty list of children are left out.

        Raises:
            BinaryXMLError: The stanza has an empty tag or name, an address or a text that cannot be
                written, or more parts or levels than there may be.
        """
        writer = _Writer(self._tokens)
        writer.element(node, MAX_DEPTH)
        return bytes(writer.out)

    def decode(self, frame: bytes) -> Node:
        """Read a stanza from a decrypted frame. Text content, in whatever form it came, is bytes.

        Raises:
            BinaryXMLError: The frame is not exactly one stanza.
        """
        if not frame:
            raise BinaryXMLError("the frame is empty")
        flags = frame[0]
        if flags & ~_COMPRESSED:
            raise BinaryXMLError(f"unknown flags {flags:#04x}")
        reader = _Reader(self._tokens, _inflate(frame[1:]), 0) if flags else _Reader(self._tokens, frame, 1)
        try:
            node = reader.element(MAX_DEPTH)
        except IndexError:
            raise BinaryXMLError("the stanza is cut off") from None
        reader.finish()
        return node


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, MAX_SIZE + 1)
    except zlib.error as error:
        raise BinaryXMLError(f"not compressed data: {error}") from None
    if len(inflated) > MAX_SIZE:
        raise BinaryXMLError(f"the stanza has more than {MAX_SIZE} bytes when decompressed")
    if not stream.eof or stream.unused_data:
        raise BinaryXMLError("the compressed data do not end where the frame does")
    return inflated


class _Reader:
    """A position in the bytes of one stanza; what lies beyond their end raises IndexError."""

    def __init__(self, tokens: Tokens, data: bytes, at: int) -> None:
        self._single = tokens.single
        self._singles = len(tokens.single)
        self._double = tokens.double
        self._data = data
        self._at = at
        self._elements = 0

    def finish(self) -> None:
        """Make sure that nothing is left."""
        if self._at != len(self._data):
            raise BinaryXMLError(f"{len(self._data) - self._at} bytes after the stanza's end")

    def element(self, depth: int) -> Node:
        """Read one element."""
        self._elements += 1
        if not depth or self._elements > MAX_ELEMENTS:
            raise BinaryXMLError(f"more than {MAX_DEPTH} levels or {MAX_ELEMENTS} elements")
        size = self._list_size(self._byte())
        if not size:
            raise BinaryXMLError(f"an element without a tag at byte {self._at}")
        tag = self._name()
        attrs: dict[str, str | JID] = {}
        for _ in range((size - 1) // 2):
            name = self._name()
            if name in attrs:
                raise BinaryXMLError(f"<{tag}> has two attributes {name!r}")
            attrs[name] = self._value()
        return Node(tag, attrs, None if size % 2 else self._content(depth))

    def _content(self, depth: int) -> list[Node] | bytes | None:
        first = self._byte()
        if first in _BYTES:
            return self._take(self._length(first))
        if first in (_EMPTY, _LIST_8, _LIST_16):
            return [self.element(depth - 1) for _ in range(self._list_size(first))] or None
        # The client writes some texts as it writes attributes.
        return self._text(first).encode()

    def _list_size(self, first: int) -> int:
        if first == _LIST_8:
            return self._byte()
        if first == _LIST_16:
            return self._number(2)
        if first == _EMPTY:
            return 0
        raise BinaryXMLError(f"byte {first} at {self._at - 1} begins no list")

    def _name(self) -> str:
        name = self._text(self._byte())
        if not name:
            raise BinaryXMLError(f"an empty tag or name at byte {self._at}")
        return name

    def _value(self) -> str | JID:
        first = self._byte()
        return self._jid(first) if first in _JIDS else self._text(first)

    def _text(self, first: int) -> str:
        if first < self._singles:
            return self._single[first]
        if first in _BYTES:
            return self._utf8(self._length(first))
        if first == _EMPTY:
            return ""
        if first in _DICTIONARIES:
            return self._word(first - SINGLE_SIZE, self._byte())
        if first in (_NIBBLES, _HEX):
            return self._packed(nibbles=first == _NIBBLES)
        raise BinaryXMLError(f"byte {first} at {self._at - 1} begins no text")

    def _word(self, table: int, index: int) -> str:
        try:
            return self._double[table][index]
        except IndexError:
            raise BinaryXMLError(f"an unknown token before byte {self._at}") from None

    def _utf8(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise BinaryXMLError(f"a text that is not UTF-8 before byte {self._at}") from None

    def _packed(self, *, nibbles: bool) -> str:
        count = self._byte()
        digits = self._take(count & ~_ODD).hex()
        if count & _ODD:
            if not digits.endswith(_FILLER):
                raise BinaryXMLError(f"packed text of odd length without a filler before byte {self._at}")
            digits = digits[:-1]
        if not nibbles:
            return digits.upper()
        if _NO_NIBBLES.search(digits):
            raise BinaryXMLError(f"packed text with an unknown character before byte {self._at}")
        return digits.translate(_FROM_NIBBLES)

    def _jid(self, first: int) -> JID:
        if first == _JID:
            user = self._text(self._byte())
            server = self._name()
            return JID(user, server)
        if first == _DEVICE_JID:
            domain, device = self._byte(), self._byte()
            if domain not in _SERVERS:
                raise BinaryXMLError(f"an address of the unknown domain {domain} before byte {self._at}")
            return JID(self._name(), _SERVERS[domain], device)
        # Two other networks, whose devices have 16 bits. No client here was seen to write them.
        user = self._name()
        device = self._number(2)
        wanted = "msgr"
        if first == _INTEROP_JID:
            # The other messenger's number has no field of its own in an address; clients that show
            # such an address write it in front of the user.
            user = f"{self._number(2)}-{user}"
            wanted = "interop"
        server = self._name()
        if server != wanted:
            raise BinaryXMLError(f"an address of {wanted} that says {server!r} before byte {self._at}")
        return JID(user, server, device)

    def _length(self, first: int) -> int:
        if first == _BYTES_8:
            return self._byte()
        if first == _BYTES_20:
            return self._number(3) & 0xF_FFFF
        return self._number(4)

    def _byte(self) -> int:
        at = self._at
        self._at = at + 1
        return self._data[at]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _take(self, size: int) -> bytes:
        start = self._at
        self._at = end = start + size
        if end > len(self._data):
            raise IndexError
        return self._data[start:end]


class _Writer:
    """The bytes of one stanza so far."""

    def __init__(self, tokens: Tokens) -> None:
        self._codes = tokens.codes
        self.out = bytearray(1)

    def element(self, node: Node, depth: int) -> None:
        """Write one element."""
        if not depth:
            raise BinaryXMLError(f"more than {MAX_DEPTH} levels")
        attrs = [(name, value) for name, value in node.attrs.items() if value != ""]
        content = node.content
        # Bytes are content even where there are none of them; an empty list is not.
        has_content = isinstance(content, bytes) or bool(content)
        self._list(1 + 2 * len(attrs) + has_content)
        self._text(node.tag)
        for name, value in attrs:
            self._text(name)
            if isinstance(value, JID):
                self._jid(value)
            else:
                self._text(value)
        if isinstance(content, bytes):
            self._bytes(content)
        elif content:
            self._list(len(content))
            for child in content:
                self.element(child, depth - 1)

    def _list(self, size: int) -> None:
        if size < 0x100:
            self.out += bytes((_LIST_8, size))
        elif size < 0x1_0000:
            self.out.append(_LIST_16)
            self.out += size.to_bytes(2)
        else:
            raise BinaryXMLError(f"a list of {size} entries, where 65535 are possible")

    def _text(self, text: str) -> None:
        code = self._codes.get(text)
        if code is not None:
            self.out += code
        elif _AS_NIBBLES.fullmatch(text):
            self._packed(_NIBBLES, text.translate(_TO_NIBBLES))
        elif _AS_HEX.fullmatch(text):
            self._packed(_HEX, text)
        elif text:
            try:
                self._bytes(text.encode())
            except UnicodeEncodeError:
                raise BinaryXMLError(f"{text!r} cannot be written as UTF-8") from None
        else:
            raise BinaryXMLError("an element or an attribute without a name, or an address without a server")

    def _packed(self, form: int, digits: str) -> None:
        odd = len(digits) % 2
        self.out += bytes((form, (len(digits) + odd) // 2 | _ODD * odd))
        self.out += bytes.fromhex(digits + _FILLER * odd)

    def _jid(self, jid: JID) -> None:
        if jid.user and jid.server in _DOMAINS and (jid.device or jid.server in _ALWAYS_WITH_DEVICE):
            if not 0 <= jid.device <= 0xFF:
                raise BinaryXMLError(f"{jid}: the device does not fit into one byte")
            self.out += bytes((_DEVICE_JID, _DOMAINS[jid.server], jid.device))
            self._text(jid.user)
        elif jid.device:
            raise BinaryXMLError(f"{jid}: such an address has no device")
        else:
            self.out.append(_JID)
            if jid.user:
                self._text(jid.user)
            else:
                self.out.append(_EMPTY)
            self._text(jid.server)

    def _bytes(self, data: bytes) -> None:
        size = len(data)
        if size < 0x100:
            self.out += bytes((_BYTES_8, size))
        elif size < 0x10_0000:
            self.out.append(_BYTES_20)
            self.out += size.to_bytes(3)
        else:
            self.out.append(_BYTES_32)
            self.out += size.to_bytes(4)
        self.out += data
