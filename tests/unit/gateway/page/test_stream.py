"""What one who looks is told, and when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orchestrator.access.scopes import LOCAL, Principal
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.metrics import Times
from orchestrator.gateway.page import stream as stream_module
from orchestrator.gateway.page.board import Board
from orchestrator.gateway.page.flows import Flows
from orchestrator.gateway.page.rows import FIELDS
from orchestrator.gateway.page.stream import Sources, Stream

Json = dict[str, Any]


class Looker:
    def __init__(self, principal: Principal = LOCAL) -> None:
        self.principal = principal
        self.error: OrchestratorError | None = None

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class Facts:
    def __init__(self) -> None:
        self.value: Json | None = {"maintenance": False}
        self.asked: list[Principal] = []

    async def of(self, principal: Principal) -> Json:
        self.asked.append(principal)
        if self.value is None:
            raise OrchestratorError("it does not answer", key="no_answer")
        return dict(self.value)


class Place:
    def __init__(self, *names: str) -> None:
        self.views = {name: AccountView(name, "connected") for name in names}
        self.consumers: list[Json] = []
        self.facts = Facts()
        self.hello: Json = {"version": "1", "fields": list(FIELDS)}
        self.board = Board(lambda: self.views)
        flows = Flows(lambda: self.consumers, Times(), lambda: float("inf"))
        self.sources = Sources(self.board, flows, self.facts, lambda: dict(self.hello))

    def put(self, name: str, **values: Any) -> None:  # noqa: ANN401
        self.views[name] = self.views.get(name, AccountView(name, "starting"))._replace(**values)
        self.board.changed([name])

    def drop(self, name: str) -> None:
        del self.views[name]
        self.board.changed([], [name])


def is_watched(place: Place) -> bool:
    return place.board.is_watched


class Reader:
    """Reads a stream as a browser does."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    async def next(self) -> tuple[str, Json]:
        text = (await asyncio.wait_for(anext(self._parts), 60)).decode("ascii")
        assert text.endswith("\n\n")
        if text.startswith("retry: "):
            return "retry", {}
        kind, data = text[:-2].split("\n")
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def until(self, kind: str) -> Json:
        while True:
            found, data = await self.next()
            if found == kind:
                return data


@contextlib.asynccontextmanager
async def looking(place: Place, looker: Looker | None = None) -> AsyncIterator[Reader]:
    parts = Stream(looker or Looker(), place.sources, lambda: 1_800_000_000.5).run()
    try:
        yield Reader(parts)
    finally:
        await parts.aclose()  # type: ignore[attr-defined]


def run(go: Callable[[], Any], monkeypatch: pytest.MonkeyPatch | None = None, **seconds: float) -> None:
    for name, value in seconds.items():
        assert monkeypatch is not None
        monkeypatch.setattr(stream_module, name, value)
    asyncio.run(go())


def test_the_first_state_comes_first_and_in_order() -> None:
    place = Place("a", "b")
    place.consumers = [{"name": "crm", "kind": "webhook", "state": "active", "accounts": None}]

    async def go() -> None:
        async with looking(place) as reader:
            assert (await reader.next())[0] == "retry"
            assert await reader.next() == ("hello", {**place.hello, "now": 1_800_000_000})
            kind, told = await reader.next()
            assert kind == "accounts"
            assert [row[0] for row in told["rows"]] == ["a", "b"]
            assert (told["gone"], told["all"]) == ([], True)
            kind, told = await reader.next()
            assert (kind, [one["name"] for one in told["consumers"]]) == ("consumers", ["crm"])
            assert await reader.next() == ("facts", {"maintenance": False})

    run(go)


def test_without_accounts_the_first_state_says_so() -> None:
    place = Place()

    async def go() -> None:
        async with looking(place) as reader:
            assert await reader.until("accounts") == {"rows": [], "gone": [], "all": True}
            place.put("a", state="starting")
            told = await reader.until("accounts")
            assert [row[:2] for row in told["rows"]] == [["a", "starting"]]
            assert "all" not in told

    run(go)


