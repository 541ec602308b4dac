"""The page's stream and its view of sending on a real socket: who gets what, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.http_api import RunningApi, connect, request, running

from orchestrator.accounts.settings import Sending
from orchestrator.consumers.wire import Keep
from orchestrator.control.view import AccountView
from orchestrator.gateway.http.routes.page_stream import TEST_EXPIRES
from orchestrator.gateway.page.rows import FIELDS
from orchestrator.sending.row import State

Json = dict[str, Any]
SECONDS = 60.0


class Events:
    """Reads Server-Sent Events from a connection. Each is one chunk: what is around it does not matter."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._read = b""

    async def head(self) -> str:
        return (await self._before(b"\r\n\r\n")).decode()

    async def until(self, kind: str) -> Json:
        """Return the data of the next event of a kind."""
        await self._before(f"event: {kind}\ndata: ".encode())
        found: Json = json.loads(await self._before(b"\n\n"))
        return found

    async def end(self) -> bytes:
        """Return everything until the end."""
        return await self._before(b"0\r\n\r\n")

    async def _before(self, mark: bytes) -> bytes:
        async with asyncio.timeout(SECONDS):
            while mark not in self._read:
                more = await self._reader.read(1 << 20)
                assert more, "the stream has ended"
                self._read += more
        before, _, self._read = self._read.partition(mark)
        return before


@contextlib.asynccontextmanager
async def following(api: RunningApi, token: str | None) -> AsyncIterator[Events]:
    async with connect(api.address) as connection:
        connection.write(request("GET", "/page/stream", token=token))
        yield Events(connection.reader)


def change(api: RunningApi, name: str, **values: Any) -> None:  # noqa: ANN401
    views = api.services.parent.views
    views[name] = views.get(name, AccountView(name, "starting"))._replace(**values)
    api.services.board.changed([name])


def test_a_session_follows_what_it_sees_until_its_token_is_gone(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, ["support", "sales"]) as api:
            api.services.dispatcher.add("crm", accounts=["support"])
            api.services.dispatcher.add("shop", accounts=["sales"])
            token = api.token("one", ["read"], ["support"])
            async with following(api, token) as events:
                head = await events.head()
                assert "HTTP/1.1 200" in head
                for field in ("text/event-stream", "cache-control: no-store", "x-accel-buffering: no"):
                    assert field in head
                hello = await events.until("hello")
                assert hello["fields"] == list(FIELDS)
                assert (hello["states"][0], hello["parallel"]) == ("banned", 4)
                assert abs(hello["now"] - time.time()) < SECONDS
                assert [row[0] for row in (await events.until("accounts"))["rows"]] == ["support"]
                assert [one["name"] for one in (await events.until("consumers"))["consumers"]] == ["crm"]
                change(api, "sales", state="failed")
                change(api, "support", state="failed", kind="logged_out")
                (row,) = (await events.until("accounts"))["rows"]
                assert row[:2] == ["support", "failed"]
                assert row[FIELDS.index("need")][0] == "logged_out"
                api.remove("one")
                api.services.tokens.load()
                change(api, "support", state="connected")
                assert b"connected" not in await events.end()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("scopes", "status"), [(["read"], 200), (["send"], 403), (["operate", "send"], 403), (None, 401)]
)
def test_only_who_may_read_follows(tmp_path: Path, scopes: Any, status: int) -> None:  # noqa: ANN401
    async def go() -> None:
        async with running(tmp_path) as api:
            token = None if scopes is None else api.token("one", scopes)
            async with following(api, token) as events:
                assert f"HTTP/1.1 {status}" in await events.head()
            answer = await api.ask("GET", "/page/accounts/support/sending", token=token)
            assert answer.status == status

    asyncio.run(go())


