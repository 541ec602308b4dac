"""Keep secrets and people out of logs: phone numbers, codes, keys, messages. Standard library only.

Everything that is logged goes through `redact`, in the parent and in the children, and most of it was
worded by others: the WhatsApp library prints log-in codes at DEBUG, and phone numbers at every level. What
is replaced errs on the side of too much, with the exceptions that make a log worth reading: times, dates,
sizes, process ids, ports, versions and paths stay.

Every pattern looks at each character a bounded number of times (possessive quantifiers, a look-behind where
a run must begin), so a line of a megabyte from the network costs a second at worst, and not the service.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from orchestrator.system.masking import ELLIPSIS, mask_number

QR: Final = "[QR code]"
LINK_CODE: Final = "[link code]"
KEY: Final = "[key]"

# Phone numbers

_MOST_DIGITS: Final = 15
"""E.164's limit for a number with its calling code."""
_LONGEST_PHONE: Final = 13
"""The longest numbers in real use; of what is longer (LIDs have 14 or 15) no calling code is shown."""


_JID = re.compile(
    r"(?<![0-9])([0-9]{5,}+)(-[0-9]++)?((?:[._][0-9]{1,3}+)?(?::[0-9]{1,5}+)?)"
    r"@(s\.whatsapp\.net|c\.us|lid|g\.us|hosted(?:\.lid)?|broadcast|newsletter|msgr|interop|bot)(?![A-Za-z])"
)
_OF_PHONES = frozenset({"s.whatsapp.net", "c.us", "hosted"})
_PLUS = re.compile(r"\+([1-9][0-9]*+)((?:[ \u00a0./()-]{1,3}+[0-9]++){0,12}+)")
_GROUP = re.compile(r"[^0-9]++[0-9]++")
_BARE = re.compile("[0-9]{8,}+")
_LETTERS_BEFORE = re.compile(r"[0-9A-Za-z]*\Z")
_LETTERS_AFTER = re.compile(r"[0-9A-Za-z]*+")
_ADDRESS_OR_ID = re.compile("0[xX][0-9a-fA-F]++|[0-9]*+[a-fA-F]++[0-9]++[a-fA-F][0-9a-fA-F]*+")
"""What is no number in spite of its digits: hexadecimal, with letters in more than one place."""
_UUID_BEFORE = re.compile(r"(?:-[0-9a-fA-F]{4}){3}-\Z")
_UUID_AFTER = re.compile("(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_GROUP_ID = re.compile("120363[0-9]{12}")
_TIME = re.compile(
    # Unix time from 2020 to 2033, in s or ms: numbers of these lengths with a 1 in front are no phone's,
    # as those of North America have 11 digits. Then dates, with or without the time of day.
    r"1[6-9][0-9]{8}(?:[0-9]{3})?"
    r"|20[2-9][0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9])?"
)
_QUANTITY_BEFORE = re.compile(
    r"(?:size|bytes|length|offset|total|free|used|limit|memory|rss|pss|pid|inode)[\"']?\s?[=:]\s?[\"']?\Z",
    re.IGNORECASE,
)
_UNIT_AFTER = re.compile(r"\s?(?:bytes?|B|[KMGT]i?B|s|ms|us|µs|ns|seconds?|pages?)(?![0-9A-Za-z])")
_LOOK = 64
"""Characters looked at around a run of digits; no token worth telling apart is longer."""


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


def _mask_bare(match: re.Match[str]) -> str:
    digits, text, (start, end) = match[0], match.string, match.span()
    if len(digits) > _MOST_DIGITS and not _GROUP_ID.fullmatch(digits):
        return digits
    last, following = text[start - 1 : start], text[end : end + 1]
    if last == "." and text[start - 2 : start - 1].isdigit():
        return digits  # a version's last part, or a fraction
    if following == "." and len(digits) < 10 and text[end + 1 : end + 2].isdigit():
        return digits  # seconds since the machine was started, for instance
    if last.isalnum() or following.isalnum():
        before = _LETTERS_BEFORE.search(text, max(0, start - _LOOK), start)
        after = _LETTERS_AFTER.match(text, end, end + _LOOK)
        if _ADDRESS_OR_ID.fullmatch(f"{before and before[0]}{digits}{after and after[0]}"):
            return digits
    if _TIME.fullmatch(digits) or _UUID_AFTER.match(text, end):
        return digits
    if last == "-" and _UUID_BEFORE.search(text, max(0, start - _LOOK), start):
        return digits
    mark = text[max(0, start - 4) : start]
    if ("=" in mark or ":" in mark) and _QUANTITY_BEFORE.search(text, max(0, start - _LOOK), start):
        return digits
    if _UNIT_AFTER.match(text, end):
        return digits
    return mask_number(digits) if len(digits) <= _LONGEST_PHONE else ELLIPSIS + digits[-2:]


# Codes to log in with

_QR_TEXT = re.compile(
    r"(?:https?://)?wa\.me/settings/linked_devices[^\s\"'<>]*+"
    r"|(?<![0-9A-Za-z])[0-9]@[A-Za-z0-9+/_-]{16,}+=*+(?:,[A-Za-z0-9+/=_-]*+)*+"
)
# The alphabet has no 0, I, O and U. A word of eight capitals is only taken for a code if it is called one.
_LINK_CODE = re.compile(
    r"(?:(?<![\w-])|(?<=\\[nrt]))[1-9A-HJ-NP-TV-Z]{4}-[1-9A-HJ-NP-TV-Z]{4}(?![\w-])"
    r"|(?<=[cC]ode)([\"']?(?: is)?[\s:=]{1,3}[\"']?)[1-9A-HJ-NP-TV-Z]{8}(?!\w)"
)
_BLOCKS = "\u2580-\u259f\u25a0\u25a1\u2b1b\u2b1c"
_ART = re.compile(rf"[{_BLOCKS}](?:[{_BLOCKS} \u00a0\t\r\n]|\x1b\[[0-9;]*+m)*+")
_BLOCK = re.compile(rf"[{_BLOCKS}]")
_COLOUR_ART = re.compile(r"(?:\x1b\[[0-9;]*+m[ \u00a0\r\n]*+){6,}+")


def _mask_link_code(match: re.Match[str]) -> str:
    return (match[1] or "") + LINK_CODE


def _mask_art(match: re.Match[str]) -> str:
    art = match[0].rstrip(" \u00a0\t\r\n")
    return QR + match[0][len(art) :] if len(_BLOCK.findall(art)) >= 5 else match[0]


# Keys and credentials

_URL = re.compile(r"(?<=://)[^\s\"'<>]++")
_AUTHORIZATION = re.compile(r"(?i)(authorization[\"']?\s?[:=]\s?[\"']?(?:basic|bearer)\s)[^\s\"']++")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}+(={0,2}+)(?![A-Za-z0-9=])")
_HEX_KEY = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64,}+(?![0-9A-Za-z])")
_COLON_HEX = re.compile(r"(?<![0-9A-Za-z:])(?:[0-9a-fA-F]{2}:){31,}+(?:[0-9a-fA-F]{2}(?![0-9A-Za-z]))?")
_NUMBERS = re.compile(r"\[[0-9]{1,3}(?:,? [0-9]{1,3}){31,}+\]")
_ESCAPED = re.compile(r"(?:[^\s\"'\\]{0,8}+\\(?:x[0-9a-fA-F]{2}|[0-7]{3}|[\"'\\abfnrtv])){8,}+[^\s\"'\\]*+")
_RUN = re.compile("[A-Z]++|[a-z]++|[0-9]++")
_KEY_BYTES = 32
_BASE64_OF_32 = 43
"""Characters that 32 bytes take in base64, without padding."""


