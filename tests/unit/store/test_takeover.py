"""The state folder of version 0.1 is taken over: by renames, whole or not at all, wherever it is cut off."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.accounts import addresses
from support.devices import write_device
from support.full_disk import fill, make_read_only, small_disk

from orchestrator.accounts.failure import Outcome
from orchestrator.store import admission, leftovers, moving, sessions, takeover
from orchestrator.store.layout import StatePaths

ROOT = Path(takeover.__file__).parents[2]
NAMES = ["sqlite3", "sqlite3-wal", "sqlite3-shm", "sqlite3-journal", "lock"]
SIDES = ["sqlite3-wal", "sqlite3-shm", "sqlite3-journal"]


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return prepared(tmp_path)


def prepared(folder: Path) -> StatePaths:
    found = StatePaths.of(folder / "state", environ={})
    found.prepare()
    return found


def write_old(paths: StatePaths, name: str, *ends: str) -> dict[str, bytes]:
    """Write files as 0.1 named them; return the files as they are to be named."""
    for end in ends:
        (paths.sessions / f"{name}.{end}").write_bytes(f"{name} {end}".encode())
    return {f"session.{end}": f"{name} {end}".encode() for end in ends if end != "lock"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder but its lock."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "session.lock"}


def everything(paths: StatePaths) -> dict[str, bytes]:
    """Return all files below the folder of sessions but locks."""
    found = (file for file in paths.sessions.rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(paths.sessions)): file.read_bytes() for file in found}


def admit(paths: StatePaths, name: str) -> Outcome | None:
    """Return why an account may not start."""
    return admission.admit(paths, name, "whatsapp").refusal


SETS = [set(one) for count in range(len(NAMES) + 1) for one in combinations(NAMES, count)]


@pytest.mark.parametrize("there", SETS, ids=lambda there: "+".join(sorted(there)) or "nothing")
def test_whatever_files_there_are(paths: StatePaths, there: set[str]) -> None:
    wanted = write_old(paths, "a", *there)
    said = leftovers.clear(paths)
    if "sqlite3" in there:
        assert contents(paths.home("a")) == wanted
        assert said == [f"a: the session of version 0.1 was taken over: it is in {paths.home('a')} now"]
        assert paths.home("a").stat().st_mode & 0o7777 == 0o700
    else:
        assert not paths.home("a").exists()
        found = [contents(place) for place in paths.quarantine.iterdir()]
        assert found == ([wanted] if wanted else []), "nothing is lost of what had no database either"
    assert not [one for one in paths.sessions.iterdir() if one != paths.home("a")]
    assert leftovers.clear(paths) == []


def test_the_files_are_the_same_and_no_copies(paths: StatePaths) -> None:
    write_old(paths, "a", *NAMES)
    before = {file.name.removeprefix("a."): file.stat().st_ino for file in paths.sessions.iterdir()}
    leftovers.clear(paths)
    after = {file.name.removeprefix("session."): file.stat().st_ino for file in paths.home("a").iterdir()}
    assert after == before


AWKWARD = ["a", "a.sqlite3", "a.sqlite3.sqlite3", "a.lock", "a.sqlite3-wal", "x.lock", "x", "a-b.c_d"]


def test_names_that_look_like_files(paths: StatePaths) -> None:
    """The account "a.sqlite3" gets a folder where the database of the account "a" was."""
    wanted = {name: write_old(paths, name, *NAMES) for name in AWKWARD}
    leftovers.clear(paths)
    assert {name: contents(paths.home(name)) for name in AWKWARD} == wanted
    assert sessions.names(paths.sessions) == sorted(AWKWARD)
    assert sorted(one.name for one in paths.sessions.iterdir()) == sorted(AWKWARD)


def test_a_folder_of_today_is_no_file_of_old(paths: StatePaths) -> None:
    for name in ("a.sqlite3", "x.lock", "a.sqlite3-wal"):
        assert admit(paths, name) is None
        paths.session(name).write_bytes(name.encode())
    assert leftovers.clear(paths) == []
    assert takeover.waiting(paths.sessions) == []
    assert sessions.names(paths.sessions) == ["a.sqlite3", "a.sqlite3-wal", "x.lock"]
    assert moving.strays(paths, {"a", "x"}) == ["a.sqlite3", "a.sqlite3-wal", "x.lock"]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(AWKWARD), st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=4
    ),
    st.sets(st.sampled_from(AWKWARD), max_size=2),
)
def test_nothing_is_lost_whatever_there_is(old: dict[str, set[str]], today: set[str]) -> None:
    """Also where an account has a session of today already, or a folder is where a file would be."""
    with tempfile.TemporaryDirectory() as folder:
        paths = prepared(Path(folder))
        for name in today:
            paths.home(name).mkdir()
            paths.session(name).write_bytes(b"of today " + name.encode())
        written = {
            name: {end for end in ends if not (paths.sessions / f"{name}.{end}").exists()}
            for name, ends in old.items()
        }
        for name, ends in written.items():
            write_old(paths, name, *ends)

        def every() -> list[bytes]:
            found = (file for file in paths.root.rglob("*") if file.is_file())
            texts = [file.read_bytes() for file in found if not file.name.endswith(".lock")]
            return sorted(text for text in texts if text)

        before = every()
        for _ in range(2):
            leftovers.clear(paths)
            assert every() == before
            for name in today:
                assert paths.session(name).read_bytes() == b"of today " + name.encode()
        for name in old:
            if name in sessions.names(paths.sessions) and name not in today and paths.session(name).exists():
                sides = {end for end in written[name] if end.startswith("sqlite3-")}
                assert {f"session.{end}" for end in sides} <= contents(paths.home(name)).keys()


# Killed in the middle

KILL = """
import os, sys
name, calls = sys.argv[1], int(sys.argv[2])
real = getattr(os, name)
def kill(*args, **more):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), 9)
    return real(*args, **more)
