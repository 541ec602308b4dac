"""Deliveries to real receivers through the real dispatcher, in a time that runs as it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
from support.feeds import MemoryFeed
from support.receivers import (
    HANG,
    HANG_UP,
    SECRET,
    Answer,
    Behavior,
    Raw,
    Receiver,
    Reply,
    Request,
    always,
    first,
    first_of_each,
    status,
)

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.schedule import DELAYS, TRIES
from orchestrator.consumers.settings import Webhook
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.feed import Feed
from orchestrator.gateway.webhooks.client import trust
from orchestrator.gateway.webhooks.endpoint import Webhooks
from orchestrator.messages.rendering import form

TLS = trust()
PATIENCE = 60.0
HOUR = 3600.0


class Running:
    """A dispatcher with webhooks, and its clock."""

    def __init__(self, folder: Path, feed: MemoryFeed) -> None:
        self.feed = feed
        self.ahead = 0.0
        self.dispatcher = Dispatcher(folder, cast("Feed", feed))
        self.dispatcher.lines.clock = lambda: time.time() + self.ahead
        self.webhooks = Webhooks(TLS)

    def configure(self, receivers: Mapping[str, Receiver], **more: Any) -> None:  # noqa: ANN401
        hooks = {
            name: replace(Webhook(name, one.url, secrets=(SECRET,), timeout=2.0), **more)
            for name, one in receivers.items()
        }
        consumers = {
            name: Consumer(name, "webhook", one.accounts, one.events, one.parallel)
            for name, one in hooks.items()
        }
        self.dispatcher.configure(consumers, {**self.webhooks.configure(hooks)})

    def about(self, name: str = "crm") -> dict[str, Any]:
        (found,) = self.dispatcher.status(name)
        return found

    async def passes(self, seconds: float) -> None:
        """Let time pass at once, as far as the next thing that is to happen, again and again."""
        end = self.ahead + seconds
        while self.ahead < end:
            self.ahead = min(end, self.ahead + 5.0)
            for line in self.dispatcher.lines.lines.values():
                line.plan()
            await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is on its way."""
        for _ in range(3):
            await asyncio.sleep(0)
        await self.until(lambda: all(not line._tasks for line in self.dispatcher.lines.lines.values()))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    folder: Path,
    feed: MemoryFeed,
    receivers: Mapping[str, Receiver],
    **more: Any,  # noqa: ANN401
) -> AsyncIterator[Running]:
    one = Running(folder, feed)
    one.configure(receivers, **more)
    task = asyncio.ensure_future(one.dispatcher.run())
    try:
        await one.until(lambda: set(one.dispatcher.lines.lines) == set(receivers))
        await one.settle()
        yield one
        await one.dispatcher.close(5)
    finally:
        one.webhooks.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def play(
    folder: Path,
    feed: MemoryFeed,
    receivers: Mapping[str, Receiver],
    what: Callable[[Running], Awaitable[None]],
    **more: Any,  # noqa: ANN401
) -> None:
    async def run() -> None:
        async with running(folder, feed, receivers, **more) as one:
            await what(one)

    asyncio.run(run())


def check(receiver: Receiver, count: int, *, again: bool = False) -> None:
    """See that all events were taken, signed, unchanged, in order within a chat."""
    assert receiver.wrong == []
    assert receiver.disorder() == []
    taken = [one.id for one in receiver.taken]
    assert len(set(taken)) == count
    assert again or len(taken) == count


