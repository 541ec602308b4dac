"""What a line of the timeline says of other accounts."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.accounts.actions import Record
from orchestrator.accounts.states import SERVICE_WAS_GONE, State
from orchestrator.cli.inspect import _entry
from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView
from orchestrator.service import recorder
from orchestrator.service.devices import Devices
from orchestrator.service.recorder import Recorder
from orchestrator.service.roster import Roster
from orchestrator.service.timers import Timers
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Store
from orchestrator.store.timeline import TimelineEntry
from orchestrator.system import clock

LOST = Record(State.CONNECTED, State.RECONNECTING, None, None, None, 0, None)


@contextmanager
def recording(folder: Path) -> Iterator[tuple[Recorder, Store]]:
    """Have a recorder of no accounts, within a loop."""
    paths = StatePaths.of(folder / "state", environ={})
    paths.prepare()
    settings = Settings(folder / "accounts.yaml", paths.root, paths.qr)
    store = in_files(paths, paths.qr)
    timers = Timers()
    devices = Devices(store.sessions)
    roster = Roster(settings)
    yield (
        Recorder(roster, store.record, store.sessions, devices, timers, lambda name: AccountView(name, "")),
        store,
    )
    timers.stop()


def others(folder: Path, *names: str) -> list[int]:
    """Return how many others each change has, of accounts that change one after the other."""

    async def change() -> list[int]:
        with recording(folder) as (writer, store):
            for name in names:
                writer.changed(name, LOST, "0.5.2")
            left = {name: store.record.tail(name, 99) for name in set(names)}
            return [left[name].pop(0)["others"] for name in names]

    return asyncio.run(change())


@pytest.mark.parametrize(
    ("said", "entry", "told"),
    [
        (100, 200, 100),
        (100, 130, 100),
        (100, 100, 100),
        (100, 99, 99),  # it connected after the service had last said that it is there
        (200, 80.5, 80.5),
        (200, 79.5, None),  # no service of this version was there so long
        (-600, 200, None),  # the clock was set back
        (200, -600, None),
    ],
)
def test_a_service_that_was_killed_leaves_no_account_open(
    tmp_path: Path, said: float, entry: float, told: float | None
) -> None:
    """All times are seconds ago."""
    now = time.time() // 1 - 0.25

    async def begin() -> list[float | None]:
        with recording(tmp_path) as (writer, store):
            store.record.keep_alive(now - said)
            store.record.append("a", TimelineEntry(now - entry, State.CONNECTING, State.CONNECTED))
            writer.begin(["a", "new"])
            if told is not None:
                writer.begin(["a", "new"])  # it is told once
            return [
                clock.unix(one["at"])
                for one in store.record.tail("a", 9)
                if one.get("reason") == SERVICE_WAS_GONE
            ]

    found = asyncio.run(begin())
    if told is None:
        assert found == []
    else:
        assert found == [pytest.approx(now - told, abs=1)]


@pytest.mark.parametrize(
    ("state", "is_told"),
    [(State.CONNECTED, True), (State.RECONNECTING, True), (State.BACKOFF, False), (State.STOPPED, False)],
)
def test_the_end_of_a_link_that_was_cut_is_told_for_when_it_should_have_ended(
    tmp_path: Path, state: State, *, is_told: bool
) -> None:
    class Managed:
        """An account as the recorder sees it, in that state."""

    Managed.state = state  # type: ignore[attr-defined]

    async def cut() -> list[dict[str, object]]:
        with recording(tmp_path) as (writer, store):
            writer._roster.accounts["a"] = Managed()  # type: ignore[assignment]
            writer.cut("a", "nobody answered", 100.0)
            return store.record.tail("a", 9)

    found = asyncio.run(cut())
    assert [(one["from"], one["to"], one["kind"], one["reason"]) for one in found] == is_told * [
        (state, State.BACKOFF, "store", "nobody answered")
    ]
    if is_told:
        assert time.time() - 100 == pytest.approx(clock.unix(str(found[0]["at"])), abs=60)


def test_other_accounts_are_counted_once_and_the_account_itself_never(tmp_path: Path) -> None:
    assert others(tmp_path, "a", "a", "b", "b", "c", "a") == [0, 0, 1, 1, 2, 2]


def test_what_is_long_ago_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MINUTE", 0.0)
    assert others(tmp_path, "a", "b", "c") == [0, 0, 0]


@pytest.mark.parametrize(
    ("before", "after", "is_at_once"),
    [
        (State.CONNECTED, State.BANNED, True),
        (State.CONNECTED, State.REPLACED, True),
        (State.REPLACED, State.STARTING, True),
        (State.BANNED, State.STARTING, True),
        (State.CONNECTED, State.RECONNECTING, False),
    ],
)
def test_what_an_account_must_wait_for_is_kept_at_once_and_so_is_that_it_waits_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: State, after: State, *, is_at_once: bool
) -> None:
    saved: list[str] = []

    async def change() -> None:
        with recording(tmp_path) as (writer, _):
            monkeypatch.setattr(writer, "save", lambda: saved.append("saved"))
            writer.changed("a", Record(before, after, None, None, None, 0, None), "0.5.2")
            for _ in range(10):  # what is due at once, and nothing else
                await asyncio.sleep(0)

    asyncio.run(change())
    assert saved == ["saved"] * is_at_once


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, ""), (1, ", in the same minute as 1 other"), (12, ", in the same minute as 12 others")],
)
def test_explain_tells_how_many_others_changed(count: int, said: str) -> None:
    entry = {"at": "2026-11-22T10:00:00Z", "from": "connected", "to": "reconnecting", "others": count}
    assert _entry(entry).partition("reconnecting")[2] == said
