"""How the single values of the configuration are read: durations, sizes, proxies, phone numbers, and so on.

A check takes what stands in the file and returns what the program needs, or raises `Unfit`. What may be a
password or a phone number is described in a message instead of quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.accounts import characters, phones
from orchestrator.accounts.names import shorten
from orchestrator.accounts.proxy import EXPECTED, UrlError, parse
from orchestrator.config.locate import check_state_path, expand
from orchestrator.config.yaml_tree import Node, Scalar, Sequence

DAY = 86_400.0
_UNITS = {"d": DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[dhms]))+", re.ASCII)
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([KMGT])", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_LONG_NUMBER = re.compile(r"\+?\d(?:[ ()./-]*\d){6,}", re.ASCII)


class Unfit(ValueError):  # noqa: N818 - it is raised, caught and worded within the configuration
    """A value is not what its key needs.

    Attributes:
        expected: What its key needs.
        found: What is there instead, if quoting it would not do.
        free: The value may have characters of any script; only those that cannot be seen are at fault.
    """

    def __init__(self, expected: str, found: str | None = None, *, free: bool = False) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.free = free


@dataclass(frozen=True, slots=True)
class Where:
    """What a check may need to know besides the value: what paths start from, and the environment."""

    base: Path
    environ: Mapping[str, str]


Check: TypeAlias = Callable[[Scalar, Where], Any]

# Checks


def text(longest: int, what: str = "a text") -> Check:
    """Take a text of at most so many characters."""

    def check(value: Scalar, _: Where) -> str:
        _need_text(value, what)
        if not value.text.strip() or len(value.text) > longest or not value.text.isprintable():
            raise Unfit(f"{what} of 1 to {longest} characters on one line", _size_of(value.text), free=True)
        return value.text

    return check


def boolean(value: Scalar, _: Where) -> bool:
    """Take what YAML takes for true or false."""
    if value.type != "true/false":
        raise Unfit("true or false", _quoted(value))
    return value.text.lower() in ("true", "yes", "on")


def integer(low: int, high: int) -> Check:
    """Take a whole number in a range; YAML's octal, hexadecimal and base-60 ones are refused."""

    def check(value: Scalar, _: Where) -> int:
        expected = f"a whole number from {low:,} to {high:,}"
        if not value.plain or not _INTEGER.fullmatch(value.text):
            raise Unfit(expected, _quoted(value))
        if not low <= (number := int(value.text)) <= high:
            raise Unfit(expected)
        return number

    return check


def number(low: float, high: float) -> Check:
    """Take a number in a range."""

    def check(value: Scalar, _: Where) -> float:
        expected = f"a number from {low:,g} to {high:,g}"
        if not value.plain or not _NUMBER.fullmatch(value.text):
            raise Unfit(expected, _quoted(value))
        if not low <= (number := float(value.text)) <= high:
            raise Unfit(expected)
        return number

    return check


def duration(low: float, high: float) -> Check:
    """Take a duration; a bare number is refused, because nobody can see its unit (nor that of a bare 0)."""

    def check(value: Scalar, _: Where) -> float:
        expected = f"a duration such as 3s, 5m or 1h30m, from {say_duration(low)} to {say_duration(high)}"
        if value.plain and _NUMBER.fullmatch(value.text):
            raise Unfit(expected, f"{quote(value.text)} without a unit")
        parts = re.findall(r"([\d.]+)(ms|[dhms])", value.text) if _DURATION.fullmatch(value.text) else []
        order = [list(_UNITS).index(unit) for _, unit in parts]
        if not parts or order != sorted(set(order)):
            raise Unfit(expected)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if not low <= seconds <= high:
            raise Unfit(expected)
        return seconds

    return check


def size(low: int, high: int) -> Check:
    """Take a size in bytes, in units of 1,024 as systemd has them; a bare number is refused."""

    def check(value: Scalar, _: Where) -> int:
        expected = f"a size such as 200M or 1G, from {_say_size(low)} to {_say_size(high)}"
        if value.plain and _NUMBER.fullmatch(value.text):
            raise Unfit(expected, f"{quote(value.text)} without a unit")
        match = _SIZE.fullmatch(value.text)
        if not match or not low <= (size := int(float(match[1]) * _SIZES[match[2]])) <= high:
            raise Unfit(expected)
        return size

    return check


