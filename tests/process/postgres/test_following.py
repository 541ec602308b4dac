"""What is known of consumers follows an account from one machine to the next, through both stores."""

from __future__ import annotations

import asyncio
import functools
import json
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.dispatching import Receiver, crm, until
from support.feeds import MemoryFeed
from support.following import Machine, MemoryConsumers, MemoryPulls
from support.postgres import FreshDatabase

from orchestrator.consumers import followed, schedule
from orchestrator.consumers.followed import Row, Stand
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed
from orchestrator.consumers.pulling import Batch
from orchestrator.consumers.writes import Kept, Moved, Place, Standing
from orchestrator.errors import NoSuchConsumer, OrchestratorError, StoreAway
from orchestrator.gateway.dispatch import following, moving
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.following import Following
from orchestrator.gateway.dispatch.pulls import BadCursor, Pulls
from orchestrator.gateway.dispatch.store import Store
from orchestrator.store.protocols import ConsumerStore, PullRows


class World:
    """Two machines with one store and one feed."""

    def __init__(self, folder: Path, store: ConsumerStore, pulls: PullRows) -> None:
        self.folder, self.store, self.pulls, self.feed = folder, store, pulls, MemoryFeed("a", "b")
        self.one, self.two = self.machine("one"), self.machine("two")

    def machine(self, name: str) -> Machine:
        return Machine(self.folder / name, self.feed, self.store, self.pulls)


def in_database(fresh: FreshDatabase) -> tuple[ConsumerStore, PullRows]:
    from orchestrator.postgres import consumers, ids, pulls

    database = fresh.ready()
    database.run(lambda connection: ids.make_known(connection, ["a", "b"]))
    return consumers.ConsumerRows(database, ids.some_of), pulls.PullRows(database)


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    in_memory = request.param == "memory"
    memory = (MemoryConsumers(), MemoryPulls())
    found = World(tmp_path, *(memory if in_memory else in_database(request.getfixturevalue("fresh"))))
    with patch.object(following, "SECONDS", 0.05):
        yield found
    for machine in (found.one, found.two):
        machine.close()


def runs(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[World], None]:
    @functools.wraps(test)
    def run(world: World) -> None:
        asyncio.run(test(world))

    return run


async def begun(dispatcher: Dispatcher, *accounts: str) -> None:
    """Wait until accounts are handed over here, and until it is known where they begin."""

    def is_so() -> bool:
        courses = [c for line in dispatcher.lines.lines.values() for c in line.machine.courses.values()]
        known = {course.place.account for course in courses if course.cursor is not None}
        return dispatcher.accounts() >= set(accounts) <= known

    await until(is_so)


async def moved(world: World, one: Following, account: str = "a") -> None:
    """Have an account go in good order from the first machine to the second."""
    world.one.terms.leave(account)
    await one.let_go(account)
    world.one.terms.end(account)
    world.two.has(account)


@runs
async def test_an_account_that_moves_goes_on_where_it_was(world: World) -> None:
    here, there = Receiver(), Receiver()
    world.one.has("a", "b")
    async with world.one.running({"crm": here}) as (one, link), world.two.running({"crm": there}) as (two, _):
        await begun(one, "a", "b")
        sent = [world.feed.add("a", f"{number % 5}@lid").id for number in range(50)]
        other = world.feed.add("b").id
        await until(lambda: len(here.taken) == 51)
        await moved(world, link)
        assert one.accounts() == {"b"}
        await until(lambda: two.accounts() == {"a"})
        after = [world.feed.add("a", f"{number % 5}@lid").id for number in range(50)]
        await until(lambda: len(there.taken) == 50)
        assert sorted(here.got) == sorted([*sent, other])
        assert sorted(there.got) == sorted(after)
        await until(lambda: (one.taken(), two.taken()) == ({"b": 1}, {"a": 100}))


@runs
async def test_what_came_while_nobody_had_the_account_is_handed_over(world: World) -> None:
    here, there = Receiver(), Receiver()
    world.one.has("a")
    async with world.one.running({"crm": here}) as (one, link):
        await begun(one, "a")
        world.feed.add("a")
        await until(lambda: len(here.taken) == 1)
        await moved(world, link)
        between = [world.feed.add("a").id for _ in range(3)]
    async with world.two.running({"crm": there}):
        await until(lambda: len(there.taken) == 3)
        assert (len(here.got), there.got) == (1, between)


