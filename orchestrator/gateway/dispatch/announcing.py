"""Events that are in no stream: each is kept like a dead letter that is sent again, until it is delivered."""

from __future__ import annotations

from typing import Final

from orchestrator.consumers.notices import Notice
from orchestrator.consumers.writes import Died, Head, Place
from orchestrator.gateway.dispatch.store import Store

PLACE: Final = Place("", "notices")


def announce(store: Store, name: str, notice: Notice, now: float) -> None:
    """Have an event delivered to a consumer.

    Args:
        store: Where it is kept.
        name: The consumer.
        notice: The event.
        now: Unix seconds.
    """
    head = Head(notice.id, notice.type, round(notice.at * 1000), notice.at)
    store.apply({name: [Died(PLACE, "", head, 0, "", now, notice.body)]})
    store.revive(name, notice.id, now)
