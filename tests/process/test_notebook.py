"""The gateway's small files: what becomes of them when they are damaged or in the way."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud.promised import FILE as PROMISED
from orchestrator.gateway.cloud.promised import Promised
from orchestrator.gateway.http.answers import FILE as ANSWERS
from orchestrator.gateway.http.answers import Answers
from orchestrator.gateway.http.idempotency import Go
from orchestrator.gateway.notebook import Notebook
from orchestrator.system.sqlite_files import SIDES

DAMAGE = [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever the test takes
        asyncio.run(test(*arguments, **named))

    return run


async def key_of(asked: Awaitable[object]) -> str | None:
    with pytest.raises(OrchestratorError) as caught:
        await asked
    return caught.value.key


async def begin(answers: Answers) -> object:
    return await answers.begin("token a", "support", "key", b"content")


@pytest.mark.parametrize("damage", DAMAGE)
@in_loop
async def test_damaged_answers_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    before = Answers(tmp_path)
    assert isinstance(await begin(before), Go)
    await before.end("token a", "support", "key", 200, b"{}")
    await before.close()
    (tmp_path / ANSWERS).write_bytes(damage)
    answers = Answers(tmp_path)
    assert isinstance(await begin(answers), Go)
    assert f"{ANSWERS} is damaged and begins anew" in caplog.text
    await answers.end("token a", "support", "key", 200, b"{}")
    assert not isinstance(await begin(answers), Go)
    await answers.close()


@pytest.mark.parametrize("damage", DAMAGE)
@in_loop
async def test_damaged_names_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    (tmp_path / PROMISED).write_bytes(damage)
    names = Promised(tmp_path)
    assert await names.message("support", 7) is None
    assert f"{PROMISED} is damaged and begins anew" in caplog.text
    await names.note("support", 7)
    assert await names.names({"account": "support", "data": {"id": "3EB0A1", "row": 7}})
    assert await names.message("support", 7) == "3EB0A1"
    await names.close()


@in_loop
async def test_a_file_that_cannot_be_opened_is_told_and_stays(tmp_path: Path) -> None:
    for name in (ANSWERS, PROMISED):
        (tmp_path / name).mkdir()
    answers, names = Answers(tmp_path), Promised(tmp_path)
    assert await key_of(begin(answers)) == "state_unusable"
    assert await key_of(names.note("support", 7)) == "state_unusable"
    assert all((tmp_path / name).is_dir() for name in (ANSWERS, PROMISED))
    await answers.close()
    await names.close()


@in_loop
async def test_what_was_begun_is_finished_when_nobody_waits_any_more(tmp_path: Path) -> None:
    book = Notebook(tmp_path / "a.sqlite3", "CREATE TABLE a (b);", lost="")
    began, may_end = threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        may_end.wait(30)
        book.connection().execute("INSERT INTO a VALUES (1)")

    waiting = asyncio.create_task(book.run(write))
    await asyncio.to_thread(began.wait, 30)
    waiting.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await book.close()
    with sqlite3.connect(tmp_path / "a.sqlite3") as connection:
        assert connection.execute("SELECT b FROM a").fetchall() == [(1,)]
    connection.close()


@in_loop
async def test_what_is_deleted_is_in_no_file_any_more(tmp_path: Path) -> None:
    book = Notebook(tmp_path / "a.sqlite3", "CREATE TABLE a (b);", lost="")
    needle = "a text of somebody's " * 20
    await book.run(lambda: book.connection().execute("INSERT INTO a VALUES (?)", (needle,)))
    await book.run(lambda: book.connection().execute("DELETE FROM a"))
    await book.run(book.truncate)
    kept = [tmp_path / f"a.sqlite3{side}" for side in ("", *SIDES)]
    assert not any(needle[:21].encode() in one.read_bytes() for one in kept if one.exists())
    await book.close()
