"""Decides which changes of accounts a program is told, and when. Pure: moments come from the caller.

What is watched of an account are its *aspects*: what needs a person, whether the account is down, and its
state, as far as that is chosen. A change is told when an aspect has had, for long enough, another value than
the one that was told last. So what comes and goes quickly is never told. What was told is kept, and is told
once, also across a restart of the service.

A program that fails is called again with what is then still so, later and later. While a limit holds changes
back, they wait; one that is over before its turn is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from orchestrator.accounts.events import Moment
from orchestrator.accounts.flood import Meter
from orchestrator.accounts.on_change import DOWN, NEEDS_PERSON, RESOLVED, OnChange, Rate
from orchestrator.control.attention import need
from orchestrator.control.checking import is_down
from orchestrator.control.view import AccountView

Aspect: TypeAlias = Literal["needs_person", "down", "state"]
"""What is watched of an account."""
Told: TypeAlias = Mapping[str, Mapping[str, str]]
"""What was told of accounts: by name, the value of each aspect."""

TROUBLES: Final[tuple[Aspect, ...]] = (NEEDS_PERSON, DOWN)
"""Aspects that can be resolved."""
MOST_CHANGES: Final = 200
"""Changes in one call; further ones wait for the next."""
GATHER_SECONDS: Final = 3.0
"""How long a first change waits for others: many accounts that fall together are told in one call."""
RETRY_SECONDS: Final = 60.0
"""The wait after a call that failed. Each further wait is twice as long."""
LONGEST_RETRY_SECONDS: Final = 3600.0


class Change(NamedTuple):
    """One change that is told.

    Attributes:
        name: The account.
        word: The word of the configuration by which the change was chosen, such as ``needs_person``.
        value: What is so now: the kind of need, or the state.
        before: What was told before, None if nothing was.
        at: Unix time since when it is so.
    """

    name: str
    word: str
    value: str
    before: str | None
    at: float


class Call(NamedTuple):
    """What the program is told in one call.

    Attributes:
        changes: The changes, the oldest first.
        more: How many changes wait for the next call.
        left_out: How many were over before they could be told, since the last call that worked.
    """

    changes: tuple[Change, ...]
    more: int
    left_out: int


@dataclass(slots=True)
class _Track:
    """One aspect of an account.

    Attributes:
        value: What is so, None for nothing that would be told.
        since: Since when it has this value.
        begun: Since when it has any value.
        told: The value that was told last.
    """

    value: str | None
    since: Moment
    begun: Moment
    told: str | None

    def turn(self, value: str | None, now: Moment) -> None:
        if value == self.value:
            return
        if self.value is None or value is None:
            self.begun = now
        self.value, self.since = value, now


@dataclass(slots=True)
class _Watched:
    """An account.

    Attributes:
        tracks: Its aspects.
        meter: Says how much of it is told.
        is_open: Whether a trouble was told and its end was not.
        quiet: Since when it has no trouble, None while it has one.
    """

    tracks: dict[Aspect, _Track]
    meter: Meter
    is_open: bool = False
    quiet: Moment | None = None


@dataclass(slots=True)
class _Waiting:
    """A change that may be told from a moment on."""

    due: float
    change: Change
    aspect: Aspect | None = field(compare=False)


class Changes:
    """Which changes are told, and when.

    Args:
        settings: Who is told, of what, how often.
        told: What was told before, as `told` returned it.
        left_out: How many changes were left out since the last call that worked.
    """

    def __init__(self, settings: OnChange, told: Told | None = None, left_out: int = 0) -> None:
        self.left_out = left_out
        self._settings = settings
        self._kept: dict[str, dict[str, str]] = {name: dict(one) for name, one in (told or {}).items()}
        self._accounts: dict[str, _Watched] = {}
        self._calls = _meter(settings.at_most)
        self._on_way: tuple[Call, dict[tuple[str, Aspect | None], Change]] | None = None
        self._failures = 0
        self._retry_at = 0.0

    @property
    def settings(self) -> OnChange:
        """Who is told, of what, how often."""
        return self._settings

    def configure(self, settings: OnChange) -> None:
        """Take over other settings; the accounts are to be seen anew after that."""
        if settings.at_most != self._settings.at_most:
            self._calls = _meter(settings.at_most)
        if settings.run != self._settings.run:
            self._failures, self._retry_at = 0, 0.0  # the new program has not failed
        if (settings.at_most_each, settings.when, settings.accounts) != (
            self._settings.at_most_each, self._settings.when, self._settings.accounts
        ):  # fmt: skip
            self._kept, self._accounts = {name: dict(one) for name, one in self.told().items()}, {}
        self._settings = settings

    def told(self) -> Told:
        """Return what was told of the accounts and is not over, to be kept across a restart."""
        found = {name: one for name, one in self._kept.items() if one and name not in self._accounts}
        for name, account in self._accounts.items():
            values: dict[str, str] = {}
            for aspect, track in account.tracks.items():
                if track.told is not None:
                    values[aspect] = track.told
            if account.is_open:
                values[RESOLVED] = RESOLVED  # its end is still to be told
            if values:
                found[name] = values
        return found

    def knows(self, name: str) -> bool:
        """Tell whether an account was seen since it came, or what was told of it before is known."""
        return name in self._accounts or name in self._kept

    def remember(self, name: str, told: Mapping[str, str]) -> None:
        """Take note of what was told of an account before it came here."""
        self._kept[name] = dict(told)

    def see(self, view: AccountView, now: Moment) -> None:
        """Take in how an account is."""
        wanted = self._settings.accounts
        if wanted is not None and view.name not in wanted:
            return
        values = self._values(view)
        account = self._accounts.get(view.name)
        if account is None:
            self._accounts[view.name] = self._begin(view.name, values, now)
            return
        for aspect, track in account.tracks.items():
            value = values[aspect]
            if value == track.value:
                continue
            if track.value is not None and self._due(aspect, track) + GATHER_SECONDS <= now.monotonic:
                self._left_out(view.name, aspect, track.value)
            track.turn(value, now)
        is_quiet = not any(values[aspect] for aspect in TROUBLES)
        if not is_quiet:
            if self._is_resolved(account, now, GATHER_SECONDS):
                self._left_out(view.name, None, RESOLVED)
            account.quiet = None
        elif account.quiet is None:
            account.quiet = now

    def forget(self, name: str) -> None:
        """Take note that an account is gone."""
        self._accounts.pop(name, None)
        self._kept.pop(name, None)

    def due_in(self, now: Moment) -> float | None:
        """Return in how many seconds `call` is to be asked again, None: not before something happens."""
        if self._on_way is not None:
            return None
        dues = [due for name, one in self._accounts.items() for due in self._dues(name, one, now)]
        if not dues:
            return None
        return max(0.0, min(dues) - now.monotonic)

    def call(self, now: Moment) -> Call | None:
        """Return what the program is to be told now, None if nothing is. `ended` says what came of it."""
        if self._on_way is not None:
            return None
        self._settle(now)
        waiting = sorted(self._waiting(now), key=lambda one: (one.due, one.change.name))
        ready = [
            one
            for one in waiting
            if self._accounts[one.change.name].meter.free_at(now.monotonic) <= now.monotonic
        ]
        if not ready or not self._may_call(ready[0].due, now):
            return None
        self._calls.admit(now.monotonic)
        chosen: list[_Waiting] = []
        for one in ready:
            if len(chosen) < MOST_CHANGES and self._accounts[one.change.name].meter.admit(now.monotonic):
                chosen.append(one)
        call = Call(tuple(one.change for one in chosen), len(waiting) - len(chosen), self.left_out)
        self._on_way = call, {(one.change.name, one.aspect): one.change for one in chosen}
        return call

    def ended(self, now: Moment, *, worked: bool) -> None:
        """Take note of what came of the last call: whether the program was told."""
        assert self._on_way is not None
        (call, changes), self._on_way = self._on_way, None
        if not worked:
            self._retry_at = now.monotonic + min(
                LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2 ** min(self._failures, 10)
            )
            self._failures += 1
            for change in call.changes:
                if (account := self._accounts.get(change.name)) is not None:
                    account.meter.spend(-1, now.monotonic)
            return
        self._failures, self._retry_at = 0, 0.0
        self.left_out -= call.left_out
        for (name, aspect), change in changes.items():
            account = self._accounts.get(name)
            if account is None:
                continue
            if aspect is None:
                self._close(account)
                continue
            account.tracks[aspect].told = change.value
            if aspect in TROUBLES:
                account.is_open = True

    # What is so

    def _values(self, view: AccountView) -> dict[Aspect, str | None]:
        """Return the values of the aspects of an account, None for each that would not be told."""
        when = self._settings.when
        found = need(view)
        return {
            NEEDS_PERSON: found.kind if found is not None and NEEDS_PERSON in when else None,
            DOWN: DOWN if DOWN in when and is_down(view) else None,
            "state": view.state if view.state in when else None,
        }

    def _begin(self, name: str, values: Mapping[Aspect, str | None], now: Moment) -> _Watched:
        """Take up an account. Its present state is no change; a trouble that was not told is one."""
        kept = self._kept.pop(name, {})
        tracks: dict[Aspect, _Track] = {}
        for aspect, value in values.items():
            tracks[aspect] = _Track(value, now, now, kept.get(aspect, value if aspect == "state" else None))
        is_open = RESOLVED in kept or any(tracks[aspect].told for aspect in TROUBLES)
        is_quiet = not any(values[aspect] for aspect in TROUBLES)
        return _Watched(tracks, _meter(self._settings.at_most_each), is_open, now if is_quiet else None)

    # What is due

    def _due(self, aspect: Aspect, track: _Track) -> float:
        """Return the moment from which the value of an aspect may be told."""
        # One trouble that follows another is as old as the first, as long as nobody was told.
        first = aspect in TROUBLES and track.told is None
        return (track.begun if first else track.since).monotonic + self._settings.lasts

    def _is_resolved(self, account: _Watched, now: Moment, more: float = 0.0) -> bool:
        if not account.is_open or account.quiet is None:
            return False
        return account.quiet.monotonic + self._settings.lasts + more <= now.monotonic

    def _settle(self, now: Moment) -> None:
        """Take for over what has been over for long enough, and is not told."""
        for account in self._accounts.values():
            for aspect, track in self._over(account):
                if self._due(aspect, track) <= now.monotonic:
                    track.told = None
            if RESOLVED not in self._settings.when and self._is_resolved(account, now):
                self._close(account)

    def _over(self, account: _Watched) -> Iterator[tuple[Aspect, _Track]]:
        """Yield what was told and is not so any more, but for troubles of which an end can be told."""
        for aspect, track in account.tracks.items():
            if (
                track.value is None
                and track.told is not None
                and (aspect == "state" or account.quiet is None)
            ):
                yield aspect, track

    def _close(self, account: _Watched) -> None:
        account.is_open = False
        for aspect in TROUBLES:
            account.tracks[aspect].told = None

    def _pending(self, name: str, account: _Watched) -> Iterator[_Waiting]:
        """Yield the changes of an account that are to be told, each with the moment from which it may be."""
        for aspect, track in account.tracks.items():
            if track.value is not None and track.value != track.told:
                begun = track.begun if aspect in TROUBLES and track.told is None else track.since
                word = track.value if aspect == "state" else aspect
                change = Change(name, word, track.value, track.told, begun.wall)
                yield _Waiting(self._due(aspect, track), change, aspect)
        if account.is_open and account.quiet is not None and RESOLVED in self._settings.when:
            before = next((one.told for one in map(account.tracks.__getitem__, TROUBLES) if one.told), None)
            change = Change(name, RESOLVED, RESOLVED, before, account.quiet.wall)
            yield _Waiting(account.quiet.monotonic + self._settings.lasts, change, None)

    def _waiting(self, now: Moment) -> Iterator[_Waiting]:
        for name, account in self._accounts.items():
            for one in self._pending(name, account):
                if one.due <= now.monotonic:
                    yield one

    def _dues(self, name: str, account: _Watched, now: Moment) -> Iterator[float]:
        """Yield the moments from which something of an account can be done."""
        gate = max(self._retry_at, self._calls.free_at(now.monotonic), account.meter.free_at(now.monotonic))
        for one in self._pending(name, account):
            yield max(one.due + GATHER_SECONDS, gate)
        for aspect, track in self._over(account):
            yield self._due(aspect, track)
        if RESOLVED not in self._settings.when and account.is_open and account.quiet is not None:
            yield account.quiet.monotonic + self._settings.lasts

    def _may_call(self, first: float, now: Moment) -> bool:
        at = now.monotonic
        return max(first + GATHER_SECONDS, self._retry_at, self._calls.free_at(at)) <= at

    def _left_out(self, name: str, aspect: Aspect | None, value: str) -> None:
        """Count a change that is over and could have been told, unless it is being told."""
        account = self._accounts[name]
        if aspect is None:
            if RESOLVED not in self._settings.when:
                return
        elif account.tracks[aspect].told == value:
            return
        if self._on_way is not None:
            change = self._on_way[1].get((name, aspect))
            if change is not None and change.value == value:
                return
        self.left_out += 1


def _meter(rate: Rate) -> Meter:
    return Meter(rate.times / rate.seconds, rate.times)
