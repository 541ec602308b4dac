"""A proxy's URL, read in one place for the configuration, the processes, `doctor` and the fleet. Pure.

What passes here is what Go's net/url, net/http and x/net/proxy take, and what Python's sockets mean by the
same words: a URL of which one of them makes something else is refused where it is read, not where it is used.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

HOST, PORT = "web.whatsapp.com", 443
"""Where accounts connect to."""
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080}
"""What whatsmeow knows, and the ports that Go takes for a proxy of the environment that names none."""
SOCKS_LIMIT = 255
"""Bytes of a user or a password for SOCKS5: RFC 1929 has one byte for their lengths."""
HTTP_LIMIT = 4000
"""Bytes of user and password together for HTTP: most servers take a header of 8,190, base64 adds a third."""

EXPECTED = "a proxy such as http://, https:// or socks5:// with user:password@ if needed, then host:port"
_ESCAPE = "user or password with characters that need to be written as %XX, such as %2F for a slash"
# Patterns are compiled when they are needed: most commands need none, and all of them come by here.
# What Go's net/url takes as user and password; in what it takes, an unescaped @ or : has one meaning alone.
_CREDENTIALS = r"(?:[A-Za-z0-9._:~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})*"
_ESCAPED = rb"%([0-9A-Fa-f]{2})"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_MOST_OF_NAME = 253
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
# libc takes 127.1, 0x7f000001 and 010.0.0.1 for addresses, and Go looks them up as names.
_ENDS_AS_NUMBER = r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?"
_IPV6 = r"\[([0-9A-Fa-f:.]+)(?:%25([A-Za-z0-9._-]+))?\]"
_PORT = "[1-9][0-9]{0,4}"
_SCHEME = "[a-z]{3,6}[0-9]?[a-z]?"


class ProxyError(Exception):
    """A proxy cannot be used; the message says why, without any part of its URL that may be a secret."""


class UrlError(ProxyError):
    """A proxy's URL is not one that can be used.

    Attributes:
        found: What it is instead of what is expected.
    """

    def __init__(self, found: str) -> None:
        super().__init__(f"expected {EXPECTED}, found {found}")
        self.found = found


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; only `str` of it may be shown.

    Two are equal if they are one way out: the same scheme, host, port, user and password. The credentials
    belong to it because with many providers they choose the machine that the traffic leaves from.

    Attributes:
        scheme: ``http``, ``https`` or ``socks5``.
        host: Name or address, in lower case; an IPv6 address without brackets, and its zone after a ``%``.
        port: The port.
        user: The user as it is sent, None if none is.
        password: The password as it is sent.
    """

    scheme: str
    host: str
    port: int
    user: bytes | None = field(default=None, repr=False)
    password: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        """Return the URL without user and password."""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(url: str) -> Proxy:
    """Read the URL of an account's proxy.

    Raises:
        UrlError: It is not one that can be used.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UrlError("one without ://")
    scheme = scheme.lower()
    if scheme not in DEFAULT_PORTS:
        # The scheme is quoted only if it can be nothing else.
        raise UrlError(f"{scheme}://" if re.fullmatch(_SCHEME, scheme) else "another one")
    credentials, at, server = rest.rpartition("@")
    user, password = _credentials(scheme, credentials) if at else (None, b"")
    server = server.removesuffix("/")
    if any(mark in server for mark in "/?#"):
        raise UrlError("one that does not end with host and port")
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or (host.startswith("[") and "]" not in host):
        raise UrlError("one without a port")
    host = _host(host)
    if not re.fullmatch(_PORT, port) or int(port) > 65_535:
        raise UrlError("one whose port is not 1 to 65535")
    return Proxy(scheme, host, int(port), user, password)


@lru_cache(maxsize=1024)  # accounts are shown every few seconds, and have one of a few proxies
def shown(url: str | None) -> str | None:
    """Return the URL of an account's proxy without user and password.

    Returns:
        Scheme, host and port, such as ``socks5://proxy:1080``; None without a proxy, or if it cannot be used.
    """
    try:
        return None if url is None else str(parse(url))
    except UrlError:
        return None


def parse_environment(url: str) -> Proxy:
    """Read what the environment names as a proxy: the scheme and the port may be missing, as for Go.

    Raises:
        ProxyError: It is not one that can be used.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "http", url
    elif scheme.lower() == "socks5h":
        scheme = "socks5"  # for Go it is the same: either way the proxy looks the names up
    rest = rest.removesuffix("/")
    if not re.search(r":[^\]:@]*\Z", rest.rpartition("@")[2]) and scheme.lower() in DEFAULT_PORTS:
        rest = f"{rest}:{DEFAULT_PORTS[scheme.lower()]}"
    try:
        return parse(f"{scheme}://{rest}")
    except UrlError as error:
        raise ProxyError(f"HTTPS_PROXY in the service's environment: {error}") from None