@runs
async def test_an_account_that_was_lost_with_the_database_is_handed_over_no_more(world: World) -> None:
    here = Receiver()
    world.one.has("a", "b")
    async with world.one.running({"crm": here}) as (one, link):
        await begun(one, "a", "b")
        world.one.has_store = False
        link._pulls_at = float("-inf")  # just then, it is time to ask the database for pulls
        world.one.terms.end("a")
        with pytest.raises(StoreAway):
            await link.step()
        assert one.accounts() == {"b"}
        world.feed.add("a")
        other = world.feed.add("b").id
        await until(lambda: here.got == [other])


@runs
async def test_a_lost_machine_costs_the_last_seconds_once_more_and_nothing_is_skipped(world: World) -> None:
    here, there = Receiver(), Receiver()
    world.one.has("a")
    async with world.one.running({"crm": here}, ends_well=False) as (one, link):
        await begun(one, "a")
        early = [world.feed.add("a").id for _ in range(20)]
        await until(lambda: len(here.taken) == 20)
        await until(lambda: one.taken() == {"a": 20})
        await link.step()
        world.one.away = Silent  # the machine loses its database
        late = [world.feed.add("a").id for _ in range(5)]
        await until(lambda: len(here.taken) == 25)
    world.two.has("a")
    async with world.two.running({"crm": there}):
        after = [world.feed.add("a").id for _ in range(5)]
        await until(lambda: len(there.taken) >= 10)
        assert there.got == late + after
        assert here.got == early + late


@runs
async def test_an_account_is_taken_up_for_all_consumers_although_one_cannot_be_loaded_at_first(
    world: World,
) -> None:
    load, failed = Store.load, list[str]()

    def fails_once(store: Store, name: str, account: str | None = None) -> Kept:
        if account is not None and name == "erp" and not failed:
            failed.append(name)
            raise sqlite3.OperationalError("disk I/O error")
        return load(store, name, account)

    receivers = {name: Receiver() for name in ("crm", "erp", "log")}
    world.one.has("a")
    with patch.object(Store, "load", fails_once):
        async with world.one.running(receivers) as (one, _):
            lines = one.lines.lines
            await until(lambda: failed)
            for name in receivers:
                await until(lambda: [c for c in lines[name].machine.courses.values() if c.cursor is not None])  # noqa: B023
            sent = world.feed.add("a").id
            await until(lambda: all(receiver.got == [sent] for receiver in receivers.values()))


@runs
async def test_what_has_failed_follows_with_its_tries(world: World) -> None:
    def fails(attempt: Attempt) -> Delivered | Failed:
        return Failed("HTTP 500") if b'"bad"' in attempt.event.body else Delivered()

    here, there = Receiver(fails), Receiver(fails)
    with patch.object(schedule, "DELAYS", (0.0, *[3600.0] * 11)):
        world.one.has("a")
        async with (
            world.one.running({"crm": here}) as (one, link),
            world.two.running({"crm": there}) as (two, _),
        ):
            await begun(one, "a")
            bad = world.feed.add("a", text="bad")
            behind, other = world.feed.add("a"), world.feed.add("a", "y@lid")
            await until(lambda: here.taken == [other.id])
            await moved(world, link)
            await begun(two, "a")
            assert one.status()[0]["retrying"] == 0
            await until(lambda: two.status()[0]["retrying"] == 1)
            (fate,) = await two.trace(bad.id)
            assert (fate["state"], fate["tries"], fate["why"]) == ("retrying", 1, "HTTP 500")
            # The inbox keeps all of it for the next machine.
            assert two.taken() == {"a": bad.seq - 1}
            there.answer = lambda _: Delivered()
            await two.resume("crm")
            await until(lambda: there.taken == [bad.id, behind.id])
            assert there.numbers == [2, 1]
            assert there.bodies[bad.id] == {bad.body}
            await until(lambda: two.taken() == {"a": 3})


