"""What a field of a message may hold, declared beside the field: range, length and alphabet. Pure.

A field's type is ``Annotated[TYPE, RULE]``, or ``… | None``. `Field` reads and writes it. bool and
enumerations of strings need no rule: their type says all. Every other type needs one.

The errors of a rule never quote what was said.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from enum import StrEnum
from typing import (
    Annotated,
    Any,
    Final,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from orchestrator.accounts import characters

LATEST: Final = 2**33
"""The latest time, in Unix seconds: in the year 2242."""


class BoundsError(ValueError):
    """A value is not what its field may hold; the text says which rule it breaks."""


class Rule(Protocol):
    """Says what values of a type a field may hold."""

    def check(self, value: Any) -> Any:  # noqa: ANN401 - of the type that the rule stands beside
        """Return the value in its usual form.

        Raises:
            BoundsError: The field may not hold it.
        """

    def fit(self, value: Any) -> Any:  # noqa: ANN401
        """Return what an honest sender writes instead of a value that others have worded or counted."""


class Range(NamedTuple):
    """A number from `least` to `most`; neither infinite nor "not a number".

    Attributes:
        least: The least that is allowed.
        most: The most that is allowed.
        fits: Write the nearest number that is allowed in place of one that is not: others have counted it.
    """

    least: int
    most: int
    fits: bool = False

    def check(self, value: float) -> float:
        """Return the number; a zero has no sign.

        Raises:
            BoundsError: It is out of range.
        """
        if not self.least <= value <= self.most:  # which holds for no comparison with "not a number"
            raise BoundsError("out of range")
        return value + 0

    def fit(self, value: float) -> float:
        """Return the nearest number that is allowed, if this field fits."""
        return min(max(value, self.least), self.most) if self.fits else value


class Form(NamedTuple):
    """A text of a certain form, all of it.

    Attributes:
        pattern: The form; it bounds the length.
    """

    pattern: re.Pattern[str]

    def check(self, value: str) -> str:
        """Return the text.

        Raises:
            BoundsError: It has another form.
        """
        if not self.pattern.fullmatch(value):
            raise BoundsError("of another form")
        return value

    def fit(self, value: str) -> str:
        """Return the text as it is: whoever sends another form has a bug."""
        return value


class Sentence(NamedTuple):
    """A line for people: printable, and not longer than `longest`. An honest sender's is made to fit."""

    longest: int

    def check(self, value: str) -> str:
        """Return the text.

        Raises:
            BoundsError: It is too long, or has characters that nobody may see.
        """
        if len(value) > self.longest:
            raise BoundsError("too long")
        if not value.isprintable():
            raise BoundsError("with characters that are not printable")
        return value

    def fit(self, value: str) -> str:
        """Return the text as one line, cut if it is too long."""
        return characters.one_line(value, self.longest)


class Words(NamedTuple):
    """What people write to each other: any characters that UTF-8 has, and not more than `longest`."""

    longest: int

    def check(self, value: str) -> str:
        """Return the text.

        Raises:
            BoundsError: It is too long, or has half of a surrogate pair.
        """
        if len(value) > self.longest:
            raise BoundsError("too long")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BoundsError("no valid Unicode") from None
        return value

    def fit(self, value: str) -> str:
        """Return the text as it is: nobody's message is changed on its way."""
        return value


class Bulk(NamedTuple):
    """A long text of our own making, which takes at most `longest` bytes in the ASCII of a message."""

    longest: int

    def check(self, value: str) -> str:
        """Return the text.

        Raises:
            BoundsError: It is too long, or has half of a surrogate pair.
        """
        Words(self.longest).check(value)
        if len(json.dumps(value)) > self.longest:
            raise BoundsError("too long")
        return value

    def fit(self, value: str) -> str:
        """Return the text as it is: half of it would mean nothing."""
        return value


class Data(NamedTuple):
    """Bytes, at most `longest`, of which `is_right` says whether they are what they should be."""

    longest: int
    is_right: Callable[[bytes], bool]

    def check(self, value: bytes) -> bytes:
        """Return the bytes.

        Raises:
            BoundsError: They are too many, or something else.
        """
        if len(value) > self.longest:
            raise BoundsError("too long")
        if not self.is_right(value):
            raise BoundsError("of another form")
        return value

    def fit(self, value: bytes) -> bytes:
        """Return the bytes as they are."""
        return value


