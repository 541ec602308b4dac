"""The types of the configuration's values: durations, sizes, proxies, phone numbers, and so on.

A type reads a value from a node of the YAML tree, writes a value as the file has it, and describes itself for
people and for editors. A message describes what may be a password or a phone number, and does not quote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from orchestrator.accounts import bounds, characters, phones
from orchestrator.accounts import proxy as proxies
from orchestrator.accounts.moments import say_time
from orchestrator.accounts.names import shorten
from orchestrator.config import secret_file
from orchestrator.config.locate import check_state_path, expand
from orchestrator.config.yaml_tree import Node, Scalar, Sequence

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

T = TypeVar("T")

DAY = 86_400.0
_UNITS = {"d": DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[dhms]))+", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z| ?[+-]\d{2}:\d{2})", re.ASCII)
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([KMGT])", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_ADDRESS = re.compile(r"[0-9][0-9-]{4,39}@(?:g\.us|lid)", re.ASCII)
_LONG_NUMBER = re.compile(r"\+?\d(?:[ ()./-]*\d){6,}", re.ASCII)

MOST_ALLOWED = 10_000
"""Numbers and addresses whose messages an account keeps."""


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
    """What a type may need to know besides the value: what paths start from, and the environment."""

    base: Path
    environ: Mapping[str, str]


class Type(Generic[T]):
    """What a key's value must be. Stands in the `Annotated` of the key's field.

    Attributes:
        json: The part of a JSON Schema that says the same to an editor, as far as it can.
    """

    json: ClassVar[Mapping[str, Any]] = {"type": "string"}

    @property
    def is_number(self) -> bool:
        """Whether a value stands in the file as a number."""
        return self.schema().get("type") in ("integer", "number")

    @property
    def expected(self) -> str:
        """What is expected, for people: "a whole number from 1 to 3"."""
        raise NotImplementedError

    def read(self, value: Scalar, where: Where) -> T:
        """Return what a value says.

        Raises:
            Unfit: The value is not of this type.
        """
        raise NotImplementedError

    def check(self, node: Node | Mapping[str, Any], where: Where) -> T:
        """Return what a node of the tree says.

        Raises:
            Unfit: The node is not of this type.
        """
        return self.read(single(node), where)

    def write(self, value: T) -> str:
        """Return a value as it stands in the file."""
        return str(value)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the type."""
        return dict(self.json)

    # pydantic asks every object in an `Annotated` for these two.

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # only where models are made

        def check(value: Any, info: ValidationInfo) -> T:  # noqa: ANN401 - a node of the tree
            where = info.context
            assert isinstance(where, Where)
            return self.check(value, where)

        return core_schema.with_info_plain_validator_function(check)

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.schema()


@dataclass(frozen=True, slots=True)
class Text(Type[str]):
    """A text of at most so many characters."""

    longest: int
    what: str = "a text"

    @property
    def expected(self) -> str:
        return f"{self.what} of 1 to {self.longest} characters on one line"

    def read(self, value: Scalar, where: Where) -> str:
        del where
        _need_text(value, self.what)
        if not value.text.strip() or len(value.text) > self.longest or not value.text.isprintable():
            raise Unfit(self.expected, _size_of(value.text), free=True)
        return value.text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class Word(Type[str]):
    """One of a few words. YAML takes ``off`` for false, and Helm writes that in the word's place."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"{', '.join(self.words[:-1])} or {self.words[-1]}"

    def read(self, value: Scalar, where: Where) -> str:
        del where
        word = value.text if value.text in self.words else value.switch
        if word not in self.words:
            raise Unfit(self.expected, _quoted(value))
        return word

    def schema(self) -> dict[str, Any]:
        # What reads the file for an editor may take `on` for true, as YAML 1.1 does.
        flags = [word == "on" for word in self.words if word in ("on", "off")]
        return {"enum": [*self.words, *flags]} if flags else {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Boolean(Type[bool]):
    """What YAML takes for true or false."""

    json: ClassVar[Mapping[str, Any]] = {"type": "boolean"}

    @property
    def expected(self) -> str:
        return "true or false"

    def read(self, value: Scalar, where: Where) -> bool:
        del where
        if value.type != "true/false":
            raise Unfit(self.expected, _quoted(value))
        return value.switch == "on"

    def write(self, value: bool) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Integer(Type[int]):
    """A whole number in a range. YAML's octal, hexadecimal and base-60 numbers are refused."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}"

    def read(self, value: Scalar, where: Where) -> int:
        del where
        if not value.plain or not _INTEGER.fullmatch(value.text):
            raise Unfit(self.expected, _quoted(value))
        if not self.low <= (number := int(value.text)) <= self.high:
            raise Unfit(self.expected)
        return number

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Number(Type[float]):
    """A number in a range."""

    low: float
    high: float

    @property
    def expected(self) -> str:
        return f"a number from {self.low:,g} to {self.high:,g}"

    def read(self, value: Scalar, where: Where) -> float:
        del where
        if not value.plain or not _NUMBER.fullmatch(value.text):
            raise Unfit(self.expected, _quoted(value))
        if not self.low <= (number := float(value.text)) <= self.high:
            raise Unfit(self.expected)
        return number

    def write(self, value: float) -> str:
        return f"{value:g}"

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Duration(Type[float]):
    """A duration. A bare number is refused, because nobody can see its unit (nor that of a bare 0)."""

    low: float
    high: float

    @property
    def expected(self) -> str:
        return (
            f"a duration such as 3s, 5m or 1h30m, from {say_duration(self.low)} to {say_duration(self.high)}"
        )

    def read(self, value: Scalar, where: Where) -> float:
        del where
        if value.plain and _NUMBER.fullmatch(value.text):
            raise Unfit(self.expected, f"{quote(value.text)} without a unit")
        parts = re.findall(r"([\d.]+)(ms|[dhms])", value.text) if _DURATION.fullmatch(value.text) else []
        order = [list(_UNITS).index(unit) for _, unit in parts]
        if not parts or order != sorted(set(order)):
            raise Unfit(self.expected)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if not self.low <= seconds <= self.high:
            raise Unfit(self.expected)
        return seconds

    def write(self, value: float) -> str:
        return say_duration(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|[dhms]))+$"}


