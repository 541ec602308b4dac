"""A dispatcher as the gateway runs one, with a feed in memory and receivers whose answers a test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from support.feeds import MemoryFeed

from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Attempt, Delivered, Endpoint, Failed, Outcome
from orchestrator.gateway.dispatch.dispatcher import Dispatcher

SECONDS = 20.0
"""How long to wait for what has to happen."""


class Receiver:
    """A consumer's endpoint, whose answers a test decides.

    Attributes:
        got: The ids of what was handed over, in order.
        bodies: What was handed over, by id.
        answer: How the next tries end.
    """

    def __init__(
        self, answer: Callable[[Attempt], Outcome | Awaitable[Outcome]] = lambda _: Delivered()
    ) -> None:
        self.got: list[str] = []
        self.taken: list[str] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.answer = answer
        self.numbers: list[int] = []

    async def deliver(self, attempt: Attempt) -> Outcome:
        self.got.append(attempt.event.id)
        self.numbers.append(attempt.number)
        self.bodies.setdefault(attempt.event.id, set()).add(attempt.event.body)
        answer = self.answer(attempt)
        outcome = answer if isinstance(answer, Delivered | Failed) else await answer
        if isinstance(outcome, Delivered):
            self.taken.append(attempt.event.id)
        return outcome


def crm(name: str = "crm", **other: Any) -> Consumer:  # noqa: ANN401 - fields of a consumer
    return Consumer(name, "webhook", **other)


def runs(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop."""

    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    feed: MemoryFeed,
    endpoints: Mapping[str, Endpoint],
    consumers: Mapping[str, Consumer] | None = None,
    *,
    ends_well: bool = True,
) -> AsyncIterator[Dispatcher]:
    """Run a dispatcher; a bad end is as if the process was killed."""
    dispatcher = Dispatcher(folder, feed)  # type: ignore[arg-type]
    dispatcher.configure(consumers or {name: crm(name) for name in endpoints}, endpoints)
    task = asyncio.ensure_future(dispatcher.run())
    try:
        await dispatcher.lines.ready()
        yield dispatcher
    finally:
        if ends_well:
            await dispatcher.close(1.0)
        else:
            for one in dispatcher.lines.lines.values():
                await one.close(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not ends_well:
            dispatcher.lines.writer._pending.clear()
            await dispatcher.lines.writer.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def settled(dispatcher: Dispatcher) -> None:
    """Wait until the beginning of every course is known."""
    courses = [course for one in dispatcher.lines.lines.values() for course in one.machine.courses.values()]
    await until(lambda: all(course.cursor is not None for course in courses))
