"""Keeps the lines of all consumers going: the configuration, the store and what is done from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from orchestrator.accounts.settings import Messages
from orchestrator.consumers import notices
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Endpoint
from orchestrator.consumers.writes import Place
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.dispatch import anew, describing, snapshot
from orchestrator.gateway.dispatch.announcing import announce
from orchestrator.gateway.dispatch.line import Hooks, Line
from orchestrator.gateway.dispatch.pull_store import InFile, PullStore
from orchestrator.gateway.dispatch.store import Known, Store
from orchestrator.gateway.dispatch.writer import StoreError, Writer
from orchestrator.gateway.feed import Feed, Stream
from orchestrator.messages.retention import Retention

log = logging.getLogger(__name__)

_PATIENCE = (
    5.0  # seconds that an operator's command waits for the configuration, and a line for its last tries
)
_LOOK_SECONDS = 5.0  # between two looks at what waits
_LOOKS = 50  # streams that are looked at each time
_SYNC_SECONDS = 5.0
_LOOK_BACK: Final = 600.0
"""Seconds that a consumer begins before it is first started, at most: a gateway starts within seconds."""


class Lines:
    """The lines of the webhooks and bots, and where the pulls are.

    Args:
        folder: The gateway's folder, ``STATE/gateway``, where the consumers' positions are kept.
        feed: Where events come from.
        follows: Whether what is known follows accounts into a database: see `following`.

    Attributes:
        lines: The lines by name.
        consumers: The webhooks and bots, as they are configured.
        feed: Where events come from.
        writer: Keeps what is known of consumers.
        pulls: The pulls by name: how far each is, which `Pulls` keeps up to date.
        knows_pulls: Whether it is known which pulls there are.
        pull_store: Keeps how far pulls are.
        clock: Returns Unix seconds, and is never set back.
        held: The accounts that are handed over here, each with the number by which the service knows that;
            None: all. Only `following` changes it.
        turn: Is held by whoever changes which lines and accounts there are.
        hooks: What `following` has done here.
    """

    def __init__(self, folder: Path, feed: Feed, *, follows: bool = False) -> None:
        self.feed = feed
        self.writer = Writer(folder, self._damaged, follows=follows)
        self.held: dict[str, int] | None = {} if follows else None
        self.turn = asyncio.Lock()
        self.hooks = Hooks()
        self.lines: dict[str, Line] = {}
        self.pulls: dict[str, dict[Place, int]] = {}
        self.knows_pulls = not follows
        self.pull_store: PullStore = InFile(self.writer)
        self.consumers: Mapping[str, Consumer] = {}
        self._folder = folder
        self._endpoints: Mapping[str, Endpoint] = {}
        self._keep: Mapping[str, Retention] = {}
        self._since: float | None = None
        self._met: frozenset[str] = frozenset()
        self._is_told = False  # which accounts there are
        self._is_called = asyncio.Event()
        self._is_changed = asyncio.Event()
        self._is_ready = asyncio.Event()
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._announcing: set[asyncio.Task[None]] = set()
        self._is_damaged = False
        self._is_closing = False
        self._running: asyncio.Task[None] | None = None
        wall, uptime = time.time(), _uptime()
        self.clock: Callable[[], float] = lambda: wall + _uptime() - uptime  # nobody sets it back

    @property
    def is_ready(self) -> bool:
        """Whether it is known what is kept of the consumers."""
        return self._is_ready.is_set()

    def accounts(self) -> frozenset[str]:
        """Return the accounts whose events are handed over here."""
        return self.feed.accounts() if self.held is None else frozenset(self.held)

    def met(self) -> frozenset[str]:
        """See `Around`."""
        return self._met if self.held is None else self.accounts()

    def configure(
        self,
        consumers: Mapping[str, Consumer],
        endpoints: Mapping[str, Endpoint],
        keep: Mapping[str, Retention] | None = None,
        since: float | None = None,
    ) -> None:
        """Take over the configuration, at the start and after each reload. What is on its way is finished.

        Args:
            consumers: The webhooks and bots by name. Pulls name themselves.
            endpoints: Where the events of each go. A consumer without one waits.
            keep: For how long texts are kept, by account; what is not named is kept as by default.
            since: When the service read the configuration, in Unix seconds: new consumers begin there, or
                `_LOOK_BACK` ago if that was earlier. None: they begin now.
        """
        self._since = since
        self.consumers, self._endpoints, self._keep = dict(consumers), dict(endpoints), dict(keep or {})
        self._is_changed.set()
        self._is_called.set()

    async def run(self) -> None:
        """Hand out events until cancelled or closed."""
        self._running = asyncio.current_task()
        unsubscribe = self.feed.watch(self._heard)
        try:
            while not self._is_closing:
                await self._live()
                log.error("the store of consumers is damaged: it is put aside, and deliveries begin anew")
                await self._end_lines(_PATIENCE)
        finally:
            unsubscribe()

    async def _live(self) -> None:
        """Run until the store turns out to be damaged."""
        await self._open()
        self._is_changed.set()
        works = (
            self._obey(),
            self.writer.run(),
            _look(self.lines, self.feed, self._is_called),
            self._clear(),
            self._keep_safe(),
        )
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _obey(self) -> None:
        """Follow the configuration, and get to know accounts."""
        while not self._is_damaged:
            try:
                there = self.accounts()  # whoever comes later is met later, and followed before
                if self.held is None:
                    await self._follow_accounts(there)
                self._meet(there)  # before new lines begin: from here on, all that is told reaches them
                if self._is_changed.is_set():
                    self._is_changed.clear()
                    async with self.turn:
                        await self._apply()
            except StoreError as error:
                log.error("%s; trying again", error)
                self._is_changed.set()
                await asyncio.sleep(_PATIENCE)
                continue
            await self._is_called.wait()
            self._is_called.clear()

    async def _follow_accounts(self, there: frozenset[str]) -> None:
        """Have what is kept of accounts follow them to their new names, and texts go where messages go.

        An account that is gone while its messages are there is being renamed, or may be, or was removed with
        its session kept.
        """
        self._is_told |= bool(there)
        for account in sorted(await self.writer.call(Store.accounts) - there):
            new = self.feed.renamed(account)
            if new is not None and new in there:
                await self._follow_name(account, new)
            elif self._is_told and self.feed.is_put_away(new or account):
                self._count_deleted(await _forget_texts(self.writer, account))

    async def _follow_name(self, account: str, new: str) -> None:
        log.info("%s has the name %s now: the consumers go on with it where they were", account, new)
        await self._end_lines(_PATIENCE)
        self.pulls.clear()
        await self.writer.call(Store.rename, account, new)
        self._is_changed.set()

    def _count_deleted(self, deleted: Mapping[str, int]) -> None:
        for name, number in deleted.items():
            if name in self.lines:
                self.lines[name].machine.dead -= number

    def _meet(self, there: frozenset[str]) -> None:
        """Have all hear of accounts that are new: only now it is known that they have no old name."""
        for account in there - self._met:
            for line in self.lines.values():
                line.heard(account, "messages")
                line.heard(account, "account")
        self._met = there
        if there != self.accounts():
            self._is_called.set()

    async def close(self, seconds: float) -> None:
        """Begin nothing more, wait for what is on its way, and write everything down.

        Args:
            seconds: How long to wait. What takes longer is given up, and tried again after the next start.
        """
        self._is_closing = True
        is_known = self.is_ready
        await self._end_lines(seconds)
        await self.writer.flush()
        if self._running is not None:
            # Whoever still works would ask a store that is closed. Nothing is being written at this moment:
            # a write that is cancelled would not tell what it wrote.
            self._running.cancel()
            await asyncio.wait([self._running])
        if is_known:
            await self.hooks.last()
            with contextlib.suppress(StoreError):
                await self._save_snapshot()
        await self.writer.close()

    async def _open(self) -> None:
        pause, was_damaged = 1.0, False
        while True:
            try:
                was_damaged |= await self.writer.open()  # the damaged one is put aside at the first try
                if self.held is None:
                    await _begin_anew(self, self._folder, was_damaged=was_damaged)
                break
            except OrchestratorError as error:
                log.error("%s; nothing is delivered until that works", error)
                await asyncio.sleep(pause)
                pause = min(60.0, pause * 2)
        self._is_damaged = False
        if self.held is not None:
            self.held.clear()
            self.hooks.opened()  # the database has what a damaged store had

    async def _apply(self) -> None:
        """Do as the configuration says."""
        consumers, endpoints, now = self.consumers, self._endpoints, self.clock()
        since = None if self._since is None else max(self._since, now - _LOOK_BACK)
        known: dict[str, Known] = await self.writer.call(Store.known)
        for name in self.lines.keys() - consumers.keys():
            self._retire(name)
        for name, one in known.items():
            if one.kind != "pull" and one.removed_at is None and name not in consumers:
                await self.writer.call(Store.remove, name, now)
        for name, consumer in consumers.items():
            line = self.lines.get(name)
            if line is not None:
                line.configure(consumer, endpoints.get(name), since)
                continue
            if name in self._ends:
                await self._ends[name]
            await self.writer.call(Store.declare, name, consumer.kind, now)
            kept = await self.writer.call(Store.load, name)
            self.pulls.pop(name, None)
            line = Line(
                consumer, endpoints.get(name), kept, self.feed, self.writer, self.clock, self._is_disabled,
                since, self,
            )  # fmt: skip
            self.lines[name] = line
            line.start()
        if self.held is None:
            for name, about in (await self.pull_store.known()).items():
                if name not in consumers:
                    self.pulls.setdefault(name, {**about.positions})
        self._is_ready.set()

    def _retire(self, name: str) -> None:
        """End a consumer that is not configured any more, once what is on its way has arrived."""
        line = self.lines.pop(name)

        async def end() -> None:
            await line.close(_PATIENCE)
            await self.writer.flush()
            if name not in self.lines:
                self.writer.leave(name)

        task = self._ends[name] = asyncio.get_running_loop().create_task(end())
        task.add_done_callback(lambda _: self._ends.pop(name, None))

    async def _end_lines(self, seconds: float) -> None:
        await asyncio.gather(*(line.close(seconds) for line in self.lines.values()), *self._ends.values())
        await asyncio.gather(*self._announcing)
        self._is_ready.clear()
        if not self._is_closing:
            if not self._is_damaged:
                await self.writer.flush()
            for name in self.lines:
                self.writer.leave(name)
            self.lines.clear()

    def _is_disabled(self, name: str, why: str) -> None:
        """Take in that a consumer wants nothing any more, and tell the others."""
        task = asyncio.get_running_loop().create_task(self._announce(name, why))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce(self, disabled: str, why: str) -> None:
        now = self.clock()
        notice = notices.disabled(disabled, why, now)
        for name, line in tuple(self.lines.items()):
            if name != disabled and line.machine.wants(notice.type):
                try:
                    await self.writer.call(announce, name, notice, now)
                except StoreError as error:
                    log.error("%s is not told that %s was disabled: %s", name, disabled, error)
                    continue
                line.machine.dead += 1  # it goes when it has been delivered
                line.machine.revive()
                line.plan()

    def _damaged(self) -> None:
        self._is_damaged = True
        self._is_called.set()

    def _heard(self, account: str, stream: Stream) -> None:
        is_met = account in self._met
        is_there = self.feed.knows(account) if self.held is None else account in self.held
        if is_met != is_there:
            self._is_called.set()
        elif is_met:
            for line in self.lines.values():
                line.heard(account, stream)

    async def _clear(self) -> None:
        other = Retention.of(Messages())
        while True:
            interval = min((one.interval for one in (*self._keep.values(), other)), default=other.interval)
            await asyncio.sleep(interval)
            await self.writer.flush()
            try:
                deleted = await self.writer.call(Store.clear, self._keep, other, time.time())
                known = await self.writer.call(Store.known)
            except StoreError as error:
                log.error("texts that were kept long enough cannot be deleted: %s", error)
                continue
            self._count_deleted(deleted)
            self._is_called.set()  # messages of accounts that are gone may have been put away meanwhile
            for name in self.pulls.keys() - known.keys() if self.held is None else ():
                del self.pulls[name]

    async def _keep_safe(self) -> None:
        last = self.clock()
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            with contextlib.suppress(StoreError):
                await self.writer.call(Store.sync)
                if self.is_ready and self.clock() - last >= snapshot.SECONDS:
                    last = self.clock()
                    await self._save_snapshot()

    async def _save_snapshot(self) -> None:
        noted = {name: describing.noted(line.machine) for name, line in self.lines.items()}
        noted |= {name: snapshot.Noted(False, dict(positions)) for name, positions in self.pulls.items()}
        await self.writer.call(lambda _: snapshot.save(self._folder, noted))

    async def ready(self) -> None:
        """Wait until it is known what is kept of the consumers.

        Raises:
            StoreError: That takes too long.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._is_ready.wait()
        except TimeoutError:
            raise StoreError("the gateway cannot read what is kept of consumers; its log says why") from None


