"""The accounts on the page, in a real browser: counts, table, strips, keys, and what the address carries."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from support.browser import DESKTOP, PHONE, Screens, browsing, findings
from support.linked import wait_until
from support.page_running import PageWorld

from orchestrator.accounts.states import State

BANNED: Final[dict[str, Any]] = {
    "state": State.BANNED,
    "kind": "temporary_ban",
    "reason": "banned for some time: <img src=x onerror=alert(1)>",
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[PageWorld]:
    with PageWorld(tmp_path, 30, steady=True) as running:
        yield running


def enter(world: PageWorld, page: Page, query: str = "") -> None:
    """Log in, and go to the accounts."""
    page.goto(world.login())
    expect(page.locator("#app")).to_be_visible()
    if query:
        page.goto(f"{world.origin}/{query}")
    expect(lines(page).first).to_be_visible()


def lines(page: Page) -> Locator:
    return page.locator("#table tr[data-name]")


def line(page: Page, name: str) -> Locator:
    return page.locator(f'#table tr[data-name="{name}"]')


def shown(page: Page) -> list[str]:
    return [
        str(name)
        for name in page.evaluate(
            "[...document.querySelectorAll('#table tr[data-name]')].map(e => e.dataset.name)"
        )
    ]


def scroll_to_the_end(page: Page, last: str) -> None:
    """Scroll until the last line is seen. Lists above the table may grow and push it away, also later."""
    page.wait_for_function(
        """(name) => {
          scrollTo(0, document.documentElement.scrollHeight);
          const line = document.querySelector(`#table tr[data-name="${name}"]`)?.getBoundingClientRect();
          return line && line.top >= 0 && line.bottom <= innerHeight + 1;
        }""",
        arg=last,
    )


def parameters(page: Page) -> dict[str, str]:
    """Return what the address says: the page's own, as Playwright hears of a change only later."""
    return {key: values[0] for key, values in parse_qs(page.evaluate("location.search.slice(1)")).items()}


def address_says(page: Page, wanted: dict[str, str]) -> None:
    """Wait until the address says that and nothing else."""
    wait_until(lambda: parameters(page) == wanted, f"the address does not say {wanted}")


def natural(name: str) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", name)]


