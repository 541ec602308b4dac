"""Who waits for a row hears of its end, and leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.accounts import pipe
from orchestrator.accounts.pipe import FromParent
from orchestrator.sending import telling
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Row, State
from orchestrator.service.outbox.waiting import MOST_AT_ONCE, ProcessEnded, Rows, Waiting

CHAT = "269139479534551@lid"
LONG = 60.0
"""Far longer than anything here takes."""


IN_LINE = 3 * MOST_AT_ONCE
"""Rows that are asked for at once: some of them wait for their turn."""


def take_back(number: int) -> pipe.TakeBack:
    return pipe.TakeBack(number, 1)


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


def test_who_waits_in_line_does_not_ask_a_process_that_has_ended() -> None:
    async def wait() -> None:
        waiting, ended, told = Waiting("a"), False, list[FromParent]()

        def tell(message: FromParent) -> None:
            assert not ended, "nobody would answer that"
            told.append(message)

        asked = [asyncio.ensure_future(waiting.row(tell, take_back)) for _ in range(IN_LINE)]
        await asyncio.sleep(0)
        assert len(told) == MOST_AT_ONCE
        ended = True
        waiting.process_ended()
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(end) for end in ends] == [ProcessEnded] * IN_LINE

    asyncio.run(wait())


def test_the_next_process_is_asked_at_once_whoever_waits_for_the_one_before() -> None:
    async def wait() -> None:
        waiting, heard = Waiting("a"), asyncio.Queue[str]()
        before = [
            asyncio.ensure_future(waiting.row(lambda _: heard.put_nowait("before"), take_back))
            for _ in range(IN_LINE)
        ]
        assert [await heard.get() for _ in range(MOST_AT_ONCE)] == ["before"] * MOST_AT_ONCE
        waiting.process_ended()

        def tell(message: FromParent) -> None:
            assert isinstance(message, pipe.TakeBack)
            heard.put_nowait("next")
            asyncio.get_running_loop().call_soon(waiting.answered, telling.queued(message.id, row(1)))

        after = [asyncio.ensure_future(waiting.row(tell, take_back)) for _ in range(IN_LINE)]
        assert await heard.get() == "next", "what ended was asked, and does not answer"
        assert {(await one).row for one in after} == {1}
        for one in before:
            with pytest.raises(ProcessEnded):
                await one

    asyncio.run(wait())


def test_a_row_that_comes_after_the_end_of_a_process_is_asked_for() -> None:
    async def wait() -> None:
        waiting = Waiting("a")
        waiting.process_ended()

        def tell(message: FromParent) -> None:
            assert isinstance(message, pipe.TakeBack)
            asyncio.get_running_loop().call_soon(waiting.answered, telling.queued(message.id, row(1)))

        assert (await waiting.row(tell, take_back)).row == 1

    asyncio.run(wait())
