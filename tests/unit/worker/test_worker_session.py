"""The session's file as a child finds it: sound or damaged, ours or not, and never changed by the look."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.full_disk import fill as fill_disk
from support.full_disk import small_disk

from orchestrator.accounts.failure import Kind
from orchestrator.worker import session_check
from orchestrator.worker.session_check import SessionUnusable, Stored, hold, prepare

NUMBER = "4915100001"
ADDRESS = f"{NUMBER}:7@s.whatsapp.net"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "a #1%41?.sqlite3"


def fill(database: Path, *addresses: str, rows: int = 2000) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE whatsmeow_pre_keys (key_id INTEGER PRIMARY KEY, key BLOB)")
        connection.executemany("INSERT INTO whatsmeow_device VALUES (?)", [(one,) for one in addresses])
        keys = [(number, os.urandom(32)) for number in range(rows)]
        connection.executemany("INSERT INTO whatsmeow_pre_keys VALUES (?, ?)", keys)


def unusable(database: Path) -> Kind:
    before = database.read_bytes() if database.is_file() else b""
    with pytest.raises(SessionUnusable) as caught:
        prepare(database)
    assert (database.read_bytes() if database.is_file() else b"") == before
    assert caught.value.outcome.text
    return caught.value.outcome.kind


# What it holds


def test_there_is_none(database: Path) -> None:
    assert prepare(database) == Stored(paired=False)
    assert not database.exists()


def test_an_empty_file_is_none_either(database: Path) -> None:
    database.touch()
    assert prepare(database) == Stored(paired=False)


@pytest.mark.parametrize(
    ("addresses", "stored"),
    [
        ([], Stored(paired=False)),
        ([ADDRESS], Stored(paired=True, phone=NUMBER)),
        (["15550100.0:3@s.whatsapp.net"], Stored(paired=True, phone="15550100")),
        ([f"{NUMBER}@s.whatsapp.net"], Stored(paired=True, phone=NUMBER)),
        (["whatever"], Stored(paired=True)),
        # The library takes the first one that was stored.
        (["99999@s.whatsapp.net", "11111@s.whatsapp.net"], Stored(paired=True, phone="99999")),
    ],
)
def test_whom_it_is_of(database: Path, addresses: list[str], stored: Stored) -> None:
    fill(database, *addresses)
    before = database.read_bytes()
    assert prepare(database) == stored
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_one_of_another_program_is_not_linked(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE something (else_)")
    assert prepare(database) == Stored(paired=False)


# Damage


def test_what_is_no_database(database: Path) -> None:
    database.write_bytes(b"not a database, but long enough to be taken for one: " * 100)
    assert unusable(database) is Kind.DAMAGED


@pytest.mark.parametrize("place", [100, 4096 + 8, 3 * 4096])
def test_overwritten_pages(database: Path, place: int) -> None:
    fill(database, ADDRESS)
    with database.open("r+b") as file:
        file.seek(place)
        file.write(b"\xaa" * 4096)
    assert unusable(database) is Kind.DAMAGED


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file(database: Path, part: float) -> None:
    fill(database, ADDRESS)
    os.truncate(database, int(database.stat().st_size * part) // 4096 * 4096)
    assert unusable(database) is Kind.DAMAGED


def test_a_finding_about_what_is_written_is_no_damage(database: Path) -> None:
    fill(database, ADDRESS)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE strange (value)")
        connection.execute("INSERT INTO strange VALUES (NULL)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE strange (value NOT NULL)' WHERE name = 'strange'"
        )
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]
    assert prepare(database).paired


# What is no damage


@pytest.fixture
def holder(database: Path) -> Iterator[None]:
    """Another program in the middle of a write."""
    fill(database, ADDRESS)
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


@pytest.mark.usefixtures("holder")
def test_a_held_file_is_not_damaged(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_check, "BUSY_SECONDS", 0.1)
    assert unusable(database) is Kind.CONFIG


def test_an_interrupted_write_is_the_librarys_to_undo(database: Path) -> None:
    fill(database, ADDRESS)
    program = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('BEGIN')\n"
        "connection.execute('UPDATE whatsmeow_pre_keys SET key = randomblob(100)')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, database], check=True)
    journal = database.with_name(f"{database.name}-journal")
    before = database.read_bytes(), journal.read_bytes()
    assert prepare(database).paired
    assert (database.read_bytes(), journal.read_bytes()) == before
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def test_a_check_that_takes_too_long_is_let_go(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, ADDRESS, rows=20_000)
    monkeypatch.setattr(session_check, "CHECK_SECONDS", -1)
    monkeypatch.setattr(session_check, "_PROGRESS_STEPS", 1)
    assert prepare(database) == Stored(paired=True, phone=NUMBER)


def test_write_ahead_logging_is_fine(database: Path) -> None:
    fill(database, ADDRESS)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO whatsmeow_pre_keys VALUES (99999, 'x')")
        connection.commit()
        assert prepare(database) == Stored(paired=True, phone=NUMBER)


def test_a_folder_in_its_place(database: Path) -> None:
    database.mkdir()
    assert unusable(database) is Kind.CONFIG


def test_no_folder_around_it(tmp_path: Path) -> None:
    # A disk that is not mounted, most likely: that passes, and nobody must link the account anew for it.
    assert unusable(tmp_path / "none" / "a.sqlite3") is Kind.MACHINE


def test_a_full_disk_waits_for_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        database = disk / "a.sqlite3"
        fill(database, ADDRESS)
        fill_disk(disk, leave=session_check.ROOM // 2)
        assert unusable(database) is Kind.MACHINE
        # Codes are shown all the same: whoever waits for one is told when it cannot be used.
        assert prepare(disk / "b.sqlite3") == Stored(paired=False)
        (disk / ".filler").unlink()
        assert prepare(database).paired


def test_links_are_not_followed(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "sessions"
    elsewhere.mkdir(mode=0o755)
    folder.mkdir()
    database, target = folder / "a.sqlite3", elsewhere / "a.sqlite3"
    fill(target, ADDRESS)
    target.chmod(0o644)
    database.symlink_to(target)
    assert unusable(database) is Kind.CONFIG
    database.unlink()
    database.parent.rmdir()
    database.parent.symlink_to(elsewhere)
    assert unusable(database) is Kind.CONFIG
    assert target.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_that_may_not_be_written(database: Path) -> None:
    fill(database, ADDRESS)
    database.parent.chmod(0o500)
    try:
        assert unusable(database) is Kind.CONFIG
    finally:
        database.parent.chmod(0o700)


def test_a_file_of_ones_own_is_made_readable(database: Path) -> None:
    fill(database, ADDRESS)
    database.chmod(0)
    assert prepare(database).paired
    assert database.stat().st_mode & 0o777 == 0o600


# Whose it is


def test_others_lose_what_they_may_do(database: Path) -> None:
    fill(database, ADDRESS)
    database.chmod(0o644)
    beside = [database.with_name(f"{database.name}{end}") for end in ("-wal", "-shm")]
    for path in beside:
        path.touch(0o666)
    prepare(database)
    for path in (database, *(path for path in beside if path.exists())):
        assert path.stat().st_mode & 0o777 == 0o600


def test_one_process_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    first = hold(lock)
    assert lock.read_text() == f"{os.getpid()}\n"
    assert lock.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SessionUnusable, match=f"in use by process {os.getpid()}") as caught:
        hold(lock, seconds=0.2)
    # A crash, and not the configuration's fault: whoever it is may be on its way out.
    assert caught.value.outcome.kind is Kind.CRASH
    os.close(first)
    os.close(hold(lock, seconds=0))


def test_a_lock_that_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "a.lock"
    real = fcntl.flock
    removed: list[Path] = []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(lock)
            lock.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    descriptor = hold(lock)
    assert os.path.samestat(os.fstat(descriptor), lock.stat())
    os.close(descriptor)


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("elsewhere")], ids=["folder", "link"]
)
def test_a_lock_that_cannot_be(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "a.lock")
    with pytest.raises(SessionUnusable) as caught:
        hold(tmp_path / "a.lock")
    assert caught.value.outcome.kind is Kind.CONFIG
