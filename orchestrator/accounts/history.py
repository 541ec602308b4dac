"""What happened to all accounts, told for people: equal causes together, steps in between left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.orderers import LONGEST, STOPPED
from orchestrator.accounts.states import WAITS_FOR_TURN, State

TOGETHER_SECONDS: Final = 60.0
"""What happens within so many seconds of the last of its kind belongs to it: see `recorder.MINUTE`."""
SPAN_SECONDS: Final = 300.0
"""So long at the most may accounts join what has happened to others. What never ends is told again then."""
AGAIN_SECONDS: Final = 3600.0
"""What happens to an account again and again, each time within this time, is counted and not told anew."""
_TOLD_TIMES: Final = 2
"""How often it is told before it is counted: a second outage of many does not hide in the first one."""
FIELDS: Final = (
    "name", "n", "at", "from", "to", "kind", "reason", "code", "attempt", "delay", "version", "others",
    "event", "by",
)  # fmt: skip
"""The fields of an entry for programs, all of them always there."""
_STEPS: Final = frozenset({State.STARTING, State.CONNECTING})
"""States that an account passes on its way to others."""
_WORKING: Final = frozenset({State.CONNECTED, State.RECONNECTING})
_CHANGING: Final = re.compile(r"[0-9]+")
_MOST_NAMES: Final = 6
_TELLING: Final = {
    Kind.LOGGED_OUT: "logged out",
    Kind.LOCKED: "locked by WhatsApp",
    Kind.TEMPORARY_BAN: "banned",
    Kind.PAIRING_EXPIRED: "not paired",
    Kind.NETWORK: "lost the network",
    Kind.CRASH: "crashed",
    Kind.DAMAGED: "session damaged",
    Kind.REFUSED: "refused",
    Kind.MACHINE: "this machine is at fault",
    Kind.STORE: "the database was away",
    Kind.DISOWNED: "ran elsewhere",
}
"""The words for kinds of end that the words of a state do not say."""


class Happening(NamedTuple):
    """An entry of a timeline, as far as it is told to people.

    Attributes:
        at: When, in Unix seconds.
        name: The account.
        before: The state until then.
        after: The state since.
        kind: The kind of end that led to it, if one did.
        reason: Why.
        event: A word for what has happened besides a change of state.
        by: Who wanted it.
    """

    at: float
    name: str
    before: str
    after: str
    kind: str | None = None
    reason: str | None = None
    event: str | None = None
    by: str | None = None

    @property
    def cause(self) -> tuple[str, ...]:
        """What happenings with an equal cause have in common."""
        reason = self.reason or ""
        if self.name in reason:
            reason = re.sub(rf"(?<![\w.-]){re.escape(self.name)}(?![\w-])", "NAME", reason)
        reason = _CHANGING.sub("#", reason)
        renewed = self.after in _STEPS and self.before in _WORKING
        stays = self.before == self.after
        return (self.after, self.kind or "", reason, self.event or "", self.by or "", f"{renewed} {stays}")

    @property
    def is_step(self) -> bool:
        """Whether it is a step on the way to what is told, and nothing of its own."""
        if self.by or self.event or self.after not in _STEPS:
            return False
        return not (self.after == State.STARTING and self.before in _WORKING)


@dataclass(slots=True)
class Group:
    """Happenings with an equal cause.

    Attributes:
        first: The first of them.
        last_at: When the last one was.
        times: How many there were.
        names: The accounts, each with the time of its last one.
    """

    first: Happening
    last_at: float
    times: int = 0
    names: dict[str, float] = field(default_factory=dict)
    _open_until: float = 0.0

    @property
    def repeats(self) -> bool:
        """Whether something happened to an account again."""
        return self.times > len(self.names)

    @property
    def at(self) -> float:
        """The time that the group is told for: its first, or its last if it goes on."""
        return self.last_at if self.repeats else self.first.at

    def takes(self, one: Happening) -> bool:
        """Tell whether a later happening with an equal cause belongs here: of an account not in it."""
        near = one.at <= self._open_until and one.at - self.first.at <= SPAN_SECONDS
        return near and one.name not in self.names

    def add(self, one: Happening) -> None:
        """Take one in."""
        if one.name not in self.names:
            self._open_until = one.at + TOGETHER_SECONDS
        self.names[one.name] = one.at
        self.last_at = max(self.last_at, one.at)
        self.times += 1


def happening(name: str, entry: Mapping[str, Any], at: float) -> Happening:
    """Return an entry of a timeline as it is told."""
    by = entry.get("by")
    return Happening(
        at,
        name,
        entry.get("from") or "",
        entry["to"],
        entry.get("kind"),
        entry.get("reason"),
        entry.get("event"),
        by[:LONGEST] if isinstance(by, str) and by else None,
    )


def for_programs(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of a timeline with all fields, null where it has none."""
    return {key: name if key == "name" else entry.get(key) for key in FIELDS}


def grouped(happenings: Iterable[Happening]) -> list[Group]:
    """Return what is told of happenings, the newest last.

    Steps on the way to something are left out. Equal causes within `TOGETHER_SECONDS` are one group. So is,
    from the second time on, what happens to an account again and again within `AGAIN_SECONDS`.

    Args:
        happenings: In the order of time.
    """
    groups: list[Group] = []
    latest: dict[tuple[str, ...], Group] = {}
    own: dict[tuple[str, tuple[str, ...]], tuple[Group, int]] = {}
    for one in happenings:
        if one.is_step:
            continue
        cause = one.cause
        before, times = own.get((one.name, cause), (None, 0))
        if before is not None and one.at - before.names[one.name] > AGAIN_SECONDS:
            times = 0
        group = latest.get(cause)
        if before is not None and times >= _TOLD_TIMES:
            group = before
        elif group is None or not group.takes(one):
            group = latest[cause] = Group(one, one.at)
            groups.append(group)
        group.add(one)
        own[one.name, cause] = group, times + 1
    return sorted(groups, key=lambda group: group.at)


def sentence(group: Group) -> str:
    """Say what happened to the accounts of a group, without names and times."""
    one = group.first
    word, reason = _word(one), one.reason or ""
    if one.by and reason == STOPPED:
        return f"stopped by {one.by}"
    if one.before == one.after and one.after not in _STEPS and reason and not one.kind:
        text = reason
    elif not reason or reason.startswith(word):
        text = reason or word
    elif one.after in _STEPS and reason.startswith(WAITS_FOR_TURN):
        text = word
    else:
        text = f"{word}: {reason}"
    if one.by and one.by not in text:
        text += f", by {one.by}"
    return text


def who(group: Group) -> str:
    """Name the accounts of a group: the only one, or how many they are."""
    return next(iter(group.names)) if len(group.names) == 1 else f"{len(group.names)} accounts"


def listed(group: Group) -> str:
    """Return the names of the accounts of a group if they are several, and of many only some."""
    names = sorted(group.names)
    if len(names) == 1:
        return ""
    shown = ", ".join(names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _word(one: Happening) -> str:
    if one.after == State.STARTING and one.before in _WORKING:
        return "gets a new process"
    ended = one.after not in (*_STEPS, State.CONNECTED, State.RECONNECTING, State.PAIRING, State.STOPPED)
    if ended and one.kind and one.after in (State.BACKOFF, State.BANNED):
        try:
            return _TELLING.get(Kind(one.kind), one.after)
        except ValueError:  # a kind of another version
            return one.after
    return one.after
