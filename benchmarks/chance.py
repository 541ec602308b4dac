"""What a soak draws by chance: the values of a fault, and which fault comes next. Pure, by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = int | float
Choice: TypeAlias = "Range | tuple[int, ...]"

_TRIES = 20
"""How often a deck that was dealt out is asked for another kind that is over in time."""


@dataclass(frozen=True, slots=True)
class Range:
    """A whole number or, with ``whole=False``, any number between two others, both included."""

    low: float
    high: float
    whole: bool = False


def drawn(rng: random.Random, choices: Mapping[str, Choice]) -> dict[str, Value]:
    """Return a value for each name: from its range, or one of its numbers."""
    found: dict[str, Value] = {}
    for key, choice in choices.items():
        if isinstance(choice, tuple):
            found[key] = rng.choice(choice)
        elif choice.whole:
            found[key] = rng.randint(int(choice.low), int(choice.high))
        else:
            found[key] = round(rng.uniform(choice.low, choice.high), 1)
    return found


def largest(choices: Mapping[str, Choice]) -> dict[str, Value]:
    """Return the largest value that may be drawn for each name."""
    return {key: max(choice) if isinstance(choice, tuple) else choice.high for key, choice in choices.items()}


class Deck:
    """Kinds in random order, heavy ones rather early: each one once, and then by their weights.

    Args:
        rng: Where chance comes from.
        weights: How often each kind comes, compared with others.
        draw_values: Returns the values that are drawn for a kind.
        fits: Tells whether a kind with its values is over in time, if it begins at so many seconds.
        first: Kinds that come before all others, in random order among themselves.
    """

    def __init__(
        self,
        rng: random.Random,
        weights: Mapping[str, float],
        draw_values: Callable[[str], dict[str, Value]],
        fits: Callable[[float, str, Mapping[str, Value]], bool],
        first: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._rng = rng
        self._weights = weights
        self._values = draw_values
        self._fits = fits
        self._cards: Sequence[str] = sorted(weights, key=lambda name: -(rng.random() ** (1 / weights[name])))
        self._cards = sorted(self._cards, key=lambda name: not first(name))  # which is stable

    def draw(self, at: float) -> tuple[str, dict[str, Value]] | None:
        """Return the next kind that is over before the end, with its values; None if there is none."""
        while self._cards:
            name, *self._cards = self._cards
            values = self._values(name)
            if self._fits(at, name, values):
                return name, values
        names, weights = list(self._weights), list(self._weights.values())
        for _ in range(_TRIES):
            (name,) = self._rng.choices(names, weights)
            values = self._values(name)
            if self._fits(at, name, values):
                return name, values
        return None
