"""Who may ask the service for what, over the gateway's port: every command for every sort of asker."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access import scopes
from orchestrator.access.scopes import GATEWAY, SCOPES, Principal
from orchestrator.errors import NoSuchAccount, OrchestratorError
from orchestrator.service.companions import roles
from orchestrator.service.companions.roles import RULES
from orchestrator.service.control import overview, sending
from orchestrator.service.control.arguments import BadRequest
from orchestrator.service.control.commands import Commands

TOKENS = {
    "reader": Principal("token", "reader", frozenset({"read"})),
    "operator": Principal("token", "operator", frozenset({"operate"}), frozenset({"a"})),
}
BOTS = {"echo": frozenset({"a"}), "all": None}


def who(asker: object, *, local: bool = True) -> Principal:
    return roles.who(asker, TOKENS.get, BOTS, local=local)


def may(principal: Principal, command: str, name: str = "a") -> str:
    """Return what becomes of a request: a key of an error, or nothing."""
    try:
        roles.check(command, {"name": name} if RULES[command].one else {"names": [name]}, principal)
    except OrchestratorError as error:
        return error.key
    return ""


def test_an_asker_is_one_that_there_is() -> None:
    assert who({"token": "reader"}) is TOKENS["reader"]
    assert who({"bot": "echo"}) == scopes.bot("echo", {"a"})
    assert who({"local": True}) is scopes.LOCAL
    assert who({"gateway": True}) is GATEWAY
    for gone in ({"token": "removed"}, {"bot": "other"}):
        with pytest.raises(OrchestratorError) as error:
            who(gone)
        assert error.value.key == "permission_denied"
    with pytest.raises(OrchestratorError):
        who({"local": True}, local=False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["token", "bot", "local", "x"]), inner),
    max_leaves=5,
)


@given(anything)
def test_whatever_the_gateway_says_somebody_is_found_or_refused(asker: Any) -> None:  # noqa: ANN401
    with contextlib.suppress(OrchestratorError):
        assert who(asker).kind != "gateway"


@pytest.mark.parametrize("command", RULES)
def test_each_command_needs_its_scope_and_no_other(command: str) -> None:
    rule = RULES[command]
    for scope in SCOPES:
        holder = Principal("token", "t", frozenset({scope}))
        assert may(holder, command) == ("" if scope == rule.scope else "permission_denied")
    assert may(Principal("token", "t", frozenset()), command) == "permission_denied"
    assert may(GATEWAY, command) == ("" if rule.for_gateway else "permission_denied")
    if rule.scope is not None:
        # The scope comes first: who lacks it does not learn which accounts there are.
        narrow = Principal("token", "t", frozenset({rule.scope}), frozenset({"b"}))
        assert may(narrow, command) == ("permission_denied" if rule.everything else "no_such_account")
        assert may(narrow, command, "b") == ("permission_denied" if rule.everything else "")
        assert may(Principal("token", "t", frozenset(), frozenset({"b"})), command) == "permission_denied"


def test_a_bot_reads_and_sends_and_nothing_else() -> None:
    bot = who({"bot": "echo"})
    allowed = {command for command in RULES if not may(bot, command)}
    assert allowed == {
        "list",
        "watch",
        "explain",
        "media",
        "look",
        "act",
        "send",
        "take_back",
        "settings",
        "strips",
    }


def test_the_gateway_itself_changes_nothing() -> None:
    assert {command for command in RULES if not may(GATEWAY, command)} == {
        "ping", "companions", "list", "watch", "history", "taken", "facts", "read_messages",
        "consumer_terms", "consumer_take_up", "consumer_taken_up", "consumer_follow", "consumer_stand",
        "consumer_pull",
    }  # fmt: skip


def test_what_would_give_the_service_away_is_not_on_the_port() -> None:
    for command in ("reload", "rename", "restore", "trial", "qr", "attach", "consumers"):
        with pytest.raises(OrchestratorError) as error:
            roles.rule_of(command)
        assert error.value.key == "unknown_command"


def test_an_account_that_is_not_one_of_the_askers_does_not_exist() -> None:
    narrow = Principal("token", "t", frozenset({"read"}), frozenset({"a"}))
    texts = set()
    for name in ("b", "nobody"):
        with pytest.raises(NoSuchAccount) as error:
            roles.check("explain", {"name": name}, narrow)
        texts.add(str(error.value).replace(name, "NAME"))
    assert len(texts) == 1


@given(anything)
def test_names_are_names(value: Any) -> None:  # noqa: ANN401
    for arguments in ({"name": value}, {"names": value}):
        try:
            found = roles.named(arguments)
        except BadRequest:
            continue
        assert all(isinstance(name, str) for name in found)


def test_commands_of_the_port_exist() -> None:
    known = {
        "code",
        "add",
        "history",
        "taken",
        "companions",
        "watching",
        "read_messages",
    }  # these are the port's own
    kinds = (Commands, sending._Commands, overview._Commands)
    names = {name.removeprefix("_") for kind in kinds for name in vars(kind)}
    names |= {"ping"} | {command for command in RULES if command.startswith("consumer_")}
    assert set(RULES) - known <= names
