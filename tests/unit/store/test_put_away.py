"""What lies in quarantine is listed, and deleted at an operator's wish: never more than was meant."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import write_device

from orchestrator.errors import StateError
from orchestrator.store import moving, put_away, quarantine
from orchestrator.store.layout import StatePaths

NOW = 1_795_354_074.0
STAMP = "20261122T132754Z"
DAY = 86_400.0


def make(root: Path) -> StatePaths:
    found = StatePaths.of(root, environ={})
    found.prepare()
    return found


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return make(tmp_path / "state")


def put(paths: StatePaths, name: str = "a", reason: str = "repair", now: float = NOW) -> Path:
    """Put the session of an account away, with messages; return the folder."""
    home, messages = paths.home(name), paths.message_folder(name)
    home.mkdir(exist_ok=True)
    write_device(paths.session(name))
    messages.mkdir(exist_ok=True)
    (messages / "inbox.sqlite3").write_bytes(b"x" * 1000)
    (messages / "media").mkdir()
    (messages / "media" / "17").write_bytes(b"y" * 500)
    place = quarantine.put(home, paths.quarantine, reason, now, messages=messages)
    assert place is not None
    return place


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def test_an_entry_says_all_that_an_operator_asks(paths: StatePaths) -> None:
    place = put(paths)
    (found,) = put_away.entries(paths.quarantine)
    files = [path for path in place.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    assert size > 1500
    assert found == put_away.Entry(place.name, "a", "repair", NOW, size, session=True, messages=True)
    assert found.until(7) == NOW + 7 * DAY
    assert found.restorable


def test_folders_without_end_break_nothing(paths: StatePaths) -> None:
    """The process of an account may dig as deep as it likes into its own folder of messages."""
    home, messages = paths.home("deep"), paths.message_folder("deep")
    home.mkdir()
    write_device(paths.session("deep"))
    messages.mkdir()
    (messages / "inbox.sqlite3").write_bytes(b"x" * 1000)
    folder = os.open(messages, os.O_RDONLY)
    for _ in range(2 * sys.getrecursionlimit()):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    place = quarantine.put(home, paths.quarantine, "repair", NOW, messages=messages)
    assert place is not None
    (found,) = put_away.entries(paths.quarantine)
    assert found.messages
    assert found.size > 1000
    purged = put_away.purge(paths, [place.name])
    assert (purged.done, purged.kept) == ([place.name], {})
    assert not place.exists()


@pytest.mark.parametrize("stamp", ["99991231T235959Z", "00010101T000000Z", "20261399T000000Z"])
def test_a_time_that_nobody_can_show_counts_for_none(paths: StatePaths, stamp: str) -> None:
    place = put(paths)
    place.rename(place.with_name(f"a-{stamp}-repair"))
    (found,) = put_away.entries(paths.quarantine)
    assert (found.name, found.at, found.until(7)) == ("a", None, None)


def test_the_newest_is_the_first_and_what_nobody_wants_back_is_marked(paths: StatePaths) -> None:
    put(paths, "old", now=NOW - DAY)
    put(paths, "new")
    (paths.quarantine / f"left-{STAMP}-leftover").mkdir()
    (paths.quarantine / f"left-{STAMP}-leftover" / "session.sqlite3-wal").write_bytes(b"x")
    (paths.quarantine / "README.txt").write_text("a note")
    (paths.quarantine / "holiday").mkdir()
    named = [(one.name, one.restorable) for one in put_away.entries(paths.quarantine)]
    assert named == [("new", True), ("left", False), ("old", True)]


def test_a_folder_of_another_name_is_listed_if_it_has_a_session_and_is_never_deleted(
    paths: StatePaths,
) -> None:
    place = paths.quarantine / "from-my-backup"
    place.mkdir()
    write_device(place / "session.sqlite3")
    (found,) = put_away.entries(paths.quarantine)
    assert (found.folder, found.name, found.at, found.until(7)) == ("from-my-backup", "", None, None)
    result = put_away.purge(paths, ["from-my-backup"])
    assert (result.done, list(result.kept)) == ([], ["from-my-backup"])
    assert (place / "session.sqlite3").exists()


def test_no_quarantine_is_an_empty_one(tmp_path: Path) -> None:
    assert put_away.entries(tmp_path / "missing") == []


def test_what_is_deleted_is_gone_and_counted(paths: StatePaths) -> None:
    first, other = put(paths, "a"), put(paths, "b")
    kept = everything(other)
    (entry,) = [one for one in put_away.entries(paths.quarantine) if one.name == "a"]
    result = put_away.purge(paths, [first.name, first.name])
    assert result == put_away.Purged([first.name], entry.size, {})
    assert not first.exists()
    assert everything(other) == kept


def link_of_the_folder(place: Path, _: Path) -> None:
    place.rename(place.parent.parent / "elsewhere")
    place.symlink_to(place.parent.parent / "elsewhere")


def link_of_the_messages(place: Path, outside: Path) -> None:
    (place / "messages").rename(outside / "messages")
    (place / "messages").symlink_to(outside / "messages")


def link_of_the_session(place: Path, outside: Path) -> None:
    (place / "session.sqlite3").rename(outside / "mine")
    (place / "session.sqlite3").symlink_to(outside / "mine")


def foreign_file(place: Path, _: Path) -> None:
    (place / "holiday.jpg").write_bytes(b"a beach")


def foreign_folder(place: Path, _: Path) -> None:
    (place / "session.sqlite3-wal").mkdir()
    (place / "session.sqlite3-wal" / "mine").write_bytes(b"mine")


def unfinished(place: Path, _: Path) -> None:
    place.chmod(0o700 | quarantine.UNFINISHED)


def is_missing(place: Path, outside: Path) -> None:
    place.rename(outside / "moved")


@pytest.mark.parametrize(
    "harm",
    [
        link_of_the_folder, link_of_the_messages, link_of_the_session, foreign_file, foreign_folder,
        unfinished, is_missing,
    ],
)  # fmt: skip
def test_what_is_not_wholly_of_an_account_stays_whole(
    paths: StatePaths, tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    place, other = put(paths, "a"), put(paths, "b")
    outside = tmp_path / "outside"
    outside.mkdir()
    harm(place, outside)
    before = everything(tmp_path)
    result = put_away.purge(paths, [place.name])
    assert result.done == []
    assert list(result.kept) == [place.name]
    assert result.kept[place.name]
    assert everything(tmp_path) == before
    # It keeps nobody else from being deleted.
    assert put_away.purge(paths, [place.name, other.name]).done == [other.name]


def test_what_is_being_restored_stays(paths: StatePaths) -> None:
    place, other = put(paths, "a"), put(paths, "b")
    moving.begin(paths, moving.Restore("a", place.name, "session.sqlite3"))
    result = put_away.purge(paths, [place.name, other.name])
    assert result.done == [other.name]
    assert "is being moved" in result.kept[place.name]
    paths.moving.write_text("not JSON")
    with pytest.raises(StateError, match="damaged"):
        put_away.purge(paths, [place.name])
    assert place.exists()


def test_a_quarantine_that_is_a_link_is_not_followed(paths: StatePaths, tmp_path: Path) -> None:
    place = put(paths, "a")
    paths.quarantine.rename(tmp_path / "elsewhere")
    paths.quarantine.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        put_away.purge(paths, [place.name])
    with pytest.raises(OSError, match=r"."):
        put_away.entries(paths.quarantine)
    assert (tmp_path / "elsewhere" / place.name / "session.sqlite3").exists()


_PARTS = st.sampled_from(
    ["..", ".", "sessions", "quarantine", "a", "b", f"a-{STAMP}-repair", "", "README.txt"]
)
_NAMES = st.one_of(
    st.lists(_PARTS, min_size=1, max_size=4).map("/".join), st.text(st.characters(exclude_characters="\0"))
)


@settings(max_examples=1000, deadline=None)
@given(names=st.lists(_NAMES, max_size=5))
def test_no_name_reaches_anything_else(world: StatePaths, names: list[str]) -> None:
    before = everything(world.root)
    wanted = [name for name in names if name != f"a-{STAMP}-repair"]
    result = put_away.purge(world, wanted)
    assert result.done == []
    assert set(result.kept) == set(wanted)
    assert everything(world.root) == before


@pytest.fixture(scope="module")
def world() -> StatePaths:
    paths = make(Path(tempfile.mkdtemp()) / "state")
    put(paths, "a")
    paths.home("b").mkdir()
    write_device(paths.session("b"))
    assert [one.name for one in paths.quarantine.iterdir()] == [f"a-{STAMP}-repair"]
    return paths


@pytest.mark.parametrize("wrong", ["../sessions/b", "..", "", ".", "/etc", "a\0b", 5, None])
@pytest.mark.parametrize("key", ["folder", "database"])
def test_a_task_that_leads_out_of_the_quarantine_is_damaged(
    paths: StatePaths, key: str, wrong: object
) -> None:
    task = {"name": "a", "folder": f"a-{STAMP}-repair", "database": "session.sqlite3"}
    paths.moving.write_text(json.dumps({"restore": task}))
    assert moving.pending(paths) == moving.Restore(**task)
    paths.moving.write_text(json.dumps({"restore": task | {key: wrong}}))
    with pytest.raises(StateError, match="is damaged"):
        moving.pending(paths)
