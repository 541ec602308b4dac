"""Words of people, tokens and secrets: with the gateway they are where they are needed, and nowhere else."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.conversation import Contact, lid
from support.linked import wait_until
from support.ports import free_port
from support.receivers import SECRET, Receiver, Reply, always
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

Json = dict[str, Any]
OF_PEOPLE = {word: f"xq{word}zk" for word in ("text", "caption", "filename", "pushname", "subject", "answer")}
"""What is sought: a word for each place in which people write."""
OF_OPERATORS = {word: f"xq{word}zk" for word in ("urlkey", "header", "botkey", "received")}
OF_CLIENTS = {word: f"xq{word}zk" for word in ("path", "query", "field", "body", "wrongtoken", "idempotency")}
KEPT_SECONDS = 180.0
"""A minute that texts are kept, the time between two clearings, and the wait on a busy machine."""
BOT = """
import os
from orchestrator.bots import Bot, Message

bot = Bot()

@bot.on_message()
def answer(message: Message) -> None:
    raise ValueError(f"{message.text} {message.sender.name} {os.environ['KEY']}")
"""


class Gateway:
    """A service with a gateway, of which everything goes wrong that can."""

    def __init__(self, service: Service, port: int, number: str) -> None:
        self.service = service
        self.port = port
        self.number = number
        self.token = ""
        self.answers: list[str] = []

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **fields: str
    ) -> int:
        """Ask over HTTP, keep the answer if it is an error, and return its status."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", **fields}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            said = f"{method}: {answer.status} {answer.headers} {answer.read().decode(errors='replace')}"
        finally:
            connection.close()
        if answer.status >= 400 or path == "/metrics":
            self.answers.append(said)
        return answer.status

    def companion(self, what: str) -> int:
        """Return the process of the gateway, or of the bot."""
        found: list[int] = []

        def runs() -> bool:
            about = self.service.client.call("companions")["companions"]
            one = about["gateway"] if what == "gateway" else about["bots"][0]
            found[:] = [one["pid"]] if one["state"] == "running" else []
            return bool(found)

        wait_until(runs, f"{what} does not run")
        return found[0]


@pytest.fixture
def gateway(sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path) -> Iterator[Gateway]:
    (folder / "bots").mkdir(mode=0o700)
    (folder / "bots/my_bot.py").write_text(BOT)
    secret, key_file = folder / "hook.secret", folder / "bot.key"
    for file in (secret, key_file):
        file.touch(mode=0o600)
    secret.write_text(f"whsec_{b64encode(SECRET).decode()}\n")
    key_file.write_text(OF_OPERATORS["botkey"])
    port, number = free_port(), make_number()
    fails = Reply(500, (("X-Answer", OF_OPERATORS["received"]),), OF_OPERATORS["received"].encode())
    with Receiver(always(fails)) as receiver:
        hook = {"secret_file": str(secret), "headers": {"X-Key": OF_OPERATORS["header"]}}
        key = OF_OPERATORS["urlkey"]
        settings: Json = {
            "http": {"listen": f"127.0.0.1:{port}"},
            "webhooks": {
                "fails": {**hook, "url": f"{receiver.url}&key={key}"},
                "refuses": {**hook, "url": f"http://127.0.0.1:1/hook?key={key}"},
            },
            "bots": {
                "raises": {
                    "app": "my_bot:bot",
                    "path": str(folder / "bots"),
                    "env_files": {"KEY": str(key_file)},
                }
            },
        }
        keep = {"keep": "1m", "keep_at_most": "1m", "media": "always", "allow": "*", "groups": True}
        with Service(folder, sandbox, {"open": {"messages": keep}}, log_level="debug", **settings) as service:
            service.pair("open", number)
            one = Gateway(service, port, number)
            made = service.command("token", "add", "all", "--scope", "read,send,operate,metrics").stdout
            one.token = made.split()[-1]
            yield one


