"""Every kind of message over the HTTP API of the real service, as a sandbox phone shows it."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import io
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.test_service_http import Api, answers, gateway, token
from PIL import Image
from support.conversation import Contact
from support.linked import wait_until
from support.ports import free_port
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores

Json = dict[str, Any]
BASE = "/api/accounts/open"
WAIT = "?wait=60"


def picture(form: str, color: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (320, 200), color).save(data, form)
    return data.getvalue()


OPUS = b"OggS\0\x02" + bytes(20) + b"\x01\x13" + b"OpusHead\x01\x01" + bytes(11)
FILES: dict[str, tuple[bytes, str]] = {
    "image": (picture("JPEG"), "image/jpeg"),
    "sticker": (picture("WEBP"), "image/webp"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(500), "video/mp4"),
    "audio": (b"ID3\x04" + bytes(500), "audio/mpeg"),
    "voice": (OPUS, "audio/ogg; codecs=opus"),
    "document": (b"%PDF-1.7\n" + bytes(500), "application/pdf"),
}


PAGE = b"""<title>The shop</title><meta name="description" content="All there is">
<meta property="og:image" content="/picture.jpg">"""


class Shop(http.server.BaseHTTPRequestHandler):
    """A server inside, which has files."""

    asked: list[str] = []  # noqa: RUF012 - all requests of the test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        pages = {"/page": ("text/html", PAGE), "/picture.jpg": ("image/jpeg", FILES["image"][0])}
        kind, data = pages.get(self.path, ("application/octet-stream", FILES["document"][0]))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def nobody_has_asked() -> None:
    """Have the shop forget what tests before have asked for."""
    Shop.asked.clear()


@pytest.fixture(scope="module")
def shop() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def api(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path], shop: int
) -> Iterator[Api]:
    port, number = free_port(), make_number()
    settings: Json = {
        "listen": f"127.0.0.1:{port}", "link_ports": [shop], "link_networks": ["127.0.0.0/8"],
    }  # fmt: skip
    account: Json = {"messages": {"allow": "*"}, "sending": {"pacing": "off"}}
    with Service(make_folder(), shared_sandbox, {"open": account}, http=settings) as service:
        service.pair("open", number)
        api = Api(service, port, number)
        api.token = token(service, "all", "read,send")
        wait_until(lambda: answers(api), "the gateway does not answer")
        yield api


@pytest.fixture
def chat(api: Api, ada: Contact) -> tuple[str, str]:
    """Return the chat with Ada, and the id of what she wrote."""
    asked = ada.write(api.number, "Hello")
    found: list[Json] = []

    def came() -> bool:
        events = api.get(f"{BASE}/messages?limit=500")["events"]
        found[:] = [one for one in events if one["data"].get("id") == asked]
        return bool(found)

    wait_until(came, "it is not there")
    return found[0]["data"]["chat"]["id"], asked


def send(api: Api, to: str, **message: Any) -> Json:  # noqa: ANN401
    found: Json = api.post(f"{BASE}/messages{WAIT}", {"to": to, **message})
    assert found["state"] == "sent", found
    return found


def seen(contact: Contact, message: str) -> Json:
    """Return a message as the contact's phone shows it now."""
    (found,) = [one for one in contact.sandbox.messages(contact.number) if one["id"] == message]
    return found


