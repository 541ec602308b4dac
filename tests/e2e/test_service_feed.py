"""What consumers hear of an account that is paired, renamed, killed, removed and made anew."""

from __future__ import annotations

import json
import os
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.conversation import Contact
from support.receivers import SECRET, Receiver
from support.service import Service

from orchestrator.messages.rendering import form
from orchestrator.sandbox.process import SandboxProcess

VALIDATOR = jsonschema.Draft202012Validator(form.schema())
OPEN = {"messages": {"allow": "*"}}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def hooks(receiver: Receiver, tmp_path: Path) -> dict[str, Any]:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"whsec_{b64encode(SECRET).decode()}\n")
    return {"crm": {"url": receiver.url, "secret_file": str(secret)}}


@pytest.fixture
def service(sandbox: SandboxProcess, tmp_path: Path, hooks: dict[str, Any]) -> Iterator[Service]:
    with Service(tmp_path, sandbox, {"open": OPEN}, webhooks=hooks) as service:
        yield service


def heard(receiver: Receiver, account: str, kind: str, text: str | None = None) -> dict[str, Any]:
    """Wait for an event and return it."""

    def found() -> list[dict[str, Any]]:
        events = (one.event for one in receiver.taken)
        return [
            one
            for one in events
            if (one["account"], one["type"]) == (account, kind) and one["data"].get("text") == text
        ]

    receiver.wait(lambda _: bool(found()), 90)
    return found()[-1]


def test_an_account_is_heard_of_all_its_life(
    service: Service,
    receiver: Receiver,
    hooks: dict[str, Any],
    make_number: Callable[[], str],
    ada: Contact,
) -> None:
    number = make_number()
    service.pair("open", number)
    for kind in ("account.code", "account.paired", "account.connected"):
        heard(receiver, "open", kind)
    ada.write(number, "one")
    first = heard(receiver, "open", "message.received", "one")

    # What is written in the moment after the process was killed comes with the next one.
    os.kill(service.about("open")["pid"], signal.SIGKILL)
    heard(receiver, "open", "account.disconnected")
    ada.write(number, "two")
    heard(receiver, "open", "message.received", "two")

    service.command("rename", "open", "other")
    service.wait_for_state("other", "connected")
    heard(receiver, "other", "account.connected")
    ada.write(number, "three")
    third = heard(receiver, "other", "message.received", "three")
    assert third["seq"] > first["seq"]

    service.command("remove", "other", "--yes", "--no-unlink")
    service.configure({"other": OPEN}, webhooks=hooks)
    service.command("reload")
    service.pair("other", number)
    ada.write(number, "four")
    fourth = heard(receiver, "other", "message.received", "four")
    assert fourth["seq"] > third["seq"], "no number comes again"

    assert receiver.wrong == []
    events = [one.event for one in receiver.taken]
    for event in events:
        VALIDATOR.validate(event)
    texts = [one["data"]["text"] for one in events if one["type"] == "message.received"]
    assert list(dict.fromkeys(texts)) == ["one", "two", "three", "four"]
    # Nobody who listens gets what links a device.
    assert "2@" not in json.dumps([one for one in events if one["type"].startswith("account.")])