@runs
async def test_dead_letters_follow_and_can_be_delivered_again(world: World) -> None:
    here, there = Receiver(lambda _: Failed("HTTP 404")), Receiver()
    with patch.object(schedule, "DELAYS", (0.0, *[0.01] * 11)):
        world.one.has("a", "b")
        async with (
            world.one.running({"crm": here}) as (one, link),
            world.two.running({"crm": there}) as (two, _),
        ):
            await begun(one, "a", "b")
            dead, stays = world.feed.add("a"), world.feed.add("b")
            await until(lambda: one.status()[0]["dead"] == 2)
            await moved(world, link)
            await begun(two, "a")
            assert (one.status()[0]["dead"], two.status()[0]["dead"]) == (1, 1)
            assert [one["event"] for one in await one.dead("crm")] == [stays.id]
            assert [(one["event"], one["tries"]) for one in await two.dead("crm")] == [(dead.id, 12)]
            assert await two.replay("crm") == 1
            await until(lambda: there.taken == [dead.id])
            assert there.bodies[dead.id] == {dead.body}
            await until(lambda: two.status()[0]["dead"] == 0)
            await until(lambda: not _rows(world, "a", "letter"))


@runs
async def test_a_pause_is_one_of_all_machines(world: World) -> None:
    here, there = Receiver(), Receiver()
    world.one.has("a")
    world.two.has("b")
    async with world.one.running({"crm": here}) as (one, _), world.two.running({"crm": there}) as (two, _):
        await begun(one, "a")
        await begun(two, "b")
        await one.pause("crm")
        await until(lambda: two.status()[0]["state"] == "paused")
        sent = world.feed.add("b").id
        await two.resume("crm")
        await until(lambda: one.status()[0]["state"] == "active")
        await until(lambda: there.taken == [sent])
    # A machine that comes anew hears of it as well.
    async with world.one.running({"crm": here}) as (one, _):
        await one.pause("crm")
        await until(lambda: world.store.standings()[0].standing.paused)
    third = world.machine("three")
    async with third.running({"crm": Receiver()}) as (other, _):
        await until(lambda: other.status()[0]["state"] == "paused")
    third.close()


@runs
async def test_a_consumer_that_wants_nothing_more_is_left_alone_by_all(world: World) -> None:
    here, there = Receiver(lambda _: Failed("HTTP 410", disable=True)), Receiver()
    world.one.has("a")
    async with world.one.running({"crm": here}) as (one, _), world.two.running({"crm": there}) as (two, _):
        await begun(one, "a")
        world.feed.add("a")
        await until(lambda: two.status()[0]["state"] == "disabled")
        assert two.status()[0]["why"] == "HTTP 410"


@runs
async def test_only_the_machine_that_has_an_account_hands_its_events_over(world: World) -> None:
    """Also to a consumer that names its accounts, whose events each machine could read."""
    here, there = Receiver(), Receiver()
    named = {"crm": crm(accounts=frozenset({"a", "b"}))}
    world.one.has("a")
    world.two.has("b")
    async with (
        world.one.running({"crm": here}, named) as (one, link),
        world.two.running({"crm": there}, named) as (two, _),
    ):
        await begun(one, "a")
        await begun(two, "b")
        sent = [(world.feed.add("a").id, world.feed.add("b").id) for _ in range(10)]
        await until(lambda: len(here.taken) == len(there.taken) == 10)
        assert here.got == [of_a for of_a, _ in sent]
        assert there.got == [of_b for _, of_b in sent]
        await moved(world, link)
        await begun(two, "a", "b")
        later = world.feed.add("a").id
        await until(lambda: there.got[-1] == later)
        assert (len(here.got), len(there.got)) == (10, 11)


@runs
async def test_a_gateway_that_is_killed_alone_repeats_no_seconds(world: World) -> None:
    """What it has on its disk is newer than the store, as long as nobody else had the account."""
    receiver = Receiver()
    world.one.has("a")
    async with world.one.running({"crm": receiver}, ends_well=False) as (one, link):
        await begun(one, "a")
        await link.step()
        world.one.away = Silent
        for _ in range(5):
            world.feed.add("a")
        await until(lambda: one.taken() == {"a": 5})
    async with world.one.running({"crm": receiver}) as (one, _):
        await until(lambda: one.taken() == {"a": 5})
        world.feed.add("a")
        await until(lambda: len(receiver.got) == 6)
        await until(lambda: _cursor(world, "a") == 6)