_NEED_A_RULE: Final = (int, float, str, bytes)
E = TypeVar("E", bound=StrEnum)


class Field:
    """Reads and writes a field of a message.

    Args:
        hint: Its declared type.

    Raises:
        TypeError: The type does not say what the field may hold.
    """

    def __init__(self, hint: Any) -> None:  # noqa: ANN401 - any declared type
        self._optional = False
        if get_origin(hint) is not Annotated and type(None) in get_args(hint):
            (hint,) = (one for one in get_args(hint) if one is not type(None))
            self._optional = True
        self._type: type[Any] = hint
        self._rule: Rule | None = None
        if get_origin(hint) is Annotated:
            self._type, self._rule = get_args(hint)
        is_plain = self._type is bool or (isinstance(self._type, type) and issubclass(self._type, StrEnum))
        if (self._rule is None) != is_plain or not (is_plain or self._type in _NEED_A_RULE):
            raise TypeError(f"{hint} does not say what it may hold: declare it by Annotated, with one rule")

    def read(self, value: object) -> Any:  # noqa: ANN401 - of the field's type
        """Return the field's value from what JSON holds.

        Raises:
            BoundsError: The field may not hold that.
        """
        if value is None and self._optional:
            return None
        if self._type is float and type(value) is int:
            value = float(value)
        elif self._type is bytes and type(value) is str:
            value = _decode(value)
        elif type(value) is str and issubclass(self._type, StrEnum):
            value = _member(self._type, value)
        if type(value) is not self._type:  # a bool is no number here
            raise BoundsError("of another type")
        return value if self._rule is None else self._rule.check(value)

    def write(self, value: Any) -> Any:  # noqa: ANN401
        """Return what JSON is to hold, made to fit where the rule does that.

        Raises:
            BoundsError: The field may not hold the value.
        """
        if value is not None and self._rule is not None:
            value = self._rule.fit(value)
        value = self.read(_encode(value) if type(value) is bytes else value)
        return _encode(value) if type(value) is bytes else value


def fields_of(kind: type[Any]) -> tuple[dict[str, Field], frozenset[str]]:
    """Return the fields of a dataclass, and the names of those that must be there.

    Raises:
        TypeError: A field's type does not say what it may hold.
    """
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, Field] = {}
    for one in fields(kind):
        try:
            found[one.name] = Field(hints[one.name])
        except TypeError as error:
            raise TypeError(f"{kind.__name__}.{one.name}: {error}") from None
    return found, frozenset(one.name for one in fields(kind) if one.default is MISSING)


# JSON

MOST_DIGITS: Final = 17
"""Of a whole number in JSON. More are never needed, and Python takes seconds for some thousands of them."""
_LONGEST_FLOAT: Final = 40


def whole_number(text: str) -> int:
    """Return the number that digits in JSON stand for.

    Raises:
        BoundsError: There are too many digits.
    """
    if len(text) > MOST_DIGITS + 1:
        raise BoundsError("a number with too many digits")
    return int(text)


def fraction(text: str) -> float:
    """Return the number that JSON has with a point or an exponent; it may be infinite.

    Raises:
        BoundsError: There are too many digits.
    """
    if len(text) > _LONGEST_FLOAT:
        raise BoundsError("a number with too many digits")
    return float(text)


def no_constant(_name: str) -> NoReturn:
    """Refuse ``NaN``, ``Infinity`` and ``-Infinity``, which Python reads and JSON does not have."""
    raise BoundsError("a number that is none")


def flat_object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of plain values.

    Raises:
        BoundsError: A name is there twice, or a value has parts of its own.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BoundsError("a name that is there twice")
        if isinstance(value, (dict, list)):
            raise BoundsError("a value with parts")
        found[key] = value
    return found


def _member(kind: type[E], value: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise BoundsError("of no known kind") from None


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BoundsError("no base64") from None
