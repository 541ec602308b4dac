"""The library's calls into Python: which have not returned yet, and whether any come at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Callbacks:
    """Numbers the calls, so that one that never returns can be told from many that are slow.

    Attributes:
        count: How many calls have begun or ended so far: while it stays, the library hands nothing over.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._running: set[int] = set()
        self.count = 0

    def watch(self, call: Callable[P, T]) -> Callable[P, T]:
        """Return the same function, whose calls are known while they run, in whatever thread."""

        def watched(*args: P.args, **kwargs: P.kwargs) -> T:
            number = next(self._numbers)
            self._running.add(number)
            self.count += 1
            try:
                return call(*args, **kwargs)
            finally:
                self._running.discard(number)
                self.count += 1

        return watched

    @property
    def oldest(self) -> int | None:
        """The number of the call that has been running for the longest time, None if none is."""
        return min(list(self._running), default=None)
