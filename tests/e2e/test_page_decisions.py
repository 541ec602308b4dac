"""What the page decides by itself, in its own modules in a real browser: commands, plans, groups, pace."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from support.browser import Screens, browsing
from support.page_running import PageWorld

from orchestrator.accounts import phones
from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.accounts.states import State
from orchestrator.control.attention import KINDS, KINDS_OF_CONSUMERS

Json = dict[str, Any]
ACTS = ("start", "stop", "restart", "repair")
RUNS = (State.STARTING, State.CONNECTING, State.PAIRING, State.CONNECTED, State.RECONNECTING)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    with PageWorld(tmp_path_factory.mktemp("world"), 3) as running:
        yield running


def modules(world: PageWorld, screens: Screens) -> Page:
    """Return a page on which the page's modules can be imported."""
    page = screens.open()
    page.goto(world.origin + "/")
    return page


def account(name: str, state: str, **more: object) -> Json:
    return {"name": name, "state": state, "since": 1, "next_at": None, "lost": 0, "need": None, **more}


@browsing
def test_a_command_reads_in_a_shell_as_what_was_meant(world: PageWorld, screens: Screens) -> None:
    dice = random.Random(15)
    alphabet = "abc019-_.=:/,@%+ \t\n'\"\\$`!*?[]{}()<>|&;~#^äß€😀"
    words = ["", "'", "''", "-n", "~", "a b", "$(id)", "`id`", "a'b", "\\", "!!"]
    words += ["".join(dice.choices(alphabet, k=dice.randrange(1, 12))) for _ in range(5000)]
    page = modules(world, screens)
    quoted = page.evaluate(
        "async (words) => words.map((await import('/page/js/command.js')).quote)",
        words,
    )
    for word, text in zip(words, quoted, strict=True):
        assert shlex.split(text) == [word]
    line = page.evaluate(
        "async (words) => (await import('/page/js/command.js')).line('orchestrator', ...words)", words[:50]
    )
    assert shlex.split(line) == ["orchestrator", *words[:50]]


@browsing
def test_names_stand_in_commands_as_they_are(world: PageWorld, screens: Screens) -> None:
    page = modules(world, screens)
    names = ["support", "sales-de", "ops.night", "a_1", "0"]
    found = page.evaluate(
        "async (names) => { const { command } = await import('/page/js/acts.js');"
        " return names.map((name) => command('stop', name)); }",
        names,
    )
    assert found == [f"orchestrator stop {name}" for name in names]


@browsing
def test_the_form_of_names_is_the_services(world: PageWorld, screens: Screens) -> None:
    dice = random.Random(16)
    words = ["", "a", "A", "-a", ".a", "a" * 63, "a" * 64, "a..b", "a/b", "ä", "a\n"]
    words += ["".join(dice.choices("abz09._-AZ /", k=dice.randrange(1, 9))) for _ in range(2000)]
    found = modules(world, screens).evaluate(
        "async (words) => { const { isName } = await import('/page/js/add.js'); return words.map(isName); }",
        words,
    )
    assert found == [re.fullmatch(NAME_PATTERN, word) is not None for word in words]


@browsing
def test_whatever_the_service_takes_as_a_number_the_page_takes(world: PageWorld, screens: Screens) -> None:
    dice = random.Random(20)
    words = ["+4915100001", "+49 (151) 00-001", "4915100001", "+0151000001", "", "+", "+1", "00491510000"]
    words += ["+" * dice.randrange(0, 3) + "".join(dice.choices("0123456789 ()./-a", k=dice.randrange(1, 20)))
              for _ in range(3000)]  # fmt: skip
    found = modules(world, screens).evaluate(
        "async (words) => words.map((await import('/page/js/add.js')).isNumber)",
        words,
    )
    taken = 0
    for word, ok in zip(words, found, strict=True):
        try:
            phones.parse(word)
        except phones.NotANumber:
            continue
        assert ok, word
        taken += 1
    assert taken > 20
    assert not any(found[2:8])


