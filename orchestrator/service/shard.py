"""This service as one of a cluster: carries out what the machine of the shard says.

Nothing here decides. What may take time is done by threads: questions to the database, one after the other;
fences, side by side; hints, which may be heard late; and the watch, which waits for nothing but the end of
one connection. A takeover ends that connection, and the watch kills the processes of the accounts before the
event loop hears of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any, Final, Protocol, TypeVar

from orchestrator.cluster import deadlines
from orchestrator.cluster.actions import (
    Action,
    Adopt,
    Drop,
    Extend,
    Fence,
    How,
    Own,
    Probe,
    Question,
    Tell,
)
from orchestrator.cluster.board import Condition
from orchestrator.cluster.events import (
    Doubted,
    Event,
    Fenced,
    Gone,
    Granted,
    Hinted,
    HungUp,
    Leaving,
    Reached,
    Seen,
    Ticked,
    Unanswered,
)
from orchestrator.cluster.holdings import Stage
from orchestrator.cluster.machine import Limits, Shard
from orchestrator.errors import StateError, StoreAway
from orchestrator.postgres.database import Connection, Database, Listener
from orchestrator.postgres.guard import hang_up
from orchestrator.postgres.leases import CHANNEL, WATCH, Leases
from orchestrator.system import threads

log = logging.getLogger(__name__)

T = TypeVar("T")

_TICK: Final = 1.0
"""Seconds between two looks at the clock at the most: asyncio's stands still while the machine sleeps."""
_HEAR: Final = 20.0
"""Seconds for which a hint is waited for before the connection is tried."""
_AGAIN: Final = 2.0
"""Seconds until hints are listened to again after a failure."""
_END: Final = 3.0
"""Seconds for a thread to end: one that runs when the interpreter ends can take the process along."""
_LATE: Final = 3
"""Questions that may be on their way although nobody waits for their answers any more."""


class Host(Protocol):
    """What the shard has the service do."""

    def adopt(self, name: str) -> bool:
        """Run an account from now on; return whether it is configured here."""

    def drop(self, name: str, how: How, ago: float) -> bool:
        """Run an account no more; return whether it was there, so that `ShardLoop.gone` will be told.

        Args:
            name: The account.
            how: How.
            ago: For how many seconds it should have had no link.
        """

    def extend(self, until: float) -> None:
        """Let all processes go on until that time."""

    def kill(self) -> None:
        """Kill all processes of accounts at once; from any thread."""

    def own(self, name: str) -> None:
        """Try an account again that was replaced: nobody of the cluster has done that."""

    def condition(self, name: str) -> Condition:
        """Tell how an account is that runs here."""

    def hurry(self, *, urgent: bool) -> None:
        """Start accounts at the pace of a failover, or at the usual one.

        Args:
            urgent: Whether some have come that ran elsewhere a moment ago.
        """

    async def probe(self) -> bool:
        """Tell whether WhatsApp can be reached from here, without any account."""


