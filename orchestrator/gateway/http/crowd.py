"""Who of the connected clients may stay. Pure.

A client that has a request under way is *busy*. Any other one is *silent*: it has sent nothing yet, or only
a part of a head, or it rests between two requests. When there are too many, a silent one makes room for a new
one: the one that has been silent the longest. Nobody can keep others out by sitting on connections.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from enum import Enum, auto
from typing import Final, Generic, NamedTuple, TypeVar

MOST: Final = 512
"""Connections at once. Each costs a descriptor and some 20 kB."""
FRESH_SECONDS: Final = 10.0
"""How long a new connection may be without the first byte of a request."""
REST_SECONDS: Final = 75.0
"""How long a connection may rest between two requests. nginx closes its own after 60 s, so
it does not send a request on a connection that is closed here at that moment. docs/api.md has Caddy's."""
HEAD_SECONDS: Final = 10.0
"""How long the head of a request may take from its first byte on."""
BODY_SECONDS: Final = 30.0
"""How long a body may take, beside the time for its size."""
BYTES_A_SECOND: Final = 64 * 1024
"""How fast a body has to come, on average."""
STALL_SECONDS: Final = 60.0
"""How long a client may leave the answer unread."""

Client = TypeVar("Client", bound=Hashable)


class Phase(Enum):
    """What a connection does."""

    FRESH = auto()
    """Nothing has come yet."""
    HEAD = auto()
    """A part of a head has come."""
    BODY = auto()
    """The head has come, the body has not come whole."""
    BUSY = auto()
    """The request has come, the answer is under way."""
    DRAIN = auto()
    """The answer is gone, the rest of the body is thrown away."""
    REST = auto()
    """The answer is gone, and the next request has not begun."""


_SILENT: Final = frozenset({Phase.FRESH, Phase.HEAD, Phase.DRAIN, Phase.REST})


class Arrival(NamedTuple, Generic[Client]):
    """What is done about a new client.

    Attributes:
        may_stay: Whether the new client may.
        leaves: Who makes room, or None.
    """

    may_stay: bool
    leaves: Client | None = None


class Crowd(Generic[Client]):
    """The connected clients.

    Args:
        most: How many there may be.
        max_body: Bytes that a body may have, unless something else is said of a client's.
    """

    def __init__(self, most: int = MOST, max_body: int = 1 << 20) -> None:
        self.most = most
        self.max_body = max_body
        self._peers: dict[Client, str] = {}
        self._phases: dict[Client, tuple[Phase, float]] = {}
        self._bodies: dict[Client, int] = {}
        self._stalled: dict[Client, float] = {}
        self._counts: dict[str, int] = defaultdict(int)
        # In the order in which they fell silent: dictionaries keep it.
        self._silent: dict[Client, None] = {}
        self._silent_of: dict[str, dict[Client, None]] = defaultdict(dict)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._peers)

    @property
    def most_of_a_peer(self) -> int:
        """How many connections of one address there may be: half of all, so that others find room."""
        return max(1, self.most // 2)

    def arrive(self, client: Client, peer: str, now: float, *, is_proxy: bool = False) -> Arrival[Client]:
        """Take in a new client, or not.

        Args:
            client: The client.
            peer: Where the client is, such as an address.
            now: The present moment, in seconds.
            is_proxy: Whether many clients come from there, so that only the number of all counts.
        """
        leaves: Client | None = None
        if not is_proxy and self._counts[peer] >= self.most_of_a_peer:
            leaves = next(iter(self._silent_of[peer]), None)
        elif len(self) >= self.most:
            leaves = next(iter(self._silent), None)
        else:
            self._add(client, peer, now)
            return Arrival(may_stay=True)
        if leaves is None:
            self._tidy(peer)
            return Arrival(may_stay=False)
        self.leave(leaves)
        self._add(client, peer, now)
        return Arrival(may_stay=True, leaves=leaves)

    def leave(self, client: Client) -> None:
        """Forget a client that is gone, or about to go."""
        peer = self._peers.pop(client, None)
        if peer is None:
            return
        self._be_loud(client, peer)
        del self._phases[client]
        self._stalled.pop(client, None)
        self._bodies.pop(client, None)
        self._counts[peer] -= 1
        self._tidy(peer)

    def phase(self, client: Client) -> Phase | None:
        """Return what a client does, None if the client is not here."""
        found = self._phases.get(client)
        return None if found is None else found[0]

    def enter(self, client: Client, phase: Phase, now: float) -> None:
        """Note that a client does something else now."""
        if client not in self._peers or self._phases[client][0] is phase:
            return
        self._phases[client] = (phase, now)
        peer = self._peers[client]
        if phase not in _SILENT:
            self._be_loud(client, peer)
        elif client not in self._silent:  # else the client goes on being silent, and the older silence counts
            self._silent[client] = self._silent_of[peer][client] = None

    def expect(self, client: Client, size: int) -> None:
        """Note how many bytes the body of a client's request may have."""
        if client in self._peers:
            self._bodies[client] = size

    def stall(self, client: Client, now: float) -> None:
        """Note that a client does not read its answer."""
        if client in self._peers:
            self._stalled.setdefault(client, now)

    def go_on(self, client: Client) -> None:
        """Note that a client reads its answer again."""
        self._stalled.pop(client, None)

    def overdue(self, now: float) -> Iterator[tuple[Client, Phase]]:
        """Yield the clients that took too long for what they do. The caller ends them."""
        for client, (phase, since) in list(self._phases.items()):
            if (
                now - since > self._patience(client, phase)
                or now - self._stalled.get(client, now) > STALL_SECONDS
            ):
                yield client, phase

    def _patience(self, client: Client, phase: Phase) -> float:
        match phase:
            case Phase.FRESH:
                return FRESH_SECONDS
            case Phase.HEAD:
                return HEAD_SECONDS
            case Phase.BODY:
                return BODY_SECONDS + self._bodies.get(client, self.max_body) / BYTES_A_SECOND
            case Phase.DRAIN:
                return BODY_SECONDS + self.max_body / BYTES_A_SECOND
            case Phase.REST:
                return REST_SECONDS
            case Phase.BUSY:
                return float("inf")

    def _add(self, client: Client, peer: str, now: float) -> None:
        self._peers[client] = peer
        self._phases[client] = (Phase.FRESH, now)
        self._counts[peer] += 1
        self._silent[client] = self._silent_of[peer][client] = None

    def _be_loud(self, client: Client, peer: str) -> None:
        self._silent.pop(client, None)
        self._silent_of[peer].pop(client, None)

    def _tidy(self, peer: str) -> None:
        if not self._counts[peer]:
            self._counts.pop(peer, None)
            self._silent_of.pop(peer, None)
