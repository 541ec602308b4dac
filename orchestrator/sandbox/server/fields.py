"""What is asked of the control interface, value by value, and what is wrong with it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.accounts import characters, phones


class NotPossible(Exception):  # noqa: N818 - it is an answer
    """What was asked for cannot be done now; the message says why and what would do."""


def parse_number(text: str) -> str:
    """Return the digits of a phone number written as +4915… or 4915….

    Raises:
        NotPossible: It is no phone number.
    """
    try:
        return phones.parse(text if "+" in text else f"+{text}")
    except phones.NotANumber:
        raise NotPossible(
            f"{text!r} is no phone number{characters.remark(text)}: write it with its country code,"
            " such as +4915100001"
        ) from None


class Bad(Exception):  # noqa: N818 - it is an answer
    """A request that makes no sense as it stands; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """Reads one value of a request's JSON object."""

    body: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Bad(f"{name!r} must be given, as text")
        return _text(name, value)

    def optional(self, name: str) -> str | None:
        """Return a text that may be left out."""
        return self.text(name) if self.body.get(name) is not None else None

    def number(self, name: str) -> str:
        """Return the digits of a phone number that must be there."""
        try:
            return parse_number(self.text(name))
        except NotPossible as error:
            raise Bad(str(error)) from None

    def whole(self, name: str) -> int | None:
        """Return a whole number that may be left out."""
        value = self.body.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Bad(f"{name!r} must be a whole number")
        return value

    def data(self, name: str) -> bytes:
        """Return bytes, which are given in base64."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except ValueError:
            raise Bad(f"{name!r} must be base64") from None

    def words(self, name: str) -> str:
        """Return a text that may be left out, and may be empty."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise Bad(f"{name!r} must be text")
        return _text(name, value or "")

    def flag(self, name: str) -> bool:
        """Return true or false; false if it is left out."""
        value = self.body.get(name)
        if value is not None and not isinstance(value, bool):
            raise Bad(f"{name!r} must be true or false")
        return bool(value)

    def count(self, name: str, default: int = 0, *, high: int = 2**32 - 1) -> int:
        """Return a whole number that is not negative and not too high."""
        value = self.whole(name)
        if value is None:
            return default
        if not 0 <= value <= high:
            raise Bad(f"{name!r} must be from 0 to {high}")
        return value

    def real(self, name: str, *, low: float, high: float, default: float | None = None) -> float:
        """Return a number between bounds."""
        value = self.body.get(name, default)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise Bad(f"{name!r} must be a number from {low:g} to {high:g}")
        return float(value)

    def items(self, name: str) -> list[Field]:
        """Return a list of objects."""
        value = self.body.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Bad(f"{name!r} must be a list of objects")
        return [Field(item) for item in value]

    def asked(self, name: str) -> int:
        """Return a whole number of a request's query; 0 if it is left out."""
        text = self.body.get(name, "0")
        if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,15}", text):
            raise Bad(f"{name!r} must be a whole number")
        return int(text)

    def only(self, what: str, names: Iterable[str]) -> None:
        """Refuse values that nobody reads."""
        unknown = sorted(set(self.body) - set(names))
        if unknown:
            raise Bad(f"{what} does not take {', '.join(unknown)}; it takes {', '.join(sorted(names))}")

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self.body.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Bad(f"{name!r} must be a list of texts")
        return [_text(name, item) for item in value]


def _text(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Bad(f"{name!r} is no text: JSON's escapes in it make half a character") from None
    return value
