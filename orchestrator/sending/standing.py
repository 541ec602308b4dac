"""How an account stands with its sending: what may go now, and what WhatsApp takes nothing of. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.accounts.settings import Sending
from orchestrator.sending.desk import remembered
from orchestrator.sending.pacing import Pacer
from orchestrator.sending.restrictions import Restrictions, Stretch
from orchestrator.sending.row import Pace
from orchestrator.sending.steps import Closed
from orchestrator.sending.turns import CLOSED


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may go of one pace.

    Attributes:
        pace: How well the chats are known.
        left: How many messages may go: at once to known chats, within the present 24 hours to new ones. None:
            nothing limits the number.
        most: How many that may be at most.
        next_at: When the next one may go, in Unix seconds: now or later; None if never.
    """

    pace: Pace
    left: int | None
    most: int | None
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Lock:
    """Something that WhatsApp takes no messages of.

    Attributes:
        what: Of what.
        until: When it is over, in Unix seconds; None if nobody knows.
        code: WhatsApp's number for it, None if nobody knows it.
        why: Why, in plain words; None if nobody knows.
    """

    what: Closed
    until: float | None
    code: int | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands.

    Attributes:
        allowances: What may go, by pace.
        locks: What may not, the wider one first.
    """

    allowances: tuple[Allowance, ...]
    locks: tuple[Lock, ...]


def standing(settings: Sending, memory: str | None, now: float) -> Standing:
    """Return how an account stands.

    Args:
        settings: How it sends.
        memory: What its desk has remembered last (`Desk.memory`), None for nothing.
        now: Unix seconds.
    """
    flow, new, all_of_them = remembered(memory)
    pacer = Pacer(settings, flow, lambda: 0.5)
    pacer.clamp(now)
    restrictions = Restrictions(new, all_of_them)
    restrictions.clamp(now)
    locks = []
    if restrictions.is_paused(now):
        locks.append(_lock(Closed.ALL, restrictions.all))
    if restrictions.is_closed(now):
        locks.append(_lock(Closed.NEW, restrictions.new))
    return Standing(tuple(_allowance(pacer, pace, now) for pace in Pace), tuple(locks))


def _allowance(pacer: Pacer, pace: Pace, now: float) -> Allowance:
    left, most = pacer.left(pace, now) or (None, None)
    free = pacer.free(pace, now)
    return Allowance(pace, left, most, None if math.isinf(free) else free)


def _lock(what: Closed, stretch: Stretch) -> Lock:
    return Lock(what, stretch.until, stretch.code or None, CLOSED.get(stretch.code))
