"""Whom a session's file is of, and which of two accounts that have one session may use it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.devices import write_device, write_unlinked

from orchestrator.accounts.duplicates import groups, rival
from orchestrator.store.device import Device, look


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a #1%41?.sqlite3"


def are_one(one: Path, other: Path) -> bool:
    assert look(one).marks
    assert look(other).marks
    return bool(look(one).marks & look(other).marks)


# Whose it is


def test_what_there_is_to_tell(path: Path, tmp_path: Path) -> None:
    assert look(path) == Device(linked=False)
    path.touch()
    assert look(path).linked is False
    path.write_bytes(b"no database")
    assert look(path).linked is None
    path.unlink()
    assert look(write_unlinked(path)).linked is False
    path.unlink()
    assert look(write_device(path)).linked is True
    assert look(tmp_path).linked is None
    assert look(path / "inside").linked is None


def test_the_marks_hold_no_secret(path: Path) -> None:
    write_device(path)
    with closing(sqlite3.connect(path)) as connection:
        number, noise, identity = connection.execute(
            "SELECT jid, noise_key, identity_key FROM whatsmeow_device"
        ).fetchone()
    text = " ".join(look(path).marks)
    assert not {number[:13], noise.hex(), identity.hex()} & set(text.split())
    assert number[:13] not in text


def test_a_copy_is_of_the_same_device(path: Path, tmp_path: Path) -> None:
    write_device(path)
    before = path.read_bytes()
    assert are_one(path, Path(shutil.copy(path, tmp_path / "b")))
    (tmp_path / "c").hardlink_to(path)
    assert are_one(path, tmp_path / "c")
    assert path.read_bytes() == before
    assert sorted(one.name[0] for one in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_copy_that_went_its_own_way_is_still_of_the_same_device(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(write_device(path), tmp_path / "b"))
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("INSERT INTO whatsmeow_pre_keys VALUES (1, x'00')")
        connection.execute("UPDATE whatsmeow_device SET lid = '1@lid'")
    assert are_one(path, copy)


def test_another_device_of_the_same_phone_is_another(path: Path, tmp_path: Path) -> None:
    write_device(path, device=1)
    assert not are_one(path, write_device(tmp_path / "b", device=2))
    # A number may be given again once the device that had it is unlinked: the keys are others.
    assert not are_one(path, write_device(tmp_path / "c", device=1))


def test_two_files_without_a_device_have_nothing_in_common_but_two_names_of_one_do(tmp_path: Path) -> None:
    one, other = write_unlinked(tmp_path / "a"), write_unlinked(tmp_path / "b")
    assert not are_one(one, other)
    (tmp_path / "c").hardlink_to(one)
    assert are_one(one, tmp_path / "c")


@pytest.mark.parametrize("side", ["-wal", "-journal"])
def test_a_copy_made_in_the_middle_of_a_write(path: Path, tmp_path: Path, side: str) -> None:
    """What a file lacks may still be in the log beside it; and a write that goes on does no harm."""
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if side == "-wal":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        write_device(path, wal=side == "-wal")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO whatsmeow_pre_keys VALUES (1, zeroblob(200000))")
        for file in (path, path.with_name(path.name + side)):
            shutil.copy(file, copy / file.name)
        connection.execute("ROLLBACK")
        assert look(copy / path.name).linked
        assert are_one(path, copy / path.name)


def test_what_another_program_holds_can_be_told_all_the_same(path: Path) -> None:
    write_device(path)
    marks = look(path).marks
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert look(path).marks == marks


# Who may use it

SAME = frozenset({"device x"})
ALONE = frozenset({"device y"})


@pytest.mark.parametrize(
    ("name", "uses", "runs", "expected"),
    [
        # Nobody has begun: the first in the configuration may.
        ("a", "", "abc", None),
        ("b", "", "abc", "a"),
        ("c", "", "abc", None),
        # The first does not run: stopped, disabled, failed.
        ("b", "", "b", None),
        # Whoever has it keeps it.
        ("a", "b", "ab", "b"),
        ("b", "b", "ab", None),
        ("b", "a", "ab", "a"),
        ("c", "ab", "abc", None),
    ],
)
def test_who_may_start(name: str, uses: str, runs: str, expected: str | None) -> None:
    marks = {"a": SAME, "b": SAME, "c": ALONE, "d": frozenset[str]()}
    assert rival(name, marks, ["a", "b", "c", "d"], set(uses), set(runs)) == expected


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.frozensets(st.integers(0, 3).map(str), max_size=2)), st.lists(NAMES))
def test_however_they_come_no_two_use_one_device(marks: dict[str, frozenset[str]], turns: list[str]) -> None:
    """All run; each comes to its turn, and those that may not start come to rest."""
    uses: set[str] = set()
    runs = set(marks)
    for name in [*turns, *marks]:
        if name not in marks or name not in runs:
            continue
        if rival(name, marks, list("abcdef"), uses, runs) is None:
            uses.add(name)
        else:
            runs.discard(name)
    for one in uses:
        for other in uses - {one}:
            assert not marks[one] & marks[other]
    for mark in set().union(*marks.values()):
        having = [name for name in marks if mark in marks[name]]
        if all(marks[name] == {mark} for name in having):
            assert any(name in uses for name in having), "somebody gets it"


def test_groups() -> None:
    marks = {"a": SAME, "b": ALONE, "c": SAME, "d": frozenset[str](), "e": frozenset[str]()}
    assert groups(marks) == [["a", "c"]]
    assert groups({}) == []
