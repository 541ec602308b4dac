"""Finds codes to log in with, keys, tokens, passwords, and whatever stands behind a word for them. Pure.

A value behind a word for a secret is masked whatever it is, if a sign joins the two: ``password=``,
``"token": "…"``, ``X-Api-Key:``. In prose, as in "the proxy refuses the password: correct it", a value is
masked if it is no plain word. A secret that stands alone is told by its form.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable
from typing import Final

QR: Final = "[QR code]"
LINK_CODE: Final = "[link code]"
KEY: Final = "[key]"
HIDDEN: Final = "***"

# Codes to log in with

_QR_TEXT = re.compile(
    r"(?:https?://)?wa\.me/settings/linked_devices[^\s\"'<>]*+"
    r"|(?<![0-9A-Za-z])[0-9]@[A-Za-z0-9+/_-]{16,}+=*+(?:,[A-Za-z0-9+/=_-]*+)*+"
)
# The alphabet has no 0, I, O and U. A code without its dash, or in lower case, is only taken for one if it is
# called one, or if no word can look like it.
_ONE = "[1-9A-HJ-NP-TV-Z]"
_ANY = "[1-9A-HJ-NP-TV-Za-hj-np-tv-z]"
_LINK_CODE = re.compile(
    rf"(?:(?<![\w-])|(?<=\\[nrt])){_ONE}{{4}}[\u2010-\u2015\u2212-]{_ONE}{{4}}(?![\w-])"
    rf"|(?<=[cC]ode)([\"']?(?: is)?[\s:=]{{1,3}}[\"']?){_ONE}{{8}}(?!\w)"
)
_CALLED_CODE = re.compile(
    rf"(?i)((?:pair(?:ing)?|link(?:ing)?|phone|log-?in)[\s_-]?code[\"']?(?:\s+is)?[\s:=]{{1,3}}[\"']?)"
    rf"{_ANY}{{4}}[ \u00a0_.\u2010-\u2015-]?{_ANY}{{4}}(?![\w-])"
)
_DASHED_CODE = re.compile(
    rf"(?i)(\bcode[\"']?(?:\s+is)?[\s:=]{{1,3}}[\"']?){_ANY}{{4}}[\u2010-\u2015\u2212-]{_ANY}{{4}}(?![\w-])"
)
_CODE_WITH_DIGIT = re.compile(
    rf"(?i)(\bcode[\"']?(?:\s+is)?[\s:=]{{1,3}}[\"']?)(?=[\w -]{{0,8}}?[1-9])(?=[\d -]{{0,8}}?[a-z])"
    rf"{_ANY}{{4}}[ \u00a0-]?{_ANY}{{4}}(?![\w-])"
)
_CODE_ALONE = re.compile(
    # With a blank: letters in both halves and a digit. Bare: letters that no hexadecimal number has. In lower
    # case: a digit, or "well-kept" would be one.
    r"(?<![\w-])(?=[A-Z1-9 \u00a0]{0,8}?[1-9])(?=[1-9]{0,3}[A-Z])"
    rf"(?=[A-Z1-9]{{4}}[ \u00a0][1-9]{{0,3}}[A-Z])"
    rf"{_ONE}{{4}}[ \u00a0]{_ONE}{{4}}(?![\w-])"
    rf"|(?<![\w-])(?=[A-Z]{{0,7}}[1-9])(?=[1-9A-F]{{0,7}}[G-Z]){_ONE}{{8}}(?![\w-])"
    r"|(?<![\w.-])(?=[a-z-]{0,8}[1-9])(?=[1-9-]{0,8}[a-z])[1-9a-hj-np-tv-z]{4}-[1-9a-hj-np-tv-z]{4}(?![\w-])"
)
_DIGIT = re.compile("[1-9]")
_BLOCKS = "\u2580-\u259f\u25a0\u25a1\u2b1b\u2b1c"
_ART = re.compile(rf"[{_BLOCKS}](?:[{_BLOCKS} \u00a0\t\r\n]|\x1b\[[0-9;]*+m)*+")
_BLOCK = re.compile(rf"[{_BLOCKS}]")
_COLOUR_ART = re.compile(r"(?:\x1b\[[0-9;]*+m[ \u00a0\r\n]*+){6,}+")

# Bytes written out

_HEX_KEY = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64,}+(?![0-9A-Za-z])")
_COLON_HEX = re.compile(r"(?<![0-9A-Za-z:])(?:[0-9a-fA-F]{2}:){15,}+(?:[0-9a-fA-F]{2}(?![0-9A-Za-z]))?")
_BYTE_PAIRS = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-fA-F]{2}(?:[ \t\r\n,-]{1,4}[0-9a-fA-F]{2}(?![0-9A-Za-z])){15,}+"
)
_BYTE_FOURS = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{4}(?:[ \t]{1,2}[0-9a-fA-F]{4}(?![0-9A-Za-z])){7,}+")
_BYTES_0X = re.compile(
    r"(?i)(?<![0-9a-z])0x[0-9a-f]{1,2}(?:[\s,;:|]{1,4}(?:\(byte\)\s?)?0x[0-9a-f]{1,2}(?![0-9a-z])){11,}+"
)
_NUMBERS = re.compile(
    r"(?<![0-9A-Za-z.])-?[0-9]{1,3}(?:(?:[,;]?[ \t\r\n]{1,4}|[,;])-?[0-9]{1,3}(?![0-9A-Za-z.])){15,}+"
)
_ESCAPED = re.compile(r"(?:[^\s\"'\\]{0,8}+\\(?:x[0-9a-fA-F]{2}|[0-7]{3}|[\"'\\abfnrtv])){8,}+[^\s\"'\\]*+")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}){8,}+")

# Tokens

_OURS = re.compile(r"(?i)(?<![A-Za-z0-9])(?:whsec|orc)_[A-Za-z0-9+/_=.-]{8,}+")
_OTHERS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+)?"  # a JSON Web Token
    r"|gh[opsu]_[A-Za-z0-9]{20,}+|github_pat_[A-Za-z0-9_]{20,}+|glpat-[A-Za-z0-9_-]{16,}+"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+|xox[abprs]-[A-Za-z0-9-]{10,}+|AKIA[A-Z0-9]{16}(?![A-Z0-9]))"
)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*+(?:-(?!----END)[^-]*+)*+(?:-----END [A-Z ]{0,30}-----)?"
)
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}+(={0,2}+)(?![A-Za-z0-9=])")
_MAY_BE_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{11,}+={0,2}+")
_HEX = re.compile("[0-9a-fA-F]++")
_RUN = re.compile("[A-Z]++|[a-z]++|[0-9]++")
_BASE64_OF_32 = 43
"""Characters that 32 bytes take in base64, without padding."""

# Behind a word

_URL = re.compile(r"(?<=://)[^\s\"'<>]++")
_SCHEME = re.compile(r"(\b(?:[Bb]earer|BEARER|[Bb]asic|BASIC)\s{1,3})([A-Za-z0-9._~+/-]{6,}+=*+)")
_NO_WORD = re.compile(r"[0-9=_~+/]|[a-z][A-Z]|[A-Z]{2}[a-z]")
"""What is in a token and in no word of a sentence."""
_HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization\\?[\"']?\s{0,2}(?:[:=]|%3a)\s{0,2}\\?[\"']?"
    r"(?:(?:basic|bearer|digest|negotiate|token)(?:\s|%20|\+)++)?)[^\s\"'\\]++"
)
_COOKIE = re.compile(r"(?i)(\b(?:set-)?cookie\\?[\"']?\s{0,2}(?:[:=]|%3a)\s{0,2}\\?[\"']?)([^\r\n\"'\\]++)")
_SECRET = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase|code)|secret|token|(?<![a-z])(?:pwd|dsn|otp|pin|pass)"
    r"|(?P<compound>(?:api|access|secret|private|auth|signing|session|encryption)[_. -]?key"
    r"|[-_](?:token|secret)|credentials?|jsessionid|phpsessid))"
    r"(?P<quote>\\?[\"'])?"
    r"(?P<sign>\s{0,3}(?:=>?|:=?|(?:%22|%27)?%3[ad](?:%22|%27)?)"
    r"(?:[ \t]{0,3}\r?\n[ \t]{1,40}|[ \t]{0,3})|(?<=[a-z])>)"
)
_SAID = re.compile(
    r"(?i)(\b(?:password|passphrase|passcode|secret|token|api[_. -]?key|pin)\s(?:is|was)\s(?:now\s)?[\"']?)"
    r"([^\s\"']++)"
)
_OPTION = re.compile(
    r"(?i)((?<![\w-])--(?:[a-z]{1,20}-){0,4}?"
    r"(?:password|passphrase|passwd|secret|token|api-key|access-key)\s{1,3})"
    r"(?!-)([^\s\"']++)"
)
_SECRET_MARKS = (
    "pass", "pwd", "secret", "token", "key", "dsn", "otp", "pin", "credential", "sess", "seed", "nonce",
    "salt", "signature", "hmac", "psk", "challenge",
)  # fmt: skip
"""One of these is in every text in which the patterns for words find anything."""
_OTHERS_MARKS = ("eyJ", "gh", "glpat", "k_live", "k_test", "xox", "AKIA")
_IN_QUOTES = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
    '\\"': re.compile(r'(?:[^"\\]|\\[^"])*+', re.DOTALL),
    "\\'": re.compile(r"(?:[^'\\]|\\[^'])*+", re.DOTALL),
}
_BLOCK_TEXT = re.compile(r"[|>][+-]?[ \t]*+(?:\r?\n[ \t]++[^\r\n]*+)++")
_WORD = re.compile(r"[^\s\"'<>&]++")
_LINE = re.compile(r"[^\r\n]*+")
_NOTHING = frozenset({"null", "none", "nil", "<nil>", "true", "false", "~"})
_PLAIN_WORD = re.compile(r"[a-z]++(?:-[a-z]++)*+")
_INDENT = re.compile(r"[ \t]*+(?:- )?[\w.-]*+\\?[\"']?\Z")
_STARTED = "***…["
"""What a value that is hidden already begins with."""
_RANDOM = re.compile(
    r"(?i)((?:key|secret|token|password|seed|nonce|salt|signature|hmac|psk|credential|challenge)"
    r"(?:[\"')\]]|s)?(?:\s(?:is|of))?[\s:=]{1,3}[\"'(\[]{0,2}(?:(?:sha[0-9]{1,3}|v[0-9])[=,:])?)([A-Za-z0-9+/_-]{16,}+={0,2}+)"
)
_MEDIA = re.compile(r"[^\s\"'<>]++")
_MEDIA_MARK = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=u0026))oh=[A-Za-z0-9]")
_MEDIA_VALUE = re.compile(r"((?:(?<![A-Za-z0-9])|(?<=u0026))(?:oh|oe)=)[A-Za-z0-9%_.~-]++")


def mask_codes(text: str) -> str:
    """Return a text without QR codes, as text and drawn."""
    if not text.isascii():
        text = _ART.sub(_mask_art, text)
    if "\x1b[" in text:
        text = _COLOUR_ART.sub(QR, text)
    if "@" in text or "linked_devices" in text:
        text = _QR_TEXT.sub(QR, text)
    return text


def mask_named(text: str) -> str:
    """Return a text without what stands behind a word for a secret, and without tokens of a known form."""
    # The plain tests in front of the patterns are what makes an ordinary line cheap.
    lower = text.lower()
    if "whsec_" in lower or "orc_" in lower:
        text = _OURS.sub(KEY, text)
    if any(mark in text for mark in _OTHERS_MARKS):
        text = _OTHERS.sub(KEY, text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(KEY, text)
    if "authorization" in lower:
        text = _HEADER.sub(rf"\1{HIDDEN}", text)
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(_mask_scheme, text)
    if "cookie" in lower:
        text = _COOKIE.sub(_mask_cookie, text)
    if any(mark in lower for mark in _SECRET_MARKS):
        if "--" in text:
            text = _OPTION.sub(rf"\1{HIDDEN}", text)
        text = _mask_values(text)
        text = _SAID.sub(_mask_said, text)
        text = _RANDOM.sub(_mask_random, text)
    if "oh=" in text:
        text = _MEDIA.sub(_mask_media, text)
    return text


def mask_bytes(text: str) -> str:
    """Return a text without long runs of bytes that are written as numbers or escapes."""
    if len(text) >= 24:
        text = _HEX_KEY.sub(KEY, text)
        text = _NUMBERS.sub(_mask_numbers, text)
        text = _BYTE_PAIRS.sub(KEY, text)
        text = _BYTE_FOURS.sub(KEY, text)
        if ":" in text:
            text = _COLON_HEX.sub(KEY, text)
        if "0x" in text or "0X" in text:
            text = _BYTES_0X.sub(KEY, text)
        if "%" in text:
            text = _PERCENT.sub(KEY, text)
    if "\\" in text and text.count("\\") >= 8:
        text = _ESCAPED.sub(KEY, text)
    return text.replace(f"[{KEY}]", KEY)


def mask_urls(text: str) -> str:
    """Return a text whose URLs have neither a user nor a password."""
    return _URL.sub(_mask_url, text) if "://" in text else text


def mask_tokens(text: str, is_telling: Callable[[str], bool]) -> str:
    """Return a text without keys in base64, and without what is hidden in base64 or hexadecimal digits.

    Args:
        text: The text.
        is_telling: Tells whether a text that was encoded must not be shown.
    """
    if len(text) >= _BASE64_OF_32:
        text = _TOKEN.sub(_mask_token, text)

    def decode(match: re.Match[str]) -> str:
        parts = match[0].split("/")
        if any(map(is_telling, _decoded(match[0]))):
            return KEY
        return "/".join(
            KEY if len(part) >= 11 and any(map(is_telling, _decoded(part))) else part for part in parts
        )

    return _MAY_BE_ENCODED.sub(decode, text) if len(text) >= 11 else text


def mask_link_codes(text: str) -> str:
    """Return a text without codes that are typed to link a device."""
    if "code" in text or "Code" in text or "CODE" in text:
        text = _CALLED_CODE.sub(rf"\1{LINK_CODE}", text)
        text = _DASHED_CODE.sub(rf"\1{LINK_CODE}", text)
        text = _CODE_WITH_DIGIT.sub(rf"\1{LINK_CODE}", text)
        text = _LINK_CODE.sub(_mask_link_code, text)
    elif "-" in text or not text.isascii():
        text = _LINK_CODE.sub(_mask_link_code, text)
    return _CODE_ALONE.sub(LINK_CODE, text) if _DIGIT.search(text) else text


def _mask_link_code(match: re.Match[str]) -> str:
    return (match[1] or "") + LINK_CODE


def _mask_art(match: re.Match[str]) -> str:
    art = match[0].rstrip(" \u00a0\t\r\n")
    return QR + match[0][len(art) :] if len(_BLOCK.findall(art)) >= 5 else match[0]


def _mask_scheme(match: re.Match[str]) -> str:
    return match[1] + HIDDEN if _NO_WORD.search(match[2]) else match[0]


def _mask_said(match: re.Match[str]) -> str:
    value = match[2].rstrip(",;)]}.:!?")
    is_plain = not _NO_WORD.search(value)
    return match[0] if is_plain else match[1] + HIDDEN + match[2][len(value) :]


def _mask_cookie(match: re.Match[str]) -> str:
    value = match[2]
    # "the cookie: it is old" is prose.
    if ":" in match[1] and "=" not in value and " " in value.strip():
        return match[0]
    return f"{match[1]}{HIDDEN}" if value.strip() else match[0]


def _mask_values(text: str) -> str:
    parts: list[str] = []
    at = 0
    for match in _SECRET.finditer(text):
        start = match.end()
        if match.start() < at:
            continue  # within a value that is hidden
        found = _find_value(text, match, start)
        if found is not None:
            begin, end = found
            parts += [text[at:begin], HIDDEN]
            at = end
    return "".join([*parts, text[at:]]) if parts else text


def _find_value(text: str, match: re.Match[str], start: int) -> tuple[int, int] | None:
    """Return where the value behind a word begins and ends; None if there is none to hide."""
    for quote, pattern in _IN_QUOTES.items():
        if text.startswith(quote, start):
            inner = pattern.match(text, start + len(quote))
            assert inner is not None
            return _unless_nothing(text, inner.start(), inner.end())
    if block := _BLOCK_TEXT.match(text, start):
        return block.span()
    word = _WORD.match(text, start)
    if word is None:
        return None
    begin, end = word.start(), word.start() + len(word[0].rstrip(",;)]}.:\\"))
    sign = match["sign"]
    if ":" in sign and not match["quote"] and sign[-1:].isspace():
        line = text.rfind("\n", 0, match.start()) + 1
        if _INDENT.fullmatch(text, line, match.start()) and not text.startswith(tuple(_STARTED), begin):
            whole = _LINE.match(text, begin)
            assert whole is not None
            is_yaml = line > 0 or text[line] in " \t-"
            if is_yaml or not _PLAIN_WORD.match(text, begin) or len(whole[0].split()) == 1:
                return _unless_nothing(text, begin, whole.end())
        is_prose = _PLAIN_WORD.fullmatch(text, begin, end) and re.match(
            r"[,;]? [a-z`\"'(]", text[end : end + 3]
        )
        if (is_prose or end - begin < 4) and not match["compound"]:
            return None
    if sign == ">" and text.startswith("</", start):
        return None
    if match[0].lower().startswith("pwd") and text.startswith("/", begin):
        return None  # the shell's current folder
    return _unless_nothing(text, begin, end)


def _unless_nothing(text: str, begin: int, end: int) -> tuple[int, int] | None:
    value = text[begin:end]
    return None if not value.strip() or value.lower() in _NOTHING or value == "…" else (begin, end)


def _mask_media(match: re.Match[str]) -> str:
    token = match[0]
    if not _MEDIA_MARK.search(token):
        return token
    scheme, separator, rest = token.rpartition("://")
    if separator:
        return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"
    slash = token.find("/")
    if slash >= 0:
        return f"{token[:slash]}/…"
    return _MEDIA_VALUE.sub(rf"\1{HIDDEN}", token)


def _mask_random(match: re.Match[str]) -> str:
    token = match[2]
    runs = _RUN.findall(token)
    letters = [run for run in runs if not run.isdigit()]
    is_mixed = (
        letters
        and len(letters) < len(runs)
        and (len(runs) >= 0.25 * sum(map(len, runs)) or _HEX.fullmatch(token))
    )
    return match[1] + KEY if is_mixed else match[0]


def _mask_numbers(match: re.Match[str]) -> str:
    numbers = [int(number) for number in re.findall("-?[0-9]+", match[0])]
    return KEY if all(-128 <= number <= 255 for number in numbers) else match[0]


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
    return HIDDEN + (rest[host:] if host >= 0 else "")


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


def _decoded(token: str) -> list[str]:
    """Return the printable texts that a word may be the base64 or the hexadecimal digits of."""
    found: list[bytes] = []
    bare = token.rstrip("=")
    others = b"-_" if "-" in bare or "_" in bare else None
    if len(bare) % 4 != 1:
        with contextlib.suppress(ValueError):  # it mixes the two alphabets
            found.append(base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=others, validate=True))
    if len(bare) % 2 == 0:
        with contextlib.suppress(ValueError):
            found.append(bytes.fromhex(bare))
    return [text for data in found if len(data) >= 8 and (text := _printable(data)) is not None]


def _printable(data: bytes) -> str | None:
    return (
        data.decode("ascii")
        if data.isascii() and all(32 <= one < 127 or one in b"\r\n\t" for one in data)
        else None
    )
