"""The accounts of one shard: they come and go while the service runs, as the lease says."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from orchestrator.accounts.events import Order, Ordered, Removed
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.pipe import Extend
from orchestrator.accounts.proxy import environment_proxy, parse_environment
from orchestrator.accounts.states import State
from orchestrator.cluster.actions import How
from orchestrator.cluster.board import Condition
from orchestrator.cluster.settings import Cluster
from orchestrator.errors import NotRunning, StateError
from orchestrator.service.aside import Aside
from orchestrator.service.children import Children
from orchestrator.service.machines import Machines
from orchestrator.service.recorder import Recorder
from orchestrator.service.roster import Managed, Roster
from orchestrator.service.timers import now
from orchestrator.store import status
from orchestrator.store.protocols import Record
from orchestrator.system.clock import unix

log = logging.getLogger(__name__)

ELSEWHERE: Final = "the account goes to another machine of the cluster"
"""The reason of an account that this machine gives up."""
UNSURE: Final = "the database did not answer in time, so that another machine may have the account"
"""The reason of an account whose process was killed for that."""
KEPT_SECONDS: Final = 5.0
"""For what is known of an account to be written down before another machine gets it."""
AGAIN_SECONDS: Final = 1.0
"""Until what is known of accounts is read again after a failure."""
RETRY_SECONDS: Final = 2.0
"""Until an account tries again that was replaced by somebody who is not of the cluster."""
RETRIES: Final = 3
"""How often it does so before it waits as the failure policy says."""
JUST_SECONDS: Final = 30.0
"""Who was replaced since then may not have been tried again before its machine was lost: that takes 2 s. A
lost lease ends after 12."""

_RESTING: Final = frozenset(
    {
        State.DISABLED,
        State.STOPPED,
        State.BANNED,
        State.REPLACED,
        State.OUTDATED,
        State.FAILED,
    }
)


class Adopting:
    """Takes accounts up and gives them up; see `shard.Host`.

    Args:
        roster: The accounts that run here.
        machines: Their machines.
        children: Their processes.
        recorder: Writes down what is known of them.
        record: Where that is.

    Attributes:
        cluster: What the configuration says.
        roster: The accounts that run here.
        gone: Is told of each account that has no process any more, once all is written down.
        replaced: Is told of each account whose session another client uses.
        ready: Waits until an account may start here.
        machines: The accounts' machines.
        let_go: Has the gateway hand an account's events over no more, once all that it knows is in the store.
        figures: Returns how the shard is, in numbers; nothing before it begins.
    """

    def __init__(
        self,
        roster: Roster,
        machines: Machines,
        children: Children,
        recorder: Recorder,
        record: Record,
        cluster: Cluster,
    ) -> None:
        self.cluster = cluster
        self.roster = roster
        self.gone: Callable[[str], None] = lambda _: None
        self.replaced: Callable[[str], None] = lambda _: None
        self.ready: Callable[[], Coroutine[Any, Any, None]] = _at_once
        self.machines = machines
        self.let_go: Callable[[str], Awaitable[None]] = _nothing
        self.figures: Callable[[], dict[str, object]] = dict
        self._roster = roster
        self._children = children
        self._recorder = recorder
        self._record = record
        self._coming: set[str] = set()
        self._taking_up: asyncio.Task[None] | None = None
        self._disowned: set[str] = set()
        self._dropped: dict[str, Account] = {}
        self._going: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._urgent = False
        roster.owned = set()
        machines.ended = self._ended

    @property
    def aside(self) -> Aside:
        """Asks the database beside the event loop."""
        return self._children.aside

    def library(self) -> str:
        """Return the version of neonize that accounts load from now on."""
        return self._children.library

    def adopt(self, name: str) -> bool:
        """See `shard.Host.adopt`."""
        if name not in self._roster.settings.accounts:
            return False
        assert self._roster.owned is not None
        self._roster.owned.add(name)
        self._coming.add(name)
        if self._taking_up is None or self._taking_up.done():
            self._taking_up = self._background(self._take_up())
        return True

    async def _take_up(self) -> None:
        """Take up the accounts that have come.

        Whatever fails is tried again: nobody else would take up those that come from then on.
        """
        said: set[tuple[str, type[Exception]]] = set()
        is_told = False
        while self._coming:
            waits = True
            try:
                waits = await self._take_up_once(said)
                is_told = False
            except NotRunning:
                return
            except StateError as error:
                log.warning("accounts that have come wait until it is known how they were: %s", error)
            except Exception:
                if not is_told:
                    log.exception(
                        "a bug in the service: accounts that have come wait until it is known how they were"
                    )
                is_told = True
            if waits:
                await asyncio.sleep(AGAIN_SECONDS)

    async def _take_up_once(self, said: set[tuple[str, type[Exception]]]) -> bool:
        """Take up the accounts that have come, with what is known of them, which is read once for many.

        One that cannot be taken up keeps no other one waiting.

        Args:
            said: Of which account which error is logged already.

        Returns:
            Whether some of them are to be tried again in a moment.
        """
        await self.ready()
        # Not those that come meanwhile: their last machine may have written since this was read.
        coming, damaged, waits = {*self._coming}, dict[str, StateError](), False
        kept = await self._children.aside.run(lambda: self._record.load(damaged))
        said.intersection_update([one for one in said if one[0] in self._coming])
        for name in sorted(coming & self._coming):
            if name not in self._roster.settings.accounts:
                self._give_back(name)
                continue
            if name in damaged:
                if (name, StateError) not in said:
                    log.error("%s does not start: %s", name, damaged[name])
                said.add((name, StateError))
                waits = True
                continue
            try:
                self._add(name, kept.get(name, status.Kept()))
            except Exception as error:
                if (name, type(error)) not in said:
                    log.exception("%s: a bug in the service: it does not start", name)
                said.add((name, type(error)))
                waits = True
            else:
                self._coming.discard(name)
        return waits

    def _give_back(self, name: str) -> None:
        """Leave an account to other machines: a reload has taken it out of the configuration as it came."""
        assert self._roster.owned is not None
        self._coming.discard(name)
        if name not in self._roster.accounts:  # or it is told once its process is gone
            self._roster.owned.discard(name)
            self.gone(name)

    def _add(self, name: str, known: status.Kept) -> None:
        accounts = self._roster.settings.accounts
        if name not in self._roster.accounts and self._roster.is_ours(name):
            self.machines.add(accounts[name], known)
            if was_just_replaced(known, time.time()):
                log.info("%s: was replaced just before it came: it is tried again at once", name)
                self.own(name)

    def drop(self, name: str, how: How, ago: float) -> bool:
        """See `shard.Host.drop`."""
        assert self._roster.owned is not None
        self._roster.owned.discard(name)
        self._coming.discard(name)
        self._tries.pop(name, None)
        managed = self._roster.accounts.get(name)
        if managed is None:
            if name in self._going and how is not How.STOP:
                self._recorder.others.pop(name, None)
                self._record.disown(name)  # what is not written yet is another's to tell
            return name in self._going
        self._dropped[name] = managed.account
        if how is not How.STOP:
            if how is How.CUT and not managed.disowned:
                self._recorder.cut(name, UNSURE, ago)
            managed.disowned = True  # what becomes of it from now on is another's to tell
            self._disowned.add(name)
            self._recorder.others.pop(name, None)  # it was to leave in good order before
            self._roster.terms.end(name)
            self._record.disown(name)
            self._children.end(managed)
        elif not managed.account.leaving:
            self._recorder.keep_as_other(name)
            self._recorder.save()
        if not managed.account.leaving:
            self.machines.handle(name, Removed(keep_session=True, why=ELSEWHERE))
        return True

    def forgotten(self, name: str) -> None:
        """Note that an account is not run here any more, and has no process."""
        assert self._roster.owned is not None
        self._roster.owned.discard(name)
        former, others = self._dropped.pop(name, None), self._recorder.others
        if former is not None and name in others:
            # What was known when it was to go counts, and what was ordered and said by WhatsApp since then.
            stopped, parked = former.stopped or others[name].stopped, former.parked(now())
            others[name] = replace(others[name], stopped=stopped, parked=parked or others[name].parked)
            self._recorder.save()
        self._going.add(name)
        self._background(self._let_go(name))

    async def _let_go(self, name: str) -> None:
        try:
            if name in self._disowned:
                self._disowned.discard(name)
            else:
                self._roster.terms.leave(name)
                await self.let_go(name)
                await self._children.aside.run(lambda: self._record.flush(KEPT_SECONDS))
                self._record.disown(name)  # from now on, another one writes
        finally:
            self._going.discard(name)
        self._roster.terms.end(name)
        self._recorder.others.pop(name, None)
        self.gone(name)

    def extend(self, until: float) -> None:
        """See `shard.Host.extend`."""
        self._children.until = until
        for managed in self._roster.accounts.values():
            if managed.child is not None:
                managed.child.tell(Extend(until))

    def kill(self) -> None:
        """See `shard.Host.kill`."""
        for name, managed in list(self._roster.accounts.items()):
            try:
                self._children.end(managed)
            except Exception:  # the next one is killed all the same
                log.exception("%s: a bug in the service: its process could not be killed", name)

    def own(self, name: str) -> None:
        """See `shard.Host.own`."""
        managed = self._roster.accounts.get(name)
        if managed is None or managed.state is not State.REPLACED or self._tries[name] >= RETRIES:
            return
        self._tries[name] += 1
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._try_again, name)

    def _try_again(self, name: str) -> None:
        managed = self._roster.accounts.get(name)
        if managed is not None and managed.state is State.REPLACED:
            self.machines.order(name, Ordered(Order.START))

    def _ended(self, name: str, kind: Kind) -> None:
        if kind is Kind.REPLACED:
            self.replaced(name)
        elif kind is not Kind.DISOWNED:
            self._tries.pop(name, None)

    def condition(self, name: str) -> Condition:
        """See `shard.Host.condition`."""
        managed = self._roster.accounts.get(name)
        return Condition.TRYING if managed is None else _condition(managed)

    def hurry(self, *, urgent: bool) -> None:
        """See `shard.Host.hurry`."""
        settings = self._roster.settings
        urgent = urgent or self.machines.fleet.store.is_returning(self._roster.machines)
        pace = (settings.start_parallel, settings.start_spread)
        if urgent:
            pace = (self.cluster.failover_parallel, self.cluster.failover_spread)
        self.machines.fleet.set_pace(*pace)
        if urgent and not self._urgent:
            self.machines.dispatch()
        self._urgent = urgent

    async def probe(self) -> bool:
        """See `shard.Host.probe`."""
        from orchestrator.service.doctor.reach import Unreachable, reach

        named = environment_proxy(os.environ)
        try:
            way = None if named is None else parse_environment(named)
            await self._children.aside.run(lambda: reach(way))
        except Unreachable as error:
            log.info("WhatsApp cannot be reached from this machine yet: %s", error)
            return False
        return True

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def was_just_replaced(kept: status.Kept, now: float) -> bool:
    """Tell whether an account's session was taken so lately that nobody may have tried the account again.

    Args:
        kept: What the machine has left of the account that ran it.
        now: Unix seconds.
    """
    if kept.parked is None or kept.parked.state is not State.REPLACED or kept.shown is None:
        return False
    since = unix(kept.shown.get("since"))
    return since is not None and now - since < JUST_SECONDS


async def _at_once() -> None:
    """Wait for nothing."""


async def _nothing(_: str) -> None:
    """Do nothing."""


def _condition(managed: Managed) -> Condition:
    account = managed.account
    match account.state:
        case State.CONNECTED:
            return Condition.BUSY if account.to_send else Condition.CONNECTED
        case State.PAIRING:
            return Condition.CODE if managed.code is not None else Condition.RESTING
        case State.RECONNECTING:
            return Condition.LOST
        case State.BACKOFF if account.kind is Kind.NETWORK:
            return Condition.LOST
        case state:
            return Condition.RESTING if state in _RESTING else Condition.TRYING
