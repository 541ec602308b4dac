"""What every store has to do with what is written down, with codes and with the ownership of accounts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from support.postgres import FreshDatabase

from orchestrator.accounts.child import Parked
from orchestrator.accounts.states import State
from orchestrator.errors import AlreadyRunning
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Codes, Ownership, Record
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.status import Kept
from orchestrator.store.summary import Summary
from orchestrator.store.timeline import TimelineEntry
from orchestrator.store.told import Kept as Told
from orchestrator.store.told import Last

if TYPE_CHECKING:
    from orchestrator.postgres.writing import Writer


@dataclass(frozen=True)
class _Rows:
    record: Record
    codes: Codes
    ownership: Ownership


NOW = 1_800_000_000.0


class Parts(Protocol):
    """The parts of a store that are looked at here."""

    @property
    def record(self) -> Record: ...
    @property
    def codes(self) -> Codes: ...
    @property
    def ownership(self) -> Ownership: ...


class World(Protocol):
    """A store, and those who watch codes."""

    store: Parts

    def reopen(self) -> Parts:
        """Return the store as another service finds it, after the one before was killed."""

    def code(self, name: str) -> bytes | None:
        """Return the picture that those who watch see."""

    def close(self) -> None:
        """Close what is open."""


class Files:
    """The state folder."""

    def __init__(self, folder: Path) -> None:
        self._paths = StatePaths.of(folder / "state", environ={})
        self._paths.prepare()
        self.store = self.reopen()

    def reopen(self) -> Parts:
        return in_files(self._paths, self._paths.qr)

    def code(self, name: str) -> bytes | None:
        path = self.store.codes.path(name)
        return path.read_bytes() if path.exists() else None

    def close(self) -> None:
        pass


class Rows(Files):
    """A database, and the state folder of a machine."""

    def __init__(self, folder: Path, fresh: FreshDatabase) -> None:
        self._database = fresh.ready()
        self._writers: list[Writer] = []
        super().__init__(folder)

    def reopen(self) -> Parts:
        from orchestrator.postgres.codes import CodeRows
        from orchestrator.postgres.ownership import OwnerRow
        from orchestrator.postgres.record import RecordRows
        from orchestrator.postgres.writing import Writer

        for one in self._writers:
            assert one.flush(10)
        owner = OwnerRow(self._database, self._paths)
        writer = Writer(self._database, owner.check)
        self._writers.append(writer)
        return _Rows(
            RecordRows(self._database, writer, RecordFiles(self._paths)),
            CodeRows(QrFolder(self._paths.qr), self._database, writer),
            owner,
        )

    def code(self, name: str) -> bytes | None:
        """The folder and the rows have the same."""
        for one in self._writers:
            assert one.flush(10)
        row = self._database.run(
            lambda connection: connection.execute(
                "SELECT png FROM orchestrator.code JOIN orchestrator.account ON account.id = code.account"
                " WHERE name = %s AND expires_at > clock_timestamp()",
                [name],
            ).fetchone()
        )
        found = super().code(name)
        assert found == (None if row is None else row[0])
        return found

    def close(self) -> None:
        for one in self._writers:
            assert one.close(10)


@pytest.fixture(params=["files", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    in_files = request.param == "files"
    made: Files = Files(tmp_path) if in_files else Rows(tmp_path, request.getfixturevalue("fresh"))
    yield made
    made.close()


# Record


def test_what_is_kept_is_there_after_a_kill(world: World) -> None:
    assert world.store.record.load() == {}
    ban = Parked(State.BANNED, "banned", NOW, 2)
    kept = {"a": Kept(stopped=True, parked=ban, shown={"name": "a"}), "b": Kept()}
    world.store.record.save(kept)
    found = world.reopen().record.load()
    assert found["b"] == kept["b"]
    assert (found["a"].stopped, found["a"].shown) == (True, {"name": "a"})
    parked = found["a"].parked
    assert parked is not None
    assert (parked.state, parked.reason, parked.count) == (State.BANNED, "banned", 2)
    assert parked.until == pytest.approx(NOW, abs=1)


def test_maintenance_is_off_until_it_is_on_and_that_is_there_after_a_kill(world: World) -> None:
    assert world.store.record.maintenance() is None
    world.store.record.keep_maintenance(None)
    world.store.record.keep_maintenance(NOW)
    assert world.reopen().record.maintenance() == NOW
    world.store.record.keep_maintenance(NOW + 1)
    assert world.reopen().record.maintenance() == NOW + 1
    world.store.record.keep_maintenance(None)
    assert world.reopen().record.maintenance() is None


def test_saving_replaces_everything(world: World) -> None:
    world.store.record.save({"a": Kept(stopped=True)})
    world.store.record.save({"b": Kept()})
    assert world.store.record.load() == {"b": Kept()}


def test_a_history_ends_with_its_last_entries(world: World) -> None:
    record = world.store.record
    assert record.tail("a", 3) == []
    for number in range(5):
        assert record.append(
            "a", TimelineEntry(NOW + number, "starting", "backoff", attempt=number, others=7)
        )
    record.append("b", TimelineEntry(NOW, "starting", "connected"))
    found = world.reopen().record.tail("a", 3)
    assert [entry["attempt"] for entry in found] == [2, 3, 4]
    assert {entry["others"] for entry in found} == {7}
    assert record.tail("a", 0) == []


def test_entries_of_a_history_have_numbers_that_rise(world: World) -> None:
    record = world.store.record
    assert record.newest("a") == 0
    assert record.after("a", 0, 10) == []
    for number in range(5):
        record.append("a", TimelineEntry(NOW, "starting", "backoff", attempt=number))
    record.append("b", TimelineEntry(NOW, "starting", "connected"))
    again = world.reopen().record
    found = again.after("a", 0, 10)
    numbers = [entry["n"] for entry in found]
    assert numbers == sorted(set(numbers))
    assert [entry["attempt"] for entry in found] == [0, 1, 2, 3, 4]
    assert again.newest("a") == numbers[-1]
    assert [entry["n"] for entry in again.after("a", numbers[1], 2)] == numbers[2:4]
    again.append("a", TimelineEntry(NOW - 1000, "backoff", "starting"))
    assert again.newest("a") > numbers[-1]


def test_a_history_is_read_backwards_and_all_that_have_one_are_known(world: World) -> None:
    record = world.store.record
    assert (record.histories(), [*record.backwards("a")]) == ([], [])
    for name in ("b", "a"):
        for number in range(3):
            record.append(name, TimelineEntry(NOW + number, "starting", "backoff", attempt=number))
    again = world.reopen().record
    assert again.histories() == ["a", "b"]
    assert [entry["attempt"] for entry in again.backwards("a")] == [2, 1, 0]


def test_what_a_configuration_says_is_known_by_its_text_only(world: World) -> None:
    record = world.store.record
    assert record.summary("of this text") is None
    one = Summary("a", True, "+49…01", ("berlin",), "http://proxy:1", "a note", NOW)
    record.summarize("of this text", {"a": one})
    assert world.reopen().record.summary("of this text") == {"a": one}
    assert record.summary("of another text") is None


def test_what_a_program_was_told_is_there_after_a_kill(world: World) -> None:
    assert world.store.record.told() == Told()
    told = Told({"a": {"down": "backoff"}}, 3, Last(NOW, "/usr/bin/tell", "failed", 2))
    world.store.record.keep_told(told, {"a", "b"})
    assert world.reopen().record.told() == told
    nothing = Told({}, 0, told.last)
    world.store.record.told()
    world.store.record.keep_told(nothing, {"a"})
    assert world.reopen().record.told() == nothing


def test_when_a_service_was_there_last_is_known_after_a_kill(world: World) -> None:
    assert world.store.record.alive() is None
    for at in (NOW, NOW + 60):
        world.store.record.keep_alive(at)
    assert world.reopen().record.alive() == NOW + 60


def test_nothing_that_is_written_down_has_a_number_in_full(world: World) -> None:
    world.store.record.append("a", TimelineEntry(NOW, "x", "y", reason="wrong: 15550100200@s.whatsapp.net"))
    assert "15550100200" not in str(world.store.record.tail("a", 1))


# Codes and ownership


def test_a_code_is_shown_replaced_and_hidden(world: World) -> None:
    codes = world.store.codes
    codes.prepare(["a"])
    now = time.time()
    for picture in (b"first", b"second"):
        codes.show("a", picture, now)
        assert world.code("a") == picture
    codes.show("b", b"other", now)
    codes.hide("a")
    codes.hide("a")
    assert (world.code("a"), world.code("b")) == (None, b"other")


def test_codes_of_a_service_that_was_killed_are_gone(world: World) -> None:
    world.store.codes.prepare(["a"])
    world.store.codes.show("a", b"old", time.time())
    world.reopen().codes.prepare(["a"])
    assert world.code("a") is None


def test_one_service_at_a_time_has_the_accounts(world: World) -> None:
    with world.store.ownership.take("the service"), pytest.raises(AlreadyRunning, match="the service"):
        world.reopen().ownership.take("another").__enter__()
    with world.reopen().ownership.take("another"):
        pass
