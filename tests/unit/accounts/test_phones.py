"""Phone numbers: the spellings that are taken, what is said of others, and which numbers are one phone's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.phones import NotANumber, canonical, parse, same
from orchestrator.cli.send import receiver
from orchestrator.config import reader
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.sandbox.server.fields import NotPossible, parse_number


def configured(text: str) -> str | None:
    settings = reader.parse(f'accounts: {{a: {{phone: "{text}"}}}}', "/f", environ={"HOME": "/h"})
    return settings.accounts["a"].phone


@pytest.mark.parametrize(
    "text",
    [
        "+4915112345678", "+49 151 12345678", "+49-151-12345678", "+49.151.123.456.78", "+49 (151) 12345678",
        "+49/151/12345678", "(+49) 151 12345678", " +49 151 12345678 ",
    ],
)  # fmt: skip
def test_a_number_is_spelled_alike_wherever_it_is_given(text: str) -> None:
    assert parse(text) == "4915112345678"
    assert configured(text) == "4915112345678"
    assert reader.check_value("phone", text) == "4915112345678"
    assert receiver(text) == "4915112345678@s.whatsapp.net"
    assert parse_number(text) == "4915112345678"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u2066+4915112345678\u2069", "U+2066 (LEFT-TO-RIGHT ISOLATE)"),
        ("\u200e+4915112345678", "U+200E (LEFT-TO-RIGHT MARK)"),
        ("\u202a+4915112345678", "U+202A (LEFT-TO-RIGHT EMBEDDING)"),
        ("+49\u00a0151\u00a012345678", "U+00A0 (NO-BREAK SPACE)"),
        ("+49\u202f15112345678", "U+202F (NARROW NO-BREAK SPACE)"),
        ("+49\u200b15112345678", "U+200B (ZERO WIDTH SPACE)"),
        ("+49\u200d15112345678", "U+200D (ZERO WIDTH JOINER)"),
        ("+49\u00ad15112345678", "U+00AD (SOFT HYPHEN)"),
        ("+49\ufeff15112345678", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("\uff0b4915112345678", "U+FF0B (FULLWIDTH PLUS SIGN)"),
        ("+\uff14915112345678", "U+FF14 (FULLWIDTH DIGIT FOUR)"),
        ("+49\u06615112345678", "U+0661 (ARABIC-INDIC DIGIT ONE)"),
        ("\u201c+4915112345678\u201d", "U+201C (LEFT DOUBLE QUOTATION MARK)"),
        ("+49\u201115112345678", "U+2011 (NON-BREAKING HYPHEN)"),
        ("+49\u201315112345678", "U+2013 (EN DASH)"),
        ("+49\u221215112345678", "U+2212 (MINUS SIGN)"),
        ("+49\t15112345678", "U+0009 (tab)"),
        ("+49151\u041e2345678", "U+041E (CYRILLIC CAPITAL LETTER O)"),
    ],
)
def test_a_character_that_nobody_sees_is_named_wherever_a_number_is_given(text: str, words: str) -> None:
    with pytest.raises(NotANumber) as told:
        parse(text)
    with pytest.raises(ConfigError) as told_of_option:
        reader.check_value("phone", text)
    with pytest.raises(OrchestratorError) as told_of_send:
        receiver(text)
    with pytest.raises(ConfigError) as told_of_file:
        configured(text)
    character = chr(int(words[2:6], 16))
    for message in (told, told_of_option, told_of_send):
        assert f"{words} as character {text.index(character) + 1}" in str(message.value)
    assert f"{words} at line 1, column {text.index(character) + 24}" in str(told_of_file.value)
    for message in (told, told_of_option, told_of_send, told_of_file):
        assert "found a number with other characters than digits" in str(message.value)
        assert "345678" not in str(message.value)
    with pytest.raises(NotPossible):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4915112345678", "a number without +"),
        ("004915112345678", "a number without +"),
        ("+49 (0) 151 12345678", "a number with (0)"),
        ("+015112345678", "starts with 0"),
        ("+155501", "6 digits"),
        ("+1555010012345678", "16 digits"),
        ("+49 151 12345678 ext 3", "other characters"),
        ("+49+15112345678", "other characters"),
        ("", "a number without +"),
        ("+", "0 digits"),
        ("all", "a text without digits"),
        ("everybody", "a text without digits"),
    ],
)
def test_what_is_no_number_is_said_in_the_same_words(text: str, found: str) -> None:
    for judge in (parse, configured, receiver):
        with pytest.raises((NotANumber, OrchestratorError), match=re.escape(found)):
            judge(text)


@given(st.text(max_size=30) | st.from_regex(r"[+0-9 ()./\-\u2066]{0,30}", fullmatch=True))
def test_whatever_is_taken_is_digits_and_whatever_is_not_is_not_quoted(text: str) -> None:
    said = ""
    try:
        number = parse(text)
    except NotANumber as error:
        said = str(error)
    else:
        assert re.fullmatch(r"[1-9][0-9]{6,14}", number, re.ASCII)
        assert parse(f"+{number}") == number
    assert said == "" or said.isprintable()
    assert not re.search(r"[0-9]{7}", said.replace("+15550100", ""))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511987654321", "551187654321"),
        ("5531999990000", "553199990000"),
        ("5585961234567", "558561234567"),
        ("5215512345678", "525512345678"),
        ("5213312345678", "523312345678"),
        ("5491123456789", "541123456789"),
        ("5491123456789", "54111523456789"),
        ("5491123456789", "549111523456789"),
        ("5492234567890", "54223154567890"),
        ("5492966123456", "54296615123456"),
        ("4915100001", "4915100001"),
    ],
)
def test_numbers_of_one_phone(one: str, other: str) -> None:
    assert same(one, other)
    assert same(other, f"+{one}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511987654321", "5521987654321"),
        ("5511934567890", "551134567890"),  # a mobile phone and a fixed line
        ("5511987654321", "551197654321"),
        ("5215512345678", "525512345679"),
        ("5491123456789", "5491123456780"),
        ("15512345678", "525512345678"),
        ("4915100001", "4915100002"),
    ],
)
def test_numbers_of_two_phones(one: str, other: str) -> None:
    assert not same(one, other)


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True))
def test_the_one_spelling_stands_for_itself(number: str) -> None:
    assert canonical(canonical(number)) == canonical(number)
    if number[:2] not in ("52", "54", "55"):
        assert canonical(number) == number


@pytest.mark.parametrize(
    ("one", "other"), [("+5511987654321", "+55 11 8765-4321"), ("+525512345678", "+5215512345678")]
)
def test_two_accounts_with_one_phone_are_refused(one: str, other: str) -> None:
    text = f'accounts:\n  a: {{phone: "{one}"}}\n  b: {{phone: "{other}"}}\n'
    with pytest.raises(ConfigError) as told:
        reader.parse(text, "f", environ={"HOME": "/h"})
    assert str(told.value) == (
        "f:3: accounts.b.phone: expected a number that no other account has, found that of a on line 2:"
        " the two spellings are one phone's"
    )
