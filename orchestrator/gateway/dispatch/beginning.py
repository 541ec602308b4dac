"""Finds where a consumer begins that is new to an account: what came before it does not flood it."""

from __future__ import annotations

from typing import Protocol

from orchestrator.consumers.writes import Place
from orchestrator.gateway.feed import Batch, Stream


class Events(Protocol):
    """What is needed of the feed: see `gateway.feed.Feed`."""

    async def after(self, account: str, stream: Stream, seq: int, limit: int, /) -> Batch:
        """Return the events after a number, in order."""

    async def newest(self, account: str, stream: Stream, /) -> int:
        """Return the highest number that was given."""


async def find(feed: Events, place: Place, since: float) -> int:
    """Return the number that all events that were stored before a time are up to.

    Events are numbered in the order in which they are stored, so a few looks are enough.

    Args:
        feed: Where the events are.
        place: Where to look.
        since: The time, in Unix seconds.

    Raises:
        FeedError: The events cannot be read now.
    """
    stream: Stream = "account" if place.stream == "account" else "messages"
    low, high = 0, await feed.newest(place.account, stream)
    middle = max(0, high - 1)  # most often, nothing has come since
    while low < high:
        batch = await feed.after(place.account, stream, middle, 1)
        if batch.events and batch.events[0].seq <= high:
            if batch.events[0].at < since:
                low = batch.events[0].seq
            else:
                high = middle
        elif not batch.events and batch.more and middle < batch.last < high:
            middle = batch.last  # what was looked at says nothing to anybody
            continue
        else:
            high = middle
            if low == high:
                break
        middle = (low + high) // 2
    return low
