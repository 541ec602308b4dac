"""Where a command is carried out: here, as an order elsewhere, or not at all."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import pytest

from orchestrator.control.protocol import Json, error_answer
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, OrchestratorError, StoreAway
from orchestrator.service.control import routing
from orchestrator.service.control.arguments import BadRequest
from orchestrator.service.control.commands import Caller, Commands, Result
from orchestrator.service.control.routing import LONGEST_ANSWER, Routing
from orchestrator.service.elsewhere import Elsewhere
from orchestrator.system.clock import unix

HERE, THERE = ("anna", "bert"), ("cora", "dora")


class World:
    """A machine ``one`` with two accounts, and two more on ``two``; the parts around the routing."""

    def __init__(self) -> None:
        self.me = "one"
        self.away: str | None = None
        self.shards: dict[str, str | None] = dict.fromkeys(THERE, "two")
        self.states = dict.fromkeys(THERE, "connected")
        self.done: list[Json] = []
        self.given: list[tuple[tuple[str, ...], str, Json]] = []
        self.answers: dict[str, Json] = {}
        self.fails: OrchestratorError | None = None
        self.codes: dict[str, tuple[bytes, float]] = {}
        self.gives_nothing: OrchestratorError | None = None
        self.route: Any = None
        self.carry_out: Any = None
        self.routing = Routing(cast("Commands", self), cast("Elsewhere", self), cast("Any", self))

    # As the other machines' accounts

    def has(self, name: str) -> bool:
        return name in THERE

    def names(self) -> list[str]:
        return [*THERE]

    def shard_of(self, name: str) -> str | None:
        return self.shards[name]

    def describe(self, name: str) -> AccountView:
        return AccountView(name, self.states[name])

    async def refresh(self) -> None:
        pass

    async def code(self, name: str) -> tuple[bytes, float] | None:
        if self.away is not None:
            raise StoreAway(self.away)
        return self.codes.get(name)

    # As the orders

    async def give(self, names: Sequence[str], command: str, arguments: Json) -> dict[str, Json]:
        self.given.append((tuple(names), command, arguments))
        if self.gives_nothing is not None:
            raise self.gives_nothing
        return {name: self.answers.get(name, {"result": there(name)}) for name in names}

    # As the commands of this machine

    def plain(self, name: str) -> Any:  # noqa: ANN401
        return self.stream if name in routing.STREAMED | {"qr"} else self.once

    async def once(self, request: Json, *_more: object) -> Json:
        self.done.append(request)
        if self.fails is not None:
            raise self.fails
        names = request.get("names") or [*HERE]
        return {"done": names, "errors": {}, "accounts": [AccountView(one, "up").as_json() for one in names]}

    async def stream(self, request: Json) -> AsyncGenerator[Any, None]:
        self.done.append(request)
        yield {"account": {}}
        yield Result({"account": {"name": request["name"]}})

    # What somebody asks

    def ask(self, command: str, *more: object, **arguments: object) -> Json:
        async def main() -> Json:
            request = {"command": command, **arguments}
            answer = self.route(command, self.plain(command))(request, *more)
            if not isinstance(answer, AsyncGenerator):
                return cast("Json", await answer)
            last: Result = [event async for event in answer][-1]
            return last.value

        return asyncio.run(main())


def there(name: str) -> Json:
    return {"done": [name], "errors": {}, "accounts": [AccountView(name, "connected", shard="two").as_json()]}


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_here_is_done_here_and_nobody_else_is_asked(world: World) -> None:
    world.ask("restart", names=["anna"])
    world.ask("log_out", name="bert")
    world.ask("repair", name="anna", wait=True)
    world.ask("send", Caller(), name="anna", message={})
    assert [one["command"] for one in world.done] == ["restart", "log_out", "repair", "send"]
    assert world.given == []


def test_accounts_of_several_machines_are_each_ordered_where_they_are(world: World) -> None:
    found = world.ask("stop", names=["cora", "anna", "dora"], wait=True)
    assert [one["names"] for one in world.done] == [["anna"]]
    assert world.given == [(("cora", "dora"), "stop", {"wait": True})]
    assert found["done"] == ["cora", "anna", "dora"], "in the order in which they were named"
    assert [one["name"] for one in found["accounts"]] == found["done"]
    assert world.ask("start", names=["cora"])["done"] == ["cora"]
    assert len(world.done) == 1, "nothing was to be done here"


@pytest.mark.parametrize(
    ("command", "expected"),
    [("start", ("cora", "dora")), ("stop", ("cora", "dora")), ("restart", ("cora",))],
)
def test_all_are_all_of_the_cluster(world: World, command: str, expected: tuple[str, ...]) -> None:
    world.states["dora"] = "stopped"
    found = world.ask(command, all=True)
    assert world.given == [(expected, command, {"all": True})]
    assert found["done"] == ["anna", "bert", *expected]
    world.given.clear()
    world.states = dict.fromkeys(THERE, "disabled")
    world.ask(command, all=True)
    assert world.given == []


def test_if_nothing_can_be_started_here_nothing_is_done_elsewhere(world: World) -> None:
    world.fails = OrchestratorError("nothing was restarted", key="cannot_start")
    with pytest.raises(OrchestratorError, match="nothing was restarted"):
        world.ask("restart", names=["anna", "cora"])
    assert world.given == []


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_what_was_done_here_is_told_although_the_others_cannot_be_asked(world: World, command: str) -> None:
    world.gives_nothing = StoreAway("the database is away")
    for request in ({"names": ["anna", "cora", "dora"]}, {"all": True}):
        found = world.ask(command, **request)
        assert found["done"][0] == "anna"
        keys = {name: one["key"] for name, one in found["errors"].items()}
        assert keys == dict.fromkeys(THERE, "store_away")
    with pytest.raises(StoreAway):  # nothing at all was done
        world.ask(command, names=["cora"])


def test_each_account_has_its_own_error_wherever_it_comes_from(world: World) -> None:
    refused = error_answer(OrchestratorError("dora is disabled", key="account_disabled"))
    world.answers = {
        "cora": error_answer(OrchestratorError("nobody took it", key="order_not_taken")),
        "dora": {"result": {"done": [], "errors": {"dora": refused}, "accounts": []}},
    }
    found = world.ask("stop", names=["anna", "cora", "dora"])
    assert found["done"] == ["anna"]
    assert {name: one["key"] for name, one in found["errors"].items()} == {
        "cora": "order_not_taken",
        "dora": "account_disabled",
    }


def test_a_warning_of_another_machine_is_told_once(world: World) -> None:
    world.answers = {name: {"result": {**there(name), "warning": "it forgets this"}} for name in THERE}
    assert world.ask("stop", names=[*THERE])["warning"] == "it forgets this"


@pytest.mark.parametrize(
    "answer", [{}, {"result": 7}, {"result": {"accounts": [7, {"name": "x"}]}}, {"result": {}}]
)
def test_whatever_another_machine_answers_can_be_shown(world: World, answer: Json) -> None:
    world.answers = {"cora": answer}
    found = world.ask("stop", names=["cora", "anna"])
    assert set(found["done"]) | set(found["errors"]) == {"anna", "cora"}
    assert [one["name"] for one in found["accounts"]] == ["anna"]


def test_an_order_of_one_account_gets_the_answer_of_its_machine(world: World) -> None:
    world.answers = {"cora": {"result": {"unlinked": True, "why_linked": None}}}
    assert world.ask("log_out", name="cora") == {"unlinked": True, "why_linked": None}
    world.ask("repair", name="dora", pairing="code", any_phone=True)
    assert world.given[-1] == (("dora",), "repair", {"pairing": "code", "any_phone": True})
    world.answers = {"cora": error_answer(NoSuchAccount("there is no account cora"))}
    with pytest.raises(NoSuchAccount):
        world.ask("restore", name="cora", quarantine="")


def test_the_picture_of_a_code_elsewhere_comes_from_the_database(world: World) -> None:
    for away in (None, "no answer"):
        world.away = away
        with pytest.raises(OrchestratorError) as caught:
            world.ask("code", name="cora")
        assert caught.value.key == ("on_other_shard" if away is None else "store_away")
    world.away, world.codes["cora"] = None, (b"picture", 15.0)
    found = world.ask("code", name="cora")
    assert (found["kind"], found["text"], base64.b64decode(found["png"])) == ("qr", None, b"picture")
    assert 10 < (unix(found["expires_at"]) or 0) - time.time() < 20
    assert (world.given, world.done) == ([], [])
    world.ask("code", name="anna")
    assert [one["name"] for one in world.done] == ["anna"]


@pytest.mark.parametrize("command", sorted(routing.REFUSED))
def test_what_carries_texts_or_codes_is_refused_and_the_machine_is_named(world: World, command: str) -> None:
    with pytest.raises(OrchestratorError, match="cora runs on the machine two: run") as caught:
        world.ask(command, name="cora")
    assert caught.value.key == "on_other_shard"
    world.shards["cora"] = None
    with pytest.raises(OrchestratorError, match="cora waits for a machine of the cluster"):
        world.ask(command, name="cora")
    world.away = "db.example does not answer"
    with pytest.raises(StoreAway, match="the database is away"):
        world.ask(command, name="cora")
    assert (world.done, world.given) == ([], [])


@pytest.mark.parametrize("command", sorted(routing.STREAMED))
def test_codes_are_shown_where_the_account_is(world: World, command: str) -> None:
    with pytest.raises(OrchestratorError, match=rf"`orchestrator {command} cora --no-wait`"):
        world.ask(command, name="cora", wait=True)
    assert world.given == []
    with pytest.raises(BadRequest):
        world.ask(command, name="cora", pairing="owl")


def test_removing_an_account_that_runs_elsewhere_takes_it_out_of_this_machine_s_file(world: World) -> None:
    assert world.ask("remove", name="cora")["runs_on"] == "two"
    assert [one["command"] for one in world.done] == ["reload"]
    world.shards["cora"] = None
    assert "runs_on" not in world.ask("remove", name="cora")


# The other side


def carry_out(world: World, command: str, account: str, **arguments: object) -> Json:
    return cast("Json", asyncio.run(world.carry_out(command, account, arguments)))


def test_an_order_is_carried_out_as_a_command_for_one_account(world: World) -> None:
    assert carry_out(world, "restart", "anna", all=True)["done"] == ["anna"]
    assert carry_out(world, "link", "bert", pairing="qr") == {"account": {"name": "bert"}}
    assert world.done == [
        {"command": "restart", "names": ["anna"], "as_all": True},
        {"command": "link", "name": "bert", "pairing": "qr"},
    ]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("purge", {}),
        ("send", {}),
        ("shutdown", {}),
        ("stop", {"names": ["bert"]}),
        ("link", {"name": "bert"}),
    ],
)
def test_a_row_orders_nothing_else(world: World, command: str, arguments: Json) -> None:
    with pytest.raises(BadRequest, match="does not know this order"):
        carry_out(world, command, "anna", **arguments)
    assert world.done == []


def test_an_account_that_has_left_meanwhile_is_not_touched(world: World) -> None:
    with pytest.raises(OrchestratorError, match="leaving its machine") as caught:
        carry_out(world, "stop", "cora")
    assert caught.value.key == "order_not_taken"


def test_an_answer_fits_into_its_row(world: World) -> None:
    async def long(_request: Json) -> Json:
        return {"folder": "f", "notes": ["x" * LONGEST_ANSWER]}

    world.once = long  # type: ignore[assignment, method-assign]
    assert carry_out(world, "restore", "anna") == {"folder": "f"}