@dataclass(frozen=True, slots=True)
class Time(Type[float]):
    """A moment: a date and a time of day with the offset from UTC. Its value is Unix seconds."""

    @property
    def expected(self) -> str:
        return 'a time with its offset from UTC, such as "2026-12-24 08:00 +01:00"'

    def read(self, value: Scalar, where: Where) -> float:
        del where
        if value.type not in ("text", "a date"):
            raise Unfit(self.expected)
        if not _TIME.fullmatch(value.text):
            missing = _TIME.fullmatch(f"{value.text}Z")
            raise Unfit(self.expected, "a time without its offset" if missing else "another text")
        try:
            at = datetime.fromisoformat(value.text.replace(" +", "+").replace(" -", "-")).timestamp()
        except (ValueError, OverflowError):
            raise Unfit(self.expected, "a day or a time of day that there is not") from None
        if not 0 <= at <= bounds.LATEST:  # near the ends of the calendar, no other time zone can write it
            raise Unfit(self.expected, "a time before 1970 or after 2242")
        return at

    def write(self, value: float) -> str:
        return f'"{say_time(value)}"'

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_TIME.pattern}$"}


@dataclass(frozen=True, slots=True)
class Size(Type[int]):
    """A size in bytes, in units of 1,024 as systemd has them. A bare number is refused."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        return f"a size such as 200M or 1G, from {say_size(self.low)} to {say_size(self.high)}"

    def read(self, value: Scalar, where: Where) -> int:
        del where
        if value.plain and _NUMBER.fullmatch(value.text):
            raise Unfit(self.expected, f"{quote(value.text)} without a unit")
        match = _SIZE.fullmatch(value.text)
        if not match or not self.low <= (size := int(float(match[1]) * _SIZES[match[2]])) <= self.high:
            raise Unfit(self.expected)
        return size

    def write(self, value: int) -> str:
        return say_size(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\d+(\.\d+)?[KMGT]$"}


@dataclass(frozen=True, slots=True)
class Phone(Type[str]):
    """A phone number; its value is the digits."""

    @property
    def expected(self) -> str:
        return 'a number with + and country code in quotes, such as "+15550100"'

    def read(self, value: Scalar, where: Where) -> str:
        del where
        if value.plain and value.type == "a number":
            raise Unfit(self.expected, "one without quotes: YAML takes it for a sum and drops the +")
        if value.type != "text":
            raise Unfit(self.expected, value.type)
        try:
            return phones.parse(value.text)
        except phones.NotANumber as error:
            raise Unfit(self.expected, error.found) from None

    def write(self, value: str) -> str:
        return f'"+{value}"'

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\+"}


@dataclass(frozen=True, slots=True)
class Allowed(Type[tuple[str, ...]]):
    """Whose messages are kept: one of `_one`'s, or a list of such. The value of a number is its digits."""

    @property
    def expected(self) -> str:
        return '"*", a number such as "+15550100", the address of a group, or a list of these'

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[str, ...]:
        """See `Type.check`; here, the value may be a list."""
        if not isinstance(node, Sequence):
            return (self._one(single(node), where),)
        if len(node.items) > MOST_ALLOWED:
            raise Unfit(f"at most {MOST_ALLOWED:,} numbers and addresses", f"{len(node.items):,}")
        return tuple(dict.fromkeys(self._one(single(item), where) for item in node.items))

    def read(self, value: Scalar, where: Where) -> tuple[str, ...]:
        return (self._one(value, where),)

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(map(self._written, value))}]"

    def schema(self) -> dict[str, Any]:
        one = {"type": "string", "pattern": r"^(\*|\+.*|[0-9-]{5,40}@(g\.us|lid))$"}
        return {"anyOf": [one, {"type": "array", "items": one, "maxItems": MOST_ALLOWED}]}

    def _one(self, value: Scalar, where: Where) -> str:
        if value.type == "text" and (value.text == "*" or _ADDRESS.fullmatch(value.text)):
            return value.text
        if value.type == "text" and "@" in value.text:
            known = "the address of a group, which ends in @g.us, or of a person, which ends in @lid"
            raise Unfit(known, "an address of another form")
        try:
            return Phone().read(value, where)
        except Unfit as unfit:
            raise Unfit(self.expected, unfit.found) from None

    def _written(self, one: str) -> str:
        return f'"{one}"' if one == "*" or "@" in one else f'"+{one}"'


