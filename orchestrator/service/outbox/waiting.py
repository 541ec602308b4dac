"""What an account's process was asked about sending, and who waits for its answer."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.pipe import FromParent
from orchestrator.errors import OrchestratorError
from orchestrator.sending import telling
from orchestrator.sending.row import Row

ROW_SECONDS: Final = deadlines.STARTING.outer
"""How long a process may take to say that a row is written; one that starts opens its outbox first."""
ACT_SECONDS: Final = deadlines.SENDING.outer
"""How long a process may take to say what became of an act."""
MOST_AT_ONCE: Final = 8
"""Rows of one account that may be on their way to its process at once. Others wait for their turn."""
MOST_WAITING: Final = 500
"""Rows of one account that may wait for their turn."""
MOST_ACTS: Final = 16
"""Acts of one account that may be under way at once."""
_LAST_CHANGES: Final = 500
"""Changes of rows that are remembered, for who asks about a row just after it has changed."""

Tell: TypeAlias = Callable[[FromParent], None]
"""Hands the process a message."""
Answer: TypeAlias = pipe.Queued | pipe.Acted
A = TypeVar("A", pipe.Queued, pipe.Acted)


class ProcessEnded(Exception):  # noqa: N818 - no error of this process
    """The account's process ended before it answered.

    Args:
        was_asked: Whether it may have done what was wanted.
    """

    def __init__(self, *, was_asked: bool = True) -> None:
        super().__init__()
        self.was_asked = was_asked


class Waiting:
    """The questions to the processes of one account, and the rows that somebody follows.

    Args:
        name: The account's name.

    Attributes:
        rows: The rows that somebody follows.
        writing: Held while the service itself writes into the outbox: two threads would not do it together.
    """

    def __init__(self, name: str) -> None:
        self.rows = Rows()
        self.writing = asyncio.Lock()
        self._name = name
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._turn = asyncio.Semaphore(MOST_AT_ONCE)
        self._in_line = 0
        self._acts = 0
        self._ended = 0

    async def row(self, tell: Tell, make: Callable[[int], FromParent]) -> pipe.Queued:
        """Have the process write or take back a row, and return its answer.

        Args:
            tell: Hands the process a message. It must be of the process that is there at the call.
            make: Returns the message from its number.

        Raises:
            ProcessEnded: The process ended before it answered. If it was asked, it may have written the row.
            OrchestratorError: Too many wait for the process (`service_busy`); or the process does not answer,
                and may have written the row (`no_answer`).
        """
        if self._in_line >= MOST_WAITING:
            raise OrchestratorError(
                f"{self._name}: too many messages are on their way into the outbox; try again in a moment",
                key="service_busy",
            )
        self._in_line += 1
        ended = self._ended
        try:
            async with self._turn:
                if ended != self._ended:  # whoever asked it now would wait in vain, and keep others waiting
                    raise ProcessEnded(was_asked=False)
                return await self._ask(tell, make, ROW_SECONDS, pipe.Queued)
        except TimeoutError:
            raise nobody_knows(self._name) from None
        finally:
            self._in_line -= 1

    async def act(self, tell: Tell, body: str) -> pipe.Acted:
        """Have the process do something at once, and return its answer.

        Args:
            tell: Hands the process a message.
            body: What is to be done, by `sending.asks.as_text`.

        Raises:
            ProcessEnded: The process ended before it answered.
            TimeoutError: It does not answer.
            OrchestratorError: Too much is under way already (`service_busy`).
        """
        if self._acts >= MOST_ACTS:
            raise too_busy(self._name)
        self._acts += 1
        try:
            return await self._ask(tell, lambda number: pipe.Act(number, body), ACT_SECONDS, pipe.Acted)
        finally:
            self._acts -= 1

    async def _ask(self, tell: Tell, make: Callable[[int], FromParent], seconds: float, kind: type[A]) -> A:
        number = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            tell(make(number))
            async with asyncio.timeout(seconds):
                found = await answer
        finally:
            del self._asked[number]
        if not isinstance(found, kind):
            raise ProcessEnded  # what answers something else is not to be trusted
        return found

    def answered(self, answer: Answer) -> None:
        """Tell whoever waits for it what a process has answered."""
        asked = self._asked.get(answer.id)
        if asked is not None and not asked.done():
            asked.set_result(answer)

    def process_ended(self) -> None:
        """Tell all who wait for an answer, or for their turn, that there will be none.

        Rows outlive their process.
        """
        self._ended += 1
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ProcessEnded())


class Rows:
    """The rows of one account that somebody follows."""

    def __init__(self) -> None:
        self._last: OrderedDict[int, pipe.Moved] = OrderedDict()
        self._changed: dict[int, asyncio.Event] = {}
        self._following: Counter[int] = Counter()

    @property
    def followed(self) -> int:
        """How many rows somebody waits for."""
        return len(self._following.keys() | self._changed.keys())

    def moved(self, told: pipe.Moved) -> None:
        """Take in that a row has changed."""
        self._last[told.row] = told
        self._last.move_to_end(told.row)
        if len(self._last) > _LAST_CHANGES:
            self._last.popitem(last=False)
        if (event := self._changed.pop(told.row, None)) is not None:
            event.set()

    def latest(self, row: Row) -> Row:
        """Return a row as it is by now, as far as that is known."""
        told = self._last.get(row.number)
        if told is None or told.changed_at < row.changed_at or row.state.is_over:
            return row
        return telling.after(row, told)

    async def until_over(self, row: Row, seconds: float) -> Row:
        """Return a row once it is over, or as it is after so many seconds."""
        self._following[row.number] += 1
        try:
            async with asyncio.timeout(seconds):
                while not (row := self.latest(row)).state.is_over:
                    await self._changed.setdefault(row.number, asyncio.Event()).wait()
        except TimeoutError:
            pass
        finally:
            # The process need not be honest: what it has named may never change.
            self._following[row.number] -= 1
            if not self._following[row.number]:
                del self._following[row.number]
                self._changed.pop(row.number, None)
        return self.latest(row)


def too_busy(name: str) -> OrchestratorError:
    """Return what is said where an account does too much at once already."""
    return OrchestratorError(
        f"{name}: the account does too much at once already; try again in a moment", key="service_busy"
    )


def nobody_knows(name: str) -> OrchestratorError:
    """Return the error that says that the outbox may have been changed."""
    return OrchestratorError(
        f"{name}: there is no answer, and what was asked for may have been done; a message that is sent again"
        " with the same key is sent once",
        key="no_answer",
    )
