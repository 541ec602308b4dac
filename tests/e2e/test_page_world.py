"""The page in a real browser, with the real HTTP API, and accounts that exist in memory only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import PHONE, Screens, browsing, findings
from support.page_running import PageWorld

from orchestrator.accounts.states import State

Make = Callable[..., PageWorld]
ADD = re.compile("^Add (an )?account$")
"""The button's name, on a desktop and, without words, on a phone."""


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


def enter(page: Page, world: PageWorld, **more: object) -> None:
    """Log in, and wait until the accounts are there."""
    page.goto(world.login(**more))  # type: ignore[arg-type]
    expect(page.locator("#app")).to_be_visible()
    expect(rows(page).first).to_be_visible()


def rows(page: Page) -> Locator:
    return page.locator("#table tr[data-name]")


def row(page: Page, name: str) -> Locator:
    return page.locator(f'#table tr[data-name="{name}"]')


def names_in(world: PageWorld, state: str) -> list[str]:
    return [name for name, view in world.accounts.views.items() if view.state == state]


# Logging in


@browsing
def test_a_stranger_sees_a_log_in_form_and_nothing_else(make_world: Make, screens: Screens) -> None:
    world = make_world(30)
    page = screens.open()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(world.origin)))
    page.goto(world.origin)
    expect(page.get_by_label("Or log in with that link or a token")).to_be_visible()
    expect(page.locator("#app")).to_be_hidden()
    page.wait_for_load_state("networkidle")
    assert not [path for path in asked if path.startswith(("/api/", "/page/stream", "/page/strips"))]
    text = page.locator("body").inner_text()
    assert not [name for name in world.accounts.views if name in text]
    assert findings(page) == []


@browsing
def test_an_address_logs_in_once_and_no_second_browser(make_world: Make, screens: Screens) -> None:
    world = make_world(3)
    screens.refused.add("/page/session")
    address = world.login()
    page = screens.open()
    page.goto(address)
    expect(rows(page)).to_have_count(3)
    expect(page).not_to_have_url(re.compile("orc"))
    page.reload()
    expect(rows(page)).to_have_count(3)
    other = screens.open()
    other.goto(address)
    expect(other.get_by_role("alert")).to_be_visible()
    expect(other.locator("#app")).to_be_hidden()
    assert "orc" not in other.url


@browsing
def test_a_token_logs_in_and_its_removal_ends_the_page(make_world: Make, screens: Screens) -> None:
    world = make_world(3)
    screens.refused |= {"/page/stream", "/page/strips"}
    token = world.do(world.running.running.token, "ops")
    page = screens.open()
    page.goto(world.origin)
    page.get_by_label("Or log in with that link or a token").fill(token)
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(3)
    world.do(world.running.running.remove, "ops")
    expect(page.locator("#app")).to_be_hidden()
    expect(page.get_by_label("Or log in with that link or a token")).to_be_visible()
    assert not [name for name in world.accounts.views if name in page.locator("body").inner_text()]


@browsing
def test_logging_out_leaves_nothing_behind(make_world: Make, screens: Screens) -> None:
    world = make_world(3)
    page = screens.open()
    enter(page, world)
    page.get_by_label("Who is logged in").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#app")).to_be_hidden()
    assert page.context.cookies() == []
    page.goto(world.origin)
    expect(page.get_by_label("Or log in with that link or a token")).to_be_visible()


