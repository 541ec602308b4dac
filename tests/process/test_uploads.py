"""Files that clients upload: kept, found, bounded, and gone without a trace."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.full_disk import make_read_only, small_disk
from support.http_client import in_loop, until

from orchestrator.accounts import attachments
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import uploads as module
from orchestrator.gateway.uploads import Uploads, safe_name

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for one in parts:
        yield one


async def key_of(work: Awaitable[object]) -> str:
    with pytest.raises(OrchestratorError) as caught:
        await work
    return caught.value.key


def stored(folder: Path) -> set[str]:
    return {one.name for one in (folder / module.FOLDER).iterdir()}


def tables(folder: Path) -> list[bytes]:
    return [one.read_bytes() for one in folder.glob(f"{module.TABLE}*")]


@in_loop
async def test_an_upload_is_kept_as_it_came(tmp_path: Path) -> None:
    data = PNG + os.urandom(700_000)
    kept = Uploads(tmp_path)
    upload = await kept.save(
        pieces(data[:5], b"", data[5:300_000], data[300_000:]), "support", "token a", most=len(data),
        name="C:\\x\\..\\Ada's photo.png",
    )  # fmt: skip
    assert attachments.is_id(upload.id)
    assert (upload.sha256, upload.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (upload.mime_type, upload.name) == ("image/png", "Ada's photo.png")
    assert "photo" not in repr(upload)
    await kept.close()
    again = Uploads(tmp_path)  # another process knows it
    found, file = await again.open(upload.id, ["sales", "support"])
    with file:
        assert file.read() == data
    assert found == upload
    assert stored(tmp_path) == {upload.id}
    assert (tmp_path / module.FOLDER / upload.id).stat().st_mode & 0o077 == 0
    assert (tmp_path / module.TABLE).stat().st_mode & 0o077 == 0
    for accounts in (["sales"], []):
        assert await key_of(again.open(upload.id, accounts)) == "file_missing"
        assert await key_of(again.delete(upload.id, accounts)) == "file_missing"
    assert await key_of(again.find("17", ["support"])) == "file_missing"
    await again.delete(upload.id, ["support"])
    assert await key_of(again.open(upload.id, ["support"])) == "file_missing"
    assert stored(tmp_path) == set()
    await again.close()


@in_loop
async def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    kept = Uploads(tmp_path)
    assert await key_of(kept.save(pieces(b"12345", b"6"), "a", "o", most=5)) == "file_too_large"
    assert await key_of(kept.save(pieces(), "a", "o", most=5)) == "file_unfit"
    assert await key_of(kept.save(pieces(b"", b""), "a", "o", most=5)) == "file_unfit"

    async def cut() -> AsyncIterator[bytes]:
        yield b"1"
        raise OrchestratorError("cut", key="link_unusable")

    assert await key_of(kept.save(cut(), "a", "o", most=5)) == "link_unusable"
    assert stored(tmp_path) == set()
    assert (await kept.save(pieces(b"12345"), "a", "o", most=5)).size == 5
    await kept.close()


@in_loop
async def test_whoever_goes_away_leaves_nothing(tmp_path: Path) -> None:
    kept = Uploads(tmp_path)
    begun, never = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(600_000)
        begun.set()
        await never.wait()
        yield b""

    task = asyncio.ensure_future(kept.save(endless(), "a", "o", most=1 << 30))
    await begun.wait()
    assert len(stored(tmp_path)) == 1
    assert await kept.clear() == 0  # what is under way stays
    assert len(stored(tmp_path)) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert stored(tmp_path) == set()
    await kept.close()


@in_loop
async def test_each_client_has_its_quota_and_all_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES_OF_ONE", 100)
    monkeypatch.setattr(module, "MOST_BYTES", 150)
    monkeypatch.setattr(module, "SPARE_BYTES", 0)
    kept = Uploads(tmp_path)
    first = await kept.save(pieces(bytes(60)), "a", "token a", most=100)
    assert await key_of(kept.save(pieces(bytes(41)), "a", "token a", most=100)) == "uploads_full"
    await kept.save(pieces(bytes(40)), "b", "token a", most=100)
    assert await key_of(kept.save(pieces(bytes(51)), "a", "token b", most=100)) == "uploads_full"
    await kept.save(pieces(bytes(50)), "a", "token b", most=100)
    await kept.delete(first.id, ["a"])
    await kept.save(pieces(bytes(60)), "a", "token a", most=100)
    await kept.close()


@in_loop
async def test_many_at_once_have_one_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES_OF_ONE", 1000)
    kept = Uploads(tmp_path)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(10)
            await asyncio.sleep(0)

    found = await asyncio.gather(
        *(kept.save(slow(), "a", "token a", most=100) for _ in range(20)), return_exceptions=True
    )
    sizes = [one.size for one in found if not isinstance(one, BaseException)]
    assert sum(sizes) <= 1000
    assert {getattr(one, "key", None) for one in found if isinstance(one, BaseException)} == {"uploads_full"}
    assert len(stored(tmp_path)) == len(sizes)
    await kept.close()


@pytest.mark.parametrize("quota", ["MOST_BYTES_OF_ONE", "MOST_BYTES"])
@in_loop
async def test_what_ends_while_another_comes_counts_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str
) -> None:
    monkeypatch.setattr(module, quota, 100)
    kept = Uploads(tmp_path)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"1"
        begun.set()
        await go_on.wait()
        yield bytes(80)

    other = asyncio.ensure_future(kept.save(slow(), "a", "token a", most=100))
    await begun.wait()
    quick = await kept.save(pieces(bytes(90)), "a", "token a", most=100)
    go_on.set()
    assert await key_of(other) == "uploads_full"
    assert stored(tmp_path) == {quick.id}
    await kept.close()


@in_loop
async def test_a_disk_that_fills_up_meanwhile_ends_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Uploads(tmp_path)

    async def long() -> AsyncIterator[bytes]:
        yield bytes(300_000)
        monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
        yield bytes(300_000)

    assert await key_of(kept.save(long(), "a", "token a", most=1 << 30)) == "uploads_full"
    assert stored(tmp_path) == set()
    await kept.close()


@in_loop
async def test_the_number_of_files_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 3)
    kept = Uploads(tmp_path)
    found = await asyncio.gather(
        *(kept.save(pieces(b"1"), "a", "token a", most=1) for _ in range(9)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in found) == 3
    assert await key_of(kept.save(pieces(b"1"), "a", "token a", most=1)) == "uploads_full"
    await kept.save(pieces(b"1"), "a", "token b", most=1)
    await kept.close()


@in_loop
async def test_a_file_that_has_come_meanwhile_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 2)
    kept = Uploads(tmp_path)
    inner = kept._book.run
    comes, rest, is_stored, has_begun = (asyncio.Event() for _ in range(4))
    steps = itertools.count(1)

    async def in_order(do: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        step = next(steps)
        if step == 2:  # the second file begins once the first is in the table
            await is_stored.wait()
        found = await inner(do)
        if step == 2:
            has_begun.set()
        if step == 3:  # the first is in the table, and still counts as one that comes
            is_stored.set()
            await has_begun.wait()
        return found

    async def slowly() -> AsyncIterator[bytes]:
        comes.set()
        yield b"1"
        await rest.wait()

    monkeypatch.setattr(kept._book, "run", in_order)
    first = asyncio.create_task(kept.save(slowly(), "a", "token a", most=1))
    await comes.wait()
    second = asyncio.create_task(kept.save(pieces(b"2"), "a", "token a", most=1))
    await until(lambda: len(kept._writing) == 2)
    rest.set()
    await asyncio.gather(first, second)
    assert await key_of(kept.save(pieces(b"3"), "a", "token a", most=1)) == "uploads_full"
    await kept.close()


@in_loop
async def test_a_disk_that_is_nearly_full_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
    kept = Uploads(tmp_path)
    assert await key_of(kept.save(pieces(b"1"), "a", "token a", most=1)) == "uploads_full"
    assert stored(tmp_path) == set()
    await kept.close()


@in_loop
async def test_a_disk_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 300) as folder:
        kept = Uploads(folder)
        assert await key_of(kept.save(pieces(b"1"), "a", "o", most=1)) == "uploads_full"
        await kept.close()
        make_read_only(folder)
        for work in (kept.save(pieces(b"1"), "a", "o", most=1), kept.find("17", ["a"]), kept.clear()):
            assert await key_of(work) == "state_unusable"


@in_loop
async def test_uploads_go_in_time_and_their_names_with_them(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    kept = Uploads(tmp_path, lambda: now)
    old = await kept.save(pieces(PNG), "a", "needle-owner", most=1000, name="needle.png")
    short = await kept.save(pieces(b"needle"), "a", "o", most=1000, source=b"s" * 32, keep=60.0)
    assert await kept.fetched(b"s" * 32) == short
    now += 61
    assert await kept.fetched(b"s" * 32) is None
    assert await key_of(kept.open(short.id, ["a"])) == "file_missing"
    assert await kept.clear() == 1
    assert stored(tmp_path) == {old.id}
    now += module.KEEP_SECONDS
    stray = tmp_path / module.FOLDER / "123"
    stray.write_bytes(b"of a process that was killed")
    assert await kept.clear() == 1
    assert stored(tmp_path) == set()
    assert not any(b"needle" in data for data in tables(tmp_path))
    await kept.close()


@in_loop
async def test_what_was_fetched_makes_room_for_what_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FETCHED_BYTES", 100)
    now = 1_800_000_000.0
    kept = Uploads(tmp_path, lambda: now)
    upload = await kept.save(pieces(bytes(90)), "a", "o", most=100)
    for number in range(5):
        now += 1
        await kept.save(pieces(bytes(40)), "a", "o", most=100, source=bytes([number]) * 32)
    assert [await kept.fetched(bytes([number]) * 32) is not None for number in range(5)] == [
        False, False, False, True, True
    ]  # fmt: skip
    assert await kept.find(upload.id, ["a"]) == upload
    assert len(stored(tmp_path)) == 3
    monkeypatch.setattr(module, "MOST_FETCHED", 1)
    await kept.save(pieces(b"1"), "a", "o", most=100, source=b"s" * 32)
    assert len(stored(tmp_path)) == 2
    await kept.close()


@in_loop
async def test_the_uploads_of_an_account_go_with_it(tmp_path: Path) -> None:
    kept = Uploads(tmp_path)
    await kept.forget([])
    mine = await kept.save(pieces(PNG), "a", "o", most=1000)
    other = await kept.save(pieces(PNG), "b", "o", most=1000)
    await kept.forget(["a", "c"])
    assert stored(tmp_path) == {other.id}
    assert await key_of(kept.find(mine.id, ["a"])) == "file_missing"
    await kept.close()


@in_loop
async def test_a_clock_that_was_wrong_keeps_nothing_for_ever(tmp_path: Path) -> None:
    now = 1_900_000_000.0
    kept = Uploads(tmp_path, lambda: now)
    await kept.save(pieces(PNG), "a", "o", most=1000)
    now -= 2 * module.KEEP_SECONDS
    assert await kept.clear() == 1
    await kept.close()


@in_loop
async def test_a_file_that_somebody_has_put_there_is_not_followed(tmp_path: Path) -> None:
    kept = Uploads(tmp_path)
    upload = await kept.save(pieces(PNG), "a", "o", most=1000)
    place = tmp_path / module.FOLDER / upload.id
    place.unlink()
    assert await key_of(kept.open(upload.id, ["a"])) == "file_missing"
    place.symlink_to("/etc/passwd")
    assert await key_of(kept.open(upload.id, ["a"])) == "state_unusable"
    await kept.close()


@in_loop
async def test_a_damaged_table_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = Uploads(tmp_path)
    lost = await before.save(pieces(PNG), "a", "o", most=1000)
    await before.close()
    (tmp_path / module.TABLE).write_bytes(b"no table" * 1000)
    kept = Uploads(tmp_path)
    assert await key_of(kept.find(lost.id, ["a"])) == "file_missing"
    assert "is damaged and begins anew" in caplog.text
    upload = await kept.save(pieces(PNG), "a", "o", most=1000)
    await kept.clear()
    assert stored(tmp_path) == {upload.id}
    await kept.close()


@in_loop
async def test_a_table_that_cannot_be_opened_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / module.TABLE).mkdir()
    kept = Uploads(tmp_path)
    assert await key_of(kept.save(pieces(PNG), "a", "o", most=1000)) == "state_unusable"
    assert await key_of(kept.find("17", ["a"])) == "state_unusable"
    await kept.close()


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        (None, None), ("", None), (".", None), ("../../etc/passwd", "passwd"), ("a\\b\\c.txt", "c.txt"),
        (".bashrc", "bashrc"), ("a\r\nX: y.pdf", "aX: y.pdf"), ("\u202egnp.exe", "gnp.exe"),
        ("x\0y", "xy"), ("/", None), ("   a.pdf  ", "a.pdf"), ("\u00e4\u00f6.pdf", "\u00e4\u00f6.pdf"),
        ("\ud800.pdf", "pdf"),
    ],
)  # fmt: skip
def test_names_are_made_safe(given_name: str | None, kept: str | None) -> None:
    assert safe_name(given_name) == kept


@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_any_name_becomes_one_that_can_be_shown_and_written(name: str) -> None:
    kept = safe_name(name)
    if kept is not None:
        assert kept.isprintable()
        assert not set(kept) & {"/", "\\", "\0"}
        assert not kept.startswith((".", " "))
        assert 0 < len(kept.encode()) <= 255
