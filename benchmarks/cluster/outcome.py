"""What a fault has done, from what WhatsApp and the database have written down. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

LASTING_SECONDS: Final = 3.0
"""How long a link lasts at least after which an account counts as back."""

Event = Mapping[str, Any]
"""An event of the sandbox."""


@dataclass(frozen=True, slots=True)
class Link:
    """A client that has logged in.

    Attributes:
        device: Phone and number of the device.
        connection: The number of the connection.
        peer: The address that it came from.
        since: When it logged in, in Unix seconds.
        until: When WhatsApp saw its end; None if it has not.
    """

    device: tuple[str, int]
    connection: int
    peer: str
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An account's change of its owner.

    Attributes:
        at: When, in Unix seconds.
        account: The account.
        shard: The new owner; None if it has none any more.
    """

    at: float
    account: str
    shard: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that WhatsApp has taken for an account.

    Attributes:
        id: WhatsApp's identifier.
        account: The account.
    """

    id: str
    account: str


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of messages.

    Attributes:
        sent: How many WhatsApp has taken.
        once: How many are in the inbox once.
        reported: How many are not there, and the inbox says that they are lost.
        lost: How many are not there, and nobody says so.
        doubled: How many are there more than once.
    """

    sent: int = 0
    once: int = 0
    reported: int = 0
    lost: int = 0
    doubled: int = 0

    def __add__(self, other: Fates) -> Fates:
        return Fates(
            self.sent + other.sent,
            self.once + other.once,
            self.reported + other.reported,
            self.lost + other.lost,
            self.doubled + other.doubled,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault has done.

    Attributes:
        accounts: How many accounts it was about.
        claimed: Seconds until the first of them had another owner; None if the owners stayed.
        connected: Seconds until the last of them was back; None if none had to come back.
        missing: The accounts that were not connected in the end.
        gone: Seconds until the processes were gone that had been frozen; None if there were none.
        replaced: How often a log-in found an earlier link of the device open, at most for one device.
        fights: The devices for which that happened more than once.
        disturbed: Accounts that it was not about, and that had to log in again, though they stayed where they
            were.
        fates: What became of the messages.
    """

    accounts: int
    claimed: float | None = None
    connected: float | None = None
    missing: Sequence[str] = ()
    gone: float | None = None
    replaced: int = 0
    fights: Sequence[str] = ()
    disturbed: Sequence[str] = ()
    fates: Fates = field(default_factory=Fates)


def links(events: Iterable[Event]) -> list[Link]:
    """Return the links that there were, in the order of their log-ins."""
    peers: dict[int, str] = {}
    found: dict[int, Link] = {}
    for event in events:
        match event["event"]:
            case "opened":
                peers[event["connection"]] = event.get("peer", "")
            case "login":
                number = event["connection"]
                device = (event["phone"], event["device"])
                found[number] = Link(device, number, peers.get(number, ""), event["at"])
            case "closed" if event["connection"] in found:
                link = found[event["connection"]]
                found[link.connection] = Link(
                    link.device, link.connection, link.peer, link.since, event["at"]
                )
    return list(found.values())


def replaced(some: Sequence[Link], since: float, until: float) -> Counter[tuple[str, int]]:
    """Return how often a log-in in a time has found an earlier link of its device open.

    The end of a link that is replaced comes after the log-in of the one that replaces it. A machine that
    hands an account on closes its link before.

    Args:
        some: All links, in the order of their log-ins.
        since: The beginning.
        until: The end.
    """
    found: Counter[tuple[str, int]] = Counter()
    latest: dict[tuple[str, int], Link] = {}
    for link in some:
        before = latest.get(link.device)
        is_open = before is not None and (before.until is None or before.until > link.since)
        if is_open and since <= link.since <= until:
            found[link.device] += 1
        latest[link.device] = link
    return found


def returns(some: Iterable[Link], since: float, until: float) -> dict[str, float]:
    """Return when each phone's device was back, of those that have logged in in a time.

    That is the first log-in whose link lasted. A machine may hand the account on later.

    Args:
        some: All links, in the order of their log-ins.
        since: The beginning.
        until: The end.
    """
    found: dict[str, float] = {}
    for link in some:
        lasted = link.until is None or link.until - link.since >= LASTING_SECONDS
        if since <= link.since <= until and lasted:
            found.setdefault(link.device[0], link.since)
    return found


def claims(changes: Iterable[Change], since: float, until: float) -> dict[str, float]:
    """Return when each account got another owner first, of those that did in a time."""
    found: dict[str, float] = {}
    for one in changes:
        if one.shard is not None and since <= one.at <= until:
            found.setdefault(one.account, one.at)
    return found


def fates(letters: Sequence[Letter], entries: Iterable[tuple[str, str, str]]) -> Fates:
    """Return what became of messages.

    Args:
        letters: The messages.
        entries: What is in the inboxes: account, source and identifier.
    """
    stored: Counter[tuple[str, str]] = Counter()
    reported: set[tuple[str, str]] = set()
    for account, source, identifier in entries:
        if source == "message":
            stored[account, identifier] += 1
        elif source == "lost":
            reported.add((account, identifier))
    kinds: Counter[str] = Counter()
    for one in letters:
        key = one.account, one.id
        count = stored[key]
        kinds["doubled" if count > 1 else "once" if count else "reported" if key in reported else "lost"] += 1
    return Fates(len(letters), **kinds)


@dataclass(frozen=True, slots=True)
class Times:
    """When a fault happened, in Unix seconds.

    Attributes:
        began: When it began.
        counted: From when on it is counted how long the accounts are away: when it began, or when the
            database was there again.
        back: When all accounts were found connected, or that was given up.
        over: When the last look was.
    """

    began: float
    counted: float
    back: float
    over: float


def judge(
    some: Sequence[Link],
    changes: Sequence[Change],
    about: Mapping[str, str],
    others: Mapping[str, str],
    times: Times,
) -> Outcome:
    """Return what a fault has done, but for the processes and the messages.

    Args:
        some: All links, in the order of their log-ins.
        changes: All changes of owners.
        about: The accounts that it was about, with their phones' numbers.
        others: The other accounts likewise.
        times: When it happened.
    """
    began, back, over = times.began, times.back, times.over
    logins = returns(some, began, back)
    claimed = claims(changes, began, back)
    first = min((at for name, at in claimed.items() if name in about), default=None)
    fought = replaced(some, began, over)
    last = max((logins[number] for number in about.values() if number in logins), default=None)
    linked = {one.device[0] for one in some if one.since <= back and (one.until is None or one.until > back)}
    return Outcome(
        accounts=len(about),
        claimed=None if first is None else first - times.counted,
        connected=None if last is None else last - times.counted,
        missing=[name for name, number in {**about, **others}.items() if number not in linked],
        replaced=max(fought.values(), default=0),
        fights=[phone for (phone, _), count in fought.items() if count > 1],
        disturbed=[name for name, number in others.items() if number in logins and name not in claimed],
    )


def together(some: Sequence[Outcome]) -> Outcome:
    """Return the worst of several rounds of one fault, with all their messages."""
    total = Fates()
    for one in some:
        total += one.fates
    return Outcome(
        accounts=max(one.accounts for one in some),
        claimed=_latest(one.claimed for one in some),
        connected=_latest(one.connected for one in some),
        missing=sorted({name for one in some for name in one.missing}),
        gone=_latest(one.gone for one in some),
        replaced=max(one.replaced for one in some),
        fights=sorted({phone for one in some for phone in one.fights}),
        disturbed=sorted({name for one in some for name in one.disturbed}),
        fates=total,
    )


def wrong(what: str, one: Outcome) -> Iterator[str]:
    """Yield what must not be.

    Args:
        what: The fault.
        one: What it has done.
    """
    for names, said in (
        (one.missing, "accounts that were not connected in the end"),
        (one.fights, "devices whose link was replaced more than once"),
        (one.disturbed, "accounts of other machines that had to connect again"),
    ):
        if names:
            yield f"{what}: {said}: {len(names)}, such as {names[0]}"
    if one.fates.lost:
        yield f"{what}: messages that are in no inbox, and that no inbox calls lost: {one.fates.lost}"
    if one.fates.doubled:
        yield f"{what}: messages that are in an inbox twice: {one.fates.doubled}"


HEAD = (
    "fault",
    "accounts",
    "first claimed",
    "last connected",
    "old processes gone",
    "links replaced",
    "fights",
    "messages",
    "arrived once",
    "reported lost",
    "lost",
    "twice",
)
"""What the columns of the table are."""


def rows(outcomes: Mapping[str, Outcome]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, the head first."""
    yield HEAD
    for name, one in outcomes.items():
        fate = one.fates
        yield (
            name,
            str(one.accounts),
            _seconds(one.claimed),
            _seconds(one.connected),
            "-" if one.gone is None else f"{one.gone:.2f} s",
            str(one.replaced),
            str(len(one.fights)),
            *map(str, (fate.sent, fate.once, fate.reported, fate.lost, fate.doubled)),
        )


def markdown(table: Iterable[Sequence[str]]) -> str:
    """Return a table as the documentation has it."""
    head, *rest = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([head, "|" + "---|" * len(HEAD), *rest])


def _latest(times: Iterable[float | None]) -> float | None:
    return max((one for one in times if one is not None), default=None)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
