"""The host loses its network: one account tries for all, and all come back when it gets through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from support.cli import bare
from support.service import Accounts, Json, Service

from orchestrator.accounts.breaker import NETWORK_PROBE_FIRST
from orchestrator.sandbox.process import SandboxProcess

NAMES = ("a", "b", "c", "d", "e", "f")
SLOW = {"base": "1h", "max": "1h"}
"""The accounts' own back-off, which is not to be waited for."""


def opened(sandbox: SandboxProcess, since: int) -> list[str]:
    """Return who has dialled, by its proxy's user; there are other tests' bots in the sandbox."""
    events = sandbox.client.events(since)
    return [one["user"] for one in events if one["event"] == "opened" and one.get("user") in NAMES]


def unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def seconds_until(at: str) -> float:
    return unix(at) - time.time()


def test_most_accounts_lose_the_network_together(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    accounts: Mapping[str, Json] = {
        name: {"proxy": f"http://{name}:secret-word@127.0.0.1:{sandbox.port}"} for name in NAMES
    }
    with Service(folder, sandbox, start=False) as service:
        service.configure(accounts, start={"parallel": 2, "spread": "0s"}, defaults={"backoff": SLOW})
        service.start()
        for name in NAMES:
            service.pair(name, make_number())
        service.command("stop", "--all")
        sessions = {name: service.kept.session(name) for name in NAMES}
        known = {name: len(service.timeline(name)) for name in NAMES}
        faults = [sandbox.client.fault("refuse", f"proxy:{name}") for name in NAMES]
        since, logged = sandbox.client.last_event(), len(service.log)
        service.command("start", "--all")

        def all_held(found: Accounts) -> bool:
            return all(one["state"] == "backoff" and one["held"] for one in found.values())

        # Commands take their time on a busy machine: it is fifteen seconds until the first probe, and thirty
        # until the second.
        service.until(all_held, "all wait for one of them")
        held, first = service.accounts(), opened(sandbox, since)
        # Two at a time: the third failure tells, and a fourth may have been under way.
        assert 3 <= len(first) <= 4
        assert len(set(first)) == len(first)
        for one in held:
            assert "most accounts lost the network together" in one["reason"]
            assert (one["pid"], one["kind"]) == (None, "network")
            assert 0 < seconds_until(one["next_retry_at"]) <= NETWORK_PROBE_FIRST
        told = [
            line for line in service.log[logged:] if "orchestrator.service.machines: most accounts" in line
        ]
        assert len(told) == 1

        # The probe: one account, when it was said, and then all wait twice as long.
        before = {one["name"]: one["next_retry_at"] for one in held}

        def later(found: Accounts) -> bool:
            return all_held(found) and all(
                one["next_retry_at"] and one["next_retry_at"] > before[name] for name, one in found.items()
            )

        service.until(later, "a probe has failed")
        held, dialled = service.accounts(), opened(sandbox, since)
        assert len(dialled) == len(first) + 1
        assert dialled[-1] not in first, "those that have not failed yet are the better probes"
        waiting = [seconds_until(one["next_retry_at"]) for one in held]
        assert all(NETWORK_PROBE_FIRST < seconds <= 2 * NETWORK_PROBE_FIRST + 1 for seconds in waiting)
        listed = {line.split()[0]: line for line in service.command("list").stdout.splitlines()}
        waits = next(name for name in NAMES if name not in dialled)
        explained = bare(service.command("explain", waits).stdout)
        for name in NAMES:
            assert " backoff " in listed[name]
            assert "lost the network together" in listed[name]
        assert "another account tests the network" in explained
        assert f"orchestrator start {waits}" in explained
        assert "orchestrator doctor" in explained
        entry = service.timeline(waits)[-1]
        assert (entry["from"], entry["to"], entry["kind"]) == ("starting", "backoff", "network")
        assert entry["others"] == 5
        assert ", in the same minute as 5 others" in explained
        assert {name: service.kept.session(name) for name in NAMES} == sessions

        # An operator knows that the network is back.
        for fault in faults:
            sandbox.client.clear_faults(fault["id"])
        service.command("start", "c")
        dialling = []

        def back(found: Accounts) -> bool:
            dialling.append([one["name"] for one in found.values() if dials(one)])
            return all(one["state"] == "connected" for one in found.values())

        service.until(back, "all are back")
        assert max(map(len, dialling)) <= 2
        assert opened(sandbox, since)[len(dialled)] == "c"
        assert sorted(opened(sandbox, since)[len(dialled) :]) == sorted(NAMES)
        assert any("the network is back" in line for line in service.log)
        through = [unix(one["at"]) for one in service.timeline("c") if one["to"] == "connected"][-1]
        for name in NAMES:
            assert not service.quarantined(name)
            # Nobody waits for a further probe: at once it is their turn.
            starting = [unix(one["at"]) for one in service.timeline(name) if one["to"] == "starting"][-1]
            assert starting < through + NETWORK_PROBE_FIRST
            entries = service.timeline(name)[known[name] :]
            assert [entry["to"] for entry in entries][-3:] == ["starting", "connecting", "connected"]
            assert len(entries) < 12


def dials(account: Json) -> bool:
    return account["state"] in ("starting", "connecting") and account["pid"] is not None
