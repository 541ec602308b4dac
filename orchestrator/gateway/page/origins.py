"""Where a request comes from that a browser sends: from our own page, or from one of somebody else's. Pure.

A page of somebody else's can have a browser send requests here, with the browser's cookies. Browsers say of
each request which page it comes from: in ``Origin``, and the newer ones in ``Sec-Fetch-Site``. No page can
change what they say. Programs that are no browsers send neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestrator.consumers import hosts

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing, but for `changes`."""
_MAKES_PULL: Final = re.compile(r"/api/consumers/[^/]{1,200}/events", re.ASCII)
"""Whoever gets events here for the first time makes a pull, for which events are kept from then on."""
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""What browsers say of requests of our own page, and of those that somebody makes by the address bar."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a browser finds the gateway.

    Attributes:
        host: The host in the browser's address bar, in small letters, without brackets.
        port: The port there, None if none is named.
        is_tls: Whether the browser is known to use TLS. Otherwise it may all the same.
        public: The public URL's origin: its scheme, host and port, None without one.
    """

    host: str
    port: int | None
    is_tls: bool
    public: tuple[str, str, int] | None = None

    @property
    def cookie(self) -> str:
        """The name of the cookie of a session.

        Cookies are kept by host, whatever the port, and two gateways on one machine are two places. A name
        that begins with ``__Host-`` is one that browsers take only over TLS, from this very host.
        """
        number = self.port or hosts.DEFAULT_PORTS["https" if self.is_tls else "http"]
        return f"__Host-orchestrator-{number}" if self.is_tls else f"orchestrator-{number}"

    def is_own(self, origin: str) -> bool:
        """Tell whether an ``Origin`` is that of our own page."""
        scheme, _, rest = origin.lower().partition("://")
        usual, found = hosts.DEFAULT_PORTS.get(scheme), hosts.split_host_and_port(rest)
        if usual is None or found is None:
            return False
        host, port = found[0], found[1] or usual
        if self.public == (scheme, host, port):
            return True
        if self.is_tls and scheme != "https":
            return False  # whoever is between the browser and a server without TLS can send any page
        return (host, port) == (self.host, self.port or usual)


def place_of(host: str, public_url: str | None, forwarded_proto: Sequence[str] = ()) -> Place:
    """Return where a browser finds the gateway.

    Args:
        host: The ``Host`` of its request.
        public_url: The URL by which clients reach the gateway through a proxy, or None.
        forwarded_proto: The values of ``X-Forwarded-Proto``, if the request comes from a proxy whose word is
            taken.
    """
    name, port = hosts.split_host_and_port(host) or ("", None)
    public = None
    if public_url is not None:
        scheme = public_url.partition(":")[0].lower()
        public = (scheme, *hosts.usual(public_url))
    is_tls = _is_https(forwarded_proto)
    if public is not None and public[0] == "https":
        is_tls = is_tls or public[1:] == (name, port or hosts.DEFAULT_PORTS["https"])
    return Place(name, port, is_tls, public)


def _is_https(values: Sequence[str]) -> bool:
    """Tell whether the nearest proxy was reached by TLS: each writes its word behind those of the others."""
    return bool(values) and values[-1].rpartition(",")[2].strip().lower() == "https"


def changes(method: str, path: str) -> bool:
    """Tell whether a request may change something that lasts.

    Args:
        method: The method of the request.
        path: What it is for, without a query.
    """
    return method not in SAFE or _MAKES_PULL.fullmatch(path) is not None


By = Literal["cookie", "other"]
"""By what somebody is let in: the cookie, which a browser sends whoever has it do so, or what a program puts
into a request itself."""


def is_foreign(
    method: str, place: Place, origin: Sequence[str], site: Sequence[str], by: By, path: str = ""
) -> bool:
    """Tell whether a request must be refused because a page of somebody else's may have had it sent.

    Args:
        method: The method of the request.
        place: Where a browser finds the gateway.
        origin: The values of ``Origin``.
        site: The values of ``Sec-Fetch-Site``.
        by: By what whoever asks is let in.
        path: What the request is for, without a query.
    """
    if method in SAFE and by == "other":
        return False  # it changes nothing, and another page cannot read the answer
    if len(origin) > 1 or len(site) > 1:
        return True
    if site and site[0].lower() not in _OWN_SITES:
        return True
    is_same = bool(site) and site[0].lower() == "same-origin"
    # Browsers write null for the origin of some requests that tell nobody where they come from. Of a frame
    # that pretends to have no origin they say, in the other header, that it is of another site.
    if origin and not place.is_own(origin[0]) and not (is_same and origin[0] == "null"):
        return True
    return changes(method, path) and by == "cookie" and not origin and not is_same