@browsing
def test_a_plan_leaves_no_account_out_of_what_it_says(world: PageWorld, screens: Screens) -> None:
    dice = random.Random(17)
    cases: list[tuple[str, list[Json], int]] = []
    for _ in range(2000):
        accounts = [
            account(f"a{number}", dice.choice(list(State)), next_at=dice.choice((None, 99)))
            for number in range(dice.randrange(0, 30))
        ]
        cases.append((dice.choice(ACTS), accounts, dice.randrange(1, 9)))
    plans = modules(world, screens).evaluate(
        "async (cases) => { const { plan } = await import('/page/js/acts.js');"
        " return cases.map(([act, accounts, parallel]) => plan(act, accounts, { parallel })); }",
        cases,
    )
    for (act, accounts, parallel), plan in zip(cases, plans, strict=True):
        left = [name for one in plan["left"] for name in one["names"]]
        assert sorted(plan["names"] + left) == sorted(one["name"] for one in accounts)
        taken = [one for one in accounts if one["name"] in plan["names"]]
        assert not any(one["state"] == State.DISABLED for one in taken)
        words = " ".join(plan["lines"])
        if not taken:
            assert plan["seconds"] == 0
            assert "Nothing" in words
            continue
        # Each account that it is done to is counted in one sentence.
        counted = [
            int(number.replace(",", "")) for number in re.findall(r"(?<!\S)([\d,]+) accounts?\b", words)
        ]
        assert sum(counted) == len(taken), words
        connected = sum(one["state"] == State.CONNECTED for one in taken)
        if connected and act != "start":
            assert "will be disconnected" in words
            assert connected in counted
        assert plan["seconds"] >= len(taken) // parallel
        match act:
            case "stop":
                assert not any(one["state"] == State.STOPPED for one in taken)
            case "start":
                assert not any(one["state"] in RUNS for one in taken)
                assert not any(one["state"] == State.BANNED and one["next_at"] for one in taken)
            case "repair":
                assert "thrown away" in words


@browsing
def test_buttons_are_those_that_make_sense(world: PageWorld, screens: Screens) -> None:
    found = modules(world, screens).evaluate(
        "async ([acts, states]) => { const { fits } = await import('/page/js/acts.js');"
        " return states.map((state) => acts.filter((act) => fits(act, { state }))); }",
        [ACTS, [str(state) for state in State]],
    )
    offered = dict(zip(State, found, strict=True))
    assert offered[State.DISABLED] == []
    assert offered[State.STOPPED] == ["start", "repair"]
    assert offered[State.CONNECTED] == ["stop", "restart", "repair"]
    assert offered[State.FAILED] == ["start", "stop", "repair"]
    for state in State:
        assert not {"start", "restart"} <= set(offered[state])


@browsing
def test_an_account_is_there_when_its_restart_is_seen_or_changes_nothing(
    world: PageWorld, screens: Screens
) -> None:
    unseen = {"state": "pairing", "code_until": None, "memory": None, "since": 5}
    shown = {"state": "pairing", "code_until": 90, "memory": 4096, "since": 5}
    up = {"state": "connected", "code_until": None, "memory": 4096, "since": 5}
    cases = [
        ("restart", up, up, False),
        ("restart", up, {**up, "since": 9}, True),
        ("restart", up, {**up, "state": "starting", "since": 9}, False),
        ("restart", shown, shown, False),
        ("restart", unseen, unseen, True),  # it has no process, and nothing tells that it was restarted
        ("restart", shown, unseen, False),
        ("start", up, up, True),
        ("repair", shown, shown, True),
        ("stop", up, up, False),
    ]
    found = modules(world, screens).evaluate(
        "async (cases) => { const { isThere } = await import('/page/js/bulk.js');"
        " return cases.map(([act, before, now]) => isThere(act, now, before)); }",
        [case[:3] for case in cases],
    )
    assert found == [case[3] for case in cases]


