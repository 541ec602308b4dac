"""Finds phone numbers and the addresses made of them, and leaves the other numbers of a log. Pure.

Whatever has as many digits as a phone number is masked, unless its form or its surroundings say what else the
digits are: a time, a size, a process id, an IP address, a version, a part of an identifier.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from orchestrator.system.hidden import HIDDEN
from orchestrator.system.masking import ELLIPSIS, mask_number

_MOST_DIGITS: Final = 15
"""E.164's limit for a number with its calling code."""
_LONGEST_PHONE: Final = 13
"""The longest numbers in real use; of what is longer (LIDs have 14 or 15) no calling code is shown."""
_LEAST_GROUPED: Final = 9
"""Digits of a number in groups without a plus; dates have 8."""

_JID = re.compile(
    r"(?<![0-9])([0-9]{5,}+)(-[0-9]++)?((?:[._][0-9]{1,3}+)?(?::[0-9]{1,5}+)?)"
    r"@(s\.whatsapp\.net|c\.us|lid|g\.us|hosted(?:\.lid)?|broadcast|newsletter|msgr|interop|bot)(?![A-Za-z])"
)
_OF_PHONES = frozenset({"s.whatsapp.net", "c.us", "hosted"})
_UNSEEN = "".join(chr(number) for number in HIDDEN if number >= 0xAD)
"""Characters without width, which break a run of digits for a program and not for a reader."""
_BLANKS = f" \u00a0\u2000-\u200a\u202f\u205f\u3000{_UNSEEN}"
_DASHES = "\u2010-\u2015\u2212-"
_SIGNS = {"\uff0b": "+", "\ufe62": "+", "\uff20": "@", "\ufe6b": "@"}
_NOT_PLAIN = re.compile(rf"(?![0-9])\d|[{''.join(_SIGNS)}]")
_PLUS = re.compile(rf"\+([1-9][0-9]*+)((?:[{_BLANKS}./(){_DASHES}]{{1,3}}+[0-9]++){{0,12}}+)")
_GROUP = re.compile(r"[^0-9]++[0-9]++")
_BROKEN = re.compile(rf"(?<![0-9{_UNSEEN}])[0-9]++(?:[{_UNSEEN}]{{1,3}}+[0-9]++)++")
_BARE = re.compile("[0-9]{8,}+")
_LETTERS_BEFORE = re.compile(r"[0-9A-Za-z]*\Z")
_LETTERS_AFTER = re.compile(r"[0-9A-Za-z]*+")
_ADDRESS_OR_ID = re.compile(
    "0[xX][0-9a-fA-F]++|(?=[0-9]*[a-fA-F])[0-9a-fA-F]{20,}+|[0-9]*+(?:[a-fA-F]++[0-9]++){2}[a-fA-F][0-9a-fA-F]*+"
)
"""What is no number in spite of its digits: hexadecimal, with letters in three places."""
_UUID_BEFORE = re.compile(r"(?:-[0-9a-fA-F]{4}){3}-\Z")
_UUID_AFTER = re.compile("(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_GROUP_ID = re.compile("120363[0-9]{12}")
_TIME = re.compile(
    # Unix time from 2020 to 2033, in s or ms: numbers of these lengths with a 1 in front are no phone's,
    # as those of North America have 11 digits. Then dates, with or without the time of day.
    r"1[6-9][0-9]{8}(?:[0-9]{3})?"
    r"|20[2-9][0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9])?"
)
_PERSON_BEFORE = re.compile(
    r"(?:phone|number|mobile|msisdn|tel|jid|user|sender|recipient|receiver|participant|contact|from|to|wa\.me)"
    r"(?:_?(?:number|pn|jid))?[\"']?\s?[=:/]\s?[\"']?\Z",
    re.IGNORECASE,
)
"""Words that say that digits are a phone's, whatever they look like."""
_QUANTITY_BEFORE = re.compile(
    r"(?:size|bytes|length|offset|total|free|used|limit|max|high|memory|rss|pss|pid|uid|inode)[\"']?\s?[=:]\s?[\"']?\Z",
    re.IGNORECASE,
)
_UNIT_AFTER = re.compile(r"\s?(?:(bytes?|B|[KMGT]i?B|pages?)|(s|seconds?|ms)|us|µs|ns)(?![0-9A-Za-z])")
_QUANTITY_DIGITS: Final = 11
"""Digits of a size or a duration: 100 GB in bytes. More are a phone's, except from 1 on: see `_TIME`."""
_SECONDS_DIGITS: Final = 9
_LOOK = 64
"""Characters looked at around a run of digits; no token worth telling apart is longer."""

# In groups, without a plus

_SEPARATOR = (
    rf"(?:[{_BLANKS}][/{_DASHES}][{_BLANKS}]|[{_BLANKS}./{_DASHES}]|[{_BLANKS}]?\([{_BLANKS}]?"
    rf"|[{_BLANKS}]?\)[{_BLANKS}/{_DASHES}]?)"
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}([-./])[0-9]{1,2}\1[0-9]{1,2}(?![0-9])"
    r"|[0-9]{1,2}([-./])[0-9]{1,2}\2(?:19|20)[0-9]{2}(?![0-9])"
)
# The number of groups has a limit, so that the time stays linear where a long list cannot be a number.
_GROUPED = re.compile(rf"(?<![0-9A-Za-z.…])\(?[0-9]++(?:{_SEPARATOR}[0-9]++){{1,40}}+")
_DOTTED_VERSION = re.compile(
    r"(?:version|release|kernel|python|linux|neonize)\S{0,3}\s?\Z|\bv\Z", re.IGNORECASE
)
_DECIMALS_BEFORE = re.compile(r"[0-9][:,]\Z")
_HEX_BEFORE = re.compile(r"[0-9a-fA-F]{4,12}-\Z")
_HEX_AFTER = re.compile(r"-[0-9a-fA-F]{4,12}(?![0-9A-Za-z])")