class ShardLoop:
    """The shard's life.

    Args:
        limits: What the configuration says.
        leases: What is asked of the database.
        database: The database, for the connections that only listen.
        watch: Returns a database whose connections have the name of an incarnation's watch.
        host: The service.
    """

    def __init__(
        self,
        limits: Limits,
        leases: Leases,
        database: Database,
        watch: Callable[[str], Database],
        host: Host,
    ) -> None:
        self._shard = Shard(limits, lambda: str(uuid.uuid4()))
        self._leases = leases
        self._database = database
        self._host = host
        self._questions = threads.pool(_LATE, "lease")
        self._fences = threads.pool(limits.parallel, "fence")
        self._watch = _Watch(watch, self._hung_up)
        self._hints = Hints(database, lambda: self._from_thread(Hinted()))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._names: dict[str, str] = {}
        self._accounts: dict[str, str] = {}
        self._away = False
        self._left = asyncio.Event()

    @property
    def shard(self) -> Shard:
        """The machine, to look at."""
        return self._shard

    def figures(self) -> dict[str, object]:
        """Return how the shard is, in numbers."""
        return self._shard.figures(now()).as_json(self._leases.me.capacity)

    def start(self) -> None:
        """Begin to ask for a lease."""
        self._loop = asyncio.get_running_loop()
        self._hints.start()
        self._feed(Ticked())

    async def leave(self, seconds: float) -> bool:
        """Give all accounts up in good order.

        Args:
            seconds: How long that may take.

        Returns:
            Whether everything was given up.
        """
        self._feed(Leaving())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()
        return self._shard.has_left

    def close(self) -> None:
        """Ask nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._hints.close()
        self._watch.close()
        for pool in (self._questions, self._fences):
            pool.shutdown(wait=False, cancel_futures=True)
        self._loop = None

    def gone(self, name: str) -> None:
        """Note that an account has no process any more, and gets none here."""
        account = self._accounts.pop(name, None)
        if account is not None:
            self._names.pop(account, None)
            self._later(Gone(account))

    def doubt(self, name: str) -> None:
        """Note that WhatsApp says that another client uses an account's session."""
        if name in self._accounts:
            self._feed(Doubted(self._accounts[name]))

    def configure(self, limits: Limits, capacity: int, accounts: Iterable[str]) -> None:
        """Take over what the configuration says; accounts that were not known here may be by now."""
        self._shard.limits = limits
        self._leases.resize(capacity)
        self._leases.configured = tuple(accounts)
        self._leases.unknown.clear()
        self._feed(Hinted())

    # The machine

    def _feed(self, event: Event) -> None:
        if self._loop is None:
            return
        if isinstance(event, Granted):
            self._look()
        for action in self._shard.handle(event, now()):
            self._do(action)
        self._leases.incarnation = self._shard.lease.incarnation
        if self._shard.has_left:
            self._left.set()
        if self._timer is not None:
            self._timer.cancel()
        wake = self._shard.wakes_at(now())
        if wake is not None:
            self._timer = self._loop.call_later(max(0.0, min(_TICK, wake - now())), self._feed, Ticked())

    def _look(self) -> None:
        """Let the machine know how the accounts are, before it looks at the others."""
        urgent = False
        for held in self._shard.holdings.at(Stage.ADOPTED):
            account = held.holding.account
            if account not in self._names:
                continue
            condition = self._host.condition(self._names[account])
            urgent = urgent or (held.holding.urgent and condition is Condition.TRYING)
            if condition is not held.condition:
                for action in self._shard.handle(Seen(account, condition), now()):
                    self._do(action)
        self._host.hurry(urgent=urgent)

    def _do(self, action: Action) -> None:
        match action:
            case Fence(account, epoch):
                incarnation = self._shard.lease.incarnation
                self._background(self._fence(incarnation or "", account, epoch))
            case Adopt(account, name, _):
                self._adopt(account, name)
            case Drop(account, how):
                known = self._names.get(account)
                if known is None or not self._host.drop(known, how, self._over_for()):
                    self._later(Gone(account))
            case Extend(until):
                self._host.extend(until)
                self._watch.mind(self._shard.lease.incarnation)
            case Own(account):
                if known := self._names.get(account):
                    self._host.own(known)
            case Probe():
                self._background(self._probe())
            case Tell(text):
                log.warning("%s", text)
            case _:
                self._background(self._ask(action))

    def _over_for(self) -> float:
        """Return for how many seconds nothing should have run here: the machine may have been frozen."""
        kill_at = self._shard.lease.kill_at
        return 0.0 if kill_at is None else max(0.0, now() - kill_at)

    def _adopt(self, account: str, name: str) -> None:
        self._names[account], self._accounts[name] = name, account
        if not self._host.adopt(name):
            log.warning("%s: not in the configuration of this machine, so another one runs it", name)
            self._leases.unknown.add(account)
            del self._names[account], self._accounts[name]
            self._later(Gone(account))

    async def _ask(self, question: Question) -> None:
        begun = now()
        try:
            async with asyncio.timeout(deadlines.QUESTION_SECONDS):
                answer = await self._aside(self._questions, lambda: self._leases.ask(question, begun))
        except (StateError, TimeoutError) as error:
            if not self._away:
                why = str(error) or "it does not answer in time"
                log.warning("the lease of this shard cannot be renewed: %s", why)
            self._away = True
            answer = Unanswered()
        except Exception:
            log.exception("a bug in the service, met at %s", type(question).__name__)
            answer = Unanswered()
        else:
            if self._away:
                log.warning("the database answers again")
            self._away = False
        self._feed(answer)

    async def _fence(self, incarnation: str, account: str, epoch: int) -> None:
        done = False
        try:
            done = await self._aside(self._fences, lambda: self._leases.fence(incarnation, account, epoch))
        except StoreAway as error:
            log.info("an account is not fenced yet: %s", error)
        except StateError as error:
            log.error("an account cannot be fenced: %s", error)
        except Exception:
            log.exception("a bug in the service, met at a fence")
        self._feed(Fenced(account, epoch, done))

    async def _probe(self) -> None:
        reached = False
        try:
            reached = await self._host.probe()
        except Exception:
            log.exception("a bug in the service, met at a look at WhatsApp")
        self._feed(Reached(reached))

    async def _aside(self, pool: Executor, call: Callable[[], T]) -> T:
        assert self._loop is not None
        return await self._loop.run_in_executor(pool, call)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _later(self, event: Event) -> None:
        if self._loop is not None:
            self._loop.call_soon(self._feed, event)

    def _hung_up(self) -> None:
        """Kill all, on the thread of the watch, and only then say so."""
        self._host.kill()
        self._from_thread(HungUp())

    def _from_thread(self, event: Event) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._feed, event)