def test_changes_come_at_once_and_those_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("a", "b")

    async def go() -> None:
        async with looking(place) as reader:
            await reader.until("facts")
            place.put("b", state="failed")
            place.drop("a")
            told = await reader.until("accounts")
            assert ([row[:2] for row in told["rows"]], told["gone"]) == ([["b", "failed"]], ["a"])

    # Nothing but the change itself wakes the stream.
    run(go, monkeypatch, LOOK_SECONDS=3600.0, FACTS_SECONDS=3600.0)


def test_nobody_hears_of_accounts_of_others() -> None:
    place = Place("mine", "other")
    looker = Looker(Principal("token", "t", frozenset({"read"}), frozenset({"mine"})))

    async def go() -> None:
        async with looking(place, looker) as reader:
            assert [row[0] for row in (await reader.until("accounts"))["rows"]] == ["mine"]
            await reader.until("facts")
            place.put("other", state="failed")
            place.drop("other")
            place.put("mine", state="failed")
            told = await reader.until("accounts")
            assert ([row[0] for row in told["rows"]], told["gone"]) == (["mine"], [])
            assert place.facts.asked[0] is looker.principal

    run(go)


def test_what_has_not_changed_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("a")

    async def go() -> None:
        async with looking(place) as reader:
            await reader.until("facts")
            kinds = [(await reader.next())[0] for _ in range(3)]
            assert kinds == ["ping"] * 3
            place.facts.value = {"maintenance": True}
            assert await reader.until("facts") == {"maintenance": True}
            place.hello["parallel"] = 3
            assert (await reader.until("hello"))["parallel"] == 3

    run(go, monkeypatch, LOOK_SECONDS=0.001, PING_SECONDS=0.002, FACTS_SECONDS=0.001)


def test_a_service_that_does_not_answer_keeps_nobody_from_the_accounts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place("a")
    place.facts.value = None

    async def go() -> None:
        async with looking(place) as reader:
            await reader.until("consumers")
            place.put("a", state="failed")
            assert (await reader.until("accounts"))["rows"][0][1] == "failed"
            place.facts.value = {"maintenance": False}
            await reader.until("facts")
            place.facts.value = None
            assert (await reader.until("ping"))["now"] == 1_800_000_000

    run(go, monkeypatch, LOOK_SECONDS=0.001, FACTS_SECONDS=0.001, PING_SECONDS=0.01)


def test_it_ends_with_the_session_before_anything_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    place, looker = Place("a"), Looker()

    async def go() -> None:
        async with looking(place, looker) as reader:
            await reader.until("facts")
            looker.error = OrchestratorError("the session is over", key="unauthorized")
            place.put("a", state="failed")
            with pytest.raises(StopAsyncIteration):
                await reader.next()
        assert not is_watched(place)

    run(go, monkeypatch, FACTS_SECONDS=3600.0)


def test_a_session_that_is_over_already_is_told_nothing() -> None:
    place, looker = Place("a"), Looker()
    looker.error = OrchestratorError("the session is over", key="unauthorized")

    async def go() -> None:
        async with looking(place, looker) as reader:
            assert (await reader.next())[0] == "retry"
            with pytest.raises(StopAsyncIteration):
                await reader.next()

    run(go)


def test_whoever_leaves_is_forgotten() -> None:
    place = Place("a")

    async def go() -> None:
        async with looking(place) as reader:
            await reader.until("facts")
            assert is_watched(place)
        assert not is_watched(place)
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert all(task.cancelling() for task in others)

    run(go)


def test_nothing_more_is_told_once_the_session_is_over_however_slowly_somebody_reads() -> None:
    place, looker = Place("a"), Looker()
    place.consumers = [{"name": "crm", "kind": "webhook", "state": "active", "accounts": None}]

    async def go() -> None:
        async with looking(place, looker) as reader:
            assert (await reader.next())[0] == "retry"
            assert (await reader.next())[0] == "hello"
            # The connection is full, and what comes next waits until somebody reads.
            looker.error = OrchestratorError("over", key="unauthorized")
            place.put("a", state="failed")
            with pytest.raises(StopAsyncIteration):
                await reader.next()

    run(go)