def with_plain_digits(text: str) -> str:
    """Return a text with every script's decimal digits, plus and at signs as ASCII has them."""
    return text if text.isascii() else _NOT_PLAIN.sub(_plain, text)


def mask(text: str) -> str:
    """Return a text without phone numbers and addresses of WhatsApp."""
    if not text.isascii():
        text = _BROKEN.sub(_mend, text)
    if "@" in text:
        text = _JID.sub(_mask_jid, text)
    if "+" in text:
        text = _PLUS.sub(_mask_plus, text)
    text = _GROUPED.sub(_mask_grouped, text)
    return _BARE.sub(_mask_bare, text)


def _plain(match: re.Match[str]) -> str:
    one = match[0]
    return str(unicodedata.decimal(one)) if one.isdecimal() else _SIGNS[one]


def _mend(match: re.Match[str]) -> str:
    digits = re.sub("[^0-9]", "", match[0])
    return digits if len(digits) >= 7 else match[0]


def _mask_jid(match: re.Match[str]) -> str:
    user, group, device, server = match.groups()
    shown = mask_number(user) if server in _OF_PHONES else ELLIPSIS + (group or user)[-2:]
    return f"{shown}{device}@{server}"


def _mask_plus(match: re.Match[str]) -> str:
    digits, rest = match.groups()
    taken = 0
    if len(digits) < 9:  # else it is whole, and what follows is something else
        for group in _GROUP.finditer(rest):
            more = re.sub("[^0-9]", "", group[0])
            if len(digits) + len(more) > _MOST_DIGITS:
                break
            digits += more
            taken = group.end()
    if len(digits) < 7:
        return match[0]
    return mask_number(digits) + rest[taken:]


def _shown(digits: str) -> str:
    if digits.startswith("0") or len(digits) > _LONGEST_PHONE:
        return ELLIPSIS + digits[-2:]
    return mask_number(digits)


