"""The wall of codes in a real browser: who is on it, what it asks for, and what it never shows."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from support.browser import PHONE, Screens, browsing, findings
from support.linked import wait_until
from support.page_running import PageWorld

from orchestrator.accounts.looking import UNSEEN

Make = Callable[..., PageWorld]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Make]:
    """Make worlds; they end with the test."""
    running: list[PageWorld] = []

    def make(count: int = 30, **more: object) -> PageWorld:
        folder = tmp_path / f"gateway{len(running)}"
        folder.mkdir()
        world = PageWorld(folder, count, **more)
        running.append(world.__enter__())
        return world

    yield make
    for world in running:
        world.__exit__(None, None, None)


def waiting(world: PageWorld) -> list[str]:
    return sorted(name for name, view in world.accounts.views.items() if view.state == "pairing")


def enter(page: Page, world: PageWorld, query: str = "", **more: object) -> None:
    """Log in, and go to the wall."""
    page.goto(world.login(**more))  # type: ignore[arg-type]
    expect(page.locator("#app")).to_be_visible()
    page.goto(f"{world.origin}/?view=codes{query}")
    expect(page.locator("#view-codes h2")).to_contain_text("for a scan")


def card(page: Page, name: str) -> Locator:
    return page.locator(f'.wall > li[data-name="{name}"] .wall-card')


def names_on(page: Page) -> list[str]:
    found = page.locator(".wall > li").evaluate_all("all => all.map((one) => one.dataset.name)")
    return [str(one) for one in found]


def scanned(place: Locator) -> str:
    """Return the text of the code in a picture of the screen, as a phone would read it."""
    with Image.open(io.BytesIO(place.screenshot())) as picture:
        found = zxingcpp.read_barcodes(picture)
    assert len(found) == 1, "a phone must not see two"
    return str(found[0].text)


def wait_for_a_look(page: Page, world: PageWorld, name: str) -> None:
    """Wait until the page has told that somebody looks at an account's code; it does so beside all else."""
    deadline = time.monotonic() + 90
    while name not in world.accounts.watched:
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


