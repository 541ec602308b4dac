"""Deliveries, sending and the fleet on the page, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import PHONE, Screens, browsing
from support.page_running import PageWorld

from orchestrator.access.scopes import Scope
from orchestrator.errors import OrchestratorError
from orchestrator.sending.pacing import Flow
from orchestrator.sending.restrictions import TOO_MANY, Stretch
from orchestrator.sending.row import State
from orchestrator.sending.turns import CLOSED

Json = dict[str, Any]
READ: tuple[Scope, ...] = ("read",)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    with PageWorld(tmp_path_factory.mktemp("world"), 6, consumers=True) as running:
        yield running


@pytest.fixture
def world(shared: PageWorld) -> Iterator[PageWorld]:
    """A world whose consumers, outboxes and switch are as they were after each test."""
    dispatcher, accounts = shared.running.running.services.dispatcher, shared.accounts
    before = {name: dict(row) for name, row in dispatcher.rows.items()}
    yield shared
    dispatcher.rows.update(before)
    dispatcher.calls.clear()
    accounts.rows.clear()
    accounts.desks.clear()
    accounts.maintenance = None
    accounts.errors.clear()
    shared.running.running.api.shared.facts.forget()


def enter(page: Page, world: PageWorld, view: str, **more: Any) -> Locator:  # noqa: ANN401
    """Log in, and return a view."""
    page.goto(world.login(**more))
    expect(page.locator("#app")).to_be_visible()
    page.locator(f"#views [data-view={view.lower()}]").click()
    found = page.get_by_role("region", name=view, exact=True)
    expect(found).to_be_visible()
    return found


def line(view: Locator, name: str) -> Locator:
    return view.locator("table.flows tbody tr").filter(has=view.page.locator(f'b:text-is("{name}")'))


# Deliveries


@browsing
def test_what_needs_somebody_stands_first_with_what_went_wrong(world: PageWorld, screens: Screens) -> None:
    view = enter(screens.open(), world, "Deliveries")
    expect(view.locator("tbody tr")).to_have_count(5)
    expect(view.locator("tbody tr").first).to_contain_text("billing")
    expect(line(view, "billing")).to_contain_text("wants no more")
    expect(line(view, "billing")).to_contain_text("1,800")
    expect(line(view, "billing")).to_contain_text(re.compile(r"ago: 410 Gone"))
    expect(line(view, "crm")).to_contain_text("takes events")
    expect(view).to_contain_text("12 given up")


@browsing
def test_a_test_says_how_it_ended(world: PageWorld, screens: Screens) -> None:
    view = enter(screens.open(), world, "Deliveries")
    line(view, "crm").get_by_role("button", name="Test crm", exact=True).click()
    expect(line(view, "crm").get_by_role("status")).to_have_text("Test: status 200 in 100 ms")
    assert [call[0] for call in world.running.running.services.dispatcher.calls] == ["webhook_test"]


@browsing
def test_a_webhook_is_paused_and_resumed_after_a_question(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    view = enter(page, world, "Deliveries")
    line(view, "crm").get_by_role("button", name="Pause crm", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert not world.running.running.services.dispatcher.calls
    line(view, "crm").get_by_role("button", name="Pause crm", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Pause", exact=True).click()
    expect(line(view, "crm")).to_contain_text("paused")
    line(view, "crm").get_by_role("button", name="Resume crm", exact=True).click()
    expect(line(view, "crm")).to_contain_text("takes events")


@browsing
def test_what_was_given_up_is_replayed(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    view = enter(page, world, "Deliveries")
    line(view, "billing").get_by_role("button", name="Replay… billing", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("12 events are sent again")
    dialog.get_by_role("button", name="Replay 12 events").click()
    expect(line(view, "billing").get_by_role("status")).to_have_text("3 events on the way again")
    assert [call[0] for call in world.running.running.services.dispatcher.calls] == ["webhook_replay"]


@browsing
def test_who_may_only_look_has_no_buttons_there(world: PageWorld, screens: Screens) -> None:
    view = enter(screens.open(), world, "Deliveries", scopes=READ)
    expect(line(view, "billing")).to_be_visible()
    expect(view.get_by_role("button", name=re.compile("Test|Pause|Resume|Replay"))).to_have_count(0)
    expect(line(view, "greeter").get_by_role("button")).to_have_attribute(
        "aria-label", "Copy the command orchestrator consumer pause greeter"
    )


@browsing
def test_a_consumer_of_accounts_of_others_is_not_there(world: PageWorld, screens: Screens) -> None:
    name = min(world.accounts.views)
    world.do(world.running.running.services.dispatcher.add, "mine", "webhook", [name])
    try:
        view = enter(screens.open(), world, "Deliveries", accounts=[name])
        expect(view.locator("tbody tr")).to_have_count(1)
        expect(line(view, "mine")).to_be_visible()
    finally:
        del world.running.running.services.dispatcher.rows["mine"]


# Sending


def connected(world: PageWorld) -> str:
    return next(name for name, view in sorted(world.accounts.views.items()) if view.state == "connected")


@browsing
def test_how_an_account_stands_with_its_sending(world: PageWorld, screens: Screens) -> None:
    name = connected(world)
    now = world.running.running.api.shared.wall()
    locked = Stretch(now - 10, now + 3600, 0.0, TOO_MANY)
    parts: dict[str, Flow | Stretch] = {"flow": Flow(known=now + 6000), "new": Stretch(), "all": locked}
    text = "{" + ",".join(f'"{key}":{_json(value)}' for key, value in parts.items()) + "}"
    world.accounts.desks[name] = text
    view = enter(screens.open(), world, "Sending")
    view.get_by_label("Find an account").fill(name)
    view.get_by_role("button", name=re.compile(f"^{name}")).click()
    side = view.get_by_label("Sending of an account")
    expect(side.get_by_role("heading", name=name)).to_be_visible()
    expect(side).to_contain_text("WhatsApp takes no messages")
    expect(side).to_contain_text(f"{CLOSED[TOO_MANY]} (429)")
    expect(side).to_contain_text("0 of 5")
    expect(side).to_contain_text("20 of 20")
    expect(side).to_contain_text("no limit")
    expect(side).to_contain_text(f"orchestrator outbox {name}")
    expect(view.page).to_have_url(re.compile(f"of={name}"))


def _json(value: Flow | Stretch) -> str:
    return json.dumps(value.as_json())


@browsing
def test_a_test_message_is_sent_after_a_question(world: PageWorld, screens: Screens) -> None:
    name, page = connected(world), screens.open(PHONE, touch=True)
    world.accounts.ends = State.SENT
    enter(page, world, "Sending")
    page.goto(f"{world.origin}/?view=sending&of={name}")
    side = page.get_by_label("Sending of an account")
    side.get_by_role("button", name="Test message…").tap()
    expect(page.get_by_role("dialog")).to_contain_text("to its own number")
    page.get_by_role("dialog").get_by_role("button", name="Send", exact=True).tap()
    expect(side.get_by_role("status")).to_have_text("Test message sent")
    (row,) = world.accounts.rows[name]
    assert row.to.startswith(world.accounts.phones[name].removeprefix("+") + "@")


@browsing
def test_who_may_not_send_has_no_test_message(world: PageWorld, screens: Screens) -> None:
    view = enter(screens.open(), world, "Sending", scopes=READ)
    view.get_by_label("Find an account").fill(connected(world))
    view.get_by_role("listitem").first.get_by_role("button").click()
    expect(view.get_by_label("Sending of an account").get_by_role("heading").first).to_be_visible()
    expect(view.get_by_role("button", name="Test message…")).to_be_hidden()


# The fleet


@browsing
def test_maintenance_begins_and_ends_with_a_question_and_a_line_above_all(
    world: PageWorld, screens: Screens
) -> None:
    page = screens.open()
    view = enter(page, world, "Fleet")
    expect(view.get_by_role("heading", name="WhatsApp library")).to_be_visible()
    view.get_by_role("button", name="Begin maintenance…").click()
    page.get_by_role("dialog").get_by_role("button", name="Begin maintenance", exact=True).click()
    expect(page.locator("#banner")).to_contain_text("nothing starts by itself")
    assert world.accounts.maintenance is not None
    page.locator("#views [data-view=accounts]").click()
    page.locator("#banner").get_by_role("button", name="End maintenance…").click()
    page.get_by_role("dialog").get_by_role("button", name="End maintenance", exact=True).click()
    expect(page.locator("#banner")).to_be_hidden()
    assert world.accounts.maintenance is None


@browsing
def test_what_the_service_refuses_is_said_where_it_was_asked(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    screens.refused.add("/page/maintenance")
    view = enter(page, world, "Fleet")
    view.get_by_role("button", name="Begin maintenance…").click()

    async def refuse(*_: object, **__: object) -> Json:
        raise OrchestratorError("it cannot be written", key="state_unusable")

    ask = world.accounts.ask
    world.accounts.ask = refuse  # type: ignore[method-assign]
    try:
        page.get_by_role("dialog").get_by_role("button", name="Begin maintenance", exact=True).click()
        expect(view.get_by_role("alert")).to_contain_text("cannot use a folder or file")
    finally:
        world.accounts.ask = ask  # type: ignore[method-assign]


@browsing
@pytest.mark.parametrize("who", ["reader", "limited"])
def test_who_may_not_turn_it_has_no_switch(world: PageWorld, screens: Screens, who: str) -> None:
    more: Json = {"scopes": READ} if who == "reader" else {"accounts": sorted(world.accounts.views)[:1]}
    view = enter(screens.open(), world, "Fleet", **more)
    expect(view.get_by_role("heading", name="Maintenance")).to_be_visible()
    expect(view.get_by_role("button", name=re.compile("maintenance…"))).to_be_hidden()


# What the modules decide


@browsing
def test_short_words_for_times_and_sums(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    page.goto(world.origin + "/")
    found = page.evaluate(
        """async () => {
          const { duration, summary, actsOf, trouble, replayed } = await import("/page/js/deliveries.js");
          const { headline } = await import("/page/js/facts.js");
          const { fate, listed } = await import("/page/js/sending.js");
          const one = { name: "a", kind: "webhook", state: "active", dead: 0 };
          const facts = {
            breakers: [], disk: { low: false }, maintenance: { on: false }, library: {}, ways: [],
          };
          return {
            again: [1, 2].map((dead) => replayed({ ...one, dead })),
            durations: [null, 0, 84, 999, 1000, 59_999, 60_000, 7_200_000].map(duration),
            summaries: [summary([one]), summary([{ ...one, rate: 1200, waiting: 3, dead: 2 }, one])],
            acts: [one, { ...one, dead: 2 }, { ...one, state: "paused" }, { ...one, state: "disabled" },
              { ...one, state: "failing" }, { ...one, retrying: 2 }, { ...one, state: "paused", retrying: 2 },
              { ...one, kind: "bot" }, { ...one, kind: "pull" }].map((each) => actsOf(each, true).join(" ")),
            none: actsOf({ ...one, dead: 1 }, false),
            trouble: [
              one, { ...one, state: "failing", why: "w" }, { ...one, last_error: "e", last_error_at: 40 },
            ].map((each) => trouble(each, 100)),
            headlines: [facts, { ...facts, maintenance: { on: true }, disk: { low: true } },
              { ...facts, breakers: [{}] }, { ...facts, ways: [{ state: "lost" }], breakers: [{}] },
            ].map(headline),
            fates: [fate({ state: "sent", row: 3 }, 0),
              fate({ state: "queued", row: 3, queued_until: "1970-01-01T00:01:00Z", why: "so" }, 0)],
            listed: listed([
              { name: "idle" }, { name: "few", queued: 1 }, { name: "many", queued: 9 },
              { name: "new", restricted: "new" }, { name: "all", restricted: "all", queued: 0 },
            ], "").map(({ name }) => name),
            found: listed([{ name: "idle" }, { name: "few", queued: 1 }], "DL".toLowerCase()).length,
          };
        }"""
    )
    assert [words.split(",")[0] for words in found.pop("again")] == [
        "1 event is sent again", "2 events are sent again",
    ]  # fmt: skip
    assert found == {
        "durations": ["-", "0 ms", "84 ms", "999 ms", "1.0 s", "60.0 s", "1 min", "120 min"],
        "summaries": ["0 a minute · 0 waiting", "1,200 a minute · 3 waiting · 2 given up"],
        "acts": ["test pause", "replay test pause", "test resume", "test resume", "retry test pause",
                 "retry test pause", "test resume", "", ""],
        "none": [],
        "trouble": [None, "w", "1m ago: e"],
        "headlines": [
            "Nothing stands in the way.", "maintenance is on · the disk is almost full", "1 breaker open",
            "1 way out lost",
        ],
        "fates": [
            ["Test message sent", True],
            ["Test message waits in the outbox as row 3, in 1m at the earliest: so", False],
        ],
        "listed": ["all", "new", "many", "few"],
        "found": 1,
    }  # fmt: skip


@browsing
def test_a_picture_of_the_last_minutes_stays_within_its_frame(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    page.goto(world.origin + "/")
    found = page.evaluate(
        """async () => {
          const { paths, Past } = await import("/page/js/past.js");
          const past = new Past();
          for (let at = 0; at < 1000; at += 1) past.note([["a", at % 97], ["b", 0]]);
          past.note([["b", 5]]);
          const numbers = (text) => [...text.matchAll(/-?[0-9.]+/g)].map(([number]) => Number(number));
          const all = [[], [3], [0, 0], [1, 5, 2], Array(60).fill(7), past.of("b")].map((points) => {
            const { line, area } = paths(points, 72, 20);
            return [numbers(line), numbers(area)];
          });
          return { all, kept: past.of("b").length, gone: past.of("a").length };
        }"""
    )
    assert (found["kept"], found["gone"]) == (60, 0)
    assert found["all"][0] == found["all"][1] == [[], []]
    for line_, area in found["all"][2:]:
        assert line_
        xs, ys = line_[::2], line_[1::2]
        assert xs == sorted(xs)
        assert xs[-1] == 72.0
        assert all(0 <= x <= 72 for x in xs)
        assert all(0 <= y <= 20 for y in ys)
        assert area[: len(line_)] == line_


@browsing
def test_what_is_the_same_stays_in_its_place(world: PageWorld, screens: Screens) -> None:
    page = screens.open()
    page.goto(world.origin + "/")
    found = page.evaluate(
        """async () => {
          const { patch } = await import("/page/js/patch.js");
          const { h } = await import("/page/js/dom.js");
          const make = (words, button, more = []) => [
            h("p", {}, words, h("b", {}, "!")), h("button", { title: button }, button), ...more,
          ];
          const place = h("div", {}, make("one", "same"));
          document.body.append(place);
          const [text, button] = place.children;
          button.focus();
          patch(place, make("two", "same", [h("i", {}, "new")]));
          const kept = () => [place.children[0] === text, place.children[1] === button, place.textContent];
          const first = [document.activeElement === button, ...kept()];
          patch(place, make("three", "other"));
          const second = kept();
          patch(place, []);
          return [first, second, place.childNodes.length];
        }"""
    )
    assert found == [[True, True, True, "two!samenew"], [True, False, "three!other"], 0]
