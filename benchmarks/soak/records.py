"""What has become of each fault: whom it hit, who is back, and how long that took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.soak.kinds import KINDS, Kind
from benchmarks.soak.observation import Finding, Link, Observation
from benchmarks.soak.plan import Strike

PATIENCE = 90.0
"""Seconds added to twice what a fault takes on an idle machine: then the account is not back."""
SLACK = 20.0
"""Seconds added to what is promised, for a machine that has other things to do as well."""


@dataclass(slots=True)
class Victim:
    """An account that a fault hits.

    Attributes:
        links: Its connections before.
        pid: Its process before.
        clean: Whether no other fault has hit it before it was back: only then the time means something.
        waited: Seconds for which the operator let it wait.
        renewed_again: Whether its process was to be replaced by an earlier fault, too. The process may be
            replaced once or twice then, and the first time cannot be told from the second.
        looked: How it looked when it seemed to be back for the first time: when, since when connected, and by
            which connection. None if it does not seem so.
        recovered_at: When it was back, None as long as it is not.
    """

    links: frozenset[Link]
    pid: int | None
    clean: bool = True
    waited: float = 0.0
    renewed_again: bool = False
    looked: tuple[float, str, frozenset[Link]] | None = None
    recovered_at: float | None = None


@dataclass(slots=True)
class Record:
    """A fault that was to happen. All times are those of `Attention`.

    Attributes:
        strike: Of the plan.
        began_at: When it was injected, None if it was not.
        waited: Seconds that the fault itself has lasted.
        cleared_at: When it was over, so that nothing but the service stood in the way; None before.
        skipped: Why it did not happen, if it did not.
        victims: Whom it hit, by name.
        overdue: Whether it was said that somebody is not back.
        seen_at: When it was last looked at.
    """

    strike: Strike
    began_at: float | None = None
    waited: float = 0.0
    cleared_at: float | None = None
    skipped: str | None = None
    victims: dict[str, Victim] = field(default_factory=dict)
    overdue: bool = False
    seen_at: float = 0.0

    @property
    def kind(self) -> Kind:
        """What kind of fault it is."""
        return KINDS[self.strike.kind]

    @property
    def is_open(self) -> bool:
        """Whether it happens, may still show, or somebody is not back yet."""
        if self.began_at is None or self.skipped is not None:
            return False
        return self._echoes() or bool(self.missing())

    def _echoes(self) -> bool:
        return self.cleared_at is None or self.seen_at < self.cleared_at + self.kind.echo

    def missing(self) -> list[str]:
        """Return who is not back."""
        return [name for name, victim in self.victims.items() if victim.recovered_at is None]

    def excuses(self) -> list[str]:
        """Return whose connection may be interrupted now."""
        if self.began_at is None or self.skipped is not None or self.kind.link == "stays":
            return []
        if self._echoes():
            return list(self.victims)
        again = self.seen_at < self.began_at + self.kind.takes(self.strike.values, len(self.victims))
        return [
            name
            for name, victim in self.victims.items()
            if victim.recovered_at is None or (victim.renewed_again and again)
        ]

    def begin(self, seen: Observation, at: float, names: Iterable[str], others: Iterable[Record]) -> None:
        """Note that it is about to happen to these accounts, while others may still go on."""
        self.began_at = at
        others = list(others)
        hit = {name for other in others if other.is_open for name in other.excuses()}
        renewed = {
            name for other in others if other.is_open and other.kind.renews for name in other.missing()
        }
        for name in names:
            account = (seen.accounts or {}).get(name)
            links = (seen.links or {}).get(name, frozenset())
            self.victims[name] = Victim(
                links,
                account.pid if account else None,
                clean=name not in hit,
                renewed_again=self.kind.renews and name in renewed,
            )
        if self.kind.link == "stays":
            return
        for other in others:
            for name, victim in other.victims.items():
                if other is not self and name in self.victims and victim.recovered_at is None:
                    victim.clean = False

    def note(self, seen: Observation) -> list[str]:
        """Take in what is seen; return who has come back."""
        self.seen_at = seen.at
        if not self.is_open or self.cleared_at is None:
            return []
        back = []
        for name in self.missing():
            victim = self.victims[name]
            victim.recovered_at = self._back_at(name, seen)
            if victim.recovered_at is not None:
                back.append(name)
        return back

    def _back_at(self, name: str, seen: Observation) -> float | None:
        """Return when an account was back, None if it is not, or if only the next look can tell.

        WhatsApp may have the new connection before the service shows that the old one was lost: only if the
        account looks the same at the next look, what the service showed is of the new one.
        """
        victim = self.victims[name]
        if not self._is_back(name, seen):
            victim.looked = None
            return None
        if self.kind.link != "drops" or self.kind.renews:
            return seen.at
        now = (seen.accounts or {})[name].since, (seen.links or {})[name]
        if victim.looked is not None and victim.looked[1:] == now:
            return victim.looked[0]
        victim.looked = seen.at, *now
        return None

    def _is_back(self, name: str, seen: Observation) -> bool:
        account = (seen.accounts or {}).get(name)
        links = (seen.links or {}).get(name, frozenset())
        if account is None or account.state != "connected" or len(links) != 1 or name in seen.silent:
            return False
        if self.kind.renews and account.pid == self.victims[name].pid:
            return False  # another fault may have cut its connection before its turn came
        return self.kind.link != "drops" or not links & self.victims[name].links

    def times(self) -> list[float]:
        """Return how long it took for whom nothing else came in between, without what it lasted itself."""
        began = self.began_at
        return [
            max(0.0, victim.recovered_at - began - self.waited - victim.waited)
            for victim in self.victims.values()
            if began is not None and victim.recovered_at is not None and victim.clean
        ]

    def late(self) -> list[str]:
        """Return who came back later than is promised, though nothing else came in between."""
        within = self.kind.within
        if within is None or self.began_at is None:
            return []
        limit = self.began_at + self.waited + within + SLACK
        return [
            name
            for name, victim in self.victims.items()
            if victim.clean and (victim.recovered_at or 0.0) > limit + victim.waited
        ]

    def is_overdue(self, at: float, accounts: int) -> bool:
        """Tell, once, whether somebody should have been back for long."""
        if self.began_at is None or not self.is_open or self.overdue:
            return False
        limit = 2 * self.kind.takes(self.strike.values, accounts) + PATIENCE
        self.overdue = at > self.began_at + limit
        return self.overdue


def not_kept(records: Iterable[Record], quarantined: Mapping[tuple[str, str], int]) -> list[Finding]:
    """Return whose sessions should be in quarantine and are not.

    Args:
        records: All faults.
        quarantined: How many sessions are there, by account and reason.
    """
    wanted: Counter[tuple[str, str]] = Counter()
    for record in records:
        for name, victim in record.victims.items():
            # With something else in between there may have been nothing left to be kept.
            if record.kind.parts is not None and victim.clean and record.skipped is None:
                wanted[name, record.kind.parts] += 1
    return [
        Finding("session lost", name, f"{quarantined.get((name, reason), 0)} of {count} kept as {reason!r}")
        for (name, reason), count in wanted.items()
        if quarantined.get((name, reason), 0) < count
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """What has become of all faults of a kind.

    Attributes:
        kind: Its name.
        planned: How many were to happen.
        struck: How many did.
        hit: How many accounts they hit, each counted every time.
        back: How many of those came back.
        times: How long it took those to whom nothing else happened meanwhile.
    """

    kind: str
    planned: int
    struck: int
    hit: int
    back: int
    times: tuple[float, ...]


def rows(records: Iterable[Record]) -> list[Row]:
    """Return a row for each kind, in the order of `KINDS`."""
    found: Mapping[str, list[Record]] = {name: [] for name in KINDS}
    for record in records:
        found[record.strike.kind].append(record)
    made = []
    for name, those in found.items():
        struck = [one for one in those if one.began_at is not None and one.skipped is None]
        victims = [victim for one in struck for victim in one.victims.values()]
        back = sum(victim.recovered_at is not None for victim in victims)
        times = tuple(sorted(time for one in struck for time in one.times()))
        if those:
            made.append(Row(name, len(those), len(struck), len(victims), back, times))
    return made