@browsing
def test_needs_of_the_same_cause_come_together_and_the_worst_first(
    world: PageWorld, screens: Screens
) -> None:
    dice = random.Random(18)
    kinds = [*KINDS, *KINDS_OF_CONSUMERS, "from_a_later_version"]
    cases: list[list[Json]] = []
    for _ in range(500):
        needs: list[Json] = []
        for number in range(dice.randrange(0, 40)):
            name, kind = f"n{number}", dice.choice(kinds)
            sentence = dice.choice(("do it", f"run `orchestrator repair {name}`", f"scan /q/{name}.png"))
            needs.append(
                {
                    "name": name,
                    "consumer": kind in KINDS_OF_CONSUMERS,
                    "one": {"name": name},
                    "need": {"kind": kind, "sentence": sentence, "action": "look", "command": ""},
                }
            )
        cases.append(needs)
    answers, ranks = modules(world, screens).evaluate(
        "async ([cases, kinds]) => { const { grouped, rankOf } = await import('/page/js/attention.js');"
        " return [cases.map(grouped), Object.fromEntries(kinds.map((kind) => [kind, rankOf(kind)]))]; }",
        [cases, kinds],
    )
    assert sorted(KINDS, key=ranks.__getitem__) == list(KINDS)
    assert sorted(KINDS_OF_CONSUMERS, key=ranks.__getitem__) == list(KINDS_OF_CONSUMERS)
    assert ranks["replaced"] < ranks["from_a_later_version"] < ranks["code"]
    for needs, groups in zip(cases, answers, strict=True):
        members = [member["name"] for group in groups for member in group["members"]]
        assert sorted(members) == sorted(one["name"] for one in needs)
        order = [ranks[group["kind"]] for group in groups]
        assert order == sorted(order)
        assert len({group["key"] for group in groups}) == len(groups)
        assert len(groups) <= 3 * len({one["need"]["kind"] for one in needs})
        for group in groups:
            named = [
                member["name"] for member in group["members"] if member["name"] in group["sentence"].split()
            ]
            assert len(group["members"]) == 1 or not named


@browsing
def test_lost_messages_that_were_dismissed_come_back_with_the_next_loss(
    world: PageWorld, screens: Screens
) -> None:
    page = modules(world, screens)
    check = (
        "async ([one, dismiss]) => { const { needOf, dismissLost } = await import('/page/js/attention.js');"
        " if (dismiss) dismissLost([one]); return needOf(one) !== null; }"
    )
    lost = account("a", "connected", lost=2, need=["lost", "two are lost", "look", ""])
    assert page.evaluate(check, [lost, False])
    assert not page.evaluate(check, [lost, True])
    page.reload()
    assert not page.evaluate(check, [lost, False])
    assert page.evaluate(check, [lost | {"lost": 3}, False])
    assert page.evaluate(check, [lost | {"name": "b"}, False])
    assert page.evaluate(check, [lost | {"need": ["banned", "wait", "wait", ""]}, False])


@browsing
def test_what_others_wrote_into_the_browsers_store_harms_nothing(world: PageWorld, screens: Screens) -> None:
    lost = account("a", "connected", lost=2, need=["lost", "two are lost", "look", ""])
    page = modules(world, screens)
    for text in ("", "{", "null", "[]", "7", '"x"', '{"a": "many"}', '{"a": null}'):
        page.evaluate("(text) => localStorage.setItem('orchestrator.lost', text)", text)
        page.reload()
        assert page.evaluate(
            "async (one) => (await import('/page/js/attention.js')).needOf(one) !== null", lost
        )


_PACE = """async (cases) => {
  const { eachOf } = await import('/page/js/paced.js');
  async function pace([names, parallel, stops, bad]) {
    let now = 0, most = 0, begun = 0;
    const told = [];
    const pool = eachOf(names, parallel, async (name) => {
      now += 1; begun += 1; most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
      if (stops.includes(begun)) pool.stop();
      now -= 1;
      if (bad.includes(name)) throw new Error(name);
    }, (name, is) => told.push([name, is]));
    return { ...(await pool.over), most, told };
  }
  return Promise.all(cases.map(pace));
}"""


@browsing
def test_so_many_at_a_time_and_one_that_fails_stops_no_other(world: PageWorld, screens: Screens) -> None:
    dice = random.Random(19)
    cases: list[tuple[list[str], int, list[int], list[str]]] = []
    for _ in range(200):
        names = [f"a{number}" for number in range(dice.randrange(0, 40))]
        bad = dice.sample(names, min(len(names), dice.randrange(0, 5)))
        stops = dice.choice(([], [], dice.sample(range(1, 20), 2)))
        cases.append((names, dice.randrange(1, 8), stops, bad))
    answers = modules(world, screens).evaluate(_PACE, cases)
    for (names, parallel, stops, bad), found in zip(cases, answers, strict=True):
        assert found["most"] <= parallel
        assert found["done"] + found["failed"] + len(found["left"]) == len(names)
        if not stops:
            assert found["left"] == []
            assert found["failed"] == len(bad)
            assert found["most"] == min(parallel, len(names))
        ended = [name for name, how in found["told"] if how != "asked"]
        assert sorted(ended + found["left"]) == sorted(names)
        for name in ended:
            how = [how for one, how in found["told"] if one == name]
            assert how == ["asked", "failed" if name in bad else "done"]