def upload(api: Api, data: bytes, name: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/octet-stream"}
        connection.request("POST", f"{BASE}/media?file_name={name}", data, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 201, found
    finally:
        connection.close()
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    return str(found["id"])


@pytest.mark.parametrize("kind", FILES)
def test_files_arrive_as_they_were(kind: str, api: Api, ada: Contact, chat: tuple[str, str]) -> None:
    data, mime = FILES[kind]
    media = upload(api, data, "bill.pdf")
    captioned = {"caption": "Look"} if kind in ("image", "video", "document") else {}
    row = send(api, chat[0], kind=kind, media=media, reply_to=chat[1], **captioned)
    shown = ada.gets(row["id"])
    assert (shown["kind"], shown["mime"]) == (kind, mime)
    assert shown["sha256"] == hashlib.sha256(data).hexdigest()
    assert shown["quote"]["id"] == chat[1]
    if captioned:
        assert shown["caption"] == "Look"
    if kind == "document":
        assert shown["file_name"] == "bill.pdf"
    if kind == "image":
        assert (shown["width"], shown["height"]) == (320, 200)
        assert shown["thumbnail"]["size"] > 100


def test_a_link_is_fetched_where_the_configuration_allows_it(
    api: Api, ada: Contact, chat: tuple[str, str], shop: int
) -> None:
    link = f"http://127.0.0.1:{shop}/a/invoice.pdf"
    message = {"to": chat[0], "kind": "document", "link": link}
    row = api.post(f"{BASE}/messages{WAIT}", message, key="invoice")
    assert api.post(f"{BASE}/messages{WAIT}", message, key="invoice") == row
    assert Shop.asked.count("/a/invoice.pdf") == 1
    shown = ada.gets(row["id"])
    assert (shown["file_name"], shown["sha256"]) == (
        "invoice.pdf", hashlib.sha256(FILES["document"][0]).hexdigest(),
    )  # fmt: skip
    for refused in (f"http://127.0.0.1:{api.port}/api/accounts", "file:///etc/passwd", "/etc/passwd"):
        status, found = api.ask("POST", f"{BASE}/messages", {**message, "link": refused})
        assert (status, found["key"]) == (422, "link_unusable")


def test_everything_that_is_no_file_arrives(api: Api, ada: Contact, chat: tuple[str, str]) -> None:
    to, asked = chat
    mention = f"Hi @{ada.number.removeprefix('+')}"
    text = send(api, to, text=mention, mentions=[ada.number], reply_to=asked, tag="order-1")
    shown = ada.gets(text["id"])
    assert (shown["text"], shown["quote"]["id"]) == (mention, asked)
    assert shown["mentions"]
    place = {"latitude": 52.5, "longitude": 13.25, "name": "Here", "address": "Street 1"}
    shown = ada.gets(send(api, to, kind="location", location=place)["id"])
    assert {name: shown[name] for name in place} == place
    shown = ada.gets(
        send(api, to, kind="contact", contacts=[{"name": "Bob", "phones": ["+4915100009"]}])["id"]
    )
    assert (shown["kind"], shown["name"]) == ("contact", "Bob")
    assert "4915100009" in shown["vcard"]
    poll = {"name": "When?", "options": ["Now", "Later"], "selectable": 1}
    shown = ada.gets(send(api, to, kind="poll", poll=poll)["id"])
    assert (shown["question"], shown["options"], shown["select"]) == ("When?", ["Now", "Later"], 1)
    reaction = api.post(f"{BASE}/messages/{asked}/react{WAIT}", {"chat": to, "emoji": "👍"})
    shown = ada.gets(reaction["id"])
    assert (shown["of"], shown["emoji"]) == (asked, "👍")
    edit = api.post(f"{BASE}/messages/{text['id']}/edit{WAIT}", {"chat": to, "text": "Ho"})
    assert edit["state"] == "sent"
    wait_until(lambda: seen(ada, text["id"])["text"] == "Ho", "it is not edited")
    revocation = api.post(f"{BASE}/messages/{text['id']}/revoke{WAIT}", {"chat": to})
    assert revocation["state"] == "sent"
    wait_until(lambda: "deleted_by" in seen(ada, text["id"]), "it is not deleted")
    (event,) = [
        one["data"] for one in api.get(f"{BASE}/messages?limit=500")["events"]
        if one["type"] == "message.status" and one["data"].get("id") == text["id"]
        and one["data"]["status"] == "sent"
    ]  # fmt: skip
    assert (event["row"], event["tag"]) == (text["row"], "order-1")


def test_a_link_is_shown_with_title_and_picture_if_that_is_wanted(
    api: Api, ada: Contact, chat: tuple[str, str], shop: int
) -> None:
    link = f"http://127.0.0.1:{shop}/page"
    message = {"text": f"Look: {link}."}
    assert "preview" not in ada.gets(send(api, chat[0], **message)["id"])
    assert "/page" not in Shop.asked
    preview = ada.gets(send(api, chat[0], **message, link_preview=True)["id"])["preview"]
    assert (preview["link"], preview["title"], preview["description"]) == (link, "The shop", "All there is")
    assert preview["thumbnail"]["size"] > 100
    message["text"] = "http://169.254.169.254/"
    assert "preview" not in ada.gets(send(api, chat[0], **message, link_preview=True)["id"])


def test_what_a_file_is_not_it_is_not_sent_as(api: Api, chat: tuple[str, str]) -> None:
    page = upload(api, b"<html>", "page.jpg")
    large = upload(api, FILES["sticker"][0] + bytes(600_000), "large.webp")
    for kind, media, key in (
        ("image", page, "file_unfit"), ("voice", page, "file_unfit"), ("sticker", large, "file_too_large"),
        ("image", "17", "file_missing"),
    ):  # fmt: skip
        status, found = api.ask("POST", f"{BASE}/messages", {"to": chat[0], "kind": kind, "media": media})
        assert found["key"] == key
        assert status in (404, 413, 422)


def test_a_group_is_made_and_governed(api: Api, ada: Contact) -> None:
    group = api.post(f"{BASE}/groups", {"subject": "Team", "members": [ada.number]})["group"]
    assert group["subject"] == "Team"
    place = f"{BASE}/groups/{group['id']}"
    assert group["id"] in [one["id"] for one in api.get(f"{BASE}/groups")["groups"]]
    shown = ada.gets(send(api, group["id"], text="Welcome")["id"])
    assert shown["chat"] == group["id"]
    status, found = api.ask("PUT", f"{place}/subject", {"subject": "The team"})
    assert status == 200, found
    status, found = api.ask("PUT", f"{place}/description", {"description": "Who does what"})
    assert status == 200, found
    about = api.get(place)["group"]
    assert (about["subject"], about["description"]) == ("The team", "Who does what")
    changed = api.post(f"{place}/members", {"change": "promote", "members": [ada.number]})["members"]
    assert [one["done"] for one in changed] == [True]
    first = api.post(f"{place}/invite")["link"]
    assert api.post(f"{place}/invite", {"reset": True})["link"] != first
    status, found = api.ask("POST", f"{place}/leave")
    assert status == 200, found


def test_who_is_on_whatsapp_is_found_out(api: Api, ada: Contact) -> None:
    found = api.get(f"{BASE}/numbers?number=%2B{ada.number[1:]}&number=%2B4999999999")["numbers"]
    assert [one["exists"] for one in found] == [True, False]
    status, problem = api.ask("POST", f"{BASE}/messages{WAIT}", {"to": "+4999999999", "text": "Hi"})
    assert (status, problem["key"]) == (422, "number_unknown")
    assert problem["row"]["state"] == "failed"


def test_what_waits_is_taken_back_and_the_rest_is_sent_later(api: Api, ada: Contact) -> None:
    api.service.command("stop", "open")
    chat = f"{ada.number[1:]}@s.whatsapp.net"
    status, kept = api.ask("POST", f"{BASE}/messages", {"to": chat, "text": "kept"})
    assert (status, kept["state"]) == (202, "queued")
    _, taken = api.ask("POST", f"{BASE}/messages", {"to": chat, "text": "taken back"})
    waiting = api.get(f"{BASE}/outbox?state=queued")["rows"]
    assert [one["row"] for one in waiting] == [kept["row"], taken["row"]]
    assert "text" not in waiting[0]
    status, row = api.ask("DELETE", f"{BASE}/outbox/{taken['row']}")
    assert (status, row["state"]) == (200, "taken_back")
    assert api.ask("DELETE", f"{BASE}/outbox/{taken['row']}") == (200, row)  # nobody minds a second time
    api.service.command("start", "open")
    wait_until(lambda: api.get(f"{BASE}/outbox/{kept['row']}")["state"] == "sent", "it is not sent")
    shown = ada.gets(api.get(f"{BASE}/outbox/{kept['row']}")["id"])
    assert shown["text"] == "kept"
    status, problem = api.ask("DELETE", f"{BASE}/outbox/{kept['row']}")
    assert (status, problem["key"]) == (409, "row_not_waiting")
    assert not [one for one in ada.sandbox.inbox(ada.number) if one.get("text") == "taken back"]


def test_who_asks_again_after_the_gateway_was_killed_sends_once(api: Api, ada: Contact) -> None:
    api.service.command("stop", "open")
    chat = f"{ada.number[1:]}@s.whatsapp.net"
    media = upload(api, FILES["document"][0], "killed.pdf")
    messages: list[Json] = [
        {"to": chat, "text": "after a kill"}, {"to": chat, "kind": "document", "media": media}
    ]  # fmt: skip
    ends: list[Any] = []

    def wait(number: int) -> None:
        try:
            ends.append(api.ask("POST", f"{BASE}/messages{WAIT}", messages[number], key=f"killed-{number}"))
        except (OSError, http.client.HTTPException) as error:
            ends.append(error)

    before = len(api.get(f"{BASE}/outbox?limit=500")["rows"])
    threads = [threading.Thread(target=wait, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(api.get(f"{BASE}/outbox?limit=500")["rows"]) == before + 2, "no rows")
    gateway(api.service).send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert all(isinstance(one, Exception) for one in ends)
    rows = []
    for number, message in enumerate(messages):
        status, row = api.ask("POST", f"{BASE}/messages", message, key=f"killed-{number}")
        assert (status, row["state"]) == (202, "queued")
        rows.append(row["row"])
    assert len(api.get(f"{BASE}/outbox?limit=500")["rows"]) == before + 2
    api.service.command("start", "open")
    for number, message in enumerate(messages):
        status, row = api.ask("POST", f"{BASE}/messages{WAIT}", message, key=f"killed-{number}")
        assert (status, row["row"], row["state"]) == (200, rows[number], "sent")
        ada.gets(row["id"])
    assert len([one for one in ada.sandbox.inbox(ada.number) if one.get("text") == "after a kill"]) == 1
    assert len([one for one in ada.sandbox.inbox(ada.number) if one.get("file_name") == "killed.pdf"]) == 1