@dataclass(frozen=True, slots=True)
class Proxy(Type[str]):
    """A proxy's URL."""

    @property
    def expected(self) -> str:
        return proxies.EXPECTED

    def read(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text":
            raise Unfit(self.expected, value.type)
        return self.check_url(value.text)

    def check_url(self, url: str) -> str:
        """Return a URL as the rest of the service uses it.

        Raises:
            Unfit: No such proxy can be used.
        """
        try:
            proxies.parse(url)
        except proxies.UrlError as error:
            raise Unfit(self.expected, error.found) from None
        scheme, separator, rest = url.partition("://")
        return f"{scheme.lower()}{separator}{rest}"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^([Hh][Tt][Tt][Pp][Ss]?|[Ss][Oo][Cc][Kk][Ss]5)://.+:\d+/?$"}


@dataclass(frozen=True, slots=True)
class Folder(Type[Path]):
    """The path of a folder; its value is absolute and expanded."""

    @property
    def expected(self) -> str:
        return "the path of a folder"

    def read(self, value: Scalar, where: Where) -> Path:
        _need_text(value, self.expected)
        try:
            return expand(value.text, base=where.base, environ=where.environ)
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None


@dataclass(frozen=True, slots=True)
class ProxyFile(Type[str]):
    """The path of a file with a proxy's URL; its value is the URL."""

    @property
    def expected(self) -> str:
        return "the path of a file with the proxy's URL"

    def read(self, value: Scalar, where: Where) -> str:
        _need_text(value, self.expected)
        try:
            path = expand(value.text, base=where.base, environ=where.environ)
            url = secret_file.read_line(path)
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None
        try:
            return Proxy().check_url(url)
        except Unfit as unfit:
            raise Unfit(f"{unfit.expected}, in {path}", unfit.found, free=True) from None


@dataclass(frozen=True, slots=True)
class StateFolder(Folder):
    """The path of a folder under which session files can be kept."""

    def read(self, value: Scalar, where: Where) -> Path:
        path = Folder.read(self, value, where)
        try:
            check_state_path(path)
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None
        return path


@dataclass(frozen=True, slots=True)
class OrNull(Type[Any]):
    """Another type, or nothing."""

    of: Type[Any]

    @property
    def expected(self) -> str:
        return f"{self.of.expected}, or null"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> Any:  # noqa: ANN401 - as in `read`
        """See `Type.check`; the other type may be one of lists."""
        if isinstance(node, Scalar) and node.type == "nothing":
            return None
        try:
            return self.of.check(node, where)
        except Unfit as unfit:
            raise Unfit(f"{unfit.expected}, or null", unfit.found, free=unfit.free) from None

    def read(self, value: Scalar, where: Where) -> Any:  # noqa: ANN401 - what the other type reads
        return self.check(value, where)

    def write(self, value: object) -> str:
        return "null" if value is None else self.of.write(value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.of.schema(), {"type": "null"}]}


STATE_DIR = OrNull(StateFolder())
"""The type of `state_dir:`. Commands read that key alone, without the model of the whole file."""


def _need_text(value: Scalar, expected: str) -> None:
    if value.type != "text":
        hint = (
            f", which YAML takes for {value.type}: put it in quotes" if value.plain and value.text else None
        )
        raise Unfit(expected, f"{quote(value.text)}{hint}" if hint else None)


def _quoted(value: Scalar) -> str | None:
    return f"{quote(value.text)} in quotes" if value.type == "text" and not value.plain else None


# Words for messages


def single(node: Node | Mapping[str, Any]) -> Scalar:
    """Return a value as a single one; a list or a mapping becomes one that every type refuses."""
    if isinstance(node, Scalar):
        return node
    return Scalar(0, 0, 0, 0, 0, text="", type=kind(node), plain=False)


def explain(unfit: Unfit, node: Node | None) -> str:
    """Say what was expected and what was found."""
    return f"expected {unfit.expected}, found {unfit.found or (_found(node) if node else 'nothing')}"


def strange(unfit: Unfit, node: Node | Mapping[str, Any] | None) -> int | None:
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


def kind(node: Node | Mapping[str, Any]) -> str:
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


def say_size(size: int) -> str:
    """Write bytes as a size."""
    unit, length = next((unit, length) for unit, length in reversed(_SIZES.items()) if size >= length)
    return f"{size / length:.6g}{unit}"
