"""Many who ask for the same at once are one for the service."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.errors import NotRunning
from orchestrator.gateway.http.together import Together


class Asked:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.go.wait()
        return number


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_whoever_asks_meanwhile_shares_the_next_answer() -> None:
    async def run() -> None:
        together, asked = Together[int](), Asked()
        first = [asyncio.ensure_future(together.ask("a", asked)) for _ in range(50)]
        await settle()
        later = [asyncio.ensure_future(together.ask("a", asked)) for _ in range(50)]
        other = asyncio.ensure_future(together.ask("b", Asked().__call__))
        await settle()
        assert asked.count == 1
        asked.go.set()
        assert set(await asyncio.gather(*first)) == {1}
        assert set(await asyncio.gather(*later)) == {2}
        assert await together.ask("a", asked) == 3
        assert not other.done()
        other.cancel()

    asyncio.run(run())


def test_an_error_is_told_to_all_and_one_who_goes_takes_nobody_along() -> None:
    async def run() -> None:
        together, asked = Together[int](), Asked()
        goes, stays = (asyncio.ensure_future(together.ask("a", asked)) for _ in range(2))
        await settle()
        goes.cancel()
        asked.go.set()
        assert await stays == 1

        async def refuse() -> int:
            raise NotRunning("no")

        errors = await asyncio.gather(*(together.ask("a", refuse) for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [NotRunning] * 3
        with pytest.raises(NotRunning):
            await together.ask("a", refuse)
        assert await together.ask("a", asked) == 2

    asyncio.run(run())