@runs
async def test_what_was_lost_with_a_damaged_file_comes_from_the_store(world: World) -> None:
    receiver = Receiver()
    world.one.has("a")
    async with world.one.running({"crm": receiver}) as (one, _):
        await begun(one, "a")
        sent = [world.feed.add("a").id for _ in range(5)]
        await until(lambda: one.taken() == {"a": 5})
    (world.folder / "one" / "consumers.sqlite3").write_bytes(b"nothing of the kind" * 1000)
    async with world.one.running({"crm": receiver}) as (one, _):
        await until(lambda: one.taken() == {"a": 5})
        sent.append(world.feed.add("a").id)
        await until(lambda: len(receiver.got) >= 6)
        assert receiver.got == sent


@runs
async def test_files_of_before_the_database_are_taken_along(world: World) -> None:
    """A service that gets a `store:` has positions on its disk, and the database has none."""
    receiver = Receiver()
    old = Dispatcher(world.folder / "one", world.feed)  # type: ignore[arg-type]
    old.configure({"crm": crm()}, {"crm": receiver})
    task = asyncio.ensure_future(old.run())
    await old.lines.ready()
    await until(lambda: old.lines.lines["crm"].machine.courses)
    sent = [world.feed.add("a").id for _ in range(5)]
    await until(lambda: len(receiver.got) == 5)
    await old.close(1.0)
    await asyncio.wait([task])
    world.one.has("a")
    async with world.one.running({"crm": receiver}) as (one, _):
        await until(lambda: one.taken() == {"a": 5})
        await until(lambda: _cursor(world, "a") == 5)
        assert receiver.got == sent


@runs
async def test_a_machine_that_has_lost_an_account_changes_nothing_of_it(world: World) -> None:
    here, there = Receiver(), Receiver()
    world.one.has("a")
    async with world.one.running({"crm": here}) as (one, link), world.two.running({"crm": there}) as (two, _):
        await begun(one, "a")
        world.feed.add("a")
        await until(lambda: _cursor(world, "a") == 1)
        world.one.away = Silent
        world.one.terms.end("a")
        world.two.has("a")
        await begun(two, "a")
        world.feed.add("a")  # both hear of it
        await until(lambda: _cursor(world, "a") == 2)
        await two.reset("crm", "beginning", "a")
        await until(lambda: len(there.got) == 3)
        world.one.away = None
        await link.step()
        assert one.accounts() == frozenset()
        assert (_cursor(world, "a"), len(here.got)) == (2, 2)


@runs
async def test_texts_of_an_account_that_was_lost_stay_on_no_machine(world: World) -> None:
    receiver = Receiver(lambda _: Failed("HTTP 500"))
    world.one.has("a")
    with patch.object(schedule, "DELAYS", (0.0, *[3600.0] * 11)):
        async with world.one.running({"crm": receiver}) as (one, _):
            await begun(one, "a")
            bad = world.feed.add("a", text="a text of somebody")
            await until(lambda: _rows(world, "a", "chat"))
            world.one.terms.end("a")
            await until(lambda: one.accounts() == frozenset())
            store = one.lines.writer
            assert await store.call(Store.body, "crm", Place("a", "messages"), "x@lid", bad.seq) is None
            assert await store.call(Store.accounts) == frozenset()
    assert b"somebody" not in b"".join(path.read_bytes() for path in (world.folder / "one").iterdir())


@runs
async def test_a_machine_without_word_of_its_service_begins_nothing(world: World) -> None:
    here = Receiver()
    world.one.has("a")
    async with world.one.running({"crm": here}) as (one, _):
        await begun(one, "a")
        world.feed.add("a")
        await until(lambda: len(here.got) == 1)
        with patch.object(following, "STALE_SECONDS", 0.3):
            world.one.away = Silent
            await asyncio.sleep(0.5)
            world.feed.add("a")
            await asyncio.sleep(0.2)
            assert len(here.got) == 1
            world.one.away = None
            await until(lambda: len(here.got) == 2)


@runs
async def test_a_slow_receiver_holds_up_a_move_for_two_seconds_at_the_most(world: World) -> None:
    async def hang() -> Delivered:
        await asyncio.sleep(60)
        return Delivered()

    here, there = Receiver(lambda _: hang()), Receiver()
    world.one.has("a")
    with patch.object(following, "LET_GO_SECONDS", 0.1):
        async with (
            world.one.running({"crm": here}) as (one, link),
            world.two.running({"crm": there}),
        ):
            await begun(one, "a")
            sent = world.feed.add("a").id
            await until(lambda: here.got == [sent])
            await moved(world, link)
            await until(lambda: there.taken == [sent])  # nobody knows whether the first has it


