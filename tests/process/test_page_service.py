"""What the page asks of the service: strips, settings in force, the maintenance switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.http_api import RunningApi, running
from support.http_client import in_loop

from orchestrator.errors import OrchestratorError

STRIPS = {"begin": 300, "slot": 300, "slots": 288, "accounts": {"support": [[0, "connected"]]}}
SETTINGS = {"settings": [{"key": "backoff.base", "value": "3s", "origin": "built-in"}]}
SWITCH = {"on": True, "since": 1_795_000_000, "waiting": 3}
FACTS: dict[str, Any] = {
    "service": {}, "library": {"canary": None}, "ways": [], "breakers": [], "maintenance": SWITCH,
}  # fmt: skip


def asked(api: RunningApi, command: str) -> list[dict[str, Any]]:
    return [arguments for _, one, arguments in api.services.parent.asked if one == command]


@in_loop
async def test_who_may_read_gets_strips_and_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        api.services.parent.answers |= {"strips": STRIPS, "settings": SETTINGS}
        token = api.token("reader", ["read"])
        assert (await api.ask("GET", "/page/strips", token=token)).json() == STRIPS
        assert (await api.ask("GET", "/page/strips?hours=168", token=token)).status == 200
        assert [one["hours"] for one in asked(api, "strips")] == [24, 168]
        answer = await api.ask("GET", "/page/accounts/support/settings", token=token)
        assert answer.json() == SETTINGS
        assert asked(api, "settings") == [{"name": "support"}]


@pytest.mark.parametrize("hours", ["0", "169", "-1", "1.5", "x", "", "1e3", "99999999999999999999"])
@in_loop
async def test_no_other_time_is_asked_for(tmp_path: Path, hours: str) -> None:
    async with running(tmp_path) as api:
        token = api.token("reader", ["read"])
        assert (await api.ask("GET", f"/page/strips?hours={hours}", token=token)).status == 400
        assert asked(api, "strips") == []


@in_loop
async def test_an_account_that_is_not_to_be_seen_has_no_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("reader", ["read"], ["other"])
        answer = await api.ask("GET", "/page/accounts/support/settings", token=token)
        assert (answer.status, answer.json()["key"]) == (404, "no_such_account")
        assert asked(api, "settings") == []


@in_loop
async def test_an_operator_turns_maintenance_on_and_the_facts_say_so_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        parent = api.services.parent
        parent.answers |= {"maintenance": SWITCH, "facts": FACTS}
        facts = api.api.shared.facts
        token = api.token("operator", ["read", "operate"])
        principal = api.services.tokens.check(token, 0.0)
        assert principal is not None
        for _ in range(3):
            await facts.of(principal)
        assert len(asked(api, "facts")) == 1
        answer = await api.ask("POST", "/page/maintenance", token=token, body={"on": True})
        assert (answer.status, answer.json()) == (200, SWITCH)
        assert asked(api, "maintenance") == [{"on": True}]
        await facts.of(principal)
        assert len(asked(api, "facts")) == 2


@in_loop
async def test_nobody_else_turns_it_on(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        parent = api.services.parent
        assert (await api.ask("POST", "/page/maintenance", body={"on": True})).status == 401
        token = api.token("reader", ["read", "send"])
        answer = await api.ask("POST", "/page/maintenance", token=token, body={"on": True})
        assert (answer.status, answer.json()["key"]) == (403, "scope_missing")
        assert asked(api, "maintenance") == []
        # The service says who sees too few accounts for that.
        parent.errors["maintenance"] = OrchestratorError("not for you", key="permission_denied")
        token = api.token("narrow", ["operate"], ["support"])
        answer = await api.ask("POST", "/page/maintenance", token=token, body={"on": True})
        assert (answer.status, answer.json()["key"]) == (403, "permission_denied")


@pytest.mark.parametrize("body", [{}, {"on": 1}, {"on": "yes"}, {"on": None}, {"on": True, "off": 1}, []])
@in_loop
async def test_the_switch_is_on_or_off(tmp_path: Path, body: Any) -> None:  # noqa: ANN401
    async with running(tmp_path) as api:
        token = api.token("operator", ["operate"])
        answer = await api.ask("POST", "/page/maintenance", token=token, body=body)
        assert (answer.status, answer.json()["key"]) == (400, "bad_request")
        assert asked(api, "maintenance") == []


@in_loop
async def test_they_are_the_pages_own(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("reader", ["read"])
        paths = (await api.ask("GET", "/api/openapi.json", token=token)).json()["paths"]
        assert not [path for path in paths if path.startswith("/page")]
