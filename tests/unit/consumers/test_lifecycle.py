"""What the history of an account says to consumers."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State
from orchestrator.consumers import notices
from orchestrator.consumers.event_types import EVENT_TYPES
from orchestrator.consumers.lifecycle import render, type_of
from orchestrator.messages.rendering import form
from orchestrator.store.timeline import TimelineEntry

VALIDATOR = jsonschema.Draft202012Validator(form.schema())
S = State


def entry(before: State, after: State, kind: Kind | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    made = TimelineEntry(1_795_354_074.125, before, after, kind=kind, **more)
    return {"n": 17, **made.as_json()}


@pytest.mark.parametrize(
    ("before", "after", "kind", "expected"),
    [
        (S.CONNECTING, S.CONNECTED, None, "account.connected"),
        (S.RECONNECTING, S.CONNECTED, None, "account.connected"),
        (S.CONNECTED, S.RECONNECTING, Kind.NETWORK, "account.disconnected"),
        (S.CONNECTED, S.BACKOFF, Kind.CRASH, "account.disconnected"),
        (S.CONNECTED, S.STOPPED, None, "account.disconnected"),
        (S.CONNECTED, S.STARTING, None, "account.disconnected"),
        (S.RECONNECTING, S.BACKOFF, Kind.NETWORK, None),
        (S.STARTING, S.PAIRING, None, "account.code"),
        (S.CONNECTING, S.PAIRING, None, "account.code"),
        (S.PAIRING, S.CONNECTING, None, "account.paired"),
        (S.STARTING, S.CONNECTING, None, None),
        (S.PAIRING, S.BACKOFF, Kind.PAIRING_EXPIRED, None),
        (S.CONNECTED, S.BACKOFF, Kind.LOGGED_OUT, "account.logged_out"),
        (S.RECONNECTING, S.BACKOFF, Kind.LOGGED_OUT, "account.logged_out"),
        (S.CONNECTED, S.FAILED, Kind.LOGGED_OUT, "account.failed"),
        (S.CONNECTED, S.BANNED, Kind.TEMPORARY_BAN, "account.banned"),
        (S.CONNECTING, S.BANNED, Kind.LOCKED, "account.banned"),
        (S.CONNECTED, S.REPLACED, Kind.REPLACED, "account.replaced"),
        (S.CONNECTING, S.OUTDATED, Kind.OUTDATED, "account.outdated"),
        (S.PAIRING, S.FAILED, Kind.WRONG_PHONE, "account.failed"),
        (S.BACKOFF, S.STARTING, None, None),
        (S.DISABLED, S.STARTING, None, None),
        (S.CONNECTED, S.CONNECTED, None, None),
        (S.OUTDATED, S.OUTDATED, Kind.OUTDATED, None),
    ],
)
def test_a_change_of_state_is_one_event_or_none(
    before: State, after: State, kind: Kind | None, expected: str | None
) -> None:
    assert type_of(entry(before, after, kind)) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("phone_offline", "account.phone_offline"),
        ("phone_seen", None),
        ("restricted", "account.restricted"),
        ("something else", None),
    ],
)
def test_what_happens_besides_is_an_event_where_consumers_know_it(event: str, expected: str | None) -> None:
    assert type_of(entry(S.CONNECTED, S.CONNECTED, event=event)) == expected


def test_an_event_has_the_promised_form() -> None:
    found = render(
        "support",
        entry(
            S.CONNECTED, S.BANNED, Kind.TEMPORARY_BAN,
            reason="banned: 4915123456701@s.whatsapp.net", code=402, attempt=2, delay=3605.1,
        ),
    )  # fmt: skip
    assert found is not None
    assert (found.id, found.type, found.number) == ("evt_support_account_17", "account.banned", 17)
    assert found.at == pytest.approx(1_795_354_074.125)
    assert json.loads(found.body) == {
        "id": "evt_support_account_17",
        "type": "account.banned",
        "timestamp": "2026-11-22T13:27:54.125Z",
        "account": "support",
        "seq": None,
        "data": {
            "state": "banned",
            "previous": "connected",
            "kind": "temporary_ban",
            "reason": "banned: +49…01@s.whatsapp.net",
            "whatsapp_code": 402,
            "attempt": 2,
            "retry_in": 3605.1,
        },
    }
    VALIDATOR.validate(json.loads(found.body))


def test_all_entries_of_the_service_have_the_promised_form() -> None:
    stories: list[tuple[State, State, Kind | None]] = [
        (before, after, None) for before in State for after in State
    ]
    stories += [(S.CONNECTED, after, kind) for after in State for kind in Kind]
    for before, after, kind in stories:
        found = render("a", entry(before, after, kind, reason="why \N{SNOWMAN}", delay=1.0))
        if found is not None:
            assert found.body.isascii()
            VALIDATOR.validate(json.loads(found.body))


def test_an_entry_without_a_number_is_no_event() -> None:
    for number in (None, 0, -1, "17", 1.5, True):
        assert render("a", entry(S.CONNECTING, S.CONNECTED) | {"n": number}) is None


ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([1]) | st.just({})
)
FIELDS = st.sampled_from(
    ["n", "at", "from", "to", "kind", "reason", "code", "attempt", "delay", "event", "version", "x"]
)


@given(st.dictionaries(FIELDS, ANYTHING))
def test_an_entry_of_anything_harms_nobody(changes: dict[str, Any]) -> None:
    found = render("a", entry(S.CONNECTING, S.CONNECTED) | changes)
    if found is not None:
        assert found.type in EVENT_TYPES
        assert len(found.body) < 10_000
        json.loads(found.body)


def test_events_about_no_account_have_the_promised_form() -> None:
    for notice in (notices.disabled("crm", "it answered 410", 1.5), notices.test("crm", 1.5)):
        VALIDATOR.validate(json.loads(notice.body))


def test_the_types_that_can_be_chosen_are_those_that_there_are() -> None:
    assert set(EVENT_TYPES) == {*form.DATA, *form.ACCOUNT_DATA, *form.NOTICE_DATA}
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)
