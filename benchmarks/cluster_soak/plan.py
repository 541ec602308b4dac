"""When what goes wrong in a cluster: a pure function of the seed, the accounts, the shards and the time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chance import Deck, Value, drawn
from benchmarks.cluster_soak.kinds import KINDS

LEAD = 5.0
"""Seconds at the beginning without a fault."""
GAP = (2.0, 8.0)
"""Seconds from when all should be as before until the next fault of a machine or of the database."""
ACCOUNT_GAP = (5.0, 15.0)
"""Seconds between two faults of single accounts, which also happen while machines have theirs."""
SECOND = 0.3
"""The share of faults of a machine in the middle of which another machine has a fault, too."""
SPARE = 1
"""So many machines are left in peace at any time: without one, nobody could take the accounts."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault of a plan.

    Attributes:
        number: Counted from 1, in the order of time.
        at: Seconds from the beginning.
        kind: A key of `KINDS`.
        shards: The numbers of the shards it hits, from 0.
        account: The number of the account it hits, from 0, None if it is about more.
        values: What was drawn for it.
        until: Seconds from the beginning when all should be as before.
    """

    number: int
    at: float
    kind: str
    shards: tuple[int, ...]
    account: int | None
    values: Mapping[str, Value]
    until: float

    def __str__(self) -> str:
        whom = " and ".join(shard_name(one) for one in self.shards) or "the database"
        if self.account is not None:
            whom = account_name(self.account)
        told = "".join(f" {name}={value:g}" for name, value in self.values.items())
        return f"{self.at:6.1f} s  {self.kind:<18} {whom}{told}"


def account_name(number: int) -> str:
    """Return the name of an account, by its number in a plan."""
    return f"account-{number:03d}"


def shard_name(number: int) -> str:
    """Return the name of a shard, by its number in a plan; names count from 1."""
    return f"shard-{number + 1}"


def plan(
    seed: int, accounts: int, shards: int, minutes: float, kinds: Sequence[str] = tuple(KINDS)
) -> list[Strike]:
    """Return the faults of a soak, by time. All is over in time.

    Args:
        seed: Any number.
        accounts: How many there are.
        shards: How many there are.
        minutes: For how long.
        kinds: Only these.
    """
    end = minutes * 60
    rng = random.Random(f"{seed}/{accounts}/{shards}/{minutes:g}")
    needs = {"shard": SPARE + 1, "two shards": SPARE + 2, "database": 1, "account": 1}
    possible = [name for name in kinds if shards >= needs[KINDS[name].reach]]
    found = _machines(rng, [one for one in possible if KINDS[one].reach != "account"], shards, end)
    found += _accounts(rng, [one for one in possible if KINDS[one].reach == "account"], accounts, end)
    found.sort(key=lambda strike: (strike.at, strike.kind))
    return [
        Strike(number, one.at, one.kind, one.shards, one.account, one.values, one.until)
        for number, one in enumerate(found, 1)
    ]


def _deck(rng: random.Random, names: Sequence[str], end: float) -> Deck:
    return Deck(
        rng,
        {name: KINDS[name].weight for name in names},
        lambda name: drawn(rng, KINDS[name].values),
        lambda at, name, values: at + KINDS[name].takes(values) <= end,
    )


def _machines(rng: random.Random, names: Sequence[str], shards: int, end: float) -> list[Strike]:
    found: list[Strike] = []
    at = LEAD
    deck = _deck(rng, names, end)
    seconds = _deck(rng, [name for name in names if KINDS[name].reach == "shard"], end)
    while names and at < end and (card := deck.draw(at)) is not None:
        name, values = card
        reach = KINDS[name].reach
        count = {"shard": 1, "two shards": 2}.get(reach, 0)
        hit = rng.sample(range(shards), count)
        until = at + KINDS[name].takes(values)
        found.append(_strike(at, name, hit, None, values, until))
        left = [number for number in range(shards) if number not in hit]
        if reach == "shard" and len(left) > SPARE and rng.random() < SECOND:
            later = rng.uniform(at, until)
            if (card := seconds.draw(later)) is not None:
                name, values = card
                until = max(until, later + KINDS[name].takes(values))
                ends = later + KINDS[name].takes(values)
                found.append(_strike(later, name, [rng.choice(left)], None, values, ends))
        at = until + rng.uniform(*GAP)
    return found


def _accounts(rng: random.Random, names: Sequence[str], accounts: int, end: float) -> list[Strike]:
    found: list[Strike] = []
    at = LEAD
    deck = _deck(rng, names, end)
    while names and at < end and (card := deck.draw(at)) is not None:
        name, values = card
        until = at + KINDS[name].takes(values)
        found.append(_strike(at, name, [], rng.randrange(accounts), values, until))
        at += rng.uniform(*ACCOUNT_GAP)
    return found


def _strike(
    at: float,
    kind: str,
    shards: Sequence[int],
    account: int | None,
    values: Mapping[str, Value],
    until: float,
) -> Strike:
    return Strike(0, round(at, 1), kind, tuple(sorted(shards)), account, values, round(until, 1))
