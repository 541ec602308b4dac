"""What a shard does with accounts that come: also with one whose machine was lost in the wrong moment."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.dispatching import SECONDS, until

from orchestrator.accounts.child import Parked
from orchestrator.accounts.events import Begin, Event, Moment, Order, Ordered
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.cluster.actions import How
from orchestrator.cluster.settings import Cluster
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError, StateError
from orchestrator.service import adopting
from orchestrator.service.adopting import JUST_SECONDS, Adopting, was_just_replaced
from orchestrator.service.aside import Aside
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.reload import Reloader
from orchestrator.service.roster import Managed, Roster
from orchestrator.store.moving import Rename
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
        broken: Those of which a bug keeps this service from taking them up.
        calls: What was said to the database and to others, in its order.
        ordered: What was ordered of which account.
        looks: How often the database was asked what is known of the accounts.
        reading: Called, on a thread, when the database is asked what is known of the accounts.
        slow: Ends when the gateway has let an account go.
    """

    def __init__(self, aside: Aside, *names: str) -> None:
        self.accounts = {name: AccountSettings(name) for name in names}
        self.roster = Roster(Settings(Path("/c"), Path("/s"), Path("/q"), accounts=self.accounts))
        self.broken: set[str] = set()
        self.looks = 0
        self.reading: Callable[[], object] = lambda: None
        self.known: dict[str, Kept] = {}
        self.damaged: dict[str, StateError] = {}
        self.calls: list[str] = []
        self.ordered: list[tuple[str, Ordered]] = []
        self.others: dict[str, Kept] = {}
        self.slow = asyncio.Event()
        self.slow.set()
        fleet: Any = SimpleNamespace(
            renewals=SimpleNamespace(reloaded=lambda: None), set_pace=lambda *_: None, wanted=lambda _: None
        )
        machines: Any = SimpleNamespace(
            add=self._add, order=self._order, handle=self._handle, dispatch=lambda: None, fleet=fleet
        )
        self.machines = machines
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
            summarize=lambda: None,
            cut=lambda *_: None,
        )
        self.recorder, self.aside = recorder, aside
        self.shard = Adopting(self.roster, machines, children, recorder, record, Cluster("one"))
        self.shard.gone = lambda name: self.calls.append(f"gone {name}")
        self.shard.let_go = self._let_go

    async def come(self, *names: str) -> None:
        """Have accounts come, and wait until they are there."""
        for name in names:
            assert self.shard.adopt(name)
        await until(lambda: self.roster.accounts.keys() >= {*names} - self.damaged.keys())

    def reloader(self, file: Path, *names: str, **moves: Callable[..., object]) -> Reloader:
        """Return what has the service read a configuration that has these accounts."""
        file.write_text(f"accounts: {{{', '.join(f'{name}: ' for name in names)}}}")
        self.roster.settings = replace(self.roster.settings, config_file=file, state_dir=file.parent)
        store: Any = SimpleNamespace(moves=SimpleNamespace(pending=lambda: None, **moves))
        spawner: Any = SimpleNamespace(aside=self.aside.run)
        nothing: Any = SimpleNamespace()
        return Reloader(
            self.roster,
            store,
            self.machines,
            nothing,
            self.recorder,
            nothing,
            spawner,
            announce=contextlib.nullcontext,
            state_configured=False,
        )

    def leave(self, name: str) -> None:
        """Have the process of an account end that was to."""
        self.roster.remove(name)
        self.shard.forgotten(name)

    def _add(self, settings: AccountSettings, what: Kept) -> None:
        if settings.name in self.broken:
            raise OrchestratorError("an account without name or state")
        account = Account(
            settings, Moment(0.0, NOW), random=lambda: 0.0, stopped=what.stopped, parked=what.parked
        )
        account.handle(Begin(), Moment(0.0, NOW))
        self.roster.add(Managed(account, Waiting(settings.name), Fetching(settings.name)))

    def _order(self, name: str, wish: Ordered) -> None:
        self.ordered.append((name, wish))

    def _handle(self, name: str, event: Event) -> None:
        self.roster.accounts[name].account.handle(event, Moment(0.0, NOW))

    def _load(self, damaged: dict[str, StateError]) -> dict[str, Kept]:
        self.looks += 1
        self.reading()
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


class Answer:
    """The database's next answer, which waits to be let through."""

    def __init__(self, world: Shard) -> None:
        self.asked, self.goes = threading.Event(), threading.Event()
        world.reading = self._read

    def _read(self) -> None:
        self.asked.set()
        assert self.goes.wait(SECONDS)

    async def is_asked_for(self) -> None:
        """Wait until somebody waits for it."""
        assert await asyncio.to_thread(self.asked.wait, SECONDS)


def test_a_reload_takes_nothing_up_of_which_it_is_not_known_yet_how_it_was(
    aside: Aside, tmp_path: Path
) -> None:
    async def reload() -> None:
        world = Shard(aside, "stopped", "banned")
        world.known |= {"stopped": Kept(stopped=True), "banned": kept(State.BANNED)}
        answer = Answer(world)
        for name in world.accounts:
            assert world.shard.adopt(name)
        await answer.is_asked_for()
        changes = await world.reloader(tmp_path / "accounts.yaml", *world.accounts).reload(set())
        assert (changes["added"], changes["changed"]) == ([], [])
        assert not world.roster.accounts, "they come once it is known how they were"
        answer.goes.set()
        await until(lambda: world.roster.accounts.keys() == world.accounts.keys())
        assert world.roster.accounts["stopped"].account.stopped
        assert world.roster.accounts["banned"].state is State.BANNED

    asyncio.run(reload())


