"""Orders of operators as rows: `cluster/orders.py` says what each step means, `orders.sql` takes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.accounts import characters
from orchestrator.accounts.names import is_name
from orchestrator.cluster.orders import Order, Owner
from orchestrator.postgres.database import Connection
from orchestrator.postgres.messages.box import plain

CHANNEL: Final = "orchestrator_order"
"""Where a hint is given that there is an order, or an answer."""
LONGEST_WHO: Final = 100
"""Characters of what is said of whoever has given an order."""
LONGEST_ANSWER: Final = 16_384
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An order that this machine is to carry out.

    Attributes:
        id: Its identifier.
        name: The account.
        command: What is to be done.
        arguments: And how.
        by: Who wants it, for people.
    """

    id: str
    name: str
    command: str
    arguments: Mapping[str, Any]
    by: str


@dataclass(frozen=True, slots=True)
class Looked:
    """How an order is.

    Attributes:
        order: Its row.
        owner: Who owns the account.
        now: The time at the database.
        is_good: Whether the lease of whoever has taken it is good.
        shard: The name of the machine that owns the account; None if none does.
        silent: Seconds since that has renewed its lease.
    """

    order: Order
    owner: Owner | None
    now: float
    is_good: bool
    shard: str | None
    silent: float


def give(
    connection: Connection,
    orders: Mapping[str, str],
    command: str,
    arguments: Mapping[str, Any],
    by: str,
) -> list[str] | None:
    """Give orders.

    Args:
        connection: The transaction.
        orders: The accounts, by the identifiers of the orders.
        command: What is to be done.
        arguments: And how; with neither texts of messages nor secrets.
        by: Who wants it, for people.

    Returns:
        Those that were given, because the database knows their accounts; None if there was no room.
    """
    who = characters.one_line(by, LONGEST_WHO)
    row = connection.execute(
        "SELECT orchestrator.order_give(%s::uuid[], %s, %s, %s::json, %s)",
        [[*orders], [*orders.values()], command, _text(arguments), who],
    ).fetchone()
    return None if row is None or row[0] is None else list(row[0])


def take(connection: Connection, incarnation: str) -> list[Taken]:
    """Return the orders for the accounts that this machine owns, which nobody else gets then."""
    found = []
    for id_, name, command, arguments, by in _call(connection, "order_take", incarnation):
        if is_name(name) and isinstance(command, str) and isinstance(arguments, dict):
            found.append(Taken(id_, name, command, arguments, characters.one_line(str(by), LONGEST_WHO)))
    return found


def answer(connection: Connection, incarnation: str, order: str, said: Mapping[str, Any]) -> bool:
    """Answer an order; return whether that was still possible."""
    row = connection.execute(
        "SELECT orchestrator.order_answer(%s, %s::uuid, %s::json)", [incarnation, order, _text(said)]
    ).fetchone()
    return row == (True,)


def look(connection: Connection, orders: Sequence[str]) -> dict[str, tuple[Looked, Any]]:
    """Return how orders are, with the answer of each; those that are gone are not among them."""
    found = {}
    for row in _call(connection, "order_look", [*orders]):
        id_, said, asked, taken, now, by, epoch, is_good, incarnation, present, shard, silent = row
        holder = None if by is None else Owner(by, epoch)
        answered = None if said is None else ""
        found[id_] = (
            Looked(
                Order(asked, holder, taken or 0.0, answered),
                None if incarnation is None else Owner(incarnation, present),
                now,
                is_good,
                shard,
                silent or 0.0,
            ),
            said,
        )
    return found


def withdraw(connection: Connection, orders: Iterable[str]) -> list[str]:
    """Take orders back that nobody has taken; return which."""
    return list(_call(connection, "order_withdraw", [*orders]))


def forget(connection: Connection, orders: Iterable[str]) -> None:
    """Delete orders that are over."""
    _call(connection, "order_forget", [*orders])


def _text(values: Mapping[str, Any]) -> str:
    """Return values as JSON that the database can read as well: one row that it cannot hides all others."""
    return json.dumps(_plain(values))


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _call(connection: Connection, function: str, argument: object) -> Any:  # noqa: ANN401 - JSON
    from psycopg import sql

    cast = sql.SQL("::uuid[]") if isinstance(argument, list) else sql.SQL("::uuid")
    call = sql.SQL("SELECT orchestrator.{}(%s{})").format(sql.Identifier(function), cast)
    row = connection.execute(call, [argument]).fetchone()
    return None if row is None else row[0]
