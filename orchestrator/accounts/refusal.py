"""Whether WhatsApp refuses a version of the client, as several machines know it together. Pure.

The machines share one note for each version. What each of them tells is taken in by `hear`, in the order in
which the database lets them write: so one account in all tries again at a time, and when WhatsApp lets it in,
the accounts of all machines are free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from orchestrator.accounts.breaker import PROBE_FIRST, PROBE_LAST

PROBING_SECONDS: Final = 20.0
"""Seconds for which a machine may try by its last word. After that, another one does: it is lost, or it loads
another version by now."""
_ENOUGH: Final = 2
"""Accounts by whose word the version is refused. What one account says never holds another."""


class Probe(Enum):
    """How the try of a machine has ended."""

    NONE = "none"
    """It has not, or there was none."""
    REFUSED = "refused"
    """WhatsApp refuses the version still."""
    UNTOLD = "untold"
    """It has told nothing of the version."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a machine tells the others.

    Attributes:
        accepted: Whether an account was let in.
        refused: The accounts that were refused since then.
        probe: How its try has ended.
        soon: Seconds to the next try at the most, because this one has told nothing; None for the usual time.
        wants: Whether it has an account that could try.
        canary: The account that tries now.
    """

    accepted: bool = False
    refused: frozenset[str] = frozenset()
    probe: Probe = Probe.NONE
    soon: float | None = None
    wants: bool = False
    canary: str | None = None

    def before(self, later: Word) -> Word:
        """Return this word, which nobody has heard, and a later one as one word."""
        return replace(
            later,
            accepted=self.accepted or later.accepted,
            refused=later.refused if later.accepted else self.refused | later.refused,
            probe=self.probe if later.probe is Probe.NONE else later.probe,
            soon=self.soon if later.probe is Probe.NONE else later.soon,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the machines know of a version. Times are Unix seconds by the clock of the database.

    Attributes:
        refused: The first accounts that were refused.
        since: Since when it holds all accounts; None: one account was refused, and nobody else is held.
        wait: Seconds between two tries.
        probe_at: When the next account tries, None while it holds nobody.
        canary: The machine that may try, by its incarnation; None for none.
        account: Its account that tries, as far as it is known.
        until: Until when the machine may, unless it says more.
    """

    refused: tuple[str, ...] = ()
    since: float | None = None
    wait: float = PROBE_FIRST
    probe_at: float | None = None
    canary: str | None = None
    account: str | None = None
    until: float | None = None

    @property
    def holds(self) -> bool:
        """Whether all accounts wait."""
        return self.since is not None


def hear(known: Refusal | None, word: Word, who: str, at: float) -> Refusal | None:
    """Return what is known of a version after a machine has told its word; None: nothing is said against it.

    Args:
        known: What was known before.
        word: The word.
        who: The machine, by its incarnation.
        at: The time, by the clock of the database.
    """
    if word.accepted:
        known = None
    if known is None:
        if not word.refused:
            return None
        known = Refusal()
    refused = known.refused + tuple(sorted(word.refused - set(known.refused)))
    known = replace(known, refused=refused[:_ENOUGH])
    if not known.holds:
        if len(known.refused) < _ENOUGH:
            return known
        known = replace(known, since=at, probe_at=at + known.wait)
    known = _end(known, word, who, at)
    if known.canary is None and word.wants and known.probe_at is not None and known.probe_at <= at:
        return replace(known, canary=who, account=word.canary, until=at + PROBING_SECONDS)
    return known


def _end(known: Refusal, word: Word, who: str, at: float) -> Refusal:
    """Return what is known once a try has ended or goes on."""
    nobody = replace(known, canary=None, account=None, until=None)
    if known.canary != who:
        late = known.canary is not None and (known.until is None or known.until <= at)
        return nobody if late else known
    if word.probe is Probe.REFUSED:
        wait = min(2 * known.wait, PROBE_LAST)
        return replace(nobody, wait=wait, probe_at=at + wait)
    if word.probe is Probe.UNTOLD:
        wait = known.wait if word.soon is None else min(known.wait, word.soon)
        return replace(nobody, probe_at=at + wait)
    if word.canary is None and not word.wants:
        return nobody  # it has nobody any more who could try
    return replace(known, account=word.canary, until=at + PROBING_SECONDS)
