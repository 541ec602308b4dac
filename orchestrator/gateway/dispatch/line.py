"""Carries out what the machine of one consumer says. Thin: all decisions are the machine's."""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.machine import Flight, Gone, Machine, Revive
from orchestrator.consumers.outcomes import Attempt, Delivered, Endpoint, Failed
from orchestrator.consumers.reading import Find, Read
from orchestrator.consumers.writes import Kept, Place
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.dispatch import beginning
from orchestrator.gateway.dispatch.store import Store
from orchestrator.gateway.dispatch.writer import StoreError, Writer
from orchestrator.gateway.feed import Feed, FeedError, Stream

log = logging.getLogger(__name__)

LONGEST: Final = 900.0
"""Seconds that a try may take, whatever an endpoint does: endpoints have shorter bounds of their own."""
_AGAIN = 60.0  # seconds until dead letters are looked up again that could not be


@dataclass(frozen=True, slots=True)
class Sent:
    """What an endpoint is given of an event.

    Attributes:
        id: The event's id.
        type: Its type.
        account: Its account.
        at: When it was stored, in Unix seconds.
        body: The event, as it is sent on every try.
    """

    id: str
    type: str
    account: str
    at: float
    body: bytes = field(repr=False)


async def _nothing() -> None:
    """Do nothing."""


@dataclass
class Hooks:
    """What is done where consumers follow accounts into a database.

    Attributes:
        may: Tells whether new deliveries may begin.
        opened: Is called when the store was opened: nothing is handed over then.
        last: Is done when all is written down, and before the store is closed.
        wished: Is told of a consumer that an operator has paused or resumed.
    """

    may: Callable[[], bool] = lambda: True
    opened: Callable[[], None] = lambda: None
    last: Callable[[], Awaitable[None]] = _nothing
    wished: Callable[[str], None] = lambda _: None


class Around(Protocol):
    """What is the same for all lines: see `Lines`."""

    @property
    def held(self) -> Mapping[str, int] | None:
        """The accounts that are handed over here, None for all."""

    @property
    def hooks(self) -> Hooks:
        """What is done where consumers follow accounts into a database."""

    def met(self) -> frozenset[str]:
        """Return the accounts whose events are handed over here, and which have no old name."""


class _All:
    """All accounts are handed over here."""

    held = None
    hooks = Hooks()

    def __init__(self, feed: Feed) -> None:
        self.met = feed.accounts


