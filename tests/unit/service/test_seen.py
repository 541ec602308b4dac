"""What is shown of accounts that other machines run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.child import Parked
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.states import State
from orchestrator.control.outlook import outlook
from orchestrator.control.view import AccountView
from orchestrator.service import seen
from orchestrator.store.owned import Owned
from orchestrator.store.status import Kept
from orchestrator.store.summary import Summary

NOW = 1_795_357_100.0
SHOWN = AccountView(
    "support", "connected", since="2026-11-22T14:00:00Z", phone="+49…78", pid=7, uptime_s=10.0,
    qr_path="/elsewhere/qr.png", memory_bytes=25_000_000, stored=3, tags=("old",), shard="liar",
)  # fmt: skip
CONFIGURED = Summary("support", enabled=True, phone=None, tags=("eu",), note="shop")
OWNED = Owned("host-b", 1.26, 100.0, False, NOW - 5, 5.0, Kept(shown=SHOWN.as_json()))


def shown(owned: Owned, *, configured: Summary | None = CONFIGURED, away: str | None = None) -> AccountView:
    return seen.describe("support", configured, owned, NOW, away)


def test_what_the_owner_has_written_is_shown_without_what_is_of_its_machine() -> None:
    found = shown(OWNED)
    assert (found.state, found.shard, found.lease_age_s) == ("connected", "host-b", 1.3)
    assert (found.pid, found.qr_path, found.memory_bytes, found.stored) == (7, None, 25_000_000, 3)
    assert found.uptime_s == 15.0, "time goes on since it was written"
    assert (found.tags, found.note) == (("eu",), "shop")
    assert shown(OWNED, configured=None).tags == ("old",)


def test_without_an_owner_the_account_waits_for_a_shard() -> None:
    found = shown(replace(OWNED, shard=None, lease_age=None))
    assert (found.state, found.shard) == ("backoff", None)
    assert found.reason is not None
    assert found.reason.startswith("waiting for a shard")
    assert found.since == "2026-11-22T14:16:40Z"
    assert "cluster status" in outlook(found).advice[0]


def test_an_owner_that_has_said_nothing_yet_is_not_believed_the_word_of_the_one_before() -> None:
    found = shown(replace(OWNED, is_new=True))
    assert (found.state, found.shard, found.reason) == ("starting", "host-b", seen.COMES)
    assert shown(Owned("host-b")).state == "starting"


@pytest.mark.parametrize("shard", [None, "host-b"])
@pytest.mark.parametrize("away", [None, "the database is away"])
def test_what_rests_rests_also_without_an_owner_and_without_the_database(
    shard: str | None, away: str | None
) -> None:
    def kept(**values: Any) -> AccountView:  # noqa: ANN401
        return shown(Owned(shard, is_new=True, kept=Kept(shown=SHOWN.as_json(), **values)), away=away)

    assert kept(stopped=True).state == "stopped"
    banned = kept(parked=Parked(State.BANNED, "101", NOW + 60, 1))
    assert (banned.state, banned.reason, banned.next_retry_at) == ("banned", "101", "2026-11-22T14:19:20Z")


def test_a_disabled_account_is_disabled_wherever_it_was() -> None:
    off = CONFIGURED._replace(enabled=False)
    found = shown(replace(OWNED, shard=None), configured=off)
    assert (found.state, found.reason) == ("disabled", "shop")


def test_while_the_database_is_away_nothing_old_is_shown_as_true() -> None:
    found = shown(OWNED, away="the database is away")
    assert (found.state, found.kind, found.reason) == ("backoff", "store", "the database is away")
    assert (found.pid, found.uptime_s, found.memory_bytes) == (None, None, None)


def test_a_state_of_another_version_is_named_and_harms_nothing() -> None:
    strange = {**SHOWN.as_json(), "state": "levitating\x1b[31m" * 10}
    found = shown(replace(OWNED, kept=Kept(shown=strange)))
    assert found.state == "backoff"
    assert found.reason is not None
    assert "levitating" in found.reason
    assert "\x1b" not in found.reason
    outlook(found)


def test_the_whole_number_is_shown_to_whoever_asks_for_it() -> None:
    kept = Kept(shown=SHOWN.as_json(), guard=Guard("4915100000078"))
    owned = replace(OWNED, kept=kept)
    assert shown(owned).phone == "+49…78"
    assert seen.describe("support", CONFIGURED, owned, NOW, reveal=True).phone == "+4915100000078"
    other = replace(OWNED, kept=replace(kept, guard=Guard("4915100000011")))
    assert seen.describe("support", CONFIGURED, other, NOW, reveal=True).phone == "+49…78"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@given(
    shown=st.none() | st.dictionaries(st.sampled_from(AccountView._fields) | st.text(max_size=8), VALUES),
    shard=st.none() | st.just("host-b"),
    is_new=st.booleans(),
    away=st.none() | st.just("away"),
    is_configured=st.booleans(),
)
def test_whatever_another_machine_has_written_can_be_shown(
    shown: dict[str, Any] | None, shard: str | None, is_new: bool, away: str | None, is_configured: bool
) -> None:
    owned = Owned(shard, is_new=is_new, kept=Kept(shown=shown))
    found = seen.describe("support", CONFIGURED if is_configured else None, owned, NOW, away)
    assert found.name == "support"
    assert found.state in {*State}
    assert found.shard == (None if away else shard)
    assert (found.reason or "").isprintable()
    outlook(found)
    AccountView.from_json(found.as_json())