@runs
async def test_more_rows_than_one_request_takes(world: World) -> None:
    here, there = Receiver(lambda _: Failed("HTTP 500")), Receiver()
    world.one.has("a")
    with (
        patch.object(following, "_MOST", 7),
        patch.object(followed, "MOST_ROWS", 5),
        patch("orchestrator.service.companions.following.MOST_ROWS", 5),
        patch.object(schedule, "DELAYS", (0.0, *[3600.0] * 11)),
    ):
        async with (
            world.one.running({"crm": here}) as (one, link),
            world.two.running({"crm": there}) as (two, _),
        ):
            await begun(one, "a")
            for number in range(4):
                world.feed.add("a", f"{number}@lid")
            await until(lambda: one.status()[0]["retrying"] == 4)
            for number in range(4, 40):
                world.feed.add("a", f"{number}@lid")
            await until(lambda: one.lines.lines["crm"].machine.courses[Place("a", "messages")].read == 40)
            await moved(world, link)
            await begun(two, "a")
            await two.resume("crm")
            await until(lambda: len(set(there.taken)) == 40)


class Client:
    """Who asks for events of a pull."""

    kind, id, accounts = "token", "t1", None


def numbers_of(bodies: list[bytes]) -> list[tuple[str, int]]:
    return [(event["account"], event["seq"]) for event in map(json.loads, bodies)]


@runs
async def test_a_pull_is_one_of_all_machines(world: World) -> None:
    world.one.has("a", "b")
    async with world.one.running({}) as (one, link), world.two.running({}) as (two, _):
        first, second = Pulls(one), Pulls(two)
        assert await first.events("crm", None, 0, 10, Client()) == ([], "0")
        await asyncio.sleep(0.01)
        for account in ("a", "b"):
            world.feed.add(account)
        bodies, cursor = await first.events("crm", None, 0, 10, Client())
        assert sorted(numbers_of(bodies)) == [("a", 1), ("b", 1)]
        # The same batch comes from the other machine, which does not have the accounts, until any is told.
        assert await second.events("crm", None, 0, 10, Client()) == (bodies, cursor)
        await second.ack("crm", cursor, Client())
        await first.ack("crm", cursor, Client())
        await moved(world, link)
        await until(lambda: two.accounts() == {"a"})
        world.feed.add("a")
        bodies, cursor = await second.events("crm", "a", 0, 10, Client())
        assert numbers_of(bodies) == [("a", 2)]
        await first.ack("crm", cursor, Client())
        assert await second.events("crm", "a", 0, 10, Client()) == ([], "0")
        with pytest.raises(BadCursor):
            await second.ack("crm", "0" * 32, Client())
        with pytest.raises(NoSuchConsumer):
            await second.ack("other", cursor, Client())
        await first.remove("crm")
        with pytest.raises(NoSuchConsumer):
            await second.remove("crm")
        # Whoever asks for it makes another one, at a machine that knew the former as well.
        assert await second.events("crm", None, 0, 10, Client()) == ([], "0")
        await asyncio.sleep(0.01)
        world.feed.add("a")
        bodies, _ = await second.events("crm", None, 0, 10, Client())
        assert numbers_of(bodies) == [("a", 3)]


@runs
async def test_two_machines_that_are_asked_at_once_hand_out_one_batch(world: World) -> None:
    world.one.has("a")
    async with world.one.running({}) as (one, _), world.two.running({}) as (two, _):
        pulls = [Pulls(one), Pulls(two)]
        await asyncio.gather(*(pull.events("crm", None, 0, 10, Client()) for pull in pulls))
        await asyncio.sleep(0.01)
        for _ in range(10):
            world.feed.add("a")
            found = await asyncio.gather(*(pull.events("crm", None, 0, 10, Client()) for pull in pulls))
            assert found[0] == found[1]
            await pulls[1].ack("crm", found[0][1], Client())
        assert numbers_of(found[0][0]) == [("a", 10)]


