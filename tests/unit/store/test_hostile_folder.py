"""What lies in an account's folder was written by whoever took over the account's process."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.devices import write_device

from orchestrator.service import orphans
from orchestrator.store import device, moving, quarantine, sessions
from orchestrator.store.device import Device, look
from orchestrator.store.files import SessionFiles
from orchestrator.store.layout import StatePaths

NOW = 1_795_354_074.0


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    found = StatePaths.of(tmp_path / "state", environ={})
    found.prepare()
    for name in ("good", "evil"):
        found.home(name).mkdir()
        write_device(found.session(name))
    return found


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what must not change: modes and contents."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def ask_everything(paths: StatePaths) -> None:
    """Do all that the parent and the commands do with sessions, short of moving them."""
    store = SessionFiles(paths, "whatsapp")
    for name in ("good", "evil"):
        store.exists(name)
        store.signature(name)
        store.device(name)
        moving.has_session(paths, name)
    store.names()
    store.close_to_others()
    sessions.open_to_others(paths.sessions)
    moving.about_strays(paths, moving.strays(paths, set()), ["new"])
    orphans.end(paths.sessions)


PLACES = ["session.sqlite3", "session.sqlite3-wal", "session.sqlite3-shm", "session.sqlite3-journal"]
PLACES += ["session.lock", "realm"]
WHAT = ["link", "hard link", "pipe", "folder", "link to a folder", "link to itself"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "what", ["link", "hard link", "pipe", "folder", "link to a folder", "link to itself"]
)
def test_nothing_in_the_place_of_a_file_is_followed_or_waited_for(
    paths: StatePaths, place: str, what: str
) -> None:
    file, target = paths.home("evil") / place, paths.session("good")
    file.unlink(missing_ok=True)
    match what:
        case "link":
            file.symlink_to(target)
        case "hard link":
            file.hardlink_to(target)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "link to a folder":
            file.symlink_to(target.parent)
        case _:
            file.symlink_to(file)
    before = snapshot(paths.home("good"))
    ask_everything(paths)
    store = SessionFiles(paths, "whatsapp")
    refusal = store.admit("evil")
    if place.startswith("session.sqlite3") and what != "hard link":
        assert refusal is not None
        assert str(file) in refusal.text
        if place == "session.sqlite3":
            assert look(file) == Device(None)
    assert snapshot(paths.home("good")) == before
    # Put away, removed for good: the other account's files stay all the same.
    quarantine.put(paths.home("evil"), paths.quarantine, "removed", NOW)
    assert moving.strays(paths, set()) == ["good"]
    quarantine.quarantined(paths.quarantine)
    quarantine.prune(paths.quarantine, 0, NOW + 86_400)
    assert snapshot(paths.home("good")) == before


def test_a_folder_that_is_a_link_to_anothers(paths: StatePaths) -> None:
    shutil.rmtree(paths.home("evil"))
    paths.home("evil").symlink_to(paths.home("good"))
    before = snapshot(paths.home("good"))
    ask_everything(paths)
    store = SessionFiles(paths, "whatsapp")
    assert store.device("evil") == Device(None)
    assert store.signature("evil") is None
    assert store.names() == ["good"]
    refusal = store.admit("evil")
    assert refusal is not None
    assert "is a symbolic link: remove it" in refusal.text
    with pytest.raises(Exception, match="symbolic link"):
        store.quarantine("evil", "logged_out", NOW)
    assert snapshot(paths.home("good")) == before


@pytest.mark.parametrize("mode", [0, 0o200, 0o500])
def test_a_folder_that_its_process_has_closed(paths: StatePaths, mode: int) -> None:
    paths.session("evil").chmod(mode)
    paths.home("evil").chmod(mode)
    assert SessionFiles(paths, "whatsapp").admit("evil") is None
    assert paths.home("evil").stat().st_mode & 0o777 == 0o700
    assert paths.session("evil").stat().st_mode & 0o777 == 0o600


# What a database may hold

HOSTILE = {
    "a view": "CREATE VIEW whatsmeow_device AS SELECT 1 AS jid, 2 AS noise_key, 3 AS identity_key",
    "a view that never ends": (
        "CREATE VIEW whatsmeow_device AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
        " SELECT max(x) AS jid FROM c"
    ),
    "no columns of a device": "CREATE TABLE whatsmeow_device (x); INSERT INTO whatsmeow_device VALUES (1)",
    "numbers for keys": (
        "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key);"
        " INSERT INTO whatsmeow_device VALUES (1, 2, 3)"
    ),
    "nothing for keys": (
        "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key);"
        " INSERT INTO whatsmeow_device VALUES (NULL, NULL, NULL)"
    ),
    "a huge value": (
        "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key);"
        " INSERT INTO whatsmeow_device VALUES (zeroblob(5000000), x'00', x'00')"
    ),
    "a value that is made when it is read": (
        "CREATE TABLE whatsmeow_device (jid, noise_key AS (hex(zeroblob(400000000))), identity_key);"
        " INSERT INTO whatsmeow_device (jid, identity_key) VALUES ('x', x'00')"
    ),
    "columns that are made when they are read": (
        "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key, more AS (upper(jid)));"
        " INSERT INTO whatsmeow_device VALUES (x'00', x'00', x'00')"
    ),
    "many columns with much in each": (
        "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key, "
        + ", ".join(f"c{number}" for number in range(500))
        + "); INSERT INTO whatsmeow_device (jid, noise_key, identity_key) VALUES (x'00', x'00', x'00')"
    ),
    "a table without rows' numbers": (
        "CREATE TABLE whatsmeow_device (jid PRIMARY KEY, noise_key, identity_key) WITHOUT ROWID;"
        " INSERT INTO whatsmeow_device VALUES (x'00', x'00', x'00')"
    ),
    "a table with code of its own": (
        "CREATE VIRTUAL TABLE whatsmeow_device USING fts5(jid, noise_key, identity_key);"
        " INSERT INTO whatsmeow_device VALUES ('a', 'b', 'c')"
    ),
    "column names that are no text": "CREATE TABLE whatsmeow_device (jid, noise_key, identity_key)",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_schema_tells_nothing(paths: StatePaths, what: str) -> None:
    path = paths.session("evil")
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(HOSTILE[what])
        if what == "column names that are no text":
            connection.execute("INSERT INTO whatsmeow_device VALUES ('a', x'00', x'00')")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = CAST(x'435245415445205441424c452077686174736d656f775f646576"
                "6963652028ff2c20fe2c20fd29' AS TEXT)"
            )
    before = path.read_bytes()
    found = look(path)
    assert found.linked is not True
    assert not any(mark.startswith("device") for mark in found.marks)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["session.sqlite3"]


@pytest.mark.parametrize("side", ["session.sqlite3", "session.sqlite3-wal"])
def test_a_file_that_is_too_large(paths: StatePaths, side: str) -> None:
    path = paths.session("evil")
    path.unlink()
    write_device(path, wal=True)
    (path.parent / side).touch()
    os.truncate(path.parent / side, 1 << 42)  # it has no such disk: most of it is a hole
    assert look(path).linked is None


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_pages_never_raise(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = write_device(Path(folder) / "session.sqlite3", wal=data.draw(st.booleans()))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 20))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        path.with_name("session.sqlite3-wal").write_bytes(data.draw(st.binary(max_size=200)))
        look(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_log_never_raises(data: st.DataObject) -> None:
    frame = struct.pack(">IIII8x", data.draw(st.integers(0, 9)), data.draw(st.integers(0, 2**32 - 1)), 1, 2)
    size = data.draw(st.sampled_from([0, 1, 512, 1000, 4096, 65536, 2**32 - 1]))
    page = data.draw(st.binary(min_size=0, max_size=64)) * 64
    log = struct.pack(">IIIIII8x", 0x377F0682, 3007000, size, 0, 1, 2) + (frame + page[: min(size, 4096)]) * 3
    image = bytearray(4096)
    device._apply(log, image)
    assert len(image) <= device.MAX_SIZE


def test_a_journal_cannot_have_files_removed(paths: StatePaths, tmp_path: Path) -> None:
    """SQLite removes the file that a hot journal names as its master; here no journal is ever undone."""
    path = paths.session("evil")
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    name = os.fsencode(victim)
    magic = bytes.fromhex("d9d505f920a163d7")
    master = name + struct.pack(">I", len(name)) + struct.pack(">I", sum(name)) + magic
    header = magic + struct.pack(">IIIII", 0, 1, 3, 512, 4096)
    journal = path.with_name("session.sqlite3-journal")
    journal.write_bytes(header.ljust(512, b"\0") + struct.pack(">I", 1 << 20) + master)
    sessions.repair_modes(paths.sessions)
    before = snapshot(paths.root)
    assert look(path).linked
    ask_everything(paths)
    assert snapshot(paths.root) == before
    assert victim.exists()


def test_a_quarantine_of_hostile_files_is_looked_at_and_removed(paths: StatePaths) -> None:
    home = paths.home("evil")
    for number in range(3000):
        (home / f"x{number}").touch()
    (home / "session.sqlite3").unlink()
    (home / "session.sqlite3-wal").symlink_to(paths.session("good"))
    place = quarantine.put(home, paths.quarantine, "logged_out", NOW)
    assert place is not None
    assert quarantine.quarantined(paths.quarantine) == []
    assert quarantine.prune(paths.quarantine, 0, NOW + 86_400) == []
    assert paths.session("good").exists()