async def _begin_anew(lines: Lines, folder: Path, *, was_damaged: bool) -> None:
    noted = snapshot.load(folder)
    # The process may have been killed after a damaged store was put aside: a new one is there then.
    if was_damaged or (noted and not await lines.writer.call(Store.known)):
        await lines.writer.call(Store.begin, *anew.begin(lines.consumers, noted), lines.clock())


async def _forget_texts(writer: Writer, account: str) -> Mapping[str, int]:
    """Delete the texts of an account that was removed; return how many dead letters, by consumer."""
    try:
        if await writer.flush():  # or what was not written yet would come after
            return await writer.call(Store.forget_account, account)
    except StoreError as error:  # nobody else has to wait until that works
        log.error("texts of %s, which was removed, cannot be deleted yet: %s", account, error)
    return {}


async def _look(lines: Mapping[str, Line], feed: Feed, is_called: asyncio.Event) -> None:
    """Know how much waits of what is not read, and which accounts are gone of which something is tried."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        there = feed.accounts()
        courses = [course for line in lines.values() for course in line.machine.courses.values()]
        if any(course.lanes and course.place.account not in there for course in courses):
            is_called.set()  # what fails of them is written down again, with its text
        for line in tuple(lines.values()):
            waits = [course for course in line.machine.courses.values() if course.has_news]
            for course in waits[:_LOOKS]:
                account, stream = course.place
                with contextlib.suppress(OrchestratorError):
                    newest = await feed.newest(account, "account" if stream == "account" else "messages")
                    course.newest = max(course.newest, newest)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
