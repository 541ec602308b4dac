"""Two machines that give each other orders through a real database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from support.cluster_rows import owned_database
from support.fleet import asynchronous
from support.postgres import FreshDatabase

from orchestrator.control.protocol import Json
from orchestrator.errors import NoSuchAccount, OrchestratorError, StoreAway
from orchestrator.postgres.database import Database
from orchestrator.postgres.line import Line
from orchestrator.service import who
from orchestrator.service.orders import Orders

Work = Callable[[str, str, Json], object]


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return owned_database(fresh, anna="two", bert="three")


@contextlib.asynccontextmanager
async def machine(database: Database, name: str, work: Work | None = None) -> AsyncIterator[Orders]:
    """A machine that carries out orders; without work, it only gives some."""
    line = Line(database, name)
    row = database.run(
        lambda c: c.execute("SELECT incarnation::text FROM orchestrator.shard WHERE name = %s", [name])
        .fetchone()
    )  # fmt: skip
    incarnation = None if row is None else str(row[0])
    made = Orders(name, line, lambda: incarnation)
    if work is not None:

        async def carry_out(command: str, account: str, arguments: Json) -> Json:
            await asyncio.sleep(0)
            return {"said": work(command, account, arguments)}

        made.carry_out = carry_out
        made.start()
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)
        line.close(wait=True)


def test_an_order_is_carried_out_where_the_account_is_in_the_name_of_who_gave_it(database: Database) -> None:
    done: list[tuple[str, str, Json, str]] = []

    def work(command: str, account: str, arguments: Json) -> str:
        done.append((command, account, arguments, who.current() or ""))
        return "done"

    @asynchronous
    async def main() -> None:
        async with machine(database, "one") as one, machine(database, "two", work):
            who.begin("carl (1000)")
            found = await one.give(["anna"], "stop", {"wait": True})
        assert found == {"anna": {"result": {"said": "done"}}}

    main()
    assert done == [("stop", "anna", {"wait": True}, "carl (1000) on one")]


def test_an_error_of_the_other_machine_comes_back_and_a_bug_is_named(database: Database) -> None:
    raised: list[Exception] = [NoSuchAccount("there is no account anna"), ZeroDivisionError("a secret")]

    def work(*_: object) -> None:
        raise raised.pop(0)

    @asynchronous
    async def main() -> None:
        async with machine(database, "one") as one, machine(database, "two", work):
            first = (await one.give(["anna"], "stop", {}))["anna"]
            second = (await one.give(["anna"], "stop", {}))["anna"]
        assert (first["key"], first["exit_code"]) == ("no_such_account", 5)
        assert second["key"] == "internal_error"
        assert "secret" not in second["error"]

    main()


def test_what_nobody_takes_says_why_and_what_a_machine_drops_is_not_known(database: Database) -> None:
    def lose(*_: object) -> None:
        database.run(lambda c: c.execute("UPDATE orchestrator.lease SET epoch = epoch + 1"))

    @asynchronous
    async def main() -> None:
        async with machine(database, "one") as one, machine(database, "two", lose):
            found = await one.give(["cora", "bert", "anna", "nobody"], "stop", {})
        keys = {name: answer["key"] for name, answer in found.items()}
        assert keys == {
            "cora": "order_not_taken",
            "bert": "order_not_taken",
            "anna": "order_unknown",
            "nobody": "order_not_taken",
        }
        assert "no machine of the cluster runs the account" in found["cora"]["error"]
        assert "runs on three, which has not taken the order within 5 s" in found["bert"]["error"]
        assert "anna: the machine that took the order does not answer any more" in found["anna"]["error"]

    main()


def test_while_the_database_is_away_nothing_is_done(database: Database) -> None:
    @asynchronous
    async def main() -> None:
        async with machine(database, "one") as one:
            database.suspend("gone")
            with pytest.raises(StoreAway):
                await one.give(["anna"], "stop", {})
            database.suspend(None)

    main()


def test_more_orders_than_there_is_room_for_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.postgres.orders.give", lambda *_: None)

    @asynchronous
    async def main() -> None:
        async with machine(database, "one") as one:
            with pytest.raises(OrchestratorError, match="too many orders"):
                await one.give(["anna"], "stop", {})

    main()
