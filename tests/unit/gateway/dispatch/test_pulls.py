"""Pulls: the same batch until it is acknowledged, for nobody who may not see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
from support.dispatching import crm, runs
from support.feeds import MemoryFeed

from orchestrator.errors import NoSuchAccount, NoSuchConsumer, OrchestratorError
from orchestrator.gateway.dispatch import pulls as pulls_module
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.pulls import NOTHING, BadCursor, Pulls, TooManyPulls
from orchestrator.gateway.feed import FeedError


@dataclass(frozen=True)
class Who:
    accounts: frozenset[str] | None = None
    kind: str = "token"
    id: str = "a"


EVERYBODY = Who()


@contextlib.asynccontextmanager
async def pulling(folder: Path, feed: MemoryFeed) -> AsyncIterator[tuple[Pulls, Dispatcher]]:
    dispatcher = Dispatcher(folder, feed)  # type: ignore[arg-type]
    dispatcher.configure({"crm": crm(accounts=frozenset())}, {})
    task = asyncio.ensure_future(dispatcher.run())
    try:
        yield Pulls(dispatcher), dispatcher
    finally:
        await dispatcher.close(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ids(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["id"] for body in bodies]


@runs
async def test_the_same_batch_comes_until_it_is_acknowledged(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    feed.add("a", at=1_000_000.0)
    async with pulling(tmp_path, feed) as (pulls, _):
        assert await pulls.events("shop", None, 0, 10, EVERYBODY) == ([], NOTHING)
        await pulls.ack("shop", NOTHING, EVERYBODY)
        sent = [feed.add("a").id for _ in range(7)]
        first, cursor = await pulls.events("shop", None, 0, 5, EVERYBODY)
        assert ids(first) == sent[:5]
        feed.add("a")
        assert await pulls.events("shop", None, 0, 100, EVERYBODY) == (first, cursor)
    async with pulling(tmp_path, feed) as (pulls, _):  # also after a restart
        assert await pulls.events("shop", None, 0, 1, EVERYBODY) == (first, cursor)
        await pulls.ack("shop", cursor, EVERYBODY)
        await pulls.ack("shop", cursor, EVERYBODY)
        second, other = await pulls.events("shop", None, 0, 100, EVERYBODY)
        assert ids(second) == [*sent[5:], "evt_a_9"]
        with pytest.raises(BadCursor):
            await pulls.ack("shop", cursor, EVERYBODY)
        await pulls.ack("shop", other, EVERYBODY)
        assert await pulls.events("shop", None, 0, 100, EVERYBODY) == ([], NOTHING)


@runs
async def test_a_pull_waits_for_the_first_event(tmp_path: Path) -> None:
    feed = MemoryFeed("a", "b")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        waiting = [asyncio.ensure_future(pulls.events("shop", None, 30, 10, EVERYBODY)) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert not any(one.done() for one in waiting)
        sent = feed.add("b", stream="account", kind="account.code")
        for one in waiting:
            assert ids((await asyncio.wait_for(one, 20))[0]) == [sent.id]


@runs
async def test_each_sees_its_accounts_only(tmp_path: Path) -> None:
    feed = MemoryFeed("a", "b")
    async with pulling(tmp_path, feed) as (pulls, dispatcher):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        of_a, of_b = feed.add("a"), feed.add("b")
        everything, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        assert sorted(ids(everything)) == [of_a.id, of_b.id]
        narrow = Who(frozenset("b"))
        mine, own = await pulls.events("shop", None, 0, 10, narrow)
        assert ids(mine) == [of_b.id]
        assert ids((await pulls.events("shop", "a", 0, 10, EVERYBODY))[0]) == [of_a.id]
        with pytest.raises(NoSuchAccount):
            await pulls.events("shop", "a", 0, 10, narrow)
        await pulls.ack("shop", own, narrow)
        assert dispatcher.taken() == {"a": 0, "b": 1}
        await pulls.ack("shop", cursor, EVERYBODY)
        assert dispatcher.taken() == {"a": 1, "b": 1}


@runs
async def test_all_accounts_get_their_turn(tmp_path: Path) -> None:
    feed = MemoryFeed("a", "b")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        for account in "ab":
            for _ in range(50):
                feed.add(account)
        seen: set[str] = set()
        for _ in range(4):
            bodies, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
            await pulls.ack("shop", cursor, EVERYBODY)
            seen |= {json.loads(body)["account"] for body in bodies}
        assert seen == {"a", "b"}


@runs
async def test_what_is_not_kept_any_more_is_not_waited_for(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        feed.add("a")
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        feed.clear("a")
        assert await pulls.events("shop", None, 0, 10, EVERYBODY) == ([], NOTHING)
        last = feed.add("a")
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == [last.id]


@runs
async def test_large_events_make_small_batches(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        for _ in range(10):
            feed.add("a", text="x" * 1_000_000)
        got: list[str] = []
        for _ in range(3):
            bodies, cursor = await pulls.events("shop", None, 0, 1000, EVERYBODY)
            assert len(bodies) <= 5
            got += ids(bodies)
            await pulls.ack("shop", cursor, EVERYBODY)
        assert got == [f"evt_a_{number}" for number in range(1, 11)]


@runs
async def test_names_are_those_of_pulls(tmp_path: Path) -> None:
    async with pulling(tmp_path, MemoryFeed("a")) as (pulls, _):
        for name in ("crm", "../x", ""):
            with pytest.raises(OrchestratorError) as error:
                await pulls.events(name, None, 0, 10, EVERYBODY)
            assert error.value.key == "bad_name"
        with pytest.raises(NoSuchConsumer):
            await pulls.ack("shop", NOTHING, EVERYBODY)
        with pytest.raises(NoSuchConsumer):
            await pulls.remove("shop")


@runs
async def test_there_are_not_too_many(tmp_path: Path) -> None:
    with patch.object(pulls_module, "MAX_PULLS", 3):
        async with pulling(tmp_path, MemoryFeed("a")) as (pulls, dispatcher):
            for number in range(3):
                await pulls.events(f"p{number}", None, 0, 10, EVERYBODY)
            with pytest.raises(TooManyPulls):
                await pulls.events("p3", None, 0, 10, EVERYBODY)
            await pulls.remove("p0")
            await pulls.events("p3", None, 0, 10, EVERYBODY)
            assert [one["name"] for one in dispatcher.status() if one["kind"] == "pull"] == ["p1", "p2", "p3"]


@runs
async def test_one_client_cannot_take_all_pulls_from_the_others(tmp_path: Path) -> None:
    greedy, other = Who(frozenset({"a"})), Who(id="b")
    with patch.object(pulls_module, "MAX_OF_ONE", 3):
        for _ in range(2):  # also not by having the gateway begin anew
            async with pulling(tmp_path, MemoryFeed("a")) as (pulls, dispatcher):
                asked = [pulls.events(f"p{number}", None, 0, 10, greedy) for number in range(20)]
                answers = await asyncio.gather(*asked, return_exceptions=True)
                refused = [one for one in answers if isinstance(one, TooManyPulls)]
                assert len(refused) == 17
                await pulls.events("p0", None, 0, 10, greedy)  # what there is goes on
                await pulls.events("mine", None, 0, 10, other)
                names = [one["name"] for one in dispatcher.status() if one["kind"] == "pull"]
                assert len(names) == 4
        async with pulling(tmp_path, MemoryFeed("a")) as (pulls, _):
            await pulls.remove("p0")
            await pulls.events("p19", None, 0, 10, greedy)


@pytest.mark.parametrize("cursor", ["", "x", "1", "a" * 31, "g" * 32, "0" * 32, "é" * 32, "a" * 100_000])
def test_cursors_are_checked(tmp_path: Path, cursor: str) -> None:
    async def run() -> None:
        async with pulling(tmp_path, MemoryFeed("a")) as (pulls, _):
            await pulls.events("shop", None, 0, 10, EVERYBODY)
            with pytest.raises(BadCursor):
                await pulls.ack("shop", cursor, EVERYBODY)

    asyncio.run(run())


@runs
async def test_a_cursor_is_of_one_pull(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with pulling(tmp_path, feed) as (pulls, _):
        for name in ("shop", "other"):
            await pulls.events(name, None, 0, 10, EVERYBODY)
        feed.add("a")
        _, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        with pytest.raises(BadCursor):
            await pulls.ack("other", cursor, EVERYBODY)


@runs
async def test_an_account_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    feed = MemoryFeed("a", "b")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        feed.add("a")
        sent = feed.add("b")
        feed.broken.add("a")
        bodies, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        assert ids(bodies) == [sent.id]
        await pulls.ack("shop", cursor, EVERYBODY)
        with pytest.raises(FeedError):
            await pulls.events("shop", "a", 0, 10, EVERYBODY)
        feed.broken.clear()
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == ["evt_a_1"]


@runs
async def test_a_position_is_moved(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with pulling(tmp_path, feed) as (pulls, dispatcher):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        sent = [feed.add("a").id for _ in range(5)]
        _, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        await pulls.ack("shop", cursor, EVERYBODY)
        await dispatcher.reset("shop", 2, "a")
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == sent[2:]
        await dispatcher.reset("shop", "beginning")
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == sent
        await dispatcher.reset("shop", "now")
        assert await pulls.events("shop", None, 0, 10, EVERYBODY) == ([], NOTHING)
        assert [one["cursor"] for one in dispatcher.positions("shop") if one["stream"] == "messages"] == [5]


@runs
async def test_a_position_is_moved_although_there_was_nothing_new(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with pulling(tmp_path, feed) as (pulls, dispatcher):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        sent = feed.add("a").id
        _, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        await pulls.ack("shop", cursor, EVERYBODY)
        assert await pulls.events("shop", None, 0, 10, EVERYBODY) == ([], NOTHING)
        await dispatcher.reset("shop", "beginning")
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == [sent]


@runs
async def test_a_batch_comes_again_without_what_cannot_be_read_any_more(tmp_path: Path) -> None:
    feed = MemoryFeed("a", "b")
    async with pulling(tmp_path, feed) as (pulls, _):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        of_a, of_b = feed.add("a").id, feed.add("b").id
        both, lost = await pulls.events("shop", None, 0, 10, EVERYBODY)
        assert sorted(ids(both)) == [of_a, of_b]
        feed.broken.add("a")  # before the answer has arrived
        rest, cursor = await pulls.events("shop", None, 0, 10, EVERYBODY)
        assert ids(rest) == [of_b]
        with pytest.raises(BadCursor):
            await pulls.ack("shop", lost, EVERYBODY)
        await pulls.ack("shop", cursor, EVERYBODY)
        assert await pulls.events("shop", None, 0, 10, EVERYBODY) == ([], NOTHING)
        feed.broken.clear()
        feed.tell("a")
        assert ids((await pulls.events("shop", None, 0, 10, EVERYBODY))[0]) == [of_a]


@runs
async def test_whoever_waits_goes_on_while_accounts_get_other_names(tmp_path: Path) -> None:
    feed = MemoryFeed("b")
    async with pulling(tmp_path, feed) as (pulls, dispatcher):
        await pulls.events("shop", None, 0, 10, EVERYBODY)
        waiting = asyncio.ensure_future(pulls.events("shop", None, 30, 10, EVERYBODY))
        await asyncio.sleep(0.02)
        lines = dispatcher.lines
        lines._is_ready.clear()
        kept = lines.pulls.pop("shop")
        sent = feed.add("b").id
        await asyncio.sleep(0.1)
        lines.pulls["shop"] = kept
        lines._is_ready.set()
        assert ids((await asyncio.wait_for(waiting, 20))[0]) == [sent]


def test_batches_need_no_descriptors(tmp_path: Path) -> None:
    async def run() -> None:
        async with pulling(tmp_path, MemoryFeed("a")) as (pulls, _):
            await pulls.events("shop", None, 0, 10, EVERYBODY)
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            for _ in range(20):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pulls.events("shop", None, 60, 10, EVERYBODY), 0.01)
            assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    asyncio.run(run())
