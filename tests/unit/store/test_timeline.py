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
from orchestrator.accounts.orderers import LONGEST
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
        '{"n": 1795354074, "at": "2026-11-22T13:27:54.125Z", "from": "connected", "to": "backoff", '
        '"kind": "temporary_ban", "reason": "banned", "code": 402, "attempt": 2, "delay": 3605.123, '
        '"version": "0.5.2", "others": 7}\n'
    )
    assert history.tail("support", 1) == [json.loads((folder / "support.jsonl").read_text())]


@given(by=st.text())
@settings(max_examples=200)
def test_who_has_caused_something_is_a_short_line(by: str) -> None:
    said = entry(by=by).as_json()["by"]
    assert len(said) <= LONGEST
    assert said.isprintable()


def test_who_has_caused_something_is_kept_and_checked(history: Timeline, folder: Path) -> None:
    history.append("support", entry(by="anna (1000), as root"))
    history.append("support", entry())
    line = (folder / "support.jsonl").read_text().splitlines()[0]
    with (folder / "support.jsonl").open("a") as file:
        file.write(line.replace('"anna (1000), as root"', "7") + "\n")
    assert [one.get("by", "nobody") for one in history.tail("support", 3)] == [
        "anna (1000), as root",
        "nobody",
        None,
    ]


