"""What a line of the timeline says of other accounts."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.accounts.actions import Record
from orchestrator.accounts.states import State
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

LOST = Record(State.CONNECTED, State.RECONNECTING, None, None, None, 0, None)


def others(folder: Path, *names: str) -> list[int]:
    """Return how many others each change has, of accounts that change one after the other."""
    paths = StatePaths.of(folder / "state", environ={})
    paths.prepare()
    settings = Settings(folder / "accounts.yaml", paths.root, paths.qr)
    store = in_files(paths, paths.qr)

    async def change() -> None:
        timers = Timers()
        devices = Devices(store.sessions)
        writer = Recorder(
            Roster(settings),
            store.record,
            store.sessions,
            devices,
            timers,
            lambda name: AccountView(name, ""),
        )
        for name in names:
            writer.changed(name, LOST, "0.5.2")
        timers.stop()

    asyncio.run(change())
    left = {name: store.record.tail(name, 99) for name in set(names)}
    return [left[name].pop(0)["others"] for name in names]


def test_other_accounts_are_counted_once_and_the_account_itself_never(tmp_path: Path) -> None:
    assert others(tmp_path, "a", "a", "b", "b", "c", "a") == [0, 0, 1, 1, 2, 2]


def test_what_is_long_ago_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MINUTE", 0.0)
    assert others(tmp_path, "a", "b", "c") == [0, 0, 0]


@pytest.mark.parametrize(("count", "said"), [(0, ""), (1, ", with 1 other"), (12, ", with 12 others")])
def test_explain_tells_how_many_others_changed(count: int, said: str) -> None:
    entry = {"at": "2026-11-22T10:00:00Z", "from": "connected", "to": "reconnecting", "others": count}
    assert _entry(entry).partition("reconnecting")[2] == said
