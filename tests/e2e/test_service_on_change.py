"""`on_change`: a program is told when a phone unlinks an account, and when all is well again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.service import Service

from orchestrator.control.view import AccountView
from orchestrator.sandbox.process import SandboxProcess

TELL = """#!/bin/sh
cat > {told}/$$.part
env > {told}/environment
mv {told}/$$.part {told}/$$.json
echo "told of {phone}"
"""


@pytest.fixture(scope="module")
def phone(make_number: Callable[[], str]) -> str:
    return make_number()


@pytest.fixture(scope="module")
def told(make_folder: Callable[[], Path]) -> Path:
    return make_folder()


@pytest.fixture(scope="module")
def program(make_folder: Callable[[], Path], told: Path, phone: str) -> Path:
    path = make_folder() / "tell"
    path.write_text(TELL.format(told=told, phone=phone))
    path.chmod(0o700)
    return path


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, make_folder: Callable[[], Path], program: Path, phone: str
) -> Iterator[Service]:
    settings = {"run": [str(program), "--team", "berlin"], "for": "0s", "when": ["needs_person", "resolved"]}
    with Service(make_folder(), shared_sandbox, {"support": {"phone": phone}}, on_change=settings) as running:
        running.pair("support", phone)
        yield running


def documents(told: Path) -> list[dict[str, Any]]:
    found = sorted(told.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in found]


def changes(told: Path, word: str, need: str | None = None) -> list[dict[str, Any]]:
    return [
        one
        for document in documents(told)
        for one in document["changes"]
        if one["change"] == word and (need is None or (one["need"] or {}).get("kind") == need)
    ]


def test_a_phone_that_unlinks_an_account_is_told_and_so_is_the_end(
    service: Service, told: Path, phone: str
) -> None:
    known = len(documents(told))
    service.sandbox.client.unlink(phone)

    def is_told(_: object) -> dict[str, Any] | None:
        found = [one for one in documents(told)[known:] if one["changes"][0]["change"] == "needs_person"]
        return found[0] if found else None

    document = service.until(is_told, "the program to be told")
    assert document["version"] == 1
    assert document["test"] is False
    (change,) = document["changes"]
    assert change["need"]["command"] == "orchestrator qr support"
    assert set(change["account"]) == set(AccountView("x", "failed").as_json())
    assert change["account"]["name"] == "support"
    assert change["account"]["phone"] is None or phone[1:] not in change["account"]["phone"]
    assert document["subject"] == "WhatsApp: support needs a person"
    assert "orchestrator qr support" in document["text"]
    assert phone[1:] not in json.dumps(document)

    service.pair("support", phone)
    (end,) = service.until(lambda _: changes(told, "resolved")[-1:] or None, "the end to be told")
    assert end["account"]["state"] == "connected"
    assert phone[1:] not in json.dumps(end)
    # What the program prints is in the log, without the number.
    line = service.wait_for_log("said: told of")
    assert phone[1:] not in line


def test_the_program_gets_a_short_environment(service: Service, told: Path) -> None:
    assert json.loads(service.command("on-change", "test", "--json").stdout)["worked"] is True
    names = {line.partition("=")[0] for line in (told / "environment").read_text().splitlines()}
    assert "PATH" in names
    assert not {name for name in names if name.startswith(("ORCHESTRATOR_", "HTTPS_", "PYTHON", "SSL_"))}


def test_a_reload_changes_who_is_told(service: Service, program: Path, phone: str) -> None:
    wrong = {"run": str(program.parent / "missing"), "for": "0s"}
    service.configure({"support": {"phone": phone}}, on_change=wrong)
    assert "on_change: changed" in service.command("reload").stdout
    service.wait_for_log("missing does not exist")
    failed = service.command("on-change", "test", check=False)
    assert failed.returncode == 1
    assert "write the program, or correct `on_change.run`" in failed.stderr
    doctor = json.loads(service.command("doctor", "--json", check=False).stdout)
    (finding,) = [one for one in doctor if one["key"] == "on_change"]
    assert finding["status"] == "FAIL"

    service.configure({"support": {"phone": phone}})
    assert "on_change: removed" in service.command("reload").stdout
    refused = service.command("on-change", "test", check=False)
    assert "no program is configured" in refused.stderr
