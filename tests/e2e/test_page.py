"""The page of the real service in a real browser: sandbox phones scan what is on the screen."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from support.browser import PHONE, Screens, browsing
from support.cli import Cli
from support.linked import wait_until
from support.ports import free_port
from support.receivers import SECRET, Receiver, ok, status
from support.service import Service

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

LONG = 600.0
"""Seconds for fifty restarts, which take some twenty on an idle machine."""
ADD = re.compile("^Add (an )?account$")
"""The button's name, on a desktop and, without words, on a phone."""


@pytest.fixture
def service(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[Service]:
    accounts: dict[str, dict[str, Any]] = {"support": {"tags": ["eu", "vip"]}}
    http = {"listen": f"127.0.0.1:{free_port()}"}
    with Service(tmp_path, sandbox, accounts, http=http) as service:
        yield service


def enter(page: Page, printed: str) -> None:
    """Open the address that `orchestrator page` prints."""
    page.goto(printed.strip())
    expect(page.locator("#app")).to_be_visible()
    expect(page.locator("#table tr[data-name]").first).to_be_visible()


def row(page: Page, name: str) -> Locator:
    return page.locator(f'#table tr[data-name="{name}"]')


def scan_screen(page: Page, sandbox: SandboxProcess, number: str) -> None:
    """Hold a phone to the screen until it has read a code there."""

    def scanned() -> bool:
        screen = Image.open(io.BytesIO(page.screenshot()))
        codes = [one.text for one in zxingcpp.read_barcodes(screen)]
        if len(codes) != 1:
            return False
        try:
            sandbox.client.scan(number, text=codes[0])
        except SandboxError:  # the code was just replaced by the next one
            return False
        return True

    wait_until(scanned, "no phone reads a code on the screen")


@browsing
def test_an_account_is_paired_from_the_screen_stopped_and_repaired(
    service: Service, sandbox: SandboxProcess, screens: Screens, number: str
) -> None:
    page = screens.open()
    enter(page, service.command("page").stdout)
    page.get_by_label("Views").get_by_role("button", name="Codes").click()
    wall = page.locator("#view-codes")
    expect(wall.locator("img[src*='/support/qr.png']")).to_be_visible()
    scan_screen(page, sandbox, number)
    expect(wall.locator("img[src*='/support/qr.png']")).to_have_count(0)
    page.get_by_label("Views").get_by_role("button", name="Accounts").click()
    expect(row(page, "support")).to_contain_text("connected")
    expect(row(page, "support")).to_contain_text("vip")
    row(page, "support").get_by_role("link").click()
    details = page.get_by_label("Details of an account")
    details.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(row(page, "support")).to_contain_text("stopped")
    assert service.about("support")["state"] == "stopped"
    details.get_by_role("button", name=re.compile("^Pair again")).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=re.compile("^Pair again")).click()
    expect(dialog.locator("img[src*='/support/qr.png']")).to_be_visible()
    scan_screen(page, sandbox, number)
    expect(dialog).to_contain_text("Connected")
    service.wait_for_state("support", "connected")


@browsing
def test_an_account_is_added_and_paired_with_nothing_but_the_page_of_a_phone(
    service: Service, sandbox: SandboxProcess, screens: Screens, make_number: Callable[[], str]
) -> None:
    phone = make_number()
    page = screens.open(PHONE, touch=True)
    enter(page, service.command("page").stdout)
    page.get_by_role("button", name=ADD).tap()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("shop")
    dialog.get_by_label("Phone number", exact=True).fill(phone)
    dialog.get_by_label("Tags", exact=True).fill("eu")
    dialog.get_by_role("button", name="Add and pair").tap()
    expect(dialog.locator("img[src*='/shop/qr.png']")).to_be_visible()
    scan_screen(page, sandbox, phone)
    expect(dialog).to_contain_text("Connected")
    page.keyboard.press("Escape")
    expect(row(page, "shop")).to_contain_text("connected")
    assert service.wait_for_state("shop", "connected")["tags"] == ["eu"]


@pytest.mark.timeout(LONG + 300)
@browsing
def test_fifty_real_processes_are_restarted(tmp_path: Path, screens: Screens) -> None:
    cli = Cli(tmp_path)
    names = [f"account{number:02}" for number in range(50)]
    port = free_port()
    cli.configure(*(f"{name}: {{}}" for name in names), top=f"http: {{listen: '127.0.0.1:{port}'}}\n")
    for name in names:
        cli.has_session(name)
    with cli.service():
        for name in names:
            cli.until(name, "connected")
        page = screens.open()
        enter(page, cli("page").stdout)
        page.get_by_label("Select all accounts that are shown").check()
        page.locator("#bulk").get_by_role("button", name=re.compile("^Restart")).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("50 accounts are connected, and will be disconnected")
        expect(dialog).to_contain_text("At most 10 start at once")
        dialog.get_by_role("button", name="Restart: 50 accounts").click()
        expect(dialog).to_contain_text("50 of 50 accounts restarted", timeout=1000 * LONG)
        assert [name for name in names if len(cli.puppets.runs(name)) != 2] == []


@browsing
def test_a_webhook_that_is_dead_goes_on_and_gets_what_it_missed(tmp_path: Path, screens: Screens) -> None:
    with Receiver(status(410)) as receiver:
        cli = Cli(tmp_path)
        secret = tmp_path / "hook.secret"
        secret.touch(mode=0o600)
        secret.write_text(f"whsec_{b64encode(SECRET).decode()}\n")
        hook = {"url": receiver.url, "secret_file": str(secret), "events": ["account.*"]}
        http = {"listen": f"127.0.0.1:{free_port()}"}
        cli.configure("support: {}", top=f"http: {json.dumps(http)}\nwebhooks: {json.dumps({'crm': hook})}\n")
        cli.has_session("support")
        with cli.service():
            cli.until("support", "connected")
            page = screens.open()
            enter(page, cli("page").stdout)
            line = page.locator("#needs li").filter(has_text="crm")
            expect(line).to_be_visible()
            assert not receiver.taken
            receiver.behave = ok
            line.get_by_role("button", name="Resume", exact=True).click()
            expect(line).to_have_count(0)
            receiver.wait_for_taken(1)
