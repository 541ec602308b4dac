"""Accounts whose sessions and messages are in Postgres: a real service, the real neonize, a real server."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.ports import free_port
from support.postgres import FreshDatabase, PostgresServer, serving
from support.service import PATIENCE, Service

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


def ask(port: int, token: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(data) if data[:1] == b"{" else data


def test_the_gateway_shows_messages_of_the_database_and_knows_no_password(
    sandbox: SandboxProcess, ada: Contact, number: str, base: FreshDatabase, tmp_path: Path
) -> None:
    port = free_port()
    settings: dict[str, Any] = {
        "store": {"dsn_file": str(base.dsn_file(tmp_path))},
        "http": {"listen": f"127.0.0.1:{port}"},
    }
    accounts = {"support": {"messages": {"allow": "*"}, "sending": {"pacing": "off"}}}
    with Service(tmp_path, sandbox, accounts, **settings) as service:
        service.pair("support", number)
        added = service.command("token", "add", "all", "--scope", "read,send,operate")
        token = added.stdout.split()[-1]

        def get(path: str) -> Any:  # noqa: ANN401 - JSON
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, found = ask(port, token, "GET", path)
                return found if status == 200 else None

        wait_until(lambda: get("/api/accounts") is not None, "the gateway does not answer")
        pull = "/api/consumers/archive"
        wait_until(lambda: get(f"{pull}/events") is not None, "nobody can pull")
        asked = ada.write(number, "one")
        file = ada.sandbox.send_media(ada.number, number, "document", b"data" * 999, mime="text/plain")
        ada.write(number, "two")
        seen: dict[str, Any] = {}

        def fetch() -> bool:
            batch = get(f"{pull}/events?wait=5")
            for event in batch["events"] if batch else ():
                if event["type"] == "message.received":
                    seen[event["data"]["id"]] = event["data"]
            if batch:
                ask(port, token, "POST", f"{pull}/ack", {"cursor": batch["cursor"]})
            return len(seen) == 3

        wait_until(fetch, "not all was pulled")
        assert list(seen)[:2] == [asked, file], "in order"
        media = seen[file]["media"]["id"]
        wait_until(lambda: get(f"/api/media/{media}") == b"data" * 999, "the file is not fetched")
        chat = seen[asked]["chat"]["id"]
        body = {"to": chat, "text": "an answer", "reply_to": asked}
        status, row = ask(port, token, "POST", "/api/accounts/support/messages?wait=60", body)
        assert (status, row["state"]) == (200, "sent")
        assert ada.gets(row["id"])["text"] == "an answer"
        rows = get("/api/accounts/support/outbox?state=sent")
        assert [one["row"] for one in rows["rows"]] == [row["row"]]
        for process in service.processes():
            if "orchestrator.gateway" in " ".join(process.cmdline()):
                about = Path("/proc") / str(process.pid)
                assert base.password.encode() not in (about / "environ").read_bytes()
