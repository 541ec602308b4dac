"""A feed in memory, for what hands events on: as the real one, without processes and files."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from orchestrator.gateway.feed import Batch, FeedError, Heard, Rendered, Stream


class MemoryFeed:
    """Events of accounts, in memory. Reading takes a turn of the event loop, as it does really.

    Attributes:
        broken: Accounts whose events cannot be read.
        kept: Accounts whose messages stay although the account is gone.
        elsewhere: Accounts whose messages are under another name by now.
        reads: How often events were read.
        asked: How often it was asked whether messages of an account that is gone are put away.
    """

    def __init__(self, *accounts: str) -> None:
        self._accounts = set(accounts)
        self._events: dict[tuple[str, str], list[Rendered]] = {}
        self._gone: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}
        self._watchers: list[Heard] = []
        self.broken: set[str] = set()
        self.kept: set[str] = set()
        self.elsewhere: set[str] = set()
        self.reads = self.asked = 0

    def add(
        self,
        account: str,
        lane: str = "x@lid",
        kind: str = "message.received",
        stream: Stream = "messages",
        *,
        text: str = "hello",
        at: float | None = None,
    ) -> Rendered:
        """Store an event, and say so."""
        self._accounts.add(account)
        events = self._events.setdefault((account, stream), [])
        seq = self._gone.get((account, stream), 0) + len(events) + 1
        name = f"evt_{account}_account_{seq}" if stream == "account" else f"evt_{account}_{seq}"
        data = {"chat": {"id": lane}, "text": text}
        body = json.dumps({"id": name, "type": kind, "account": account, "seq": seq, "data": data})
        lane = "" if stream == "account" else lane
        at = time.time() if at is None else at
        event = Rendered(name, kind, account, stream, seq, lane, at, body.encode())
        events.append(event)
        self.tell(account, stream)
        return event

    def tell(self, account: str, stream: Stream = "messages") -> None:
        """Say that there may be something new."""
        for heard in tuple(self._watchers):
            heard(account, stream)

    def clear(self, account: str, stream: Stream = "messages") -> None:
        """Delete all events of an account."""
        key = account, stream
        self._gone[key] = self._gone.get(key, 0) + len(self._events.get(key, []))
        self._events[key] = []

    def remove(self, account: str) -> None:
        """Remove an account; its events go with it, unless they are kept."""
        self._accounts.discard(account)
        if account not in self.kept:
            for stream in ("messages", "account"):
                self._events.pop((account, stream), None)
        self.tell(account)

    def come_back(self, old: str, account: str) -> None:
        """Have an account be there again that was kept, and that had another name once."""
        self._names[old] = account
        self._accounts.add(account)
        self.tell(account)

    def rename(self, account: str, new: str, *, is_told: bool = True) -> None:
        """Give an account another name, under which its numbers go on."""
        for (name, stream), events in tuple(self._events.items()):
            if name == account:
                self._gone[new, stream] = self._gone.get((name, stream), 0) + len(events)
                del self._events[name, stream]
        self._accounts.discard(account)
        self._accounts.add(new)
        self._names[account] = new
        if is_told:
            self.tell(new)

    def accounts(self) -> frozenset[str]:
        """See `Feed`."""
        return frozenset(self._accounts)

    def knows(self, account: str) -> bool:
        """See `Feed`."""
        return account in self._accounts

    def renamed(self, account: str) -> str | None:
        """See `Feed`."""
        return self._names.get(account)

    def is_put_away(self, account: str) -> bool:
        """See `Feed`."""
        self.asked += 1
        return not (account in self.kept or account in self._accounts or account in self._names)

    def are_elsewhere(self, account: str) -> bool:
        """See `Feed`."""
        return account in self.elsewhere

    def watch(self, heard: Heard) -> Callable[[], None]:
        """See `Feed`."""
        self._watchers.append(heard)
        return lambda: self._watchers.remove(heard)

    async def after(
        self, account: str, stream: Stream, seq: int, limit: int, chat: str | None = None
    ) -> Batch:
        """See `Feed`."""
        self.reads += 1
        await asyncio.sleep(0)
        self._check(account)
        gone = self._gone.get((account, stream), 0)
        events = self._events.get((account, stream), [])
        if chat is None:
            found = events[max(0, seq - gone) : max(0, seq - gone) + limit + 1]
        else:
            found = [event for event in events if event.seq > seq and event.lane == chat][: limit + 1]
        more = len(found) > limit
        last = found[limit - 1].seq if more else max(seq, gone + len(events))
        return Batch(tuple(found[:limit]), last, more)

    async def newest(self, account: str, stream: Stream) -> int:
        """See `Feed`."""
        self._check(account)
        return self._gone.get((account, stream), 0) + len(self._events.get((account, stream), []))

    async def one(self, account: str, stream: Stream, seq: int) -> Rendered | None:
        """See `Feed`."""
        self._check(account)
        return next((one for one in self._events.get((account, stream), []) if one.seq == seq), None)

    def _check(self, account: str) -> None:
        if account in self.broken:
            raise FeedError(f"the inbox of {account} cannot be read")