@pytest.mark.parametrize(
    "trouble",
    [
        status(500), status(404), status(401), status(302, location="http://127.0.0.1:1/"), always(HANG_UP),
        status(429, retry_after="1"), status(503), always(HANG), always(Reply(200, body=b"1234", cut=2)),
        always(Reply(200, body=bytes(500), pause=0.1)), always(Raw(b"nonsense\r\n\r\n")),
    ],
    ids=[
        "500", "404", "401", "redirect", "hangs up", "429", "503", "hangs", "cut", "drip", "garbage",
    ],
)  # fmt: skip
def test_a_receiver_that_fails_gets_everything_in_order(tmp_path: Path, trouble: Behavior) -> None:
    feed = MemoryFeed("support", "sales")

    async def what(one: Running) -> None:
        for number in range(12):
            feed.add("support", f"{number % 3}@lid", text=f"text {number}")
            feed.add("sales", f"{number % 2}@lid")
        await one.settle()
        assert one.about()["failed"] > 0
        await one.passes(300)
        assert one.about()["waiting"] == one.about()["retrying"] == 0

    with Receiver(first_of_each(1, trouble)) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what, timeout=0.3)
        check(receiver, 24, again=True)


def test_a_receiver_that_refuses_for_an_hour_has_cost_nothing(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for number in range(30):
            feed.add("support", f"{number % 5}@lid")
            await one.passes(120)
        assert not receiver.taken
        # The receiver is failing, so it is probed by one event at a time, by the schedule.
        assert one.about()["state"] == "failing"
        assert len(receiver.requests) < 60
        receiver.behave = lambda _: Reply()
        await one.passes(3 * HOUR)  # what has failed often is tried two hours later
        assert one.about()["state"] == "active"
        assert one.about()["waiting"] == 0

    with Receiver(status(401)) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        check(receiver, 30)


def test_other_chats_do_not_wait(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    def behave(request: Request) -> Answer:
        return Reply(500 if request.event["data"]["chat"]["id"] == "bad@lid" else 200)

    async def what(one: Running) -> None:
        for _ in range(10):
            feed.add("support", "bad@lid")
            feed.add("support", "good@lid")
        await one.passes(60)
        assert len(receiver.taken) == 10
        receiver.behave = lambda _: Reply()
        await one.passes(HOUR)

    with Receiver(behave) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        check(receiver, 20)


@pytest.mark.parametrize("code", [429, 503])
def test_a_receiver_may_say_when_to_come_again(tmp_path: Path, code: int) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        feed.add("support", "a@lid")
        await one.settle()
        await one.passes(850)
        assert len(receiver.requests) == 1
        assert one.about()["state"] == "waiting"
        await one.passes(300)
        assert len(receiver.taken) == 1

    with Receiver(first(1, status(code, retry_after="900"))) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        check(receiver, 1)


def test_after_twelve_failures_an_event_is_dead_and_may_be_sent_again(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for _ in range(3):
            feed.add("support", "a@lid")
        await one.settle()
        for delay in DELAYS:
            await one.passes(1.2 * delay + 5)
        letters = await one.dispatcher.dead("crm")
        assert [(letter["event"], letter["tries"]) for letter in letters[:1]] == [("evt_support_1", TRIES)]
        assert letters[0]["why"] == "answered 500"
        assert "text" not in repr(letters)
        receiver.behave = lambda _: Reply()
        await one.passes(2 * 86_400)
        assert await one.dispatcher.replay("crm") == len(letters)
        await one.passes(HOUR)
        assert await one.dispatcher.dead("crm") == []

    with Receiver(status(500)) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        assert receiver.wrong == []
        assert {one.id for one in receiver.taken} == {f"evt_support_{number}" for number in (1, 2, 3)}
        # What died is behind its successors, and the others are in order.
        assert receiver.disorder(among=lambda one: one.id != "evt_support_1") == []


def test_410_disables_until_an_operator_resumes(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        feed.add("support", "a@lid")
        await one.settle()
        feed.add("support", "b@lid")
        await one.passes(86_400)
        assert len(gone.requests) == 1
        assert one.about("gone")["state"] == "disabled"
        assert one.about("gone")["why"] == "answered 410"
        assert one.about("gone")["why"] == "answered 410"
        told, *others = [taken for taken in other.taken if taken.event["type"] != "message.received"]
        assert others == []
        jsonschema.validate(told.event, form.schema("webhook.disabled"))
        assert told.event["data"] == {"webhook": "gone", "reason": "answered 410"}
        assert one.about("other")["dead"] == 0
        await one.dispatcher.resume("gone")
        await one.settle()
        await one.passes(60)
        assert one.about("gone")["state"] == "active"

    with Receiver(first(1, status(410))) as gone, Receiver() as other:
        play(tmp_path, feed, {"gone": gone, "other": other}, what)
        check(gone, 2)
        check(other, 3)


def test_that_one_is_disabled_is_told_to_others_by_the_schedule_and_over_a_restart(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def before(one: Running) -> None:
        feed.add("support", "a@lid")
        await one.until(lambda: one.about("gone")["state"] == "disabled" and len(other.requests) >= 2)
        await one.settle()

    async def after(one: Running) -> None:
        await one.passes(60)
        assert one.about("other")["dead"] == 0
        assert one.about("gone")["state"] == "disabled"

    def behave(request: Request) -> Answer:
        return Reply(500 if request.event["type"] == "webhook.disabled" else 200)

    with Receiver(status(410)) as gone, Receiver(behave) as other, Receiver() as deaf:
        receivers = {"gone": gone, "other": other, "deaf": deaf}
        play(tmp_path, feed, receivers, before)
        other.behave = lambda _: Reply()
        play(tmp_path, feed, receivers, after)
        tries = [one for one in other.requests if one.event["type"] == "webhook.disabled"]
        assert [one.status for one in tries] == [500, 200]
        check(other, 2)


def test_pause_and_resume(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        await one.dispatcher.pause("crm")
        for _ in range(5):
            feed.add("support", "a@lid")
        await one.passes(86_400)
        assert not receiver.requests
        assert one.about()["state"] == "paused"
        await one.dispatcher.resume("crm")
        await one.settle()
        await one.until(lambda: len(receiver.taken) == 5)

    with Receiver() as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        check(receiver, 5)


def test_a_receiver_dies_and_comes_back(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for number in range(40):
            feed.add("support", f"{number % 4}@lid")
            if number == 10:
                await asyncio.to_thread(receiver.die)
            if number == 30:
                await asyncio.to_thread(receiver.come_back)
            await one.settle()
        await one.passes(HOUR)

    with Receiver() as receiver:
        play(tmp_path, feed, {"crm": receiver}, what)
        check(receiver, 40, again=True)


def test_a_restart_in_the_middle_sends_the_same_bytes(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def before(one: Running) -> None:
        for number in range(10):
            feed.add("support", f"{number % 2}@lid", text=f"ü {number}")
        await one.settle()

    async def after(one: Running) -> None:
        await one.passes(HOUR)

    with Receiver(first(4, status(500))) as receiver:
        play(tmp_path, feed, {"crm": receiver}, before)
        play(tmp_path, feed, {"crm": receiver}, after)
        check(receiver, 10, again=True)


def test_a_changed_address_takes_over_what_waits(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for _ in range(3):
            feed.add("support", "a@lid")
        await one.settle()
        one.configure({"crm": new})
        await one.settle()
        await one.passes(60)

    with Receiver(status(500)) as old, Receiver() as new:
        play(tmp_path, feed, {"crm": old}, what)
        check(new, 3)
        assert not old.taken


def test_a_slow_receiver_does_not_hold_a_fast_one_up(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for number in range(50):
            feed.add("support", f"{number}@lid")
        await one.until(lambda: len(fast.taken) == 50)
        assert not slow.taken

    with Receiver() as fast, Receiver(always(HANG)) as slow:
        play(tmp_path, feed, {"fast": fast, "slow": slow}, what, timeout=1.0)
        check(fast, 50)


def test_no_more_requests_than_wanted_are_on_their_way_at_once(tmp_path: Path) -> None:
    feed = MemoryFeed("support")

    async def what(one: Running) -> None:
        for number in range(20):
            feed.add("support", f"{number}@lid")
        await one.until(lambda: len(receiver.taken) == 20)

    with Receiver(always(Reply(after=0.02))) as receiver:
        play(tmp_path, feed, {"crm": receiver}, what, parallel=3)
        assert receiver.connections == 3
        check(receiver, 20)
