"""Server-Sent Events: nothing is missed, and nobody goes on whose token is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support.http_api import RunningApi, running
from support.http_client import Connection, connect, in_loop, request, until

from orchestrator.gateway.feed import FeedError
from orchestrator.gateway.http.routes import events


@dataclass
class Follower:
    """A client that reads events as a browser does."""

    connection: Connection
    last_id: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    async def read(self) -> None:
        """Read until the end of the connection."""
        try:
            while size := int(await self.connection.reader.readline(), 16):
                data = await self.connection.reader.readexactly(size)
                await self.connection.reader.readline()
                for line in data.decode().splitlines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        self.last_id = value
                    elif name == "data":
                        self.events.append(json.loads(value))
        except (ValueError, asyncio.IncompleteReadError, ConnectionError):
            pass
        self.ended = True

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.events]


@asynccontextmanager
async def following(
    api: RunningApi, token: str, query: str = "", last_id: str | None = None
) -> AsyncIterator[Follower]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with connect(api.address) as connection:
        connection.write(request("GET", f"/api/events{query}", token=token, headers=headers))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head, await connection.reader.read(2000)
        assert b"text/event-stream" in head
        follower = Follower(connection)
        task = asyncio.create_task(follower.read())
        try:
            await until(lambda: follower.last_id or follower.ended)
            yield follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@in_loop
async def test_what_happens_is_told_as_it_happens(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        feed = api.services.feed
        feed.add("support", text="before")
        async with following(api, api.token("all")) as follower:
            wanted = [feed.add("support").id, feed.add("sales", "account").id, feed.add("sales").id]
            await until(lambda: sorted(follower.ids) == sorted(wanted))
        await until(lambda: feed.watched == 0)


@in_loop
async def test_whoever_comes_again_misses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        feed, token = api.services.feed, api.token("all")
        seen: list[str] = []
        last = None
        wanted = []
        for round_ in range(5):
            async with following(api, token, last_id=last) as follower:
                wanted += [feed.add(name).id for name in ("support", "sales") for _ in range(round_ * 20)]
                await until(lambda: set(wanted) <= {*seen, *follower.ids})  # noqa: B023
                await until(lambda: len(follower.ids) >= round_ * 40)  # noqa: B023
                seen += follower.ids
                last = follower.last_id
            wanted.append(feed.add("support").id)  # while nobody follows
        async with following(api, token, last_id=last) as follower:
            await until(lambda: set(wanted) <= {*seen, *follower.ids})
            for name in ("support", "sales"):  # in order
                of_one = [one["seq"] for one in follower.events if one["account"] == name]
                assert of_one == sorted(of_one)


@in_loop
async def test_only_what_is_asked_for_and_seen_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        feed = api.services.feed
        narrow = api.token("narrow", accounts=["support"])
        async with (
            following(api, narrow) as narrow_one,
            following(api, api.token("all"), "?account=sales&type=account.*") as chosen,
        ):
            for name in ("support", "sales"):
                for stream in ("messages", "account"):
                    feed.add(name, stream)
            await until(lambda: len(narrow_one.ids) == 2)
            await until(lambda: chosen.ids == ["evt_sales_account_1"])
            assert {one["account"] for one in narrow_one.events} == {"support"}
        answer = await api.ask("GET", "/api/events?account=sales", token=narrow)
        assert answer.status == 404
        for query in ("?account=A", "?type=x y", "?type=**"):
            assert (
                await api.ask("GET", f"/api/events{query}".replace(" ", "%20"), token=narrow)
            ).status == 400
        for word in ("x", "p1.", "p1.AAAA", "evt_support_1", "p1." + "A" * 20_000):
            answer = await api.ask("GET", "/api/events", token=narrow, headers={"Last-Event-ID": word})
            assert (answer.status, answer.json()["key"]) == (400, "bad_request")


@in_loop
async def test_a_removed_token_hears_nothing_more(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("leaving")
        async with following(api, token) as follower, connect(api.address) as waiting:
            waiting.write(request("GET", "/api/consumers/mine/events?wait=60", token=token))
            loop = asyncio.get_running_loop()
            await until(lambda: len(api.api.shared.acts._counts) == 0)
            removed_at = loop.time()
            api.remove("leaving")
            await until(lambda: follower.ended)
            answer = await waiting.answer()
            assert answer is not None
            assert (answer.status, answer.json()["key"]) == (401, "unauthorized")
            # 0.4 s until the file is looked at, 0.5 s until the one who waits is. A busy machine has more.
            assert loop.time() - removed_at < 20
            assert follower.events == []
        assert (await api.ask("GET", "/api/events", token=token)).status == 401


@in_loop
async def test_no_event_goes_to_a_token_that_is_over(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("short", expires=2e9)
        async with following(api, token) as follower:
            api.api.shared.wall = lambda: 2e9
            api.services.feed.add("support", text="too late")
            await until(lambda: follower.ended)
            assert follower.events == []


@in_loop
async def test_an_account_that_cannot_be_read_does_not_keep_others_from_being_heard(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        feed = api.services.feed
        async with following(api, api.token("all")) as follower:
            feed.errors["support"] = FeedError("damaged")
            feed.add("support")
            feed.add("sales")
            await until(lambda: follower.ids == ["evt_sales_1"])
            del feed.errors["support"]
            feed.add("support")
            await until(lambda: {"evt_support_1", "evt_support_2"} <= set(follower.ids))


@in_loop
async def test_an_account_that_cannot_be_read_at_the_beginning_does_not_either(tmp_path: Path) -> None:
    with patch.object(events, "_AGAIN_SECONDS", 0.1):
        async with running(tmp_path) as api:
            feed = api.services.feed
            feed.add("support", text="before")
            feed.errors["support"] = FeedError("damaged")
            async with following(api, api.token("all")) as follower:
                feed.add("sales")
                await until(lambda: follower.ids == ["evt_sales_1"])
                feed.add("support")
                del feed.errors["support"]
                await until(lambda: follower.ids == ["evt_sales_1", "evt_support_2"])


@in_loop
async def test_an_account_that_is_new_is_heard_from_its_beginning(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        async with following(api, token) as follower:
            answer = await api.ask("POST", "/api/accounts", token=token, body={"name": "new"})
            assert answer.status == 201
            api.services.feed.add("new")
            await until(lambda: follower.ids == ["evt_new_1"])


@in_loop
async def test_the_end_of_the_server_sends_everybody_away(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        async with following(api, token) as follower, connect(api.address) as waiting:
            waiting.write(request("GET", "/api/consumers/mine/events?wait=60", token=token))
            await until(lambda: api.api.app is not None)
            api.stop.set()
            await until(lambda: follower.ended)
            answer = await waiting.answer()
            assert answer is None or answer.status == 503
            await api.done
