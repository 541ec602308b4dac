"""The rows of accounts: what is where, and which change of one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.states import WORST_FIRST, State
from orchestrator.control.attention import need
from orchestrator.control.view import AccountView
from orchestrator.gateway.page import rows
from orchestrator.gateway.page.rows import CPU_STEP, FIELDS, MEMORY_PART, changes, drifts, row, written

FULL = AccountView(
    "support", "connected", since="2027-01-15T08:00:00Z", reason="r", kind="network", phone="+49…01", pid=7,
    attempt=3, next_retry_at="2027-01-15T08:00:10Z", held=True, memory_bytes=18_765_432, stored=9, waiting=8,
    lost=1, queued=5, restricted="new", restricted_until="2027-01-16T08:00:00Z",
    qr_expires_at="2027-01-15T08:00:20Z", phone_unlinks_at="2027-01-17T08:00:00Z", tags=("eu", "vip"),
    proxy="socks5://proxy:1080", last_in_at="2027-01-15T07:59:59Z", last_out_at="2027-01-15T07:59:58Z",
)  # fmt: skip
AT = 1_800_000_000


def fields(found: list[Any]) -> dict[str, Any]:
    return dict(zip(FIELDS, found, strict=True))


def test_every_field_has_its_place() -> None:
    assert fields(row(FULL, 1.26)) == {
        "name": "support", "state": "connected", "since": AT, "reason": "r", "kind": "network",
        "phone": "+49…01", "attempt": 3, "next_at": AT + 10, "held": True, "memory": 18_800_000, "cpu": 1.3,
        "proxy": "socks5://proxy:1080", "tags": ["eu", "vip"], "last_in": AT - 1, "last_out": AT - 2,
        "waiting": 8, "queued": 5, "stored": 9, "restricted": "new", "restricted_until": AT + 86_400,
        "code_until": AT + 20, "unlinks_at": AT + 2 * 86_400, "lost": 1, "need": list(need(FULL) or ()),
    }  # fmt: skip


def test_what_is_not_known_is_null() -> None:
    found = fields(row(AccountView("a", "stopped"), None))
    assert {key for key, value in found.items() if value is None} == {
        "since", "reason", "kind", "phone", "next_at", "memory", "cpu", "proxy", "last_in", "last_out",
        "waiting", "queued", "stored", "restricted", "restricted_until", "code_until", "unlinks_at", "need",
    }  # fmt: skip


def test_a_row_is_ascii_in_one_line_and_short() -> None:
    text = written(row(FULL._replace(reason="Zeile\n\u2028\x1b[31m"), 1.0))
    assert text.isascii()
    assert b"\n" not in text
    assert json.loads(text)[FIELDS.index("reason")] == "Zeile\n\u2028\x1b[31m"
    usual = AccountView(
        "support-berlin", "connected", since="2027-01-15T08:00:00Z", phone="+4915…01",
        memory_bytes=18_000_000,
        stored=9000, waiting=0, queued=0, tags=("eu",), proxy="socks5://10.1.0.4:1080",
        last_in_at="2027-01-15T08:00:00Z", last_out_at="2027-01-15T08:00:00Z",
    )  # fmt: skip
    assert len(written(row(usual, 0.4))) <= 230


@pytest.mark.parametrize("field", FIELDS)
def test_only_what_changes_by_itself_waits(field: str) -> None:
    before = row(FULL, 1.0)
    after = [*before]
    after[FIELDS.index(field)] = "other"
    is_quiet = field in ("memory", "cpu", "last_in", "last_out")
    assert changes(before, after) is not is_quiet
    assert not changes(before, list(before))


def with_(**values: object) -> list[Any]:
    found = row(FULL, 1.0)
    for key, value in values.items():
        found[FIELDS.index(key)] = value
    return found


@pytest.mark.parametrize(
    ("before", "after", "is_worth_it"),
    [
        ({"memory": 20_000_000}, {"memory": 20_000_000}, False),
        ({"memory": 20_000_000}, {"memory": 20_500_000}, False),
        ({"memory": 20_000_000}, {"memory": 20_600_000}, True),
        ({"memory": 20_000_000}, {"memory": 19_400_000}, True),
        ({"memory": None}, {"memory": 100_000}, True),
        ({"memory": 100_000}, {"memory": None}, True),
        ({"memory": 0}, {"memory": 100_000}, True),
        ({"cpu": 1.0}, {"cpu": 1.4}, False),
        ({"cpu": 1.0}, {"cpu": 1.5}, True),
        ({"cpu": None}, {"cpu": 0.0}, True),
        ({"last_in": 1}, {"last_in": 2}, True),
        ({"last_out": None}, {"last_out": 2}, True),
        ({"cpu": 1.0, "memory": 20_000_000}, {"cpu": 1.1, "memory": 30_000_000}, True),
    ],
)
def test_what_hardly_differs_is_not_worth_a_row(
    before: dict[str, object], after: dict[str, object], *, is_worth_it: bool
) -> None:
    assert drifts(with_(**before), with_(**after)) is is_worth_it


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_no_row_is_far_from_what_is(before: int, after: int) -> None:
    if not drifts(with_(memory=before), with_(memory=after)):
        assert abs(after - before) < MEMORY_PART * before
    assert drifts(with_(cpu=before), with_(cpu=after)) is (abs(before - after) >= CPU_STEP)


@pytest.mark.parametrize(
    ("text", "moment"),
    [(None, None), ("2027-01-15T08:00:00.999Z", AT), ("nonsense", None), ("", None)],
)
def test_times_are_whole_seconds(text: str | None, moment: int | None) -> None:
    assert rows.seconds(text) == moment


def test_all_states_have_a_place_in_the_order() -> None:
    assert sorted(WORST_FIRST) == sorted(State)
    assert len(set(WORST_FIRST)) == len(WORST_FIRST)
