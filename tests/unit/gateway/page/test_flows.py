"""The consumers, as the page shows them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.access.scopes import LOCAL, Principal
from orchestrator.consumers.outcomes import Attempt, Delivered, Outcome
from orchestrator.control.attention import of_consumer
from orchestrator.gateway.metrics import Times
from orchestrator.gateway.page.flows import FRESH_SECONDS, MOST, Flows

Json = dict[str, Any]
CRM: Json = {
    "name": "crm", "kind": "webhook", "state": "failing", "why": "refused", "accounts": ["support", "sales"],
    "waiting": 12, "oldest_at": "2027-01-15T08:00:00Z", "in_flight": 1, "retrying": 2, "dead": 3,
    "delivered": 40, "failed": 5, "expired": 1, "next_try_at": "2027-01-15T08:01:00Z",
}  # fmt: skip
NOW = 1_800_000_000.0


class Nowhere:
    async def deliver(self, attempt: Attempt) -> Outcome:
        assert attempt
        return Delivered()


class Place:
    def __init__(self, *consumers: Json) -> None:
        self.consumers = list(consumers)
        self.asked = 0
        self.now = 100.0
        self.times = Times(lambda: NOW, lambda: self.now)
        self.times.watch({one["name"]: Nowhere() for one in consumers if one["kind"] != "pull"})
        self.flows = Flows(self._status, self.times, lambda: self.now)

    def _status(self) -> list[Json]:
        self.asked += 1
        return self.consumers


def test_what_is_told_of_a_consumer() -> None:
    place = Place(CRM)
    for _ in range(20):
        place.times.delivered("crm", NOW - 0.2)
    place.times.failed("crm", "refused")
    place.now += 10
    (found,) = place.flows.seen_by(LOCAL)
    assert 200 <= found.pop("p95") <= 240
    assert found == {
        "name": "crm", "kind": "webhook", "state": "failing", "why": "refused", "waiting": 12,
        "oldest": int(NOW), "retrying": 2, "dead": 3, "rate": 20, "last_error": "refused",
        "last_error_at": int(NOW), "next_try_at": int(NOW) + 60, "need": list(of_consumer(CRM) or ()),
    }  # fmt: skip
    assert found["need"]


def test_of_pulls_and_of_those_without_deliveries_less_is_known() -> None:
    place = Place(CRM, {"name": "export", "kind": "pull", "state": "active", "accounts": None})
    crm, export = place.flows.seen_by(LOCAL)
    assert (crm["rate"], crm["p95"], crm["last_error"], crm["last_error_at"]) == (0, None, None, None)
    assert (export["rate"], export["p95"], export["waiting"], export["need"]) == (None, None, 0, None)


@pytest.mark.parametrize(
    ("sees", "names"),
    [
        (None, ["crm", "all"]),
        ({"support", "sales"}, ["crm"]),
        ({"support", "sales", "other"}, ["crm"]),
        ({"support"}, []),
        (set(), []),
    ],
)
def test_nobody_sees_consumers_of_accounts_of_others(sees: set[str] | None, names: list[str]) -> None:
    place = Place(CRM, {"name": "all", "kind": "bot", "state": "active", "accounts": None})
    who = Principal("token", "t", frozenset({"read"}), None if sees is None else frozenset(sees))
    assert [one["name"] for one in place.flows.seen_by(who)] == names


def test_many_who_look_are_one_for_the_dispatcher() -> None:
    place = Place(CRM)
    first = place.flows.seen_by(LOCAL)
    assert place.flows.seen_by(LOCAL) == first
    assert place.asked == 1
    place.consumers[0] = {**CRM, "waiting": 13}
    assert place.flows.seen_by(LOCAL) == first
    place.now += FRESH_SECONDS
    assert place.flows.seen_by(LOCAL)[0]["waiting"] == 13
    assert place.asked == 2


def test_pulls_without_end_are_not_told() -> None:
    plain = {"kind": "pull", "state": "active", "accounts": None}
    pulls = [{"name": f"a{number}", **plain} for number in range(999)]
    found = Place(*pulls, CRM).flows.seen_by(LOCAL)
    assert len(found) == MOST
    assert "crm" in {one["name"] for one in found}