def _mask_grouped(match: re.Match[str]) -> str:
    whole, text, (start, end) = match[0], match.string, match.span()
    if date := _DATE.search(whole):
        before, after = whole[: date.start()], whole[date.end() :]
        # What is on both sides of a date is a number of its own.
        return _GROUPED.sub(_mask_grouped, before) + date[0] + _GROUPED.sub(_mask_grouped, after)
    groups = re.findall("[0-9]+", whole)
    digits = "".join(groups)
    if not _LEAST_GROUPED <= len(digits) <= _MOST_DIGITS or not _is_grouped_phone(whole, groups):
        return whole
    around = text[max(0, start - _LOOK) : start]
    if "." in whole and _DOTTED_VERSION.search(around):
        return whole
    if _DECIMALS_BEFORE.search(around) or _HEX_BEFORE.search(around) or _HEX_AFTER.match(text, end):
        return whole
    unit = _UNIT_AFTER.match(text, end)
    if _QUANTITY_BEFORE.search(around) or (unit and unit[0][0].isspace()):
        return whole
    return ("(" if whole.startswith("(") and ")" not in whole else "") + _shown(digits)


def _is_grouped_phone(whole: str, groups: list[str]) -> bool:
    """Tell whether groups of digits have the form of a phone number without a plus."""
    first, *others = groups
    if any(len(group) < 2 for group in others if f"({group})" not in whole):
        return False  # a phone has no groups of one digit, and versions do
    is_trunk = first.startswith("0") and len(first) > 1
    if not is_trunk and (len(first) > 3 or first == "0"):
        return False
    if "." in whole:
        if re.search(r"[^0-9.]", whole.removeprefix("(")):
            return False  # decimals side by side, addresses with a port or a mask
        if len(groups) == 4 and all(int(group) <= 255 for group in groups):
            return False  # an IP address
        if len(groups) == 2 and not is_trunk:
            return False  # a fraction
        if len("".join(groups)) > _LONGEST_PHONE:
            return False  # the version of a client: 2.3000.1047769893
    if len(groups) == 2:
        return is_trunk or "(" in whole
    return len(groups) <= 7


def _mask_bare(match: re.Match[str]) -> str:
    digits, text, (start, end) = match[0], match.string, match.span()
    if len(digits) > _MOST_DIGITS and not _GROUP_ID.fullmatch(digits):
        return digits
    if _is_other(digits, text, start, end):
        return digits
    return _shown(digits)


def _is_other(digits: str, text: str, start: int, end: int) -> bool:
    """Tell whether digits are something else than a phone's, by their form and by what is around them."""
    last, following = text[start - 1 : start], text[end : end + 1]
    if last == "." and text[start - 2 : start - 1].isdigit():
        return True  # a version's last part, or a fraction
    if following == "." and len(digits) < 10 and text[end + 1 : end + 2].isdigit():
        return True  # seconds since the machine was started, for instance
    if last.isalnum() or following.isalnum():
        before = _LETTERS_BEFORE.search(text, max(0, start - _LOOK), start)
        after = _LETTERS_AFTER.match(text, end, end + _LOOK)
        if _ADDRESS_OR_ID.fullmatch(f"{before and before[0]}{digits}{after and after[0]}"):
            return True
    before_it = text[max(0, start - _LOOK) : start]
    if _TIME.fullmatch(digits):
        return not _PERSON_BEFORE.search(before_it)
    if _UUID_AFTER.match(text, end) or (last == "-" and _UUID_BEFORE.search(before_it)):
        return True
    most = _QUANTITY_DIGITS if digits[0] != "1" else _LONGEST_PHONE
    if len(digits) > most:
        return False
    mark = text[max(0, start - 4) : start]
    if ("=" in mark or ":" in mark) and _QUANTITY_BEFORE.search(before_it):
        return True
    unit = _UNIT_AFTER.match(text, end)
    return unit is not None and (unit[2] is None or len(digits) <= _SECONDS_DIGITS)
