"""The types of the values of `http:`, `webhooks:` and `bots:`. See `types`.

No message quotes a URL, a header, a secret or the value of a variable.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from orchestrator.accounts.names import NAME_RULE, is_name
from orchestrator.config import secret_file
from orchestrator.config.locate import expand
from orchestrator.config.types import Folder, Type, Unfit, Where, kind, quote, single
from orchestrator.config.yaml_tree import Node, Scalar, Sequence
from orchestrator.consumers.event_types import is_pattern
from orchestrator.consumers.settings import Listen, Systemd, Tcp, Unix
from orchestrator.store.layout import MAX_SOCKET_PATH

T = TypeVar("T")

MOST_LISTENERS = 16
MOST_NAMES = 10_000
"""Accounts of a consumer."""
MOST_HEADERS = 32
MOST_VARIABLES = 64
MOST_PORTS = 64
MOST_NETWORKS = 256
LONGEST_URL = 2_000
LONGEST_HEADER = 4_096
LEAST_KEY, MOST_KEY = 24, 64
"""Bytes of a secret that signs, by the specification Standard Webhooks."""
MOST_SECRETS = 2
"""Secrets of a webhook: the present one, and the one before while it is changed."""
MAKE_SECRET = 'make one by `(umask 077; echo "whsec_$(openssl rand -base64 32)" > FILE)`'

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.ASCII)
_URL = re.compile(r"[!-~]+", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_OURS = re.compile(
    r"webhook-.*|x-hub-signature.*|x-orchestrator-.*|content-.*|transfer-encoding|host|connection|te"
)
_OURS_TOO = frozenset({"upgrade", "expect", "keep-alive", "trailer", "proxy-connection", "accept-encoding"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_NOT_FOR_BOTS = re.compile(
    r"(?:PYTHON|LD_|GLIBC_|MALLOC_|ORCHESTRATOR_|LISTEN_|SYSTEMD_).*|PATH|HOME|IFS|NOTIFY_SOCKET|WATCHDOG_.*"
)
_APP = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


class Many(Type[tuple[T, ...]]):
    """One value of a kind, or a list of such; each counts once.

    Attributes:
        most: How many there may be.
        least: How many there must be.
    """

    most: ClassVar[int]
    least: ClassVar[int] = 0

    def one(self, value: Scalar, where: Where) -> T:
        """Return what one of the values says.

        Raises:
            Unfit: It is not of this type.
        """
        raise NotImplementedError

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[T, ...]:
        """See `Type.check`; here, the value may be a list."""
        nodes = node.items if isinstance(node, Sequence) else [node]
        if len(nodes) > self.most:
            raise Unfit(f"at most {self.most:,} of them", f"{len(nodes):,}")
        if len(nodes) < self.least:
            raise Unfit(self.expected, "an empty list")
        found: list[T] = []
        for item in nodes:
            value = single(item)
            try:
                found.append(self.one(value, where))
            except Unfit as unfit:
                what = quote(value.text) if value.text and value.type != "nothing" else kind(item)
                raise Unfit(unfit.expected, unfit.found or what, free=unfit.free) from None
        return tuple(dict.fromkeys(found))

    def read(self, value: Scalar, where: Where) -> tuple[T, ...]:
        return (self.one(value, where),)

    def write(self, value: tuple[T, ...]) -> str:
        written = [self.write_one(one) for one in value]
        return f"[{', '.join(written)}]"

    def write_one(self, value: T) -> str:
        """Return one of the values as it stands in the file."""
        return str(value)

    def schema(self) -> dict[str, Any]:
        one = self.schema_of_one()
        return {
            "anyOf": [one, {"type": "array", "items": one, "minItems": self.least, "maxItems": self.most}]
        }

    def schema_of_one(self) -> dict[str, Any]:
        """Return the JSON Schema of one of the values."""
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Listens(Many[Listen]):
    """Where the server listens."""

    most: ClassVar[int] = MOST_LISTENERS
    least: ClassVar[int] = 1

    @property
    def expected(self) -> str:
        return (
            '"ADDRESS:PORT" such as "127.0.0.1:8080" or "[::1]:8080", unix:PATH, systemd, or a list of these'
        )

    def one(self, value: Scalar, where: Where) -> Listen:
        if value.type != "text":
            raise Unfit(self.expected)
        if value.text == "systemd":
            return Systemd()
        if value.text.startswith("unix:"):
            return self._unix(value.text.removeprefix("unix:"), where)
        try:
            return Tcp.parse(value.text)
        except ValueError as error:
            raise Unfit(self.expected, f"{quote(value.text)}{error}" if str(error) else None) from None

    def write(self, value: tuple[Listen, ...]) -> str:
        return str(value[0]) if len(value) == 1 else Many.write(self, value)

    def write_one(self, value: Listen) -> str:
        return f'"{value}"'

    def _unix(self, text: str, where: Where) -> Unix:
        try:
            path = expand(text, base=where.base, environ=where.environ)
        except ValueError as error:
            raise Unfit("unix:PATH", str(error), free=True) from None
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise Unfit(f"unix:PATH with a path of at most {MAX_SOCKET_PATH} bytes", "a longer one")
        return Unix(path)


@dataclass(frozen=True, slots=True)
class PublicUrl(Type[str]):
    """The URL by which clients reach the server."""

    @property
    def expected(self) -> str:
        return "a URL of http:// or https:// without user, query and fragment"

    def read(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text":
            raise Unfit(self.expected, value.type)
        parts = _split(value.text, self.expected)
        if "@" in parts.netloc or parts.query or parts.fragment or value.text.endswith(("?", "#")):
            raise Unfit(self.expected, "one with more than that")
        path = parts.path.rstrip("/")
        return f"{parts.scheme}://{parts.netloc.lower()}{path}"

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^@?#]+$"}


@dataclass(frozen=True, slots=True)
class Hosts(Many[str]):
    """Names of hosts."""

    most: ClassVar[int] = MOST_NETWORKS

    @property
    def expected(self) -> str:
        return "the name of a host without a port, or a list of such"

    def one(self, value: Scalar, where: Where) -> str:
        del where
        name = value.text.lower()
        if value.type != "text" or not _HOST.fullmatch(name):
            raise Unfit(self.expected)
        return name


@dataclass(frozen=True, slots=True)
class Networks(Many[str]):
    """Addresses and networks."""

    most: ClassVar[int] = MOST_NETWORKS

    @property
    def expected(self) -> str:
        return "an address such as 127.0.0.1, a network such as 10.0.0.0/8, or a list of these"

    def one(self, value: Scalar, where: Where) -> str:
        del where
        try:
            network = ipaddress.ip_network(value.text)
        except ValueError:
            raise Unfit(self.expected) from None
        return str(network)


@dataclass(frozen=True, slots=True)
class Ports(Many[int]):
    """Ports of TCP."""

    most: ClassVar[int] = MOST_PORTS
    least: ClassVar[int] = 1

    @property
    def expected(self) -> str:
        return "a port from 1 to 65535, or a list of these"

    def one(self, value: Scalar, where: Where) -> int:
        del where
        if not re.fullmatch(r"[1-9][0-9]{0,4}", value.text, re.ASCII) or int(value.text) > 65_535:
            raise Unfit(self.expected)
        return int(value.text)

    def schema_of_one(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 1, "maximum": 65_535}


@dataclass(frozen=True, slots=True)
class Accounts(Type[frozenset[str]]):
    """The names of accounts. The reader checks that there are such accounts."""

    @property
    def expected(self) -> str:
        return "the name of an account, or a list of such"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> frozenset[str]:
        """See `Type.check`; here, the value may be a list."""
        return frozenset(_Names().check(node, where))

    def read(self, value: Scalar, where: Where) -> frozenset[str]:
        return frozenset(_Names().read(value, where))

    def write(self, value: frozenset[str]) -> str:
        return f"[{', '.join(sorted(value))}]"

    def schema(self) -> dict[str, Any]:
        return _Names().schema()


@dataclass(frozen=True, slots=True)
class _Names(Many[str]):
    most: ClassVar[int] = MOST_NAMES
    least: ClassVar[int] = 1

    @property
    def expected(self) -> str:
        return Accounts().expected

    def one(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text" or not is_name(value.text):
            raise Unfit(f"a name of {NAME_RULE}")
        return value.text


@dataclass(frozen=True, slots=True)
class Events(Many[str]):
    """Patterns of types of events."""

    most: ClassVar[int] = 64
    least: ClassVar[int] = 1

    @property
    def expected(self) -> str:
        return '"*", a type such as message.received, a group such as message.*, or a list of these'

    def one(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text" or not is_pattern(value.text):
            raise Unfit(self.expected)
        return value.text

    def write_one(self, value: str) -> str:
        return f'"{value}"' if value.startswith("*") else value


@dataclass(frozen=True, slots=True)
class WebhookUrl(Type[str | None]):
    """Where a webhook's events go."""

    @property
    def expected(self) -> str:
        return "a URL of http:// or https://"

    def read(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text":
            raise Unfit(self.expected, value.type)
        parts = _split(value.text, self.expected)
        if parts.fragment or value.text.endswith("#"):
            raise Unfit(self.expected, "one with a fragment (#)")
        return value.text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^#]+$"}


@dataclass(frozen=True, slots=True)
class Secret:
    """The keys that sign a webhook's requests, the present one first."""

    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment.

    Attributes:
        name: Its name.
        value: Its value, None if it is not set.
    """

    name: str
    value: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the variable as the configuration has it."""
        return self.name


def read_secrets(lines: list[str]) -> Secret:
    """Return the keys of secrets such as ``whsec_MfKQ9r8…``.

    Raises:
        ValueError: One has another form, or there are none or too many. The message has none of them.
    """
    if not 1 <= len(lines) <= MOST_SECRETS:
        raise ValueError(f"{len(lines)} secrets instead of one, or two while it is changed")
    return Secret(tuple(dict.fromkeys(_key(line.strip(), number) for number, line in enumerate(lines, 1))))


def _key(text: str, number: int) -> bytes:
    which = "" if number == 1 else f" {number}"
    encoded = text.removeprefix("whsec_")
    if encoded == text:
        raise ValueError(f"a secret{which} that does not begin with whsec_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a secret{which} that is not in base64 after whsec_") from None
    if not LEAST_KEY <= len(key) <= MOST_KEY:
        raise ValueError(f"a secret{which} of {len(key)} bytes instead of {LEAST_KEY} to {MOST_KEY}")
    return key


@dataclass(frozen=True, slots=True)
class SecretFile(Type[Secret]):
    """The path of a file with secrets; its value is what they are."""

    @property
    def expected(self) -> str:
        return "the path of a file with a secret such as whsec_…"

    def read(self, value: Scalar, where: Where) -> Secret:
        path = Folder().read(_as_path(value, self.expected), where)
        try:
            return read_secrets(secret_file.read_lines(path, most=MOST_SECRETS))
        except ValueError as error:
            at = "" if str(error).startswith(str(path)) else f"{path}, which has "
            raise Unfit(f"{self.expected} ({MAKE_SECRET})", f"{at}{error}", free=True) from None


@dataclass(frozen=True, slots=True)
class SecretVariable(Type[Variable]):
    """The name of a variable with secrets, separated by spaces."""

    @property
    def expected(self) -> str:
        return "the name of a variable with a secret such as whsec_…"

    def read(self, value: Scalar, where: Where) -> Variable:
        variable = _variable(value, self.expected, where)
        if variable.value is not None:
            try:
                read_secrets(variable.value.split())
            except ValueError as error:
                raise Unfit(self.expected, f"${variable.name}, which has {error}", free=True) from None
        return variable

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_VARIABLE.pattern}$"}


