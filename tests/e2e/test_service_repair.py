"""`repair`: an account is linked anew, by a picture, on a terminal, or by a code typed on the phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from support.cli import bare
from support.service import Service
from support.terminal import Terminal

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


class OnTerminal(Protocol):
    def __call__(self, *arguments: str, rows: int = 60, columns: int = 120) -> Terminal: ...


@pytest.fixture(scope="module")
def phone(make_number: Callable[[], str]) -> str:
    return make_number()


@pytest.fixture(scope="module")
def service(shared_sandbox: SandboxProcess, phone: str, make_folder: Callable[[], Path]) -> Iterator[Service]:
    """A service with an account that is connected before and after every test."""
    with Service(make_folder(), shared_sandbox, {"support": {"phone": phone}, "other": {}}) as running:
        running.pair("support", phone)
        yield running


@pytest.fixture(autouse=True)
def room_for_another(service: Service, phone: str) -> None:
    """Unlink what earlier repairs have left behind, as a phone has room for no more than four devices."""
    client = service.sandbox.client
    (about,) = [one for one in client.phones() if one["phone"] == phone]
    for device in about["devices"]:
        if not device["online"]:
            client.unlink(phone, device["device"])


@pytest.fixture
def on_terminal(service: Service) -> Iterator[OnTerminal]:
    with ExitStack() as open_:

        def run(*arguments: str, rows: int = 60, columns: int = 120) -> Terminal:
            line = service.command_line(*arguments)
            terminal = Terminal(line, service.environment, service.folder, rows=rows, columns=columns)
            return open_.enter_context(terminal)

        yield run


def devices(service: Service, phone: str) -> list[int]:
    """Return the numbers of a phone's linked devices that are online."""
    phones = {one["phone"]: one["devices"] for one in service.sandbox.client.phones()}
    return [device["device"] for device in phones[phone] if device["online"]]


def test_a_repair_that_does_not_wait(service: Service, phone: str) -> None:
    pid, other, kept = service.child("support"), service.child("other"), len(service.quarantined("support"))
    done = service.command("repair", "support", "--yes", "--no-wait")
    assert "orchestrator qr support" in bare(done.stdout)
    service.wait_for_code("support", after=pid)
    # Who is impatient gets no second code, and takes none away.
    again, known = service.child("support"), len(service.timeline("support"))
    for _ in range(2):
        service.command("repair", "support", "--yes")  # its output is no terminal: that does not wait, either
    assert service.child("support") == again
    assert len(service.timeline("support")) == known
    (place,) = service.quarantined("support", "repair")[kept:]
    assert place.devices()
    service.pair("support", phone)
    assert service.child("other") == other
    assert devices(service, phone) != []


def test_a_repair_on_a_terminal_shows_the_code_until_the_account_is_connected(
    service: Service, phone: str, on_terminal: OnTerminal
) -> None:
    terminal = on_terminal("repair", "support", "--yes")
    terminal.until(lambda _: terminal.has_picture(), "a QR code")
    service.sandbox.client.scan(phone, png=terminal.picture())
    assert terminal.exit_code() == 0
    assert "support is connected as +49…" in terminal.text
    assert phone[1:] not in terminal.text
    # What was drawn is wiped off: the cursor goes up, and all below it is cleared.
    assert re.search(r"\x1b\[\d+F\x1b\[J", terminal.text.rpartition("█")[2])
    assert service.about("support")["state"] == "connected"


def test_ctrl_c_leaves_the_service_waiting_for_the_phone(
    service: Service, phone: str, on_terminal: OnTerminal
) -> None:
    terminal = on_terminal("repair", "support", "--yes")
    terminal.until(lambda _: terminal.has_picture(), "a QR code")
    pid = service.child("support")
    terminal.interrupt()
    assert terminal.exit_code() == 130
    assert "Traceback" not in terminal.text
    shown = on_terminal("qr", "support")
    shown.until(lambda _: shown.has_picture(), "a QR code")
    assert service.child("support") == pid
    service.sandbox.client.scan(phone, png=shown.picture())
    assert shown.exit_code() == 0
    assert service.child("support") == pid


def test_a_terminal_that_is_too_small_names_the_picture(
    service: Service, phone: str, on_terminal: OnTerminal
) -> None:
    terminal = on_terminal("repair", "support", "--yes", rows=24, columns=80)
    terminal.until(lambda text: str(service.png("support")) in text, "the picture's path")
    assert not terminal.has_picture()
    service.sandbox.client.scan(phone, png=service.png("support"))
    assert terminal.exit_code() == 0


def test_a_repair_by_a_code_that_is_typed_on_the_phone(
    service: Service, phone: str, on_terminal: OnTerminal
) -> None:
    terminal = on_terminal("repair", "support", "--yes", "--code")
    terminal.until(lambda text: re.search(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b", text), "a code")
    codes = re.findall(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b", terminal.text)
    assert not service.png("support").exists()
    assert service.about("support")["state"] == "pairing"
    assert service.about("support")["qr_path"] is None
    service.sandbox.client.enter_code(phone, codes[-1])
    assert terminal.exit_code() == 0
    assert service.about("support")["state"] == "connected"
    # Should it ever be logged out, it shows pictures again, as nobody has asked for another code.
    pid = service.child("support")
    service.sandbox.client.unlink(phone)
    service.pair("support", phone, after=pid)


def test_a_repair_by_code_needs_the_number(service: Service) -> None:
    done = service.command("repair", "other", "--yes", "--code", check=False)
    assert done.returncode == 1
    assert "phone" in done.stderr


def test_a_repair_of_nobody(service: Service) -> None:
    done = service.command("repair", "nobody", check=False)
    assert done.returncode == 5
    assert "nobody" in done.stderr
