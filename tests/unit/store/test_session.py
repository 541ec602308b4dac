import errno
import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.accounts import addresses
from support.full_disk import fill, make_read_only, size_limit, small_disk

from orchestrator.store import sessions as session
from orchestrator.store.quarantine import prune, tidy_quarantine
from orchestrator.store.quarantine import put as quarantine
from orchestrator.store.sessions import lock, repair_modes

NOW = 1795354074.9
STAMP = "20261122T132754Z"
DAY = 86_400
ROOT = Path(session.__file__).parents[2]


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    folder = tmp_path / "sessions"
    folder.mkdir(0o700)
    return folder


@pytest.fixture
def path(sessions: Path) -> Path:
    (sessions / "support").mkdir(0o700)
    return sessions / "support" / "session.sqlite3"


@pytest.fixture
def home(path: Path) -> Path:
    return path.parent


@pytest.fixture
def put_away(tmp_path: Path) -> Path:
    return tmp_path / "quarantine"


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, without the locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def write_session(path: Path, *sides: str) -> dict[str, bytes]:
    names = [path.name + side for side in ("", *sides)]
    for name in names:
        path.with_name(name).write_bytes(f"contents of {name}".encode())
    return contents(path.parent)


def run_in_process(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def wait_for_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


# Lock


HOLD = """
import sys
from pathlib import Path
from orchestrator.store.sessions import lock
lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_as_long_as_its_descriptor(path: Path) -> None:
    file = path.with_suffix(".lock")
    held = lock(file)
    assert file.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not os.get_inheritable(held)
    with pytest.raises(BlockingIOError, match=rf"in use by process {os.getpid()}"):
        lock(file)
    os.close(held)
    os.close(lock(file))


def test_a_lock_ends_with_the_process_however_it_ends(path: Path) -> None:
    file = path.with_suffix(".lock")
    with run_in_process(HOLD, file) as process:
        assert wait_for_line(process) == b"locked\n"
        with pytest.raises(BlockingIOError) as caught:
            lock(file)
        assert caught.value.strerror == f"in use by process {process.pid}"
        assert caught.value.filename == str(file)
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(lock(file))


@pytest.mark.parametrize("text", [b"", b"no number", b"0", b"99999999", b"\xff" * 100])
def test_a_holder_that_is_not_known_is_not_named(path: Path, text: bytes) -> None:
    held = lock(path)
    path.write_bytes(text)
    with pytest.raises(BlockingIOError) as caught:
        lock(path)
    assert caught.value.strerror == "in use"
    os.close(held)


def test_a_lock_file_is_no_link_and_no_device(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        lock(path)
    assert not (tmp_path / "target").exists()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        lock(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "absent" / "lock")


def test_a_lock_file_that_was_replaced_is_locked_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = fcntl.flock, 0

    def flock(descriptor: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        real(descriptor, operation)
        if calls == 1:
            path.unlink()
        elif calls == 2:
            path.unlink()
            path.touch()

    monkeypatch.setattr("fcntl.flock", flock)
    held = lock(path)
    assert calls == 3
    assert os.path.samestat(os.fstat(held), path.stat())
    os.close(held)


def test_on_a_full_disk_the_lock_holds_without_a_name(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        file = disk / "support.lock"
        file.touch()
        fill(disk)
        held = lock(file)
        with pytest.raises(BlockingIOError, match="in use"):
            lock(file)
        os.close(held)


# Quarantine


@pytest.mark.parametrize(
    "sides", [(), ("-wal", "-shm"), ("-journal",), ("-wal",), ("-wal", "-shm", "-journal")]
)
def test_a_session_is_moved_with_all_its_files(
    sessions: Path, path: Path, put_away: Path, sides: tuple[str, ...]
) -> None:
    before = write_session(path, *sides)
    other = sessions / "support2" / path.name
    other.parent.mkdir()
    other.write_bytes(b"of another account")
    old = os.umask(0)
    try:
        place = quarantine(path.parent, put_away, "logged_out", NOW)
    finally:
        os.umask(old)
    assert place == put_away / f"support-{STAMP}-logged_out"
    assert contents(place) == before
    assert contents(sessions) == {"support2/session.sqlite3": b"of another account"}
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IMODE(put_away.stat().st_mode) == 0o700


def test_the_folder_is_the_same_and_no_copy(path: Path, put_away: Path) -> None:
    write_session(path, "-wal")
    (path.parent / "realm").write_bytes(b"whatsapp")
    inode = path.parent.stat().st_ino
    before = {file.name: file.stat().st_ino for file in path.parent.iterdir()}
    place = quarantine(path.parent, put_away, "repair", NOW)
    assert place is not None
    assert place.stat().st_ino == inode
    assert {file.name: file.stat().st_ino for file in place.iterdir()}.items() >= before.items()
    assert not path.parent.exists()


def test_where_there_is_no_session_there_is_nothing_to_do(home: Path, put_away: Path) -> None:
    (home / "session.lock").touch()
    (home / "realm").touch()
    assert quarantine(home, put_away, "repair", NOW) is None
    assert not put_away.exists()
    assert sorted(file.name for file in home.iterdir()) == ["realm", "session.lock"]
    assert quarantine(home.with_name("absent"), put_away, "repair", NOW) is None
    assert quarantine(home.parent / "absent" / "absent", put_away, "repair", NOW) is None


def test_what_is_left_of_a_session_is_put_away_too(path: Path, put_away: Path) -> None:
    path.with_name("session.sqlite3-wal").write_bytes(b"wal")
    place = quarantine(path.parent, put_away, "repair", NOW)
    assert place is not None
    assert contents(place) == {"session.sqlite3-wal": b"wal"}


def test_each_gets_a_folder_of_its_own(path: Path, put_away: Path) -> None:
    places = []
    for number in range(4):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
        places.append(quarantine(path.parent, put_away, "repair", NOW))
    assert [place and place.name.removeprefix(f"support-{STAMP}-") for place in places] == [
        "repair", "repair-2", "repair-3", "repair-4",
    ]  # fmt: skip
    assert [place and (place / path.name).read_text() for place in places] == ["0", "1", "2", "3"]
    assert prune(put_away, 0, NOW + 1) == sorted(place.name for place in places if place)


@pytest.mark.parametrize(
    ("reason", "word"), [("../../etc", "_etc"), ("", "unknown"), ("Wrong phone", "wrong_phone")]
)
def test_a_reason_becomes_a_word(path: Path, put_away: Path, reason: str, word: str) -> None:
    write_session(path)
    place = quarantine(path.parent, put_away, reason, NOW)
    assert place == put_away / f"support-{STAMP}-{word}"


@pytest.mark.parametrize("name", ["sales-br.2", "a.sqlite3", "x.lock", "a.sqlite3-wal"])
def test_names_may_have_dots_and_dashes(sessions: Path, put_away: Path, name: str) -> None:
    path = sessions / name / "session.sqlite3"
    path.parent.mkdir()
    write_session(path, "-wal")
    place = quarantine(path.parent, put_away, "locked", NOW)
    assert place == put_away / f"{name}-{STAMP}-locked"
    assert prune(put_away, 7, NOW + 8 * DAY) == [place.name]
    assert list(put_away.iterdir()) == []


def test_a_session_in_use_stays(path: Path, put_away: Path) -> None:
    before = write_session(path, "-wal")
    held = lock(path.with_suffix(".lock"))
    with pytest.raises(BlockingIOError, match="in use by process"):
        quarantine(path.parent, put_away, "repair", NOW)
    assert contents(path.parent) == before
    assert not put_away.exists()
    os.close(held)
    assert quarantine(path.parent, put_away, "repair", NOW) is not None


def test_a_link_is_moved_and_not_followed(path: Path, put_away: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    path.symlink_to(target)
    place = quarantine(path.parent, put_away, "repair", NOW)
    assert place is not None
    assert (place / path.name).is_symlink()
    assert target.read_bytes() == b"precious"


def test_a_linked_folder_is_not_moved(path: Path, put_away: Path) -> None:
    """A process that could replace its folder must not have another account's session put away."""
    before = write_session(path)
    link = path.parent.with_name("evil")
    link.symlink_to(path.parent)
    with pytest.raises(OSError, match="is a symbolic link"):
        quarantine(link, put_away, "logged_out", NOW)
    assert contents(path.parent) == before
    assert not put_away.exists()


@pytest.mark.parametrize("what", ["link", "pipe", "folder", "closed"])
def test_nothing_in_the_place_of_the_lock_keeps_a_session_from_quarantine(
    path: Path, put_away: Path, tmp_path: Path, what: str
) -> None:
    write_session(path)
    file, target = path.with_suffix(".lock"), tmp_path / "target"
    target.write_bytes(b"precious")
    match what:
        case "link":
            file.symlink_to(target)
        case "pipe":
            os.mkfifo(file)
        case "folder":
            (file / "more").mkdir(parents=True)
        case _:
            file.touch(0)
            path.chmod(0)
            path.parent.chmod(0)
    assert quarantine(path.parent, put_away, "logged_out", NOW)
    assert target.read_bytes() == b"precious"
    assert not path.parent.exists()


Failing = Callable[[str, int], None]


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Let a function of `os` fail when it is called for the so-many-th time."""

    def patch(name: str, call: int) -> None:
        real, calls = getattr(os, name), 0

        def failing(*args: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == call:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args, **more)

        monkeypatch.setattr(os, name, failing)

    return patch


def test_an_error_leaves_everything_where_it_was(path: Path, put_away: Path, fail_at: Failing) -> None:
    before = write_session(path, "-wal", "-shm")
    fail_at("rename", 1)
    with pytest.raises(OSError, match="Input/output error"):
        quarantine(path.parent, put_away, "repair", NOW)
    assert contents(path.parent) == before
    assert list(put_away.iterdir()) == []


CRASH = """
import os, sys
from pathlib import Path
from orchestrator.store.quarantine import put as quarantine
name, calls = sys.argv[3], int(sys.argv[4])
real = getattr(os, name)
def crash(*args, **more):
    global calls
    calls -= 1
    if calls < 0:
        os._exit(9)
    return real(*args, **more)
setattr(os, name, crash)
quarantine(Path(sys.argv[1]), Path(sys.argv[2]), "repair", 1795354074)
"""


@pytest.mark.parametrize("calls", [0, 1])
def test_a_crash_leaves_all_of_a_session_in_one_place(path: Path, put_away: Path, calls: int) -> None:
    before = write_session(path, "-wal", "-shm")
    with run_in_process(CRASH, path.parent, put_away, "rename", calls) as process:
        assert process.wait() == (9 if calls == 0 else 0)
    (place,) = put_away.iterdir()
    assert contents(path.parent if calls == 0 else place) == before
    assert contents(place if calls == 0 else path.parent) == {}


def beside(path: Path, mode: str) -> bytes:
    """Return what SQLite keeps beside a session in the middle of a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT)")
        database.execute("INSERT INTO whatsmeow_device VALUES (zeroblob(100000))")
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("UPDATE whatsmeow_device SET jid = zeroblob(200000)")
        return path.with_name(f"{path.name}-{'wal' if mode == 'WAL' else 'journal'}").read_bytes()


