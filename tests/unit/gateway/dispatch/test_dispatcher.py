"""The dispatcher: real store, real event loop, and consumers that fail in every way."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support.dispatching import Receiver, crm, running, runs, settled, until
from support.feeds import MemoryFeed
from support.full_disk import fill, small_disk

from orchestrator.consumers import schedule
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.consumers.writes import Place
from orchestrator.errors import NoSuchAccount, NoSuchConsumer, OrchestratorError
from orchestrator.gateway.dispatch import line, lines, snapshot
from orchestrator.gateway.dispatch import store as kept
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.store import DATABASE, Store
from orchestrator.gateway.dispatch.writer import StoreError
from orchestrator.gateway.feed import FeedError
from orchestrator.messages.retention import Retention


@pytest.fixture(autouse=True)
def short_delays() -> Iterator[None]:
    with patch.object(schedule, "DELAYS", (0.0, *[0.02] * 11)):
        yield


@runs
async def test_what_comes_is_delivered_once_and_in_order(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        sent = [feed.add("ab"[number % 2], f"{number % 7}@lid").id for number in range(500)]
        await until(lambda: len(receiver.taken) == 500)
        for chat in range(7):
            of = [one for number, one in enumerate(sent) if number % 7 == chat]
            for account in "ab":
                mine = [one for one in of if one.startswith(f"evt_{account}_")]
                assert [one for one in receiver.taken if one in mine] == mine
        await until(lambda: dispatcher.taken() == {"a": 250, "b": 250})
        (status,) = dispatcher.status()
        assert (status["state"], status["delivered"], status["waiting"]) == ("active", 500, 0)


@runs
async def test_a_new_consumer_is_not_flooded(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    for _ in range(30):
        feed.add("a", at=1_000_000.0)
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        new = feed.add("a")
        await until(lambda: receiver.taken)
        assert receiver.taken == [new.id]


@runs
async def test_an_account_that_is_new_is_delivered_from_its_beginning(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = [feed.add("new").id for _ in range(3)]
        sent.append(feed.add("new", stream="account", kind="account.paired").id)
        await until(lambda: len(receiver.taken) == 4)
        assert sorted(receiver.taken) == sorted(sent)


@runs
async def test_what_comes_while_the_lines_begin_is_delivered(tmp_path: Path) -> None:
    """The lines have read all that there was, and it is still being looked up which pulls there are."""
    feed, receiver = MemoryFeed("a"), Receiver()
    dispatcher = Dispatcher(tmp_path, feed)  # type: ignore[arg-type]
    pulls, go_on = dispatcher.lines.pull_store, asyncio.Event()
    really = pulls.known

    async def known() -> Mapping[str, object]:
        await go_on.wait()
        return await really()

    with patch.object(pulls, "known", known):
        dispatcher.configure({"crm": crm()}, {"crm": receiver})
        task = asyncio.ensure_future(dispatcher.run())
        await until(lambda: dispatcher.lines.lines)
        await settled(dispatcher)
        await until(lambda: not dispatcher.lines.lines["crm"]._tasks)
        sent = feed.add("a")
        go_on.set()
        await until(lambda: receiver.taken == [sent.id])
        await dispatcher.close(1.0)
        await asyncio.gather(task, return_exceptions=True)


@runs
async def test_an_account_that_comes_with_another_configuration_is_delivered(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = feed.add("new")
        dispatcher.configure({"crm": crm(), "other": crm("other")}, {"crm": receiver, "other": Receiver()})
        await until(lambda: receiver.taken == [sent.id])


@runs
async def test_a_store_that_cannot_be_read_at_first_is_read_later(tmp_path: Path) -> None:
    """Nothing else happens meanwhile: nobody writes to the accounts, and nobody edits the configuration.

    At the second start, the note of positions is compared with the store as well.
    """
    feed, receiver, known = MemoryFeed("a"), Receiver(), Store.known
    fails: list[bool] = []

    def fail(store: Store) -> dict[str, kept.Known]:
        if fails:
            fails.pop()
            raise sqlite3.OperationalError("disk I/O error")
        return known(store)

    for _ in range(2):
        fails += [True, True]
        with patch.object(lines, "_PATIENCE", 0.05), patch.object(Store, "known", fail):
            dispatcher = Dispatcher(tmp_path, feed)  # type: ignore[arg-type]
            dispatcher.configure({"crm": crm()}, {"crm": receiver})
            task = asyncio.ensure_future(dispatcher.run())
            await until(lambda: dispatcher.lines.is_ready)  # noqa: B023
            assert not fails
            await dispatcher.close(1.0)
            await asyncio.gather(task, return_exceptions=True)


@runs
async def test_nothing_is_lost_by_a_kill(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    receiver = Receiver(
        lambda one: Failed("HTTP 500") if hash(one.event.id) % 3 == one.number % 3 else Delivered()
    )
    sent = []
    for round_ in range(4):
        async with running(tmp_path, feed, {"crm": receiver}, ends_well=round_ == 3) as dispatcher:
            await settled(dispatcher)
            sent += [feed.add("a", f"{number % 5}@lid").id for number in range(100)]
            await until(lambda: len(receiver.taken) > 60 * (round_ + 1))  # noqa: B023
            if round_ == 3:
                await until(lambda: set(receiver.taken) == set(sent))  # noqa: B023
    assert set(receiver.taken) == set(sent)
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    for chat in range(5):
        mine = [one for number, one in enumerate(sent) if number % 5 == chat]
        firsts = sorted(mine, key=receiver.taken.index)
        assert firsts == mine


@runs
async def test_a_chat_that_fails_keeps_none_waiting_but_itself(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    receiver = Receiver(lambda one: Failed("HTTP 500") if b'"bad"' in one.event.body else Delivered())
    with patch.object(schedule, "DELAYS", (0.0, *[3600.0] * 11)):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            bad = feed.add("a", "x@lid", text="bad")
            behind = feed.add("a", "x@lid")
            others = [feed.add("a", f"{number}@lid").id for number in range(200)]
            await until(lambda: len(receiver.taken) == 200)
            assert set(receiver.taken) == set(others)
            (status,) = dispatcher.status()
            assert (status["retrying"], status["waiting"]) == (1, 2)
            assert await dispatcher.trace(bad.id) == [
                {"consumer": "crm", "kind": "webhook", "state": "retrying", "tries": 1, "why": "HTTP 500",
                 "next_try_at": (await dispatcher.trace(bad.id))[0]["next_try_at"]}
            ]  # fmt: skip
            assert [one["state"] for one in await dispatcher.trace(behind.id)] == ["waiting"]
            assert [one["state"] for one in await dispatcher.trace(others[7])] == ["delivered"]
            # The inbox still needs what waits, and nothing before it.
            assert dispatcher.taken() == {"a": bad.seq}
            receiver.answer = lambda _: Delivered()
            await dispatcher.resume("crm")
            await until(lambda: len(receiver.taken) == 202)
            assert receiver.taken[-2:] == [bad.id, behind.id]
            await until(lambda: dispatcher.taken() == {"a": 202})


@runs
async def test_what_never_works_is_dead_and_can_be_delivered_again(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 404"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        first = feed.add("a", "x@lid")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
        assert receiver.numbers == list(range(1, 13))
        (letter,) = await dispatcher.dead("crm")
        assert (letter["event"], letter["tries"], letter["why"]) == (first.id, 12, "HTTP 404")
        assert "body" not in letter
        assert "lane" not in letter
        assert [one["state"] for one in await dispatcher.trace(first.id)] == ["dead"]
        with pytest.raises(OrchestratorError) as caught:
            await dispatcher.replay("crm", "evt_a_99")
        assert caught.value.key == "no_dead_letter"
        receiver.answer = lambda _: Delivered()
        assert await dispatcher.replay("crm") == 1
        await until(lambda: receiver.taken == [first.id])
        await until(lambda: dispatcher.status()[0]["dead"] == 0)
        assert await dispatcher.dead("crm") == []
        assert receiver.bodies[first.id] == {first.body}


@runs
async def test_a_consumer_that_wants_nothing_is_left_alone(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 410", disable=True))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = [feed.add("a").id for _ in range(3)]
        await until(lambda: dispatcher.status("crm")[0]["state"] == "disabled")
        assert dispatcher.status("crm")[0]["why"] == "HTTP 410"
        assert receiver.got == sent[:1]
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        assert dispatcher.status("crm")[0]["state"] == "disabled"
        receiver.answer = lambda _: Delivered()
        await dispatcher.resume("crm")
        await until(lambda: receiver.taken == sent)


@runs
async def test_a_pause_lasts(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        await dispatcher.pause("crm")
        sent = [feed.add("a").id for _ in range(3)]
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        assert dispatcher.status("crm")[0]["state"] == "paused"
        assert receiver.got == []
        await dispatcher.resume("crm")
        await until(lambda: receiver.taken == sent)


@runs
async def test_a_slow_consumer_costs_the_others_nothing(tmp_path: Path) -> None:
    feed, fast = MemoryFeed("a"), Receiver()

    async def hang() -> Outcome:
        await asyncio.Event().wait()
        return Delivered()

    slow = Receiver(lambda _: hang())
    async with running(tmp_path, feed, {"slow": slow, "fast": fast}) as dispatcher:
        await settled(dispatcher)
        for number in range(1000):
            feed.add("a", f"{number % 50}@lid")
        await until(lambda: len(fast.taken) == 1000)
        assert len(slow.got) == 8
        machine = dispatcher.lines.lines["slow"].machine
        assert machine.tally.events < 500


@runs
async def test_an_endpoint_with_a_bug_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    feed, good = MemoryFeed("a"), Receiver()

    def bug(_: Attempt) -> Outcome:
        raise ValueError("secret")

    async with running(tmp_path, feed, {"bad": Receiver(bug), "good": good}) as dispatcher:
        await settled(dispatcher)
        feed.add("a")
        await until(lambda: good.taken and dispatcher.status("bad")[0]["failed"])
        assert dispatcher.status("bad")[0]["why"] == "a bug in the gateway"


@runs
async def test_what_hangs_for_ever_is_ended(tmp_path: Path) -> None:
    feed = MemoryFeed("a")

    async def hang() -> Outcome:
        await asyncio.Event().wait()
        return Delivered()

    with patch.object(line, "LONGEST", 0.05):
        receiver = Receiver(lambda one: hang() if one.number == 1 else Delivered())
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            sent = feed.add("a")
            await until(lambda: receiver.taken == [sent.id])


@runs
async def test_an_account_that_cannot_be_read_keeps_no_other_waiting(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.broken.add("a")
        lost = feed.add("a")
        sent = feed.add("b")
        await until(lambda: receiver.taken == [sent.id])
        feed.broken.clear()
        await until(lambda: receiver.taken == [sent.id, lost.id])


@runs
async def test_the_configuration_changes_while_it_runs(tmp_path: Path) -> None:
    feed, first, second = MemoryFeed("a", "b"), Receiver(), Receiver()
    async with running(tmp_path, feed, {"crm": first}) as dispatcher:
        await settled(dispatcher)
        feed.add("a")
        await until(lambda: len(first.taken) == 1)
        dispatcher.configure({"crm": crm(accounts=frozenset("b"))}, {"crm": second})
        await until(lambda: dispatcher.status("crm")[0]["accounts"] == ["b"])
        missed = feed.add("a")
        there = feed.add("b")
        await until(lambda: second.taken == [there.id])
        assert dispatcher.taken()["b"] in (0, 1)
        assert "a" not in dispatcher.taken()
        dispatcher.configure({"crm": crm(events=("account.*",))}, {"crm": second})
        await until(lambda: dispatcher.status("crm")[0]["accounts"] is None)
        feed.add("b")
        happened = feed.add("b", stream="account", kind="account.connected")
        await until(lambda: second.taken == [there.id, happened.id])
        assert missed.id not in second.got
        dispatcher.configure({}, {})
        await until(lambda: not dispatcher.status())
        with pytest.raises(NoSuchConsumer):
            dispatcher.status("crm")
        waits = feed.add("b")
        dispatcher.configure({"crm": crm()}, {"crm": second})
        await until(lambda: waits.id in second.taken)


@runs
async def test_a_consumer_without_an_endpoint_waits(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {}, {"echo": Consumer("echo", "bot")}) as dispatcher:
        sent = feed.add("a")
        dispatcher.configure({"echo": Consumer("echo", "bot")}, {"echo": receiver})
        await until(lambda: receiver.taken == [sent.id])


@runs
async def test_a_position_is_moved(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = [feed.add("a").id for _ in range(5)]
        await until(lambda: receiver.taken == sent)
        await dispatcher.reset("crm", 3, "a")
        await until(lambda: receiver.taken == sent + sent[3:])
        await dispatcher.reset("crm", "beginning")
        await until(lambda: receiver.taken == sent + sent[3:] + sent)
        await dispatcher.pause("crm")
        feed.add("a")
        positions = await dispatcher.reset("crm", "now")
        assert [one["cursor"] for one in positions if one["stream"] == "messages"] == [6]
        await dispatcher.resume("crm")
        last = feed.add("a")
        await until(lambda: receiver.taken[-1] == last.id)
        assert len(receiver.taken) == 13
        with pytest.raises(OrchestratorError, match="name the account"):
            await dispatcher.reset("crm", 3)


@runs
async def test_an_account_that_cannot_be_read_keeps_no_other_position_from_being_moved(
    tmp_path: Path,
) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver(lambda _: Failed("HTTP 500"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        await dispatcher.pause("crm")
        feed.add("a")
        feed.add("b")
        feed.broken.add("a")
        with pytest.raises(FeedError):
            await dispatcher.reset("crm", "now")
        found = {
            one["account"]: one["cursor"]
            for one in dispatcher.positions("crm")
            if one["stream"] == "messages"
        }
        assert found == {"a": 0, "b": 1}
        with pytest.raises(NoSuchAccount):
            await dispatcher.reset("crm", "beginning", "nobody")


@runs
async def test_what_is_not_kept_any_more_is_not_waited_for(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    receiver = Receiver(lambda one: Failed("HTTP 500") if one.number < 3 else Delivered())
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        head = feed.add("a", "x@lid")
        for _ in range(5):
            feed.add("a", "x@lid")
        await until(lambda: receiver.got)
        feed.clear("a")
        await until(lambda: receiver.taken == [head.id])
        last = feed.add("a", "x@lid")
        await until(lambda: last.id in receiver.taken)
        await until(lambda: dispatcher.taken() == {"a": last.seq})
        assert dispatcher.status("crm")[0]["expired"] == 5


@runs
async def test_a_damaged_store_begins_anew_and_loses_nothing(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = [feed.add("a").id for _ in range(5)]
        await until(lambda: receiver.taken == sent)
    path = tmp_path / DATABASE
    path.write_bytes(b"nonsense" * 1000)
    sent.append(feed.add("a").id)
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await until(lambda: receiver.taken == sent)  # the note of the positions was up to date
    path.write_bytes(b"nonsense" * 1000)
    (tmp_path / snapshot.FILE).unlink()
    async with running(tmp_path, feed, {"crm": receiver}):
        await until(lambda: receiver.taken == sent + sent)


@runs
async def test_a_damaged_store_begins_anew_although_that_fails_at_first(tmp_path: Path) -> None:
    feed, receiver, begin = MemoryFeed("a"), Receiver(), Store.begin
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        sent = feed.add("a").id
        await until(lambda: receiver.taken == [sent])
    (tmp_path / DATABASE).write_bytes(b"nonsense" * 1000)
    (tmp_path / snapshot.FILE).unlink()
    fails = [True]

    def fail(store: Store, *arguments: Any) -> None:  # noqa: ANN401 - as `Store.begin` takes them
        if fails:
            fails.pop()
            raise sqlite3.OperationalError("database or disk is full")
        begin(store, *arguments)

    with patch.object(Store, "begin", fail):
        async with running(tmp_path, feed, {"crm": receiver}):
            await until(lambda: receiver.taken == [sent, sent])


@runs
async def test_a_store_that_is_damaged_while_it_is_used_is_replaced(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a")
        await until(lambda: len(receiver.taken) == 1)
        await dispatcher.lines._save_snapshot()
        dispatcher.lines._damaged()
        await until(lambda: not dispatcher.lines._is_damaged)
        await until(lambda: dispatcher.lines.lines)
        last = feed.add("a")
        await until(lambda: last.id in receiver.taken)


@runs
async def test_a_kill_between_a_damaged_store_and_its_new_beginning_loses_nothing(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a")
        await until(lambda: receiver.taken)
    sent = [feed.add("a").id for _ in range(3)]
    (tmp_path / DATABASE).write_bytes(b"x" * 10_000)
    Store.open(tmp_path).close()  # puts it aside, and the process is killed then
    async with running(tmp_path, feed, {"crm": receiver}):
        await until(lambda: set(sent) <= set(receiver.taken))


@runs
async def test_an_end_before_all_is_known_keeps_the_note_of_positions(tmp_path: Path) -> None:
    feed = MemoryFeed("a")
    async with running(tmp_path, feed, {"crm": Receiver()}) as dispatcher:
        await settled(dispatcher)
    before = snapshot.load(tmp_path)
    assert before
    dispatcher = Dispatcher(tmp_path, feed)  # type: ignore[arg-type]
    await dispatcher.lines.writer.open()
    await dispatcher.close(1.0)
    assert snapshot.load(tmp_path) == before


@runs
async def test_what_was_sent_is_kept_although_it_cannot_be_looked_up_for_a_moment(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 500"))
    looks: list[int] = []
    body = Store.body

    def look_up(self: Store, *of: Any) -> bytes | None:  # noqa: ANN401
        looks.append(1)
        if len(looks) == 1:
            raise sqlite3.OperationalError("disk I/O error")
        return body(self, *of)

    with patch.object(Store, "body", look_up):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            sent = feed.add("a")
            await until(lambda: dispatcher.lines.lines["crm"].reach.get(Place("a", "messages")) == sent.seq)
            feed.clear("a")  # nobody needs the inbox any more
            receiver.answer = lambda _: Delivered()
            await until(lambda: receiver.taken or dispatcher.status()[0]["expired"])
    assert len(looks) > 1
    assert receiver.taken == [sent.id]
    assert receiver.bodies[sent.id] == {sent.body}


@runs
async def test_a_full_disk_stops_no_delivery(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1024) as folder:
        feed, receiver = MemoryFeed("a"), Receiver()
        async with running(folder, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            filler = fill(folder)
            sent = [feed.add("a", f"{number % 5}@lid").id for number in range(2000)]
            await until(lambda: len(receiver.taken) == 2000)
            await until(lambda: dispatcher.lines.writer._is_strained or dispatcher.taken() == {"a": 2000})
            filler.unlink()
            await until(lambda: dispatcher.taken() == {"a": 2000})
        assert sorted(receiver.taken) == sorted(sent)


@runs
async def test_what_an_operator_could_not_have_written_down_is_written_later(tmp_path: Path) -> None:
    """Nothing else happens meanwhile: it was the operator's command that tried to write."""
    feed, receiver, apply, fails = MemoryFeed("a"), Receiver(), Store.apply, [True]

    def fail(store: Store, batch: Any) -> None:  # noqa: ANN401 - as `Store.apply` takes it
        if fails:
            raise sqlite3.OperationalError("database or disk is full")
        apply(store, batch)

    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        await dispatcher.lines.writer.flush()
        with patch.object(Store, "apply", fail):
            with pytest.raises(StoreError):
                await dispatcher.pause("crm")
            assert dispatcher.lines.writer._is_strained
            fails.clear()
            await until(lambda: not dispatcher.lines.writer._is_strained)


