"""What a reload would do, when accounts are enabled by themselves, and who is back after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.driving import Driver

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Queue
from orchestrator.accounts.events import Begin, LookedUp, Said, Spawned, TurnCame
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.moments import say_time, why_disabled
from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.cli.returning import announced, is_back
from orchestrator.config.settings import Settings
from orchestrator.config.types import Time, Where
from orchestrator.config.yaml_tree import Scalar
from orchestrator.control.view import AccountView
from orchestrator.service.enabling import due
from orchestrator.service.reload_plan import Change, Effect, What, described, plan

SECRET = "socks5://ada:geheim@127.0.0.1:1"


@dataclass
class Stands:
    """An account, as far as a plan looks at it."""

    settings: AccountSettings
    has_process: bool = True
    starts: bool = False
    keeps_settings: bool = False
    old: AccountSettings | None = field(default=None)

    @property
    def in_force(self) -> AccountSettings:
        return self.old or self.settings

    def starts_with(self, settings: AccountSettings) -> bool:
        return self.starts and settings.enabled


def after(*accounts: AccountSettings, **more: object) -> Settings:
    named = {one.name: one for one in accounts}
    return replace(Settings(Path("/c"), Path("/s"), Path("/q"), accounts=named), **more)  # type: ignore[arg-type]


A = AccountSettings("a")
OFF = replace(A, enabled=False)


@pytest.mark.parametrize(
    ("stands", "wanted", "keys", "effect"),
    [
        (Stands(A), replace(A, proxy=SECRET, tags=("x",)), ("proxy", "tags"), Effect.RECONNECTS),
        (Stands(A), replace(A, note="x"), ("note",), Effect.STAYS),
        (Stands(A), replace(A, backoff=Backoff(max=9.0)), ("backoff.max",), Effect.STAYS),
        (Stands(A), OFF, ("enabled",), Effect.STOPS),
        (Stands(A, has_process=False), OFF, ("enabled",), Effect.WAITS),
        (Stands(OFF, has_process=False, starts=True), A, ("enabled",), Effect.STARTS),
        (Stands(OFF, has_process=False), A, ("enabled",), Effect.WAITS),
        (Stands(A, has_process=False), replace(A, proxy=SECRET), ("proxy",), Effect.WAITS),
        (Stands(A, has_process=False, starts=True), replace(A, proxy=SECRET), ("proxy",), Effect.STARTS),
        # It has kept its old settings: the same file is news to it, and the old one is none.
        (Stands(replace(A, proxy=SECRET), keeps_settings=True, old=A), replace(A, proxy=SECRET), ("proxy",),
         Effect.RECONNECTS),
        (Stands(replace(A, proxy=SECRET), keeps_settings=True, old=A), A, (), Effect.STAYS),
    ],
)  # fmt: skip
def test_a_change_is_told_by_its_keys_and_what_it_does(
    stands: Stands, wanted: AccountSettings, keys: tuple[str, ...], effect: Effect
) -> None:
    assert plan({"a": stands}, after(wanted)) == [Change("a", What.CHANGED, keys, effect)]


PROXY = {"proxy": SECRET}
NOTE = {"note": "x"}


@pytest.mark.parametrize(
    ("before", "kind", "wanted", "starts"),
    [
        ({}, Kind.CONFIG, PROXY, True),
        ({}, Kind.CONFIG, NOTE, False),
        ({}, Kind.NETWORK, PROXY, True),
        ({}, Kind.NETWORK, NOTE, False),
        ({}, Kind.TEMPORARY_BAN, PROXY, False),
        ({}, Kind.REPLACED, PROXY, False),
        ({"stopped": True}, None, PROXY, False),
        ({"enabled": False}, None, NOTE, False),
        ({"enabled": False}, None, {"enabled": True}, True),
        ({"enabled": False, "stopped": True}, None, {"enabled": True}, False),
        ({"pairing": "on_demand"}, None, {"pairing": "always"}, True),
        ({"pairing": "on_demand"}, None, PROXY, False),
    ],
)
def test_what_a_plan_says_of_a_start_is_what_a_reload_does(
    before: dict[str, Any], kind: Kind | None, wanted: dict[str, Any], starts: bool
) -> None:
    driver = Driver(**before)
    driver(Begin())
    if before.get("pairing") == "on_demand":
        driver(LookedUp(linked=False))
    if kind is not None:
        driver(TurnCame())
        driver(Spawned(1))
        driver(Said(pipe.Connecting(True)))
        driver.end(kind, expire=3600.0 if kind is Kind.TEMPORARY_BAN else None)
    assert driver.account.child is None
    assert driver.account.starts_with(replace(driver.settings, **wanted)) is starts
    assert (Queue() in driver.configure(**wanted)) is starts


def test_accounts_come_and_go() -> None:
    new, off = AccountSettings("new"), AccountSettings("off", enabled=False)
    found = plan({"a": Stands(A), "b": Stands(AccountSettings("b"), has_process=False)}, after(new, off))
    assert found == [
        Change("new", What.ADDED, (), Effect.STARTS),
        Change("off", What.ADDED, (), Effect.WAITS),
        Change("a", What.REMOVED, (), Effect.STOPS),
        Change("b", What.REMOVED, (), Effect.WAITS),
    ]
    assert plan({"a": Stands(A)}, after(A)) == []


def test_a_plan_has_no_values() -> None:
    whole = described({"a": Stands(A)}, after(A), after(replace(A, proxy=SECRET), start_parallel=9))
    assert whole["settings"] == ["start.parallel"]
    assert "geheim" not in str(whole)


TIMES = st.floats(0, 4e9).map(lambda at: float(int(at)))


@given(now=TIMES, untils=st.lists(st.none() | TIMES, max_size=5))
def test_each_account_is_enabled_at_its_time(now: float, untils: list[float | None]) -> None:
    accounts = {
        str(number): AccountSettings(f"a{number}", disabled_until=until).at(now - 1)
        for number, until in enumerate(untils)
    }
    ready, next_at = due(accounts, now)
    for name, one in accounts.items():
        until = one.disabled_until
        assert (name in ready) == (until is not None and not one.enabled and until <= now)
        assert one.enabled == (until is None or until <= now - 1)
    assert all(one.enabled for one in ready.values())
    assert next_at == min((at for at in untils if at is not None and at > now), default=None)
    # A service that begins then, or reads the file again, comes to the same.
    for name, one in accounts.items():
        assert one.at(now) == ready.get(name, one).at(now)


@given(TIMES)
def test_a_time_is_read_as_it_is_written(at: float) -> None:
    text = say_time(at)
    scalar = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=False)
    assert Time().read(scalar, Where(Path("/"), {})) == at


def test_why_an_account_is_disabled() -> None:
    assert why_disabled(None, None) is None
    assert why_disabled(None, "sold") == "sold"
    assert (why_disabled(0.0, None) or "").startswith("disabled until 19")
    assert (why_disabled(0.0, "sold") or "").endswith(": sold")


def view(state: str, pid: int | None = None, reason: str | None = None) -> AccountView:
    return AccountView("a", state, pid=pid, reason=reason)


@pytest.mark.parametrize(
    ("now", "back"),
    [
        (view("connected", 2), True),
        (view("connected", 1, "waiting for its turn: an operator wants it to have a new process"), None),
        (view("connected", 1), None),
        (view("connected", 1, "keeps its old process (no room): run …"), False),
        (view("stopped", 1), None),
        (view("starting"), None),
        (view("connecting", 2), None),
        (view("backoff"), None),
        (view("failed"), False),
        (view("pairing", 2), False),
        (view("banned"), False),
    ],
)
def test_who_is_back(now: AccountView, back: bool | None) -> None:
    assert is_back(view("connected", 1), now) is back


def test_a_restart_is_announced() -> None:
    accounts = [view("connected", 1), view("connected", 2), view("failed"), view("disabled")]
    assert announced(accounts, 3) == (
        "restarting 2 connected accounts in turn, at most 3 at once, each offline for about a second;"
        " 1 account that is not connected, at once"
    )
    assert announced([view("disabled")], 3) == "nothing to restart: no account is enabled"
    assert announced([view("connected", 1), view("stopped"), view("stopped")], 3) == (
        "restarting 1 connected account in turn, at most 3 at once, each offline for about a second"
        " (2 accounts that an operator stopped stay stopped)"
    )
    assert announced([view("stopped"), view("disabled")], 3) == (
        "nothing to restart (1 account that an operator stopped stays stopped)"
    )
