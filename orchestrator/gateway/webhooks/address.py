"""Where a receiver is, as its URL says."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_KEPT: Final = "/%:@!$&'()*+,;=-._~?"
"""What stays as it is in a path and in a query; other characters are escaped."""


@dataclass(frozen=True, slots=True)
class Address:
    """A receiver's address.

    Attributes:
        host: The name or the IP address, without brackets.
        port: The port.
        tls: Whether the receiver speaks TLS.
        target: Path and query, as a request has them.
        authority: Host and, if it is not the usual one, port, as the header ``Host`` has them.
        authorization: The header of that name, if the URL has a user.
    """

    host: str
    port: int
    tls: bool
    target: bytes
    authority: bytes
    authorization: bytes | None = None

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            ValueError: It is none of ``http`` or ``https``, or has no host. The message has nothing of it.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("not a URL") from None
        if parts.scheme not in _PORTS or not host:
            raise ValueError("not a URL with http:// or https:// and a host")
        if not host.isascii():
            try:
                host = host.encode("idna").decode()
            except UnicodeError:
                raise ValueError("no host has such a name") from None
        usual = _PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        target = quote(parts.path or "/", safe=_KEPT)
        if parts.query:
            target += f"?{quote(parts.query, safe=_KEPT)}"
        return cls(
            host,
            port or usual,
            parts.scheme == "https",
            target.encode(),
            (shown if port in (None, usual) else f"{shown}:{port}").encode(),
            _basic(parts.username, parts.password),
        )


def _basic(user: str | None, password: str | None) -> bytes | None:
    if user is None:
        return None
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password or "")
    return b"Basic " + base64.b64encode(pair)