@dataclass(frozen=True, slots=True)
class AppSecretFile(Type[bytes]):
    """The path of a file with one line; its value is the line."""

    @property
    def expected(self) -> str:
        return "the path of a file with a key on one line"

    def read(self, value: Scalar, where: Where) -> bytes:
        path = Folder().read(_as_path(value, self.expected), where)
        try:
            return secret_file.read_line(path).encode()
        except ValueError as error:
            raise Unfit(self.expected, str(error), free=True) from None


@dataclass(frozen=True, slots=True)
class Headers(Type[tuple[tuple[str, str], ...]]):
    """Headers and their values."""

    @property
    def expected(self) -> str:
        return "a mapping of headers to texts"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[tuple[str, str], ...]:
        """See `Type.check`; here, the value is a mapping."""
        del where
        headers: dict[str, tuple[str, str]] = {}
        for name, value in _entries(node, self.expected, MOST_HEADERS):
            if not _HEADER.fullmatch(name):
                raise Unfit("names of headers", "another name among them")
            if _OURS.fullmatch(name.lower()) or name.lower() in _OURS_TOO:
                raise Unfit("headers that the service does not set itself", name)
            if name.lower() in headers:
                raise Unfit("every header once", f"{name} twice")
            scalar = single(value)
            if scalar.type in ("nothing", "a list", "a mapping"):
                raise Unfit(f"a text for {name}", scalar.type)
            if not _HEADER_VALUE.fullmatch(scalar.text) or len(scalar.text) > LONGEST_HEADER:
                raise Unfit(
                    f"1 to {LONGEST_HEADER:,} characters of printable ASCII for {name}",
                    "a value of another form",
                )
            headers[name.lower()] = (name, scalar.text)
        return tuple(headers.values())

    def write(self, value: tuple[tuple[str, str], ...]) -> str:
        return _mapping([name for name, _ in value])

    def schema(self) -> dict[str, Any]:
        return {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "boolean"]}}


