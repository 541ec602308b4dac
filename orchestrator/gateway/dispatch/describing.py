"""What programs and operators are told of consumers, from what a machine knows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.consumers.machine import Machine
from orchestrator.consumers.writes import Place
from orchestrator.gateway.dispatch.snapshot import Noted
from orchestrator.gateway.feed import Rendered
from orchestrator.system.clock import iso

Json: TypeAlias = dict[str, Any]

_OF_ACCOUNT: Final = re.compile(rf"evt_({NAME_PATTERN})_account_([0-9]{{1,18}})")
_OF_MESSAGES: Final = re.compile(rf"evt_({NAME_PATTERN})_([0-9]{{1,18}})")


def status(machine: Machine, now: float) -> Json:
    """Return what is known of a webhook or bot: see `Dispatcher.status`."""
    standing, consumer = machine.standing, machine.consumer
    wake = machine.wake_at(now)
    return {
        "name": consumer.name,
        "kind": consumer.kind,
        "state": machine.state(now),
        "why": standing.why or None,
        "since": iso(standing.changed_at or standing.since or None),
        "next_try_at": iso(wake),
        "accounts": None if consumer.accounts is None else sorted(consumer.accounts),
        "events": list(consumer.events),
        "in_flight": machine.flying,
        "waiting": sum(course.waiting() for course in machine.courses.values() if not course.is_off),
        "oldest_at": iso(oldest(machine)),
        "retrying": machine.retrying(),
        "dead": max(0, machine.dead),
        "delivered": machine.counts.delivered,
        "failed": machine.counts.failed,
        "expired": machine.tally.expired,
    }


def oldest(machine: Machine) -> float | None:
    """Return when the oldest event was stored that was read and is not done, None without one."""
    lanes = [lane for course in machine.courses.values() for lane in course.lanes.values()]
    heads = [lane.head or (lane.events[0] if lane.events else None) for lane in lanes]
    return min((head.at for head in heads if head is not None), default=None)


def pull(name: str) -> Json:
    """Return what is known of a pull, in the same form."""
    return {
        "name": name, "kind": "pull", "state": "active", "why": None, "since": None, "next_try_at": None,
        "accounts": None, "events": ["*"], "in_flight": 0, "waiting": 0, "oldest_at": None, "retrying": 0,
        "dead": 0, "delivered": 0, "failed": 0, "expired": 0,
    }  # fmt: skip


def positions(machine: Machine) -> list[Json]:
    """Return how far a webhook or bot is: see `Dispatcher.positions`."""
    return [
        {
            "account": place.account,
            "stream": place.stream,
            "cursor": course.cursor if course.target is None else course.target,
            "newest": max(course.newest, course.cursor or 0),
            "waiting": course.waiting(),
        }
        for place, course in sorted(machine.courses.items())
        if not course.is_off
    ]


def pull_positions(places: Mapping[Place, int]) -> list[Json]:
    """Return how far a pull is, in the same form."""
    return [
        {"account": place.account, "stream": place.stream, "cursor": cursor, "newest": None, "waiting": None}
        for place, cursor in sorted(places.items())
    ]


def letter(row: Json) -> Json:
    """Return a dead letter as it is shown."""
    return {**row, "at": iso(row["at"]), "died_at": iso(row["died_at"])}


def noted(machine: Machine) -> Noted:
    """Return where a webhook or bot may begin anew without missing anything."""
    safe = {place: course.safe() for place, course in machine.courses.items() if course.cursor is not None}
    return Noted(machine.standing.paused or machine.standing.disabled, safe)


def place_of(event: str, accounts: Collection[str]) -> tuple[Place | None, int]:
    """Return where an event is numbered, by its id, and its number there."""
    if (match := _OF_ACCOUNT.fullmatch(event)) and match[1] in accounts:
        return Place(match[1], "account"), int(match[2])
    if match := _OF_MESSAGES.fullmatch(event):
        return Place(match[1], "messages"), int(match[2])
    return None, 0


def fate(machine: Machine, place: Place, seq: int, event: Rendered | None, written: Json | None) -> Json:
    """Return what became of an event with one consumer: see `Dispatcher.trace`.

    Args:
        machine: The consumer's.
        place: Where the event is numbered.
        seq: Its number there.
        event: The event, None if it is not kept any more.
        written: What is written down of it.
    """
    found: Json = {"consumer": machine.consumer.name, "kind": machine.consumer.kind}
    if written is not None:
        return found | {
            "state": written["state"], "tries": written["tries"], "why": written["why"] or None,
            "next_try_at": iso(written["due"]),
        }  # fmt: skip
    state = "waiting"
    if event is not None and not machine.wants(event.type):
        state = "not_wanted"
    elif (course := machine.courses.get(place)) is not None and course.is_done(
        seq, None if event is None else event.lane
    ):
        state = "delivered"
    return found | {"state": state, "tries": None, "why": None, "next_try_at": None}
