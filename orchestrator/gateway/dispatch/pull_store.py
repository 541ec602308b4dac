"""Where it is kept how far pulls are: in the gateway's file, or in the database of all machines.

A client may ask any machine, so with a database a pull is one for all machines, and a batch that one machine
handed out is acknowledged at any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from orchestrator.consumers.pulling import (
    Batch,
    Known,
    Reach,
    dump_places,
    dump_reach,
    load_known,
    load_reach,
)
from orchestrator.consumers.writes import Moved, Place, Standing
from orchestrator.gateway.dispatch.store import Store
from orchestrator.gateway.dispatch.writer import Writer
from orchestrator.gateway.parent import GATEWAY, Who

Json: TypeAlias = dict[str, Any]


class PullStore(Protocol):
    """What is kept of pulls. Each call raises `OrchestratorError` if it cannot be done now."""

    async def known(self, accounts: Iterable[str] | None = None) -> dict[str, Known]:
        """Return the pulls by name, with their positions in some accounts, or in all."""

    async def use(self, name: str, maker: str, since: float, now: float) -> Known:
        """Note that a pull is used, and make it if there is none, with events since a time."""

    async def begin(self, name: str, place: Place, cursor: int) -> None:
        """Note where a pull begins that has no position there."""

    async def outstanding(self, name: str, scope: str) -> Batch | None:
        """Return the batch that was not acknowledged."""

    async def hand_out(self, name: str, scope: str, batch: Batch, instead: str | None, now: float) -> bool:
        """Note a batch; return whether there was none already but the one that it comes instead of."""

    async def acknowledge(self, name: str, cursor: str) -> list[tuple[Place, int]] | None:
        """Move positions behind a batch: see `Store.acknowledge`."""

    async def reset(self, name: str, positions: Mapping[Place, int]) -> None:
        """Move positions, and forget all batches."""

    async def remove(self, name: str) -> None:
        """Forget a pull."""


class InFile:
    """In the gateway's file.

    Args:
        writer: The file.
    """

    def __init__(self, writer: Writer) -> None:
        self._call = writer.call

    async def known(self, accounts: Iterable[str] | None = None) -> dict[str, Known]:  # noqa: ARG002
        """See `PullStore.known`: positions in all accounts."""
        found = {}
        for name, one in (await self._call(Store.known)).items():
            if one.kind == "pull":
                found[name] = await self._one(name, one.maker)
        return found

    async def _one(self, name: str, maker: str) -> Known:
        kept = await self._call(Store.load, name)
        positions = {place: moved.cursor or 0 for place, moved in kept.positions.items()}
        return Known(maker, kept.standing.since, positions)

    async def use(self, name: str, maker: str, since: float, now: float) -> Known:
        """See `PullStore.use`."""
        await self._call(Store.declare, name, "pull", now, maker)
        known = await self._one(name, maker)
        if known.since:
            return known
        await self._call(Store.apply, {name: [Standing(since=since)]})
        return Known(maker, since, known.positions)

    async def begin(self, name: str, place: Place, cursor: int) -> None:
        """See `PullStore.begin`."""
        await self._call(Store.apply, {name: [Moved(place, cursor)]})

    async def outstanding(self, name: str, scope: str) -> Batch | None:
        """See `PullStore.outstanding`."""
        found = await self._call(Store.outstanding, name, scope)
        return None if found is None else Batch(*found)

    async def hand_out(
        self,
        name: str,
        scope: str,
        batch: Batch,
        instead: str | None,  # noqa: ARG002 - nobody else hands anything out
        now: float,
    ) -> bool:
        """See `PullStore.hand_out`."""
        await self._call(Store.hand_out, name, scope, batch.cursor, batch.reach, now)
        return True

    async def acknowledge(self, name: str, cursor: str) -> list[tuple[Place, int]] | None:
        """See `PullStore.acknowledge`."""
        return await self._call(Store.acknowledge, name, cursor)

    async def reset(self, name: str, positions: Mapping[Place, int]) -> None:
        """See `PullStore.reset`."""
        await self._call(Store.apply, {name: [Moved(place, at) for place, at in positions.items()]})
        await self._call(Store.forget_batches, name)

    async def remove(self, name: str) -> None:
        """See `PullStore.remove`."""
        await self._call(Store.forget, name)


class Service(Protocol):
    """What is needed of the service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Who, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401
        """Ask for something and return the answer."""


class InService:
    """In the database, which the service asks.

    Args:
        service: The service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def _ask(self, what: str, /, **arguments: Any) -> Json:  # noqa: ANN401 - as the service takes them
        return await self._service.ask(GATEWAY, "consumer_pull", what=what, **arguments)

    async def known(self, accounts: Iterable[str] | None = None) -> dict[str, Known]:
        """See `PullStore.known`."""
        some = None if accounts is None else sorted(accounts)
        answer = await self._ask("known", accounts=some)
        return {name: load_known(one) for name, one in answer["pulls"].items()}

    async def use(self, name: str, maker: str, since: float, now: float) -> Known:  # noqa: ARG002
        """See `PullStore.use`; the database has a clock of its own."""
        return load_known((await self._ask("use", pull=name, maker=maker, since=since))["known"])

    async def begin(self, name: str, place: Place, cursor: int) -> None:
        """See `PullStore.begin`."""
        await self._ask("begin", pull=name, places=dump_places({place: cursor}))

    async def outstanding(self, name: str, scope: str) -> Batch | None:
        """See `PullStore.outstanding`."""
        answer = await self._ask("outstanding", pull=name, scope=scope)
        return None if answer["cursor"] is None else Batch(answer["cursor"], load_reach(answer["reach"]))

    async def hand_out(
        self,
        name: str,
        scope: str,
        batch: Batch,
        instead: str | None,
        now: float,  # noqa: ARG002 - the database has a clock of its own
    ) -> bool:
        """See `PullStore.hand_out`."""
        answer = await self._ask(
            "hand_out",
            pull=name,
            scope=scope,
            cursor=batch.cursor,
            reach=dump_reach(batch.reach),
            instead=instead,
        )
        return bool(answer["done"])

    async def acknowledge(self, name: str, cursor: str) -> list[tuple[Place, int]] | None:
        """See `PullStore.acknowledge`."""
        answer = await self._ask("acknowledge", pull=name, cursor=cursor)
        if answer["reach"] is None:
            return None
        reach: Sequence[Reach] = load_reach(answer["reach"])
        return [(place, seq) for place, _, seq in reach]

    async def reset(self, name: str, positions: Mapping[Place, int]) -> None:
        """See `PullStore.reset`."""
        await self._ask("reset", pull=name, places=dump_places(positions))

    async def remove(self, name: str) -> None:
        """See `PullStore.remove`."""
        await self._ask("remove", pull=name)
