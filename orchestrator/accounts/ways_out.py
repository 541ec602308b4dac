"""The ways out to WhatsApp, and which accounts use which: directly, or through a proxy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.accounts import breaker
from orchestrator.accounts.breaker import Breaker, Outage
from orchestrator.accounts.proxy import Proxy, ProxyError, parse
from orchestrator.accounts.standing import Standing


@dataclass(slots=True, eq=False)
class Way:
    """A way out, and what is known of the way.

    Attributes:
        words: The name of the way in log lines, or None for the direct way, which needs no name.
        breaker: Holds the accounts of the way while the way is lost.
        outage: The accounts that have lost the network.
        judged_at: The monotonic time from which accounts that are still connected prove that the way works.
        may_hold: Whether accounts may still wait for the way.
    """

    words: str | None
    breaker: Breaker = field(
        default_factory=lambda: Breaker(breaker.NETWORK_PROBE_FIRST, breaker.NETWORK_PROBE_LAST)
    )
    outage: Outage = field(default_factory=Outage)
    judged_at: float | None = None
    may_hold: bool = False

    def say(self, text: str) -> str:
        """Return a sentence with the name of the way in it."""
        head, colon, tail = text.partition(":")
        return text if self.words is None else f"{head} ({self.words}){colon}{tail}"


class WaysOut:
    """The ways of all accounts.

    Args:
        accounts: The accounts by name. The caller adds and removes accounts.
        outside: The proxy that the environment names, or None for a direct connection.
    """

    def __init__(self, accounts: Mapping[str, Standing], outside: Proxy | None) -> None:
        self._accounts = accounts
        self._outside = outside
        self._ways: dict[Proxy | None, Way] = {}
        self._by_url: dict[str | None, Way] = {}

    def __iter__(self) -> Iterator[Way]:
        """Yield the ways that are known now; more may come meanwhile."""
        return iter(list(self._ways.values()))

    def by(self, url: str | None) -> Way:
        """Return the way of accounts with this proxy."""
        way = self._by_url.get(url)
        if way is None:
            key: Proxy | None = None
            try:
                if url is not None:
                    proxy = parse(url)
                    key = Proxy(proxy.scheme, proxy.host, proxy.port)
            except ProxyError:
                pass  # such an account never dials
            words = f"the proxy {key}" if key else None
            if key is None and self._outside is not None:
                words = f"the environment's proxy {self._outside}"
            way = self._by_url[url] = self._ways.setdefault(key, Way(words))
        return way

    def of(self, way: Way) -> dict[str, Standing]:
        """Return the accounts whose next process uses a way."""
        return {name: one for name, one in self._accounts.items() if self.by(one.settings.proxy) is way}

    def running(self, way: Way) -> list[Standing]:
        """Return the accounts whose running process uses a way."""
        return [one for one in self._accounts.values() if one.child and self.by(one.child.proxy) is way]