@runs
async def test_messages_are_kept_until_pulls_have_them_wherever_the_account_is(world: World) -> None:
    receiver = Receiver()
    world.one.has("a")
    async with world.one.running({}) as (one, _), world.two.running({"crm": receiver}) as (two, _):
        pull = Pulls(one)
        await pull.events("erp", None, 0, 10, Client())
        await asyncio.sleep(0.01)
        world.feed.add("a")
        _, cursor = await pull.events("erp", None, 0, 10, Client())
        assert one.taken() == {"a": 0}
        world.one.terms.end("a")
        world.two.has("a")
        with patch.object(following, "PULLS_SECONDS", 0.0):
            await until(lambda: receiver.got)
            assert two.taken() == {"a": 0}
            await pull.ack("erp", cursor, Client())
            await until(lambda: two.taken() == {"a": 1})


@runs
async def test_an_operator_moves_a_pull_for_all_machines(world: World) -> None:
    world.one.has("a")
    async with world.one.running({}) as (one, _), world.two.running({}) as (two, _):
        await Pulls(one).events("crm", None, 0, 10, Client())
        await until(lambda: one.accounts() == {"a"})
        await asyncio.sleep(0.01)
        world.feed.add("a")
        _, cursor = await Pulls(one).events("crm", None, 0, 10, Client())
        await Pulls(two).ack("crm", cursor, Client())
        await one.reset("crm", "beginning", "a")
        bodies, _ = await Pulls(two).events("crm", None, 0, 10, Client())
        assert numbers_of(bodies) == [("a", 1)]


@runs
async def test_pulls_of_before_the_database_are_taken_along(world: World) -> None:
    old = Dispatcher(world.folder / "one", world.feed)  # type: ignore[arg-type]
    old.configure({}, {})
    task = asyncio.ensure_future(old.run())
    await old.lines.ready()
    await Pulls(old).events("crm", None, 0, 10, Client())
    await asyncio.sleep(0.01)
    world.feed.add("a")
    _, cursor = await Pulls(old).events("crm", None, 0, 10, Client())
    await Pulls(old).ack("crm", cursor, Client())
    await old.close(1.0)
    await asyncio.wait([task])
    world.one.has("a")
    async with world.one.running({}) as (one, _), world.two.running({}) as (two, _):
        await until(lambda: one.accounts() == {"a"})
        world.feed.add("a")
        bodies, _ = await Pulls(two).events("crm", None, 0, 10, Client())
        assert numbers_of(bodies) == [("a", 2)]
        assert one.taken() == {"a": 1}


@runs
async def test_an_import_and_an_export_take_along_how_far_consumers_are(world: World) -> None:
    def fails(attempt: Attempt) -> Delivered | Failed:
        return Failed("HTTP 500") if b'"bad"' in attempt.event.body else Delivered()

    def files(name: str, receiver: Receiver) -> Dispatcher:
        dispatcher = Dispatcher(world.folder / name, world.feed)  # type: ignore[arg-type]
        dispatcher.configure({"crm": crm()}, {"crm": receiver})
        return dispatcher

    here, there, back = Receiver(fails), Receiver(), Receiver()
    old = files("one", here)
    running = asyncio.ensure_future(old.run())
    await old.lines.ready()
    await Pulls(old).events("erp", None, 0, 10, Client())
    await until(lambda: len(old.lines.lines["crm"].machine.courses) == 4)
    with patch.object(schedule, "DELAYS", (0.0, *[3600.0] * 11)):
        bad, good = world.feed.add("a", text="bad"), world.feed.add("a", "y@lid")
        await until(lambda: here.taken == [good.id])
        _, cursor = await Pulls(old).events("erp", None, 0, 10, Client())
        await Pulls(old).ack("erp", cursor, Client())
        await old.close(1.0)
        await asyncio.wait([running])
        moving.bring_in(world.folder / "one", "a", world.store, world.pulls)
        moving.bring_in(world.folder / "two", "a", world.store, world.pulls)  # without a file
        world.one.has("a")
        async with world.one.running({"crm": there}) as (one, _):
            await until(lambda: one.status()[0]["retrying"] == 1)
            later = world.feed.add("a", "y@lid")
            await until(lambda: there.taken == [later.id])
            bodies, cursor = await Pulls(one).events("erp", None, 0, 10, Client())
            assert numbers_of(bodies) == [("a", later.seq)]
            await Pulls(one).ack("erp", cursor, Client())
    moving.bring_out(world.folder / "three", "a", world.store, world.pulls)
    assert world.store.read("a", 0, 10).rows == ()
    new = files("three", back)
    running = asyncio.ensure_future(new.run())
    await new.lines.ready()
    await new.resume("crm")
    last = world.feed.add("a", "y@lid")
    await until(lambda: sorted(back.taken) == sorted([bad.id, last.id]))
    bodies, _ = await Pulls(new).events("erp", None, 0, 10, Client())
    assert numbers_of(bodies) == [("a", last.seq)]
    await new.close(1.0)
    await asyncio.wait([running])


