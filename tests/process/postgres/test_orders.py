"""Orders as rows: the database takes each step as `cluster/orders.py` has it."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from support.cluster_rows import owned_database
from support.postgres import FreshDatabase

from orchestrator.cluster import orders as model
from orchestrator.cluster.orders import DONE_SECONDS, TAKE_SECONDS
from orchestrator.errors import StoreUnusable
from orchestrator.postgres import orders
from orchestrator.postgres.database import Database, Listener
from orchestrator.postgres.orders import CHANNEL, LONGEST_ANSWER, Looked, Taken

SHARDS = ("one", "two")


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return owned_database(fresh, anna="one", bert="two")


def incarnation(database: Database, shard: str) -> str:
    row = database.run(
        lambda c: c.execute("SELECT incarnation::text FROM orchestrator.shard WHERE name = %s", [shard])
        .fetchone()
    )  # fmt: skip
    assert row is not None
    return str(row[0])


def give(database: Database, *names: str, **arguments: object) -> list[str]:
    given = {str(uuid.uuid4()): name for name in names}
    assert (
        database.run(lambda c: orders.give(c, given, "restart", arguments, "anna (1000) on two")) is not None
    )
    return [*given]


def take(database: Database, shard: str) -> list[Taken]:
    which = incarnation(database, shard)
    return database.run(lambda c: orders.take(c, which))


def answer(database: Database, shard: str, order: str, said: Any = None) -> bool:  # noqa: ANN401
    which = incarnation(database, shard)
    return database.run(lambda c: orders.answer(c, which, order, said or {"result": {}}))


def look(database: Database, order: str) -> tuple[Looked, Any] | None:
    return database.run(lambda c: orders.look(c, [order])).get(order)


def age(database: Database, order: str, seconds: float, column: str = "asked_at") -> None:
    assert column in ("asked_at", "taken_at")
    database.run(
        lambda c: c.execute(
            "UPDATE orchestrator.wanted SET asked_at = asked_at - make_interval(secs => %(asked)s),"
            " taken_at = taken_at - make_interval(secs => %(taken)s) WHERE id = %(id)s::uuid",
            {
                "asked": seconds,
                "taken": seconds if column == "taken_at" else 0.0,
                "id": order,
            },
        )
    )


def test_an_order_goes_to_the_owner_alone_and_its_answer_back(database: Database) -> None:
    listener = Listener(database, [CHANNEL])
    order, other = give(database, "anna", "bert", wait=True)
    assert listener.wait(10.0), "the owner is told"
    assert take(database, "two")[0].name == "bert"
    assert take(database, "one") == [Taken(order, "anna", "restart", {"wait": True}, "anna (1000) on two")]
    assert take(database, "one") == []
    assert not answer(database, "two", order)
    assert answer(database, "one", order, {"result": {"done": ["anna"]}})
    assert listener.wait(10.0), "and whoever asked"
    listener.close()
    found = look(database, order)
    assert found is not None
    assert found[1] == {"result": {"done": ["anna"]}}
    assert (found[0].shard, found[0].is_good) == ("one", True)
    database.run(lambda c: orders.forget(c, [order, other]))
    assert look(database, order) is None


@pytest.mark.parametrize("strange", ["a\0b", "half \ud800", "\\u0000"])
def test_characters_that_the_database_has_not_hide_no_other_order(database: Database, strange: str) -> None:
    (odd,) = give(database, "anna", quarantine=strange)
    (plain,) = give(database, "anna")
    assert [one.id for one in take(database, "one")] == [odd, plain]
    assert answer(database, "one", odd, {"result": {strange: [strange, 1, None, True]}})
    assert answer(database, "one", plain)
    found = look(database, odd)
    assert found is not None
    ((key, (value, *rest)),) = found[1]["result"].items()
    assert (key, rest) == (value, [1, None, True])
    assert value == strange.replace("\0", "\ufffd").replace("\ud800", "?")


def test_what_was_withdrawn_is_never_taken_and_what_was_taken_is_not_withdrawn(database: Database) -> None:
    order, other = give(database, "anna", "bert")
    take(database, "two")
    assert database.run(lambda c: orders.withdraw(c, [order, other])) == [order]
    assert take(database, "one") == []


def test_an_account_that_nobody_knows_gets_no_order(database: Database) -> None:
    given = {str(uuid.uuid4()): name for name in ("nobody", "anna")}
    assert database.run(lambda c: orders.give(c, given, "stop", {}, "")) == [[*given][1]]


def test_orders_are_few_short_and_deleted_soon(database: Database) -> None:
    (order,) = give(database, "anna")
    age(database, order, 121.0)
    give(database, "bert")
    assert look(database, order) is None
    many = {str(uuid.uuid4()): "anna" for _ in range(model.MOST_WAITING)}
    assert database.run(lambda c: orders.give(c, many, "restart", {}, "anna")) is None
    for command, arguments in (("r" * 31, {}), ("restart", {"x": "y" * 512})):
        with pytest.raises(StoreUnusable, match="check constraint"):
            database.run(lambda c: orders.give(c, {str(uuid.uuid4()): "anna"}, command, arguments, "anna"))  # noqa: B023
    (order,) = give(database, "anna")
    take(database, "one")
    with pytest.raises(StoreUnusable, match="check constraint"):
        answer(database, "one", order, {"result": "x" * LONGEST_ANSWER})


@pytest.mark.parametrize("seed", range(6))
def test_the_database_does_what_the_model_says(database: Database, seed: int) -> None:
    """Random steps: whatever the database allows, the model would have allowed, and the other way round."""
    chance = random.Random(seed)
    (order,) = give(database, "anna")
    steps = 0
    for _ in range(25):
        found = look(database, order)
        if found is None:
            (order,) = give(database, "anna")
            continue
        looked, _said = found
        shard = chance.choice(SHARDS)
        which = incarnation(database, shard)
        # The row at the present moment, as the model has it; leases last for an hour here, or are over.
        good = database.run(lambda c: c.execute("SELECT orchestrator.lease_is_good(%s)", [which]).fetchone())  # noqa: B023
        is_good = good == (True,)
        owner = looked.owner
        match chance.randrange(6):
            case 0:
                expected = model.take(looked.order, owner, which, looked.now) is not None and is_good
                assert bool(take(database, shard)) is expected
            case 1 | 2:
                row = model.answer(looked.order, owner, which, "", looked.now, is_good=is_good)
                assert answer(database, shard, order) is (row is not None)
            case 3:
                done = database.run(lambda c: orders.withdraw(c, [order]))  # noqa: B023
                assert bool(done) is model.may_withdraw(looked.order)
            case 4:
                age(database, order, chance.choice([TAKE_SECONDS, DONE_SECONDS]), "taken_at")
            case _:
                to = chance.choice([*SHARDS, None])
                database.run(
                    lambda c: c.execute(
                        "UPDATE orchestrator.lease SET epoch = epoch + 1, incarnation ="
                        " (SELECT incarnation FROM orchestrator.shard WHERE name = %s) WHERE account ="
                        " (SELECT id FROM orchestrator.account WHERE name = 'anna')",
                        [to],  # noqa: B023
                    )
                )
        steps += 1
    assert steps > 10


def test_another_role_s_rows_are_no_orders(database: Database, fresh: FreshDatabase) -> None:
    (order,) = give(database, "anna")
    with fresh.superuser() as connection:
        connection.execute("UPDATE orchestrator.wanted SET login = 'mallory' WHERE id = %s::uuid", [order])
    assert take(database, "one") == []
