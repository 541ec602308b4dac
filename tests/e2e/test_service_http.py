"""The HTTP API of the real service, with sandbox phones, and with a gateway that is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.ports import free_port
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

Json = dict[str, Any]
NEEDLE = "xylophone"
ACCOUNTS: dict[str, Json] = {"open": {"messages": {"allow": "*"}}, "closed": {"enabled": False}}


class Api:
    """The API of a service, for one who has a token."""

    def __init__(self, service: Service, port: int, number: str) -> None:
        self.service = service
        self.port = port
        self.number = number
        self.token = ""

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(data) if b"{" in data[:1] else data

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        status, found = self.ask("GET", path)
        assert status == 200, found
        return found

    def post(self, path: str, body: object = None, **more: Any) -> Any:  # noqa: ANN401
        status, found = self.ask("POST", path, body, **more)
        assert status in (200, 201), found
        return found

    def received(self, text: str) -> Json:
        """Return the event of a text, waiting for it if need be."""
        found: list[Json] = []

        def look() -> bool:
            events = self.get("/api/accounts/open/messages")["events"]
            found[:] = [one for one in events if one["data"].get("text") == text]
            return bool(found)

        wait_until(look, f"{text} is not there")
        return found[0]


@pytest.fixture(scope="module")
def api(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Api]:
    port, number = free_port(), make_number()
    with Service(make_folder(), shared_sandbox, ACCOUNTS, http={"listen": f"127.0.0.1:{port}"}) as service:
        service.pair("open", number)
        api = Api(service, port, number)
        api.token = token(service, "all", "read,send,operate,metrics")
        wait_until(lambda: answers(api), "the gateway does not answer")
        yield api


def token(service: Service, name: str, scopes: str, *options: str) -> str:
    return service.command("token", "add", name, "--scope", scopes, *options).stdout.split()[-1]


def answers(api: Api) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return api.ask("GET", "/api/accounts")[0] == 200
    return False


def gateway(service: Service) -> psutil.Process:
    found: list[psutil.Process] = []

    def look() -> bool:
        with suppress(psutil.Error):
            children = psutil.Process(service.pid).children()
            found[:] = [one for one in children if "orchestrator.gateway" in " ".join(one.cmdline())]
        return len(found) == 1

    wait_until(look, "there is no gateway")
    return found[0]


def test_a_phone_is_read_and_answered(api: Api, ada: Contact) -> None:
    asked = ada.write(api.number, f"{NEEDLE} one")
    event = api.received(f"{NEEDLE} one")
    data = event["data"]
    assert (data["id"], data["sender"]["phone"], event["id"]) == (
        asked,
        ada.number,
        f"evt_open_{event['seq']}",
    )
    body = {"to": data["chat"]["id"], "text": "an answer", "reply_to": asked}
    first = api.post("/api/accounts/open/messages?wait=60", body, key="answer-1")
    assert api.post("/api/accounts/open/messages", body, key="answer-1") == first
    assert first["state"] == "sent"
    shown = ada.gets(first["id"])
    assert shown["text"] == "an answer"
    base = f"/api/accounts/open/messages/{asked}"
    reaction = api.post(f"{base}/react?wait=60", {"chat": data["chat"]["id"], "emoji": "👍"})
    assert ada.gets(reaction["id"])["emoji"] == "👍"
    api.post(f"{base}/read?wait=60", {"chat": data["chat"]["id"]})
    wait_until(
        lambda: [one["read"] for one in ada.sandbox.sent(ada.number) if one["id"] == asked] == [[api.number]],
        "it is not shown as read",
    )
    api.post(f"/api/accounts/open/chats/{data['chat']['id']}/typing", {"state": "typing"})
    wait_until(lambda: bool(ada.sandbox.typing(ada.number)), "typing is not shown")
    # The same text was sent once.
    texts = [one["text"] for one in ada.sandbox.inbox(ada.number) if one.get("text") == "an answer"]
    assert len(texts) == 1
    api.service.wait_for_log("POST /api/accounts/open/messages from 127.0.0.1")
    assert not [
        line for line in api.service.log if NEEDLE in line or "an answer" in line or api.token in line
    ]


def test_a_file_of_a_phone_is_fetched_and_never_runs(api: Api, ada: Contact) -> None:
    data = b"<html><script>alert(1)</script>" * 1000
    sent = ada.sandbox.send_media(ada.number, api.number, "document", data, mime="text/html")
    media: list[str] = []

    def came() -> bool:
        events = api.get("/api/accounts/open/messages")["events"]
        media[:] = [one["data"]["media"]["id"] for one in events if one["data"]["id"] == sent]
        return bool(media)

    wait_until(came, "the file is not there")
    wait_until(lambda: api.ask("GET", f"/api/media/{media[0]}") == (200, data), "it is not fetched")
    assert api.ask("GET", f"/api/media/{int(media[0]) ^ 1}")[0] == 404


def test_a_pull_has_each_message_though_the_gateway_is_killed(api: Api, ada: Contact) -> None:
    pull = "/api/consumers/archive"
    assert api.get(f"{pull}/events")["events"] == []
    wanted = [f"text {number}" for number in range(30)]
    seen: list[str] = []
    for number, text in enumerate(wanted):
        ada.write(api.number, text)
        if number % 10 == 5:
            gateway(api.service).send_signal(signal.SIGKILL)

    def fetch() -> bool:
        with suppress(OSError, http.client.HTTPException):
            status, batch = api.ask("GET", f"{pull}/events?wait=1&limit=7")
            if status == 200:
                seen.extend(one["data"]["text"] for one in batch["events"] if "text" in one["data"])
                api.ask("POST", f"{pull}/ack", {"cursor": batch["cursor"]})
        return set(wanted) <= set(seen)

    wait_until(fetch, "not all came")
    assert [text for text in dict.fromkeys(seen) if text in wanted] == wanted


def test_no_connection_is_refused_while_a_gateway_takes_over(api: Api) -> None:
    old = gateway(api.service)
    old.send_signal(signal.SIGKILL)
    old.wait(PATIENCE)
    assert api.ask("GET", "/api/accounts")[0] == 200  # it waits, and is not refused
    assert gateway(api.service).pid != old.pid


def test_a_token_that_is_removed_ends_what_follows(api: Api, ada: Contact) -> None:
    leaving = token(api.service, "leaving", "read")
    wait_until(lambda: api.ask("GET", "/api/accounts", token=leaving)[0] == 200, "the token is not known")
    with socket.create_connection(("127.0.0.1", api.port), PATIENCE) as following:
        following.sendall(
            "GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {leaving}\r\n\r\n".encode()
        )
        file = following.makefile("rb")
        assert b"200" in file.readline()
        while not file.readline().startswith(b"id: "):
            pass
        ada.write(api.number, "first")
        while b'"first"' not in file.readline():
            pass
        api.service.command("token", "remove", "leaving")
        ada.write(api.number, "second")
        rest = file.read()
        assert rest.rstrip().endswith(b"0")  # the answer is complete
    assert api.ask("GET", "/api/accounts", token=leaving)[0] == 401


def test_an_account_is_added_paired_and_removed(api: Api, make_number: Callable[[], str]) -> None:
    added = api.post("/api/accounts", {"name": "new"})
    assert added["account"]["name"] == "new"
    pictures: list[bytes] = []

    def shown() -> bool:
        status, found = api.ask("GET", "/api/accounts/new/qr.png")
        pictures[:] = [found] if status == 200 else []
        return status == 200

    wait_until(shown, "no code is shown")
    assert api.get("/api/accounts/new/code")["kind"] == "qr"
    number = make_number()
    api.service.sandbox.client.add_phone(number)
    api.service.sandbox.client.scan(number, png=pictures[0])
    wait_until(lambda: api.get("/api/accounts/new")["account"]["state"] == "connected", "it does not connect")
    assert api.ask("GET", "/api/accounts/new/code")[0] == 404
    assert api.post("/api/accounts/new/stop")["account"]["state"] == "stopped"
    assert api.post("/api/accounts/new/start")["account"]["name"] == "new"
    status, _ = api.ask("DELETE", "/api/accounts/new")
    assert status == 200
    assert api.ask("GET", "/api/accounts/new")[0] == 404


def test_the_service_checks_again_what_a_token_may_do(api: Api) -> None:
    narrow = token(api.service, "narrow", "read,operate", "--account", "closed")
    wait_until(lambda: api.ask("GET", "/api/accounts", token=narrow)[0] == 200, "the token is not known")
    _, found = api.ask("GET", "/api/accounts", token=narrow)
    assert [one["name"] for one in found["accounts"]] == ["closed"]
    for path in ("/api/accounts/open", "/api/accounts/open/messages", "/api/accounts/open/code"):
        assert api.ask("GET", path, token=narrow)[0] == 404
    assert api.ask("POST", "/api/accounts/open/stop", token=narrow)[0] == 404
    assert api.get("/api/accounts/open")["account"]["state"] == "connected"


def test_a_program_of_the_services_user_needs_no_token_on_a_unix_socket(api: Api) -> None:
    path = api.service.folder / "http.sock"
    api.service.configure(ACCOUNTS, http={"listen": [f"127.0.0.1:{api.port}", f"unix:{path}"]})
    api.service.client.call("reload")
    wait_until(path.exists, "there is no socket")
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(os.fspath(path))
        sock.sendall(b"GET /api/accounts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in sock.makefile("rb").readline()
    assert api.get("/api/accounts")