def _mask_url(match: re.Match[str]) -> str:
    rest = match[0]
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    host = rest.rfind("@", 0, end)
    if host < 0:
        user, colon, port = rest[:end].partition(":")
        # A sentence may go on right after the port.
        if not colon or not port or port.rstrip("),.;:").isdigit() or user.startswith("["):
            return rest
        host = rest.rfind("@")  # a password with a slash in it
    return "***" + (rest[host:] if host >= 0 else "")


def _looks_random(token: str) -> bool:
    """Tell base64 from words: its characters change between cases and digits all the time.

    Two neighbours are of different kinds with a probability of 0.65 in base64; 15 changes in 43 characters, a
    rate of 0.35, are four standard deviations below, and far above that of paths and names.
    """
    runs = _RUN.findall(token)
    return (
        len(runs) >= 0.35 * sum(map(len, runs))
        and any(run.isdigit() for run in runs)
        and any(run.isupper() for run in runs)
        and any(run.islower() for run in runs)
    )


def _mask_token(match: re.Match[str]) -> str:
    token = match[0]
    if len(token) < _BASE64_OF_32:
        return token
    if match[1] or not token.startswith("/"):
        if match[1] or _looks_random(token):
            return KEY
        if "/" not in token:
            return token
    # A path, perhaps with a key in it.
    parts = [KEY if len(part) >= 20 and _looks_random(part) else part for part in token.split("/")]
    return KEY if _looks_random("".join(part for part in parts if part is not KEY)) else "/".join(parts)