def test_sqlite_takes_nothing_that_a_crash_left_for_a_session(path: Path, tmp_path: Path) -> None:
    """What `takeover` relies on: without the database, neither a log nor a journal counts."""
    log, journal = beside(tmp_path / "one", "WAL"), beside(tmp_path / "two", "DELETE")
    assert min(len(log), len(journal)) > 100_000
    path.with_name("session.sqlite3-wal").write_bytes(log)
    path.with_name("session.sqlite3-journal").write_bytes(journal)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        database.execute("CREATE TABLE whatsmeow_device (jid TEXT)")
        assert database.execute("SELECT count(*) FROM whatsmeow_device").fetchone() == (0,)
    assert addresses(path) == []


# Another file system


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A quarantine on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="orchestrator-test-") as folder:
        if Path(folder).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("the temporary folder is in memory, too")
        yield Path(folder) / "quarantine"


def test_a_quarantine_on_another_file_system_gets_copies(path: Path, elsewhere: Path) -> None:
    before = write_session(path, "-wal", "-journal")
    old = os.umask(0)
    try:
        place = quarantine(path.parent, elsewhere, "repair", NOW)
    finally:
        os.umask(old)
    assert place is not None
    assert contents(place) == before
    assert contents(path.parent) == {}
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}


def test_copies_are_on_the_disk_before_anything_is_removed(
    path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_session(path, "-wal")
    steps: list[str] = []
    fsync, unlink = os.fsync, os.unlink

    def note_fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")  # noqa: PTH115
        fsync(descriptor)

    def note_unlink(file: Path) -> None:
        steps.append(f"unlink {Path(file).name}")
        unlink(file)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "unlink", note_unlink)
    quarantine(path.parent, elsewhere, "repair", NOW)
    assert steps == [
        "fsync session.sqlite3",
        "fsync session.sqlite3-wal",
        f"fsync support-{STAMP}-repair",
        "fsync quarantine",
        "unlink session.sqlite3",
        "unlink session.sqlite3-wal",
        "unlink session.lock",
    ]


