import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.full_disk import fill, make_read_only, size_limit, small_disk

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import State
from orchestrator.store import timeline
from orchestrator.store.timeline import Timeline, TimelineEntry
from orchestrator.system import files

AT = 1795354074.125


def entry(attempt: int = 0, **more: Any) -> TimelineEntry:  # noqa: ANN401 - fields of any type
    return TimelineEntry(AT, State.CONNECTED, State.BACKOFF, attempt=attempt, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "timeline"


@pytest.fixture
def history(folder: Path) -> Timeline:
    return Timeline(folder)


def attempts(history: Timeline, count: int = 1000, name: str = "support") -> list[int]:
    return [found["attempt"] for found in history.tail(name, count)]


def test_an_entry_is_a_line_of_json(history: Timeline, folder: Path) -> None:
    assert history.append(
        "support",
        entry(
            2, kind=Kind.TEMPORARY_BAN, reason="banned", code=402, delay=3605.12345, version="0.5.2", others=7
        ),
    )
    assert (folder / "support.jsonl").read_text() == (
        '{"at": "2026-11-22T13:27:54.125Z", "from": "connected", "to": "backoff", "kind": "temporary_ban", '
        '"reason": "banned", "code": 402, "attempt": 2, "delay": 3605.123, "version": "0.5.2", "others": 7}\n'
    )
    assert history.tail("support", 1) == [json.loads((folder / "support.jsonl").read_text())]


def test_what_is_not_known_is_null(history: Timeline) -> None:
    history.append("support", entry())
    assert history.tail("support", 1)[0] == {
        "at": "2026-11-22T13:27:54.125Z", "from": "connected", "to": "backoff", "kind": None, "reason": None,
        "code": None, "attempt": 0, "delay": None, "version": "", "others": 0,
    }  # fmt: skip


def test_the_file_is_for_this_user_alone(history: Timeline, folder: Path) -> None:
    old = os.umask(0)
    try:
        history.append("support", entry())
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "support.jsonl").stat().st_mode) == 0o600


def test_reasons_are_redacted_and_cut(history: Timeline) -> None:
    history.append("support", entry(reason="no LID found for 4915123456701@s.whatsapp.net"))
    history.append("support", entry(reason="long " * 1000))
    first, second = history.tail("support", 2)
    assert first["reason"] == "no LID found for +49…01@s.whatsapp.net"
    assert len(second["reason"]) == 500


def test_a_reason_of_anything_stays_on_its_line(history: Timeline, folder: Path) -> None:
    for reason in ('a\nb\r\n\x00\x1b "', "\udc80 …", "\u2028"):
        assert history.append("support", entry(reason=reason))
    assert [found["reason"] for found in history.tail("support", 9)] == ['a b "', "…", ""]
    assert (folder / "support.jsonl").read_text().replace("\n", "").isprintable()
    assert (folder / "support.jsonl").read_bytes().count(b"\n") == 3


def test_the_tail_is_the_newest_entries_oldest_first(history: Timeline) -> None:
    for number in range(300):
        history.append("support", entry(number))
        history.append("other", entry(-number))
    assert attempts(history, 3) == [297, 298, 299]
    assert attempts(history) == list(range(300))
    assert attempts(history, 0) == attempts(history, -1) == []
    assert history.tail("nobody", 5) == []


def test_a_file_that_is_full_becomes_the_older_one(
    history: Timeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 2000)
    for number in range(50):
        history.append("support", entry(number))
        assert (folder / "support.jsonl").stat().st_size <= 2000
    assert sorted(path.name for path in folder.iterdir()) == ["support.jsonl", "support.jsonl.1"]
    kept = attempts(history)
    assert kept == list(range(kept[0], 50))
    assert len(kept) > 2000 // 200
    # As many as asked for, from both.
    assert attempts(history, len(kept) - 1) == kept[1:]


def test_reading_while_the_file_is_renamed_gives_nothing_twice(
    history: Timeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.append("support", entry(1))
    real = files.open_file

    def rotate_after(name: str, *, dir_fd: int) -> int:
        descriptor = real(name, dir_fd=dir_fd)
        if name == "support.jsonl":
            (folder / name).rename(folder / "support.jsonl.1")
        return descriptor

    monkeypatch.setattr(timeline, "open_file", rotate_after)
    assert attempts(history) == [1]


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"at": "2026-11-22T13:27',
        b"\x00" * 100_000,
        b"\xff\xfe\n\n\n",
        b"[1, 2]\n17\nnull\n",
        b'{"from": "a"}\n',
        b"[" * 50_000 + b"\n",
        b'{"at": 1, "to": ' + b"[" * 50_000 + b"\n",
    ],
)
def test_garbage_is_left_out_and_harms_no_later_entry(
    history: Timeline, folder: Path, garbage: bytes
) -> None:
    history.append("support", entry(1))
    with (folder / "support.jsonl").open("ab") as file:
        file.write(garbage)
    assert attempts(history) == [1]
    history.append("support", entry(2))
    assert attempts(history) == [1, 2]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 64), st.integers(0, 300))