@browsing
def test_every_account_that_waits_is_there_and_its_code_can_be_scanned(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(60)
    page = screens.open()
    enter(page, world)
    names = waiting(world)
    assert len(names) >= 2
    expect(page.locator("#view-codes h2")).to_have_text(f"{len(names)} accounts wait for a scan")
    wait_until(lambda: names_on(page) == names, "not all of them are there")
    for name in names[:2]:
        one = card(page, name)
        expect(one.locator("img")).to_be_visible()
        expect(one).to_contain_text(name)
        expect(one.locator(".wall-seconds")).to_have_text(re.compile(r"^(\d+ s|next …)$"))
        box = one.locator("img").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 240
        deadline = time.monotonic() + 90
        while scanned(one) != world.accounts.codes[name]["text"]:  # the next one may just be coming
            assert time.monotonic() < deadline


@browsing
def test_a_code_is_replaced_in_place_and_goes_when_it_was_used(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    page = screens.open()
    enter(page, world)
    names = waiting(world)
    name = names[0]
    expect(card(page, name).locator("img")).to_be_visible()
    before = card(page, name).locator("img").get_attribute("src")
    world.do(world.accounts.show_code, name, time.time() + 7)
    expect(card(page, name).locator("img")).not_to_have_attribute("src", str(before))
    expect(card(page, name).locator("img")).to_have_count(1)
    world.do(world.accounts.scan, name)
    expect(card(page, name)).to_have_text(re.compile("Connected"))
    expect(card(page, name).locator("img")).to_have_count(0)
    expect(card(page, name)).to_have_count(0)
    wait_until(lambda: names_on(page) == names[1:], "the others are not there")
    expect(page.locator("#view-codes h2")).to_contain_text(str(len(names) - 1))


@browsing
def test_eight_characters_stand_there_as_text(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    name = waiting(world)[0]
    world.accounts._link.add(name)
    world.do(world.accounts.show_code, name, time.time())
    page = screens.open()
    enter(page, world)
    text = world.accounts.codes[name]["text"]
    expect(card(page, name).locator(".wall-letters")).to_have_text(f"{text[:4]}-{text[4:]}")
    expect(card(page, name).locator("img")).to_have_count(0)


@browsing
def test_whoever_may_only_look_sees_who_waits_and_no_code(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    page = screens.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    enter(page, world, scopes=("read",))
    for name in waiting(world):
        expect(card(page, name)).to_contain_text("Waits for a scan")
    expect(page.locator(".wall img, .wall-letters")).to_have_count(0)
    card(page, waiting(world)[0]).click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    assert not [url for url in asked if re.search(r"/code$|/qr\.png|/watching$", url)]
    expect(page.locator("#view-codes")).to_contain_text("no code is shown")


@browsing
def test_only_what_is_on_the_screen_is_asked_for_and_the_gateway_hears_that_somebody_looks(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(60)
    accounts = world.accounts
    for name in list(accounts.views)[:40]:
        world.do(accounts.change, name, state="pairing", reason="waits for a scan", pid=None)
    page = screens.open()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.split("?")[0]))
    enter(page, world)
    expect(page.locator(".wall img").first).to_be_visible()
    names = names_on(page)
    assert len(names) >= 40
    codes = {url.split("/")[-2] for url in asked if url.endswith("/code")}
    assert names[0] in codes
    assert names[-1] not in codes
    wait_for_a_look(page, world, names[0])
    assert names[-1] not in accounts.watched
    page.locator(".wall > li").last.scroll_into_view_if_needed()
    expect(card(page, names[-1]).locator("img")).to_be_visible()
    expect(page.locator("#app")).to_be_visible()
    assert names[-1] in {url.split("/")[-2] for url in asked if url.endswith("/code")}


@browsing
def test_an_account_that_waits_until_somebody_looks_gets_its_code(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    accounts = world.accounts
    name = waiting(world)[0]
    accounts._replace_codes = lambda: None  # type: ignore[method-assign]  # codes come by a look alone
    accounts.codes.pop(name, None)
    world.do(accounts.change, name, reason=UNSEEN, pid=None, qr_expires_at=None)
    page = screens.open()
    enter(page, world)
    expect(card(page, name)).to_contain_text("Asking for a code")
    page.wait_for_function("() => document.querySelector('.wall')")
    wait_for_a_look(page, world, name)
    world.do(accounts.change, name, state="starting", reason="somebody looks at its code", pid=9)
    expect(card(page, name)).to_contain_text("Starting")
    world.do(accounts.change, name, state="pairing", reason="waiting for its code to be used")
    world.do(accounts.show_code, name, time.time())
    expect(card(page, name).locator("img")).to_be_visible()


@browsing
def test_the_search_says_who_is_on_the_wall(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    page = screens.open()
    enter(page, world)
    name = waiting(world)[0]
    page.keyboard.press("/")
    page.keyboard.type(name)
    expect(page.locator(".wall > li")).to_have_count(1)
    page.keyboard.type(" nothing")
    expect(page.locator(".wall > li")).to_have_count(0)
    expect(page.locator("#view-codes .empty")).to_contain_text("None of them matches")
    page.get_by_role("button", name="Clear filter").click()
    expect(page.locator(".wall > li")).to_have_count(len(waiting(world)))
    # A filter by state belongs to the table: the wall has one state.
    page.goto(f"{world.origin}/?view=codes&state=connected")
    expect(page.locator(".wall > li")).to_have_count(len(waiting(world)))


@browsing
def test_all_is_done_by_keyboard(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    page = screens.open()
    enter(page, world)
    names = waiting(world)
    expect(card(page, names[0]).locator("img")).to_be_visible()
    page.keyboard.press("j")
    expect(card(page, names[0])).to_be_focused()
    page.keyboard.press("j")
    expect(card(page, names[1])).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("ArrowRight")
    expect(card(page, names[1])).to_be_focused()
    page.keyboard.press("Home")
    expect(card(page, names[0])).to_be_focused()
    page.keyboard.press("Enter")
    alone = page.locator("dialog.alone")
    expect(alone.locator("h2")).to_contain_text(names[0])
    picture = alone.locator("img.code-picture")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    assert box["width"] >= 400
    page.keyboard.press("ArrowRight")
    expect(alone.locator("h2")).to_contain_text(names[1])
    # A code that is used while the page asks for it is refused, and the browser writes that in its console.
    expect(alone.get_by_role("img", name=f"QR code of {names[1]}")).to_be_visible()
    expect(card(page, names[1]).locator("img")).to_be_visible()
    world.do(world.accounts.scan, names[1])
    expect(alone).to_contain_text("Connected")
    page.keyboard.press("Escape")
    expect(alone).to_have_count(0)


@browsing
def test_it_fits_a_phone_and_can_be_read_by_everybody(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    for size, dark in ((PHONE, True), (PHONE, False)):
        page = screens.open(size, dark=dark, touch=True)
        enter(page, world)
        expect(page.locator(".wall img").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert findings(page) == []
        page.locator(".wall-card").first.click()
        expect(page.locator("dialog.alone img.code-picture")).to_be_visible()
        assert findings(page) == []


@browsing
def test_an_empty_wall_says_so(make_world: Make, screens: Screens) -> None:
    world = make_world(5, steady=True)
    page = screens.open()
    page.goto(world.login())
    expect(page.locator("#app")).to_be_visible()
    page.goto(f"{world.origin}/?view=codes")
    expect(page.locator("#view-codes")).to_contain_text("No account waits for a scan")
    expect(page.locator("#view-codes .empty")).to_contain_text("come here by themselves")
