"""What must be true of a cluster, whatever went wrong. Pure: each check looks back at all that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cluster_soak.kinds import KINDS
from benchmarks.cluster_soak.observed import Claim, Errand, Kept, Letter, Link, Struck, Write
from benchmarks.soak.observation import Finding
from orchestrator.sending.row import State

CAUSE_SECONDS = 120.0
"""Seconds for which a fault or a change of the owner explains that WhatsApp takes an old link for open.
Clients without a cable try again at growing intervals."""
OVERLAP_SECONDS = 15.0
"""Seconds in which an older link must be closed once a newer one was logged in."""
MAY_BE_MISSING = frozenset({State.UNKNOWN, State.FAILED, State.EXPIRED, State.TAKEN_BACK})
"""The states of a row in which its text need not have arrived."""
MAY_HAVE_ARRIVED = frozenset({State.SENT, State.UNKNOWN})
"""The states of a row in which its text may have arrived."""
_EXAMPLES = 3


# Links


def two_links(links: Sequence[Link], claims: Sequence[Claim], struck: Sequence[Struck]) -> Iterator[Finding]:
    """Yield links that were opened beside another one of the same device without a change that explains it.

    Each change of the owner, and each fault that leaves a link half open, explains one new link beside one
    that WhatsApp still takes for open. Two clients that fight for a session need one after the other.
    """
    for account in sorted({link.account for link in links}):
        mine = sorted((link for link in links if link.account == account), key=lambda link: link.began_at)
        owners = _owners(claims, account)
        causes = [
            *((claim.at, claim.at) for claim in owners if claim.shard is not None),
            *(
                (one.began_at, one.ended_at)
                for one in struck
                if account in one.hit and KINDS[one.strike.kind].half_open
            ),
        ]
        for number, link in enumerate(mine):
            older = [one for one in mine[:number] if one.is_open(link.began_at)]
            if not older:
                continue
            known = [cause for cause in causes if cause[0] <= link.began_at <= cause[1] + CAUSE_SECONDS]
            if known:
                causes.remove(min(known, key=lambda cause: cause[1]))
            else:
                yield Finding(
                    "two links",
                    account,
                    f"connection {link.connection} beside {[one.connection for one in older]}"
                    f" at {link.began_at:.1f}, without a cause",
                )
            for one in older:
                if one.ended_at is None or one.ended_at > link.began_at + OVERLAP_SECONDS:
                    yield Finding(
                        "two links",
                        account,
                        f"connection {one.connection} beside {link.connection} for more than"
                        f" {OVERLAP_SECONDS:.0f} s",
                    )


def foreign_links(links: Sequence[Link], claims: Sequence[Claim]) -> Iterator[Finding]:
    """Yield links that a shard has made that did not own the account."""
    for account in sorted({link.account for link in links}):
        owners = _owners(claims, account)
        for link in (link for link in links if link.account == account):
            owner = next((claim.shard for claim in reversed(owners) if claim.at <= link.began_at), None)
            if owner != link.shard:
                yield Finding(
                    "foreign link",
                    account,
                    f"connection {link.connection} of {link.shard} at {link.began_at:.1f}, not of {owner}",
                )


def overlaps(links: Sequence[Link]) -> int:
    """Return how many links were opened while WhatsApp took an older one of the device for open."""
    of: dict[str, list[Link]] = {}
    for link in links:
        of.setdefault(link.account, []).append(link)
    return sum(
        any(older.is_open(link.began_at) for older in mine if older is not link)
        for mine in of.values()
        for link in mine
    )


# Sessions


def foreign_writes(writes: Sequence[Write]) -> Iterator[Finding]:
    """Yield writes to a session by another than its owner, in the order in which they were made.

    A claim comes before the fence that ends the connections of the one before. What those write in between is
    read by the new owner: it does harm only once the new owner has begun.
    """
    begun: dict[tuple[str, int], set[str]] = {}
    seen_in: dict[tuple[str, str], int] = {}
    told: Counter[tuple[str, str]] = Counter()
    for write in writes:
        epoch = (write.account, write.epoch)
        first_in = seen_in.setdefault((write.account, write.connection), write.epoch)
        is_owner = write.shard is not None and write.shard == write.owner and first_in == write.epoch
        if is_owner:
            begun.setdefault(epoch, set()).add(write.connection)
            continue
        what = None
        if write.shard is None:
            what = "an address that no shard has"
        elif epoch in begun:
            what = f"{write.shard}, which is not its owner any more"
            if write.shard == write.owner:
                what = f"an earlier process of {write.shard}"
        if what is not None:
            told[write.account, what] += 1
            if told[write.account, what] == 1:
                yield Finding(
                    "foreign write",
                    write.account,
                    f"{write.table} by {what}, at {write.at:.1f} in epoch {write.epoch} of {write.owner}",
                )


def late_writes(writes: Sequence[Write]) -> int:
    """Return how many writes came from a shard that was not the owner any more, before the fence."""
    return sum(write.shard is not None and write.shard != write.owner for write in writes)


# Messages


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of all messages to the accounts.

    Attributes:
        sent: How many WhatsApp has taken.
        stored: How many of them are in an inbox.
        reported: How many are not, and the inbox says that they are lost.
        missing: Those of which nobody says anything.
        doubled: Those that are stored more than once.
    """

    sent: int
    stored: int
    reported: int
    missing: tuple[Letter, ...]
    doubled: tuple[Letter, ...]