@browsing
def test_a_session_that_may_only_read_has_no_button_that_changes_something(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(30, consumers=True)
    page = screens.open()
    enter(page, world, scopes=["read"])
    expect(page.get_by_text("read-only")).to_be_visible()
    expect(page.get_by_role("button", name=ADD)).to_have_count(0)
    waiting = names_in(world, "pairing")[0]
    for address in ("/", f"/?account={waiting}", "/?view=codes", "/?view=deliveries", "/?view=fleet"):
        page.goto(world.origin + address)
        expect(page.locator("#app")).to_be_visible()
        changing = page.get_by_role(
            "button", name=re.compile(r"^(Start|Stop|Restart|Pair again|Resume|Pause|Test|Replay|Add)\b")
        )
        expect(changing.filter(visible=True)).to_have_count(0)
        assert page.locator("img[src*='qr.png']").count() == 0
    assert not [one for one in world.accounts.asked if one[1] == "code"]


@browsing
def test_a_session_for_some_accounts_hears_of_no_others(make_world: Make, screens: Screens) -> None:
    world = make_world(30)
    mine, others = list(world.accounts.views)[:2], list(world.accounts.views)[2:]
    page = screens.open()
    enter(page, world, accounts=mine)
    expect(rows(page)).to_have_count(2)
    world.do(world.accounts.change, others[0], state=State.FAILED, reason="seen by nobody")
    world.do(world.accounts.change, mine[0], state=State.FAILED, kind="crash", reason="it crashed")
    expect(row(page, mine[0])).to_contain_text("failed")
    expect(rows(page)).to_have_count(2)
    assert not [name for name in others if name in page.content()]


# What is seen


@browsing
def test_what_happens_is_on_the_screen_by_itself(make_world: Make, screens: Screens) -> None:
    world = make_world(30)
    page = screens.open()
    enter(page, world)
    expect(rows(page)).to_have_count(30)
    name = names_in(world, "connected")[0]
    world.do(world.accounts.change, name, state=State.RECONNECTING, reason="lost the connection")
    expect(row(page, name)).to_contain_text("reconnecting")
    world.do(world.accounts.change, name, state=State.CONNECTED, reason=None)
    expect(row(page, name)).to_contain_text("connected")
    world.do(world.accounts.change, name, state=State.BANNED, reason="banned", next_retry_at=None)
    expect(page.locator("#needs")).to_contain_text(name)


@browsing
def test_counts_are_filters_with_the_worst_first_and_the_title_says_who_needs_a_person(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(120)
    page = screens.open()
    enter(page, world)
    groups = page.locator("#counts").get_by_role("button")
    expect(groups.first).to_contain_text("120")
    states = [text.split("\n")[0].strip() for text in groups.all_inner_texts()][2:]
    order = ["banned", "failed", "outdated", "replaced", "pairing", "backoff", "reconnecting", "connecting",
             "starting", "connected", "stopped", "disabled"]  # fmt: skip
    assert states == [state for state in order if state in states]
    expect(page).to_have_title(re.compile(r"^\([0-9]+\) Orchestrator$"))
    number = re.match(r"\(([0-9]+)\)", page.title())
    assert number is not None
    expect(page.locator("#icon")).to_have_attribute("href", f"/page/icon-{number[1]}.svg")
    failed = names_in(world, "failed")
    page.locator("#counts").get_by_role("button", name="failed").click()
    expect(rows(page)).to_have_count(len(failed))
    expect(page).to_have_url(re.compile("state=failed"))
    page.reload()
    expect(rows(page)).to_have_count(len(failed))


@browsing
def test_nothing_to_do_is_said(make_world: Make, screens: Screens) -> None:
    world = make_world(5, steady=True)
    page = screens.open()
    enter(page, world)
    expect(page.get_by_text("Nothing to do")).to_be_visible()
    expect(page).to_have_title("Orchestrator")


@browsing
def test_search_sort_and_tags_are_in_the_address(make_world: Make, screens: Screens) -> None:
    world = make_world(60)
    page = screens.open()
    enter(page, world)
    expect(rows(page)).to_have_count(60)
    page.keyboard.press("/")
    page.keyboard.type("oslo")
    expect(rows(page)).to_have_count(len([name for name in world.accounts.views if "oslo" in name]))
    expect(page).to_have_url(re.compile("q=oslo"))
    page.goto(f"{world.origin}/?tag=vip")
    tagged = [name for name, more in world.accounts.more.items() if "vip" in more.tags]
    expect(rows(page)).to_have_count(len(tagged))
    page.goto(f"{world.origin}/?sort=-name")
    expect(rows(page).first).to_have_attribute("data-name", max(world.accounts.views))


@browsing
def test_of_many_accounts_only_those_near_the_screen_are_in_the_table(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(500)
    page = screens.open()
    enter(page, world)
    assert rows(page).count() < 150
    last = max(world.accounts.views)
    # Lists above the table may grow meanwhile, and push the last line away.
    page.wait_for_function(
        """(name) => {
          scrollTo(0, document.documentElement.scrollHeight);
          return document.querySelector(`#table tr[data-name="${name}"]`);
        }""",
        arg=last,
    )
    assert rows(page).count() < 150


@browsing
def test_each_account_has_its_last_day_as_one_picture(make_world: Make, screens: Screens) -> None:
    world = make_world(10)
    page = screens.open()
    enter(page, world)
    expect(rows(page).locator("svg").first).to_be_visible()
    assert rows(page).locator("td.c-strip svg").count() == 10
    expect(page.locator("#fleet-strip svg").first).to_be_visible()


@browsing
def test_every_waiting_account_shows_its_code_and_the_next_one_in_place(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(60)
    waiting = names_in(world, "pairing")
    page = screens.open()
    enter(page, world)
    page.goto(f"{world.origin}/?view=codes")
    pictures = page.locator("#view-codes img[src*='qr.png']")
    expect(pictures.first).to_be_visible()
    first = pictures.first.get_attribute("src")
    assert first is not None
    box = pictures.first.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 240
    name = first.split("/accounts/")[1].split("/")[0]
    assert name in waiting
    world.do(world.accounts.show_code, name, 2_000_000_000.0)
    of_it = page.locator(f"#view-codes img[src*='/{name}/qr.png']")
    expect(of_it).not_to_have_attribute("src", first)
    world.do(world.accounts.scan, name)
    expect(page.locator("#view-codes")).to_contain_text("onnected")
    expect(of_it).to_have_count(0)


# Acts


@browsing
def test_fifty_accounts_are_restarted_after_a_dialog_says_what_will_happen(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(50, steady=True)
    page = screens.open()
    enter(page, world)
    page.get_by_label("Select all accounts that are shown").check()
    expect(page.locator("#bulk")).to_contain_text("50 selected")
    page.locator("#bulk").get_by_role("button", name=re.compile("^Restart")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("50 accounts are connected, and will be disconnected")
    expect(dialog).to_contain_text("At most 4 start at once")
    assert not [one for one in world.accounts.asked if one[1] == "restart"]
    dialog.get_by_role("button", name="Restart: 50 accounts").click()
    expect(dialog).to_contain_text("50 of 50 accounts restarted")
    asked = [one[2]["name"] for one in world.accounts.asked if one[1] == "restart"]
    assert sorted(asked) == sorted(world.accounts.views)
    assert world.accounts.most_orders <= 4


@browsing
def test_an_account_is_stopped_started_and_repaired_from_its_details(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(10)
    name = names_in(world, "connected")[0]
    page = screens.open()
    enter(page, world)
    row(page, name).get_by_role("link").click()
    details = page.get_by_label("Details of an account")
    expect(details.get_by_role("heading", name=name)).to_be_visible()
    expect(page).to_have_url(re.compile(f"account={name}"))
    expect(details).to_contain_text("he account stays connected")
    details.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(row(page, name)).to_contain_text("stopped")
    details.get_by_role("button", name="Start", exact=True).click()
    expect(row(page, name)).to_contain_text("connected")
    details.get_by_role("button", name=re.compile("^Pair again")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=re.compile("^Pair again")).click()
    expect(dialog.locator("img[src*='qr.png']")).to_be_visible()
    world.do(world.accounts.scan, name)
    expect(dialog).to_contain_text("Connected")


@browsing
def test_an_account_is_added_and_paired_on_a_phone(make_world: Make, screens: Screens) -> None:
    world = make_world(3)
    page = screens.open(PHONE, touch=True)
    enter(page, world)
    page.get_by_role("button", name=ADD).tap()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("shop")
    dialog.get_by_label("Tags", exact=True).fill("eu vip")
    dialog.get_by_role("button", name="Add and pair").tap()
    code = dialog.locator("img[src*='/shop/qr.png']")
    expect(code).to_be_visible()
    box = code.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]
    world.do(world.accounts.scan, "shop")
    expect(dialog).to_contain_text("Connected")
    added = [one[2] for one in world.accounts.asked if one[1] == "add"]
    assert [one["name"] for one in added] == ["shop"]
    assert added[0]["tags"] == ["eu", "vip"]


@browsing
def test_a_dead_webhook_goes_on_and_what_died_is_replayed(make_world: Make, screens: Screens) -> None:
    world = make_world(3, consumers=True)
    page = screens.open()
    enter(page, world)
    line = page.locator("#needs li").filter(has_text="billing")
    line.get_by_role("button", name="Resume", exact=True).click()
    rows_of = world.running.running.services.dispatcher.rows
    replay = line.get_by_role("button", name=re.compile("^Replay"))
    expect(replay).to_be_visible()
    assert rows_of["billing"]["state"] == "active"
    replay.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Replay")).click()
    expect(line).to_have_count(0)
    assert ("webhook_replay", "billing") in [
        (command, given["name"]) for command, given in world.running.running.services.dispatcher.calls
    ]


@browsing
def test_everything_can_be_done_by_keyboard_alone(make_world: Make, screens: Screens) -> None:
    world = make_world(12, steady=True)
    names = sorted(world.accounts.views)
    page = screens.open()
    page.goto(world.origin)
    expect(page.get_by_label("Or log in with that link or a token")).to_be_visible()
    page.keyboard.press("Tab")  # past the link that skips to the accounts, wherever the cursor is
    page.get_by_label("Or log in with that link or a token").focus()
    page.keyboard.type(world.do(world.running.running.token, "ops"))
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(12)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next and previous account")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.locator("#bulk")).to_contain_text("2 selected")
    stop = page.locator("#bulk").get_by_role("button", name=re.compile("^Stop"))
    tab_to(page, stop)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 accounts are connected, and will be disconnected")
    tab_to(page, dialog.get_by_role("button", name="Stop: 2 accounts"))
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("2 of 2 accounts stopped")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert names_in(world, "stopped") == names[:2]
    page.keyboard.press("Escape")  # the selection
    page.keyboard.press("/")
    page.keyboard.type(names[0])
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    details = page.get_by_label("Details of an account")
    expect(details.get_by_role("heading", name=names[0])).to_be_focused()
    tab_to(page, details.get_by_role("button", name="Start", exact=True))
    page.keyboard.press("Enter")
    expect(row(page, names[0])).to_contain_text("connected")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(80):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("no Tab gets there")


# Everybody can use it


@pytest.mark.timeout(900)  # axe looks at all views, for half a minute on an idle machine
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
@browsing
def test_no_view_has_a_serious_finding_of_axe(
    make_world: Make, screens: Screens, *, phone: bool, dark: bool
) -> None:
    world = make_world(40, consumers=True)
    page = screens.open(PHONE, touch=True, dark=dark) if phone else screens.open(dark=dark)
    enter(page, world)
    name = names_in(world, "connected")[0]
    found: dict[str, list[str]] = {}
    for address in ("/", f"/?account={name}", "/?view=codes", "/?view=deliveries", "/?view=sending",
                    "/?view=fleet"):  # fmt: skip
        page.goto(world.origin + address)
        expect(page.locator("#app")).to_be_visible()
        expect(page.locator("main > section").filter(visible=True)).to_be_visible()
        if "account" in address:
            expect(page.get_by_label("Details of an account")).to_contain_text("he account stays connected")
        if "codes" in address:
            expect(page.locator("#view-codes img[src*='qr.png']").first).to_be_visible()
        found[address] = findings(page)
    page.goto(world.origin)
    page.get_by_role("button", name=ADD).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found["the dialog that adds an account"] = findings(page)
    assert {place: one for place, one in found.items() if one} == {}


@browsing
def test_a_picture_that_is_not_there_yet_says_so_to_a_screen_reader(
    make_world: Make, screens: Screens
) -> None:
    world = make_world(12)
    page = screens.open()
    page.route("**/page/strips*", lambda _: None)  # no answer comes
    enter(page, world)
    strip = page.locator("svg.strip").first
    expect(strip).to_have_attribute("aria-label", "The last 24 hours are not known yet")
    assert findings(page) == []


@pytest.mark.parametrize("view", ["accounts", "codes", "deliveries", "sending", "fleet"])
@browsing
def test_a_phone_never_scrolls_sideways(make_world: Make, screens: Screens, view: str) -> None:
    world = make_world(40, consumers=True)
    page = screens.open(PHONE, touch=True)
    enter(page, world)
    page.goto(f"{world.origin}/?view={view}")
    expect(page.locator(f"#view-{view}")).to_be_visible()
    widths = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    page.wait_for_function(f"() => {{ const [all, seen] = ({widths})(); return all <= seen; }}")