def write_all(gateway: Gateway, ada: Contact) -> None:
    """Have people write words of all kinds, and wait until they are stored."""
    client, number = ada.sandbox, gateway.number
    group = client.make_group(ada.number, OF_PEOPLE["subject"], [number])["group"]
    client.send_text(ada.number, group, OF_PEOPLE["text"])
    client.send(ada.number, number, "image", data=b"no file", caption=OF_PEOPLE["caption"])
    client.send(ada.number, number, "document", data=b"no file", file_name=OF_PEOPLE["filename"])
    last = ada.write(number, OF_PEOPLE["text"])
    wait_until(
        lambda: last in gateway.service.command("messages", "open", "--json").stdout, "it is not stored"
    )


def misuse(gateway: Gateway) -> None:
    """Ask for what is refused, with a word in each place in which clients write."""
    word = OF_CLIENTS
    base = "/api/accounts/open"
    for method in ("GET", "POST", "PUT", "DELETE"):
        gateway.ask(method, f"/{word['path']}?{word['query']}")
        gateway.ask(method, f"/api/accounts/{word['path']}/messages?after={word['query']}")
    gateway.ask("GET", f"/api/accounts?access_token={gateway.token}", token="")
    gateway.ask("GET", "/api/accounts", token=f"orc_{word['wrongtoken']}_{word['wrongtoken']}")
    gateway.ask("GET", "/api/accounts", Host=f"{word['field']}.example")
    gateway.ask("GET", "/api/accounts", **{word["field"]: "\x01"})
    gateway.ask("GET", "/api/events", **{"Last-Event-ID": word["field"]})
    gateway.ask("GET", f"{base}/messages?limit={word['query']}&chat={word['query']}@lid&after=-1")
    for body in ({word["body"]: word["body"]}, {"to": word["body"], "text": word["body"]}, [word["body"]]):
        gateway.ask("POST", f"{base}/messages", body, **{"Idempotency-Key": word["idempotency"]})
        gateway.ask("POST", f"{base}/messages/{word['path']}/react", body)
        gateway.ask("POST", "/api/accounts", body)
        gateway.ask("POST", "/api/consumers/archive/ack", body)
    send_all(gateway)
    reply = {"to": "+4915100002", "text": OF_PEOPLE["answer"], "reply_to": word["body"]}
    assert gateway.ask("POST", f"{base}/messages?wait=30", reply) >= 400
    assert gateway.ask("GET", "/metrics") == 200


def send_all(gateway: Gateway) -> None:
    """Send what can be sent and what cannot, with words in all its places, over both faces of the API."""
    word, people, base = OF_CLIENTS, OF_PEOPLE, "/api/accounts/open"
    to, text = {"to": "+4915100002"}, people["answer"]
    key = {"Idempotency-Key": word["idempotency"]}
    poll = {"kind": "poll", "poll": {"name": text, "options": [text, people["caption"]]}}
    contact = {"kind": "contact", "contacts": [{"name": people["pushname"], "phones": ["+4915100002"]}]}
    place = {"kind": "location", "location": {"latitude": 1, "longitude": 2, "name": text, "address": text}}
    preview = {"text": f"{text} http://{word['query']}.invalid/", "link_preview": True}
    messages: tuple[Json, ...] = (poll, contact, place, preview)
    for message in messages:
        assert gateway.ask("POST", f"{base}/messages", {**to, **message, "tag": "order-4711"}) in (202, 422)
    for _ in range(2):
        assert gateway.ask("POST", f"{base}/messages", {**to, "text": text}, **key) in (202, 422)
    assert gateway.ask("POST", f"{base}/messages", {**to, "text": people["caption"]}, **key) in (409, 422)
    files = (
        {"link": f"http://127.0.0.1/{word['path']}?{word['query']}"},
        {"media": "17"},
        {"media": word["body"]},
    )
    for file in files:
        named = {"kind": "document", "caption": people["caption"], "file_name": people["filename"]}
        assert gateway.ask("POST", f"{base}/messages", {**to, **named, **file}) >= 400
    assert gateway.ask("POST", f"{base}/media?file_name={people['filename']}&x={word['query']}", text) == 201
    for upload in (gateway.service.state / "gateway/uploads").iterdir():  # kept for 30 days otherwise
        assert gateway.ask("DELETE", f"{base}/media/{upload.name}") == 200
    cloud = f"/v23.0/{gateway.number[1:]}"
    usual = {"messaging_product": "whatsapp", "to": "4915100002", "biz_opaque_callback_data": word["body"]}
    usual |= {"type": "text"}
    assert gateway.ask("POST", f"{cloud}/messages", {**usual, "text": {"body": text}}) in (200, 400)
    wrong: tuple[Json, ...] = ({"text": {word["body"]: text}}, {"type": word["body"]}, {"to": word["body"]})
    for message in wrong:
        assert gateway.ask("POST", f"{cloud}/messages", {**usual, **message}) == 400
    for path in (cloud, f"{cloud}/{word['path']}", f"/v23.0/{word['path']}", "/v23.0/17"):
        with_token = f"{path}?access_token={gateway.token}&fields={word['query']}"
        gateway.ask("GET", with_token, token="")
        gateway.ask("POST", with_token, word["body"], token="")