def fate(letters: Sequence[Letter], kept: Kept) -> Fate:
    """Tell what became of the messages to the accounts."""
    count = {one: kept.stored.get((one.account, one.id), 0) for one in letters}
    gone = [one for one, times in count.items() if not times]
    reported = [one for one in gone if (one.account, one.id) in kept.lost]
    return Fate(
        len(letters),
        len(letters) - len(gone),
        len(reported),
        tuple(one for one in gone if (one.account, one.id) not in kept.lost),
        tuple(one for one, times in count.items() if times > 1),
    )


def lost_letters(found: Fate) -> Iterator[Finding]:
    """Yield messages to accounts that are missing without a word, or stored twice."""
    for check, some in (("message lost", found.missing), ("message twice", found.doubled)):
        for account, count in sorted(Counter(one.account for one in some).items()):
            examples = [f"{one.id} of {one.at:.1f}" for one in some if one.account == account]
            yield Finding(check, account, f"{count}: {', '.join(examples[:_EXAMPLES])}")


def lost_errands(errands: Sequence[Errand], kept: Kept, arrived: Mapping[str, int]) -> Iterator[Finding]:
    """Yield texts of accounts of which the outbox does not say what became of them.

    Args:
        errands: The texts that were asked for.
        kept: What the database says.
        arrived: How often each text has arrived.
    """
    for one in errands:
        count = arrived.get(one.text, 0)
        state = None if one.row is None else kept.rows.get((one.account, one.row))
        about = f"row {one.row} is {state}, and {one.text!r} arrived {count} times"
        if count > 1:
            yield Finding("sent twice", one.account, about)
        elif one.row is None:
            continue  # nobody was told that it was taken
        elif state is None:
            yield Finding("row lost", one.account, about)
        elif state not in MAY_BE_MISSING and not count:
            yield Finding("not sent", one.account, about)
        elif count and state not in MAY_HAVE_ARRIVED:
            yield Finding("sent after all", one.account, about)


# Time


@dataclass(frozen=True, slots=True)
class Back:
    """How long it took an account to come back.

    Attributes:
        struck: After which fault.
        account: Which account.
        seconds: Seconds until it had a link again, since that which the fault's limit counts from; None if it
            had none until the end.
        alone: Whether nothing else happened to it meanwhile.
        limit: Seconds within which it must be back, whatever else happened meanwhile.
    """

    struck: Struck
    account: str
    seconds: float | None
    alone: bool
    limit: float


def backs(links: Sequence[Link], struck: Sequence[Struck], end: float) -> list[Back]:
    """Return when each account was back after each fault that has disconnected it.

    Faults that overlap make each other's limits longer, since one begins anew what the other has begun.

    Args:
        links: All links.
        struck: All faults.
        end: When nobody looked any more.
    """
    found = []
    for one in struck:
        kind = KINDS[one.strike.kind]
        if not kind.drops:
            continue
        since = _since(one)
        for account in sorted(one.hit):
            mine = [link for link in links if link.account == account and link.began_at > one.began_at]
            # A link that was cut before that does not count: the fault has ended it.
            lasting = [link for link in mine if link.ended_at is None or link.ended_at > since]
            back = min((max(link.began_at, since) for link in lasting), default=None)
            others, limit = False, since + kind.within
            # In the order of time: each may meet an account that is on its way because of those before.
            for other in sorted(struck, key=lambda other: other.began_at):
                touches = account in other.hit or other.strike.account is None
                if other is one or not touches or other.began_at > limit or _until(other) < one.began_at:
                    continue
                others, limit = True, max(limit, _until(other))
            if back is None and end < limit:
                continue
            seconds = None if back is None else back - since
            found.append(Back(one, account, seconds, not others, limit - since))
    return found


def late(found: Sequence[Back], slack: float) -> Iterator[Finding]:
    """Yield accounts that were not back in time.

    Args:
        found: When they were back.
        slack: Seconds that a busy machine may take on top.
    """
    for one in found:
        if one.seconds is None or one.seconds > one.limit + slack:
            took = "never" if one.seconds is None else f"after {one.seconds:.1f} s"
            yield Finding(
                "late", one.account, f"back {took}, and not within {one.limit:.0f} s, of {one.struck.strike}"
            )


def _since(one: Struck) -> float:
    return one.began_at if KINDS[one.strike.kind].since == "beginning" else one.ended_at


def _until(one: Struck) -> float:
    return max(one.ended_at, _since(one) + KINDS[one.strike.kind].within)


def _owners(claims: Sequence[Claim], account: str) -> list[Claim]:
    return [claim for claim in claims if claim.account == account]
