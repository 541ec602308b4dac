"""Reads phone numbers as people write them, and tells whether two numbers are one phone. Pure.

The configuration, the commands and the sandbox all accept the same spellings.
"""

from __future__ import annotations

import re

from orchestrator.accounts import characters

EXPECTED = "a number with + and country code, such as +15550100"
"""The description of a valid number."""

DIGITS = "[0-9]{5,20}"
"""A pattern for the digits of a number as WhatsApp gives them, with room for more than phones have today."""

_SEPARATORS = re.compile(r"[ ()./-]")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164 has 15 digits at most; whatsmeow takes no fewer than 7
_ZERO_IN_BRACKETS = re.compile(r"\( *0 *\)")

_BRAZIL = re.compile(r"55([1-9][0-9])9([016-9][0-9]{7})")
_MEXICO = re.compile(r"521([0-9]{10})")
_ARGENTINA = re.compile(
    r"549?(?:(?P<two>11)15(?P<eight>[0-9]{8})"
    r"|(?P<three>[23][0-9]{2})15(?P<seven>[0-9]{7})"
    r"|(?P<four>[23][0-9]{3})15(?P<six>[0-9]{6})"
    r"|(?P<plain>[0-9]{10}))"
)


class NotANumber(ValueError):  # noqa: N818 - each caller catches it and words the error
    """A text is not a phone number; the message says what was expected and found, and quotes no digit.

    Attributes:
        found: The description of what was found instead.
    """

    def __init__(self, found: str, named: str = "") -> None:
        super().__init__(f"expected {EXPECTED}, found {found}{named}")
        self.found = found


def parse(text: str) -> str:
    """Return the digits of a number; spaces, dashes, dots, slashes and brackets in it do not count.

    Args:
        text: The number as written, with + and country code.

    Raises:
        NotANumber: The text is not a phone number.
    """
    if (at := characters.find_strange(text)) is not None:
        raise NotANumber(
            "a number with other characters than digits", f"; it contains {characters.at(text, at)}"
        )
    if _ZERO_IN_BRACKETS.search(text):
        raise NotANumber("a number with (0): leave out this zero, because it is not dialed from abroad")
    number = _SEPARATORS.sub("", text)
    if not _NUMBER.fullmatch(number):
        digits = re.sub(r"[^0-9]", "", number)
        if not number.startswith("+"):
            raise NotANumber("a number without +" if digits or not number else "a text without digits")
        if number[1:] != digits:
            raise NotANumber("a number with other characters than digits")
        if digits.startswith("0"):
            raise NotANumber("a number that starts with 0 instead of a country code")
        raise NotANumber(f"a number with {len(digits)} digits instead of 7 to 15")
    return number[1:]


def same(one: str, other: str) -> bool:
    """Tell whether two numbers in international form belong to the same phone."""
    return canonical(one) == canonical(other)


def canonical(number: str) -> str:
    """Return the digits that stand for all spellings of a phone's number; of most, its own.

    In three countries a phone has more than one number in international form, and WhatsApp's form is the
    older or the newer one, depending on where and when the phone was registered:

    - Brazil put a 9 before all mobile numbers between 2012 and 2016 (Anatel's resolution 553 of 2010).
      WhatsApp kept the old form outside the area codes 11 to 28: there, +55 31 98765-4321 is 553187654321.
      A number that begins with 2 to 5 and has no 9 is a fixed line: another phone than the one with the 9.
    - Mexico wrote a 1 between the country code and a mobile number until August 2019 (the IFT's dialing
      plan). WhatsApp still does for phones registered before: +52 55 1234 5678 is 5215512345678.
    - Argentina writes a 9 there in international form, and at home a 15 behind the area code, which has two
      to four digits (ENACOM's numbering plan). WhatsApp's help asks for the 9 and no 15.

    Google's libphonenumber has the same rules in its metadata of BR, MX and AR.

    Args:
        number: The number with its country code; only its digits count.
    """
    digits = re.sub(r"[^0-9]", "", number)
    if match := _BRAZIL.fullmatch(digits):
        return f"55{match[1]}{match[2]}"
    if match := _MEXICO.fullmatch(digits):
        return f"52{match[1]}"
    if match := _ARGENTINA.fullmatch(digits):
        return "54" + "".join(part for part in match.groups() if part)
    return digits
