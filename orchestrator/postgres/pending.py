"""What is yet to be written to the database: decided here, carried out by `writing`.

This is pure. Of what replaces itself, which is the status of accounts, facts and codes, the last one counts.
Entries of timelines are all kept, in their order. Of a batch that failed, nobody may know whether it was
written: all of it is written again, but for what was replaced meanwhile. The entries have marks by which the
database knows them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

MOST_ENTRIES: Final = 50_000
"""Entries that wait at the most, some 25 MB: while the database is away no account changes for long."""
AT_ONCE: Final = 500
"""Entries of one batch."""

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a timeline.

    Attributes:
        account: The account's name.
        mark: By what the database knows it: 32 characters that no other entry has.
        at: When it was, in Unix seconds.
        text: The entry as JSON, without its number.
        late: Another machine may have written more of the account by now: then this is written no more.
    """

    account: str
    mark: str
    at: float
    text: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """A code that an account shows.

    Attributes:
        png: Its picture.
        until: When it is over, by the monotonic clock of this machine.
    """

    png: bytes = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction. None stands for what is to be removed.

    Attributes:
        status: What is kept of accounts, as JSON, by name.
        facts: What is of the fleet, as JSON, by key.
        codes: The codes, by the account's name.
        entries: Entries of timelines, in their order.
        alone: No accounts have a status but those of ``status``: what the database has of others goes.
    """

    status: Mapping[str, str | None]
    facts: Mapping[str, str | None]
    codes: Mapping[str, Code | None]
    entries: tuple[Entry, ...]
    alone: bool = False


class _Latest(Generic[V]):
    """Values of which the last one counts."""

    def __init__(self) -> None:
        self.values: dict[str, V | None] = {}
        self.changed: dict[str, None] = {}

    def put(self, key: str, value: V | None) -> None:
        if key not in self.values or self.values[key] != value:
            self.values[key] = value
            self.changed[key] = None

    def take(self) -> dict[str, V | None]:
        found = {key: self.values[key] for key in self.changed}
        self.changed.clear()
        return found

    def back(self, keys: Iterable[str]) -> None:
        self.changed = dict.fromkeys([key for key in (*keys, *self.changed) if key in self.values])

    def drop(self, key: str) -> None:
        self.values.pop(key, None)
        self.changed.pop(key, None)

    def settle(self, keys: Iterable[str]) -> None:
        """Forget what was removed and was not put there again."""
        for key in keys:
            if key not in self.changed and self.values.get(key) is None:
                self.values.pop(key, None)


class Pending:
    """What waits. One batch at a time is under way: `take`, then `done` or `failed`.

    Args:
        shared: Whether other machines write down other accounts: what is not kept here stays as it is.

    Attributes:
        lost: How many entries found no room.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.lost = 0
        self._shared = shared
        self._status: _Latest[str] = _Latest()
        self._facts: _Latest[str] = _Latest()
        self._codes: _Latest[Code] = _Latest()
        self._entries: deque[Entry] = deque()
        self._under_way: Batch | None = None
        self._disowned: set[str] = set()
        self._knows = shared

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self._under_way is None and not self._waits

    @property
    def _waits(self) -> bool:
        return bool(self._status.changed or self._facts.changed or self._codes.changed or self._entries)

    def entries_of(self, account: str) -> list[Entry]:
        """Return the entries of an account that are not known to be written, oldest first."""
        under_way = self._under_way.entries if self._under_way else ()
        return [one for one in (*under_way, *self._entries) if one.account == account]

    def loaded(self, status: Mapping[str, str]) -> None:
        """Take note of what the database has, before anything is kept."""
        self._knows = True
        if self._shared:
            return
        for name, text in status.items():
            if name not in self._status.changed:
                self._status.values[name] = text

    def keep(self, status: Mapping[str, str]) -> None:
        """Have this replace all that is kept of accounts."""
        for name in [*self._status.values]:
            if name not in status and self._shared:
                self._status.drop(name)
            elif name not in status:
                self._status.put(name, None)
        for name, text in status.items():
            self._status.put(name, text)

    def disown(self, account: str) -> None:
        """Write no more of an account than what has happened to it: another machine does from now on."""
        self._status.drop(account)
        self._codes.drop(account)
        self._entries = deque(_late(self._entries, {account}))
        self._disowned.add(account)

    def note(self, key: str, value: str | None) -> None:
        """Have a fact replace the one of its key; None removes it."""
        self._facts.put(key, value)

    def show(self, account: str, code: Code | None) -> None:
        """Have a code replace the one of its account; None removes it."""
        self._codes.put(account, code)

    def append(self, entry: Entry) -> bool:
        """Have an entry be written; return whether there was room for it."""
        if len(self._entries) >= MOST_ENTRIES:
            self.lost += 1
            return False
        self._entries.append(entry)
        return True

    def take(self) -> Batch | None:
        """Return what is to be written next; None if nothing is, or something is under way."""
        if self._under_way is not None or not self._waits:
            return None
        # The first time, nobody has said what the database has of other accounts.
        alone = not self._knows and bool(self._status.changed)
        self._disowned.clear()
        entries = tuple(self._entries.popleft() for _ in range(min(AT_ONCE, len(self._entries))))
        self._under_way = Batch(self._status.take(), self._facts.take(), self._codes.take(), entries, alone)
        return self._under_way

    def done(self) -> None:
        """Take note that what was under way is written."""
        batch, self._under_way = self._under_way, None
        assert batch is not None
        self._knows = self._knows or batch.alone
        self._status.settle(batch.status)
        self._facts.settle(batch.facts)
        self._codes.settle(batch.codes)

    def failed(self) -> None:
        """Take note that what was under way may be written, or not: then all of it waits again."""
        batch, self._under_way = self._under_way, None
        assert batch is not None
        self._status.back(batch.status)
        self._facts.back(batch.facts)
        self._codes.back(batch.codes)
        self._entries.extendleft(reversed(list(_late(batch.entries, self._disowned))))


def _late(entries: Iterable[Entry], accounts: Collection[str]) -> Iterator[Entry]:
    for one in entries:
        yield replace(one, late=True) if one.account in accounts else one
