"""What the configuration says of the HTTP server, of webhooks and of bots, checked and complete. Pure.

Secrets are fields without a ``repr``. What may be shown of a webhook's URL is `Webhook.shown_url`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from orchestrator.consumers import event_types

LONGEST_SHOWN = 20
"""Characters of a part of a URL's path that is shown. Some receivers have a key in their path."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP address that the gateway listens on.

    Attributes:
        host: An IPv4 or IPv6 address, without brackets.
        port: The port.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Tcp:
        """Return the address that a text such as ``127.0.0.1:80`` or ``[::1]:80`` says.

        Raises:
            ValueError: It says none. The message says why, in words that may follow the text.
        """
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(": put an IPv6 address in brackets")
        if not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) or int(port) > 65_535:
            raise ValueError("")
        try:
            address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            raise ValueError(", whose host is no address" if host else "") from None
        return cls(str(address), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether this means all addresses of the machine."""
        return ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        """Return the address as the configuration has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unix:
    """A UNIX socket that the gateway listens on.

    Attributes:
        path: Where the socket is, absolute.
    """

    path: Path

    def __str__(self) -> str:
        """Return the address as the configuration has it."""
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Systemd:
    """The sockets that systemd hands to the service."""

    def __str__(self) -> str:
        """Return the address as the configuration has it."""
        return "systemd"


Listen: TypeAlias = Tcp | Unix | Systemd
"""Where the gateway listens."""


@dataclass(frozen=True, slots=True)
class Http:
    """The HTTP server.

    Attributes:
        listen: Where it listens.
        public_url: The URL by which clients reach it through a proxy, without a slash at its end, or None.
        trusted_proxies: Addresses and networks of proxies whose word on a client's address is taken.
        allowed_hosts: Names under which it may be asked for beside those of `listen` and `public_url`, in
            small letters and without a port.
        max_body: Bytes of a request's body, but for a file that is uploaded.
        link_ports: Ports that files are fetched from when a client sends a link.
        link_networks: Networks inside that files are fetched from, beside the internet.
        interactive: What becomes of buttons and lists that a client of the Cloud API sends.
    """

    listen: tuple[Listen, ...] = (Tcp("127.0.0.1", 8080),)
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_body: int = 1 << 20
    link_ports: tuple[int, ...] = (80, 443)
    link_networks: tuple[str, ...] = ()
    interactive: Literal["refuse", "text"] = "refuse"


Format: TypeAlias = Literal["events", "cloud"]
"""What a webhook is sent: our own events, or the bodies of Meta's WhatsApp Cloud API."""
CLOUD_TYPES: Final = (
    "message.received", "message.edited", "message.revoked", "message.reaction", "message.status",
)  # fmt: skip
"""The types of events that have a form in the Cloud API."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook.

    Attributes:
        name: Its name.
        url: Where the events go; it may have a password.
        format: What it is sent.
        accounts: The accounts whose events it gets, None for all.
        events: Patterns of the types that it gets.
        secrets: Keys that sign what it gets, the present one first; none while the environment lacks it.
        app_secret: The key of ``X-Hub-Signature-256``, or None.
        verify_token: What the receiver is asked for ``hub.challenge`` with, or None.
        echoes: Whether it gets what the account's own phone sends, in the format ``cloud``.
        headers: Extra headers, their names as they were written.
        timeout: Seconds for a whole request.
        parallel: How many requests may be on their way to it at once.
    """

    name: str
    url: str = field(repr=False)
    format: Format = "events"
    accounts: frozenset[str] | None = None
    events: tuple[str, ...] = ("*",)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    app_secret: bytes | None = field(default=None, repr=False)
    verify_token: bytes | None = field(default=None, repr=False)
    echoes: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 15.0
    parallel: int = 8

    @property
    def wanted(self) -> tuple[str, ...]:
        """Patterns of the types that it gets; those without a form in its format are left out."""
        if self.format == "events":
            return self.events
        return tuple(one for one in CLOUD_TYPES if event_types.chosen(self.events, one))

    @property
    def has_credentials(self) -> bool:
        """Whether the URL has a user or a query, which may be secrets."""
        parts = urlsplit(self.url)
        return "@" in parts.netloc or bool(parts.query)

    @property
    def shown_url(self) -> str:
        """The URL as people may see it: without user, password, query, and parts that may be keys."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        path = "/".join(one if len(one) <= LONGEST_SHOWN else "…" for one in parts.path.split("/"))
        return f"{parts.scheme}://{host}{path}{'?…' if parts.query else ''}"


@dataclass(frozen=True, slots=True)
class BotSettings:
    """A bot that the service runs.

    Attributes:
        name: Its name.
        app: Where the bot is, as ``module:attribute``.
        path: The folder with the module, absolute.
        accounts: The accounts whose events it gets and which it may send from, None for all.
        events: Patterns of the types that it gets.
        env: Names and values of the variables that its process gets beside the usual ones.
        timeout: Seconds that a handler may take.
        memory_limit: Bytes of memory that its process may use, None for as much as there is.
        parallel: How many of its handlers may run at once.
        code: By what the code in its folder is known: other code is another bot, which needs a new process.
    """

    name: str
    app: str
    path: Path
    accounts: frozenset[str] | None = None
    events: tuple[str, ...] = ("message.*",)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 60.0
    memory_limit: int | None = 512 << 20
    parallel: int = 8
    code: str = field(default="", repr=False)
