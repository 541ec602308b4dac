"""The file of `run --log-file`: whole lines or nothing, and what children write gets into it."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.system import logs
from orchestrator.system.log_file import LogFile

CHILD = """
import os, subprocess, sys
from pathlib import Path
from orchestrator.system.log_file import LogFile
path = Path(sys.argv[1])
file = LogFile(path)
file.take_children()
subprocess.run(["sh", "-c", "echo first line >&2; printf unfinished >&2"])
path.rename(path.with_suffix(".1"))
file.reopen()
subprocess.run(["sh", "-c", "echo second line >&2"])
file.write(b"its own\\n")
file.close()
print("to the terminal again", file=sys.stderr)
"""


def test_what_children_write_is_in_the_file_also_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], stderr=subprocess.PIPE, text=True, check=True
    )
    assert done.stderr == "to the terminal again\n"
    both = path.with_suffix(".1").read_text() + path.read_text()
    assert "first line\n" in both
    assert "second line\n" in both
    assert "its own\n" in path.read_text()


HOSTILE = """
import os, sys
from pathlib import Path
from orchestrator.system.log_file import LogFile
file = LogFile(Path(sys.argv[1]))
file.take_children()
os.write(2, b"\\x1b]0;owned\\x07\\x1b[2J \\xc2\\x9b31m \\xe2\\x80\\xae evil \\xff\\r\\ttab \\xc3\\xa9\\n")
file.close()
"""


def test_what_children_write_cannot_steer_the_terminal_of_a_reader(tmp_path: Path) -> None:
    """`tail` and `logs --follow` show the file as it is."""
    path = tmp_path / "own.log"
    subprocess.run([sys.executable, "-c", HOSTILE, str(path)], check=True)
    (line,) = path.read_text().splitlines()
    assert line.replace("\t", "").isprintable()
    assert line == "\\u001b]0;owned\\u0007\\u001b[2J \\u009b31m \\u202e evil \\xff\\u000d\ttab é"


def test_a_file_that_is_there_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    path.write_text("before\n")
    path.chmod(0o640)  # a group may read it, as logrotate's `create` can say
    file = LogFile(path)
    assert file.write(b"now\n") == 4
    file.close()
    assert file.write(b"too late\n") == 0
    assert path.read_text() == "before\nnow\n"


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
def test_a_full_disk_leaves_no_half_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    """The largest size of a file stands for the size of a disk: both end a write in its middle."""
    path = tmp_path_factory.mktemp("log") / "own.log"
    file = LogFile(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        kept = [line for line in lines if file.write(line)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    file.close()
    assert path.read_bytes() == b"".join(kept)
    assert bool(file.trouble) == (len(kept) < len(lines))


def test_the_log_says_once_that_the_disk_was_full(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    file = LogFile(path)
    handler = logs.StderrHandler(logs.TextFormatter(None), outlet=file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        for text in ("one", "two"):
            handler.emit(logging.LogRecord("a", logging.INFO, "", 0, text, (), None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for text in ("three", "four"):
        handler.emit(logging.LogRecord("a", logging.INFO, "", 0, text, (), None))
    handler.close()
    told, three, four = path.read_text().splitlines()
    assert "2 log records were dropped, because the log could not be written" in told
    assert os.strerror(errno.EFBIG) in told
    assert three.endswith("three")
    assert four.endswith("four")


def test_a_file_that_cannot_be_opened_anew_stays_in_use(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    file = LogFile(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError, match=r"own\.log"):
        file.reopen()
    assert file.write(b"still\n") == 6
    file.close()


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_folder_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    if mode == 0o775:
        os.chown(folder, -1, 12345) if os.geteuid() == 0 else pytest.skip("only root can give a folder away")
    with pytest.raises(StateError, match="choose another file") as refused:
        LogFile(folder / "own.log")
    assert refused.value.key == "folder_untrusted"
    assert not (folder / "own.log").exists()