def environment_proxy(environ: Mapping[str, str], wanted: str = HOST) -> str | None:
    """Return the proxy that an environment names for a host of WhatsApp's, None for a direct connection."""
    url = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    excepted = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return url if url and not any(_means(one, wanted) for one in excepted.split(",")) else None


def secrets(url: str) -> list[str]:
    """Return the texts that would give the proxy's password away: as it is written and as it is sent."""
    credentials, at, _ = (url.partition("://")[2] or url).rpartition("@")
    if not at:
        return []
    password = credentials.partition(":")[2]
    # A word of a few letters could be part of anything, and hiding it everywhere would tell what it is.
    passwords = [word for word in (password, _unescaped(password)) if len(word) >= 4]
    # As HTTP sends it, in Proxy-Authorization.
    header = binascii.b2a_base64(_decode(credentials), newline=False).decode()
    return [url, credentials, _unescaped(credentials), header, *passwords]


def _credentials(scheme: str, text: str) -> tuple[bytes, bytes]:
    if not re.fullmatch(_CREDENTIALS, text):
        raise UrlError(_ESCAPE)
    user, _, password = (_decode(part) for part in text.partition(":"))
    if any(byte < 32 or byte == 127 for byte in user + password):
        raise UrlError("user or password with a control character")
    if scheme == "socks5":
        if not user:
            raise UrlError("a SOCKS5 proxy's password without a user")
        if len(user) > SOCKS_LIMIT or len(password) > SOCKS_LIMIT:
            raise UrlError(f"user or password of more than {SOCKS_LIMIT} bytes, which SOCKS5 cannot carry")
        return user, password
    if not user and not password:
        raise UrlError("an @ without user and password in front of it")
    if b":" in user:
        raise UrlError("a user with a colon (%3A), which HTTP takes for the end of the user")
    if len(user) + len(password) > HTTP_LIMIT:
        raise UrlError(f"user and password of more than {HTTP_LIMIT:,} bytes")
    return user, password


def _host(text: str) -> str:
    if match := re.fullmatch(_IPV6, text):
        from ipaddress import AddressValueError, IPv6Address  # few need it, and all commands come by here

        try:
            address = IPv6Address(match[1])
        except AddressValueError:
            raise UrlError("one without a valid host name or address") from None
        if match[2] and not address.is_link_local:
            raise UrlError("one with a zone, which only addresses from fe80:: on have")  # libc takes no other
        return f"{match[1]}%{match[2]}".lower() if match[2] else match[1].lower()
    is_address = bool(re.fullmatch(_IPV4, text))
    if is_address or (
        re.fullmatch(_NAME, text) and len(text) <= _MOST_OF_NAME and not re.fullmatch(_ENDS_AS_NUMBER, text)
    ):
        return text.lower()
    if not text.isascii() and "%" not in text:
        raise UrlError("a host name with other letters than a to z: write it as xn--")
    raise UrlError("one without a valid host name or address")


def _means(entry: str, wanted: str) -> bool:
    """Tell whether an entry of NO_PROXY means a host."""
    host, _, port = entry.strip().lower().partition(":")
    domain = host.removeprefix("*").removeprefix(".")
    return (host == "*" or f".{wanted}".endswith(f".{domain}")) and bool(host) and port in ("", str(PORT))


def _decode(text: str) -> bytes:
    return re.sub(_ESCAPED, lambda match: bytes.fromhex(match[1].decode()), text.encode())


def _unescaped(text: str) -> str:
    return _decode(text).decode(errors="replace")
