"""A database that is far away, or slow: nothing of what an account holds is lost when it stops."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.long_way import LongWay
from support.postgres import FreshDatabase
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

SECONDS = 0.2
"""For an answer of the database. To decrypt a message takes several."""
COUNT = 6


@pytest.fixture
def way(fresh: FreshDatabase) -> Iterator[LongWay]:
    fresh.ready()
    with LongWay(fresh.server.port) as way:
        yield way


@pytest.fixture
def service(
    sandbox: SandboxProcess, number: str, fresh: FreshDatabase, way: LongWay, tmp_path: Path
) -> Iterator[Service]:
    dsn = tmp_path / "dsn"
    dsn.write_text(fresh.dsn().replace(f":{fresh.server.port}/", f":{way.port}/") + "\n")
    dsn.chmod(0o400)
    accounts = {"support": {"messages": {"allow": "*"}}}
    with Service(tmp_path, sandbox, accounts, store={"dsn_file": str(dsn)}) as service:
        service.pair("support", number)
        yield service


def kept(service: Service) -> list[tuple[str, str]]:
    lines = service.command("messages", "support", "--json").stdout.splitlines()
    events = map(json.loads, lines)
    return [(one["type"], one["data"].get("text", "")) for one in events]


def test_what_is_being_decrypted_is_handed_over_before_the_end(
    service: Service, way: LongWay, ada: Contact, number: str
) -> None:
    ada.write(number, "number 0")
    wait_until(lambda: bool(kept(service)), "the first message is not stored")
    for round_ in range(2):
        way.seconds = SECONDS
        for one in range(COUNT):
            ada.write(number, f"number {1 + round_ * COUNT + one}")
        # The order itself may not be written in time: the service says so.
        assert "stopped" in service.command("stop", "support", check=False).stdout
        way.seconds = 0.0
        service.command("start", "support")
        expected = [("message.received", f"number {one}") for one in range(1 + (round_ + 1) * COUNT)]
        wait_until(lambda: len(kept(service)) >= len(expected), "messages are missing")  # noqa: B023
        assert sorted(kept(service)) == sorted(expected)


def test_what_is_being_decrypted_when_the_database_is_cut_off_comes_again(
    service: Service, way: LongWay, ada: Contact, number: str
) -> None:
    """The library confirms to WhatsApp what it could not decrypt, whatever the reason was."""
    ada.write(number, "number 0")
    wait_until(lambda: bool(kept(service)), "the first message is not stored")
    for round_ in range(1, 4):
        way.seconds = 30.0
        ada.write(number, f"number {round_}")
        time.sleep(1.0)  # by then, the library has asked the database
        way.seconds = 0.0
        way.cut()
        service.wait_for_state("support", "connected")
        wait_until(lambda: (len(kept(service))) > round_, "the message is lost")  # noqa: B023
    assert sorted(kept(service)) == [("message.received", f"number {one}") for one in range(4)]
