"""What clients ask for takes only a part of the service's time."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.service.companions.pace import SHARE, Pace


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when it waits, and when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        select = self._selector.select  # type: ignore[attr-defined]

        def wait(seconds: float | None) -> object:
            self.now += seconds or 0.0
            return select(0)

        self._selector.select = wait  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now


def test_work_takes_its_share_of_the_time_and_no_more() -> None:
    loop = Loop()
    pace = Pace()
    done: list[int] = []

    async def work(number: int) -> int:
        loop.now += 0.03  # the event loop is held up
        await asyncio.sleep(0)
        done.append(number)
        if number == 3:
            raise ValueError
        return number

    async def run() -> float:
        before = loop.time()
        assert await pace.run(lambda: work(0)) == 0
        assert loop.time() - before < 0.04  # the first one waits for nobody
        found = await asyncio.gather(
            *(pace.run(lambda number=number: work(number)) for number in range(1, 10)),  # type: ignore[misc]
            return_exceptions=True,
        )
        assert [one for one in found if not isinstance(one, ValueError)] == [1, 2, 4, 5, 6, 7, 8, 9]
        return loop.time() - before

    took = loop.run_until_complete(run())
    loop.close()
    assert done == list(range(10))
    assert took == pytest.approx(9 * 0.03 / SHARE + 0.03, abs=0.02)
