"""Hands events to whoever comes for them: the same batch until it is acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Final, Protocol

from orchestrator.accounts.names import check_name, no_such_account
from orchestrator.consumers.pulling import Batch
from orchestrator.consumers.writes import Place
from orchestrator.errors import NoSuchConsumer, OrchestratorError
from orchestrator.gateway.dispatch import beginning
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.feed import FeedError, Stream

MAX_PULLS: Final = 100
"""Pulls that there may be: each keeps the inboxes from being cleared."""
MAX_OF_ONE: Final = 25
"""Pulls that one client may make. So no client can take what there is from all others."""
MAX_LIMIT: Final = 1000
"""Events of one batch."""
MAX_WAIT: Final = 60.0
"""Seconds to wait for the first event."""
MAX_BYTES: Final = 4 << 20
"""Bytes of the bodies of one batch, and one event more."""
NOTHING: Final = "0"
"""The cursor of no events."""
_USED_SECONDS = 3600.0  # so exactly is it known when a pull was used last
_CURSOR = re.compile(r"[0-9a-f]{32}")


class BadCursor(OrchestratorError):  # noqa: N818 - named for what it says
    """The cursor is none of this pull."""

    key = "bad_cursor"


class TooManyPulls(OrchestratorError):  # noqa: N818
    """There are as many pulls as there may be."""

    key = "too_many_pulls"


class Principal(Protocol):
    """Who asks: see `access.scopes`."""

    @property
    def kind(self) -> str:
        """What sort of asker that is."""

    @property
    def id(self) -> str:
        """Which of them."""

    @property
    def accounts(self) -> frozenset[str] | None:
        """The accounts that it sees, None for all."""


class _Pull:
    """What is known of one pull while the gateway runs.

    Args:
        since: Events of an account that is new to it are left out if they were stored before.
        maker: Who asked for it first here.
    """

    def __init__(self, since: float, maker: str) -> None:
        self.since = since
        self.maker = maker
        self.used_at = float("-inf")
        self.lock = asyncio.Lock()
        self.quiet: dict[Place, int] = {}  # where there is nothing new after a number
        self.waiting: set[asyncio.Event] = set()
        self.turn = itertools.count()


class Pulls:
    """The pulls by name. Each begins with what comes after it was first asked for.

    Args:
        dispatcher: Which knows all consumers.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lines = dispatcher.lines
        self._store = dispatcher.lines.pull_store
        self._feed = dispatcher.lines.feed
        self._pulls: dict[str, _Pull] = {}
        self._making: dict[str, str] = {}  # by whom
        self._is_watching = False

    async def events(
        self, consumer: str, account: str | None, wait: float, limit: int, principal: Principal
    ) -> tuple[list[bytes], str]:
        """Return the next events, rendered, and the cursor that acknowledges them.

        Until then the same events come again, whatever the limit is then. Without events, there is a cursor
        all the same: to acknowledge it does nothing.

        Args:
            consumer: The name of the pull. A new one is made.
            account: One account, which the principal sees; None for all that it sees.
            wait: Seconds to wait for the first event, at most `MAX_WAIT`.
            limit: How many events at most, from 1 to `MAX_LIMIT`.
            principal: Who asks.

        Raises:
            TooManyPulls: There are as many as there may be, or as many as the principal may make.
            NoSuchAccount: The principal does not see the account.
            OrchestratorError: The name is not valid or that of a webhook or bot (``bad_name``), or the events
                cannot be read now.
        """
        check_name(consumer)
        if self._dispatcher.is_consumer(consumer):
            raise OrchestratorError(
                f"{consumer} is a webhook or a bot: choose another name for what is fetched", key="bad_name"
            )
        if account is not None and principal.accounts is not None and account not in principal.accounts:
            raise no_such_account(account)
        await self._lines.ready()
        pull = await self._pull(consumer, f"{principal.kind} {principal.id}")
        deadline = asyncio.get_running_loop().time() + min(max(0.0, wait), MAX_WAIT)
        limit = min(max(1, limit), MAX_LIMIT)
        scope = _scope(account, principal)
        heard = asyncio.Event()
        pull.waiting.add(heard)
        try:
            while True:
                heard.clear()
                await self._lines.ready()
                async with pull.lock:
                    await self._use(consumer, pull)
                    found = await self._again(consumer, scope) or await self._next(
                        consumer, pull, scope, self._places(account, principal), limit
                    )
                if found is not None:
                    return found
                async with asyncio.timeout_at(deadline):
                    await heard.wait()
        except TimeoutError:
            return [], NOTHING
        finally:
            pull.waiting.discard(heard)

    async def ack(self, consumer: str, cursor: str, principal: Principal) -> None:  # noqa: ARG002
        """Acknowledge a batch: the next one comes. To do it again does nothing.

        Args:
            consumer: The name of the pull.
            cursor: What came with the batch. Nobody can guess it, and whoever has it was given the events.
            principal: Who asks.

        Raises:
            NoSuchConsumer: There is no pull of that name.
            BadCursor: The cursor is none of this pull.
        """
        await self._lines.ready()
        await self._check_is_there(consumer)
        if cursor == NOTHING:
            return
        moved = None
        if _CURSOR.fullmatch(cursor):
            moved = await self._store.acknowledge(consumer, cursor)
        if moved is None:
            raise BadCursor("this cursor is none that the consumer was given last: ask for events again")
        positions = self._lines.pulls.get(consumer, {})  # none while everything is read anew
        for place, seq in moved:
            positions[place] = max(positions.get(place, 0), seq)

    async def remove(self, consumer: str) -> None:
        """Forget a pull.

        Raises:
            NoSuchConsumer: There is no pull of that name.
        """
        await self._lines.ready()
        await self._check_is_there(consumer)
        await self._store.remove(consumer)
        self._lines.pulls.pop(consumer, None)
        self._pulls.pop(consumer, None)

    async def _check_is_there(self, consumer: str) -> None:
        # Another machine may have made or removed it.
        there = self._lines.pulls if self._lines.held is None else await self._store.known(())
        if consumer not in there:
            raise NoSuchConsumer("no pull of that name was asked for events yet")

    async def _pull(self, name: str, asker: str) -> _Pull:
        if not self._is_watching:
            self._is_watching = True
            self._feed.watch(self._heard)
        is_known = name in self._lines.pulls
        pull = self._pulls.get(name)
        if pull is not None and is_known:
            return pull
        if not is_known:
            known = await self._store.known(())
            made = {one for one, about in known.items() if about.maker == asker}
            # Those that are being made by others at this moment are not written down yet.
            made |= {one for one, maker in self._making.items() if maker == asker}
            are_many = len(known) >= MAX_PULLS or len(made - {name}) >= MAX_OF_ONE
            if name not in known and are_many:
                raise TooManyPulls(
                    f"there are {MAX_PULLS} pulls, or {MAX_OF_ONE} of this client, as many as there may be:"
                    " use one of them, or remove one"
                )
            pull = self._pulls.get(name)  # somebody else may have made it meanwhile
            if pull is not None and name in self._lines.pulls:
                return pull
            self._making[name] = asker
        pull = self._pulls[name] = _Pull(self._lines.clock(), asker)
        self._lines.pulls.setdefault(name, {})
        async with pull.lock:
            try:
                await self._use(name, pull)
            finally:
                self._making.pop(name, None)
        return pull

    async def _use(self, name: str, pull: _Pull) -> None:
        """Note that a pull is used, and learn how far it is, if others hand events out as well."""
        now = self._lines.clock()
        if now - pull.used_at >= _USED_SECONDS:
            pull.since = (await self._store.use(name, pull.maker, pull.since, now)).since
            pull.used_at = now

    def _heard(self, account: str, stream: Stream) -> None:
        for pull in self._pulls.values():
            pull.quiet.pop(Place(account, stream), None)
            for heard in pull.waiting:
                heard.set()

    def _places(self, account: str | None, principal: Principal) -> list[Place]:
        accounts: Iterable[str] = [account] if account is not None else sorted(self._feed.accounts())
        if principal.accounts is not None:
            accounts = [one for one in accounts if one in principal.accounts]
        return [Place(one, stream) for one in accounts for stream in ("messages", "account")]

    async def _again(self, name: str, scope: str) -> tuple[list[bytes], str] | None:
        """Return the batch that was handed out and is not acknowledged.

        What of it cannot be read now is left out, and comes when it can be read: else one account would keep
        those of the others from whoever has lost the answer.
        """
        outstanding = await self._store.outstanding(name, scope)
        if outstanding is None:
            return None
        cursor, reach = outstanding.cursor, outstanding.reach
        bodies: list[bytes] = []
        readable = []
        for place, begin, end in reach:
            try:
                bodies += await self._between(place, begin, end)
            except FeedError:
                continue
            readable.append((place, begin, end))
        if len(readable) < len(reach):
            cursor = secrets.token_hex(16)  # whoever has the batch of before would acknowledge more
            batch = Batch(cursor, readable)
            if not await self._store.hand_out(name, scope, batch, outstanding.cursor, self._lines.clock()):
                return await self._again(name, scope)  # another machine was first
        if bodies:
            return bodies, cursor
        await self._store.acknowledge(name, cursor)  # all of it has been deleted
        return None

    async def _between(self, place: Place, begin: int, end: int) -> list[bytes]:
        bodies: list[bytes] = []
        at = begin
        while at < end:
            batch = await self._feed.after(place.account, _stream(place), at, MAX_LIMIT)
            bodies += [event.body for event in batch.events if event.seq <= end]
            if batch.last <= at or not batch.more:
                break
            at = batch.last
        return bodies

    async def _next(
        self, name: str, pull: _Pull, scope: str, places: list[Place], limit: int
    ) -> tuple[list[bytes], str] | None:
        if name not in self._lines.pulls:  # everything is read anew, because an account has another name
            await self._lines.ready()
            await self._check_is_there(name)
        if self._lines.held is not None:  # other machines may have moved it
            about = (await self._store.known({place.account for place in places})).get(name)
            if about is None:  # and removed it: this is another one
                pull.since, pull.used_at = self._lines.clock(), float("-inf")
                await self._use(name, pull)
            self._lines.pulls[name] = {} if about is None else {**about.positions}
        positions = self._lines.pulls[name]
        bodies: list[bytes] = []
        reach: list[tuple[Place, int, int]] = []
        size, trouble = 0, None
        first = next(pull.turn) % len(places) if places else 0
        for place in places[first:] + places[:first]:
            if place in positions and pull.quiet.get(place) == positions[place]:
                continue
            try:
                if place not in positions:
                    at = await beginning.find(self._feed, place, pull.since)
                    await self._store.begin(name, place, at)
                    positions[place] = at
                begin = at = positions[place]
                pull.quiet[place] = at
                while len(bodies) < limit and size < MAX_BYTES:
                    batch = await self._feed.after(place.account, _stream(place), at, limit - len(bodies))
                    for event in batch.events:
                        if size >= MAX_BYTES:
                            break
                        at = event.seq
                        bodies.append(event.body)
                        size += len(event.body)
                    else:
                        at = max(at, batch.last)
                    if not batch.more:
                        break
            except FeedError as error:
                pull.quiet.pop(place, None)
                trouble = error
                continue
            if at > begin:
                pull.quiet.pop(place, None)
                reach.append((place, begin, at))
            if len(bodies) >= limit or size >= MAX_BYTES:
                pull.quiet.pop(place, None)
                break
        if bodies:
            handed = Batch(secrets.token_hex(16), reach)
            if await self._store.hand_out(name, scope, handed, None, self._lines.clock()):
                return bodies, handed.cursor
            return await self._again(name, scope)  # another machine was first
        for place, _, at in reach:  # what was looked at says nothing to anybody
            positions[place] = at
        if trouble is not None and len(places) <= 2:  # one account's two streams
            raise trouble
        return None


def _scope(account: str | None, principal: Principal) -> str:
    """Return a word for the accounts that are asked for: each has a batch of its own."""
    if account is not None:
        return account
    if principal.accounts is None:
        return "*"
    return "#" + hashlib.sha256("\n".join(sorted(principal.accounts)).encode()).hexdigest()[:32]


def _stream(place: Place) -> Stream:
    return "account" if place.stream == "account" else "messages"
