"""The facts: asked of the service only while somebody looks, and shown as far as each may know of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.fleet import asynchronous

from orchestrator.access.scopes import GATEWAY, Principal
from orchestrator.errors import NotRunning
from orchestrator.gateway.page.facts import REFRESH_SECONDS, Facts, seen_by

ALL = Principal("token", "t", frozenset({"read"}))
FACTS: dict[str, Any] = {
    "service": {"version": "1", "started_at": 5},
    "library": {"version": "0.5.2", "refused": True, "accounts": 2, "probe_at": None, "canary": "a"},
    "ways": [
        {
            "way": "direct", "state": "works", "probe_at": None, "canary": None,
            "members": [["a", "connected"], ["b", "waiting"], ["c", ""]],
        },
        {
            "way": "socks5://p:1", "state": "lost", "probe_at": 9, "canary": "x",
            "members": [["x", "waiting"], ["y", "waiting"]],
        },
    ],
    "starting": {"queued": 1, "dialing": 1, "parallel": 2},
    "disk": {"free": 1, "total": 2, "low": False},
    "memory": {"accounts": 3, "free": 4, "total": 5},
    "breakers": [
        {"what": "version", "probe_at": None, "canary": "a"},
        {"what": "socks5://p:1", "probe_at": 9, "canary": "x"},
    ],
    "maintenance": {"on": False, "since": None, "waiting": 0},
}  # fmt: skip


class Parent:
    """A service that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, asker: Principal, command: str, /) -> dict[str, Any]:
        assert (asker, command) == (GATEWAY, "facts")
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {**FACTS, "service": {"version": "1", "started_at": self.asked}}


@asynchronous
async def test_the_service_is_asked_at_most_every_ten_seconds_and_only_if_somebody_looks() -> None:
    parent, now = Parent(), [0.0]
    facts = Facts(parent, lambda: now[0])
    await asyncio.sleep(0)
    assert parent.asked == 0
    for seconds in range(100):
        now[0] = float(seconds)
        await facts.of(ALL)
    assert parent.asked == 100 / REFRESH_SECONDS
    now[0] = 500.0
    assert parent.asked == 100 / REFRESH_SECONDS


@asynchronous
async def test_many_who_ask_at_once_are_one_for_the_service() -> None:
    parent = Parent()
    parent.gate.clear()
    facts = Facts(parent)
    tasks = [asyncio.ensure_future(facts.of(ALL)) for _ in range(50)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    parent.gate.set()
    found = await asyncio.gather(*tasks[1:])
    assert parent.asked == 1
    assert {one["service"]["started_at"] for one in found} == {1}


@asynchronous
async def test_a_change_is_seen_at_once() -> None:
    parent = Parent()
    facts = Facts(parent)
    await facts.of(ALL)
    facts.forget()
    assert (await facts.of(ALL))["service"]["started_at"] == 2


@asynchronous
async def test_an_error_is_not_kept() -> None:
    parent = Parent()
    facts = Facts(parent)
    parent.error = NotRunning("gone")
    for _ in range(2):
        with pytest.raises(NotRunning):
            await facts.of(ALL)
    parent.error = None
    assert (await facts.of(ALL))["service"]["started_at"] == 3


def test_who_sees_all_accounts_sees_all_ways() -> None:
    seen = seen_by(ALL, FACTS)
    direct, proxy = seen["ways"]
    assert (direct["accounts"], direct["connected"], direct["waiting"]) == (3, 1, 1)
    assert (proxy["accounts"], proxy["connected"], proxy["waiting"], proxy["canary"]) == (2, 0, 2, "x")
    assert "members" not in direct
    assert [one["what"] for one in seen["breakers"]] == ["version", "socks5://p:1"]
    for part in ("library", "starting", "memory", "maintenance"):
        assert seen[part] == FACTS[part]


def test_who_sees_some_accounts_learns_nothing_of_the_others() -> None:
    seen = seen_by(Principal("token", "t", frozenset({"read"}), frozenset({"b", "c"})), FACTS)
    (way,) = seen["ways"]
    assert (way["way"], way["accounts"], way["connected"], way["waiting"]) == ("direct", 2, 0, 1)
    assert seen["library"]["canary"] is None
    assert seen["breakers"] == [{"what": "version", "probe_at": None, "canary": None}]
    # Nor how many there are, how many start or wait, or how much they use.
    assert seen["library"]["accounts"] is None
    assert seen["starting"] == {"queued": None, "dialing": None, "parallel": 2}
    assert seen["memory"] == {"accounts": None, "free": 4, "total": 5}
    assert seen["maintenance"] == {"on": False, "since": None, "waiting": None}
    text = json.dumps(seen)
    assert "socks5" not in text
    assert '"x"' not in text
    assert '"a"' not in text
