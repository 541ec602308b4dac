"""Every account's row, rendered once for all who look at the page, and which of them are new to whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.control.view import AccountView
from orchestrator.gateway.page import rows
from orchestrator.gateway.page.usage import Use

DRIFT_SECONDS: Final = 5.0
"""How often what changes by itself, such as memory, goes out at most."""


@dataclass(slots=True)
class _Card:
    """What is known of one account.

    Attributes:
        row: Its row, as it was told last.
        text: The row as JSON.
    """

    row: rows.Row
    text: bytes


@dataclass(frozen=True, slots=True)
class News:
    """What somebody has not been told yet.

    Attributes:
        names: Accounts with another row.
        gone: Accounts that are there no longer.
        version: Where the board was then.
    """

    names: list[str]
    gone: list[str]
    version: int


class Board:
    """The rows of all accounts.

    While nobody looks, nothing is rendered.

    Args:
        views: Returns the accounts as they were last described.
        clock: Returns seconds that never go back.

    Attributes:
        version: Grows with everything that is told.
    """

    def __init__(
        self,
        views: Callable[[], Mapping[str, AccountView]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = 0
        self._views = views
        self._clock = clock
        self._cards: dict[str, _Card] = {}
        self._order: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._pending: dict[str, rows.Row] = {}
        self._drift_at = 0.0
        self._watchers: dict[object, Callable[[], None]] = {}
        self._use = Use()

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks."""
        return bool(self._watchers)

    def watch(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Begin to look.

        Args:
            heard: Called whenever there may be news.

        Returns:
            What is called at the end.
        """
        if not self.is_watched:
            self._begin()
        key = object()
        self._watchers[key] = heard
        return lambda: self._leave(key)

    def _begin(self) -> None:
        self._cards.clear()
        self._order.clear()
        self._gone.clear()
        self._pending.clear()
        self.version += 1
        self._drift_at = self._clock() + DRIFT_SECONDS
        for view in self._views().values():
            self._tell(view.name, rows.row(view, self._use.known(view)))

    def _leave(self, key: object) -> None:
        self._watchers.pop(key, None)
        if not self.is_watched:
            self._cards.clear()

    def changed(self, names: Iterable[str], gone: Iterable[str] = ()) -> None:
        """Take in that accounts were described anew, or are gone."""
        now, views = self._clock(), self._views()
        views_now = [views[name] for name in names if name in views]
        shares = [self._use.of(view, now) for view in views_now]
        gone = list(gone)
        self._use.forget(gone)
        if not self.is_watched:
            return
        before = self.version
        self.version += 1
        for view, share in zip(views_now, shares, strict=True):
            self._take(view.name, rows.row(view, share))
        for name in gone:
            if self._cards.pop(name, None) is not None:
                self._order.pop(name, None)
                self._pending.pop(name, None)
                self._gone.pop(name, None)
                self._gone[name] = self.version
        if not self._news_after(before):
            self.version = before
            return
        self._hear()

    def drift(self) -> None:
        """Tell what has changed by itself, if it is time for that."""
        now = self._clock()
        if now < self._drift_at:
            return
        self._drift_at = now + DRIFT_SECONDS
        if not self._pending:
            return
        self.version += 1
        pending, self._pending = self._pending, {}
        for name, row in pending.items():
            self._tell(name, row)
        self._hear()

    def after(self, version: int) -> News:
        """Return what was told after a version; 0 for everything that is there now."""
        names = []
        for name in reversed(self._order):
            if self._order[name] <= version:
                break
            names.append(name)
        gone = []
        if version:
            for name in reversed(self._gone):
                if self._gone[name] <= version:
                    break
                gone.append(name)
        return News(names[::-1], gone[::-1], self.version)

    def text(self, name: str) -> bytes | None:
        """Return the row of an account as JSON, None if it is gone meanwhile."""
        card = self._cards.get(name)
        return None if card is None else card.text

    def _take(self, name: str, row: rows.Row) -> None:
        card = self._cards.get(name)
        if card is None or rows.changes(card.row, row):
            self._tell(name, row)
        elif rows.drifts(card.row, row):
            self._pending[name] = row
        else:
            self._pending.pop(name, None)  # it is back where it was

    def _tell(self, name: str, row: rows.Row) -> None:
        self._cards[name] = _Card(row, rows.written(row))
        self._pending.pop(name, None)
        self._gone.pop(name, None)
        self._order.pop(name, None)
        self._order[name] = self.version

    def _news_after(self, version: int) -> bool:
        last = [next(reversed(one.values()), 0) for one in (self._order, self._gone)]
        return max(last) > version

    def _hear(self) -> None:
        for heard in tuple(self._watchers.values()):
            heard()
