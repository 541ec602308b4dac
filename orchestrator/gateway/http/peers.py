"""Where a request comes from: the other end of a connection, and whom a trusted proxy speaks for. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_MOST_HOPS: Final = 20


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    Attributes:
        address: Its address; empty on a UNIX socket.
        uid: The user of the program at the other end of a UNIX socket, as the kernel says; None over TCP.
    """

    address: str = ""
    uid: int | None = None

    @property
    def key(self) -> str:
        """What connections are counted by."""
        return f"uid {self.uid}" if self.uid is not None else group(self.address)

    def __str__(self) -> str:
        """Return what a log calls it."""
        return self.key if self.uid is not None else self.address


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return addresses and networks as networks. What is neither is left out."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue
    return tuple(found)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Tell whether an address is one of a proxy whose word is taken."""
    parsed = _parse(address)
    return parsed is not None and any(
        parsed.version == network.version and parsed in network for network in trusted
    )


def client_of(peer: Peer, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Peer:
    """Return for whom a connection speaks: the other end itself, unless that is a trusted proxy.

    Proxies append the address that they see. So the list is read from its end, and only as far as trusted
    proxies have written it: what a client has written itself comes before that and is not believed.

    Args:
        peer: The other end.
        forwarded_for: The values of ``X-Forwarded-For``, in order.
        trusted: The proxies whose word is taken.
    """
    if peer.uid is not None or not is_trusted(peer.address, trusted):
        return peer
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    address = peer.address
    for hop in reversed(hops[-_MOST_HOPS:]):
        parsed = _parse(hop.strip("[]"))
        if parsed is None:
            break
        address = str(parsed)
        if not is_trusted(address, trusted):
            break
    return Peer(address)


def group(address: str) -> str:
    """Return what an address is counted by: itself, or of IPv6 the /64 that one customer has."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def plain(address: str) -> str:
    """Return an address in its usual form: of IPv4 as IPv4, and without a zone."""
    parsed = _parse(address)
    return address if parsed is None else str(parsed)


def _parse(text: str) -> _Address | None:
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else parsed
