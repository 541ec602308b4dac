"""Who learns of what: changes of accounts, and of their numbers alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.accounts.events import Moment
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.service.fetching import Fetching
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.roster import Managed, Roster


@pytest.fixture
def roster() -> Roster:
    found = Roster(Settings(Path("/c"), Path("/s"), Path("/q")))
    for name in ("a", "b"):
        account = Account(AccountSettings(name), Moment(0.0, 0.0), random=lambda: 0.0)
        found.add(Managed(account, Waiting(name), Fetching(name)))
        found.touch(name)
    return found


def test_numbers_are_told_to_those_alone_who_follow_them(roster: Roster) -> None:
    version = roster.version
    roster.drift("a")
    assert roster.changed_since(version) == ([], [])
    assert roster.changed_since(version, numbers=True) == (["a"], [])
    assert roster.changed_since(roster.version, numbers=True) == ([], [])


def test_a_change_is_told_to_everybody_once(roster: Roster) -> None:
    version = roster.version
    roster.drift("a")
    roster.touch("b")
    assert roster.changed_since(version) == (["b"], [])
    assert roster.changed_since(version, numbers=True) == (["a", "b"], [])
    version = roster.version
    roster.touch("a")
    roster.drift("a")
    assert roster.changed_since(version) == (["a"], [])


def test_an_account_that_goes_is_told_although_numbers_come_between(roster: Roster) -> None:
    version = roster.version
    roster.remove("a")
    roster.drift("b")
    roster.touch("a")
    assert roster.changed_since(version) == ([], ["a"])
    assert roster.changed_since(version, numbers=True) == (["b"], ["a"])