# What people write

_TAG = re.compile(
    r"</?([A-Za-z][\w:.-]*+)((?:\s++[A-Za-z][\w:.-]*+=\"[^\"]*+\")*+)\s*+(/?)>|<!-- [0-9]++ bytes -->"
)
_CLOSING = re.compile(r"</([A-Za-z][\w:.-]*+)>")
_ATTRIBUTE = re.compile(r"([A-Za-z][\w:.-]*+)=\"([^\"]*+)\"")
_PLAIN_ATTRIBUTES = re.compile(
    # Those whose values are addresses, numbers and WhatsApp's own words, not people's.
    "abprops|addressing_mode|auth_ttl|background|backoff|biz_bot|category|class|code|context|count|"
    "creation|creator|creator_pn|device|e|edit|error|expiration|expire|from|hash|hostname|id|index|jid|"
    "key-index|last|lid|location|max_buckets|mode|offline|participant|participant_lid|participant_pn|"
    "peer_recipient_lid|peer_recipient_pn|phash|phone_number|platform|pn_jid|props|reason|recipient|"
    "recipient_lid|recipient_pn|retry|s_o|s_t|sender_lid|sender_pn|should_show_push_notification|sid|"
    "size|stage|state|status|t|target_id|text|timeout|timestamp|to|ts|ttl|type|v|val|value|version|"
    "xmlns"
)
_QUOTED = re.compile(r":\s?\\?[\"']")
_FIELD = re.compile(
    r"(?i)(?<![a-z])((?:body|caption|contentText|conversation|description|displayName|fileName|footer|footerText|"
    r"fullName|firstName|hydratedContentText|matchedText|notify|pushName|subject|text|title|vcard|"
    r"verifiedName)\\?[\"']?:\s?)"
    r"(?:(\")[^\"\\]*+(?:\\.[^\"\\]*+)*+|(')[^'\\]*+(?:\\.[^'\\]*+)*+|(\\\")[^\\]*+(?:\\(?!\")[^\\]*+)*)",
    re.DOTALL,
)
_NAME = re.compile(r"((?:Push|Business) name of \S++ changed from |Got push name ).*+", re.DOTALL)


def _mask_attributes(match: re.Match[str]) -> str:
    name, value = match.groups()
    if _PLAIN_ATTRIBUTES.fullmatch(name) and len(value) <= 80 and " " not in value:
        return match[0]
    return f'{name}="{ELLIPSIS}"' if value else match[0]


def _mask_stanzas(text: str) -> str:
    """Keep of stanzas, the library's XML, the tags with harmless attributes: all else may be a message.

    What lies between the tags is not escaped, so a message can have something like tags in it. Until the
    first tag is closed again, or to the end of the text, nothing but tags is therefore kept.
    """
    closed = frozenset(_CLOSING.findall(text))
    parts: list[str] = []
    at = depth = 0
    for tag in _TAG.finditer(text):
        whole, name, attributes, empty = tag[0], tag[1], tag[2], tag[3]
        between = text[at : tag.start()]
        parts.append(ELLIPSIS if depth and between else between)
        at = tag.end()
        if whole.startswith("</"):
            depth = max(0, depth - 1)
        elif name and not empty and (depth or attributes or name in closed):
            depth += 1
        parts.append(_ATTRIBUTE.sub(_mask_attributes, whole) if attributes else whole)
    rest = text[at:]
    parts.append(ELLIPSIS if depth and rest else rest)
    return "".join(parts)


