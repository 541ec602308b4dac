"""The board: whoever looks has, at any moment, what there was at some moment of the last seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.control.view import AccountView
from orchestrator.gateway.page.board import DRIFT_SECONDS, Board
from orchestrator.gateway.page.rows import FIELDS

CPU, MEMORY = FIELDS.index("cpu"), FIELDS.index("memory")


@dataclass
class Place:
    """A board with its accounts and its clock."""

    views: dict[str, AccountView] = field(default_factory=dict)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.board = Board(lambda: self.views, lambda: self.now)

    def put(self, name: str, **values: Any) -> None:  # noqa: ANN401
        before = self.views.get(name, AccountView(name, "connected"))
        self.views[name] = before._replace(**values)
        self.board.changed([name])

    def drop(self, name: str) -> None:
        self.views.pop(name, None)
        self.board.changed([], [name])


def is_watched(place: Place) -> bool:
    return place.board.is_watched


@dataclass
class Screen:
    """One who looks, and what that one sees."""

    board: Board
    rows: dict[str, list[Any]] = field(default_factory=dict)
    version: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        self.leave = self.board.watch(self._heard)

    def _heard(self) -> None:
        self.calls += 1

    def look(self) -> tuple[list[str], list[str]]:
        news = self.board.after(self.version)
        assert news.version >= self.version
        for name in news.names:
            text = self.board.text(name)
            assert text is not None
            self.rows[name] = json.loads(text)
        for name in news.gone:
            self.rows.pop(name, None)
        self.version = news.version
        return news.names, news.gone


def test_the_first_look_has_all_and_the_next_one_nothing() -> None:
    place = Place({name: AccountView(name, "connected") for name in "abc"})
    screen = Screen(place.board)
    assert screen.look() == (["a", "b", "c"], [])
    assert screen.look() == ([], [])


def test_whoever_begins_to_look_does_not_change_what_is_known_of_processes() -> None:
    place = Place()
    place.put("a", pid=7, cpu_s=10.0)
    place.now += 10
    place.put("a", cpu_s=11.0)  # 10 percent of a core
    place.now += 30
    screen = Screen(place.board)
    screen.look()
    assert screen.rows["a"][CPU] == 10.0
    place.now += 10
    place.put("a", cpu_s=19.0)  # 8 seconds in the 40 since it was described last
    place.now += DRIFT_SECONDS
    place.board.drift()
    screen.look()
    assert screen.rows["a"][CPU] == 20.0


def test_what_happens_is_told_at_once_and_once() -> None:
    place = Place({name: AccountView(name, "connected") for name in "abc"})
    screen = Screen(place.board)
    screen.look()
    place.put("b", state="failed")
    assert screen.calls == 1
    assert screen.look() == (["b"], [])
    assert screen.rows["b"][1] == "failed"
    place.put("b", state="failed")
    assert screen.calls == 1
    assert screen.look() == ([], [])


def test_what_changes_by_itself_waits_and_goes_together() -> None:
    place = Place({name: AccountView(name, "connected", memory_bytes=10_000_000) for name in "abc"})
    screen = Screen(place.board)
    screen.look()
    place.put("a", memory_bytes=20_000_000)
    place.put("b", memory_bytes=30_000_000)
    place.put("c", memory_bytes=10_010_000)
    place.board.drift()
    assert (screen.look(), screen.calls) == (([], []), 0)
    place.now += DRIFT_SECONDS
    place.board.drift()
    assert screen.calls == 1
    assert screen.look() == (["a", "b"], [])
    assert screen.rows["b"][MEMORY] == 30_000_000
    place.now += DRIFT_SECONDS
    place.board.drift()
    assert screen.look() == ([], [])


def test_what_is_back_where_it_was_is_not_told() -> None:
    place = Place({"a": AccountView("a", "connected", memory_bytes=10_000_000)})
    screen = Screen(place.board)
    screen.look()
    place.put("a", memory_bytes=20_000_000)
    place.put("a", memory_bytes=10_000_000)
    place.now += DRIFT_SECONDS
    place.board.drift()
    assert screen.look() == ([], [])


def test_with_something_that_happened_the_rest_goes_along() -> None:
    place = Place({"a": AccountView("a", "connected", memory_bytes=10_000_000)})
    screen = Screen(place.board)
    screen.look()
    place.put("a", memory_bytes=20_000_000)
    place.put("a", state="reconnecting")
    screen.look()
    assert screen.rows["a"][MEMORY] == 20_000_000
    place.now += DRIFT_SECONDS
    place.board.drift()
    assert screen.look() == ([], [])


def test_an_account_that_is_gone_and_comes_back() -> None:
    place = Place({"a": AccountView("a", "connected")})
    screen = Screen(place.board)
    screen.look()
    place.drop("a")
    assert screen.look() == ([], ["a"])
    place.put("a", state="starting")
    assert screen.look() == (["a"], [])
    place.drop("a")
    place.put("a", state="starting")
    assert screen.look() == (["a"], [])
    late = Screen(place.board)
    place.drop("a")
    assert late.look() == ([], [])


def test_one_that_is_gone_and_was_never_shown_is_no_news() -> None:
    place = Place()
    screen = Screen(place.board)
    place.drop("a")
    assert (screen.look(), screen.calls) == (([], []), 0)


def test_while_nobody_looks_nothing_is_kept() -> None:
    place = Place({"a": AccountView("a", "connected")})
    assert not is_watched(place)
    place.put("a", state="failed")
    assert place.board.text("a") is None
    first, second = Screen(place.board), Screen(place.board)
    first.leave()
    assert is_watched(place)
    second.leave()
    second.leave()
    assert not is_watched(place)
    place.put("a", state="connected")
    assert (place.board.text("a"), second.calls) == (None, 0)
    again = Screen(place.board)
    assert again.look() == (["a"], [])
    assert again.rows["a"][1] == "connected"


def test_cpu_time_is_known_to_those_who_come_later() -> None:
    place = Place()
    place.put("a", pid=7, cpu_s=1.0)
    place.now += 10
    place.put("a", pid=7, cpu_s=2.0)
    screen = Screen(place.board)
    screen.look()
    assert screen.rows["a"][CPU] == 10.0


NAMES = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("state"), NAMES, st.sampled_from(["connected", "failed", "backoff"])),
        st.tuples(st.just("memory"), NAMES, st.integers(0, 4).map(lambda number: number * 10_000_000)),
        st.tuples(st.just("drop"), NAMES, st.none()),
        st.tuples(st.just("look"), st.integers(0, 2), st.none()),
        st.tuples(st.just("reopen"), st.integers(0, 2), st.none()),
        st.tuples(st.just("time"), st.integers(1, 7), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=400)
def test_every_screen_becomes_what_there_is(steps: list[tuple[str, Any, Any]]) -> None:
    place = Place()
    screens = [Screen(place.board) for _ in range(3)]
    for kind, which, value in steps:
        match kind:
            case "state":
                place.put(which, state=value)
            case "memory":
                place.put(which, memory_bytes=value)
            case "drop":
                place.drop(which)
            case "look":
                screens[which].look()
            case "reopen":
                screens[which].leave()
                screens[which] = Screen(place.board)
            case "time":
                place.now += which
                place.board.drift()
    for screen in screens:
        screen.look()
        assert {name: row[1] for name, row in screen.rows.items()} == {
            name: view.state for name, view in place.views.items()
        }
    place.now += DRIFT_SECONDS
    place.board.drift()
    for screen in screens:
        screen.look()
        for name, row in screen.rows.items():
            there = place.views[name].memory_bytes
            shown = row[MEMORY]
            assert (shown is None) == (there is None)
            assert there is None or abs(shown - there) <= 0.03 * there
