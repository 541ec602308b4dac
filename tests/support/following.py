"""Gateways of several machines, whose positions follow accounts through one store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.dispatching import crm
from support.feeds import MemoryFeed

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.followed import DeadLetter, Gone, Page, Row, Stand
from orchestrator.consumers.outcomes import Endpoint
from orchestrator.consumers.pulling import Batch, Known, Reach
from orchestrator.consumers.writes import LaneRow, Moved, Place
from orchestrator.errors import NotRunning, OrchestratorError, StoreAway
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.following import Following
from orchestrator.gateway.dispatch.pull_store import InService
from orchestrator.service.aside import Aside
from orchestrator.service.companions import following
from orchestrator.service.terms import Terms
from orchestrator.store.protocols import ConsumerStore, PullRows

Json = dict[str, Any]


class MemoryConsumers:
    """What is known of consumers, in memory. It shows what another store has to do.

    Attributes:
        is_away: Whether it cannot be asked.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[object, ...], Row] = {}
        self.stands: dict[str, Stand] = {}

    def read(self, account: str, after: int, most: int) -> Page:
        found = [row for key, row in sorted(self.rows.items(), key=str) if row.account == account]
        some = found[after : after + most]
        is_known = any(row.is_position for row in found)
        return Page(tuple(some), len(found) <= after + most, is_known)

    def follow(self, rows: Sequence[Row]) -> frozenset[str]:
        for row in rows:
            match row.what:
                case Gone(kind, place, key):
                    self.rows.pop((kind, row.consumer, place, key), None)
                case Moved(place):
                    self.rows["position", row.consumer, place, ""] = row
                case LaneRow(place, lane):
                    self.rows["chat", row.consumer, place, lane] = row
                case DeadLetter(place, head=head):
                    self.rows["letter", row.consumer, place, head.seq] = row
        return frozenset()

    def standings(self) -> list[Stand]:
        return list(self.stands.values())

    def stand(self, standings: Iterable[Stand], seen: Iterable[str]) -> list[Stand]:  # noqa: ARG002
        told = []
        for one in standings:
            before = self.stands.get(one.name)
            if before is None or one.revision:
                revision = 1 if before is None else before.revision + 1
                self.stands[one.name] = Stand(one.name, one.kind, one.standing, revision)
            told.append(self.stands[one.name])
        return told


class MemoryPulls:
    """How far pulls are, in memory."""

    def __init__(self) -> None:
        self.pulls: dict[str, Known] = {}
        self.batches: dict[tuple[str, str], Batch] = {}

    def known(self, accounts: Collection[str] | None) -> dict[str, Known]:
        return {
            name: Known(
                one.maker,
                one.since,
                {p: at for p, at in one.positions.items() if accounts is None or p.account in accounts},
            )
            for name, one in self.pulls.items()
        }

    def use(self, name: str, maker: str, since: float) -> Known:
        return self.pulls.setdefault(name, Known(maker, since, {}))

    def begin(self, name: str, positions: Mapping[Place, int]) -> None:
        if (before := self.pulls.get(name)) is None:
            return
        moved = {place: max(at, before.positions.get(place, 0)) for place, at in positions.items()}
        self.pulls[name] = Known(before.maker, before.since, {**before.positions, **moved})

    def outstanding(self, name: str, scope: str) -> Batch | None:
        found = self.batches.get((name, scope))
        return found if found is not None and found.reach else None

    def hand_out(self, name: str, scope: str, batch: Batch, instead: str | None) -> bool:
        there = self.outstanding(name, scope)
        if name not in self.pulls:
            return False
        if (None if there is None else there.cursor) != instead:
            return False
        self.batches[name, scope] = batch
        return True

    def acknowledge(self, name: str, cursor: str) -> list[Reach] | None:
        for key, batch in self.batches.items():
            if key[0] == name and batch.cursor == cursor:
                self.batches[key] = Batch(cursor, [])
                self.begin(name, {place: end for place, _, end in batch.reach})
                return batch.reach
        return None

    def reset(self, name: str, positions: Mapping[Place, int]) -> None:
        if (before := self.pulls.get(name)) is None:
            return
        self.pulls[name] = Known(before.maker, before.since, {**before.positions, **positions})
        self.batches = {key: one for key, one in self.batches.items() if key[0] != name}

    def remove(self, name: str) -> None:
        self.pulls.pop(name, None)
        self.batches = {key: one for key, one in self.batches.items() if key[0] != name}


class Machine:
    """A machine: what its service knows of the gateway, and the gateway's dispatcher.

    Attributes:
        terms: Which accounts it has.
        away: Whether the gateway cannot reach its service.
        has_store: Whether the service reaches the database.
        asked: The commands that the gateway gave.
    """

    def __init__(self, folder: Path, feed: MemoryFeed, store: ConsumerStore, pulls: PullRows) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.feed = folder, feed
        self.terms = Terms()
        self.away: type[OrchestratorError] | None = None
        self.has_store = True
        self.asked: list[str] = []
        self._aside = Aside("machine")
        self._answers = following.Following(self.terms, store, pulls, self._aside)

    async def ask(self, asker: object, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401, ARG002
        if self.away is not None:
            raise self.away("the service does not answer")
        self.asked.append(command)
        if not self.has_store and command != "consumer_terms":
            raise StoreAway("the database does not answer")
        return await self._answers.commands[command]({"command": command, **arguments})

    def has(self, *accounts: str) -> None:
        for account in accounts:
            self.terms.begin(account)

    def close(self) -> None:
        self._aside.close()

    @contextlib.asynccontextmanager
    async def running(
        self,
        endpoints: Mapping[str, Endpoint],
        consumers: Mapping[str, Consumer] | None = None,
        *,
        ends_well: bool = True,
        since: float | None = None,
    ) -> AsyncIterator[tuple[Dispatcher, Following]]:
        """Run a gateway; a bad end is as if the machine was lost."""
        import asyncio

        dispatcher = Dispatcher(self.folder, self.feed, follows=True)  # type: ignore[arg-type]
        dispatcher.lines.pull_store = InService(self)
        link = Following(self, dispatcher.lines)
        dispatcher.configure(consumers or {name: crm(name) for name in endpoints}, endpoints, since=since)
        tasks = [asyncio.ensure_future(dispatcher.run()), asyncio.ensure_future(link.run())]
        try:
            await dispatcher.lines.ready()
            yield dispatcher, link
        finally:
            if not ends_well:
                self.away = NotRunning
                for one in dispatcher.lines.lines.values():
                    await one.close(0)
                dispatcher.lines.writer._pending.clear()
            await dispatcher.close(1.0)
            self.away = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
