"""Tells which accounts are linked to one phone. Pure.

WhatsApp lets a phone link four devices, so two accounts of one phone are no fault. Often they are a slip all
the same: somebody has scanned the code of the wrong account. Then each message comes in twice, and whatever
answers for the accounts answers twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from orchestrator.accounts import phones

_SHOWN: Final = 5
"""Accounts that a sentence names."""


class Phones:
    """Which account is linked to which phone. Numbers that are spelled in two ways are one phone's."""

    def __init__(self) -> None:
        self._raw: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._members: dict[str, dict[str, None]] = {}

    def set(self, name: str, number: str | None) -> frozenset[str]:
        """Note to which number an account is linked.

        Args:
            name: The account.
            number: The digits; None if it is not linked.

        Returns:
            The accounts that have another company now, or have lost it; none if nothing has changed.
        """
        if self._raw.get(name) == number:
            return frozenset()
        before = self._numbers.get(name)
        after = None if number is None else phones.canonical(number)
        self._raw.pop(name, None)
        if number is not None:
            self._raw[name] = number
        if before == after:
            return frozenset()
        left = self._leave(name, before)
        joined = self._join(name, after)
        return left | joined | (frozenset({name}) if left or joined else frozenset())

    def others(self, name: str) -> tuple[str, ...]:
        """Return the other accounts of an account's phone, in the order in which they were linked."""
        number = self._numbers.get(name)
        return () if number is None else tuple(one for one in self._members[number] if one != name)

    def number(self, name: str) -> str | None:
        """Return the number that was noted of an account last."""
        return self._raw.get(name)

    def members(self, number: str | None) -> tuple[str, ...]:
        """Return the accounts that are linked to a number."""
        return () if number is None else tuple(self._members.get(phones.canonical(number), ()))

    def _leave(self, name: str, number: str | None) -> frozenset[str]:
        if number is None:
            return frozenset()
        del self._numbers[name]
        members = self._members[number]
        del members[name]
        if not members:
            del self._members[number]
        return frozenset(members)

    def _join(self, name: str, number: str | None) -> frozenset[str]:
        if number is None:
            return frozenset()
        self._numbers[name] = number
        members = self._members.setdefault(number, {})
        others = frozenset(members)
        members[name] = None
        return others


def groups(numbers: Iterable[tuple[str, str | None]]) -> list[tuple[str, ...]]:
    """Return the groups of accounts that are linked to one phone, in the given order.

    Args:
        numbers: Each account with the digits of the number that it is linked to, None if it is not.
    """
    found: dict[str, list[str]] = {}
    for name, number in numbers:
        if number is not None:
            found.setdefault(phones.canonical(number), []).append(name)
    return [tuple(names) for names in found.values() if len(names) > 1]


def in_order(name: str, others: Collection[str], order: Sequence[str]) -> tuple[str, ...]:
    """Return an account and the others of its phone in the order of the configuration."""
    place = {one: index for index, one in enumerate(order)}
    return tuple(sorted((name, *others), key=lambda one: (place.get(one, len(place)), one)))


def finding(names: Sequence[str], phone: str | None) -> str:
    """Say that accounts are linked to one phone.

    Args:
        names: The accounts.
        phone: The number as people may see it, None if it is not known.
    """
    shown = list(names[:_SHOWN])
    if len(names) > _SHOWN:
        which = f"{', '.join(shown)} and {len(names) - _SHOWN} more"
    else:
        which = f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"{which} are linked to one phone{f' ({phone})' if phone else ''}"


def cost(names: Sequence[str]) -> str:
    """Say what that costs, and what to do."""
    each = "both" if len(names) == 2 else "all of them"
    return (
        f"messages to it arrive in {each}, and {each} may answer; if that is not wanted, remove one:"
        f" `orchestrator remove {names[-1]}`"
    )


def sentence(names: Sequence[str], phone: str | None) -> str:
    """Say that accounts are linked to one phone, what that costs, and what to do."""
    return f"{finding(names, phone)}: {cost(names)}"
