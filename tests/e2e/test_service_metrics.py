"""The metrics of a whole service: what accounts, consumers and processes do, and nothing private."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.conversation import Contact
from support.linked import wait_until
from support.promlint import families, lint
from support.service import Service

from orchestrator.cli.demo.programs import BOT, Receiver, read_metrics
from orchestrator.sandbox.process import SandboxProcess


@dataclass(frozen=True)
class Place:
    """A service with an account, a bot and a webhook."""

    service: Service
    receiver: Receiver
    number: str
    ada: Contact

    def text(self) -> str:
        return "\n".join(read_metrics(self.service.folder / "api.sock")) + "\n"

    def value(self, series: str) -> float | None:
        """Return the value of a series, None while there is none."""
        with contextlib.suppress(OSError, HTTPException):
            for family in families(self.text()):
                for sample in family.samples:
                    labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
                    if series == sample.name + (f"{{{labels}}}" if labels else ""):
                        return sample.value
        return None

    def until(self, series: str, least: float) -> None:
        wait_until(lambda: (self.value(series) or 0) >= least, f"{series} is not {least}")


@pytest.fixture(scope="module")
def place(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Place]:
    folder, number = make_folder(), make_number()
    ada = Contact(make_number(), shared_sandbox.client)
    ada.sandbox.add_phone(ada.number, "Ada Needle")
    (folder / "echo_bot.py").write_text(BOT)
    with Receiver() as receiver:
        secret = folder / "crm.secret"
        secret.touch(mode=0o600)
        secret.write_text(receiver.secret)
        dead = folder / "dead.secret"
        dead.touch(mode=0o600)
        dead.write_text(receiver.secret)
        settings: dict[str, Any] = {
            "http": {"listen": f"unix:{folder / 'api.sock'}"},
            "webhooks": {
                "crm": {"url": receiver.url, "secret_file": "crm.secret"},
                "dead": {"url": "http://127.0.0.1:1/hook", "secret_file": "dead.secret"},
            },
            "bots": {"echo": {"app": "echo_bot:bot", "path": ".", "accounts": ["support"]}},
        }
        accounts: dict[str, dict[str, Any]] = {
            "support": {"messages": {"allow": [ada.number]}},
            "off": {"enabled": False},
        }
        with Service(folder, shared_sandbox, accounts, **settings) as service:
            service.pair("support", number)
            yield Place(service, receiver, number, ada)


def test_what_happens_is_counted(place: Place) -> None:
    place.ada.write(place.number, "a needle")
    place.until('orchestrator_events_delivered_total{consumer="crm"}', 1)
    place.until('orchestrator_events_delivered_total{consumer="echo"}', 1)
    place.until('orchestrator_delivery_seconds_count{consumer="crm"}', 1)
    place.until('orchestrator_delivery_failures_total{consumer="dead"}', 1)
    place.until('orchestrator_events_waiting{consumer="dead"}', 1)
    place.until('orchestrator_account_messages_stored{account="support"}', 1)
    assert place.value('orchestrator_account_up{account="support"}') == 1
    assert place.value('orchestrator_account_wanted{account="off"}') == 0
    assert place.value('orchestrator_account_state{account="off",state="disabled"}') == 1
    assert (place.value('orchestrator_account_memory_bytes{account="support"}') or 0) > 1_000_000
    assert place.value('orchestrator_bot_up{bot="echo"}') == 1
    assert place.value("orchestrator_service_up") == 1


def test_names_keep_to_the_conventions_and_nothing_private_is_told(place: Place) -> None:
    text = place.text()
    assert lint(text) == []
    private = ("needle", "Needle", place.ada.number[1:], place.number[1:], "whsec", "127.0.0.1", "@")
    assert not any(one in text for one in private)


def test_a_gateway_that_was_killed_is_counted_and_goes_on(place: Place) -> None:
    before = place.value("orchestrator_gateway_start_time_seconds")
    service = psutil.Process(int(place.service.client.call("ping")["pid"]))
    (gateway, *_) = [one for one in service.children() if "orchestrator.gateway" in " ".join(one.cmdline())]
    os.kill(gateway.pid, signal.SIGKILL)
    place.until("orchestrator_gateway_restarts_total", 1)
    assert place.value("orchestrator_gateway_start_time_seconds") != before
    place.ada.write(place.number, "once more")
    place.until('orchestrator_events_delivered_total{consumer="crm"}', 1)
    assert place.value('orchestrator_account_up{account="support"}') == 1
