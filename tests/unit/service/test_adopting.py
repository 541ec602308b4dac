"""What a shard does with accounts that come: also with one whose machine was lost in the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.dispatching import until

from orchestrator.accounts.child import Parked
from orchestrator.accounts.events import Begin, Event, Moment, Order, Ordered
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.cluster.actions import How
from orchestrator.cluster.settings import Cluster
from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.service import adopting
from orchestrator.service.adopting import JUST_SECONDS, Adopting, was_just_replaced
from orchestrator.service.aside import Aside
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.roster import Managed, Roster
from orchestrator.store.status import Kept
from orchestrator.system.clock import iso

NOW = 1_800_000_000.0


def kept(state: State = State.REPLACED, ago: float = 1.0) -> Kept:
    return Kept(parked=Parked(state, "why", NOW + 60, 1), shown={"state": state, "since": iso(NOW - ago)})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (kept(), True),
        (kept(ago=JUST_SECONDS - 1), True),
        (kept(ago=JUST_SECONDS + 1), False),
        (kept(ago=-5), True),  # by the clock of a machine that is ahead
        (kept(State.BANNED), False),
        (Kept(), False),
        (Kept(parked=kept().parked), False),
        (Kept(shown=kept().shown), False),
        (Kept(parked=kept().parked, shown={"since": None}), False),
        (Kept(parked=kept().parked, shown={"since": "soon"}), False),
        (Kept(parked=kept().parked, shown={}), False),
    ],
)
def test_who_was_just_replaced(known: Kept, expected: bool) -> None:
    assert was_just_replaced(known, NOW) is expected


@pytest.fixture
def aside() -> Iterator[Aside]:
    found = Aside("adopting")
    yield found
    found.close()


class Shard:
    """A shard that takes accounts up and gives them up; processes and the database are others' business.

    Attributes:
        known: What the database has of the accounts.
        damaged: Those of which it has what nobody understands.
        calls: What was said to the database and to others, in its order.
        ordered: What was ordered of which account.
        slow: Ends when the gateway has let an account go.
    """

    def __init__(self, aside: Aside, *names: str) -> None:
        self.accounts = {name: AccountSettings(name) for name in names}
        self.roster = Roster(Settings(Path("/c"), Path("/s"), Path("/q"), accounts=self.accounts))
        self.known: dict[str, Kept] = {}
        self.damaged: dict[str, StateError] = {}
        self.calls: list[str] = []
        self.ordered: list[tuple[str, Ordered]] = []
        self.others: dict[str, Kept] = {}
        self.slow = asyncio.Event()
        self.slow.set()
        machines: Any = SimpleNamespace(add=self._add, order=self._order, handle=self._handle)
        children: Any = SimpleNamespace(aside=aside, end=lambda _: None)
        record: Any = SimpleNamespace(
            load=self._load,
            disown=lambda name: self.calls.append(f"disown {name}"),
            flush=lambda _: self.calls.append("flush"),
        )
        recorder: Any = SimpleNamespace(
            others=self.others,
            keep_as_other=lambda name: self.others.update({name: Kept(shown={"state": "connected"})}),
            save=lambda: None,
            cut=lambda *_: None,
        )
        self.shard = Adopting(self.roster, machines, children, recorder, record, Cluster("one"))
        self.shard.gone = lambda name: self.calls.append(f"gone {name}")
        self.shard.let_go = self._let_go

    async def come(self, *names: str) -> None:
        """Have accounts come, and wait until they are there."""
        for name in names:
            assert self.shard.adopt(name)
        await until(lambda: self.roster.accounts.keys() >= {*names} - self.damaged.keys())

    def leave(self, name: str) -> None:
        """Have the process of an account end that was to."""
        self.roster.remove(name)
        self.shard.forgotten(name)

    def _add(self, settings: AccountSettings, what: Kept) -> None:
        account = Account(settings, Moment(0.0, NOW), random=lambda: 0.0, parked=what.parked)
        account.handle(Begin(), Moment(0.0, NOW))
        self.roster.add(Managed(account, Waiting(settings.name), Fetching(settings.name)))

    def _order(self, name: str, wish: Ordered) -> None:
        self.ordered.append((name, wish))

    def _handle(self, name: str, event: Event) -> None:
        self.roster.accounts[name].account.handle(event, Moment(0.0, NOW))

    def _load(self, damaged: dict[str, StateError]) -> dict[str, Kept]:
        damaged |= self.damaged
        return {name: one for name, one in self.known.items() if name not in damaged}

    async def _let_go(self, name: str) -> None:
        self.calls.append(f"let go {name}")
        await self.slow.wait()


def test_who_was_replaced_just_before_its_machine_was_lost_is_tried_again(
    aside: Aside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr("time.time", lambda: NOW)

    async def come() -> None:
        world = Shard(aside, "just", "before", "banned", "new")
        world.known |= {"just": kept(), "before": kept(ago=1000), "banned": kept(State.BANNED)}
        await world.come(*world.accounts)
        assert not world.shard.adopt("elsewhere")
        await until(lambda: bool(world.ordered))
        assert world.ordered == [("just", Ordered(Order.START))]

    asyncio.run(come())


def test_an_account_of_which_nothing_can_be_read_keeps_no_other_waiting(
    aside: Aside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(adopting, "AGAIN_SECONDS", 0.01)

    async def come() -> None:
        world = Shard(aside, "a", "b", "c", "d")
        world.damaged["b"] = StateError("of another version")
        await world.come("a", "b", "c")
        await asyncio.sleep(0.1)
        assert [*world.roster.accounts] == ["a", "c"]
        assert [one.message for one in caplog.records] == ["b does not start: of another version"], "once"
        await world.come("d")
        world.damaged.clear()  # somebody has mended the row
        await world.come("b")

    asyncio.run(come())


def test_what_is_ordered_while_an_account_leaves_counts_for_its_next_machine(aside: Aside) -> None:
    async def leave() -> None:
        world = Shard(aside, "a", "b")
        await world.come("a", "b")
        for name in ("a", "b"):
            assert world.shard.drop(name, How.STOP, 0.0)
        world.roster.accounts["a"].account.handle(Ordered(Order.STOP), Moment(1.0, NOW + 1))
        world.slow.clear()
        for name in ("a", "b"):
            world.leave(name)
        assert (world.others["a"].stopped, world.others["b"].stopped) == (True, False)
        world.slow.set()
        await until(lambda: "gone a" in world.calls and "gone b" in world.calls)
        assert world.others == {}
        assert world.calls.index("flush") < world.calls.index("disown a") < world.calls.index("gone a")

    asyncio.run(leave())


@pytest.mark.parametrize("how", How)
def test_nobody_gets_an_account_before_all_is_written_that_is_known_of_it(aside: Aside, how: How) -> None:
    async def leave() -> None:
        world = Shard(aside, "a")
        await world.come("a")
        assert world.shard.drop("a", How.STOP, 0.0)
        world.slow.clear()
        world.leave("a")
        await until(lambda: "let go a" in world.calls)
        assert world.shard.drop("a", how, 0.0), "it is not gone yet"
        assert ("disown a" in world.calls) is (how is not How.STOP)
        world.slow.set()
        await until(lambda: "gone a" in world.calls)
        assert world.calls.count("gone a") == 1
        assert not world.shard.drop("a", how, 0.0), "there is nothing of it here"

    asyncio.run(leave())


@pytest.mark.parametrize("how", [How.CUT, How.KILL])
def test_what_was_known_of_an_account_that_is_lost_while_it_leaves_is_written_no_more(
    aside: Aside, how: How
) -> None:
    async def leave() -> None:
        world = Shard(aside, "a")
        await world.come("a")
        assert world.shard.drop("a", How.STOP, 0.0)
        assert "a" in world.others
        assert world.shard.drop("a", how, 0.0)
        assert world.others == {}, "its next machine tells how it is"
        world.leave("a")
        await until(lambda: "gone a" in world.calls)
        assert world.others == {}

    asyncio.run(leave())


def test_one_process_that_cannot_be_killed_saves_no_other(aside: Aside) -> None:
    async def kill() -> None:
        world = Shard(aside, "a", "b", "c")
        await world.come("a", "b", "c")
        killed: list[str] = []

        def end(managed: Managed) -> None:
            name = managed.account.settings.name
            if name == "a":
                raise OSError("no such descriptor")
            killed.append(name)

        world.shard._children = cast("Any", SimpleNamespace(end=end))
        world.shard.kill()
        assert killed == ["b", "c"]

    asyncio.run(kill())
