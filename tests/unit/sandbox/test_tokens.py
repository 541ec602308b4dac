"""The real library is read, and libraries built here from the ELF specification, whole and broken."""

import importlib.util
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.wire.tokens import TokenError, Tokens, find_library, load_tokens

SINGLE = ("", "xmlstreamstart", "xmlstreamend", *(f"s{index}" for index in range(233)))
DOUBLE = (
    ("read-self", "active", *(f"a{index}" for index in range(254))),
    *(tuple(f"{table}{index}" for index in range(256)) for table in "bcd"),
)
X86_64, AARCH64 = 62, 183
TEXT, DATA = 0x40_0000, 0x80_0000


def build(
    single: tuple[str, ...] = SINGLE,
    double: tuple[tuple[str, ...], ...] = DOUBLE,
    *,
    machine: int = X86_64,
    relative: int = 8,
    slice_length: int = 256,
    copies: int = 1,
) -> bytes:
    """Write an ELF library with the given tables; addresses and offsets have nothing in common."""
    text, data, relocations = b"--xmlstreamstart--", b"", b""

    def link(place: int, target: int) -> None:
        nonlocal relocations
        relocations += struct.pack("<QQq", place, relative, target)

    def lay(words: tuple[str, ...]) -> int:
        nonlocal text, data
        start = DATA + len(data)
        for word in words:
            encoded = word.encode()
            if encoded:
                link(DATA + len(data), TEXT + len(text))
            text += encoded
            data += struct.pack("<QQ", 0, len(encoded))
        return start

    lay(("xmlstreamstart", "is not always a token", "read-self", "neither"))
    for _ in range(copies):
        lay(single)
    tables = [lay(words) for words in double]
    for table in tables:
        link(DATA + len(data), table)
        data += struct.pack("<QQQ", 0, slice_length, 256)
    data += bytes(16)
    # Another kind of relocation, which must not count.
    relocations += struct.pack("<QQq", DATA + 16 * 6, 1, TEXT)

    def section(kind: int, flags: int, address: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", 0, kind, flags, address, offset, size, 0, 0, 0, 0)

    at = 64
    headers = [
        section(0, 0, 0, 0, 0),
        section(8, 3, TEXT, at, 1 << 40),  # takes no room in the file, like .bss
        section(1, 2, TEXT, at, len(text)),
        section(1, 3, DATA, at + len(text), len(data)),
        section(4, 2, 0x1000, at + len(text) + len(data), len(relocations)),
        section(1, 0, 0, at, len(text)),  # not loaded, like .comment
    ]
    body = text + data + relocations
    head = struct.pack(
        "<6s10xHHIQQQIHHHHHH", b"\x7fELF\x02\x01", 3, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, 6, 0
    )
    return head + body + b"".join(headers)


def replaced(words: tuple[str, ...], index: int, word: str) -> tuple[str, ...]:
    return (*words[:index], word, *words[index + 1 :])


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], Tokens]:
    library = tmp_path / "library.so"

    def load(data: bytes) -> Tokens:
        library.write_bytes(data)
        return load_tokens(library)

    return load


def test_the_installed_library() -> None:
    tokens = load_tokens()
    # The value stands in the notes on the protocol and was computed apart from this code.
    assert tokens.fingerprint == "cfe8fcd3ef24f232ec7df9824e1baa277f6a736543efc0e5f48aa46abb0f8cd0"
    assert tokens.single[3:9] == ("s.whatsapp.net", "type", "participant", "from", "receipt", "id")
    assert tokens.single[-1] == "screen_height"
    assert tokens.double[0][0] == "read-self"
    assert tokens.double[0][-1] == "mute_v2"
    assert tokens.double[3][255] == "1961"
    assert tokens.codes["receipt"] == b"\x07"
    assert tokens.codes["active"] == b"\xec\x01"
    assert tokens.codes["1314"] == b"\xef\x03"
    assert len(tokens.codes) == 235 + 4 * 256
    assert "" not in tokens.codes


