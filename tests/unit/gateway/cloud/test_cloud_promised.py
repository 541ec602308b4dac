"""Messages that clients know by their rows, for as long as they may hear of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import promised
from orchestrator.gateway.cloud.promised import KEEP_SECONDS, Promised

T = TypeVar("T")
Json = dict[str, Any]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def with_names(folder: Path, use: Callable[[Promised], Awaitable[T]], wall: Clock | None = None) -> T:
    async def run() -> T:
        names = Promised(folder, wall or Clock())
        try:
            return await use(names)
        finally:
            await names.close()

    return asyncio.run(run())


def status(row: int | None, message: str | None = "3EB0A1") -> Json:
    return {"account": "support", "data": {"id": message, "row": row, "status": "sent"}}


def answer(message: str, account: str = "support") -> Json:
    return {"account": account, "data": {"id": "3EB0B1", "reply_to": {"id": message, "sender": None}}}


def reaction(message: str) -> Json:
    return {"account": "support", "data": {"id": "3EB0B1", "reaction": {"message_id": message, "emoji": "x"}}}


def test_a_promised_name_is_used_from_the_first_status_on_and_after_a_restart(tmp_path: Path) -> None:
    async def promise(names: Promised) -> None:
        await names.note("support", 7)

    async def look(names: Promised) -> list[Mapping[str, str]]:
        asked = [answer("3EB0A1"), status(7), answer("3EB0A1"), reaction("3EB0A1"), status(8, "3EB0C1")]
        return [await names.names(one) for one in asked]

    with_names(tmp_path, promise)

    seven = {"3EB0A1": "row.7"}
    assert with_names(tmp_path, look) == [{}, seven, seven, seven, {}]


def test_a_message_is_found_by_its_row_once_a_status_has_told_it(tmp_path: Path) -> None:
    async def look(names: Promised) -> list[str | None]:
        found = [await names.message("support", 7)]
        await names.note("support", 7)
        found.append(await names.message("support", 7))
        await names.names(status(7))
        return [*found, await names.message("support", 7), await names.message("sales", 7)]

    assert with_names(tmp_path, look) == [None, None, "3EB0A1", None]


def test_another_account_has_other_rows(tmp_path: Path) -> None:
    async def look(names: Promised) -> Mapping[str, str]:
        await names.note("support", 7)
        await names.names(status(7))
        return await names.names(answer("3EB0A1", account="sales"))

    assert with_names(tmp_path, look) == {}


def test_without_a_promise_there_is_no_file(tmp_path: Path) -> None:
    async def look(names: Promised) -> Mapping[str, str]:
        return await names.names(status(7))

    assert with_names(tmp_path, look) == {}
    assert not list(tmp_path.iterdir())


def test_names_are_forgotten_in_time(tmp_path: Path) -> None:
    clock = Clock()

    async def look(names: Promised) -> Mapping[str, str]:
        await names.note("support", 7)
        clock.now += KEEP_SECONDS
        await names.note("support", 8)
        return {**await names.names(status(7)), **await names.names(status(8, "3EB0C1"))}

    assert with_names(tmp_path, look, clock) == {"3EB0C1": "row.8"}


def test_the_oldest_names_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promised, "MOST", 2)
    clock = Clock()

    async def look(names: Promised) -> list[Mapping[str, str]]:
        for row in (7, 8, 9):
            clock.now += 1
            await names.note("support", row)
        return [await names.names(status(row, f"3EB0{row}")) for row in (7, 8, 9)]

    assert with_names(tmp_path, look, clock) == [{}, {"3EB08": "row.8"}, {"3EB09": "row.9"}]


def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / promised.FILE).mkdir()

    async def look(names: Promised) -> None:
        await names.note("support", 7)

    with pytest.raises(OrchestratorError) as error:
        with_names(tmp_path, look)
    assert error.value.key == "state_unusable"


def test_the_file_is_for_the_service_alone(tmp_path: Path) -> None:
    async def promise(names: Promised) -> None:
        await names.note("support", 7)

    with_names(tmp_path, promise)

    assert (tmp_path / promised.FILE).stat().st_mode & 0o777 == 0o600