def test_lines_come_backwards_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block: int, newlines: int
) -> None:
    data = data[:newlines].replace(b"\x00", b"\n") + data[newlines:]
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(data)
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_BLOCK", block)
        assert list(timeline._backwards(file.fileno(), len(data)))[::-1] == data.split(b"\n")


def test_the_tail_of_a_large_file_is_read_from_its_end(history: Timeline, folder: Path) -> None:
    folder.mkdir()
    line = json.dumps(entry(1).as_json()).encode() + b"\n"
    with (folder / "support.jsonl").open("wb") as file:
        file.seek(1 << 32)  # sparse: 4 GiB of nothing
        file.write(b"\n" + line * 20)
    start = time.process_time()
    assert attempts(history, 20) == [1] * 20
    assert time.process_time() - start < 1


def test_links_and_what_is_no_file_are_not_used(history: Timeline, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(json.dumps(entry().as_json()).encode())
    folder.mkdir()
    (folder / "link.jsonl").symlink_to(target)
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    for name in ("link", "folder", "pipe"):
        assert not history.append(name, entry())
        assert history.tail(name, 1) == []
    assert target.read_bytes().count(b"\n") == 0
    # A link in the place of the older file is replaced, not followed.
    (folder / "support.jsonl.1").symlink_to(target)
    (folder / "support.jsonl").write_bytes(b"x" * timeline.MAX_BYTES)
    assert history.append("support", entry(1))
    assert not (folder / "support.jsonl.1").is_symlink()
    assert attempts(history) == [1]


def test_the_folder_may_be_removed_meanwhile(history: Timeline, folder: Path) -> None:
    history.append("support", entry(1))
    (folder / "support.jsonl").unlink()
    folder.rmdir()
    assert history.append("support", entry(2))
    assert attempts(history) == [2]


def test_a_full_disk_is_told_once_and_so_is_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk") as disk:
        history = Timeline(disk / "timeline")
        history.append("a", entry(1))
        filler = fill(disk)
        lost = 0
        while history.append("a", entry(2)):
            assert lost < 100, "the disk is not full"
            lost += 1
        caplog.clear()
        before = len(attempts(history, name="a"))
        for name in ("a", "b", "c", "a", "b"):
            assert not history.append(name, entry(3))
        assert caplog.records == []
        filler.unlink()
        for name in ("c", "b", "a", "a"):
            assert history.append(name, entry(4))
        assert [record.getMessage() for record in caplog.records] == [
            "the timelines can be written again; 6 entries were lost"
        ]
        # What was cut off is lost, what came after it is not.
        assert attempts(history, name="a")[before:] == [4, 4]


def test_a_line_that_did_not_get_done_is_lost_and_no_other(
    history: Timeline, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history.append("a", entry(1))
    size = (folder / "a.jsonl").stat().st_size
    with size_limit(size + 10):
        assert [history.append("a", entry(2)) for _ in range(3)] == [False] * 3
    assert history.append("a", entry(3))
    assert attempts(history, name="a") == [1, 3]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]
    assert caplog.messages[-1] == "the timelines can be written again; 3 entries were lost"


READ_ONLY = "the disk is read-only, which may mean that it is broken: see the system log"


def test_a_read_only_disk_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk") as disk:
        history = Timeline(disk / "timeline")
        history.append("a", entry(1))
        make_read_only(disk)
        assert [history.append(name, entry(2)) for name in ("a", "b", "a")] == [False] * 3
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
            (logging.ERROR, f"{disk}/timeline/a.jsonl: the timeline cannot be written: {READ_ONLY}")
        ]
        assert attempts(history, name="a") == [1]


def test_one_account_that_fails_does_not_hide_another_failure(
    history: Timeline, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / "a.jsonl").mkdir()
    (folder / "b.jsonl").symlink_to("nowhere")
    for name in ("a", "b", "c", "a", "b"):
        history.append(name, entry())
    assert len(caplog.records) == 2


def test_an_entry_is_one_write(
    history: Timeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        written.append(data)
        return real(descriptor, data[: len(data) if len(written) != 2 else 10])

    monkeypatch.setattr(os, "write", write)
    assert [history.append("support", entry(number)) for number in range(3)] == [True, False, True]
    assert len(written) == 3
    assert attempts(history) == [0, 2]
    assert "the disk is full: make room" in caplog.text
