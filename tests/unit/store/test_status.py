"""What was kept of the accounts by an earlier service, whatever is in it."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import ESCAPES

from orchestrator.accounts.child import Parked
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.past import CAUSES, RESTS, Cause, Past, Rest
from orchestrator.accounts.phone_watch import WARN_DAYS, PhoneWatch
from orchestrator.accounts.states import State
from orchestrator.cli import inspect, table
from orchestrator.cli.offline import view
from orchestrator.control.outlook import without_service
from orchestrator.control.view import AccountView
from orchestrator.errors import StateError
from orchestrator.store import plain, status
from orchestrator.store.status import Kept
from orchestrator.store.summary import Summary

NOW = 1_800_000_000.0
SHOWN = AccountView(
    "a", "failed", reason="why", since="2026-11-22T10:00:00Z", last_seen_at="2026-11-22T10:00:00Z"
)
FINE = {
    "stopped": False,
    "parked": {"state": "banned", "reason": "why", "until": NOW, "count": 1},
    "shown": SHOWN.as_json(),
}
STRANGE = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e300", "-1", "1" + "0" * 5000, "1." + "1" * 5000),
    *("true", "[]", "{}", "[[1]]", '""', json.dumps(ESCAPES), '"\\ud800"', json.dumps("x" * 70_000), "null"),
    '"9999-99-99T99:99:99Z"',
    '"0001-01-01T00:00:00"',
]
VALUES = st.sampled_from(STRANGE) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
).map(json.dumps)
MARK = "the mark"


def written(folder: Path, values: dict[str, Any], value: str) -> Path:
    """Write a file in which that JSON stands where the mark is."""
    document = {"clock": {"wall": NOW, "uptime": 1.0, "boot": ""}, "accounts": {"a": values, "b": FINE}}
    path = folder / "status.json"
    path.write_text(json.dumps(document).replace(json.dumps(MARK), value))
    path.chmod(0o600)
    return path


def check(kept: dict[str, Kept]) -> None:
    """Show, and write again, what was read."""
    assert kept["b"].parked is not None
    assert kept["b"].parked.state is State.BANNED
    shown = [view._describe(Summary(name, True, None), kept[name]) for name in ("a", "b")]
    table.make(shown, now=NOW)
    for one in shown:
        outlook = without_service(one, "run").as_json()
        inspect._explained({"account": one.as_json(), "outlook": outlook, "timeline": []}, NOW)
        json.dumps(one.as_json(), allow_nan=False)
    json.dumps(status._written(status.renamed(kept["a"], "a", "c")), allow_nan=False)


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("field", ["until", "reason", "count"])
def test_a_state_that_must_last(tmp_path: Path, field: str, value: str) -> None:
    kept = status.load(written(tmp_path, FINE | {"parked": {**FINE["parked"], field: MARK}}, value))  # type: ignore[dict-item]
    parked = kept["a"].parked
    assert parked is not None
    assert parked.state is State.BANNED, "a ban is never forgotten"
    assert parked.until is None or 0 <= parked.until <= 2**33
    assert 0 <= parked.count < 10**18
    assert parked.reason is None or (parked.reason.isprintable() and len(parked.reason) <= 1000)
    check(kept)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@given(st.sampled_from([*AccountView._fields, "stray"]), VALUES)
def test_what_was_shown(folder: Path, field: str, value: str) -> None:
    kept = status.load(written(folder, FINE | {"shown": {**SHOWN.as_json(), field: MARK}}, value))
    check(kept)


@given(st.sampled_from(["parked", "shown", "stopped"]), VALUES)
def test_other_forms_are_refused_or_read(folder: Path, field: str, value: str) -> None:
    with contextlib.suppress(StateError):
        check(status.load(written(folder, FINE | {field: MARK}, value)))


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("field", ["wall", "uptime", "boot"])
def test_clocks_that_say_nothing(tmp_path: Path, field: str, value: str) -> None:
    path = written(tmp_path, FINE, "")
    document = json.loads(path.read_text())
    document["clock"][field] = MARK
    path.write_text(json.dumps(document).replace(json.dumps(MARK), value))
    kept = status.load(path)
    assert kept["a"].parked is not None
    check(kept)


def test_names_that_are_none_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"accounts": {"../../etc/passwd": FINE, "\x1b[2J": FINE, "a": FINE}}))
    assert list(status.load(path)) == ["a"]


def test_one_account_that_cannot_be_written_keeps_nobody_from_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    bad = Kept(stopped=True, parked=Parked(State.BANNED, "why", math.inf), shown={"since": object()})
    status.save(path, {"bad": bad, "good": Kept(stopped=True, parked=Parked(State.BANNED, "why", NOW))})
    kept = status.load(path)
    assert kept["bad"] == Kept(stopped=True)
    assert kept["good"].parked is not None


@given(VALUES)
def test_what_is_read_can_be_written(value: str) -> None:
    json.dumps(plain.loads(value), allow_nan=False)
    assert (
        plain.unix_time(plain.loads(value)) is None
        or 0 <= (plain.unix_time(plain.loads(value)) or 0) <= 2**33
    )
    assert plain.count(plain.loads(value)) >= 0


@pytest.mark.parametrize("watch", [PhoneWatch(), PhoneWatch(NOW, NOW - 5, 10), PhoneWatch(None, NOW)])
def test_when_a_phone_was_seen_is_remembered(tmp_path: Path, watch: PhoneWatch) -> None:
    path = tmp_path / "status.json"
    status.save(path, {"a": Kept(watch=watch), "b": Kept()})
    assert [kept.watch for kept in status.load(path).values()] == [watch, PhoneWatch()]


PAST = Past(
    Cause(Kind.LOGGED_OUT, "the phone unlinked this device", NOW - 60),
    Rest(State.FAILED, Kind.PAIRING_EXPIRED, NOW - 5),
)


@pytest.mark.parametrize("past", [Past(), PAST, replace(PAST, cause=None), replace(PAST, rest=None)])
def test_the_past_is_remembered(tmp_path: Path, past: Past) -> None:
    path = tmp_path / "status.json"
    status.save(path, {"a": Kept(past=past), "b": Kept()})
    assert [kept.past for kept in status.load(path).values()] == [past, Past()]


def test_an_account_that_an_earlier_version_has_written_has_no_past(tmp_path: Path) -> None:
    assert not {"cause", "rest"} & set(FINE)
    assert status.load(written(tmp_path, FINE, ""))["a"].past == Past()


def test_another_name_is_in_the_cause_too() -> None:
    cause = Cause(Kind.LOGGED_OUT, "run `orchestrator qr old`", NOW)
    found = status.renamed(Kept(past=Past(cause)), "old", "new").past.cause
    assert found == Cause(Kind.LOGGED_OUT, "run `orchestrator qr new`", NOW)


@given(st.sampled_from(["cause", "rest", "cause.kind", "cause.reason", "cause.at",
                        "rest.state", "rest.kind", "rest.since"]), VALUES)  # fmt: skip
def test_a_strange_past_is_read_as_a_past(folder: Path, key: str, value: str) -> None:
    about = status._written(Kept(past=PAST))
    values: dict[str, Any] = {**FINE, "cause": dict(about["cause"]), "rest": dict(about["rest"])}
    outer, _, inner = key.partition(".")
    (values[outer] if inner else values)[inner or outer] = MARK
    kept = status.load(written(folder, values, value))
    check(kept)
    cause, rest = kept["a"].past.cause, kept["a"].past.rest
    assert cause is None or (cause.kind in CAUSES and 0 <= cause.at <= 2**33)
    assert cause is None or cause.reason is None or (cause.reason.isprintable() and len(cause.reason) <= 1000)
    assert rest is None or (rest.state in RESTS and 0 <= rest.since <= 2**33)


@given(st.sampled_from(["phone_watch", "seen_at", "since", "told"]), VALUES)
def test_a_strange_watch_is_read_as_a_watch(folder: Path, key: str, value: str) -> None:
    watch = {"seen_at": NOW, "since": NOW, "told": 10}
    values = {**FINE, "phone_watch": MARK if key == "phone_watch" else {**watch, key: MARK}}
    kept = status.load(written(folder, values, value))
    check(kept)
    watch_read = kept["a"].watch
    assert watch_read.told in (0, 10, 12)
    assert all(time is None or 0 <= time <= 2**33 for time in (watch_read.seen_at, watch_read.since))


@given(
    st.sampled_from(["stopped", "parked", "shown", "linked_phone", "phone_watch", "cause", "rest"]), VALUES
)
def test_a_row_of_an_account_is_understood_or_is_damaged(key: str, value: str) -> None:
    text = json.dumps({**FINE, key: MARK}).replace(json.dumps(MARK), value)
    with contextlib.suppress(ValueError):
        again = status.of_text(text, "{}")
        assert status.of_text(status.as_text("a", again), "{}").stopped == again.stopped
    with contextlib.suppress(ValueError):
        status.of_text(value, value)


def test_a_row_of_an_account_has_what_the_file_has() -> None:
    ban = Parked(State.BANNED, "why", NOW, 2)
    past = Past(Cause(Kind.LOGGED_OUT, "by its phone", NOW), None)
    kept = Kept(
        stopped=True, parked=ban, shown=SHOWN.as_json(), watch=PhoneWatch(NOW, NOW, WARN_DAYS[0]), past=past
    )
    assert status.of_text(status.as_text("a", kept), "{}") == kept


def test_a_row_with_a_bug_has_at_least_what_an_operator_wishes(caplog: pytest.LogCaptureFixture) -> None:
    text = status.as_text("a", Kept(stopped=True, shown={"x": math.nan}))
    assert status.of_text(text, "{}") == Kept(stopped=True)
    assert "a bug in the service" in caplog.text
