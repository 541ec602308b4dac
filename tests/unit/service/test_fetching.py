"""Who waits for files of messages: one question for one file, answers for all, and no endless wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.pipe import Fetch, Fetched
from orchestrator.errors import KEYS, OrchestratorError
from orchestrator.service import fetching
from orchestrator.service.fetching import MAX_WAITING, Fetching, missing


class Process:
    """What an account's process was told."""

    def __init__(self) -> None:
        self.told: list[Fetch] = []
        self.fetching = Fetching("support")

    def ask(self, media: str = "17") -> asyncio.Task[None]:
        work: Coroutine[Any, Any, None] = self.fetching.fetch(self.told.append, media)
        return asyncio.get_running_loop().create_task(work)

    async def told_about(self, count: int) -> None:
        while len(self.told) < count:  # noqa: ASYNC110 - the tasks have to begin, nothing else
            await asyncio.sleep(0)


async def key_of(task: asyncio.Task[None]) -> str:
    with pytest.raises(OrchestratorError) as caught:
        await task
    assert str(caught.value).startswith("support: ")
    return caught.value.key


def test_all_who_wait_for_one_file_get_the_one_answer() -> None:
    async def run() -> None:
        process = Process()
        tasks = [process.ask() for _ in range(3)]
        await process.told_about(1)
        other = process.ask("18")
        await process.told_about(2)
        assert [one.media for one in process.told] == ["17", "18"]
        process.fetching.fetched(Fetched(process.told[0].id, None, ""))
        await asyncio.gather(*tasks)
        assert not other.done()
        process.fetching.fetched(Fetched(process.told[1].id, Fault.EXPIRED, ""))
        assert await key_of(other) == "media_expired"
        # Later, the file is asked for anew.
        again = process.ask()
        await process.told_about(3)
        process.fetching.fetched(Fetched(process.told[2].id, None, ""))
        await again

    asyncio.run(run())


def test_who_waits_long_is_told_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAIT_SECONDS", 0.01)

    async def run() -> None:
        process = Process()
        for _ in range(3):
            assert await key_of(process.ask()) == "media_pending"
        assert len(process.told) == 1
        process.fetching.fetched(Fetched(process.told[0].id, None, ""))
        process.fetching.fetched(Fetched(process.told[0].id, None, ""))
        assert await key_of(process.ask()) == "media_pending"
        assert len(process.told) == 2

    asyncio.run(run())


def test_what_a_process_says_unasked_is_not_heard() -> None:
    async def run() -> None:
        process = Process()
        process.fetching.fetched(Fetched(99, Fault.EXPIRED, ""))
        task = process.ask()
        await process.told_about(1)
        process.fetching.fetched(Fetched(99, Fault.EXPIRED, ""))
        assert not task.done()
        process.fetching.process_ended()
        assert await key_of(task) == "media_unreachable"
        process.fetching.process_ended()

    asyncio.run(run())


def test_too_many_at_once_are_refused() -> None:
    async def run() -> None:
        process = Process()
        tasks = [process.ask(str(number)) for number in range(1, MAX_WAITING + 1)]
        await process.told_about(MAX_WAITING)
        assert await key_of(process.ask("100")) == "service_busy"
        one_more = process.ask("1")
        await asyncio.sleep(0)
        assert not one_more.done()
        process.fetching.process_ended()
        for task in [*tasks, one_more]:
            assert await key_of(task) == "media_unreachable"

    asyncio.run(run())


def test_who_gives_up_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        process = Process()
        first, second = process.ask(), process.ask()
        await process.told_about(1)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        process.fetching.fetched(Fetched(process.told[0].id, None, ""))
        await second

    asyncio.run(run())


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("about", ["", "status 500"])
def test_every_fault_has_words_and_a_key(fault: Fault, about: str) -> None:
    error = missing("support", fault, about)
    assert error.key in KEYS
    assert error.key in (f"media_{fault}", "service_busy")
    assert str(error).startswith("support: ")
    assert str(error).endswith(f"({about})" if about else "")
