"""Accounts whose sessions and messages are in Postgres: a real service, the real neonize, a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.postgres import FreshDatabase, PostgresServer, serving
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with serving(fsync="on") as server:
        yield server


@pytest.fixture
def base(server: PostgresServer) -> FreshDatabase:
    fresh = server.make_database()
    fresh.ready()
    return fresh


@pytest.fixture
def service(sandbox: SandboxProcess, number: str, base: FreshDatabase, tmp_path: Path) -> Iterator[Service]:
    accounts = {"support": {"messages": {"allow": "*"}, "sending": {"pacing": "off"}}}
    store = {"dsn_file": str(base.dsn_file(tmp_path))}
    with Service(tmp_path, sandbox, accounts, store=store) as service:
        service.pair("support", number)
        yield service


def texts(service: Service) -> list[str]:
    lines = service.command("messages", "support", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert len({event["id"] for event in events}) == len(events)
    return [one["data"]["text"] for one in events if one["type"] == "message.received"]


def seqs(service: Service) -> list[int]:
    lines = service.command("messages", "support", "--json").stdout.splitlines()
    return [json.loads(line)["seq"] for line in lines]


def received(ada: Contact) -> list[str]:
    return [one["text"] for one in ada.sandbox.inbox(ada.number)]


def rows(service: Service) -> list[tuple[int, str]]:
    lines = service.command("outbox", "support", "--all", "--json").stdout.splitlines()
    return [(one["row"], one["state"]) for one in map(json.loads, lines)]


def test_what_is_written_and_sent_is_in_the_database_and_nowhere_else(
    service: Service, ada: Contact, number: str
) -> None:
    first = ada.write(number, "xylophone")
    wait_until(lambda: texts(service) == ["xylophone"], "the message is not stored")
    service.command("send", "support", "--to", ada.number, "glockenspiel", "--wait", "30")
    assert rows(service) == [(1, "sent")]
    assert "glockenspiel" in received(ada)
    assert f"{first} in the inbox of support" in service.command("trace", first).stdout
    assert "glockenspiel" in service.command("outbox", "support", "--row", "1").stdout
    for file in service.state.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"xylophone" not in data, file
            assert b"glockenspiel" not in data, file
    assert not list(service.state.rglob("*.sqlite3"))


def test_messages_come_once_over_restarts_kills_and_a_database_that_stops(
    service: Service, server: PostgresServer, ada: Contact, number: str
) -> None:
    wanted: list[str] = []

    def write(count: int) -> None:
        for _ in range(count):
            wanted.append(f"message {len(wanted)}")
            ada.write(number, wanted[-1])

    def all_there() -> bool:
        return sorted(texts(service)) == sorted(wanted)

    write(3)
    service.command("restart", "support")
    write(3)
    wait_until(all_there, "not all is there after a restart")
    service.stop()
    write(3)
    service.start()
    service.wait_for_state("support", "connected")
    wait_until(all_there, "not all is there after a stop")
    service.kill()
    write(3)
    service.start()
    service.wait_for_state("support", "connected")
    wait_until(all_there, "not all is there after a kill")
    server.stop()
    service.wait_until_away(number)
    write(3)
    server.start()
    service.wait_for_state("support", "connected")
    wait_until(all_there, "not all is there after the database was away")
    server.crash()
    service.wait_until_away(number)
    write(3)
    server.start()
    service.wait_for_state("support", "connected")
    wait_until(all_there, "not all is there after the database has crashed")
    assert texts(service) == wanted, "in order, and each once"


def test_a_message_to_be_sent_waits_in_the_database(
    service: Service, server: PostgresServer, ada: Contact
) -> None:
    service.command("stop", "support")
    key = ("--key", "one")
    for _ in range(2):
        service.command("send", "support", "--to", ada.number, "later", "--queue", *key)
    assert rows(service) == [(1, "queued")], "the same key is the same message"
    service.stop()
    server.restart()
    service.start()
    service.command("start", "support")
    wait_until(lambda: rows(service) == [(1, "sent")], "the message is not sent")
    assert received(ada).count("later") == 1


def test_removed_messages_come_back_with_the_session_and_numbers_go_on(
    service: Service, ada: Contact, number: str
) -> None:
    ada.write(number, "before")
    wait_until(lambda: texts(service) == ["before"], "the message is not stored")
    first = seqs(service)
    service.command("remove", "support", "--yes")
    service.command("add", "support")
    service.command("set", "support", "messages.allow=*")
    service.pair("support", number)
    assert texts(service) == []
    ada.write(number, "between")
    wait_until(lambda: texts(service) == ["between"], "the message is not stored")
    assert min(seqs(service)) > max(first), "no identifier comes twice"
