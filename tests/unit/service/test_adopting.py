"""What a shard does with accounts that come: also with one whose machine was lost in the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.accounts.child import Parked
from orchestrator.accounts.events import Begin, Moment, Order, Ordered
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.cluster.settings import Cluster
from orchestrator.config.settings import Settings
from orchestrator.service import adopting
from orchestrator.service.adopting import JUST_SECONDS, Adopting, was_just_replaced
from orchestrator.service.aside import Aside
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.roster import Managed, Roster
from orchestrator.store.status import Kept
from orchestrator.system.clock import iso

NOW = 1_800_000_000.0


def kept(state: State = State.REPLACED, ago: float = 1.0) -> Kept:
    return Kept(parked=Parked(state, "why", NOW + 60, 1), shown={"state": state, "since": iso(NOW - ago)})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (kept(), True),
        (kept(ago=JUST_SECONDS - 1), True),
        (kept(ago=JUST_SECONDS + 1), False),
        (kept(ago=-5), True),  # by the clock of a machine that is ahead
        (kept(State.BANNED), False),
        (Kept(), False),
        (Kept(parked=kept().parked), False),
        (Kept(shown=kept().shown), False),
        (Kept(parked=kept().parked, shown={"since": None}), False),
        (Kept(parked=kept().parked, shown={"since": "soon"}), False),
        (Kept(parked=kept().parked, shown={}), False),
    ],
)
def test_who_was_just_replaced(known: Kept, expected: bool) -> None:
    assert was_just_replaced(known, NOW) is expected


@pytest.fixture
def aside() -> Iterator[Aside]:
    found = Aside("adopting")
    yield found
    found.close()


def test_who_was_replaced_just_before_its_machine_was_lost_is_tried_again(
    aside: Aside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr("time.time", lambda: NOW)
    names = ("just", "before", "banned", "new")
    accounts = {name: AccountSettings(name) for name in names}
    roster = Roster(Settings(Path("/c"), Path("/s"), Path("/q"), accounts=accounts))
    known = {"just": kept(), "before": kept(ago=1000), "banned": kept(State.BANNED)}
    ordered: list[tuple[str, Ordered]] = []
    taken = asyncio.Event()

    def add(settings: AccountSettings, what: Kept) -> None:
        account = Account(settings, Moment(0.0, NOW), random=lambda: 0.0, parked=what.parked)
        account.handle(Begin(), Moment(0.0, NOW))
        roster.add(Managed(account, Waiting(settings.name), Fetching(settings.name)))
        if len(roster.accounts) == len(names):
            taken.set()

    machines: Any = SimpleNamespace(add=add, order=lambda name, order: ordered.append((name, order)))
    children: Any = SimpleNamespace(aside=aside)
    record: Any = SimpleNamespace(load=lambda: known)

    async def come() -> None:
        shard = Adopting(roster, machines, children, cast("Any", None), record, Cluster("one"))
        for name in names:
            assert shard.adopt(name)
        assert not shard.adopt("elsewhere")
        await taken.wait()
        await asyncio.sleep(0.01)

    asyncio.run(come())
    assert ordered == [("just", Ordered(Order.START))]