def test_the_client_is_not_loaded() -> None:
    program = """
import sys
from pathlib import Path
from orchestrator.sandbox.wire.tokens import load_tokens
load_tokens()
assert "neonize" not in sys.modules
assert "neonize" not in Path("/proc/self/maps").read_text()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(("machine", "relative"), [(X86_64, 8), (AARCH64, 1027)])
def test_a_library_of_either_processor(load: Callable[[bytes], Tokens], machine: int, relative: int) -> None:
    assert load(build(machine=machine, relative=relative)) == Tokens(SINGLE, DOUBLE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"#!/bin/sh\n" + bytes(100), "not a 64-bit little-endian ELF"),
        (build()[:63], "not a 64-bit little-endian ELF"),
        (build()[:-1], "section headers are cut off"),
        (build(machine=8), "unknown processor"),
        (build(machine=AARCH64), "one-byte tokens was not found"),
        (build(replaced(SINGLE, 2, "xmlstreamENDS")), "one-byte tokens was not found"),
        (build(copies=2), "one-byte tokens was not found"),
        (build(double=DOUBLE[1:]), "two-byte tokens was not found"),
        (build(double=DOUBLE[:3]), "not 4 tables"),
        (build(slice_length=255), "two-byte tokens was not found"),
        (build(replaced(SINGLE, 9, "s1")), "occurs twice"),
        (build(double=(*DOUBLE[:3], replaced(DOUBLE[3], 9, "s1"))), "occurs twice"),
        (build(replaced(SINGLE, 9, "")), "occurs twice"),
        (build(replaced(SINGLE, 9, "größe")), "not ASCII"),
        (build(replaced(SINGLE, 9, 256 * "x")), "has no text"),
    ],
)
def test_what_is_wrong_with_a_library(load: Callable[[bytes], Tokens], data: bytes, message: str) -> None:
    with pytest.raises(TokenError, match=f"library.so: .*{message}.*reinstall"):
        load(data)


def test_a_library_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.so"):
        with pytest.raises(TokenError, match="cannot be read"):
            load_tokens(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), max_size=6),
    headers=st.lists(st.tuples(st.integers(0, 6 * 64 - 1), st.binary(min_size=1, max_size=8)), max_size=3),
    length=st.none() | st.integers(0, 10**6),
)
def test_a_damaged_library_is_read_or_refused(
    load: Callable[[bytes], Tokens],
    changes: list[tuple[int, bytes]],
    headers: list[tuple[int, bytes]],
    length: int | None,
) -> None:
    data = bytearray(build())
    end = len(data)
    for at, change in [*changes, *((end - 6 * 64 + at, change) for at, change in headers)]:
        start = at % end
        data[start : start + len(change)] = change
    if length is not None:
        del data[length:]
    try:
        tokens = load(bytes(data))
    except TokenError:
        return
    assert len(tokens.codes) == 1259


@pytest.mark.parametrize(
    ("single", "double", "message"),
    [
        ((*SINGLE, "x"), DOUBLE, "too long"),
        (SINGLE, (*DOUBLE, ("x",)), "too long"),
        (SINGLE, (*DOUBLE[:3], (*DOUBLE[3], "x")), "too long"),
        (replaced(SINGLE, 0, "x"), DOUBLE, "not the empty one"),
        (("",), (("",),), "occurs twice"),
        (SINGLE, (*DOUBLE[:3], DOUBLE[2]), "occurs twice"),
        ((), (("größe",),), "not ASCII"),
    ],
)
def test_tables_that_cannot_be(
    single: tuple[str, ...], double: tuple[tuple[str, ...], ...], message: str
) -> None:
    with pytest.raises(TokenError, match=message):
        Tokens(single, double)


def test_shorter_tables() -> None:
    assert Tokens((), ()).codes == {}
    assert Tokens(("", "a"), (("b",), ("c", "d"))).codes == {
        "a": b"\x01",
        "b": b"\xec\x00",
        "c": b"\xed\x00",
        "d": b"\xed\x01",
    }


def test_the_library_is_named_for_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    for machine, name in (("x86_64", "neonize-linux-amd64.so"), ("aarch64", "neonize-linux-arm64.so")):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        with pytest.raises(TokenError, match=f"{name} is missing: reinstall"):
            find_library()
        (tmp_path / name).touch()
        assert find_library() == tmp_path / name

    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(TokenError, match="not on riscv64"):
        find_library()


def test_neonize_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TokenError, match="pip install neonize"):
        load_tokens()
