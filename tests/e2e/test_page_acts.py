"""What an operator does on the page: what needs a person, adding and pairing, details, and acts on many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from support.browser import PHONE, Screens, browsing, findings
from support.page_running import PageWorld

from orchestrator.accounts.states import CODE_WAITS, State
from orchestrator.control.view import Cause

NEEDLE = "<img src=x onerror=\"document.title='it ran'\">"
REMOVED = "logged out: the device was removed on the phone"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PageWorld]:
    with PageWorld(tmp_path, 12, steady=True) as running:
        yield running


def log_in(world: PageWorld, page: Page, path: str = "/", scopes: tuple[str, ...] | None = None) -> None:
    page.goto(world.login(scopes) if scopes else world.login())  # type: ignore[arg-type]
    expect(page.locator("#app")).to_be_visible()
    if path != "/":
        page.goto(world.origin + path)
        expect(page.locator("#app")).to_be_visible()


def fail(
    world: PageWorld, name: str, reason: str = "logged out: the device was removed on the phone"
) -> None:
    world.do(world.accounts.change, name, state=State.FAILED, kind="logged_out", reason=reason, pid=None)


def line_of(page: Page, words: str) -> Locator:
    return page.locator(".needs-line", has_text=words)


def names(world: PageWorld) -> list[str]:
    return sorted(world.accounts.views)


@browsing
def test_needs_come_and_go_by_themselves(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page)
    expect(page.get_by_text("Nothing to do")).to_be_visible()
    first, second, *_ = names(world)
    fail(world, first)
    expect(line_of(page, first)).to_contain_text("Link the account again by a new code")
    copied = line_of(page, first).get_by_role("button", name=f"Copy the command orchestrator repair {first}")
    expect(copied).to_have_count(1)  # what the button beside it does, "Pair again"
    expect(page.get_by_text("Nothing to do")).to_be_hidden()
    world.do(world.accounts.change, second, state=State.BANNED, kind="temporary_ban", reason="banned")
    expect(page.locator(".needs-line")).to_have_count(2)
    expect(page.locator(".needs-line").first).to_contain_text(second)
    assert findings(page) == []
    for name in (first, second):
        world.do(world.accounts.change, name, state=State.CONNECTED, kind=None, reason=None)
    expect(page.get_by_text("Nothing to do")).to_be_visible()
    expect(page.locator(".needs-line")).to_have_count(0)


@browsing
def test_an_account_is_started_from_its_need(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page)
    name = names(world)[0]
    world.do(world.accounts.change, name, state=State.REPLACED, kind="replaced", reason="taken over")
    line_of(page, name).get_by_role("button", name="Start", exact=True).click()
    expect(line_of(page, name)).to_have_count(0)
    assert world.accounts.views[name].state in (State.STARTING, State.CONNECTING, State.CONNECTED)


@browsing
def test_many_with_one_cause_are_one_line_with_one_button(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page)
    some = names(world)[:6]
    for name in some:
        fail(world, name)
    line = line_of(page, "6 accounts")
    expect(line).to_have_count(1)
    line.get_by_role("button", name="6 accounts").click()
    for name in some:
        expect(line.get_by_role("button", name=name, exact=True)).to_be_visible()
    line.get_by_role("button", name="Pair again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("6 accounts are not connected, and will show a new code")
    dialog.get_by_role("button", name="Pair again: 6 accounts").click()
    expect(dialog).to_contain_text("6 of 6 accounts set to pair again")
    assert {world.accounts.views[name].state for name in some} == {State.PAIRING}


@browsing
def test_lost_messages_are_dismissed_in_one_browser(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    world.do(world.accounts.change, name, lost=2)
    one, other = screens.open(), screens.open()
    for page in (one, other):
        log_in(world, page)
        expect(line_of(page, name)).to_be_visible()
    line_of(one, name).get_by_role("button", name="Dismiss").click()
    expect(line_of(one, name)).to_have_count(0)
    expect(line_of(other, name)).to_be_visible()
    world.do(world.accounts.change, name, lost=3)
    expect(line_of(one, name)).to_be_visible()


@browsing
def test_an_account_is_added_and_paired_on_a_phone(world: PageWorld, screens: Screens) -> None:
    page = screens.open(PHONE, touch=True)
    log_in(world, page)
    page.get_by_role("button", name="Add account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("Not A Name")
    dialog.get_by_role("button", name="Add and pair").click()
    expect(dialog.get_by_role("alert")).to_contain_text("A name has")
    dialog.get_by_label("Name", exact=True).fill(names(world)[0])
    dialog.get_by_role("button", name="Add and pair").click()
    expect(dialog.get_by_role("alert")).to_contain_text("already")
    dialog.get_by_label("Name", exact=True).fill("new-one")
    dialog.get_by_label("Tags").fill("eu, vip")
    assert findings(page) == []
    dialog.get_by_role("button", name="Add and pair").click()
    picture = dialog.get_by_role("img", name="QR code of new-one")
    expect(picture).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first = picture.get_attribute("src")
    assert first is not None
    assert re.search(r"/api/accounts/new-one/qr\.png\?until=\d+$", first)
    world.do(world.accounts.codes.clear)  # the next code comes
    expect(picture).not_to_have_attribute("src", first)
    assert findings(page) == []
    world.do(world.accounts.scan, "new-one")
    expect(dialog).to_contain_text("Connected")
    expect(picture).to_be_hidden()
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    assert world.accounts.more["new-one"].tags == ["eu", "vip"]


@browsing
def test_where_the_service_may_not_write_the_command_is_shown(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    screens.refused.add("/api/accounts")
    page.route(
        "**/api/accounts",
        lambda route: route.fulfill(
            status=500, content_type="application/problem+json",
            body=json.dumps({"key": "config_not_writable", "detail": "The service may not write."}),
        ),
    )  # fmt: skip
    log_in(world, page)
    page.get_by_role("button", name="Add account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("new-one")
    dialog.get_by_label("Phone number").fill("0151 00001")
    dialog.get_by_role("button", name="Add and pair").click()
    expect(dialog.get_by_role("alert")).to_contain_text("country code")
    dialog.get_by_label("Phone number").fill("+49 151 00001")
    dialog.get_by_label("Tags").fill("vip EU vip")
    dialog.get_by_role("button", name="Add and pair").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The service may not write.")
    expect(dialog).to_contain_text("orchestrator add new-one --phone +4915100001 --tag vip --tag eu")


@browsing
def test_a_phone_is_linked_by_eight_characters(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page)
    page.get_by_role("button", name="Add account").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("new-one")
    dialog.get_by_text("Eight characters").click()
    dialog.get_by_role("button", name="Add and pair").click()
    expect(dialog.get_by_role("alert")).to_contain_text("phone number")
    dialog.get_by_label("Phone number").fill("+49 151 00002")
    dialog.get_by_role("button", name="Add and pair").click()
    letters = dialog.locator(".code-letters")
    expect(letters).to_have_text(re.compile(r"^[A-Z0-9]{4}-[A-Z0-9]{4}$"))
    expect(dialog.get_by_role("img")).to_have_count(0)
    assert letters.inner_text().replace("-", "") == world.accounts.codes["new-one"]["text"]
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Add account")).to_be_focused()


@browsing
def test_an_account_is_paired_again_in_one_dialog(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open()
    log_in(world, page, f"/?account={name}")
    details = page.get_by_role("complementary")
    details.get_by_role("button", name="Pair again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Its session is thrown away")
    dialog.get_by_role("button", name="Pair again", exact=True).click()
    # The account was connected until now: that is not what the dialog waits for.
    expect(dialog.get_by_role("img", name=f"QR code of {name}")).to_be_visible()
    world.do(world.accounts.scan, name)
    expect(dialog).to_contain_text("Connected")
    dialog.get_by_role("button", name="Done").click()
    expect(details.get_by_role("heading", name=name)).to_be_visible()


@browsing
def test_a_code_that_nobody_used_can_be_asked_for_again(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open()
    log_in(world, page)
    world.do(world.accounts.change, name, state=State.PAIRING, reason=None)
    line_of(page, name).get_by_role("button", name="Show code").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("img", name=f"QR code of {name}")).to_be_visible()
    screens.refused.add(f"/api/accounts/{name}/code")
    world.do(world.accounts.codes.pop, name)
    fail(world, name, "nobody scanned a code")
    expect(dialog).to_contain_text("nobody scanned a code")
    expect(dialog.get_by_role("img")).to_have_count(0)
    expect(dialog.get_by_role("listitem")).to_have_count(0)  # no code, no steps to use it
    dialog.get_by_role("button", name="Pair again").click()
    expect(page.get_by_role("dialog")).to_contain_text(f"Pair {name} again?")


@browsing
def test_details_say_why_and_what_next(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open(dark=True)
    log_in(world, page)
    fail(world, name)
    line_of(page, name).get_by_role("button", name=name, exact=True).click()
    details = page.get_by_role("complementary", name="Details of an account")
    expect(details).to_contain_text("Logged out: the device was removed on the phone")
    expect(details).to_contain_text("Nothing until an operator acts")
    expect(details.locator(".timeline li").first).to_contain_text("connected → failed")
    expect(page).to_have_url(re.compile(f"account={name}"))
    details.get_by_text("Settings in force").click()
    expect(details.get_by_role("row", name=re.compile("backoff.base.*built-in"))).to_be_visible()
    details.get_by_label("Only what is configured").check()
    expect(details.get_by_role("row", name=re.compile("backoff.base"))).to_be_hidden()
    expect(details.get_by_role("row", name=re.compile("phone.*account"))).to_be_visible()
    assert findings(page) == []
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(page).not_to_have_url(re.compile("account="))
    page.go_back()
    expect(details).to_be_visible()


@browsing
def test_details_keep_why_the_session_was_lost_and_what_people_noted(
    world: PageWorld, screens: Screens
) -> None:
    name = names(world)[0]
    page = screens.open()
    log_in(world, page, f"/?account={name}")
    details = page.get_by_role("complementary", name="Details of an account")
    expect(details.locator(".details-head")).to_contain_text("connected")
    expect(details.get_by_text("session lost", exact=True)).to_have_count(0)
    expect(details.get_by_text("note", exact=True)).to_have_count(0)
    lost = Cause("logged_out", REMOVED, "2026-11-22T10:00:00Z")
    waits = {"state": State.PAIRING, "kind": None, "reason": CODE_WAITS, "pid": 4711}
    world.do(world.accounts.change, name, **waits, cause=lost, note="the phone is in the drawer")
    facts = details.locator("dl")
    expect(facts.filter(has_text="session lost")).to_contain_text(REMOVED[0].upper() + REMOVED[1:])
    expect(facts.filter(has_text="session lost")).to_contain_text("2026")
    expect(facts.filter(has_text="the phone is in the drawer")).to_contain_text("note")
    told = page.locator(f'#table tr[data-name="{name}"] [title^="logged out by its phone; waits for a code"]')
    expect(told).to_be_visible()
    assert findings(page) == []
    world.do(world.accounts.change, name, state=State.CONNECTED, reason=None, cause=None)
    expect(details.get_by_text("session lost", exact=True)).to_have_count(0)
    expect(told).to_have_count(0)


@browsing
def test_details_say_who_did_what_and_what_is_remembered(world: PageWorld, screens: Screens) -> None:
    name, *others = names(world)[:3]
    page = screens.open()
    log_in(world, page, f"/?account={name}")
    lost = Cause("logged_out", "logged out by its phone", "2026-11-30T03:12:00Z")
    world.do(world.accounts.change, name, cause=lost, note="shop in Berlin", same_phone=(others[0],))
    world.do(
        world.accounts.change,
        name,
        state=State.STARTING,
        reason="its configuration has changed",
        by="anna (1000)",
    )
    details = page.get_by_role("complementary")
    expect(details.locator(".timeline li").first).to_contain_text(
        "its configuration has changed, by anna (1000)"
    )
    expect(details).to_contain_text("Logged out by its phone (2026-11-")
    expect(details).to_contain_text("shop in Berlin")
    expect(details).to_contain_text(f"{others[0]} is linked to it, too")
    world.do(world.accounts.change, name, same_phone=tuple(others), state=State.CONNECTED, by=NEEDLE)
    expect(details.locator(".timeline li").first).to_contain_text(f"by {NEEDLE}")
    expect(details).to_contain_text(f"{', '.join(others)} are linked to it, too")
    world.do(world.accounts.change, name, same_phone=(), note=None, state=State.CONNECTING)
    expect(details).not_to_contain_text("linked to it, too")
    expect(details).not_to_contain_text("shop in Berlin")


@browsing
def test_details_follow_what_happens(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open()
    log_in(world, page, f"/?account={name}")
    details = page.get_by_role("complementary")
    details.get_by_role("button", name="Stop", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert world.accounts.views[name].state == State.CONNECTED
    details.get_by_role("button", name="Stop", exact=True).click()
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(details.locator(".details-head")).to_contain_text("stopped")
    expect(details.locator(".timeline li").first).to_contain_text("stopped by the page session p1")
    expect(details.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    details.get_by_role("button", name="Start", exact=True).click()
    expect(details.locator(".details-head")).to_contain_text("connected")


@browsing
def test_an_answer_that_comes_late_hides_nothing_newer(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open()
    answers: list[bytes] = []
    late: list[Route] = []

    def hold_the_second(route: Route) -> None:
        if not answers:
            answer = route.fetch()
            answers.append(answer.body())
            route.fulfill(response=answer)
        elif not late:
            late.append(route)
        else:
            route.continue_()

    page.route(f"**/api/accounts/{name}?entries=*", hold_the_second)
    log_in(world, page, f"/?account={name}")
    newest = page.get_by_role("complementary").locator(".timeline li").first
    expect(newest).to_be_visible()
    with page.expect_request(f"**/api/accounts/{name}?entries=*"):
        world.do(world.accounts.change, name, state=State.STOPPED, reason="stopped by an operator", pid=None)
    world.do(world.accounts.change, name, state=State.BANNED, kind="temporary_ban", reason="banned")
    expect(newest).to_contain_text("banned")
    with page.expect_request_finished(lambda request: request == late[0].request):
        late[0].fulfill(body=answers[0], content_type="application/json")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(newest).to_contain_text("banned", timeout=1)


@browsing
def test_commands_are_copied(world: PageWorld, screens: Screens) -> None:
    name = names(world)[0]
    page = screens.open()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    log_in(world, page, f"/?account={name}")
    details = page.get_by_role("complementary")
    for act in ("stop", "restart", "repair"):
        details.get_by_role("button", name=f"Copy the command orchestrator {act} {name}").click()
        assert page.evaluate("navigator.clipboard.readText()") == f"orchestrator {act} {name}"
    expect(page.locator("#announce")).to_have_text(f"Copied: orchestrator repair {name}")


@browsing
def test_an_account_that_is_not_there_is_said_to_be_gone(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    screens.refused.add("/api/accounts/nobody")
    log_in(world, page, "/?account=nobody")
    expect(page.get_by_role("complementary")).to_contain_text("There is no account of this name")


@browsing
def test_many_are_restarted_and_each_says_how_it_fared(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page, "/?state=connected")
    bar = page.get_by_role("group", name="Act on several accounts")
    expect(bar).to_contain_text("All 12 shown")
    bar.get_by_role("button", name="Restart").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("12 accounts are connected, and will be disconnected for some seconds.")
    dialog.get_by_role("button", name="Restart: 12 accounts").click()
    expect(dialog).to_contain_text("12 of 12 accounts restarted")
    expect(dialog.locator(".bulk-results li")).to_have_count(12)
    for name in names(world):
        expect(dialog.locator(".bulk-results li", has_text=name)).to_contain_text("connected")
        assert "starting" in [entry["to"] for entry in world.accounts.more[name].history]
    assert findings(page) == []


@browsing
def test_what_is_refused_is_said_of_its_account_alone(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    bad = names(world)[3]
    screens.refused.add(f"/api/accounts/{bad}/stop")
    page.route(
        f"**/api/accounts/{bad}/stop",
        lambda route: route.fulfill(
            status=409, content_type="application/problem+json",
            body=json.dumps({"key": "account_disabled", "detail": f"No: {NEEDLE}"}),
        ),
    )  # fmt: skip
    log_in(world, page, "/?state=connected")
    page.get_by_role("group", name="Act on several accounts").get_by_role("button", name="Stop").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Stop: 12 accounts").click()
    expect(dialog).to_contain_text("11 of 12 accounts stopped · 1 with trouble")
    expect(dialog.locator("li.bad")).to_have_count(1)
    expect(dialog.locator("li.bad")).to_contain_text(f"No: {NEEDLE}")
    dialog.get_by_label("Only those with trouble").check()
    expect(dialog.locator(".bulk-results li")).to_have_count(1)
    page.unroute_all()
    dialog.get_by_role("button", name="Try the rest again").click()
    expect(dialog).to_contain_text("12 of 12 accounts stopped")
    assert world.accounts.views[bad].state == State.STOPPED


@browsing
def test_an_act_on_many_is_stopped_in_the_middle(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    held: list[Route] = []
    page.route("**/api/accounts/*/restart", lambda route: held.append(route))
    log_in(world, page, "/?state=connected")
    page.get_by_role("group", name="Act on several accounts").get_by_role("button", name="Restart").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restart: 12 accounts").click()
    expect(dialog.get_by_text("asks…")).not_to_have_count(0)
    dialog.get_by_role("button", name="Close", exact=True).last.click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Stop here").click()
    page.get_by_role("button", name="Show", exact=True).click()
    asked = len(held)
    assert 1 <= asked < 12
    for route in held:
        route.continue_()
    expect(dialog).to_contain_text(f"{asked} of 12 accounts restarted · {12 - asked} left as they were")
    assert len(held) == asked


@browsing
def test_only_selected_accounts_are_acted_on(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    first, second, *others = names(world)
    log_in(world, page)
    for name in (first, second):
        page.get_by_role("row", name=re.compile(f"{name}\\b")).get_by_role("checkbox").check()
    bar = page.get_by_role("group", name="Act on several accounts")
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop: 2 accounts").click()
    expect(page.get_by_role("dialog")).to_contain_text("2 of 2 accounts stopped")
    stopped = {name for name, view in world.accounts.views.items() if view.state == State.STOPPED}
    assert stopped == {first, second}
    assert others


@browsing
def test_accounts_that_work_are_not_unlinked_by_one_click(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    log_in(world, page, "/?state=connected")
    page.get_by_role("group", name="Act on several accounts").get_by_role("button", name="Pair again").click()
    dialog = page.get_by_role("dialog")
    yes = dialog.get_by_role("button", name="Pair again: 12 accounts")
    expect(yes).to_be_disabled()
    dialog.get_by_label(re.compile("Disconnect 12 accounts that work")).check()
    expect(yes).to_be_enabled()
    page.keyboard.press("Escape")
    assert {view.state for view in world.accounts.views.values()} == {State.CONNECTED}


@browsing
def test_a_session_that_only_reads_is_offered_nothing_that_changes(
    world: PageWorld, screens: Screens
) -> None:
    page = screens.open()
    first, second, *_ = names(world)
    log_in(world, page, f"/?account={first}&state=connected,failed,pairing", scopes=("read",))
    fail(world, second)
    expect(line_of(page, second)).to_be_visible()
    details = page.get_by_role("complementary")
    expect(details.get_by_role("button", name="Copy: explain")).to_be_visible()
    for words in ("Start", "Stop", "Restart", "Pair again", "Add account", "Show code"):
        expect(page.get_by_role("button", name=re.compile(f"^{words}…?$"))).to_have_count(0)
    expect(page.get_by_role("group", name="Act on several accounts")).to_have_count(0)
    expect(line_of(page, second).get_by_role("button", name="Look")).to_be_visible()


@browsing
def test_what_accounts_say_is_text_and_nothing_else(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    name = names(world)[0]
    log_in(world, page)
    world.accounts.more[name].tags = [NEEDLE]
    world.accounts.more[name].proxy = NEEDLE
    lost = Cause("logged_out", NEEDLE, "2026-11-22T10:00:00Z")
    world.do(world.accounts.change, name, note=NEEDLE, cause=lost)
    fail(world, name, NEEDLE)
    line_of(page, name).get_by_role("button", name=name, exact=True).click()
    details = page.get_by_role("complementary")
    expect(details).to_contain_text(NEEDLE)
    expect(details.locator(".timeline li").first).to_contain_text(NEEDLE)
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "it ran"


@browsing
def test_all_of_it_goes_by_keyboard(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    name = names(world)[0]
    log_in(world, page)
    fail(world, name)
    button = line_of(page, name).get_by_role("button", name="Pair again")
    expect(button).to_be_visible()
    for _ in range(60):
        if button.evaluate("(element) => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(20):  # the focus stays in the dialog, or goes to the browser's own parts
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement.closest('dialog') || document.activeElement === document.body"
        )
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Pair again", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("img", name=f"QR code of {name}")).to_be_visible()
    world.do(world.accounts.scan, name)
    expect(dialog.get_by_role("button", name="Done")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
