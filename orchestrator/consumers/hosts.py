"""Whose requests the gateway answers by the host they are for, and which URLs lead back to the gateway. Pure.

A web page can make a browser ask any address by a name of the page's own (DNS rebinding). The browser then
sends that name as the host, so the gateway answers only for hosts that it knows. A page cannot do that with
an address in place of a name.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

from orchestrator.consumers.settings import Http, Listen, Tcp

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)
DEFAULT_PORTS = {"http": 80, "https": 443}
"""The port of a URL that names none, by its scheme."""


def split_host(header: str) -> str | None:
    """Return the name or address of a ``Host`` header in small letters, without port and brackets.

    Returns:
        None if the header has another form.
    """
    found = split_host_and_port(header)
    return None if found is None else found[0]


def split_host_and_port(header: str) -> tuple[str, int | None] | None:
    """Return the name or address of a ``Host`` header as `split_host` does, and the port, None without one.

    Returns:
        None if the header has another form.
    """
    match = _HOST.fullmatch(header.lower())
    if match is None or int(match[2] or 0) > 65_535:
        return None
    return match[1].strip("[]"), int(match[2]) if match[2] else None


def allows(http: Http, header: str) -> bool:
    """Tell whether the gateway answers a request with this ``Host`` header. Its port does not count.

    Args:
        http: The settings. In place of `Systemd`, `listen` has the addresses of the sockets.
        header: What the request says.
    """
    host = split_host(header)
    if host is None:
        return False
    if host == "localhost" or host in http.allowed_hosts:
        return True
    if http.public_url is not None and host == urlsplit(http.public_url).hostname:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    tcp = [one for one in http.listen if isinstance(one, Tcp)]
    return any(one.is_wildcard or ipaddress.ip_address(one.host) == address for one in tcp)


def leads_to(listen: Iterable[Listen], host: str, port: int) -> bool:
    """Tell whether a host and a port are one of our own listening addresses, without asking DNS.

    Args:
        listen: Where the gateway listens.
        host: A name, or an address in any form that the system takes, such as ``0x7f.1``.
        port: The port.
    """
    tcp = [one for one in listen if isinstance(one, Tcp) and one.port == port]
    if not tcp:
        return False
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return any(one.is_loopback or one.is_wildcard for one in tcp)
    address = as_address(name)
    if address is None:
        return False
    return any(_reaches(address, one) for one in tcp)


def url_leads_to(http: Http, url: str) -> bool:
    """Tell whether a URL leads to the gateway itself, straight or by its public URL.

    Args:
        http: The gateway's settings.
        url: An absolute URL of http or https.
    """
    host, port = usual(url)
    if leads_to(http.listen, host, port):
        return True
    return http.public_url is not None and (host, port) == usual(http.public_url)


def usual(url: str) -> tuple[str, int]:
    """Return the host and the port of a URL, the host in one form, however it is written."""
    host, port = host_and_port(url)
    if not host.isascii():
        with contextlib.suppress(UnicodeError):  # no host has such a name
            host = host.encode("idna").decode()
    return host.lower().rstrip("."), port


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host of a URL, in small letters and without brackets, and its port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def as_address(text: str) -> Address | None:
    """Return the address that a text is for the system, as inet_aton(3) reads it; None if it is a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _old_form(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _old_form(text: str) -> ipaddress.IPv4Address | None:
    """Read an IPv4 address of one to four numbers in decimal, octal or hexadecimal."""
    parts = text.split(".")
    if len(parts) > 4 or not all(re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,16}", one) for one in parts):
        return None
    try:
        numbers = [_number(one) for one in parts]
    except ValueError:
        return None
    *first, last = numbers
    if any(one > 255 for one in first) or last >= 256 ** (5 - len(parts)):
        return None
    return ipaddress.IPv4Address(sum(one << (24 - 8 * at) for at, one in enumerate(first)) + last)


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8) if text[0] == "0" else int(text)


def _reaches(address: Address, one: Tcp) -> bool:
    listening = ipaddress.ip_address(one.host)
    if address == listening:
        return True
    if address.is_unspecified:  # a connection to 0.0.0.0 goes to this machine
        return one.is_loopback or one.is_wildcard
    # The gateway cannot know all addresses of the machine here; whoever connects compares them, too.
    return address.is_loopback and one.is_wildcard