@dataclass(frozen=True, slots=True)
class App(Type[str | None]):
    """Where a bot is. Only the form is checked: nothing is imported here."""

    @property
    def expected(self) -> str:
        return "module:attribute"

    def read(self, value: Scalar, where: Where) -> str:
        del where
        if value.type != "text" or not _APP.fullmatch(value.text) or len(value.text) > 200:
            raise Unfit(self.expected)
        return value.text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"}


@dataclass(frozen=True, slots=True)
class Variables(Many[Variable]):
    """Names of variables that a bot gets."""

    most: ClassVar[int] = MOST_VARIABLES

    @property
    def expected(self) -> str:
        return "the name of a variable, or a list of such"

    def one(self, value: Scalar, where: Where) -> Variable:
        variable = _variable(value, self.expected, where)
        _check_for_bot(variable.name)
        return variable


@dataclass(frozen=True, slots=True)
class VariableFiles(Type[tuple[tuple[str, str], ...]]):
    """Variables that a bot gets, and files with their values; what comes of it are the values."""

    @property
    def expected(self) -> str:
        return "a mapping of variables to paths of files"

    def check(self, node: Node | Mapping[str, Any], where: Where) -> tuple[tuple[str, str], ...]:
        """See `Type.check`; here, the value is a mapping."""
        variables: dict[str, str] = {}
        for name, value in _entries(node, self.expected, MOST_VARIABLES):
            if not _VARIABLE.fullmatch(name):
                raise Unfit("names of variables", "another name among them")
            _check_for_bot(name)
            expected = f"the path of a file with one line for {name}"
            path = Folder().read(_as_path(single(value), expected), where)
            try:
                variables[name] = secret_file.read_line(path)
            except ValueError as error:
                raise Unfit(expected, str(error), free=True) from None
        return tuple(variables.items())

    def write(self, value: tuple[tuple[str, str], ...]) -> str:
        return _mapping([name for name, _ in value])

    def schema(self) -> dict[str, Any]:
        return {"type": ["object", "null"], "additionalProperties": {"type": "string"}}


