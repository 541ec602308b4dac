"""How long an account was connected, from its timeline: what is not known counts as not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import SERVICE_STOPS, SERVICE_WAS_GONE, State

_WORKING: Final = frozenset({State.CONNECTING, State.CONNECTED, State.RECONNECTING})
"""States with a process that has a session."""
_PROCESS: Final = _WORKING | {State.STARTING, State.PAIRING}
"""States in which a process works, or waits for its turn to."""
_STATES: Final = frozenset(State)
_BANS: Final = frozenset({Kind.TEMPORARY_BAN, Kind.LOCKED})


class Was(StrEnum):
    """How an account was for some time."""

    UP = "up"
    DOWN = "down"
    OFF = "off"
    """Stopped by an operator, disabled, or removed: nobody wanted it to be connected."""
    UNKNOWN = "unknown"


class Change(NamedTuple):
    """A change of state, as far as it counts here.

    Attributes:
        at: When, in Unix seconds.
        before: The state until then.
        after: The state since.
        kind: The kind of end that led to it, if one did.
        stops: Whether the account was stopped because the service was, or was gone.
        planned: Whether that was in good order.
    """

    at: float
    before: str
    after: str
    kind: str | None = None
    stops: bool = False
    planned: bool = False


@dataclass(slots=True)
class Outage:
    """A time in which an account was to be connected and was not.

    Attributes:
        at: When it began, in Unix seconds.
        seconds: How long it was.
    """

    at: float
    seconds: float


@dataclass(slots=True)
class Uptime:
    """How an account was in a certain time.

    Attributes:
        since: From when on something is known of it in that time, in Unix seconds; None if nothing is.
        up: Seconds for which it was connected.
        down: Seconds for which it was to be connected and was not.
        off: Seconds for which nobody wanted it to be connected.
        unknown: Seconds of which nothing is known.
        logouts: How often WhatsApp logged it out.
        bans: How often WhatsApp banned or locked it.
        crashes: How often its process crashed or hung.
        restarts: How often it got another process because somebody or something wanted it.
        longest: Its longest outage, None if there was none.
    """

    since: float | None = None
    up: float = 0.0
    down: float = 0.0
    off: float = 0.0
    unknown: float = 0.0
    logouts: int = 0
    bans: int = 0
    crashes: int = 0
    restarts: int = 0
    longest: Outage | None = None

    @property
    def share(self) -> float | None:
        """Which part of the time it was connected in which it was to be and something is known: 0 to 1."""
        known = self.up + self.down
        return self.up / known if known > 0 else None


def change(entry: Mapping[str, Any], at: float) -> Change:
    """Return an entry of a timeline, as far as it counts here."""
    reason = entry.get("reason") if entry["to"] == State.STOPPED else None
    return Change(
        at,
        entry.get("from") or "",
        entry["to"],
        entry.get("kind"),
        stops=reason in (SERVICE_STOPS, SERVICE_WAS_GONE),
        planned=reason == SERVICE_STOPS,
    )


def measure(changes: Iterable[Change], begin: float, end: float, alive: float | None) -> Uptime:
    """Tell how an account was from one time to another.

    A change that begins in another state than the one before has led to follows a service that was gone
    without a word. An account that was connected may then have lost its connection at any time in between.

    Args:
        changes: The account's changes, the oldest first: those in that time, and the last one before, if
            there is one.
        begin: Unix seconds.
        end: Unix seconds.
        alive: Until when a service surely wrote changes down; None if nobody knows.
    """
    found = Uptime()
    tally = _Tally(found)
    last: Change | None = None
    for one in changes:
        at = max(one.at, last.at) if last is not None else one.at  # the clock was set back
        one = one._replace(at=at)
        if at > end:
            break
        if last is None:
            tally.add(Was.UNKNOWN, begin, at)
        else:
            missing = one.before != last.after
            tally.add(
                Was.UNKNOWN if missing and _was(last) is Was.UP else _was(last), max(last.at, begin), at
            )
        if at >= begin:
            _count(found, one, last)
        last = one
        found.since = max(at, begin) if found.since is None else found.since
    if last is None:
        tally.add(Was.UNKNOWN, begin, end)
    elif _was(last) is Was.UP and (alive is None or alive < last.at):
        tally.add(Was.UNKNOWN, max(last.at, begin), end)
    elif _was(last) is Was.UP and alive is not None and alive < end:
        until = max(alive, begin)
        tally.add(Was.UP, max(last.at, begin), until)
        tally.add(Was.DOWN, until, end)
    else:
        tally.add(_was(last), max(last.at, begin), end)
    return found


class _Tally:
    """Adds times up, and knows the outage that goes on."""

    def __init__(self, found: Uptime) -> None:
        self._found = found
        self._outage: Outage | None = None

    def add(self, was: Was, start: float, until: float) -> None:
        seconds = until - start
        if seconds <= 0:
            return
        found = self._found
        match was:
            case Was.UP:
                found.up += seconds
            case Was.DOWN:
                found.down += seconds
            case Was.OFF:
                found.off += seconds
            case Was.UNKNOWN:
                found.unknown += seconds
        if was is not Was.DOWN:
            self._outage = None
            return
        if self._outage is None:
            self._outage = Outage(start, 0.0)
        self._outage.seconds += seconds
        if found.longest is None or self._outage.seconds > found.longest.seconds:
            found.longest = self._outage


def _was(last: Change) -> Was:
    match last.after:
        case State.CONNECTED:
            return Was.UP
        case State.DISABLED:
            return Was.OFF
        case State.STOPPED:
            return Was.DOWN if last.stops else Was.OFF
        case _ if last.after in _STATES:
            return Was.DOWN
    return Was.UNKNOWN  # a state of another version


def _count(found: Uptime, one: Change, last: Change | None) -> None:
    if one.after == State.STARTING:
        found.restarts += one.before in _WORKING or (last is not None and last.planned)
    elif one.before in _PROCESS and one.after not in _PROCESS:
        found.logouts += one.kind == Kind.LOGGED_OUT
        found.crashes += one.kind == Kind.CRASH
        found.bans += one.after == State.BANNED and one.kind in _BANS
