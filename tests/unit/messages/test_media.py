"""What a message says about its file: paths that are used and that are not, addresses, sizes, times."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.attachments import MOST, Fault, MissingError, is_id
from orchestrator.messages import media
from orchestrator.messages.media import KINDS, Kind, Reference, check, is_path, target

PATH = (
    "/v/t62.7118-24/30578306_700217212288855_4052360710634218370_n.enc?ccb=11-4&oh=01_Q5&oe=66C0&_nc_sid=5e"
)
RIGHT = [
    PATH,
    "/v/AbC-_123?ccb=11-4",
    "/o1/v/t24/f2/m233/AQPa-b_c?ccb=9-4&oh=01_Q5&oe=68&_nc_sid=e6ed6c&mms3=true",
    "/v/t62.7161-24/1_2_3_n.enc?ccb=11-4&oh=x%3D%3D",
    "/a?b",
    "/v/a.b..c/d?x=1",
    "/v/...?x",
]
WRONG = [
    "",
    "/",
    "?",
    "/?x",
    "v/a?x",
    "/v/a",
    "/v/a?",
    "//evil.example/v?x",
    "/v//a?x",
    "/v/?x",
    "https://evil.example/v?x",
    "@evil.example/v?x",
    ".evil.example/v?x",
    ":443/v?x",
    "/../v?x",
    "/v/../a?x",
    "/v/..?x",
    "/v/.?x",
    "/./v?x",
    "/v/%2e%2e/a?x",
    "/v/%0d%0a?x",
    "/v\\a?x",
    "/v/a?x#y",
    "/v/a#?x",
    "/v/a?x?y",
    "/v/a?x/y",
    "/v/a?x y",
    "/v/a b?x",
    "/v/a?x\r\nHost: evil.example",
    "/v/a?x\r\n\r\nGET / HTTP/1.1",
    "/v/a\r\nX: y?x",
    "/v/a\n?x",
    "/v/a?x\n",
    "/v/a\0?x",
    "/v/a?x\0",
    "/v/ä?x",
    "/v/a?ä",
    "/v/a?x=\u202e",
    "/v/\u2025/a?x",
    "/v/\uff0e\uff0e/a?x",
    "/v/a?x='y'",
    '/v/a?x="y"',
    "/v/a?<x>",
    "/v/a?{x}",
    "/v/a?x;y",
    "/v/a;x?y",
    "/v/a?x`y",
    "/v/a?x|y",
    "/v/a?x^y",
    "/v/a?x$y",
    "/v/a?x*y",
    "/v/a?x!y",
    "/v/a?x(y)",
    "/v/a?x[y]",
    " /v/a?x",
    "\t/v/a?x",
    f"/v/{'a' * 2100}?x",
    f"/v/a?{'x' * 2100}",
]


def reference(path: str = PATH, kind: Kind = "image", size: int = 100) -> Reference:
    return Reference(kind, path, b"k" * 32, b"h" * 32, b"e" * 32, size)


@pytest.mark.parametrize("path", RIGHT)
def test_a_path_that_whatsapp_gives_is_used(path: str) -> None:
    assert is_path(path)
    check(reference(path), 100)


@pytest.mark.parametrize("path", WRONG)
def test_a_path_that_could_mean_anything_else_is_not_used(path: str) -> None:
    assert not is_path(path)
    with pytest.raises(MissingError) as caught:
        check(reference(path), 100)
    assert caught.value.fault is Fault.UNFIT
    assert path == "" or path not in str(caught.value)


@given(st.text() | st.text("/.?%@:#\\ \r\nav&=", max_size=40))
def test_no_path_changes_anything_but_the_path(path: str) -> None:
    if is_path(path):
        assert re.fullmatch(r"/[^\s?#\\/@]?[^\s?#\\]*\?[^\s?#\\/]+", path)
        assert path.isascii()
        assert not {"", ".", ".."} & set(path.partition("?")[0].split("/")[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_the_address_is_the_one_that_whatsapp_expects(kind: Kind) -> None:
    wanted = "image" if kind == "sticker" else kind
    digest = "ZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWU="
    assert target(reference(kind=kind)) == f"{PATH}&hash={digest}&mms-type={wanted}&__wa-mms="


@pytest.mark.parametrize("part", ["key", "sha256", "sealed_sha256"])
@pytest.mark.parametrize("wrong", [b"", b"x" * 31, b"x" * 33, b"x" * 64])
def test_a_message_that_lacks_a_key_or_a_hash_is_not_tried(part: str, wrong: bytes) -> None:
    values = {"key": b"k" * 32, "sha256": b"h" * 32, "sealed_sha256": b"e" * 32} | {part: wrong}
    with pytest.raises(MissingError) as caught:
        check(Reference("image", PATH, values["key"], values["sha256"], values["sealed_sha256"], 1), 100)
    assert caught.value.fault is Fault.UNFIT


@pytest.mark.parametrize(
    ("size", "fault"), [(0, None), (100, None), (101, Fault.TOO_LARGE), (2**63, Fault.TOO_LARGE)]
)
def test_a_size_that_is_said_to_be_too_large_is_not_tried(size: int, fault: Fault | None) -> None:
    if fault is None:
        check(reference(size=size), 100)
        return
    with pytest.raises(MissingError) as caught:
        check(reference(size=size), 100)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("size", "sealed"), [(0, 26), (1, 26), (15, 26), (16, 42), (17, 42), (31, 42), (32, 58)]
)
def test_the_encrypted_form_has_a_whole_number_of_blocks(size: int, sealed: int) -> None:
    assert media.sealed_size(size) == sealed
    assert media.is_sealed_size(sealed)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 25, 27, 41, 43])
def test_no_attachment_has_another_length(size: int) -> None:
    assert not media.is_sealed_size(size)


@given(st.integers(0, 2**40))
def test_the_encrypted_form_is_larger_and_not_by_much(size: int) -> None:
    assert size + 10 < media.sealed_size(size) <= size + 26


@given(st.integers(0, 2**33), st.integers(1, 2**33))
def test_there_is_time_for_a_slow_line_and_an_end_to_it(size: int, limit: int) -> None:
    seconds = media.patience(min(size, limit), limit)
    assert 60 <= seconds <= 60 + limit / 32768
    assert media.room_needed(min(size, limit), limit) > 64 << 20


def test_an_identifier_is_random_and_has_decimal_digits_only() -> None:
    found = {media.draw_id() for _ in range(1000)}
    assert len(found) == 1000
    assert all(map(is_id, found))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "0",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "1.0",
            "1e3",
            "0x1",
            "1" * 20,
            str(MOST + 1),
            "9" * 19,
        ),
        *("a", "../1", "1/2", "1\0", "\u0661", "\uff11", "\u00b2", "1.part", "1.expired", "."),
    ],
)
def test_what_is_no_identifier(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("text", ["1", "9", "10", str(MOST), "4611686018427387904"])
def test_what_is_an_identifier(text: str) -> None:
    assert is_id(text)


def test_a_reference_shows_nothing_of_the_message() -> None:
    shown = repr(reference())
    assert "kkkk" not in shown
    assert "/v/" not in shown
