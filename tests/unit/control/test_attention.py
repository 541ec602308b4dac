"""Who needs a person: the worst thing, in the words of `explain`, with one thing to do."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State
from orchestrator.control.attention import (
    KINDS,
    KINDS_OF_CONSUMERS,
    Need,
    need,
    of_consumer,
    stays,
)
from orchestrator.control.outlook import outlook
from orchestrator.control.view import AccountView

AT = "2026-11-22T10:00:00Z"
COMMANDS = {"repair", "start", "explain", "qr", "outbox", "messages"}

VIEWS = [
    AccountView(
        "support",
        state.value,
        kind=kind,
        next_retry_at=at,
        held=held,
        pid=pid,
        qr_path=None if pid is None else "/qr/support.png",
        restricted=what,
        restricted_until=until,
        phone_unlinks_at=unlinks,
        lost=lost,
    )
    for state, kind, (at, held), pid, (what, until), unlinks, lost in itertools.product(
        State,
        [None, *Kind],
        [(None, False), (AT, False), (AT, True)],
        [None, 7],
        [(None, None), ("new", AT), ("all", None)],
        [None, AT],
        [0, 1, 12],
    )
]
"""All that can be shown of an account together, and more."""


def account(state: State, **other: Any) -> AccountView:  # noqa: ANN401 - fields of several types
    return AccountView("support", state.value, **other)


def wanted(found: Need | None) -> tuple[str, str] | None:
    return None if found is None else (found.kind, found.action)


def test_every_need_has_a_known_kind_a_sentence_and_a_command_that_exists() -> None:
    assert len(VIEWS) > 10_000
    seen = set()
    for view in VIEWS:
        found = need(view)
        if found is None:
            continue
        seen.add(found.kind)
        assert found.action in ("repair", "start", "scan", "wait", "look")
        assert found.sentence
        assert found.command not in found.sentence, "the command stands beside the sentence"
        assert "support" not in found.sentence
        match = re.fullmatch(r"orchestrator (\w+) support", found.command)
        assert found.command == "pip install --upgrade neonize" or (match and match[1] in COMMANDS)
    assert seen == set(KINDS)


def test_the_sentence_is_one_that_explain_says() -> None:
    at_rest = (State.STARTING, State.CONNECTING, State.RECONNECTING, State.BACKOFF, State.REPLACED)
    for view in VIEWS:
        found = need(view)
        if found is None or (view.state in at_rest and found.kind in ("restricted", "phone_offline")):
            continue  # `explain` says first when such an account connects again
        if found.kind == "code" and view.pid is None:
            continue  # there is no code yet: `explain` says how to see one
        assert any(found.sentence in advice for advice in outlook(view).advice), (view, found)


@pytest.mark.parametrize("view", [account(one) for one in (State.STOPPED, State.DISABLED)])
def test_what_an_operator_wanted_needs_nobody(view: AccountView) -> None:
    for kind, lost in itertools.product([None, *Kind], [0, 3]):
        there = view._replace(kind=kind, lost=lost, restricted="all", phone_unlinks_at=AT)
        assert need(there) is None


def test_what_mends_itself_needs_nobody() -> None:
    for view in VIEWS:
        if view.lost or view.restricted or view.phone_unlinks_at:
            continue
        if view.state in (State.STARTING, State.CONNECTING, State.RECONNECTING, State.BACKOFF):
            assert need(view) is None
        if view.state == State.CONNECTED or (view.state == State.REPLACED and view.next_retry_at):
            assert need(view) is None


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (account(State.BANNED), ("banned", "repair")),
        (account(State.BANNED, next_retry_at=AT), ("banned", "wait")),
        (account(State.FAILED, kind=Kind.LOGGED_OUT), ("logged_out", "repair")),
        (account(State.FAILED, kind=Kind.PAIRING_EXPIRED), ("failed", "repair")),
        (account(State.FAILED, kind=Kind.WRONG_PHONE), ("failed", "repair")),
        (account(State.FAILED, kind=Kind.DUPLICATE), ("failed", "repair")),
        (account(State.FAILED, kind=Kind.CONFIG), ("failed", "look")),
        (account(State.FAILED, kind=Kind.CRASH), ("failed", "look")),
        (account(State.FAILED), ("failed", "start")),
        (account(State.OUTDATED, held=True, next_retry_at=AT), ("outdated", "look")),
        (account(State.REPLACED), ("replaced", "start")),
        (account(State.PAIRING, pid=7), ("code", "scan")),
        (account(State.PAIRING), ("code", "scan")),
        (account(State.PAIRING, kind=Kind.LOGGED_OUT), ("code", "scan")),
        (account(State.CONNECTED, restricted="new"), ("restricted", "wait")),
        (account(State.BACKOFF, restricted="new", kind=Kind.NETWORK), ("restricted", "wait")),
        (account(State.CONNECTED, phone_unlinks_at=AT), ("phone_offline", "look")),
        (account(State.CONNECTED, lost=1), ("lost", "look")),
        (account(State.CONNECTED, reason="outgrown"), None),
    ],
)
def test_what_there_is_to_do(view: AccountView, expected: tuple[str, str] | None) -> None:
    assert wanted(need(view)) == expected


def test_the_worst_thing_is_told() -> None:
    bad = {"restricted": "all", "phone_unlinks_at": AT, "lost": 3}
    assert wanted(need(account(State.FAILED, **bad))) == ("failed", "start")
    assert wanted(need(account(State.CONNECTED, **bad))) == ("restricted", "wait")
    del bad["restricted"]
    assert wanted(need(account(State.CONNECTED, **bad))) == ("phone_offline", "look")
    del bad["phone_unlinks_at"]
    found = need(account(State.CONNECTED, **bad))
    assert wanted(found) == ("lost", "look")
    assert found is not None
    assert found.sentence.startswith("3 messages were lost")


def test_a_word_for_a_state_of_another_version_needs_nobody() -> None:
    assert need(AccountView("support", "dreaming", kind="bored")) is None
    assert not stays(AccountView("support", "dreaming"))


def test_who_stays_as_it_is_until_somebody_acts() -> None:
    for view in VIEWS:
        expected = view.state in (State.PAIRING, State.FAILED) or (
            view.state in (State.BANNED, State.REPLACED) and view.next_retry_at is None
        )
        assert stays(view) == expected, view


# Consumers


@pytest.mark.parametrize(
    ("status", "expected", "command"),
    [
        ({"state": "active", "dead": 0}, None, ""),
        ({"state": "paused", "dead": 0}, None, ""),
        ({"state": "waiting", "dead": 0}, None, ""),
        ({"state": "disabled", "dead": 3}, ("disabled", "resume"), "orchestrator webhook resume crm"),
        ({"state": "failing", "dead": 3}, ("failing", "test"), "orchestrator webhook test crm"),
        ({"state": "active", "dead": 3}, ("dead_letters", "replay"), "orchestrator webhook replay crm"),
        ({"state": "paused", "dead": 1}, ("dead_letters", "replay"), "orchestrator webhook replay crm"),
    ],
)
def test_what_a_webhook_needs(status: dict[str, Any], expected: tuple[str, str] | None, command: str) -> None:
    found = of_consumer({"name": "crm", "kind": "webhook", **status})
    assert wanted(found) == expected
    assert found is None or found.command == command


@pytest.mark.parametrize(
    ("status", "expected", "command"),
    [
        ({"state": "disabled"}, ("disabled", "resume"), "orchestrator consumer resume crm"),
        ({"state": "failing"}, ("failing", "look"), "orchestrator consumer list crm"),
        ({"state": "active", "dead": 1}, ("dead_letters", "replay"), "orchestrator consumer replay crm"),
    ],
)
def test_a_bot_has_no_receiver_that_could_be_tested(
    status: dict[str, Any], expected: tuple[str, str], command: str
) -> None:
    found = of_consumer({"name": "crm", "kind": "bot", **status})
    assert found is not None
    assert (wanted(found), found.command) == (expected, command)


@given(
    st.dictionaries(
        st.sampled_from(["name", "kind", "state", "dead"]),
        st.none()
        | st.text()
        | st.integers()
        | st.booleans()
        | st.sampled_from(["webhook", "bot", "pull", "failing", "disabled", "active"])
        | st.lists(st.integers()),
    )
)
def test_figures_of_another_version_raise_nothing(status: dict[str, Any]) -> None:
    found = of_consumer(status)
    assert found is None or found.kind in KINDS_OF_CONSUMERS
    if status.get("state") not in ("failing", "disabled"):
        dead = status.get("dead")
        assert (found is not None) == (type(dead) is int and dead > 0)
