"""Who asks, and what that one may do."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from orchestrator.access import exposure, scopes
from orchestrator.access.scopes import SCOPES, Principal
from orchestrator.consumers.settings import Systemd, Tcp, Unix
from orchestrator.errors import ConfigError


@pytest.mark.parametrize("given", [one for size in range(5) for one in combinations(SCOPES, size)])
def test_an_asker_may_do_what_its_scopes_say_and_nothing_else(given: tuple[scopes.Scope, ...]) -> None:
    asker = Principal("token", "x", frozenset(given))
    assert [one for one in SCOPES if asker.may(one)] == list(given)


def test_an_asker_sees_the_accounts_that_were_named_or_all() -> None:
    assert scopes.LOCAL.sees("support")
    assert scopes.bot("echo", None).sees("support")
    assert scopes.bot("echo", ["support"]).sees("support")
    assert not scopes.bot("echo", ["support"]).sees("sales")
    assert not scopes.bot("echo", []).sees("support")


def test_a_bot_operates_nothing() -> None:
    assert not scopes.bot("echo", None).may("operate")
    assert not scopes.bot("echo", None).may("metrics")


def test_scopes_have_an_order_and_no_others_are_taken() -> None:
    assert scopes.in_order(scopes.as_scopes(["metrics", "read", "read"])) == ("read", "metrics")
    with pytest.raises(ValueError, match=r"^admin$"):
        scopes.as_scopes(["read", "admin"])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1", "192.168.1.1"])
def test_an_address_that_others_can_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="orchestrator token add") as caught:
        exposure.check([Tcp("127.0.0.1", 1), Tcp(host, 8080)], 0)
    assert caught.value.key == "token_needed"
    exposure.check([Tcp(host, 8080)], 1)


def test_addresses_of_this_machine_alone_need_none() -> None:
    exposure.check([Tcp("127.0.0.1", 1), Tcp("::1", 1), Tcp("127.3.2.1", 1), Unix(Path("/x")), Systemd()], 0)
