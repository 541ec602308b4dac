"""The gateway's reader asks for messages over a socket where they are in no files, and the socket may end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.readers import reading

from orchestrator.errors import StoreAway
from orchestrator.gateway.reader import serving
from orchestrator.gateway.reader.client import FeedError
from orchestrator.gateway.reader.wire import Ask, Task
from orchestrator.messages.group_commit import Groups
from orchestrator.messages.serving import Serving
from orchestrator.messages.storing import Question

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ANSWERS = {"newest": 7, "tally": [[], [], None, None, None]}
MINUTE = 61.0
"""Seconds after which anything is tried again."""


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readers have more memory: they are copies of this process, which other tests have made large."""
    monkeypatch.setattr(serving, "MEMORY", 1 << 36)


class Keeper:
    """Answers what readers ask.

    Attributes:
        is_away: Whether the database cannot be reached.
    """

    def __init__(self) -> None:
        self.is_away = False

    def store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        if self.is_away:
            raise StoreAway("the database does not answer")
        return [ANSWERS[question.word] for _, question in group]

    def forget(self, account: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Service:
    """The service's end: takes a reader's socket, or cannot take it.

    Attributes:
        takes: Whether it can.
        handed: How many readers there were.
        keeper: Answers them.
        now: Monotonic seconds, as the gateway is told.
    """

    def __init__(self) -> None:
        self.takes, self.handed, self.now = True, 0, 1000.0
        self.keeper = Keeper()
        self._serving = self._start()

    def hand_on(self, sock: socket.socket) -> None:
        self.handed += 1
        if self.takes:
            self._serving.adopt(sock)
        else:
            sock.close()

    def hang_up(self) -> None:
        """Hang up on all readers, and answer those that come then."""
        self._serving.close()
        self._serving = self._start()

    def close(self) -> None:
        self._serving.close()

    def _start(self) -> Serving:
        found = Serving(self.keeper)
        found._groups = Groups(patience=0.0)  # otherwise the gateway waits less long than it does
        found.start()
        return found


@pytest.mark.parametrize("task", ["newest", "tally"])
def test_a_reader_whose_socket_nobody_has_taken_is_replaced_in_time(tmp_path: Path, task: Task) -> None:
    async def go() -> None:
        service = Service()
        again: asyncio.Queue[str] = asyncio.Queue()
        async with reading(
            tmp_path, again.put_nowait, clock=lambda: service.now, hand_on=service.hand_on
        ) as client:
            service.takes = False
            for account in ("a", "b", "c", "a"):  # whoever asks, no reader is made at once again
                with pytest.raises(FeedError):
                    await client.ask(Ask(task, account))
            assert (service.handed, client.deaths) == (1, 1)
            async with asyncio.timeout(30):
                assert sorted([await again.get() for _ in range(3)]) == ["a", "b", "c"]
            service.takes, service.now = True, service.now + MINUTE
            answer = await client.ask(Ask(task, "a"))
            assert answer.fault == ""
            assert service.handed == 2
            service.now += MINUTE
            assert (await client.ask(Ask("newest", "b"))).last == 7
            assert (service.handed, client.deaths) == (2, 1)
        service.close()

    asyncio.run(go())


def test_a_reader_on_which_the_service_hangs_up_is_replaced(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        async with reading(tmp_path, clock=lambda: service.now, hand_on=service.hand_on) as client:
            assert (await client.ask(Ask("newest", "a"))).last == 7
            service.hang_up()
            with pytest.raises(FeedError):
                await client.ask(Ask("newest", "a"))
            service.now += MINUTE
            assert (await client.ask(Ask("newest", "a"))).last == 7
            assert (await client.ask(Ask("newest", "b"))).last == 7
            assert (service.handed, client.deaths) == (2, 1)
        service.close()

    asyncio.run(go())


def test_the_longer_readers_are_cut_off_the_longer_the_next_one_takes(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        service.takes = False
        async with reading(tmp_path, clock=lambda: service.now, hand_on=service.hand_on) as client:
            made = []
            for _ in range(600):  # for a minute, ten questions a second
                with pytest.raises(FeedError):
                    await client.ask(Ask("newest", "a"))
                made.append(service.handed)
                service.now += 0.1
            assert 5 <= made[-1] <= 12
            assert made[-1] - made[-200] <= 3
        service.close()

    asyncio.run(go())


def test_a_reader_outlives_a_database_that_is_away(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        service.keeper.is_away = True
        async with reading(tmp_path, clock=lambda: service.now, hand_on=service.hand_on) as client:
            for _ in range(3):
                with pytest.raises(FeedError):
                    await client.ask(Ask("newest", "a"))
                service.now += MINUTE
            service.keeper.is_away = False
            assert (await client.ask(Ask("newest", "b"))).last == 7
            assert client.deaths == 0
            before = service.handed
            assert before <= 2  # the account that could not be read has one of its own
            service.now += MINUTE
            assert (await client.ask(Ask("newest", "a"))).last == 7
            assert (service.handed, client.deaths) == (2, 0)
        service.close()

    asyncio.run(go())
