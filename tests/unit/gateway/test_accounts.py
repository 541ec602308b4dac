"""What the gateway knows of accounts: those of all machines, and which of them run here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning
from orchestrator.gateway.accounts import Accounts
from orchestrator.gateway.parent import Parent

Json = dict[str, Any]


def event(*views: AccountView, gone: tuple[str, ...] = (), shard: str | None = None) -> Json:
    told: Json = {"accounts": [view.as_json() for view in views], "gone": [*gone]}
    return told | ({} if shard is None else {"elsewhere": [one.name for one in views if one.shard != shard]})


class Told:
    """A gateway that was told some events, and what it made of them."""

    def __init__(self, *events: Json) -> None:
        self.all: list[tuple[list[str], list[str]]] = []
        self.own: list[tuple[list[str], list[str]]] = []
        self._events = events
        self.accounts = Accounts(
            cast("Parent", self),
            lambda names, gone: self.all.append((names, gone)),
            lambda names, gone: self.own.append((names, gone)),
        )
        asyncio.run(self.accounts.run())

    async def stream(self, *_: object, **_arguments: object) -> AsyncIterator[Json]:
        for one in self._events:
            yield one
        raise NotRunning("it has stopped")


def view(name: str, shard: str | None = None) -> AccountView:
    return AccountView(name, "connected", shard=shard)


def test_without_a_cluster_all_accounts_run_here() -> None:
    told = Told(event(view("anna"), view("bert")), event(gone=("anna",)))
    assert told.own == told.all == [(["anna", "bert"], []), ([], ["anna"])]
    assert told.accounts.own == told.accounts.views == {"bert": view("bert")}


def test_in_a_cluster_those_of_other_machines_are_shown_and_feed_nobody_here() -> None:
    told = Told(event(view("anna", "one"), view("bert", "two"), view("cora"), shard="one"))
    assert [*told.accounts.views] == ["anna", "bert", "cora"]
    assert told.all == [(["anna", "bert", "cora"], [])]
    assert told.own == [(["anna"], [])]


def test_an_account_that_moves_is_gone_here_and_comes_back() -> None:
    told = Told(
        event(view("anna", "one"), shard="one"),
        event(view("anna", "two"), shard="one"),
        event(view("anna", "two"), shard="one"),
        event(view("anna"), shard="one"),
        event(view("anna", "one"), shard="one"),
        event(gone=("anna",), shard="one"),
    )
    assert told.own == [(["anna"], []), ([], ["anna"]), (["anna"], []), ([], ["anna"])]
    assert (told.accounts.views, told.accounts.own) == ({}, {})
