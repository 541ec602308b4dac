"""`send`: a text goes from an account of the service to somebody's phone, and nobody else reads it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.conversation import Contact
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess

TEXT = "Is the \N{PARTY POPPER} line up, @4915199999999?"


@pytest.fixture(scope="module")
def service(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with one connected account, which logs all that its library does."""
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, shared_sandbox, ["support"], log_level="DEBUG") as service:
        service.pair("support", make_number())
        yield service


def send(service: Service, to: str, text: str = TEXT) -> subprocess.CompletedProcess[str]:
    done = service.command("send", "support", "--to", to, "-", check=False, stdin=text)
    assert to[1:] not in done.stderr
    assert text not in done.stderr
    return done


def test_a_text_arrives_in_clear_and_is_nowhere_else(service: Service, ada: Contact) -> None:
    since = ada.sandbox.last_event()
    done = send(service, ada.number)
    assert (done.returncode, done.stdout, done.stderr) == (0, "support: sent\n", "")
    ada.sandbox.wait_for("received", PATIENCE, since, phone=ada.number)
    (message,) = ada.sandbox.inbox(ada.number)
    assert (message["text"], message["kind"]) == (TEXT, "text")
    told = "\n".join([*service.log, *map(str, service.timeline("support"))])
    assert "whatsmeow" in told  # it is the library's whole log
    assert "POPPER" not in told
    assert TEXT not in told
    assert ada.number[1:] not in told


def test_errors_are_words(service: Service, ada: Contact, make_number: Callable[[], str]) -> None:
    done = send(service, make_number())
    assert done.returncode == 1
    assert "support: the text was not sent: this number is not on WhatsApp" in done.stderr
    ada.sandbox.fault("send-error", "all", code=463)
    done = send(service, ada.number)
    assert done.returncode == 1
    assert "may not write to people who have not written to it" in done.stderr
    assert send(service, ada.number).returncode == 0
    assert service.about("support")["state"] == "connected"


def test_a_text_that_is_never_acknowledged_holds_up_nothing(service: Service, ada: Contact) -> None:
    assert send(service, ada.number, "first").returncode == 0
    pid = service.child("support")
    ada.sandbox.fault("blackhole", "all")
    with ThreadPoolExecutor(1) as helper:
        after = len(service.log)
        sending = helper.submit(send, service, ada.number)
        service.wait_for_log("command send", after=after)
        service.command("restart", "support")
        done = sending.result()
    assert done.returncode == 1
    # Both come after five seconds: the library gives up the link, and the process the library.
    assert any(
        why in done.stderr
        for why in (
            "it is not known whether the text was sent: the account's process ended",
            "the connection was lost; the message may still arrive",
        )
    ), done.stderr
    ada.sandbox.clear_faults()
    account = service.wait_for_state("support", "connected", after=pid)
    assert account["last_exit"]["kind"] == "stopped"
    since = ada.sandbox.last_event()
    service.command("send", "support", "--to", ada.number, "and again")
    ada.sandbox.wait_for("received", PATIENCE, since, phone=ada.number)
    assert ada.sandbox.inbox(ada.number)[-1]["text"] == "and again"