@runs
async def test_nothing_is_needed_that_nobody_wants_and_nothing_goes_before_all_is_known(
    tmp_path: Path,
) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver()
    dispatcher = Dispatcher(tmp_path, feed)  # type: ignore[arg-type]
    assert dispatcher.taken() == {"a": 0, "b": 0}
    only_a = {"crm": crm(accounts=frozenset("a"))}
    async with running(tmp_path, feed, {"crm": receiver}, only_a) as dispatcher:
        await settled(dispatcher)
        assert set(dispatcher.taken()) == {"a"}


@runs
async def test_consumers_go_on_with_an_account_that_has_another_name(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        for _ in range(3):
            feed.add("a")
        await until(lambda: len(receiver.taken) == 3)
        feed.rename("a", "desk")
        new = feed.add("desk")
        await until(lambda: len(receiver.taken) == 4)
        assert receiver.taken[3] == new.id
        assert new.seq == 4
        await until(lambda: dispatcher.taken() == {"desk": 4})


def test_no_text_or_number_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        feed = MemoryFeed("a")

        def bug(one: Attempt) -> Outcome:
            raise ValueError(one.event.body.decode())

        async with running(tmp_path, feed, {"crm": Receiver(bug)}) as dispatcher:
            await settled(dispatcher)
            feed.add("a", "4915100002@s.whatsapp.net", text="a needle")
            await until(lambda: dispatcher.status()[0]["dead"])
            assert "4915100002" not in f"{dispatcher.status()}{dispatcher.positions('crm')}"
            assert "4915100002" not in f"{await dispatcher.dead('crm')}"

    asyncio.run(run())
    assert "ValueError" in caplog.text
    assert not re.search("needle|4915100002", caplog.text)


@runs
async def test_texts_of_an_account_that_is_removed_are_deleted(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 404"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a", "x@lid", text="a needle")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
        receiver.answer = lambda _: Delivered()
        feed.remove("a")
        await until(lambda: dispatcher.status()[0]["dead"] == 0)
        await until(lambda: not_found(tmp_path, b"needle"))
        feed.add("b")
        await until(lambda: dispatcher.taken() == {"b": 1})


@runs
async def test_texts_of_an_account_that_was_removed_while_nobody_looked_are_deleted(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver(lambda _: Failed("HTTP 404"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a", text="a needle")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
    # A gateway that starts is not told at once which accounts there are: none of them is gone for that.
    feed = MemoryFeed()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        dispatcher.configure({"crm": crm()}, {"crm": receiver})
        await settled(dispatcher)
        assert dispatcher.status()[0]["dead"] == 1
        feed.add("b")
        await until(lambda: dispatcher.status()[0]["dead"] == 1 and not_found(tmp_path, b"needle"))


@runs
async def test_texts_stay_as_long_as_the_messages_of_an_account_that_is_gone(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 404"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        dead = feed.add("a", text="a needle")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
        # As while it is renamed, or after it was renamed in the configuration by hand.
        feed.kept = {"a"}
        feed.remove("a")
        dispatcher.configure({"crm": crm()}, {"crm": receiver})
        await settled(dispatcher)
        feed.add("b")
        await until(lambda: dispatcher.status()[0]["dead"] == 2)
        assert dead.id in [one["event"] for one in await dispatcher.dead("crm")]
        feed.kept = set()
        feed.rename("a", "desk")
        receiver.answer = lambda _: Delivered()
        await until(lambda: "crm" in dispatcher.lines.lines and "desk" in met(dispatcher))
        letters = {one["event"]: one["account"] for one in await dispatcher.dead("crm")}
        assert letters[dead.id] == "desk"
        await dispatcher.replay("crm", dead.id)
        await until(lambda: dead.id in receiver.taken)
        assert receiver.bodies[dead.id] == {dead.body}


@runs
async def test_texts_of_an_account_whose_messages_go_later_are_deleted_then(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a", "b"), Receiver(lambda _: Failed("HTTP 404"))
    feed.kept = {"a"}
    with patch.object(Retention, "interval", 0.05):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            feed.add("a", text="a needle")
            await until(lambda: dispatcher.status()[0]["dead"] == 1)
            feed.remove("a")
            asked = feed.asked
            await until(lambda: feed.asked > asked + 2)
            assert dispatcher.status()[0]["dead"] == 1
            feed.kept = set()  # its session is put into quarantine by hand
            await until(lambda: dispatcher.status()[0]["dead"] == 0)
            await until(lambda: not_found(tmp_path, b"needle"))


@runs
async def test_texts_of_an_account_that_had_another_name_when_it_was_removed_are_deleted(
    tmp_path: Path,
) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 404"))
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a", text="a needle")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
        feed.rename("a", "desk", is_told=False)
        feed.remove("desk")
        feed.add("b")
        await until(lambda: not_found(tmp_path, b"needle"))


@runs
async def test_a_text_that_is_on_its_way_when_its_account_is_removed_is_deleted_too(tmp_path: Path) -> None:
    feed, go_on = MemoryFeed("a", "b"), asyncio.Event()

    async def fail_late(_: Attempt) -> Outcome:
        await go_on.wait()
        return Failed("HTTP 404")

    receiver = Receiver(fail_late)
    delays = (0.0, *[60.0] * 11)
    with patch.object(lines, "_LOOK_SECONDS", 0.05), patch.object(schedule, "DELAYS", delays):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            feed.add("a", text="a needle")
            await until(lambda: receiver.got)
            feed.remove("a")
            await settled(dispatcher)
            go_on.set()
            await until(lambda: dispatcher.status()[0]["retrying"] == 1)
            assert await dispatcher.lines.writer.flush(), "and the text is in the file again"
            await until(lambda: not_found(tmp_path, b"needle"))


@runs
async def test_who_has_another_name_by_now_gets_nothing_twice_however_late_that_is_told(
    tmp_path: Path,
) -> None:
    """The gateway starts, and is told which accounts there are while it still reads what is kept."""
    feed, receiver = MemoryFeed("old"), Receiver()
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        for _ in range(5):
            feed.add("old")
        await until(lambda: dispatcher.taken() == {"old": 5})
    feed, receiver, real = MemoryFeed("new"), Receiver(), Store.load
    for _ in range(5):
        feed.add("new")
    feed.kept = {"new"}
    feed.remove("new")

    def tell_late(store: Store, name: str, account: str | None = None) -> object:
        loop.call_soon_threadsafe(tell)
        assert is_told.wait(30)
        return real(store, name, account)

    def tell() -> None:
        feed.come_back("old", "new")
        is_told.set()

    loop, is_told = asyncio.get_running_loop(), threading.Event()
    with patch.object(Store, "load", tell_late):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            last = feed.add("new")
            await until(lambda: dispatcher.taken() == {"new": 6})
    assert receiver.got == [last.id]


@runs
async def test_what_waits_behind_a_failed_event_is_not_lost_in_a_rename(tmp_path: Path) -> None:
    """The messages have moved, and the gateway is not told yet: it starts, and its lines begin."""
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 500"))
    with patch.object(schedule, "DELAYS", (0.0, *[60.0] * 11)):
        async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
            await settled(dispatcher)
            for chat in ("x@lid", "x@lid", "x@lid", "y@lid"):
                feed.add("a", chat)
            await until(lambda: dispatcher.status()[0]["retrying"] == 2)
    feed, receiver = MemoryFeed("b"), Receiver()
    for chat in ("x@lid", "x@lid", "x@lid", "y@lid"):
        feed.add("b", chat)
    feed.kept, feed.elsewhere = {"b"}, {"a"}
    feed.remove("b")
    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await until(lambda: set(receiver.taken) == {"evt_a_1", "evt_a_4"})  # what was sent is kept
        await until(lambda: feed.reads)
        await settled(dispatcher)
        feed.come_back("a", "b")
        await until(lambda: receiver.taken[2:] == ["evt_b_2", "evt_b_3"])


@runs
async def test_a_full_disk_keeps_no_new_account_waiting(tmp_path: Path) -> None:
    feed, receiver = MemoryFeed("a"), Receiver(lambda _: Failed("HTTP 404"))

    def fail(_store: Store, _account: str) -> dict[str, int]:
        raise sqlite3.OperationalError("database or disk is full")

    async with running(tmp_path, feed, {"crm": receiver}) as dispatcher:
        await settled(dispatcher)
        feed.add("a")
        await until(lambda: dispatcher.status()[0]["dead"] == 1)
        receiver.answer = lambda _: Delivered()
        with patch.object(Store, "forget_account", fail):
            feed.remove("a")
            new = feed.add("new")
            await until(lambda: receiver.taken == [new.id])
        feed.add("newer")
        await until(lambda: dispatcher.status()[0]["dead"] == 0)


def met(dispatcher: Dispatcher) -> set[str]:
    return {str(one["account"]) for one in dispatcher.positions("crm")}


def not_found(folder: Path, needle: bytes) -> bool:
    return not any(needle in one.read_bytes() for one in folder.iterdir())


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize("slow", [None, "open", "accounts", "known", "declare", "load"])
def test_an_end_in_the_middle_of_a_start_is_a_good_end(
    tmp_path: Path, turns: int, slow: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        dispatcher = Dispatcher(tmp_path, MemoryFeed("a"))  # type: ignore[arg-type]
        dispatcher.configure({"crm": crm()}, {"crm": Receiver()})
        task = asyncio.ensure_future(dispatcher.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        await dispatcher.close(1.0)
        with pytest.raises(StoreError, match="stopping"):
            await dispatcher.lines.writer.call(Store.known)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def late(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any) -> Any:  # noqa: ANN401 - as the real one
            time.sleep(0.02)
            return real(*arguments)

        return do

    opened: list[Store] = []
    real_open = Store.open

    def noted(folder: Path, *, follows: bool) -> Store:
        if slow == "open":
            time.sleep(0.02)
        opened.append(real_open(folder, follows=follows))
        return opened[-1]

    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.object(Store, "open", noted))
        if slow not in {None, "open"}:
            patches.enter_context(patch.object(Store, str(slow), late(getattr(Store, str(slow)))))
        asyncio.run(run())
    assert not caplog.records
    for store in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            store.known()
