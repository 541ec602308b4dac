"""The metrics: what they say, that their names keep to Prometheus's conventions, and who may see which."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from support.promlint import families, lint

from orchestrator.accounts.states import State
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning
from orchestrator.gateway import metrics
from orchestrator.gateway.feed import Rendered
from orchestrator.gateway.metrics import BUCKETS, Metrics, Times

DOCS = Path(__file__).parents[3] / "docs"
NOW = 1_800_000_000.0
VIEWS = {
    "support": AccountView(
        "support",
        "connected",
        since="2027-01-15T07:00:00Z",
        reason="a needle",
        phone="+49…77",
        pid=17,
        restarts=2,
        last_seen_at="2027-01-15T07:59:00Z",
        phone_seen_at="2027-01-14T08:00:00Z",
        phone_unlinks_at="2027-01-28T08:00:00Z",
        qr_path="/needle",
        memory_bytes=15_000_000,
        cpu_s=1.5,
        open_files=23,
        threads=19,
        stored=7,
        waiting=3,
        refused=4,
        lost=1,
        queued=5,
        restricted="new",
        same_phone=("sales",),
    ),
    "sales": AccountView("sales", "failed", kind="logged_out"),
    "off": AccountView("off", "disabled"),
}
FIGURES: list[dict[str, Any]] = [
    {
        "name": "crm", "kind": "webhook", "state": "failing", "accounts": ["support"], "in_flight": 1,
        "waiting": 12, "retrying": 2, "dead": 3, "delivered": 40, "failed": 5, "expired": 1,
        "oldest_at": "2027-01-15T07:50:00Z", "why": "needle",
    },
    {
        "name": "echo", "kind": "bot", "state": "active", "accounts": None, "in_flight": 0, "waiting": 0,
        "retrying": 0, "dead": 0, "delivered": 9, "failed": 0, "expired": 0, "oldest_at": None,
    },
]  # fmt: skip
ABOUT: dict[str, Any] = {
    "companions": {
        "gateway": {"name": "gateway", "state": "running", "restarts": 1},
        "bots": [
            {"name": "bot echo", "state": "running", "restarts": 4},
            {"name": "bot b", "state": "waiting"},
        ],
        "attached": [],
    },
    "shard": {
        "shard": "host-a", "lease_age_seconds": 1.25, "accounts": 2, "capacity": 100, "shards": 3,
        "waiting": 4, "waiting_seconds": 7.5, "claimed": 9, "taken_over": 5, "renewals_missed": 6,
        "leases_lost": 1,
    },
    "store": {"up": True, "outages": 2},
}  # fmt: skip


def rendered(
    sees: frozenset[str] | None = None,
    *,
    views: Mapping[str, AccountView] = VIEWS,
    figures: Iterable[dict[str, Any]] = FIGURES,
    about: dict[str, Any] | None = ABOUT,
    times: Times | None = None,
) -> str:
    async def ask() -> dict[str, Any]:
        if about is None:
            raise NotRunning("it does not")
        return about

    if times is None:
        times = Times(lambda: NOW)
        times.watch({"crm": _Endpoint(Delivered()), "echo": _Endpoint(Delivered())})
        times.delivered("crm", NOW - 0.02)
    sends = {("support", "sent"): 8, ("support", "queued"): 2, ("sales", "failed"): 1}
    made = Metrics(lambda: views, lambda: figures, times, ask, lambda: sends, lambda: NOW)
    return asyncio.run(made.render(sees)).decode()


def values(text: str) -> dict[str, float]:
    """Return all series of an answer."""
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in families(text)
        for sample in family.samples
    }


class _Endpoint:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def deliver(self, attempt: Attempt) -> Outcome:
        assert attempt.number == 1
        return self.outcome


def test_names_keep_to_the_conventions_of_prometheus() -> None:
    assert lint(rendered()) == []
    assert lint(rendered(views={}, figures=[], about=None)) == []


def test_the_linter_finds_what_is_wrong() -> None:
    for text, problem in [
        ("# TYPE a_total gauge\na_total 1\n", "_total of something"),
        ("# HELP a_count It counts.\n# TYPE a_count gauge\na_count 1\n", "histogram"),
        ("# HELP aB It.\n# TYPE aB gauge\naB 1\n", "another form"),
        ("# HELP a_gauge It.\n# TYPE a_gauge gauge\na_gauge 1\n", "the type"),
        ("# HELP a_minutes It.\n# TYPE a_minutes gauge\na_minutes 1\n", "base unit"),
        ("# HELP a_ms It.\n# TYPE a_ms gauge\na_ms 1\n", "abbreviated"),
        ("# HELP a_seconds_x It.\n# TYPE a_seconds_x gauge\na_seconds_x 1\n", "before the end"),
        ("# TYPE a gauge\na 1\n", "no help"),
        ("# HELP a It.\n# TYPE a counter\na 1\n", "without _total"),
    ]:
        assert any(problem in one for one in lint(text)), (text, lint(text))


def test_every_number_of_an_account_is_there() -> None:
    found = values(rendered())
    assert found["orchestrator_account_up/support"] == 1
    assert found["orchestrator_account_up/sales"] == 0
    assert found["orchestrator_account_outbox_waiting/support"] == 5
    assert "orchestrator_account_outbox_waiting/sales" not in found
    assert found["orchestrator_account_restricted/support"] == 1
    assert found["orchestrator_account_restricted/sales"] == 0
    assert found["orchestrator_account_phone_shared/support"] == 1
    assert found["orchestrator_account_phone_shared/sales"] == 0
    only = values(rendered(frozenset({"support"})))
    assert only["orchestrator_account_phone_shared/support"] == 0, "nobody hears of accounts of others"
    assert found["orchestrator_account_sends_total/support/sent"] == 8
    assert found["orchestrator_account_sends_total/sales/failed"] == 1
    assert "orchestrator_account_sends_total/sales/failed" not in values(rendered(frozenset({"support"})))
    assert found["orchestrator_account_state/support/connected"] == 1
    assert "orchestrator_account_state/support/failed" not in found
    assert [found[f"orchestrator_account_wanted/{name}"] for name in VIEWS] == [1, 1, 0]
    assert [found[f"orchestrator_account_needs_person/{name}"] for name in VIEWS] == [0, 1, 0]
    assert found["orchestrator_account_restarts_total/support"] == 2
    assert found["orchestrator_account_memory_bytes/support"] == 15_000_000
    assert found["orchestrator_account_cpu_seconds_total/support"] == 1.5
    assert found["orchestrator_account_open_files/support"] == 23
    assert found["orchestrator_account_messages_stored/support"] == 7
    assert found["orchestrator_account_messages_lost/support"] == 1
    assert found["orchestrator_account_messages_refused_total/support"] == 4
    assert found["orchestrator_account_phone_offline/support"] == 1
    assert found["orchestrator_account_last_seen_timestamp_seconds/support"] == NOW - 60
    assert "orchestrator_account_memory_bytes/sales" not in found


def test_every_number_of_a_consumer_is_there() -> None:
    found = values(rendered())
    assert found["orchestrator_consumer_info/crm/webhook"] == 1
    assert found["orchestrator_events_delivered_total/crm"] == 40
    assert found["orchestrator_delivery_failures_total/crm"] == 5
    assert found["orchestrator_events_expired_total/crm"] == 1
    assert found["orchestrator_events_waiting/crm"] == 12
    assert found["orchestrator_events_retrying/crm"] == 2
    assert found["orchestrator_deliveries_in_flight/crm"] == 1
    assert found["orchestrator_dead_letters/crm"] == 3
    assert found["orchestrator_oldest_event_waiting_seconds/crm"] == 600
    assert found["orchestrator_oldest_event_waiting_seconds/echo"] == 0
    assert [found[f"orchestrator_consumer_breaker_open/{name}"] for name in ("crm", "echo")] == [1, 0]
    assert found["orchestrator_delivery_seconds_bucket/crm/0.01"] == 0
    assert found["orchestrator_delivery_seconds_bucket/crm/0.025"] == 1
    assert found["orchestrator_delivery_seconds_bucket/crm/+Inf"] == 1
    assert found["orchestrator_delivery_seconds_count/crm"] == 1


def test_processes() -> None:
    found = values(rendered())
    assert found["orchestrator_service_up"] == 1
    assert found["orchestrator_gateway_start_time_seconds"] == NOW
    assert found["orchestrator_gateway_memory_bytes"] > 1_000_000
    assert found["orchestrator_gateway_restarts_total"] == 1
    assert (found["orchestrator_bot_up/echo"], found["orchestrator_bot_up/b"]) == (1, 0)
    assert found["orchestrator_bot_restarts_total/echo"] == 4
    gone = values(rendered(about=None))
    assert gone["orchestrator_service_up"] == 0
    assert values(rendered(about={"companions": None}))["orchestrator_service_up"] == 1
    assert gone["orchestrator_account_up/support"] == 1


def test_a_shard_and_its_database() -> None:
    found = values(rendered())
    told = {name.removeprefix("orchestrator_"): value for name, value in found.items() if "host-a" in name}
    assert told == {
        "shard_lease_held/host-a": 1,
        "shard_lease_age_seconds/host-a": 1.25,
        "shard_accounts/host-a": 2,
        "shard_capacity_accounts/host-a": 100,
        "cluster_shards/host-a": 3,
        "cluster_accounts_waiting/host-a": 4,
        "cluster_account_waiting_seconds/host-a": 7.5,
        "shard_accounts_claimed_total/host-a": 9,
        "shard_accounts_taken_over_total/host-a": 5,
        "shard_renewals_missed_total/host-a": 6,
        "shard_leases_lost_total/host-a": 1,
    }
    assert (found["orchestrator_store_up"], found["orchestrator_store_outages_total"]) == (1, 2)


def test_a_shard_without_a_lease_and_a_service_that_says_nothing_of_one() -> None:
    about = {"shard": {**ABOUT["shard"], "lease_age_seconds": None}, "store": {"up": False, "outages": 3}}
    found = values(rendered(about=about))
    assert found["orchestrator_shard_lease_held/host-a"] == 0
    assert "orchestrator_shard_lease_age_seconds/host-a" not in found
    assert found["orchestrator_store_up"] == 0
    for nothing in ({}, {"shard": None, "store": None}, {"shard": {"shard": 7}, "store": "no"}):
        text = rendered(about=nothing)
        assert "shard" not in text
        assert "store" not in re.sub("messages_stored|was stored|the storing", "", text)
    alone = rendered(frozenset({"support"}))
    assert "host-a" not in alone
    assert "orchestrator_store" not in alone


def test_no_text_and_no_number_of_anybody_is_in_it() -> None:
    text = rendered()
    assert not any(one in text for one in ("needle", "+49", "…"))
    labels = {label for family in families(text) for sample in family.samples for label in sample.labels}
    assert labels == {"account", "state", "consumer", "kind", "bot", "shard", "le"}


def test_who_sees_some_accounts_sees_nothing_of_others() -> None:
    found = values(rendered(frozenset({"support"})))
    names = {name.split("/")[1] for name in found}
    assert names == {"support", "crm"}
    assert not any(name.startswith(("orchestrator_gateway", "orchestrator_bot")) for name in found)
    assert values(rendered(frozenset({"sales"}))).keys() == {
        name for name in values(rendered()) if name.split("/")[1:2] == ["sales"]
    }


@given(st.text(), st.sampled_from([*State, "a state to come", ""]))
@settings(max_examples=25)
def test_whatever_the_service_tells_of_an_account_can_be_written(since: str, state: str) -> None:
    view = AccountView("a", state, since=since)
    text = rendered(views={"a": view})
    assert lint(text) == []
    assert len([name for name in values(text) if name.startswith("orchestrator_account_state/a/")]) == 1


@pytest.mark.parametrize("figure", [{}, {"waiting": None}, {"delivered": "many"}, {"oldest_at": "soon"}])
def test_figures_that_lack_something_spoil_nothing(figure: dict[str, Any]) -> None:
    text = rendered(figures=[{"name": "crm", **figure}])
    assert lint(text) == []
    assert values(text)["orchestrator_consumer_info/crm/None"] == 1


def test_of_pulls_only_some_names_are_told() -> None:
    pulls = [{"name": f"p{number}", "kind": "pull", "accounts": None, "waiting": 0} for number in range(200)]
    found = values(rendered(figures=[*FIGURES, *pulls]))
    assert len([name for name in found if name.endswith("/pull")]) == metrics.MAX_PULLS
    assert not [name for name in found if "/p1" in name and not name.endswith("/pull")]
    assert found["orchestrator_events_waiting/crm"] == 12


def test_only_deliveries_are_measured_and_those_of_gone_consumers_forgotten() -> None:
    event = Rendered("evt_a_1", "message.received", "a", "messages", 1, "", NOW - 3, b"{}")
    times = Times(lambda: NOW)
    watched = times.watch({"crm": _Endpoint(Delivered()), "shop": _Endpoint(Failed("no"))})
    for one in watched.values():
        asyncio.run(one.deliver(Attempt(event, 1)))
    assert times.by_consumer["crm"].buckets()[BUCKETS.index(5.0)] == ("5.0", 1)
    assert times.by_consumer["shop"].buckets()[-1] == ("+Inf", 0)
    times.watch({"crm": _Endpoint(Delivered())})
    assert (times.by_consumer["crm"].buckets()[-1][1], "shop" in times.by_consumer) == (1, False)
    asyncio.run(watched["shop"].deliver(Attempt(event, 1)))
    times.delivered("shop", NOW)
    assert "shop" not in times.by_consumer


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    times = Times(lambda: NOW)
    times.watch({"crm": _Endpoint(Delivered())})
    times.delivered("crm", NOW + 100)
    assert times.by_consumer["crm"].total == 0


def test_the_memory_of_this_process_is_told() -> None:
    assert 1_000_000 < (metrics.own_memory() or 0) < 10**10


# The dashboard and the alerts


def known_names() -> set[str]:
    """Return the names of all series that there can be."""
    found: set[str] = set()
    for family in families(rendered()):
        found |= series_of(family)
    return found


def series_of(family: Metric) -> set[str]:
    match family.type:
        case "counter":
            return {f"{family.name}_total"}
        case "histogram":
            return {f"{family.name}_{end}" for end in ("bucket", "count", "sum")}
        case _:
            return {family.name}


def labels_of() -> dict[str, set[str]]:
    return {sample.name: {*sample.labels} for family in families(rendered()) for sample in family.samples}


def check(expression: str) -> set[str]:
    """Check an expression, and return the metrics that it uses."""
    names = set(re.findall(r"\borchestrator_[a-z_]+", expression))
    assert names, expression
    assert names <= known_names(), names - known_names()
    for name, labels in re.findall(r"\b(orchestrator_[a-z_]+)\{([^}]*)\}", expression):
        used = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", labels))
        assert used <= labels_of()[name], (name, used)
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing), expression
    for name in names:
        if name.endswith("_total"):
            assert re.search(rf"(rate|increase)\({name}", expression), f"{name}: a counter without a rate"
    return names


def test_the_dashboard_shows_only_what_there_is() -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= board.keys()
    panels = board["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for one in panels:
        place = one["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, one["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if one["type"] == "row":
            continue
        assert one["title"]
        assert one["description"].endswith("."), one["title"]
        assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert one["targets"]
        refs = [target["refId"] for target in one["targets"]]
        assert len(set(refs)) == len(refs)
        for target in one["targets"]:
            check(target["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            assert label in labels_of()[name]
    used = {f"${name}" for name in re.findall(r"\$\{?(\w+)", json.dumps(panels))}
    assert used <= {"$datasource", "$account", "$consumer", "$__rate_interval"}


def test_the_alerts_are_about_what_there_is() -> None:
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    assert list(rules) == ["groups"]
    names, used = [], set()
    for group in rules["groups"]:
        assert group.keys() == {"name", "rules"}
        for rule in group["rules"]:
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch("Orchestrator[A-Za-z]+", rule["alert"])
            assert re.fullmatch("[0-9]+[mh]", rule.get("for", "5m"))
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert rule["annotations"].keys() == {"summary", "description"}
            metrics_of = check(rule["expr"])
            used |= metrics_of
            labels = set().union(*(labels_of()[name] for name in metrics_of))
            shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
            assert shown <= labels, rule["alert"]
            names.append(rule["alert"])
    assert len(set(names)) == len(names)
    assert used >= {
        "orchestrator_account_up",
        "orchestrator_account_needs_person",
        "orchestrator_consumer_breaker_open",
        "orchestrator_dead_letters",
        "orchestrator_account_messages_lost",
        "orchestrator_account_phone_offline",
    }


def test_the_page_lists_every_metric_with_its_labels() -> None:
    page = (DOCS / "metrics.md").read_text()
    for family in families(rendered()):
        (name,) = {one.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
                   for one in series_of(family)}  # fmt: skip
        assert f"| `{name}` | {family.type} |" in page, name
    listed = set(re.findall(r"^\| `(orchestrator_\w+)` \|", page, re.MULTILINE))
    assert len(listed) == len(families(rendered()))
