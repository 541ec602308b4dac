"""`send` and `outbox`: what is accepted goes to somebody's phone once, whatever ends meanwhile."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.cli import wait_for
from support.conversation import Contact
from support.service import PATIENCE, Service

from orchestrator.errors import ExitCode
from orchestrator.sandbox.process import SandboxProcess

TEXT = "Is the \N{PARTY POPPER} line up, @4915199999999?"
ACCOUNTS = {"support": {"sending": {"pacing": "off"}, "messages": {"allow": ["*"]}}}


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Service]:
    """A service with one connected account, which logs all that its library does."""
    folder = make_folder()
    with Service(folder, shared_sandbox, ACCOUNTS, log_level="DEBUG") as service:
        service.pair("support", make_number())
        yield service


def send(service: Service, to: str, text: str = TEXT, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = service.command("send", "support", "--to", to, *arguments, "-", check=False, stdin=text)
    assert to[1:] not in done.stderr
    assert text not in done.stderr
    return done


def queued(service: Service, to: str, text: str, *arguments: str) -> dict[str, Any]:
    """Have a message written into the outbox; return its row."""
    row: dict[str, Any] = json.loads(send(service, to, text, "--queue", "--json", *arguments).stdout)
    return row


def rows(service: Service, *arguments: str) -> list[dict[str, Any]]:
    return [*map(json.loads, service.command("outbox", "support", "--json", *arguments).stdout.splitlines())]


def texts(who: Contact) -> list[str]:
    return [message["text"] for message in who.sandbox.inbox(who.number)]


def arrived(who: Contact, since: int, count: int = 1) -> None:
    """Wait until messages have come."""
    for _ in range(count):
        since = who.sandbox.wait_for("received", PATIENCE, since, phone=who.number)["seq"]


def test_a_text_arrives_in_clear_and_is_in_no_log(service: Service, ada: Contact) -> None:
    since = ada.sandbox.last_event()
    done = send(service, ada.number)
    (message,) = ada.sandbox.inbox(ada.number)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"support: sent as {message['id']}\n", "")
    arrived(ada, since)
    assert (message["text"], message["kind"]) == (TEXT, "text")
    told = "\n".join([*service.log, *map(str, service.timeline("support"))])
    assert "whatsmeow" in told  # it is the library's whole log
    assert "POPPER" not in told
    assert TEXT not in told
    assert ada.number[1:] not in told
    said = service.command("trace", message["id"]).stdout
    assert "written into the outbox: text" in said
    assert "POPPER" not in said
    assert ada.number[1:] not in said


def test_errors_are_words(service: Service, make_number: Callable[[], str]) -> None:
    done = send(service, make_number())
    assert done.returncode == ExitCode.FAILED
    assert "was not sent: this number is not on WhatsApp" in done.stderr
    assert [row["state"] for row in rows(service, "--all", "--limit", "1")] == ["failed"]
    assert service.about("support")["state"] == "connected"


def test_the_same_key_sends_once(service: Service, ada: Contact) -> None:
    first = send(service, ada.number, "once", "--key", "invoice-17")
    again = send(service, ada.number, "once", "--key", "invoice-17")
    assert (first.returncode, first.stdout) == (again.returncode, again.stdout)
    other = send(service, ada.number, "another text", "--key", "invoice-17")
    assert other.returncode == ExitCode.FAILED
    assert "the key was used for another message" in other.stderr
    assert texts(ada) == ["once"]


def test_a_file_arrives_as_what_it_is(service: Service, ada: Contact, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "JPEG")
    (tmp_path / "photo.bin").write_bytes(picture.getvalue())
    (tmp_path / "offer.pdf").write_bytes(b"%PDF-1.4\n" + bytes(5000))
    assert send(service, ada.number, "As you wished", "--file", str(tmp_path / "photo.bin")).returncode == 0
    offer = ("--file", str(tmp_path / "offer.pdf"), "--caption", "Ours")
    service.command("send", "support", "--to", ada.number, *offer)
    image, document = ada.sandbox.inbox(ada.number)
    assert (image["kind"], document["kind"]) == ("image", "document")
    for message, name in ((image, "photo.bin"), (document, "offer.pdf")):
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert digest in json.dumps(message)
    assert "offer.pdf" in json.dumps(document)
    assert list((service.state / "messages/support/outgoing").iterdir()) == [], "no copy is left"


def test_what_waits_for_an_account_is_shown_taken_back_and_sent_in_order(
    service: Service, ada: Contact
) -> None:
    service.command("stop", "support")
    service.wait_for_state("support", "stopped")
    said = send(service, ada.number, "first")
    assert said.returncode == 0
    assert "support is not connected but stopped" in said.stdout
    second, third = (queued(service, ada.number, text) for text in ("second", "third"))
    assert [row["state"] for row in rows(service)] == ["queued"] * 3
    assert service.command("outbox", "support", "--take-back", str(second["row"])).stdout == (
        f"support: row {second['row']} is taken back\n"
    )
    assert texts(ada) == []
    since = ada.sandbox.last_event()
    service.command("start", "support")
    arrived(ada, since, 2)
    assert texts(ada) == ["first", "third"]
    service.wait_for_state("support", "connected")
    again = json.loads(service.command("outbox", "support", "--row", str(third["row"]), "--json").stdout)
    assert (again["state"], again["message"]["text"]) == ("sent", "third")
    done = service.command("outbox", "support", "--take-back", str(third["row"]), check=False)
    assert "does not wait any more" in done.stderr


def test_what_waits_outlasts_the_service_and_can_be_seen_meanwhile(service: Service, ada: Contact) -> None:
    service.command("stop", "support")
    service.wait_for_state("support", "stopped")
    queued(service, ada.number, "kept")
    service.stop()
    try:
        assert [row["state"] for row in rows(service)] == ["queued"]
        done = service.command("outbox", "support", "--take-back", "1", check=False)
        assert done.returncode == ExitCode.NOT_RUNNING
        since = ada.sandbox.last_event()
    finally:
        service.start()
    service.command("start", "support")
    arrived(ada, since)
    assert texts(ada) == ["kept"]
    service.wait_for_state("support", "connected")


def test_a_text_that_is_never_acknowledged_holds_up_nothing(service: Service, ada: Contact) -> None:
    assert send(service, ada.number, "first").returncode == 0
    pid = service.child("support")
    ada.sandbox.fault("blackhole", "all")
    waiting = queued(service, ada.number, "second")
    wait_for(lambda: [row["state"] for row in rows(service)] == ["sending"], "the library has it")
    service.command("restart", "support")
    ada.sandbox.clear_faults()
    service.wait_for_state("support", "connected", after=pid)
    assert send(service, ada.number, "third").returncode == 0
    (doubtful,) = rows(service)
    assert (doubtful["row"], doubtful["state"]) == (waiting["row"], "unknown"), "it never left this machine"
    assert texts(ada) == ["first", "third"]