def phone(value: Scalar, _: Where) -> str:
    """Take a phone number and return its digits."""
    expected = 'a number with + and country code in quotes, such as "+15550100"'
    if value.plain and value.type == "a number":
        raise Unfit(expected, "one without quotes: YAML takes it for a sum and drops the +")
    if value.type != "text":
        raise Unfit(expected, value.type)
    try:
        return phones.parse(value.text)
    except phones.NotANumber as error:
        raise Unfit(expected, error.found) from None


def proxy(value: Scalar, _: Where) -> str:
    """Take a proxy's URL."""
    if value.type != "text":
        raise Unfit(EXPECTED, value.type)
    try:
        parse(value.text)
    except UrlError as error:
        raise Unfit(EXPECTED, error.found) from None
    scheme, separator, rest = value.text.partition("://")
    return f"{scheme.lower()}{separator}{rest}"


def folder(value: Scalar, where: Where) -> Path:
    """Take a path and return it absolute and expanded."""
    expected = "the path of a folder"
    _need_text(value, expected)
    try:
        return expand(value.text, base=where.base, environ=where.environ)
    except ValueError as error:
        raise Unfit(expected, str(error), free=True) from None


def state_folder(value: Scalar, where: Where) -> Path:
    """Take a path under which session files can be kept."""
    path = folder(value, where)
    try:
        check_state_path(path)
    except ValueError as error:
        raise Unfit("the path of a folder", str(error), free=True) from None
    return path


def optional(check: Check) -> Check:
    """Take nothing (null) as well."""

    def checked(value: Scalar, where: Where) -> object:
        if value.type == "nothing":
            return None
        try:
            return check(value, where)
        except Unfit as unfit:
            raise Unfit(f"{unfit.expected}, or null", unfit.found, free=unfit.free) from None

    return checked


def _need_text(value: Scalar, expected: str) -> None:
    if value.type != "text":
        hint = (
            f", which YAML takes for {value.type}: put it in quotes" if value.plain and value.text else None
        )
        raise Unfit(expected, f"{quote(value.text)}{hint}" if hint else None)


def _quoted(value: Scalar) -> str | None:
    return f"{quote(value.text)} in quotes" if value.type == "text" and not value.plain else None


# Words for messages


def single(node: Node) -> Scalar:
    """Return a value as a single one; a list or a mapping becomes one that every check refuses."""
    if isinstance(node, Scalar):
        return node
    return Scalar(
        node.line, node.column, node.start, node.end, node.last_line, text="", type=kind(node), plain=False
    )


def explain(unfit: Unfit, node: Node) -> str:
    """Say what was expected and what was found."""
    return f"expected {unfit.expected}, found {unfit.found or _found(node)}"


def strange(unfit: Unfit, node: Node) -> int | None:
    """Return where the first character is that may be what is wrong with a value; None if there is none.

    Of what may be a password, only what cannot be seen is ever named.
    """
    if not isinstance(node, Scalar):
        return None
    if unfit.free or "@" in node.text:
        return characters.find_unseen(node.text)
    return characters.find_strange(node.text)


def _found(node: Node) -> str:
    if not isinstance(node, Scalar) or node.type == "nothing":
        return kind(node)
    return quote(node.text)


def kind(node: Node) -> str:
    """Say what sort of thing a value is, without quoting it."""
    if isinstance(node, Scalar):
        return "a text" if node.type == "text" else node.type
    return "a list" if isinstance(node, Sequence) else "a mapping"


def quote(text: str) -> str:
    """Quote what was found, unless it looks like a URL with a password; long numbers may be phones."""
    if "@" in text or "://" in text:
        return "a text that is not shown, because it may hold a password"
    return shorten(_LONG_NUMBER.sub("…", text))


def segment(key: str) -> str:
    """Return a key as a part of a path of keys."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", key) and not _LONG_NUMBER.fullmatch(key):
        return key
    return quote(key)


def _size_of(text: str) -> str:
    if not text.strip():
        return "an empty one"
    return "one with line breaks or control characters" if not text.isprintable() else f"one of {len(text)}"


def say_duration(seconds: float) -> str:
    """Write seconds as a duration."""
    if not seconds:
        return "0s"
    unit, length = next(
        (unit, length) for unit, length in _UNITS.items() if seconds >= length or unit == "ms"
    )
    return f"{seconds / length:.6g}{unit}"


def _say_size(size: int) -> str:
    unit, length = next((unit, length) for unit, length in reversed(_SIZES.items()) if size >= length)
    return f"{size // length}{unit}"