setattr(os, name, kill)
from pathlib import Path
from orchestrator.store import leftovers
from orchestrator.store.layout import StatePaths
paths = StatePaths.of(Path(sys.argv[3]), environ={})
paths.prepare()
leftovers.clear(paths)
"""


def killed(paths: StatePaths, call: str, count: int) -> bool:
    """Take over in a process that is killed at the so-many-th call; return whether it came to that."""
    line = [sys.executable, "-c", KILL, call, str(count), str(paths.root)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=90)
    assert done.returncode in (0, -9)
    return done.returncode == -9


@pytest.mark.parametrize("call", ["rename", "mkdir", "fsync", "rmdir", "unlink"])
def test_a_kill_at_any_step_is_made_good_by_the_next_start(paths: StatePaths, call: str) -> None:
    for count in range(40):
        shutil.rmtree(paths.root)
        paths.prepare()
        wanted = {name: write_old(paths, name, *NAMES) for name in ("a", "a.sqlite3")}
        paths.home("a").mkdir()  # as an interrupted start of the account may have left it
        died = killed(paths, call, count)
        for name in ("a", "a.sqlite3"):
            database = paths.session(name)
            if database.exists():
                assert contents(paths.home(name)) == wanted[name], "what is there is there whole"
        # A second kill in the same place, and then nobody is in the way.
        killed(paths, call, 0)
        leftovers.clear(paths)
        assert {name: contents(paths.home(name)) for name in wanted} == wanted
        assert sorted(one.name for one in paths.sessions.iterdir()) == ["a", "a.sqlite3"]
        assert list(paths.quarantine.iterdir()) == []
        if not died:
            assert count > 0
            return
    raise AssertionError("it was killed again and again")


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_what_was_being_written_is_there_afterwards(paths: StatePaths, mode: str) -> None:
    """SQLite never meets the database without its log or its hot journal."""
    old = paths.sessions / "a.sqlite3"
    write_device(old, wal=mode == "WAL")
    copy = paths.root / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(old, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("PRAGMA cache_size = 1")
        if mode == "WAL":
            database.execute("PRAGMA wal_autocheckpoint = 0")
            database.execute("INSERT INTO whatsmeow_pre_keys VALUES (1, x'01')")
        else:
            database.execute("BEGIN EXCLUSIVE")
            database.execute("DELETE FROM whatsmeow_device")
            database.execute("INSERT INTO whatsmeow_pre_keys VALUES (1, zeroblob(400000))")
        for file in paths.sessions.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, copy)
    for file in paths.sessions.iterdir():
        file.unlink()
    for file in copy.iterdir():
        file.rename(paths.sessions / file.name)
    copy.rmdir()
    for count in range(4):
        killed(paths, "rename", count)
    leftovers.clear(paths)
    assert addresses_of(paths.session("a"))
    with closing(sqlite3.connect(paths.session("a"))) as database:
        keys = database.execute("SELECT count(*) FROM whatsmeow_pre_keys").fetchone()[0]
    assert keys == (1 if mode == "WAL" else 0)


def addresses_of(database: Path) -> list[str]:
    """Return whom a session is linked to, as whoever may write finds it."""
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT jid FROM whatsmeow_device")]


# What is in the way


def unchanged(paths: StatePaths, *words: str) -> None:
    """See that nothing is moved, that it is said why, and that the account does not start."""
    before = everything(paths)
    for _ in range(2):
        (said,) = leftovers.clear(paths)
        assert said.startswith("a: the session of version 0.1 cannot be taken over: ")
        for word in words:
            assert word in said
        assert everything(paths) == before
    refusal = admit(paths, "a")
    assert refusal is not None
    assert refusal.kind == "config"
    assert words[-1] in refusal.text
    assert takeover.problem(paths.sessions, "a") is not None
    assert takeover.waiting(paths.sessions) == ["a"]


def test_two_sessions_of_one_account(paths: StatePaths) -> None:
    write_old(paths, "a", "sqlite3", "sqlite3-wal")
    paths.home("a").mkdir()
    paths.session("a").write_bytes(b"another")
    unchanged(paths, "has another session", str(paths.home("a")), "keep one of them")
    # The operator decides.
    paths.session("a").unlink()
    leftovers.clear(paths)
    assert contents(paths.home("a")) == {
        "session.sqlite3": b"a sqlite3",
        "session.sqlite3-wal": b"a sqlite3-wal",
    }


@pytest.mark.parametrize("end", NAMES)
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_no_file(paths: StatePaths, tmp_path: Path, end: str, what: str) -> None:
    write_old(paths, "a", "sqlite3")
    (tmp_path / "target").write_bytes(b"precious")
    file = paths.sessions / f"a.{end}"
    file.unlink(missing_ok=True)
    if what == "link":
        file.symlink_to(tmp_path / "target")
    else:
        os.mkfifo(file)
    before = sorted(one.name for one in paths.sessions.iterdir())
    (said,) = leftovers.clear(paths)
    assert f"{file} is " in said
    assert sorted(one.name for one in paths.sessions.iterdir()) == before
    assert (tmp_path / "target").read_bytes() == b"precious"
    refusal = admit(paths, "a")
    assert refusal is not None
    assert str(file) in refusal.text
    file.unlink()
    leftovers.clear(paths)
    assert paths.session("a").exists() == (end != "sqlite3")


@pytest.mark.parametrize("what", ["file", "link", "other files"])
def test_something_else_is_where_the_folder_goes(paths: StatePaths, tmp_path: Path, what: str) -> None:
    write_old(paths, "a", "sqlite3")
    if what == "file":
        paths.home("a").write_bytes(b"a file")
    elif what == "link":
        paths.home("a").symlink_to(tmp_path)
    else:
        paths.home("a").mkdir()
        (paths.home("a") / "notes\x1b.txt").write_bytes(b"notes")
    unchanged(paths, str(paths.home("a")), "away")


def test_one_that_cannot_be_taken_over_does_not_keep_the_others(paths: StatePaths) -> None:
    wanted = {name: write_old(paths, name, *NAMES) for name in ("a", "b", "c")}
    paths.home("b").write_bytes(b"in the way")
    assert len(leftovers.clear(paths)) == 3
    assert {name: contents(paths.home(name)) for name in "ac"} == {name: wanted[name] for name in "ac"}
    assert (paths.sessions / "b.sqlite3").exists()


def test_one_that_a_process_uses(paths: StatePaths) -> None:
    write_old(paths, "a", "sqlite3")
    held = sessions.lock(paths.sessions / "a.lock")
    before = everything(paths)
    (said,) = leftovers.clear(paths)
    assert "in use by process" in said
    assert "end that process" in said
    assert everything(paths) == before
    os.close(held)
    leftovers.clear(paths)
    assert paths.session("a").exists()


def test_foreign_files_are_let_alone(paths: StatePaths) -> None:
    for name in ("notes.txt", ".a.sqlite3", "A.sqlite3", "a.sqlite", "b.db", "-a.sqlite3", ".hidden.old"):
        (paths.sessions / name).write_bytes(b"mine")
    (paths.sessions / "Folder.sqlite3").mkdir()
    before = everything(paths)
    assert leftovers.clear(paths) == []
    assert everything(paths) == before


def test_an_older_version_ran_in_between(paths: StatePaths) -> None:
    """It has found no session and paired the account anew: both stay, and the operator decides."""
    write_old(paths, "a", *NAMES)
    assert killed(paths, "rename", 1)
    (paths.sessions / "a.sqlite3").write_bytes(b"of another device")
    before = everything(paths)
    (said,) = leftovers.clear(paths)
    assert f"there is a session in {paths.sessions / '.a.old'}" in said
    assert everything(paths) == before


# Trouble


@pytest.mark.parametrize("number", range(6))
def test_an_error_leaves_everything_where_it_was(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write_old(paths, "a", *NAMES)
    before = everything(paths)
    real, calls = os.rename, 0

    def failing(*args: str) -> None:
        nonlocal calls
        calls += 1
        if calls == number + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*args)

    monkeypatch.setattr(os, "rename", failing)
    (said,) = leftovers.clear(paths)
    assert "cannot be taken over" in said
    if number < 5:  # the sixth is the one that makes the folder the account's
        assert everything(paths) == before
    monkeypatch.undo()
    leftovers.clear(paths)
    assert len(contents(paths.home("a"))) == 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as found:
        yield found


def test_a_full_disk(disk: Path) -> None:
    paths = prepared(disk)
    wanted = write_old(paths, "a", *NAMES)
    fill(disk)
    leftovers.clear(paths)
    assert contents(paths.home("a")) == wanted, "renames need no room"


def test_a_disk_that_is_read_only(disk: Path) -> None:
    paths = prepared(disk)
    write_old(paths, "a", "sqlite3", "sqlite3-wal")
    before = everything(paths)
    make_read_only(disk)
    (said,) = leftovers.clear(paths)
    assert "read-only" in said
    assert everything(paths) == before
    assert sessions.names(paths.sessions) == ["a"]


# What version 0.1 has left half done


@pytest.mark.parametrize("moved", range(5))
def test_a_rename_that_version_0_1_has_begun(paths: StatePaths, moved: int, tmp_path: Path) -> None:
    write_old(paths, "old", *NAMES)
    wanted = {f"session.{end}": f"old {end}".encode() for end in NAMES[:4]}
    for end in NAMES[:moved]:
        (paths.sessions / f"old.{end}").rename(paths.sessions / f"new.{end}")
    moving.begin(paths, moving.Rename("old", "new", begun=True))
    leftovers.clear(paths, Configured({"new": None}, tmp_path / "accounts.yaml", tmp_path))
    assert contents(paths.home("new")) == wanted
    assert sorted(one.name for one in paths.sessions.iterdir()) == ["new"]
    assert moving.pending(paths) is None


@pytest.mark.parametrize("moved", range(5))
def test_a_restore_that_version_0_1_has_begun(paths: StatePaths, moved: int, tmp_path: Path) -> None:
    place = paths.quarantine / "a-20261122T100000Z-repair"
    place.mkdir()
    for number, end in enumerate(NAMES[:4]):
        folder, name = (paths.sessions, "b") if number < moved else (place, "a")
        (folder / f"{name}.{end}").write_bytes(end.encode())
    moving.begin(paths, moving.Restore("b", place.name, "a.sqlite3"))
    leftovers.clear(paths, Configured({"b": None}, tmp_path / "accounts.yaml", tmp_path))
    assert contents(paths.home("b")) == {f"session.{end}": end.encode() for end in NAMES[:4]}
    assert not place.exists()
    assert moving.pending(paths) is None


class Configured:
    """What a store asks of a configuration."""

    def __init__(self, accounts: dict[str, object], config_file: Path, qr_dir: Path) -> None:
        self.accounts = accounts
        self.config_file = config_file
        self.qr_dir = qr_dir


# Before it is taken over


def test_an_old_state_can_be_looked_at(paths: StatePaths) -> None:
    write_device(paths.sessions / "a.sqlite3")
    before = everything(paths)
    assert sessions.names(paths.sessions) == ["a"]
    assert moving.has_session(paths, "a")
    (said,) = moving.about_strays(paths, moving.strays(paths, set()), ["b"])
    assert said.startswith(f"{paths.sessions / 'a.sqlite3'} belongs to no account")
    assert everything(paths) == before
    assert addresses(paths.sessions / "a.sqlite3")
