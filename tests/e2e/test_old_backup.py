"""What an old backup of the state folder costs: no code, and messages that are asked for once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


def events(service: Service) -> list[dict[str, Any]]:
    text = service.command("messages", "a", "--json").stdout
    return [json.loads(line) for line in text.splitlines()]


def texts(service: Service) -> list[str]:
    return [one["data"]["text"] for one in events(service) if one["type"] == "message.received"]


def stored(service: Service, wanted: list[str]) -> None:
    wait_until(lambda: texts(service) == wanted, f"{wanted} are not stored")


def answer(service: Service, ada: Contact, text: str) -> None:
    said = service.command("send", "a", "--to", ada.number, text).stdout
    assert ada.gets(said.rpartition(" ")[2].strip())["text"] == text


def test_an_old_backup_needs_no_code_and_makes_keys_anew(
    sandbox: SandboxProcess,
    make_number: Callable[[], str],
    ada: Contact,
    tmp_path: Path,
) -> None:
    number, backup = make_number(), tmp_path / "backup"
    with Service(tmp_path, sandbox, {"a": {"messages": {"allow": "*"}}}) as service:
        service.pair("a", number)
        ada.write(number, "zero")
        stored(service, ["zero"])
        answer(service, ada, "hello")
        service.stop()
        service.kept.back_up(backup)
        service.start()
        service.wait_for_state("a", "connected")
        known = ["zero"]
        for text in ("one", "two", "three"):
            ada.write(number, text)
            known.append(text)
            stored(service, known)
            answer(service, ada, f"{text}, you say")
        service.stop()
        service.kept.put_back(backup)
        service.start()
        # The device is the same one, so nobody scans anything.
        service.wait_for_state("a", "connected")
        # What came since the backup was made is not delivered once more.
        stored(service, ["zero"])
        fourth = ada.write(number, "four")
        stored(service, ["zero", "four"])
        about = [one["type"] for one in events(service) if one["data"].get("id") == fourth]
        assert about == ["message.undecryptable", "message.received"]
        # From here on, both have the same keys.
        fifth = ada.write(number, "five")
        stored(service, ["zero", "four", "five"])
        assert [one["type"] for one in events(service) if one["data"].get("id") == fifth] == [
            "message.received"
        ]
        answer(service, ada, "all is well")