@browsing
def test_a_line_is_patched_in_its_place(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    name = shown(page)[3]
    page.evaluate("name => { document.querySelector(`tr[data-name='${name}']`).marked = true; }", name)
    world.do(world.accounts.change, name, **BANNED)
    expect(line(page, name).locator(".state")).to_have_text("banned")
    assert page.evaluate("name => document.querySelector(`tr[data-name='${name}']`).marked", name)
    expect(line(page, name).locator(".c-state")).to_have_attribute("title", BANNED["reason"])
    assert page.locator("#table img").count() == 0


@browsing
def test_counts_filter_and_follow_what_happens(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    first, second, third = shown(page)[:3]
    for name in (first, second):
        world.do(world.accounts.change, name, **BANNED)
    world.do(world.accounts.change, third, state=State.STOPPED, reason="stopped by an operator")
    banned = page.locator("#counts button", has_text="banned")
    expect(banned.locator("b")).to_have_text("2")
    words = page.locator("#counts button:visible span").all_inner_texts()
    assert words == ["All", "Needs you", "banned", "connected", "stopped"]
    banned.click()
    expect(banned).to_have_attribute("aria-pressed", "true")
    expect(lines(page)).to_have_count(2)
    address_says(page, {"state": "banned"})
    page.locator("#counts button", has_text="stopped").click()
    expect(lines(page)).to_have_count(3)
    address_says(page, {"state": "banned,stopped"})
    world.do(world.accounts.change, first, state=State.CONNECTED, reason=None, kind=None)
    expect(lines(page)).to_have_count(2)
    expect(banned.locator("b")).to_have_text("1")
    page.locator("#counts button", has_text="All").click()
    expect(lines(page)).to_have_count(30)
    address_says(page, {})


@browsing
def test_title_and_icon_carry_the_number_that_needs_a_person(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    before = int((re.match(r"\((\d+)\)", page.title()) or ["", "0"])[1])
    first, second = shown(page)[:2]
    for name in (first, second):
        world.do(world.accounts.change, name, **BANNED)
    expect(page).to_have_title(f"({before + 2}) Orchestrator")
    expect(page.locator("#icon")).to_have_attribute("href", f"/page/icon-{before + 2}.svg")
    expect(page.locator("#announce")).to_contain_text("2 accounts need you")
    page.locator("#counts button", has_text="Needs you").click()
    expect(lines(page)).to_have_count(2)
    address_says(page, {"need": "1"})


@browsing
def test_a_search_narrows_while_one_types_and_stands_in_the_address(
    world: PageWorld, screens: Screens
) -> None:
    page = screens.open()
    enter(world, page)
    name = shown(page)[7]
    page.keyboard.press("/")
    page.keyboard.type(name[:-1].upper())
    wanted = [one for one in world.accounts.views if name[:-1] in one]
    expect(lines(page)).to_have_count(len(wanted))
    expect(page.locator("#number")).to_have_text(f"{len(wanted)} of 30 accounts")
    address_says(page, {"q": name[:-1].upper()})
    page.reload()
    expect(lines(page)).to_have_count(len(wanted))
    expect(page.locator("#search input")).to_have_value(name[:-1].upper())
    page.locator("#search input").fill("nobody has this name")
    expect(page.locator("#table .empty")).to_contain_text("No account matches")
    page.locator("#table .empty button").click()
    expect(lines(page)).to_have_count(30)


@browsing
def test_tags_of_a_line_filter(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    first, second = shown(page)[:2]
    for one in (first, second):
        world.accounts.more[one].tags = ["<b>odd</b>"]
        world.do(world.accounts.change, one)
    tag = line(page, first).locator(".tag")
    expect(tag).to_have_text("<b>odd</b>")
    tag.click()
    expect(lines(page)).to_have_count(2)
    address_says(page, {"tag": "<b>odd</b>"})
    page.locator("#tools .chips .tag").click()
    expect(lines(page)).to_have_count(30)
    page.get_by_label("Filter by tag").select_option("<b>odd</b>")
    expect(lines(page)).to_have_count(2)


@browsing
def test_a_header_sorts_and_says_so(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    by_name = sorted(world.accounts.views, key=natural)
    wait_until(lambda: shown(page) == by_name, "the lines are not in the order of names")
    waiting = page.locator("th.c-waiting")
    waiting.get_by_role("button").click()
    expect(waiting).to_have_attribute("aria-sort", "descending")

    def amounts() -> list[int]:
        return [world.accounts.views[name].waiting or 0 for name in shown(page)]

    wait_until(lambda: amounts() == sorted(amounts(), reverse=True), "the lines are not in that order")
    waiting.get_by_role("button").click()
    expect(waiting).to_have_attribute("aria-sort", "ascending")
    address_says(page, {"sort": "waiting"})
    page.reload()
    expect(waiting).to_have_attribute("aria-sort", "ascending")


@browsing
def test_keys_move_select_open_and_leave(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    names = shown(page)
    for key in ("j", "j", "k", "j", "x", "j", "j", "Shift+x"):
        page.keyboard.press(key)
    expect(page.locator("#table tr.chosen")).to_have_count(3)
    page.wait_for_url(lambda url: url.count(",") == 2)
    address_says(page, {"selected": ",".join(names[1:4])})
    assert page.evaluate("document.activeElement.closest('tr').dataset.name") == names[3]
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_be_visible()
    wait_until(lambda: parameters(page).get("account") == names[3], "the address does not say so")
    page.keyboard.press("j")
    wait_until(lambda: parameters(page).get("account") == names[4], "the address does not say so")
    expect(page.locator("#details")).to_contain_text(names[4])
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#table tr.chosen")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("j")  # A dialog has the keys for itself.
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.wait_for_url(lambda url: "selected" not in url)
    page.keyboard.press("3")
    address_says(page, {"view": "deliveries"})
    page.keyboard.press("1")
    expect(lines(page).first).to_be_visible()


@browsing
def test_a_selection_stands_in_the_address_and_comes_back(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    names = shown(page)
    enter_again = f"?selected={names[2]},no-such-account,{names[5]}"
    page.goto(f"{world.origin}/{enter_again}")
    expect(page.locator("#table tr.chosen")).to_have_count(2)
    box = page.get_by_label("Select all accounts that are shown")
    wait_until(lambda: box.evaluate("box => box.indeterminate"), "the box is not for some of them")
    box.check()
    expect(page.locator("#table tr.chosen")).to_have_count(30)
    # A filter that somebody chooses takes what it hides out of the selection.
    page.locator("#search input").fill(names[2])
    expect(lines(page)).not_to_have_count(30)
    count = lines(page).count()
    page.locator("#search input").fill("")
    expect(lines(page)).to_have_count(30)
    expect(page.locator("#table tr.chosen")).to_have_count(count)


@browsing
def test_of_many_lines_only_those_near_the_screen_are_there(tmp_path: Path, screens: Screens) -> None:
    with PageWorld(tmp_path, 500, steady=True) as world:
        page = screens.open()
        enter(world, page)
        names = sorted(world.accounts.views, key=natural)
        expect(page.get_by_role("table", name="Accounts")).to_have_attribute("aria-rowcount", "501")
        assert lines(page).count() < 100
        scroll_to_the_end(page, names[-1])
        assert lines(page).count() < 100
        expect(line(page, names[-1])).to_have_attribute("aria-rowindex", "501")
        # What changes far away is there when one comes back.
        world.do(world.accounts.change, names[0], **BANNED)
        expect(page.locator("#counts button", has_text="banned")).to_be_attached()
        page.evaluate("scrollTo(0, 0)")
        expect(line(page, names[0]).locator(".state")).to_have_text("banned")
        # The cursor goes where no line is yet.
        scroll_to_the_end(page, names[-1])
        page.keyboard.press("j")
        expect(line(page, names[0])).to_be_in_viewport()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@browsing
def test_a_long_list_stays_where_one_scrolls_to(
    tmp_path: Path, screens: Screens, size: tuple[int, int]
) -> None:
    with PageWorld(tmp_path, 400) as world:
        page = screens.open(size)
        enter(world, page)
        settled = """async (top) => {
          scrollTo(0, top);
          for (let frame = 0; frame < 30; frame += 1) await new Promise(requestAnimationFrame);
          return [scrollY, document.documentElement.scrollHeight];
        }"""
        _, height = page.evaluate(settled, 0)
        for top in (4000, 9000, 1500, 6000):
            where, now = page.evaluate(settled, top)
            assert abs(where - top) <= 1
            # Lists above the table may grow; the table itself has a height for each line, there or not.
            assert abs(now - height) < 2000
            heights = page.evaluate(
                "[...document.querySelectorAll('#table tr[data-name]')].map((line) => line.offsetHeight)"
            )
            assert set(heights) == {64 if size == PHONE else 34}


@browsing
def test_strips_show_the_day_and_grow(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    name = shown(page)[0]
    strip = line(page, name).locator("svg.strip")
    expect(strip.locator(".fill-good")).to_have_count(1)
    expect(strip.locator(".fill-wait")).to_have_count(1)  # The fall that everybody had.
    expect(strip.locator(".fill-bad")).to_have_count(0)
    world.do(world.accounts.change, name, **BANNED)
    expect(strip.locator(".fill-bad")).to_have_count(1)
    expect(strip).to_have_attribute("aria-label", re.compile(r"^Last 24 hours: connected \d+%.*banned \d+%"))
    fleet = page.locator("#fleet-strip svg")
    expect(fleet).to_have_attribute("aria-label", re.compile(r"most trouble at \d\d:\d\d.\d\d:\d\d"))
    fleet.hover()
    expect(page.locator("#fleet-strip .tip")).to_contain_text("connected")


@browsing
def test_a_page_without_its_stream_says_so_and_finds_it_again(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    screens.refused.add("/page/stream")
    cut = [True]

    def answer(route: Route) -> None:
        if cut[0]:
            route.abort()
        else:
            route.continue_()

    page.route("**/page/stream", answer)
    page.goto(world.login())
    expect(page.locator("#connection")).to_have_text("No connection: trying again")
    expect(lines(page)).to_have_count(0)
    cut[0] = False
    expect(lines(page)).to_have_count(30)
    expect(page.locator("#connection")).to_have_text("Live")


@browsing
def test_the_choice_of_columns_is_kept(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    expect(page.locator("th.c-proxy")).to_be_visible()
    page.locator("#columns summary").click()
    page.get_by_role("checkbox", name="Proxy").uncheck()
    page.get_by_role("checkbox", name="Why").check()
    expect(page.locator("th.c-proxy")).to_have_count(0)
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("th.c-reason")).to_be_visible()
    expect(page.locator("th.c-proxy")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True])
@browsing
def test_a_phone_shows_two_lines_an_account(world: PageWorld, screens: Screens, dark: bool) -> None:
    page = screens.open(PHONE, dark=dark, touch=True)
    enter(world, page)
    first = lines(page).first
    for part in ("name", "state", "since", "strip", "phone"):
        expect(first.locator(f".c-{part}")).to_be_visible()
    box = first.bounding_box()
    assert box is not None
    assert 56 <= box["height"] <= 72
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first.locator(".check").tap()
    expect(page.locator("#table tr.chosen")).to_have_count(1)
    page.get_by_label("Sort by").select_option("-waiting")
    wait_until(lambda: parameters(page).get("sort") == "-waiting", "the address does not say so")
    assert findings(page) == []


@browsing
def test_who_may_only_look_selects_nothing(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    page.goto(world.login(["read"]))
    expect(lines(page)).to_have_count(30)
    expect(page.locator("#table input[type=checkbox]:visible")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#table tr.at")).to_have_count(1)
    assert page.locator("#table tr.chosen").count() == 0
    assert findings(page) == []


@browsing
def test_the_order_is_that_of_people_and_leaves_the_unknown_last(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    dice = random.Random(7)
    accounts: list[dict[str, Any]] = [
        {
            "name": f"a{number}",
            "state": dice.choice(["banned", "connected", "odd"]),
            "waiting": dice.choice([None, 0, 3, 40]),
        }
        for number in range(200)
    ]
    dice.shuffle(accounts)
    ask = """async ([accounts, sort]) => {
      const { order } = await import("/page/js/filter.js");
      return accounts.sort(order(sort, ["banned", "connected"])).map(({ name }) => name);
    }"""

    def number(one: dict[str, Any]) -> int:
        return int(one["name"][1:])

    rank = {"odd": -1, "banned": 0, "connected": 1}
    wanted = {
        "name": sorted(accounts, key=number),
        "-name": sorted(accounts, key=number, reverse=True),
        "state": sorted(accounts, key=lambda one: (rank[one["state"]], number(one))),
        "-state": sorted(accounts, key=lambda one: (-rank[one["state"]], number(one))),
        "waiting": sorted(
            accounts, key=lambda one: (one["waiting"] is None, one["waiting"] or 0, number(one))
        ),
        "-waiting": sorted(
            accounts, key=lambda one: (one["waiting"] is None, -(one["waiting"] or 0), number(one))
        ),
    }
    for sort, expected in wanted.items():
        assert page.evaluate(ask, [accounts, sort]) == [one["name"] for one in expected], sort


@browsing
def test_rows_become_accounts_and_leave_again(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    enter(world, page)
    ask = """async (events) => {
      const { apply } = await import("/page/js/stream.js");
      const accounts = new Map();
      return events.map((event) => {
        const { changed, gone, all } = apply(accounts, ["name", "state", "later"], event);
        return [[...changed], [...gone], all, [...accounts.values()]];
      });
    }"""
    told = page.evaluate(
        ask,
        [
            {"rows": [["a", "connected", 1], ["b", "failed"]], "all": True},
            {"rows": [["a", "failed", 2]], "gone": ["b", "never-there"]},
            {"rows": [["c", "connected", 3]], "all": True},
        ],
    )
    assert told == [
        [["a", "b"], [], True, [
            {"name": "a", "state": "connected", "later": 1}, {"name": "b", "state": "failed", "later": None},
        ]],
        [["a"], ["b"], False, [{"name": "a", "state": "failed", "later": 2}]],
        [["c"], ["a"], True, [{"name": "c", "state": "connected", "later": 3}]],
    ]  # fmt: skip
