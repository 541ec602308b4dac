"""What is known of the fleet as a whole, for operators. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.accounts.breaker import Breaker
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State
from orchestrator.accounts.ways_out import WaysOut

Works: TypeAlias = Literal["works", "lost", "unknown"]
"""How a way out is: an account is connected by it, or its accounts wait for it, or neither."""
Member: TypeAlias = Literal["connected", "waiting", ""]
"""How an account of a way is: connected, held back, or something else."""
DIRECT = "direct"
"""The name of the way without a proxy."""


@dataclass(frozen=True, slots=True)
class Probing:
    """What holds accounts, or may.

    Attributes:
        is_holding: Whether it holds accounts now.
        probe_at: Monotonic time at which the next account probes, None if none is planned.
        canary: Which account probes now, None if none does.
    """

    is_holding: bool
    probe_at: float | None
    canary: str | None


@dataclass(frozen=True, slots=True)
class WayFacts:
    """A way out.

    Attributes:
        name: ``direct``, a proxy's URL, or ``environment's proxy URL``; without user and password.
        works: How the way is.
        members: The accounts that use it, and how each of them is.
        probing: What holds these accounts, or may.
    """

    name: str
    works: Works
    members: Mapping[str, Member]
    probing: Probing


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """The fleet.

    Attributes:
        version: What holds all accounts while WhatsApp refuses this version of the client, or may.
        outdated: How many accounts were refused for their version, or wait because others were.
        ways: The ways out that accounts use, in no certain order.
        queued: How many accounts wait for their turn.
        dialing: How many start or connect now.
        parallel: How many may.
        maintenance_since: Unix time since when nothing starts by itself, None if that is not so.
        waiting: How many accounts wait for the end of maintenance.
    """

    version: Probing
    outdated: int
    ways: tuple[WayFacts, ...]
    queued: int
    dialing: int
    parallel: int
    maintenance_since: float | None
    waiting: int


def probing(breaker: Breaker) -> Probing:
    """Return what is known of a breaker."""
    return Probing(breaker.tripped, breaker.probe_at, breaker.canary)


def outdated(accounts: Mapping[str, Standing]) -> int:
    """Return how many accounts wait for WhatsApp to accept the client."""
    return sum(account.state is State.OUTDATED for account in accounts.values())


def ways(known: WaysOut, accounts: Mapping[str, Standing]) -> tuple[WayFacts, ...]:
    """Return the ways that enabled accounts use.

    Args:
        known: The ways.
        accounts: The accounts.
    """
    members: dict[str, dict[str, Member]] = {}
    found = {}
    for name, account in accounts.items():
        if account.settings.enabled:
            way = known.by(account.settings.proxy)
            words = DIRECT if way.words is None else way.words.removeprefix("the ").removeprefix("proxy ")
            found[words] = way
            members.setdefault(words, {})[name] = _how(account)
    return tuple(
        WayFacts(words, _works(way.breaker, members[words]), members[words], probing(way.breaker))
        for words, way in found.items()
    )


def _how(account: Standing) -> Member:
    if account.state is State.CONNECTED:
        return "connected"
    return "waiting" if account.held and account.child is None else ""


def _works(breaker: Breaker, members: Mapping[str, Member]) -> Works:
    if breaker.tripped:
        return "lost"
    return "works" if "connected" in members.values() else "unknown"
