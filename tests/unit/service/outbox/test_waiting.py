"""Who waits for a row hears of its end, and leaves nothing behind."""

from __future__ import annotations

import asyncio

from orchestrator.sending import telling
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Row, State
from orchestrator.service.outbox.waiting import Rows

CHAT = "269139479534551@lid"
LONG = 60.0
"""Far longer than anything here takes."""


def row(number: int, state: State = State.QUEUED) -> Row:
    return Row(number, Kind.TEXT, CHAT, state, 1.0, 9.0, 2.0)


def test_who_waits_in_vain_leaves_nothing_behind() -> None:
    async def wait() -> None:
        rows = Rows()
        for number in range(1, 100):
            assert await rows.until_over(row(number), 0.001) == row(number)
        assert rows.followed == 0

    asyncio.run(wait())


def test_one_who_goes_takes_nothing_from_those_who_stay() -> None:
    async def wait() -> None:
        rows = Rows()
        stays = asyncio.ensure_future(rows.until_over(row(1), LONG))
        goes = asyncio.ensure_future(rows.until_over(row(1), LONG))
        await asyncio.sleep(0)
        assert rows.followed == 1
        goes.cancel()
        await asyncio.wait((goes,))
        rows.moved(telling.moved(row(1, State.SENDING)))
        await asyncio.sleep(0)
        rows.moved(telling.moved(row(1, State.SENT)))
        assert (await stays).state is State.SENT
        assert rows.followed == 0

    asyncio.run(wait())
