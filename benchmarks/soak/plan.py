"""When what goes wrong for whom: a pure function of the seed, the number of accounts and the time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chance import Deck, Value, drawn, largest
from benchmarks.soak.kinds import KINDS

LEAD = 3.0
"""Seconds at the beginning without a fault."""
BUSY = 0.5
"""The share of all accounts that have a fault of their own at a time, about."""
FLEET_GAP = (8.0, 25.0)
"""Seconds between what hits all accounts, from when everything should be as before."""
_LONG = 1 / 3
"""A kind that takes this share of the whole time comes early, or it would not come at all."""


def account_name(number: int) -> str:
    """Return the name of an account, by its number in a plan."""
    return f"account-{number:03d}"


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of a plan.

    Attributes:
        number: Counted from 1, in the order of time.
        at: Seconds from the beginning.
        kind: A key of `KINDS`.
        victims: The numbers of the accounts it hits, from 0.
        values: What was drawn for it.
        until: Seconds from the beginning when all should be as before; a hint, no limit.
    """

    number: int
    at: float
    kind: str
    victims: tuple[int, ...]
    values: Mapping[str, Value]
    until: float

    def __str__(self) -> str:
        whom = account_name(self.victims[0]) if len(self.victims) == 1 else f"{len(self.victims)} accounts"
        if not self.victims:
            whom = "nobody's account"
        told = "".join(f" {name}={value:g}" for name, value in self.values.items())
        return f"{self.at:6.1f} s  {self.kind:<16} {whom}{told}"


def _longest(name: str) -> dict[str, Value]:
    """Return the largest values that may be drawn for a kind."""
    return largest(KINDS[name].values)


def _deck(
    rng: random.Random, names: Sequence[str], end: float, accounts: int, *, long_first: bool = False
) -> Deck:
    """Return the kinds to draw from; with ``long_first``, those come first that soon would come too late."""
    return Deck(
        rng,
        {name: KINDS[name].weight for name in names},
        lambda name: drawn(rng, KINDS[name].values),
        lambda at, name, values: at + KINDS[name].takes(values, accounts) <= end,
        lambda name: long_first and KINDS[name].takes({}, accounts) >= end * _LONG,
    )


def plan(seed: int, accounts: int, minutes: float, kinds: Sequence[str] = tuple(KINDS)) -> list[Strike]:
    """Return the faults of a soak, by time.

    Each account has one fault of its own at a time; what hits all comes in between, one after the other, and
    also while single accounts have theirs. So does what hits the gateway. Everything should be over in time.

    Args:
        seed: Any number.
        accounts: How many there are.
        minutes: For how long.
        kinds: Only these.
    """
    end = minutes * 60
    rng = random.Random(f"{seed}/{accounts}/{minutes:g}")
    single = [name for name in kinds if KINDS[name].reach in ("one", "some")]
    fleet = [name for name in kinds if KINDS[name].reach == "all"]
    gateway = [name for name in kinds if KINDS[name].reach == "gateway"]
    found = _fleets(rng, fleet, accounts, end) if fleet else []
    # While nothing comes, nobody is connected to whom something could happen.
    silent = [(one.at, one.until) for one in found if KINDS[one.kind].link == "may drop"]
    found += _singles(rng, single, accounts, end, silent) if single else []
    found += _fleets(rng, gateway, 0, end) if gateway else []
    found.sort(key=lambda strike: (strike.at, strike.kind))
    return [
        Strike(number, one.at, one.kind, one.victims, one.values, one.until)
        for number, one in enumerate(found, 1)
    ]


def _singles(
    rng: random.Random,
    names: Sequence[str],
    accounts: int,
    end: float,
    silent: Sequence[tuple[float, float]],
) -> list[Strike]:
    mean = sum(KINDS[name].takes({}, 0) * KINDS[name].weight for name in names) / sum(
        KINDS[name].weight for name in names
    )
    gap = max(0.4, mean / (accounts * BUSY))
    deck = _deck(rng, names, end, accounts, long_first=True)
    busy_until = [0.0] * accounts
    found: list[Strike] = []
    at = LEAD
    while at < end:
        at = max([at, *(until for begin, until in silent if begin <= at < until)])
        free = [number for number in range(accounts) if busy_until[number] <= at]
        if free and (card := deck.draw(at)) is not None:
            name, values = card
            count = 1 if KINDS[name].reach == "one" else min(len(free), max(1, accounts // 3))
            victims = tuple(sorted(rng.sample(free, count)))
            until = at + KINDS[name].takes(values, accounts if count > 1 else 0)
            for number in victims:
                busy_until[number] = until
            found.append(Strike(0, round(at, 1), name, victims, values, round(until, 1)))
        at += gap * rng.uniform(0.4, 1.6)
    return found


def _fleets(rng: random.Random, names: Sequence[str], accounts: int, end: float) -> list[Strike]:
    # What would take most of the time leaves none for anything else.
    short = [name for name in names if KINDS[name].takes(_longest(name), accounts) <= end / 2]
    if not short:
        return []
    deck = _deck(rng, short, end, accounts)
    everybody = tuple(range(accounts))
    found: list[Strike] = []
    at = LEAD + rng.uniform(*FLEET_GAP) / 2
    while at < end:
        card = deck.draw(at)
        if card is None:
            break
        name, values = card
        until = at + KINDS[name].takes(values, accounts)
        found.append(Strike(0, round(at, 1), name, everybody, values, round(until, 1)))
        at = until + rng.uniform(*FLEET_GAP)
    return found