def said_by(gateway: Gateway) -> dict[str, str]:
    """Return all that is shown, logged and kept, but for the messages, and the rows that wait with texts."""
    service = gateway.service
    said = {"the log": "\n".join(service.log), "HTTP": "\n".join(gateway.answers)}
    for command in ("list", "doctor", "webhook list", "consumer list", "explain open", "token list"):
        done = service.command(*command.split(), check=False)
        said[command] = done.stdout + done.stderr
        said[f"{command} --json"] = service.command(*command.split(), "--json", check=False).stdout
    for name in ("fails", "refuses", "raises"):
        said[f"dead {name}"] = service.command("webhook", "dead", name, check=False).stdout
    for process in service.processes():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            said[f"ps {process.pid}"] = line
            if "orchestrator.bots" not in line:  # which gets its own secret there
                said[f"environment of {process.pid}"] = str(process.environ())
    for path in service.state.rglob("*"):
        parts = path.relative_to(service.state).parts
        texts = parts[0] == "gateway" and parts[1:] and parts[1].startswith(("consumers.sqlite3", "uploads"))
        if path.is_file() and parts[0] not in ("sessions", "quarantine", "messages", "qr") and not texts:
            said["/".join(parts)] = path.read_text(errors="replace")
    return said


def find(said: dict[str, str], needles: dict[str, str]) -> list[str]:
    return [
        f"{what} in {where}" for where, text in said.items() for what, one in needles.items() if one in text
    ]


@pytest.mark.timeout(600)
def test_no_word_and_no_secret_is_where_it_does_not_belong_and_texts_are_deleted(
    gateway: Gateway, make_number: Callable[[], str]
) -> None:
    service = gateway.service
    ada = Contact(make_number(), service.sandbox.client)
    ada.sandbox.add_phone(ada.number, OF_PEOPLE["pushname"])
    write_all(gateway, ada)
    misuse(gateway)
    tried = lambda: "raises: event" in "\n".join(service.log) or "answer failed" in "\n".join(service.log)  # noqa: E731
    wait_until(tried, "the bot has not failed")
    for what, number in (("gateway", signal.SIGKILL), ("gateway", signal.SIGABRT), ("bot", signal.SIGABRT)):
        pid = gateway.companion(what)
        os.kill(pid, number)
        wait_until(lambda pid=pid, what=what: gateway.companion(what) != pid, f"no other {what}")  # type: ignore[misc]
    service.client.call("restart", names=["open"])
    service.wait_for_state("open", "connected")
    misuse(gateway)
    needles = {
        **OF_PEOPLE, **OF_OPERATORS, **OF_CLIENTS,
        "number of Ada": ada.number[1:],
        "address of Ada": lid(ada.sandbox, ada.number).partition("@")[0],
        "token": gateway.token.rpartition("_")[2],
        "secret of webhooks": b64encode(SECRET).decode(),
    }  # fmt: skip
    found = find(said_by(gateway), needles)
    assert not found, found
    assert not list(service.folder.rglob("core*"))

    # And what may be kept goes in time: messages, their files, and what waits for a webhook or is dead.
    def kept() -> list[str]:
        found = {}
        for folder in ("messages", "gateway"):
            for path in (service.state / folder).rglob("*"):
                with suppress(FileNotFoundError):
                    found[str(path)] = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        return find(found, OF_PEOPLE)

    assert kept()
    deadline = time.monotonic() + KEPT_SECONDS
    while left := kept():
        assert time.monotonic() < deadline, left
        time.sleep(1)