def _split(url: str, expected: str) -> Any:  # noqa: ANN401 - urlsplit's result has a private name
    """Take a URL apart that has a host of a form that the system takes, and nothing unprintable."""
    if not _URL.fullmatch(url) or len(url) > LONGEST_URL or "\\" in url:
        raise Unfit(
            expected, "one with characters that no URL has" if len(url) <= LONGEST_URL else "a longer one"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Unfit(expected, "one whose host or port is none") from None
    if parts.scheme not in ("http", "https"):
        raise Unfit(expected, "another one")
    if not host or port == 0 or parts.netloc.endswith(":"):
        raise Unfit(expected, "one whose host or port is none")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or not _HOST.fullmatch(host.rstrip(".")):
            raise Unfit(expected, "one whose host is none") from None
    return parts


def _as_path(value: Scalar, expected: str) -> Scalar:
    if value.type != "text":
        raise Unfit(expected, value.type)
    _refuse_secret(value, expected)
    return value


def _refuse_secret(value: Scalar, expected: str) -> None:
    """See that somebody has not written the secret itself, which a message would quote."""
    if value.text.startswith(("whsec_", "orc_")):
        raise Unfit(expected, "a secret itself, which must not stand in this file")


def _variable(value: Scalar, expected: str, where: Where) -> Variable:
    _refuse_secret(value, expected)
    if value.type != "text" or not _VARIABLE.fullmatch(value.text):
        raise Unfit(expected)
    return Variable(value.text, where.environ.get(value.text) or None)


def _check_for_bot(name: str) -> None:
    if _NOT_FOR_BOTS.fullmatch(name):
        raise Unfit("variables that are a bot's own", f"{name}, which changes how its process runs")


def _entries(node: Node | Mapping[str, Any], expected: str, most: int) -> list[tuple[str, Any]]:
    if isinstance(node, Scalar) and node.type == "nothing":
        return []
    if not isinstance(node, dict):
        raise Unfit(expected, kind(node))
    if len(node) > most:
        raise Unfit(f"at most {most} of them", f"{len(node)}")
    return list(node.items())


def _mapping(names: list[str]) -> str:
    return "{" + ", ".join(f"{name}: …" for name in names) + "}"