_ROUNDS: Final = 6


def redact(text: str) -> str:
    """Return a text without phone numbers, codes to log in with, keys, credentials, messages and names.

    Numbers become ``+49…78``, LIDs and groups ``…78@lid``, secrets a word in brackets, and what people wrote
    an ellipsis. Doing it twice changes nothing. The time is linear in the length of the text.
    """
    # Where one thing was cut out of another, what is left can look like a third: once more, until it is
    # quiet. An ordinary line is at once, and more than three rounds were never seen.
    for _ in range(_ROUNDS):
        before, text = text, _redact(text)
        if text == before:
            break
    return text


def _redact(text: str) -> str:
    # The plain tests in front of the patterns are what makes an ordinary line cheap.
    if not text.isascii():
        text = _ART.sub(_mask_art, text)
    if "\x1b[" in text:
        text = _COLOUR_ART.sub(QR, text)
    if "<" in text and ('="' in text or "</" in text or "/>" in text):
        text = _mask_stanzas(text)
    if ":" in text and _QUOTED.search(text):
        text = _FIELD.sub(rf"\1\2\3\4{ELLIPSIS}", text)
    if " name " in text:
        text = _NAME.sub(rf"\1{ELLIPSIS}", text)
    if "@" in text or "linked_devices" in text:
        text = _QR_TEXT.sub(QR, text)
    if len(text) >= 2 * _KEY_BYTES:
        text = _HEX_KEY.sub(KEY, text)
        if ":" in text:
            text = _COLON_HEX.sub(KEY, text)
        if "[" in text:
            text = _NUMBERS.sub(KEY, text)
    if "\\" in text and text.count("\\") >= 8:
        text = _ESCAPED.sub(KEY, text)
    # Numbers go before what may hold them and is told apart by its length, and after what is whole without.
    if "@" in text:
        text = _JID.sub(_mask_jid, text)
    if "+" in text:
        text = _PLUS.sub(_mask_plus, text)
    text = _BARE.sub(_mask_bare, text)
    if "://" in text:
        text = _URL.sub(_mask_url, text)
    if "uthorization" in text:
        text = _AUTHORIZATION.sub(r"\1***", text)
    if len(text) >= _BASE64_OF_32:
        text = _TOKEN.sub(_mask_token, text)
    if "-" in text or "ode" in text:
        text = _LINK_CODE.sub(_mask_link_code, text)
    return text


class RedactingFilter(logging.Filter):
    """Redacts every record that passes, with its arguments, its traceback and its stack.

    It belongs on the handlers of the root logger: a filter of a logger does not see what comes from the
    loggers below it. The record itself is changed, so whatever handles it afterwards sees nothing else. It
    never raises; of a record whose arguments do not fit its text, the text is kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; return True, always."""
        if getattr(record, "redacted", False):
            return True
        try:
            record.msg = redact(_message(record))
        except Exception as error:  # noqa: BLE001 - logging must go on whatever it was given
            record.msg = f"[a message that cannot be shown: {type(error).__name__}]"
        record.args = ()
        try:
            if record.exc_info and not record.exc_text:
                record.exc_text = _formatter.formatException(record.exc_info)
            record.exc_text = redact(record.exc_text) if record.exc_text else None
            record.stack_info = redact(str(record.stack_info)) if record.stack_info else None
        except Exception as error:  # noqa: BLE001 - as above: an exception's own str() may fail
            record.exc_text = f"[a traceback that cannot be shown: {type(error).__name__}]"
            record.stack_info = None
        record.exc_info = None
        record.redacted = True
        return True


_formatter = logging.Formatter()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong %-format, or an argument whose str() fails
        return f"{record.msg} [its arguments do not fit: {type(error).__name__}]"