class _Watch:
    """A connection that does nothing; when the server ends it, everything has to end at once."""

    def __init__(self, database: Callable[[str], Database], hung_up: Callable[[], None]) -> None:
        self._database = database
        self._hung_up = hung_up
        self._incarnation: str | None = None
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def mind(self, incarnation: str | None) -> None:
        """See that the connection of an incarnation is watched."""
        if incarnation is None or incarnation == self._incarnation:
            return
        self._incarnation = incarnation
        self._thread = threading.Thread(target=self._watch, args=[incarnation], name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._incarnation = None
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            hang_up(connection)  # whoever looks at it does not have to wait
        if self._thread is not None:
            self._thread.join(_END)
        if connection is not None:
            connection.close()

    def _watch(self, incarnation: str) -> None:
        database = self._database(WATCH.format(incarnation=incarnation))
        try:
            connection = database.connect(autocommit=True)
        except StateError as error:
            log.warning("nobody watches for a takeover yet: %s", error)
            self._incarnation = None  # the next renewal tries again
            return
        with self._lock:
            if self._incarnation != incarnation:
                connection.close()
                return
            former, self._connection = self._connection, connection
        if former is not None:
            former.close()
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
        while self._incarnation == incarnation and not poll.poll(1000):
            pass
        if self._incarnation == incarnation:
            self._hung_up()
            self._incarnation = None


class Hints:
    """A thread that hears when somebody says that something has changed.

    Args:
        database: The database.
        heard: Called on that thread.
        channel: What it listens to.
    """

    def __init__(self, database: Database, heard: Callable[[], None], channel: str = CHANNEL) -> None:
        self._channel = channel
        self._database = database
        self._heard = heard
        self._closed = threading.Event()
        self._listener: Listener | None = None
        self._thread = threading.Thread(target=self._listen, name="hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        if (listener := self._listener) is not None:
            listener.hang_up()
        if self._thread.is_alive():
            self._thread.join(_END)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._listener = listener = Listener(self._database, [self._channel])
            except StateError:
                self._closed.wait(_AGAIN)
                continue
            try:
                while not self._closed.is_set():
                    if listener.wait(_HEAR):
                        self._heard()
            except StateError:
                self._closed.wait(_AGAIN)
            finally:
                self._listener = None
                listener.close()


def now() -> float:
    """Return the time, by a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