def test_no_room_there_leaves_everything_where_it_was(path: Path, elsewhere: Path) -> None:
    write_session(path)
    path.with_name("session.sqlite3-wal").write_bytes(bytes(3000))
    before = contents(path.parent)
    with size_limit(1000), pytest.raises(OSError, match="File too large"):
        quarantine(path.parent, elsewhere, "repair", NOW)
    assert contents(path.parent) == before
    assert list(elsewhere.iterdir()) == []


def test_a_link_is_not_copied(path: Path, elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    path.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        quarantine(path.parent, elsewhere, "repair", NOW)
    assert path.is_symlink()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("calls", [0, 1])
def test_a_crash_between_copying_and_removing_loses_nothing(path: Path, elsewhere: Path, calls: int) -> None:
    before = write_session(path, "-wal")
    with run_in_process(CRASH, path.parent, elsewhere, "unlink", calls) as process:
        assert process.wait() == 9
    place = elsewhere / f"support-{STAMP}-repair"
    assert contents(place) == before
    assert tidy_quarantine(path.parents[1], elsewhere)
    assert (contents(place), contents(path.parent)) == ((before, {}) if calls else ({}, before))


def test_a_quarantine_that_cannot_be_written_is_told(path: Path, tmp_path: Path) -> None:
    before = write_session(path, "-wal")
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        with pytest.raises(OSError, match="Read-only file system"):
            quarantine(path.parent, disk / "quarantine", "repair", NOW)
    assert contents(path.parent) == before


# Prune


def put(folder: Path, name: str, *files: str) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    for file in files:
        (place / file).write_bytes(b"x")
    return place


def test_what_is_too_old_is_removed(put_away: Path) -> None:
    old = put(
        put_away, f"a-{STAMP}-repair", "a.sqlite3", "a.sqlite3-wal", "a.sqlite3-shm", "a.sqlite3-journal"
    )
    empty = put(put_away, f"b-c-{STAMP}-logged_out-12")
    young = put(put_away, "a-20261125T000000Z-repair", "a.sqlite3")
    future = put(put_away, "a-20991125T000000Z-repair", "a.sqlite3")
    assert prune(put_away, 7, NOW + 7 * DAY - 2) == []
    assert prune(put_away, 7, NOW + 7 * DAY + 2) == [old.name, empty.name]
    assert sorted(put_away.iterdir()) == [young, future]
    assert prune(put_away, 0.5, NOW + 100 * DAY) == [young.name]
    assert prune(put_away / "absent", 7, NOW) == []


def test_what_is_not_ours_stays(put_away: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = put(tmp_path, "outside", "a.sqlite3")
    kept = [
        put(put_away, name, "a.sqlite3")
        for name in (
            "notes",
            f"a-{STAMP}",
            f"A-{STAMP}-repair",
            f"a-{STAMP}-Repair",
            "a-20261122-repair",
            f".a-{STAMP}-repair",
            f"-{STAMP}-repair",
            "a-20269922T132754Z-repair",
            "a-\u0662\u06602611221T32754Z-repair",
            f"a-{STAMP}-repair-x y",
        )
    ]
    (put_away / f"b-{STAMP}-repair").symlink_to(outside)
    (put_away / f"c-{STAMP}-repair").write_bytes(b"a file")
    assert prune(put_away, 7, NOW + 100 * DAY) == []
    assert all((place / "a.sqlite3").exists() for place in kept)
    assert (outside / "a.sqlite3").exists()
    # What others have put into a folder of ours stays, and the folder with it; the secrets go.
    mixed = put(put_away, f"d-{STAMP}-repair", "d.sqlite3", "notes.txt", "e.sqlite3")
    (mixed / "d.sqlite3-wal").symlink_to(outside / "a.sqlite3")
    assert prune(put_away, 7, NOW + 100 * DAY) == []
    assert sorted(file.name for file in mixed.iterdir()) == ["e.sqlite3", "notes.txt"]
    assert (outside / "a.sqlite3").exists()
    assert f"{mixed}: could not be removed: Directory not empty" in caplog.text


def test_a_quarantine_that_is_a_link_is_not_pruned(put_away: Path, tmp_path: Path) -> None:
    put(tmp_path / "real", f"a-{STAMP}-repair", "a.sqlite3")
    put_away.symlink_to("real")
    assert prune(put_away, 0, NOW + DAY) == []
    assert (tmp_path / "real" / f"a-{STAMP}-repair" / "a.sqlite3").exists()


# Modes


def test_modes_are_repaired(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch(0o644)
    target.chmod(0o644)
    sessions = path.parents[1]
    sessions.chmod(0o755)
    modes = {
        "support/session.sqlite3": 0o644,
        "support/session.sqlite3-wal": 0o666,
        "support/session.sqlite3-journal": 0o000,
        "support/session.lock": 0o640,
        "support/realm": 0o666,
        "support/notes.txt": 0o644,
        "fine/session.sqlite3": 0o600,
        "old.sqlite3": 0o644,
        "old.sqlite3-wal": 0o644,
        "notes.txt": 0o644,
        "other.sqlite": 0o644,
        ".hidden/session.sqlite3": 0o644,
    }
    for name, mode in modes.items():
        (sessions / name).parent.mkdir(mode=0o700, exist_ok=True)
        (sessions / name).touch()
        (sessions / name).chmod(mode)
    (sessions / "link.sqlite3").symlink_to(target)
    (sessions / "link").symlink_to(tmp_path)
    (sessions / "fine" / "session.lock").symlink_to(target)
    (sessions / "support").chmod(0o750)
    repaired = repair_modes(sessions)
    assert repaired == [
        f"{sessions}: changed the mode from 0755 to 0700",
        f"{sessions}/old.sqlite3: changed the mode from 0644 to 0600",
        f"{sessions}/old.sqlite3-wal: changed the mode from 0644 to 0600",
        f"{sessions}/support: changed the mode from 0750 to 0700",
        f"{sessions}/support/session.sqlite3: changed the mode from 0644 to 0600",
        f"{sessions}/support/session.sqlite3-wal: changed the mode from 0666 to 0600",
        f"{sessions}/support/session.sqlite3-journal: changed the mode from 0000 to 0600",
        f"{sessions}/support/realm: changed the mode from 0666 to 0600",
        f"{sessions}/support/session.lock: changed the mode from 0640 to 0600",
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    for name in ("notes.txt", "other.sqlite", ".hidden/session.sqlite3"):
        assert stat.S_IMODE((sessions / name).stat().st_mode) == 0o644
    assert repair_modes(sessions) == []
    assert repair_modes(sessions / "absent") == []


def test_a_folder_that_its_process_has_closed_is_opened(path: Path) -> None:
    write_session(path)
    path.parent.chmod(0)
    assert f"{path.parent}: changed the mode from 0000 to 0700" in repair_modes(path.parents[1])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_modes_of_a_linked_folder_are_let_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o755)
    (tmp_path / "sessions").symlink_to("real")
    with pytest.raises(NotADirectoryError):
        repair_modes(tmp_path / "sessions")