def test_all_who_follow_hear_the_same_and_the_end_of_the_server_ends_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, [f"a{number}" for number in range(300)]) as api:
            token = api.token("one")
            async with contextlib.AsyncExitStack() as stack:
                all_of_them = [await stack.enter_async_context(following(api, token)) for _ in range(8)]
                for events in all_of_them:
                    assert len((await events.until("accounts"))["rows"]) == 300
                change(api, "a7", state="failed")
                del api.services.parent.views["a8"]
                api.services.board.changed([], ["a8"])
                for events in all_of_them:
                    found: list[str] = []
                    while "a8" not in found:
                        told = await events.until("accounts")
                        found += [row[0] for row in told["rows"]] + told["gone"]
                    assert found == ["a7", "a8"]
                api.stop.set()
                for events in all_of_them:
                    await events.end()

    asyncio.run(go())


def test_the_first_state_of_500_accounts_is_small(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path, [f"support-berlin-{number:03}" for number in range(500)]) as api:
            for name, view in api.services.parent.views.items():
                api.services.parent.views[name] = view._replace(
                    since="2027-01-15T08:00:00Z", memory_bytes=18_765_432, stored=12_345, waiting=0, queued=0,
                    tags=("eu", "vip"), proxy="socks5://10.1.0.4:1080", last_in_at="2027-01-15T08:00:00Z",
                    last_out_at="2027-01-15T08:00:00Z",
                )  # fmt: skip
            async with following(api, api.token("one")) as events:
                told = await events.until("accounts")
                assert len(told["rows"]) == 500
                assert len(json.dumps(told, separators=(",", ":"))) <= 150_000

    asyncio.run(go())


def test_how_an_account_stands_with_its_sending(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as api:
            token = api.token("one", ["read", "send"], ["support"])
            api.services.settings.accounts["support"] = Keep(1.0, 1.0, Sending(known_burst=7, most_waiting=9))
            sent = await api.ask(
                "POST",
                "/api/accounts/support/messages",
                token=token,
                body={"kind": "text", "to": "+4915100002", "text": "needle"},
            )
            assert sent.status == 202
            answer = await api.ask("GET", "/page/accounts/support/sending", token=token)
            assert answer.status == 200
            found = answer.json()
            assert (found["states"]["queued"], found["waiting"]["unknown"], found["most"]) == (1, 1, 9)
            assert [one["most"] for one in found["paces"]] == [None, 7, 20]
            for needle in (b"needle", b"4915100002"):
                assert needle not in answer.body
            for name in ("sales", "nobody"):
                assert (await api.ask("GET", f"/page/accounts/{name}/sending", token=token)).status == 404

    asyncio.run(go())


def test_a_test_message_goes_to_the_accounts_own_number(tmp_path: Path) -> None:
    async def go() -> None:
        async with running(tmp_path) as api:
            parent, path = api.services.parent, "/page/accounts/support/test-message"
            parent.ends = State.SENT
            reader = api.token("reader", ["read", "operate"])
            assert (await api.ask("POST", path, token=reader)).status == 403
            token = api.token("one", ["send"], ["support"])
            answer = await api.ask("POST", path, token=token)
            assert answer.status == 200
            ((_, _, asked),) = [one for one in parent.asked if one[1] == "send"]
            assert asked["message"]["to"] == f"+{(parent.phones['support'] or '').lstrip('+')}"
            assert "support" in asked["message"]["text"]
            assert answer.json()["state"] == "sent"
            parent.ends = State.FAILED
            refused = await api.ask("POST", path, token=token)
            assert refused.status >= 400
            assert refused.json()["row"]["state"] == "failed"
            for told in (answer, refused):  # the page shows numbers masked
                assert b"15550100" not in told.body
                assert told.body.count(b"row") >= 1
            assert asked["expires"] == TEST_EXPIRES
            del parent.phones["support"]
            change(api, "support", state="pairing", phone=None)
            answer = await api.ask("POST", path, token=token)
            assert (answer.status, answer.json()["key"]) == (409, "no_number")
            assert (await api.ask("POST", "/page/accounts/sales/test-message", token=token)).status == 404

    asyncio.run(go())
