"""For which time the gateway hands over the events of which accounts: a number each time an account comes.

Who asks with an earlier number has missed that the account was gone in between.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(slots=True)
class _Term:
    number: int
    is_leaving: bool = False
    is_taken_up: bool = False


class Terms:
    """The terms of the accounts that are here."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._terms: dict[str, _Term] = {}

    def begin(self, name: str) -> None:
        """Note that an account has come."""
        self._terms[name] = _Term(next(self._numbers))

    def leave(self, name: str) -> None:
        """Note that an account is about to go: what the gateway knows of it still counts."""
        if name in self._terms:
            self._terms[name].is_leaving = True

    def end(self, name: str) -> None:
        """Note that an account is gone."""
        self._terms.pop(name, None)

    def current(self) -> dict[str, int]:
        """Return the terms of the accounts that stay, by name."""
        return {name: term.number for name, term in self._terms.items() if not term.is_leaving}

    def is_current(self, name: str, number: int) -> bool:
        """Tell whether a term is the present one, also of an account that is about to go."""
        term = self._terms.get(name)
        return term is not None and term.number == number

    def taken_up(self, name: str, number: int) -> None:
        """Note that the gateway hands an account's events over: what it knows is newer than the store."""
        if self.is_current(name, number):
            self._terms[name].is_taken_up = True

    def is_taken_up(self, name: str) -> bool:
        """Tell whether the gateway, or one before it, knows more of an account than the store."""
        term = self._terms.get(name)
        return term is not None and term.is_taken_up
