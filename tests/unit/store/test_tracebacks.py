"""Tracebacks: the last one of each account is kept, whole or cut, private, and never by way of a link."""

import os
from pathlib import Path

import pytest
from support.full_disk import size_limit

from orchestrator.store.tracebacks import MAX_BYTES, Tracebacks

NOW = 1_795_341_600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tracebacks"


@pytest.fixture
def tracebacks(folder: Path) -> Tracebacks:
    folder.mkdir()
    return Tracebacks(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_kept_under_a_line_about_it(folder: Path, tracebacks: Tracebacks) -> None:
    tracebacks.live("a").write_text("Thread 1:\n")
    kept = tracebacks.keep("a", 4711, "no sign of life for 30 s", NOW)
    assert kept == folder / "a.txt"
    assert kept.read_text() == (
        "a: process 4711 ended at 2026-11-22T10:00:00Z: no sign of life for 30 s\n\nThread 1:\n"
    )
    assert kept.stat().st_mode & 0o777 == 0o600
    assert names(folder) == ["a.txt"]


def test_nothing_written_is_nothing_kept_and_the_last_one_stays(folder: Path, tracebacks: Tracebacks) -> None:
    assert tracebacks.keep("a", 1, "", NOW) is None
    tracebacks.kept("a").write_text("the last one")
    tracebacks.live("a").touch()
    assert tracebacks.keep("a", 1, "", NOW) is None
    assert names(folder) == ["a.txt"]
    assert tracebacks.kept("a").read_text() == "the last one"


def test_it_is_not_kept_beyond_measure(tracebacks: Tracebacks) -> None:
    tracebacks.live("a").write_bytes(b"x" * (MAX_BYTES + 1000))
    kept = tracebacks.keep("a", 1, "", NOW)
    assert kept is not None
    text = kept.read_text()
    assert text.count("x") <= MAX_BYTES + 1  # one in a word
    assert text.endswith("x\n(the rest is left out)\n")


def test_a_reason_with_a_number_in_it_is_masked(tracebacks: Tracebacks) -> None:
    tracebacks.live("a").write_text("x")
    kept = tracebacks.keep("a", 1, "4915100000001@s.whatsapp.net is not there", NOW)
    assert kept is not None
    assert "4915100000001" not in kept.read_text()


def test_links_are_not_followed(
    tracebacks: Tracebacks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "precious"
    target.write_text("as it was")
    tracebacks.live("a").symlink_to(target)
    assert tracebacks.keep("a", 1, "", NOW) is None
    assert "cannot be saved" in caplog.text
    tracebacks.kept("b").symlink_to(target)
    tracebacks.live("b").write_text("x")
    kept = tracebacks.keep("b", 1, "", NOW)
    assert kept is not None
    assert not kept.is_symlink()
    assert target.read_text() == "as it was"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_read(
    tracebacks: Tracebacks, caplog: pytest.LogCaptureFixture, make: object
) -> None:
    assert callable(make)
    make(tracebacks.live("a"))
    assert tracebacks.keep("a", 1, "", NOW) is None
    assert "cannot be saved" in caplog.text


def test_a_disk_that_is_full_is_said_and_the_last_one_stays(
    folder: Path, tracebacks: Tracebacks, caplog: pytest.LogCaptureFixture
) -> None:
    tracebacks.kept("a").write_text("the last one")
    tracebacks.live("a").write_text("x" * 1000)
    with size_limit(100):
        assert tracebacks.keep("a", 1, "", NOW) is None
    assert "a.txt: the traceback of process 1 cannot be saved: File too large" in caplog.text
    assert tracebacks.kept("a").read_text() == "the last one"
    assert names(folder) == ["a.txt"]


def test_what_an_earlier_service_left_is_removed_but_for_what_people_may_want(
    folder: Path, tracebacks: Tracebacks
) -> None:
    for name in ("a.txt", "a.live", "gone.txt", "gone.live", "a.live.txt", "Notes.txt", "x"):
        (folder / name).touch()
    (folder / ".a.txt.0123abcd.tmp").touch()  # of a service that was killed
    tracebacks.prepare({"a", "a.live"})
    assert names(folder) == ["Notes.txt", "a.live.txt", "a.txt", "x"]
    tracebacks.forget("a")
    assert names(folder) == ["Notes.txt", "a.live.txt", "x"]
    tracebacks.forget("a")


def test_a_folder_that_is_gone_stops_nothing(folder: Path) -> None:
    tracebacks = Tracebacks(folder)
    tracebacks.prepare({"a"})
    assert tracebacks.keep("a", 1, "", NOW) is None
    tracebacks.forget("a")