def test_a_reload_starts_no_account_of_which_nobody_understands_how_it_was(
    aside: Aside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "AGAIN_SECONDS", 0.01)

    async def reload() -> None:
        world = Shard(aside, "a", "b")
        world.damaged["b"] = StateError("of another version")
        await world.come("a", "b")
        await world.reloader(tmp_path / "accounts.yaml", "a", "b").reload(set())
        assert [*world.roster.accounts] == ["a"]
        world.known["b"] = Kept(stopped=True)
        world.damaged.clear()
        await world.come("b")
        assert world.roster.accounts["b"].account.stopped

    asyncio.run(reload())


def test_an_account_gets_no_new_name_before_it_is_known_how_it_was(aside: Aside, tmp_path: Path) -> None:
    async def rename() -> None:
        world = Shard(aside, "a")
        answer, begun = Answer(world), list[Rename]()
        file = tmp_path / "accounts.yaml"
        reloader = world.reloader(file, "a", check_rename=lambda *_: True, begin=begun.append)
        assert world.shard.adopt("a")
        await answer.is_asked_for()
        with pytest.raises(OrchestratorError, match="a is just coming to this machine: nothing was done"):
            await reloader.begin_rename("a", "b", anew=True)
        assert not begun
        answer.goes.set()
        await until(lambda: "a" in world.roster.accounts)
        assert await reloader.begin_rename("a", "b", anew=True)
        assert begun == [Rename("a", "b")]

    asyncio.run(rename())


def test_an_account_that_a_reload_brings_comes_once_it_is_this_shards(aside: Aside, tmp_path: Path) -> None:
    async def reload() -> None:
        world = Shard(aside, "a")
        await world.come("a")
        assert not world.shard.adopt("b")
        assert (await world.reloader(tmp_path / "accounts.yaml", "a", "b").reload(set()))["added"] == []
        assert [*world.roster.accounts] == ["a"]
        await world.come("b")

    asyncio.run(reload())


def test_an_account_is_given_back_that_a_reload_takes_away_while_it_comes(
    aside: Aside, tmp_path: Path
) -> None:
    async def reload() -> None:
        world = Shard(aside, "a", "b")
        file = tmp_path / "accounts.yaml"
        world.damaged["b"] = StateError("of another version")
        answer = Answer(world)
        for name in world.accounts:
            assert world.shard.adopt(name)
        await answer.is_asked_for()
        await world.reloader(file, "c").reload(set())
        answer.goes.set()
        await until(lambda: len(world.calls) == 2)
        assert world.calls == ["gone a", "gone b"], "or nobody would run them ever again"
        assert not world.roster.accounts
        await world.reloader(file, "a", "c").reload(set())
        assert not world.roster.accounts, "it is another's by now"
        await world.come("a", "c")

    asyncio.run(reload())


def test_an_account_that_cannot_be_taken_up_keeps_no_other_waiting(
    aside: Aside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(adopting, "AGAIN_SECONDS", 0.01)

    async def come() -> None:
        world = Shard(aside, "a", "b", "c", "d")
        world.broken.add("b")
        for name in ("a", "b", "c"):
            assert world.shard.adopt(name)
        await until(lambda: world.roster.accounts.keys() == {"a", "c"})
        await world.come("d")
        world.looks = 0
        await until(lambda: world.looks > 2)
        assert [one.message for one in caplog.records] == ["b: a bug in the service: it does not start"]
        world.broken.clear()
        await world.come("b")

    asyncio.run(come())


@pytest.mark.parametrize("error", [KeyError("accounts"), StateError("the database is away")])
def test_accounts_come_after_any_failure_to_read_how_they_were(
    aside: Aside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(adopting, "AGAIN_SECONDS", 0.01)

    async def come() -> None:
        world = Shard(aside, "a", "b")

        def fail() -> None:
            raise error

        world.reading = fail
        assert world.shard.adopt("a")
        await until(lambda: world.looks > 2)
        world.reading = lambda: None
        await world.come("a")
        if isinstance(error, KeyError):
            said = "a bug in the service: accounts that have come wait until it is known how they were"
            assert [one.message for one in caplog.records] == [said], "once"
        await world.come("b")

    asyncio.run(come())


def test_accounts_come_after_a_failure_to_get_ready(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopting, "AGAIN_SECONDS", 0.01)

    async def come() -> None:
        world = Shard(aside, "a")
        failures = [KeyError("ready")]

        async def ready() -> None:
            if failures:
                raise failures.pop()

        world.shard.ready = ready
        await world.come("a")

    asyncio.run(come())


def test_nobody_waits_for_accounts_once_the_service_has_stopped(aside: Aside) -> None:
    async def come() -> None:
        world = Shard(aside, "a")
        aside.close()
        assert world.shard.adopt("a")
        await until(lambda: not world.shard._tasks)
        assert not world.roster.accounts

    asyncio.run(come())


def test_who_waits_for_accounts_can_be_stopped(aside: Aside) -> None:
    async def come() -> None:
        world = Shard(aside, "a")
        answer = Answer(world)
        assert world.shard.adopt("a")
        await answer.is_asked_for()
        (task,) = world.shard._tasks
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer.goes.set()

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
