"""What is kept of consumers: as machines ask for it, for no longer than it may be, whatever happens."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.deliveries import START, World, little_room, perform, steps
from support.full_disk import fill, small_disk

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.writes import (
    Died,
    Head,
    Kept,
    LaneRow,
    Letter,
    Moved,
    Place,
    Standing,
    Write,
)
from orchestrator.errors import StateError
from orchestrator.gateway.dispatch import tables
from orchestrator.gateway.dispatch.store import DATABASE, REMOVED_SECONDS, Store
from orchestrator.messages.retention import Retention

PLACE = Place("support", "messages")
DAY = 86_400.0
WEEK = Retention(7 * DAY, 30 * DAY)
NEEDLE = "a text that nobody is to find again"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path)
    store.declare("crm", "webhook", START)
    yield store
    store.close()


def head(seq: int, at: float = START) -> Head:
    return Head(f"evt_support_{seq}", "message.received", seq, at)


def row(seq: int, lane: str = "x@lid", at: float = START, body: bytes = b"{}") -> LaneRow:
    return LaneRow(PLACE, lane, seq, seq + 2, 1, head(seq, at), 1, START + 5, "HTTP 500", body)


def died(seq: int, lane: str = "x@lid", at: float = START, when: float = START, body: bytes = b"{}") -> Died:
    return Died(PLACE, lane, head(seq, at), 12, "HTTP 500", when, body)


@dataclass
class Kept1:
    """The store of one consumer, as the world of `support.deliveries` uses one."""

    store: Store

    def apply(self, writes: tuple[Write, ...]) -> None:
        self.store.apply({"crm": writes})

    def kept(self) -> Kept:
        return self.store.load("crm")

    def body(self, place: Place, lane: str, seq: int) -> bytes | None:
        return self.store.body("crm", place, lane, seq)

    def revive(self, now: float) -> None:
        self.store.revive("crm", None, now)

    def next_letter(self, now: float) -> tuple[Letter | None, float | None]:
        return self.store.next_letter("crm", now)

    def dead(self) -> set[tuple[Place, int]]:
        letters = self.store.letters("crm", 1000, 0)
        return {(Place(one["account"], one["stream"]), one["seq"]) for one in letters}


@given(st.lists(steps, max_size=50), st.integers(1, 3))
@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_keeps_what_a_machine_needs(
    tmp_path_factory: pytest.TempPathFactory, happenings: list[tuple[Any, ...]], parallel: int
) -> None:
    note(f"{happenings}")
    store = Store.open(tmp_path_factory.mktemp("gateway"))
    try:
        store.declare("crm", "webhook", START)
        with little_room():
            consumer = Consumer("crm", "webhook", None, ("message.*", "account.*"), parallel)
            world = World(consumer, store=Kept1(store))
            for step in happenings:
                perform(world, step)
            world.settle()
            world.check_that_all_is_done()
    finally:
        store.close()


def test_all_is_there_again(store: Store, tmp_path: Path) -> None:
    standing = Standing(START, paused=True, disabled=True, failures=5, held_until=START + 60, why="HTTP 429")
    writes: list[Write] = [
        standing,
        Moved(PLACE, 17),
        Moved(Place("a", "account"), None, START),
        row(5),
        died(3),
    ]
    store.apply({"crm": writes})
    store.close()
    again = Store.open(tmp_path)
    kept = again.load("crm")
    assert kept.standing == standing
    assert kept.positions == {
        PLACE: Moved(PLACE, 17),
        Place("a", "account"): Moved(Place("a", "account"), None, START),
    }
    assert [(one.lane, one.head, one.tries, one.due, one.body) for one in kept.lanes] == [
        ("x@lid", head(5), 1, START + 5, None)
    ]
    assert again.body("crm", PLACE, "x@lid", 5) == b"{}"
    assert (kept.dead, kept.reviving) == (1, False)
    again.close()


def test_nobody_else_may_read_it(store: Store, tmp_path: Path) -> None:
    store.apply({"crm": [row(5)]})
    assert {oct(one.stat().st_mode & 0o777) for one in tmp_path.iterdir()} == {"0o600"}


def test_it_is_all_or_nothing(store: Store) -> None:
    with pytest.raises(OverflowError):
        store.apply({"crm": [Moved(PLACE, 17), Moved(PLACE, 2**70)]})
    assert not store.load("crm").positions


def everything(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.iterdir())


def test_texts_are_gone_after_their_time(store: Store, tmp_path: Path) -> None:
    needle = NEEDLE.encode()
    for number in range(200):
        store.apply({"crm": [
            row(number, f"{number}@lid", body=needle), died(number + 1000, f"{number}@lid", body=needle)
        ]})  # fmt: skip
    assert needle in everything(tmp_path)
    assert store.clear({}, WEEK, START + 6 * DAY) == {}
    assert needle in everything(tmp_path)
    # What is dead is kept like what was taken; what is tried again is still wanted.
    assert store.clear({}, WEEK, START + 8 * DAY) == {"crm": 200}
    assert store.body("crm", PLACE, "7@lid", 7) == needle
    store.clear({}, WEEK, START + 31 * DAY)
    assert needle not in everything(tmp_path)
    assert store.body("crm", PLACE, "7@lid", 7) is None
    assert len(store.load("crm").lanes) == 200  # the machine is told that they are gone


def test_each_account_has_its_own_time(store: Store) -> None:
    store.apply({"crm": [died(1)]})
    assert store.clear({"support": Retention(60 * DAY, 90 * DAY)}, WEEK, START + 20 * DAY) == {}
    assert store.clear({"support": Retention(DAY, 90 * DAY)}, WEEK, START + 20 * DAY) == {"crm": 1}


def test_texts_go_with_what_was_delivered(store: Store, tmp_path: Path) -> None:
    needle = NEEDLE.encode()
    store.apply({"crm": [row(5, body=needle)]})
    store.apply({"crm": [LaneRow(PLACE, "x@lid", 5, 5, 0)]})
    store.clear({}, WEEK, START)
    assert needle not in everything(tmp_path)


def test_texts_of_an_account_that_is_removed_are_gone_at_once(store: Store, tmp_path: Path) -> None:
    needle = NEEDLE.encode()
    store.apply({"crm": [row(5, body=needle), died(3, body=needle)]})
    store.forget_account("support")
    assert needle not in everything(tmp_path)


def test_a_consumer_that_was_removed_is_known_for_a_month(store: Store) -> None:
    store.apply({"crm": [Moved(PLACE, 17)]})
    store.remove("crm", START)
    store.clear({}, WEEK, START + REMOVED_SECONDS - 1)
    assert store.load("crm").positions
    store.declare("crm", "webhook", START + REMOVED_SECONDS)
    store.clear({}, WEEK, START + 2 * REMOVED_SECONDS)
    assert store.load("crm").positions
    store.remove("crm", START)
    store.clear({}, WEEK, START + REMOVED_SECONDS + 1)
    assert not store.load("crm").positions
    assert store.known() == {}


def test_a_pull_that_nobody_uses_goes(store: Store) -> None:
    store.declare("shop", "pull", START)
    store.clear({}, WEEK, START + REMOVED_SECONDS + 1)
    assert set(store.known()) == {"crm"}


def test_dead_letters_are_delivered_again_in_order(store: Store) -> None:
    store.apply({"crm": [died(3), died(4, "y@lid"), died(1, "y@lid"), died(2)]})
    assert store.next_letter("crm", START) == (None, None)
    assert store.revive("crm", None, START) == 4
    assert store.revive("crm", None, START) == 0
    letter, _ = store.next_letter("crm", START)
    assert letter is not None
    assert letter.head.seq == 1
    assert [one["replaying"] for one in store.letters("crm", 10, 0)] == [True] * 4
    assert [one["seq"] for one in store.letters("crm", 2, 2)] == [1, 2]


def test_one_dead_letter_is_delivered_again(store: Store) -> None:
    store.apply({"crm": [died(3), died(4)]})
    assert store.has_letter("crm", "evt_support_4")
    assert not store.has_letter("crm", "evt_support_99")
    assert not store.has_letter("other", "evt_support_4")
    assert store.revive("crm", "evt_support_4", START + 7) == 1
    assert store.has_letter("crm", "evt_support_4")
    assert store.next_letter("crm", START) == (None, START + 7)


def test_a_damaged_file_is_put_aside(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.apply({"crm": [Moved(PLACE, 17), *(row(n, f"{n}@lid", body=b"x" * 5000) for n in range(50))]})
    store.close()
    path = tmp_path / DATABASE
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 8192))
    again = Store.open(tmp_path)
    assert again.was_damaged
    assert "it was put aside as damaged-" in caplog.text
    assert again.known() == {}
    assert len(list(tmp_path.glob("damaged-*.sqlite3"))) == 1
    again.clear({}, WEEK, time.time() + 6 * DAY)
    assert len(list(tmp_path.glob("damaged-*.sqlite3"))) == 1
    again.clear({}, WEEK, time.time() + 8 * DAY)  # it has texts as well
    assert not list(tmp_path.glob("damaged-*"))
    again.close()


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000])
def test_what_is_no_database_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(content)
    store = Store.open(tmp_path)
    assert store.was_damaged == bool(content)
    store.close()


def test_other_tables_are_no_obstacle(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("CREATE TABLE consumers (name)")
        connection.execute(f"PRAGMA user_version = {tables.VERSION}")
    connection.close()
    store = Store.open(tmp_path)
    assert store.was_damaged
    store.close()


def test_a_file_of_a_later_version_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match="use the later version"):
        Store.open(tmp_path)


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).symlink_to("/etc/passwd")
    with pytest.raises(StateError, match="is no file"):
        Store.open(tmp_path)


def test_a_full_disk_loses_nothing_that_was_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 1024) as folder:
        store = Store.open(folder)
        store.declare("crm", "webhook", START)
        store.apply({"crm": [Moved(PLACE, 17)]})
        filler = fill(folder)
        with pytest.raises(sqlite3.OperationalError):
            store.apply({"crm": [Moved(PLACE, 18), row(5, body=b"x" * 100_000)]})
        assert store.load("crm").positions[PLACE].cursor == 17
        filler.unlink()
        store.apply({"crm": [Moved(PLACE, 18), row(5, body=b"x" * 100_000)]})
        store.close()
        again = Store.open(folder)
        assert not again.was_damaged
        assert again.load("crm").positions[PLACE].cursor == 18
        again.close()


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from orchestrator.gateway.dispatch.store import Store;"
        "from orchestrator.consumers.writes import Moved, Place;"
        "store = Store.open(pathlib.Path(sys.argv[1])); store.declare('crm', 'webhook', 1.0)\n"
        "for n in range(100000):\n"
        "  store.apply({'crm': [Moved(Place('support', 'messages'), n)]}); print(n, flush=True)"
    )
    said = 0
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said = int(line)
            if said == 300:
                child.send_signal(signal.SIGKILL)
    store = Store.open(tmp_path)
    cursor = store.load("crm").positions[PLACE].cursor
    assert cursor is not None
    assert cursor >= said
    store.close()


def test_a_batch_is_the_same_until_it_is_acknowledged(store: Store) -> None:
    store.declare("shop", "pull", START)
    store.apply({"shop": [Moved(PLACE, 3)]})
    assert store.outstanding("shop", "*") is None
    store.hand_out("shop", "*", "c1", [(PLACE, 3, 8)], START)
    assert store.outstanding("shop", "*") == ("c1", [(PLACE, 3, 8)])
    assert store.acknowledge("shop", "c2") is None
    assert store.acknowledge("shop", "c1") == [(PLACE, 8)]
    assert store.acknowledge("shop", "c1") == []
    assert store.outstanding("shop", "*") is None
    assert store.load("shop").positions[PLACE].cursor == 8


def test_few_batches_are_remembered(store: Store) -> None:
    for number in range(200):
        store.hand_out("shop", f"a{number}", f"c{number}", [(PLACE, 0, 1)], START + number)
    assert store.outstanding("shop", "a1") is None
    assert store.outstanding("shop", "a199") is not None


def test_everything_moves_to_a_new_name(store: Store) -> None:
    store.apply({"crm": [Moved(PLACE, 17), Moved(Place("desk", "messages"), 2), row(5), died(3)]})
    store.rename("support", "desk")
    kept = store.load("crm")
    assert kept.positions == {Place("desk", "messages"): Moved(Place("desk", "messages"), 17)}
    assert [one.place.account for one in kept.lanes] == ["desk"]