class Silent(OrchestratorError):  # noqa: N818 - what it is
    """The service does not answer."""

    key = "failed"


def _rows(world: World, account: str, kind: str) -> list[Any]:
    kinds = {"position": "Moved", "chat": "LaneRow", "letter": "DeadLetter"}
    rows = world.store.read(account, 0, 1000).rows
    return [row.what for row in rows if type(row.what).__name__ == kinds[kind]]


def _cursor(world: World, account: str) -> int | None:
    cursors = [one.cursor for one in _rows(world, account, "position") if one.place.stream == "messages"]
    return cursors[0] if cursors else None


def test_what_no_machine_has_configured_for_long_is_forgotten(fresh: FreshDatabase) -> None:
    consumers, pulls = in_database(fresh)
    place = Place("a", "messages")
    consumers.stand([Stand("crm", "webhook", Standing(5.0)), Stand("old", "bot", Standing(5.0))], ())
    consumers.follow([Row("crm", Moved(place, 1)), Row("old", Moved(place, 2))])
    pulls.use("erp", "token t1", 5.0)
    pulls.begin("erp", {place: 3})
    assert pulls.hand_out("erp", "*", Batch("0" * 32, [(place, 3, 4)]), None)
    with fresh.open() as database:
        database.run(
            lambda connection: connection.execute(
                "UPDATE orchestrator.consumer SET seen_at = seen_at - interval '31 days'"
            )
        )
    consumers.stand((), ["crm"])
    assert [one.name for one in consumers.standings()] == ["crm"]
    assert pulls.known(None) == {}
    assert pulls.outstanding("erp", "*") is None
    assert consumers.read("a", 0, 10).rows == (Row("crm", Moved(place, 1)),)


def test_positions_of_pulls_are_no_rows_of_an_account(fresh: FreshDatabase) -> None:
    """A pull is one for all machines: no account takes it along."""
    consumers, pulls = in_database(fresh)
    pulls.use("erp", "token t1", 5.0)
    pulls.begin("erp", {Place("a", "messages"): 3, Place("nobody", "messages"): 3})
    pulls.begin("other", {Place("a", "messages"): 3})  # which nobody uses
    pulls.reset("other", {Place("a", "messages"): 3})
    assert consumers.read("a", 0, 10).rows == ()
    assert not consumers.read("a", 0, 10).is_known
    assert pulls.known(["b"])["erp"].positions == {}
    assert pulls.known(None)["erp"].positions == {Place("a", "messages"): 3}
    pulls.begin("erp", {Place("a", "messages"): 2})  # somebody was further already
    assert pulls.known(None)["erp"].positions == {Place("a", "messages"): 3}


def test_an_account_that_was_renamed_keeps_where_its_consumers_are(fresh: FreshDatabase) -> None:
    from orchestrator.postgres import ids

    consumers, pulls = in_database(fresh)
    place, renamed = Place("a", "messages"), Place("c", "messages")
    consumers.follow([Row("crm", Moved(place, 1))])
    pulls.use("erp", "token t1", 5.0)
    assert pulls.hand_out("erp", "*", Batch("0" * 32, [(place, 3, 4)]), None)
    with fresh.open() as database:
        assert database.run(lambda connection: ids.rename(connection, "a", "c"))
    assert consumers.read("c", 0, 10).rows == (Row("crm", Moved(renamed, 1)),)
    assert pulls.acknowledge("erp", "0" * 32) == [(renamed, 3, 4)]
    assert pulls.acknowledge("erp", "0" * 32) == []
    assert pulls.known(None)["erp"].positions == {renamed: 4}