class Line:
    """One consumer.

    Args:
        consumer: The consumer.
        endpoint: Where its events go; without one, nothing is sent.
        kept: What was written down of it.
        feed: Where events come from.
        writer: Writes down what becomes of them.
        clock: Returns Unix seconds, and is never set back.
        disabled: Called with the name of the consumer, and why, when it wants nothing any more.
        since: When the configuration began to say so, None: now.
        around: What is the same for all lines; None: all accounts of the feed are handed over here.

    Attributes:
        machine: Decides.
        reach: Up to where nothing of an account is needed any more, as far as that is written down.
    """

    def __init__(
        self,
        consumer: Consumer,
        endpoint: Endpoint | None,
        kept: Kept,
        feed: Feed,
        writer: Writer,
        clock: Callable[[], float],
        disabled: Callable[[str, str], None],
        since: float | None = None,
        around: Around | None = None,
    ) -> None:
        self._around: Around = _All(feed) if around is None else around
        self.machine = Machine(consumer, kept, clock(), since, self._around.held)
        self.reach: dict[Place, int] = {}
        self.wrote(self.reach_of(self.machine.courses))
        self._endpoint = endpoint
        self._feed = feed
        self._writer = writer
        self._clock = clock
        self._disabled = disabled
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_planned = self._is_closed = False

    @property
    def name(self) -> str:
        """The name of the consumer."""
        return self.machine.consumer.name

    def start(self) -> None:
        """Begin."""
        self._writer.join(self.name, self)
        self._hear_all()

    def configure(self, consumer: Consumer, endpoint: Endpoint | None, since: float | None = None) -> None:
        """Take over a changed configuration, which says so since a time, or since now."""
        self._endpoint = endpoint
        if consumer != self.machine.consumer:
            self.machine.configure(consumer, self._clock(), since)
            self._hear_all()
        self.plan()

    def heard(self, account: str, stream: Stream) -> None:
        """Take in that there may be something new."""
        self.machine.heard(Place(account, stream))
        self.plan()

    def _hear_all(self) -> None:
        for account in self._around.met():
            self.heard(account, "messages")
            self.heard(account, "account")
        self.plan()

    def take_up(self, account: str, kept: Kept) -> None:
        """Go on with an account, which is handed over here from now on: see `Machine.take_up`."""
        self.machine.take_up(account, kept, self._clock())
        self.wrote(self.reach_of([place for place in self.machine.courses if place.account == account]))
        self.heard(account, "messages")
        self.heard(account, "account")

    def let_go(self, account: str, dead: int) -> None:
        """Know nothing more of an account: see `Machine.let_go`."""
        self.machine.let_go(account, dead)
        for place in [place for place in self.reach if place.account == account]:
            del self.reach[place]

    def plan(self) -> None:
        """Have the machine asked soon, once for all that was told until then."""
        if not self._is_planned and not self._is_closed:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        """Do what is to be done now."""
        self._is_planned = False
        if self._is_closed:
            return
        now = self._clock()
        if self._endpoint is not None and self._around.hooks.may():
            for action in self.machine.next(now):
                match action:
                    case Flight():
                        self._begin(self._deliver(action))
                    case Read() | Find():
                        self._begin(self._read(action))
                    case Revive():
                        self._begin(self._look_up_letter())
        is_urgent = self.machine.is_urgent
        writes = self.machine.writes()
        if writes:
            self._writer.note(self.name, writes, is_urgent=is_urgent)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = self.machine.wake_at(now)
        if wake is not None and self._endpoint is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.01, wake - now), self.plan)

    async def close(self, seconds: float) -> None:
        """Begin nothing more, and wait for what is on its way. What takes longer is given up.

        Args:
            seconds: How long to wait.
        """
        self.machine.is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.go_on()
        self._is_closed = True

    # For the writer

    def reach_of(self, places: Iterable[Place]) -> dict[Place, int]:
        """See `Writer`."""
        courses = self.machine.courses
        # Another machine has to look up in the inbox also what is tried again here.
        all_ = self._around.held is not None
        there = [courses[place] for place in places if place in courses]
        return {course.place: course.safe() if all_ else course.needed() for course in there}

    def wrote(self, reach: Mapping[Place, int]) -> None:
        """See `Writer`."""
        self.reach.update(reach)

    def strain(self, *, is_strained: bool) -> None:
        """See `Writer`."""
        self.machine.is_strained = is_strained
        self.plan()

    # Work

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, flight: Flight) -> None:
        outcome = await self._try(flight)
        was_disabled = self.machine.standing.disabled
        self.machine.ended(flight, outcome, self._clock(), random.random())
        if self.machine.standing.disabled and not was_disabled:
            log.warning("%s: it wants nothing any more (%s)", self.name, self.machine.standing.why)
            self._disabled(self.name, self.machine.standing.why)
        self.go_on()

    async def _try(self, flight: Flight) -> Delivered | Failed | Gone:
        if not flight.body:  # that of a dead letter may be empty, if it came from another machine
            try:
                flight.body = await self._body(flight)
            except OrchestratorError:
                return Failed("the event could not be looked up")
            if flight.body is None:
                return Gone()
        event = Sent(flight.head.id, flight.head.type, flight.place.account, flight.head.at, flight.body)
        assert self._endpoint is not None
        try:
            async with asyncio.timeout(LONGEST):
                return await self._endpoint.deliver(Attempt(event, flight.number))
        except TimeoutError:
            return Failed(f"no answer in {LONGEST:.0f} s")
        except Exception as error:  # noqa: BLE001 - one consumer's bug must not end the others
            # What the error says could quote what was sent, or where to.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error(
                "%s: a delivery failed because of a bug: %s\n%s", self.name, type(error).__name__, where
            )
            return Failed("a bug in the gateway")

    async def _body(self, flight: Flight) -> bytes | None:
        if flight.lane is None:
            return await self._stored(flight)
        row = self._writer.row(self.name, flight.place, flight.lane.name)
        if row is not None and row.head == flight.head and row.body is not None:
            return row.body
        lane, seq = flight.lane.name, flight.head.seq
        body = await self._writer.call(Store.body, self.name, flight.place, lane, seq)
        return await self._stored(flight) if body is None else body

    async def _stored(self, flight: Flight) -> bytes | None:
        event = await self._feed.one(flight.place.account, _stream(flight.place), flight.head.seq)
        if event is None:
            self._check_place(flight.place)
        return None if event is None else event.body

    def _check_place(self, place: Place) -> None:
        """See that what was not found is really not kept any more.

        Raises:
            FeedError: It was not found because the account is being renamed.
        """
        if _stream(place) == "messages" and self._feed.are_elsewhere(place.account):
            raise FeedError(f"the messages of {place.account} are under another name by now")

    async def _read(self, read: Read | Find) -> None:
        try:
            if isinstance(read, Find):
                self.machine.found(read, await beginning.find(self._feed, read.place, read.since))
            else:
                batch = await self._feed.after(
                    read.place.account, _stream(read.place), read.after, read.limit, read.chat
                )
                if read.chat is not None and not batch.events:
                    self._check_place(read.place)
                self.machine.got(read, batch.events, batch.last, more=batch.more, now=self._clock())
        except OrchestratorError:  # the feed says why, in the log
            self.machine.unreadable(read, self._clock())
        except Exception:
            log.exception(
                "%s: the events of %s cannot be read because of a bug", self.name, read.place.account
            )
            self.machine.unreadable(read, self._clock())
        self.go_on()

    async def _look_up_letter(self) -> None:
        try:
            if not await self._writer.flush():  # what became of the one before has to be known first
                raise StoreError("not now")
            self.machine.revived(*await self._writer.call(Store.next_letter, self.name, self._clock()))
        except StoreError:
            self.machine.revived(None, self._clock() + _AGAIN)
        self.go_on()


def _stream(place: Place) -> Stream:
    return "account" if place.stream == "account" else "messages"
