"""One account is logged out: it alone is paired again, by itself, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.service import Json, Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


@dataclass(frozen=True)
class Fleet:
    service: Service
    numbers: dict[str, str]
    sandbox: SandboxProcess

    def links(self, *names: str) -> dict[str, tuple[int, int]]:
        """Return each account's process and connection."""
        pids = {account["name"]: account["pid"] for account in self.service.accounts()}
        return {name: (pids[name], self.service.connection(self.numbers[name])) for name in names}


@pytest.fixture(scope="module")
def fleet(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Fleet]:
    numbers = {name: make_number() for name in ("one", "two", "three")}
    with Service(make_folder(), shared_sandbox, list(numbers)) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield Fleet(service, numbers, shared_sandbox)


def assert_paired_again(fleet: Fleet, name: str, pid: int, known: int) -> Json:
    """See that the account shows a fresh code, and link it by that; return the entry about its end."""
    service = fleet.service
    entry = service.wait_for_entry(name, after=known, kind="logged_out")
    assert entry["code"] == 401
    assert entry["to"] == "backoff"
    assert "WhatsApp logged the account out (401)" in entry["reason"]
    png = service.wait_for_code(name, after=pid)
    place = service.quarantined(name, "logged_out")[-1]
    assert place.is_closed()
    assert service.about(name)["last_exit"]["kind"] == "logged_out"
    fleet.sandbox.client.scan(fleet.numbers[name], png=png)
    account = service.wait_for_state(name, "connected")
    assert account["pid"] != pid
    (address,) = service.kept.devices(name)
    assert address.startswith(f"{fleet.numbers[name][1:]}:")
    return entry


def test_a_phone_that_unlinks_its_device_costs_nobody_else_anything(fleet: Fleet) -> None:
    service = fleet.service
    before = fleet.links("one", "two")
    since = fleet.sandbox.client.last_event()
    pid, known = service.child("three"), len(service.timeline("three"))
    quarantined = service.quarantined("three")
    fleet.sandbox.client.unlink(fleet.numbers["three"])
    entry = assert_paired_again(fleet, "three", pid, known)
    assert entry["from"] == "connected"
    assert fleet.links("one", "two") == before
    assert len(service.quarantined("three")) == len(quarantined) + 1
    closed = [event for event in fleet.sandbox.client.events(since) if event["event"] == "closed"]
    touched = {event["phone"] for event in closed if "phone" in event}
    assert touched & set(fleet.numbers.values()) == {fleet.numbers["three"]}
    for name in ("one", "two"):
        assert service.timeline(name)[-1]["to"] == "connected"


def test_an_account_that_was_unlinked_while_it_was_away_is_paired_again(fleet: Fleet) -> None:
    service = fleet.service
    before = fleet.links("one", "three")
    service.command("stop", "two")
    known = len(service.timeline("two"))
    fleet.sandbox.client.unlink(fleet.numbers["two"])
    assert service.command("start", "two").stdout.startswith("two: ")
    entry = assert_paired_again(fleet, "two", 0, known)
    assert entry["from"] == "connecting"
    assert fleet.links("one", "three") == before


def test_the_session_in_quarantine_is_the_one_that_was_used(fleet: Fleet) -> None:
    service = fleet.service
    session = service.kept.identity("one")
    pid, known = service.child("one"), len(service.timeline("one"))
    fleet.sandbox.client.unlink(fleet.numbers["one"])
    assert_paired_again(fleet, "one", pid, known)
    place = service.quarantined("one", "logged_out")[-1]
    assert place.identity() == session
    assert len(place.devices()) <= 1
    assert service.kept.identity("one") != session
