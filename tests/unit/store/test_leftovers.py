"""What a service or a command leaves when it is killed in the middle of something, the next one clears up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.cli.offline.changes import exclusive
from orchestrator.config import edit
from orchestrator.config.reader import load
from orchestrator.store import leftovers
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.sessions import files, lock
from orchestrator.system.files import is_temporary

ROOT = Path(leftovers.__file__).parents[2]
KILL = """
import os, sys
name, calls, code = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.argv[1:] = sys.argv[4:]
real = getattr(os, name)
def kill(*args, **more):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), 9)
    return real(*args, **more)
setattr(os, name, kill)
exec(code)
"""
REPLACE = """
from pathlib import Path
from orchestrator.system.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"new")
"""
CODES = (
    "from pathlib import Path; from orchestrator.store.codes.folder import QrFolder\n"
    "folder = QrFolder(Path(sys.argv[1]));"
)


def killed(call: str, count: int, code: str, *arguments: object) -> None:
    """Run code that is killed when it makes the so-many-th call of a function of `os`, from 0 on."""
    line = [sys.executable, "-c", KILL, call, str(count), f"import sys\n{code}", *map(str, arguments)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=90)
    assert done.returncode == -9


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    found = StatePaths.of(tmp_path / "state", environ={})
    found.prepare()
    return found


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_half_a_status_goes_with_the_next_start(paths: StatePaths) -> None:
    paths.status.write_text("old")
    killed("replace", 0, REPLACE, paths.status)
    (name,) = hidden(paths.root)
    assert is_temporary(name)
    with exclusive(in_files(paths, paths.qr), "tests this"):
        assert hidden(paths.root) == []
    assert paths.status.read_text() == "old"


def test_it_does_not_make_the_folder_look_like_anybody_elses(paths: StatePaths) -> None:
    killed("replace", 0, REPLACE, paths.status)
    paths.root.chmod(0o755)
    assert paths.prepare() == [
        f"{paths.root}: changed the mode from 0755 to 0700, so that no other user can enter"
    ]
    (paths.root / "mine").touch()
    paths.root.chmod(0o755)
    with pytest.raises(Exception, match="contains other files"):
        paths.prepare()


def test_half_a_control_socket_goes(paths: StatePaths) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(paths.root / ".0123abcd.s"))
    leftovers.clear(paths)
    assert hidden(paths.root) == []


def test_half_a_configuration_goes_with_the_next_edit(tmp_path: Path) -> None:
    path = tmp_path / "accounts.yaml"
    edit.add_account(path, "a")
    add = "from orchestrator.config import edit as config_edit; config_edit.add_account(sys.argv[1], 'b')"
    killed("fsync", 0, add, path)
    assert any(map(is_temporary, hidden(tmp_path)))
    (tmp_path / ".other.yaml.01234567.tmp").touch()  # somebody else's
    edit.add_account(path, "c")
    assert sorted(hidden(tmp_path)) == [".accounts.yaml.lock", ".other.yaml.01234567.tmp"]
    assert list(load(path).accounts) == ["a", "c"]


def test_half_a_folder_of_codes_goes(tmp_path: Path) -> None:
    killed("rename", 0, f"{CODES} folder.prepare()", tmp_path / "codes")
    assert len(hidden(tmp_path)) == 1
    QrFolder(tmp_path / "codes").prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


def test_half_a_picture_goes(tmp_path: Path) -> None:
    killed("rename", 1, f"{CODES} folder.show('a', b'x', 1)", tmp_path / "codes")
    assert len(hidden(tmp_path / "codes")) == 1
    QrFolder(tmp_path / "codes").prepare()
    assert hidden(tmp_path / "codes") == []


# Sessions on their way into quarantine

QUARANTINE = (
    "from pathlib import Path; from orchestrator.store.quarantine import put\n"
    "put(Path(sys.argv[1]), Path(sys.argv[2]), 'repair', 1795354074)"
)
STAMP = "20261122T132754Z"


def write(paths: StatePaths, *sides: str) -> dict[str, bytes]:
    paths.home("a").mkdir()
    for path in files(paths.session("a")):
        if path.name.removeprefix("session.sqlite3") in ("", *sides):
            path.write_bytes(path.name.encode())
    return found(paths.home("a"))


def found(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.sqlite3*")}


@pytest.mark.parametrize(("call", "count"), [("rename", 0), ("mkdir", 0)])
def test_a_session_is_here_or_there(paths: StatePaths, call: str, count: int) -> None:
    before = write(paths, "-wal", "-shm", "-journal")
    killed(call, count, QUARANTINE, paths.home("a"), paths.quarantine / "deeper")
    leftovers.clear(paths)
    assert found(paths.sessions) == before
    assert found(paths.quarantine) == {}
    assert leftovers.clear(paths) == []


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_half_a_session_of_an_older_version_is_put_together_again(paths: StatePaths, renames: int) -> None:
    """Version 0.1 moved a session's files one by one, the database first."""
    place = paths.quarantine / f"a-{STAMP}-repair"
    place.mkdir()
    place.chmod(0o1700)
    names = ["a.sqlite3", "a.sqlite3-wal", "a.sqlite3-shm", "a.sqlite3-journal"]
    for number, name in enumerate(names):
        (place if number < renames else paths.sessions).joinpath(name).write_bytes(name.encode())
    # The folder of another account has the name that the database had.
    (paths.sessions / "a.sqlite3").mkdir()
    (said,) = leftovers.clear(paths)
    assert "finished" in said
    assert found(place) == {name: name.encode() for name in names}
    assert place.stat().st_mode & 0o7777 == 0o700
    assert leftovers.clear(paths) == []


@pytest.mark.parametrize(("call", "count"), [("fsync", 0), ("fsync", 2), ("unlink", 0), ("unlink", 1)])
def test_half_a_copy_to_another_file_system_counts_once(paths: StatePaths, call: str, count: int) -> None:
    before = write(paths, "-wal")
    across = (
        "import errno, pathlib\n"
        "def rename(self, target): raise OSError(errno.EXDEV, 'elsewhere')\n"
        "pathlib.Path.rename = rename\n" + QUARANTINE
    )
    killed(call, count, across, paths.home("a"), paths.quarantine)
    leftovers.clear(paths)
    if (call, count) == ("unlink", 1):
        (place,) = paths.quarantine.iterdir()
        assert (found(place), found(paths.sessions)) == (before, {})
    else:
        assert (found(paths.quarantine), found(paths.sessions)) == ({}, before)
        assert list(paths.quarantine.iterdir()) == []


def test_what_lies_beside_no_session_is_put_away(paths: StatePaths) -> None:
    write(paths, "-journal")
    paths.session("a").unlink()
    (said,) = leftovers.clear(paths)
    assert "leftover" in said
    (place,) = paths.quarantine.iterdir()
    assert list(found(place)) == ["session.sqlite3-journal"]
    assert found(paths.sessions) == {}


def test_what_a_process_uses_is_let_alone(paths: StatePaths) -> None:
    before = write(paths, "-wal")
    paths.session("a").unlink()
    held = lock(paths.session_lock("a"))
    try:
        assert "cannot be moved to quarantine: in use by process" in leftovers.clear(paths)[0]
        assert found(paths.sessions) == {"session.sqlite3-wal": before["session.sqlite3-wal"]}
    finally:
        os.close(held)
    leftovers.clear(paths)
    assert found(paths.sessions) == {}
