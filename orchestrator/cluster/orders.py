"""Orders of operators for accounts that another machine runs: the life of one, step by step. Pure.

An order is a row. Whoever asks writes it, the owner of the account takes it, carries it out and answers in
the row, and whoever has asked reads the answer and deletes the row. `postgres/orders.sql` takes each step as
it is here, in one transaction, by the clock of the database.

- An order is carried out once at the most, because it is taken once.
- An order that is said not to be done never is: only what nobody has taken can be withdrawn, and what is
  withdrawn cannot be taken.
- Only the machine that has taken an order answers, and only while its lease is good and nobody else has the
  account. An answer that comes later counts for nothing: by then, somebody was told that nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

TAKE_SECONDS: Final = 5.0
"""For the owner of an account to take an order."""
DONE_SECONDS: Final = 34.0
"""For an owner that has taken one to do it and to answer: more than the slowest command takes, and together
with `TAKE_SECONDS` less than a client waits for an answer. ``orders.sql`` has the number, too."""
KEPT_SECONDS: Final = 120.0
"""After which a row is deleted, whatever became of it: whoever has asked is gone."""
MOST_WAITING: Final = 5000
"""Rows at the most."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns an account.

    Attributes:
        incarnation: The start of the machine.
        epoch: How often the owner of the account has changed.
        is_good: Whether its lease is good.
    """

    incarnation: str
    epoch: int
    is_good: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """An order, as its row has it.

    Attributes:
        asked_at: When it was given, in seconds.
        taken_by: The owner that has taken it; None until one has.
        taken_at: When.
        answer: The owner's answer; None until there is one.
    """

    asked_at: float
    taken_by: Owner | None = None
    taken_at: float = 0.0
    answer: str | None = None


def take(order: Order, owner: Owner | None, who: str, now: float) -> Order | None:
    """Return the order as a machine has taken it; None if the machine may not.

    Args:
        order: The order.
        owner: Who owns the account.
        who: The machine that wants to take it.
        now: The time.
    """
    if order.taken_by is not None or now - order.asked_at >= TAKE_SECONDS:
        return None
    if owner is None or owner.incarnation != who or not owner.is_good:
        return None
    return replace(order, taken_by=owner, taken_at=now)


def answer(
    order: Order, owner: Owner | None, who: str, text: str, now: float, *, is_good: bool
) -> Order | None:
    """Return the order as a machine has answered it; None if the machine may not.

    Args:
        order: The order.
        owner: Who owns the account. It may be nobody: an order can have the account go.
        who: The machine that answers.
        text: Its answer.
        now: The time.
        is_good: Whether its lease is good.
    """
    taken = order.taken_by
    if taken is None or taken.incarnation != who or order.answer is not None or not is_good:
        return None
    if owner is not None and (owner.incarnation, owner.epoch) != (who, taken.epoch):
        return None
    return None if now - order.taken_at >= DONE_SECONDS else replace(order, answer=text)


def may_withdraw(order: Order) -> bool:
    """Tell whether an order can be taken back by whoever has given it."""
    return order.taken_by is None


class Verdict(StrEnum):
    """What becomes of an order, for whoever has given it."""

    WAIT = "wait"
    """Its owner has yet to take it, or to answer."""
    WITHDRAW = "withdraw"
    """Nobody has taken it in time: it is taken back, if nobody takes it in that very moment."""
    ANSWERED = "answered"
    """There is an answer."""
    LOST = "lost"
    """Nobody knows whether it was done: whoever has taken it does not answer any more."""


def judge(order: Order | None, owner: Owner | None, now: float, *, is_good: bool) -> Verdict:
    """Say what becomes of an order.

    Args:
        order: It, as its row has it; None if the row is gone.
        owner: Who owns the account.
        now: The time.
        is_good: Whether the lease of the machine that has taken it is good, if one has.
    """
    if order is None:
        return Verdict.LOST
    if order.answer is not None:
        return Verdict.ANSWERED
    taken = order.taken_by
    if taken is None:
        return Verdict.WITHDRAW if now - order.asked_at >= TAKE_SECONDS else Verdict.WAIT
    has_lost = owner is not None and (owner.incarnation, owner.epoch) != (taken.incarnation, taken.epoch)
    if has_lost or not is_good or now - order.taken_at >= DONE_SECONDS:
        return Verdict.LOST
    return Verdict.WAIT
