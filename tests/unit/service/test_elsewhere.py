"""The accounts of other machines: which there are, and who hears of their changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.accounts.events import Moment
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, StoreAway
from orchestrator.service.elsewhere import Elsewhere, Whole
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.roster import Managed, Roster
from orchestrator.store.owned import Owned
from orchestrator.store.status import Kept

CONNECTED = Kept(shown=AccountView("any", "connected").as_json())


class Here:
    """The accounts that run here, and what the database says."""

    def __init__(self) -> None:
        accounts = {name: AccountSettings(name) for name in ("anna", "bert", "cora")}
        self.roster = Roster(Settings(Path("/c"), Path("/s"), Path("/q"), accounts=accounts))
        self.found: Mapping[str, Owned] | StoreAway = {
            "anna": Owned("one", 0.5, written_at=1.0, is_new=False, kept=CONNECTED),
            "bert": Owned("two", 1.5, written_at=1.0, is_new=False, kept=CONNECTED),
            "cora": Owned(),
            "zoe": Owned("two", 1.5, written_at=1.0, is_new=False, kept=CONNECTED),
            "removed": Owned(),
        }
        self.looks = 0
        self.elsewhere = Elsewhere("one", self.roster, self.look, self.code)
        self.whole = Whole(self)
        self.whole.elsewhere = self.elsewhere
        self.add("anna")

    def add(self, name: str) -> None:
        account = Account(self.roster.settings.accounts[name], Moment(0.0, 0.0), random=lambda: 0.0)
        self.roster.add(Managed(account, Waiting(name), Fetching(name)))
        self.roster.touch(name)

    async def code(self, name: str) -> None:
        raise AssertionError(name)

    async def look(self) -> Mapping[str, Owned]:
        self.looks += 1
        if isinstance(self.found, StoreAway):
            raise self.found
        return self.found

    def see(self, **changes: Owned) -> None:
        assert not isinstance(self.found, StoreAway)
        self.found = {**self.found, **changes}
        self.refresh()

    def refresh(self) -> None:
        self.elsewhere._looked_at = float("-inf")
        asyncio.run(self.elsewhere.refresh())

    # What `Whole` knows of those that run here

    @property
    def settings(self) -> Settings:
        return self.roster.settings

    @property
    def version(self) -> int:
        return self.roster.version

    def names(self) -> list[str]:
        return list(self.roster.accounts)

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        return AccountView(name, self.roster.get(name).state, phone="all of it" if reveal else None)

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        return self.roster.changed_since(version, numbers=numbers)


@pytest.fixture
def here() -> Here:
    found = Here()
    found.refresh()
    return found


def test_all_accounts_are_those_of_the_configuration_and_those_that_others_run(here: Here) -> None:
    assert here.whole.names() == ["anna", "bert", "cora", "zoe"]
    found = {name: here.whole.describe(name) for name in here.whole.names()}
    assert [(one.shard, one.lease_age_s) for one in found.values()] == [
        ("one", 0.5), ("two", 1.5), (None, None), ("two", 1.5),
    ]  # fmt: skip
    assert [one.state for one in found.values()] == ["stopped", "connected", "backoff", "connected"]
    assert here.whole.about() == {"cluster": {"shard": "one", "waiting": 1, "away": None}}
    with pytest.raises(NoSuchAccount):
        here.whole.describe("removed")


def test_without_a_cluster_there_is_only_what_runs_here() -> None:
    here = Here()
    here.whole.elsewhere = None
    assert here.whole.names() == ["anna"]
    assert here.whole.about() == {}
    assert here.whole.describe("anna", reveal=True).shard is None
    asyncio.run(here.whole.refresh())
    assert here.looks == 0


def test_whoever_watches_hears_of_changes_elsewhere_once(here: Here) -> None:
    version = here.version
    here.refresh()
    assert here.version == version, "nothing has changed"
    assert not isinstance(here.found, StoreAway)
    here.see(bert=replace(here.found["bert"], written_at=2.0))
    assert here.whole.changed_since(version) == (["bert"], [])
    assert here.whole.changed_since(version, own=True) == ([], [])
    assert here.whole.changed_since(here.version) == ([], [])
    here.see(bert=replace(here.found["bert"], lease_age=2.5))
    assert here.whole.changed_since(here.version - 1) == (["bert"], []), "a lease grows older all the time"


def test_an_account_that_moves_has_changed_and_is_not_gone(here: Here) -> None:
    version = here.version
    here.roster.remove("anna")
    here.roster.touch("anna")
    here.see(anna=Owned("two"))
    assert here.whole.changed_since(version) == (["anna"], [])
    assert here.whole.describe("anna").shard == "two"
    version = here.version
    here.add("bert")
    here.see(bert=Owned("one"))
    assert here.whole.changed_since(version) == (["bert"], [])
    assert here.whole.describe("bert").shard == "one"


def test_an_account_that_nobody_has_any_more_is_gone(here: Here) -> None:
    version = here.version
    here.see(zoe=Owned())
    assert here.whole.changed_since(version) == ([], ["zoe"])
    assert "zoe" not in here.whole.names()


def test_while_the_database_is_away_the_list_is_whole_and_shows_nothing_old_as_true(here: Here) -> None:
    here.roster.remove("anna")  # as after eight seconds
    here.roster.touch("anna")
    version = here.version
    here.found = StoreAway("db.example does not answer in time")
    here.refresh()
    assert here.whole.names() == ["anna", "bert", "cora", "zoe"]
    found = {name: here.whole.describe(name) for name in here.whole.names()}
    assert {one.state for one in found.values()} == {"backoff"}
    assert {one.kind for one in found.values()} == {"store"}
    assert found["bert"].reason is not None
    assert "last connected on two" in found["bert"].reason
    assert found["anna"].reason is not None
    assert "until it is back" in found["anna"].reason
    assert here.whole.about()["cluster"]["away"] == "db.example does not answer in time"
    assert sorted(here.whole.changed_since(version)[0]) == ["anna", "bert", "cora", "zoe"]


def test_who_asks_often_makes_no_more_looks_and_nobody_waits_for_a_slow_one(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = here.looks
    asyncio.run(here.elsewhere.refresh())
    assert here.looks == looks
    monkeypatch.setattr("orchestrator.service.elsewhere.PATIENT_SECONDS", 0.01)

    async def slow() -> Mapping[str, Owned]:
        await asyncio.sleep(3600)
        raise AssertionError

    here.elsewhere._look = slow
    here.refresh()
    assert here.whole.describe("bert").state == "connected"