def test_what_is_not_known_is_null(history: Timeline) -> None:
    history.append("support", entry())
    assert history.tail("support", 1)[0] == {
        "n": 1795354074, "at": "2026-11-22T13:27:54.125Z", "from": "connected", "to": "backoff", "kind": None,
        "reason": None, "code": None, "attempt": 0, "delay": None, "version": "", "others": 0,
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


def test_a_file_that_is_full_becomes_an_older_one(
    history: Timeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 2000)
    for number in range(200):
        history.append("support", entry(number))
        assert (folder / "support.jsonl").stat().st_size <= 2000
    names = ["support.jsonl", *(f"support.jsonl.{age}" for age in range(1, timeline.MOST_FILES))]
    assert sorted(path.name for path in folder.iterdir()) == names
    kept = attempts(history)
    assert kept == list(range(kept[0], 200))
    assert 0 < kept[0] < 200 - (timeline.MOST_FILES - 1) * 2000 // 200
    # As many as asked for, from all.
    assert attempts(history, len(kept) - 1) == kept[1:]


def test_older_files_are_kept_as_long_as_they_are_of_use(
    history: Timeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 2000)
    number = 0

    def fill(files: int) -> None:
        nonlocal number
        while sum(1 for _ in folder.glob("*")) != files or number == 0:
            number += 1
            history.append("support", entry(number))

    fill(5)
    for age, days in ((4, 36), (3, 36), (2, 34), (1, 33)):
        at = AT - days * 86400
        os.utime(folder / f"support.jsonl.{age}", (at, at))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    newest = before["support.jsonl"]
    while (folder / "support.jsonl").read_bytes().startswith(newest):
        number += 1
        history.append("support", entry(number))
    assert {path.name for path in folder.iterdir()} == {
        "support.jsonl",
        *(f"support.jsonl.{age}" for age in (1, 2, 3)),
    }
    assert (folder / "support.jsonl.3").read_bytes() == before["support.jsonl.2"]
    assert (folder / "support.jsonl.2").read_bytes() == before["support.jsonl.1"]
    # The newest of the older ones is kept, however old: it was full but a moment ago.
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    fill(2)
    assert attempts(history) == list(range(attempts(history)[0], number + 1))


def test_a_history_of_many_files_gets_another_name(
    history: Timeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 2000)
    for number in range(30):
        history.append("old", at(1000.0 + number, number))
    files = len([*folder.iterdir()])
    assert files >= 3
    kept = attempts(history, name="old")
    history.rename("old", "new")
    assert attempts(history, name="new") == kept
    assert history.names() == ["new"]
    # Together with what there is of that name.
    for number in range(30):
        history.append("more", at(1000.5 + number, 100 + number))
    history.rename("more", "new")
    assert attempts(history, name="new") == [
        one for pair in zip(range(30), range(100, 130), strict=True) for one in pair
    ]
    assert all(path.stat().st_size <= 2000 for path in folder.iterdir())
    assert history.names() == ["new"]
    for number in range(200):
        history.append("last", at(2000.0 + number, number))
    history.rename("last", "new")
    assert len([*folder.iterdir()]) == timeline.MOST_FILES
    found = attempts(history, name="new")
    assert found == list(range(found[0], 200))


def test_the_names_are_of_all_that_have_a_history(history: Timeline, folder: Path) -> None:
    assert history.names() == []
    for name in ("b", "a.jsonl", "a", "a.b-1"):
        history.append(name, entry())
    (folder / "b.jsonl.1").touch()
    (folder / ".a.0.tmp").touch()
    (folder / "UPPER.jsonl").touch()
    assert history.names() == ["a", "a.b-1", "a.jsonl", "b"]


def test_entries_are_read_backwards_and_no_further(
    history: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3000):
        history.append("support", entry(number))
    real, read = os.pread, []

    def counted(file: int, size: int, start: int) -> bytes:
        read.append(size)
        return real(file, size, start)

    monkeypatch.setattr(os, "pread", counted)
    found = history.backwards("support")
    assert [next(found)["attempt"] for _ in range(3)] == [2999, 2998, 2997]
    assert sum(read) <= 2 * 16 * 1024


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


def numbers(history: Timeline, after: int = 0, limit: int = 1000, name: str = "support") -> list[int]:
    return [found["n"] for found in history.after(name, after, limit)]


def at(seconds: float, attempt: int = 0) -> TimelineEntry:
    return TimelineEntry(seconds, State.CONNECTED, State.BACKOFF, attempt=attempt)


def test_entries_are_numbered_by_their_second_and_never_twice(history: Timeline, folder: Path) -> None:
    for second in (100.2, 100.9, 100.9, 150.0, 90.0, 151.0):  # the clock was set back
        history.append("support", at(second))
    assert numbers(history) == [100, 101, 102, 150, 151, 152]
    assert Timeline(folder).newest("support") == 152
    assert numbers(history, 101) == [102, 150, 151, 152]
    assert numbers(history, 101, 2) == [102, 150]
    assert numbers(history, 152) == []
    assert numbers(history, 0, 0) == []
    assert history.newest("other") == 0
    for path in folder.iterdir():
        path.unlink()
    history.append("support", at(153.0))
    assert numbers(history) == [153]


def test_numbers_go_on_in_the_next_file(history: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_BYTES", 1000)
    for number in range(1, 40):
        history.append("support", at(5.0, number))
        assert history.newest("support") == 4 + number
    found = numbers(history)
    assert found == [*range(found[0], 44)]
    assert len(found) >= 5
    assert numbers(history, 40) == [41, 42, 43]


def test_entries_of_an_earlier_version_are_no_news(history: Timeline, folder: Path) -> None:
    history.append("support", at(5.0))
    file = folder / "support.jsonl"
    old = file.read_text().replace('"n": 5, ', "")
    file.write_text(old * 300)
    assert history.newest("support") == 0
    assert numbers(history) == []
    assert len(history.tail("support", 1000)) == 300
    history.append("support", at(3.0))
    assert numbers(history) == [3]
    with file.open("a") as more:
        more.write(old)  # the earlier version ran again
    history.append("support", at(2.0))
    assert numbers(history) == [3, 4]


def test_garbage_has_no_number(history: Timeline, folder: Path) -> None:
    history.append("support", at(5.0))
    with (folder / "support.jsonl").open("a") as file:
        file.write('{"n": 6, "at"\n{"n": -7, "at": "", "to": ""}\n{"n": 1e9, "at": "", "to": ""}\n')
        file.write('{"n": 99999999999999999999, "at": "", "to": ""}\n{"n": 6')
    history.append("support", at(5.0))
    assert numbers(history) == [5, 7]


def test_numbers_move_with_the_name(history: Timeline) -> None:
    for second in (10.0, 20.0, 30.0):
        history.append("old", at(second))
    history.rename("old", "new")
    assert numbers(history, 10, name="new") == [20, 30]
    assert history.newest("old") == 0


def test_who_had_a_name_before_leaves_history_and_no_news(history: Timeline, folder: Path) -> None:
    for second in (10.0, 20.0, 30.0):
        history.append("old", at(second))
    for second in (5.0, 25.0, 45.0):
        history.append("new", at(second))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    history.rename("old", "new")
    assert numbers(history, name="new") == [10, 20, 30]
    assert len(history.tail("new", 10)) == 6
    # The same, but killed before the old history was removed.
    (folder / "old.jsonl").write_bytes(before["old.jsonl"])
    history.rename("old", "new")
    assert numbers(history, name="new") == [10, 20, 30]
    assert len(history.tail("new", 10)) == 6
    history.append("new", at(46.0))
    assert history.newest("new") == 46
