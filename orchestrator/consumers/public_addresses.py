"""Which addresses belong to the internet at large, and not to this machine or the networks around it. Pure.

A client can send a link that the gateway is to fetch. Whoever may send messages must not get to read what
only this machine can reach: its own services, the neighbors, and what a cloud tells its machines.
The tables are those of IANA's registries of special-purpose addresses (RFC 6890).
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this machine
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a provider's translation
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: clouds answer here
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA has given out for the internet. Private, link-local and loopback addresses are not in it."""
_SPECIAL_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo, which has an IPv4 address in it
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which has an IPv4 address in it
            "3fff::/20",  # documentation
        ),
    )
)
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64 (RFC 6052): the last 32 bits are an IPv4 address."""


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address only writes in another form, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _TRANSLATED:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet at large."""
    address = plain(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in one for one in _SPECIAL)
    return address in _UNICAST and not any(address in one for one in _SPECIAL_6)
