from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.messages.rendering import clean

ANYTHING = st.text(alphabet=st.characters(), max_size=400) | st.binary(max_size=400)


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ("Bill.pdf", "Bill.pdf"),
        ("R\u00e9sum\u00e9 (final).docx", "R\u00e9sum\u00e9 (final).docx"),
        ("../../etc/x", "_.._etc_x"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\Windows\\x.exe", "C__Windows_x.exe"),
        ("a\uff0fb\u2215c\u2044d", "a_b_c_d"),
        ("a\r\nX: y", "aX_ y"),
        ("a\0b", "ab"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("a\u200bb\u2066c\ufeffd", "abcd"),
        ("x.txt:y.exe", "x.txt_y.exe"),
        ('what? "this" <or> that*|', "what_ _this_ _or_ that__"),
        (".bashrc", "bashrc"),
        ("...", None),
        (". . .x", "x"),
        ("x. . ", "x"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("LPT\u00b9", "_LPT\u00b9"),
        ("COM1 .txt", "_COM1 .txt"),
        ("conin$", "_conin$"),
        ("CONTRACT.pdf", "CONTRACT.pdf"),
        ("", None),
        ("\u202e\0", None),
        (b"a\xff.txt", "a\ufffd.txt"),
        ("\ud800x", "x"),
        ("x" * 5_000, "x" * 255),
        ("x" * 5_000 + ".pdf", "x" * 251 + ".pdf"),
        ("\N{GRINNING FACE}" * 100 + ".pdf", "\N{GRINNING FACE}" * 62 + ".pdf"),
        ("con" + " " * 300 + "x", "_con"),
        ("con." + "y" * 251, "_con." + "y" * 250),
        ("a\u200b\u0301", "\u00e1"),
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
)
def test_the_name_of_a_file_is_no_path_and_hides_nothing(given_: str | bytes, name: str | None) -> None:
    assert clean.file_name(given_) == name


def test_a_name_of_thousands_of_marks_keeps_its_ending() -> None:
    name = clean.file_name("a" + "\u0316\u0301" * 30_000 + ".pdf")

    assert name is not None
    assert name.endswith(".pdf")
    assert 200 < len(name.encode()) <= 255


@given(ANYTHING | st.text(alphabet="./\\ con.aux1", max_size=300))
def test_every_name_of_a_file_is_a_plain_one(given_: str | bytes) -> None:
    name = clean.file_name(given_)
    if name is None:
        return

    assert 0 < len(name.encode()) <= 255
    assert not set(name) & set("/\\\0\r\n")
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert not {unicodedata.category(one) for one in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert name.partition(".")[0].rstrip().upper() not in {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "COM1",
        "LPT9",
        "CONIN$",
    }
    assert clean.file_name(name) == name


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("image/jpeg", "image/jpeg"),
        ("Image/JPEG", "image/jpeg"),
        ("audio/ogg; codecs=opus", "audio/ogg"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("image/svg+xml", "image/svg+xml"),
        ("text/html\r\nX: y", None),
        ("text/html\n", None),
        ("text", None),
        ("text/html/x", None),
        ("\u0131mage/png", None),
        ("a/" + "b" * 200, None),
        ("", None),
        (b"\xff/x", None),
    ],
)
def test_a_media_type_is_plain_or_dropped(given_: str | bytes, found: str | None) -> None:
    assert clean.mime(given_) == found


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("269139479534551@lid", "269139479534551@lid"),
        ("4915100002:12@s.whatsapp.net", "4915100002@s.whatsapp.net"),
        ("4915100002.0:12@s.whatsapp.net", "4915100002@s.whatsapp.net"),
        ("4915100002-1417890000@g.us", "4915100002-1417890000@g.us"),
        ("@s.whatsapp.net", None),
        ("x@", None),
        ("x@y\n", None),
        ("a@b@c", None),
        ("\u202e1@lid", None),
        ("", None),
        ("1" * 300 + "@lid", None),
    ],
)
def test_an_address_is_one_or_none(given_: str, found: str | None) -> None:
    assert clean.address(given_) == found


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("TEL;type=CELL;waid=4915100003:+49 151 00003", ["+4915100003"]),
        ("item1.TEL;waid=4915100003:anything", ["+4915100003"]),
        ("TEL:+49 (151) 00-003", ["+4915100003"]),
        ("TEL;VALUE=uri:tel:+4915100003", ["+4915100003"]),
        ("tel:+4915100003\r\nTEL:+4915100004\r\n", ["+4915100003", "+4915100004"]),
        ("TEL:0151 00003", []),
        ("TEL;waid=" + "1" * 40 + ":x", []),
        ("NOTE:TEL:+4915100003", []),
        ("TEL", []),
    ],
)
def test_the_numbers_of_a_card_are_those_with_a_country_code(card: str, found: list[str]) -> None:
    assert list(clean.listed_phones(card)) == found


@given(ANYTHING)
def test_texts_and_lines_are_what_every_program_takes(given_: str | bytes) -> None:
    text, line = clean.text(given_, 100), clean.line(given_, 100)

    for found in (text, line or ""):
        assert "\0" not in found
        assert len(found) <= 100
        found.encode()
    assert line != ""
    assert not {unicodedata.category(one) for one in line or ""} & {"Cc", "Cs", "Zl", "Zp"}
    assert clean.text(text, 100) == text
    assert clean.line(line or "", 100) == line


def test_a_text_keeps_its_lines_and_its_script() -> None:
    kept = "one\n\ttwo\r\n\u0633\u0644\u0627\u0645 \u200f\u05e9\u05dc\u05d5\u05dd \N{FAMILY}\u200d\N{MAN}"

    assert clean.text(kept) == kept


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_764_323_999.9, "2025-11-28T09:59:59Z"),
        (-1, "1970-01-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (2**70, "1970-01-01T00:00:00Z"),
        ("x", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_moment_is_a_date(seconds: object, moment: str) -> None:
    assert clean.moment(seconds) == moment


def test_milliseconds_are_three_digits() -> None:
    assert clean.moment_ms(1_764_323_999.0071) == "2025-11-28T09:59:59.007Z"
