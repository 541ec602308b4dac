"""Handles events: finds the handler, runs it until its deadline, and says what came of it.

What is logged has names and places of code, and no text of an exception or a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from orchestrator.bots import actions, events
from orchestrator.bots.bot import Bot, Handler
from orchestrator.bots.errors import ActionError, Reject, Retry, Skip
from orchestrator.bots.events import Event

log = logging.getLogger("orchestrator.bots")

SECONDS: Final = 60.0
"""How long a handler may take, unless somebody says something else."""
GRACE: Final = 5.0
"""Seconds that a coroutine has to end once it is canceled."""
MAX_AFTER: Final = 24 * 3600.0
"""The longest wait that a handler can ask for."""
_OURS: Final = f"{Path(__file__).parent}/"
MAX_PLACES: Final = 30
"""Places of a traceback that are logged."""

Result: TypeAlias = Literal["done", "ignored", "rejected", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt to handle an event.

    Attributes:
        result: "done": a handler returned. "ignored": there is none for it. "rejected": a handler said so.
            "failed": it is to be brought again.
        handler: The handler's name, empty if there was none.
        why: Why it failed: names and places of code.
        retry_after: In how many seconds it is to be brought again, at least; None for as usual.
        hung: Whether the handler still runs and cannot be ended but with its process.
        error: What the handler raised.
        seconds: How long it took.
    """

    result: Result
    handler: str = ""
    why: str = ""
    retry_after: float | None = None
    hung: bool = False
    error: BaseException | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return what the service is told."""
        return {"result": self.result, "why": self.why, "retry_after": self.retry_after}


class Runner:
    """Handles events with a bot, in an event loop.

    Args:
        bot: The bot.
        link: Its way to the service.
        folder: The folder with the bot's code: places in it are logged without it.
        seconds: How long a handler may take.
        show_errors: Log the texts of exceptions, too. They may have what people wrote: for the terminal of
            whoever writes the bot, and for no log.
    """

    def __init__(
        self,
        bot: Bot,
        link: actions.Link,
        *,
        folder: Path | None = None,
        seconds: float = SECONDS,
        show_errors: bool = False,
    ) -> None:
        self._bot = bot
        self._link = link
        self._folder = folder
        self._seconds = seconds
        self._show_errors = show_errors
        self._loop = asyncio.get_running_loop()
        bot.attach(link, self._loop)

    async def handle(self, raw: Mapping[str, Any], attempt: int = 1) -> Outcome:
        """Handle an event.

        Args:
            raw: The event.
            attempt: Which attempt it is, from 1 on.
        """
        turn = actions.Turn(self._link, self._loop, str(raw.get("id", "")), attempt)
        event = events.make(raw, turn)
        began = time.monotonic()
        for handler in self._bot.handlers_for(event):
            error, state = await self._within_deadline(handler, event, turn)
            if not isinstance(error, Skip):
                took = time.monotonic() - began
                return self._outcome(event, handler, error, state, attempt, took)
        return Outcome("ignored", seconds=time.monotonic() - began)

    async def _within_deadline(
        self, handler: Handler, event: Event, turn: actions.Turn
    ) -> tuple[BaseException | None, _State]:
        state = _State()
        task = self._loop.create_task(self._run(handler, event, turn, state))
        try:
            await asyncio.wait({task}, timeout=self._seconds)
            if task.done():
                return task.result(), state
            state.is_late = True
            if not state.in_thread:
                task.cancel()
                await asyncio.wait({task}, timeout=GRACE)
            state.hangs = not task.done()
            return TimeoutError(), state
        finally:
            task.cancel()

    async def _run(
        self, handler: Handler, event: Event, turn: actions.Turn, state: _State
    ) -> BaseException | None:
        actions.present.set(turn)
        try:
            if handler.is_async:
                found = handler.function(event)
            else:
                state.in_thread = True
                found = await self._in_thread(handler.function, event)
                state.in_thread = False
            if inspect.isawaitable(
                found
            ):  # also of a plain function that returns what a coroutine function did
                await found
            await turn.settle()
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, must end no more than the attempt
            return error
        return None

    async def _in_thread(self, function: Callable[[Any], object], event: Event) -> object:
        """Run a plain function in a thread of its own, which does not keep the process from ending."""
        over: asyncio.Future[tuple[object, BaseException | None]] = self._loop.create_future()
        context = contextvars.copy_context()

        def tell(found: tuple[object, BaseException | None]) -> None:
            if not over.done():
                over.set_result(found)

        def run() -> None:
            found: tuple[object, BaseException | None]
            try:
                found = (context.run(function, event), None)
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                found = (None, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(tell, found)

        threading.Thread(target=run, name=f"handler {event.event_id}", daemon=True).start()
        result, error = await over
        if error is not None:
            raise error
        return result

    def _outcome(
        self,
        event: Event,
        handler: Handler,
        error: BaseException | None,
        state: _State,
        attempt: int,
        took: float,
    ) -> Outcome:
        name = handler.name
        match error:
            case None:
                return Outcome("done", name, seconds=took)
            case Reject():
                log.warning("event %s: %s rejected it", event.event_id, name)
                return Outcome("rejected", name, error=error, seconds=took)
            case Retry(after=after):
                log.info("event %s: %s asks for another attempt", event.event_id, name)
                return Outcome("failed", name, "Retry", _seconds(after), error=error, seconds=took)
        if state.is_late:
            why = f"{name} took longer than {self._seconds:g} s"
            log.error("event %s: %s, attempt %d", event.event_id, why, attempt)
            return Outcome("failed", name, why, hung=state.hangs, error=error, seconds=took)
        if self._show_errors:
            told = "".join(traceback.format_exception(error)).rstrip("\n")
            log.error("event %s: %s failed, attempt %d:\n%s", event.event_id, name, attempt, told)
        else:
            told = "\n".join(describe(error, self._folder))
            log.error("event %s: %s failed, attempt %d: %s", event.event_id, name, attempt, told)
        return Outcome("failed", name, summary(error, self._folder), error=error, seconds=took)


@dataclass(slots=True)
class _State:
    """How a handler's run goes."""

    in_thread: bool = False
    is_late: bool = False
    hangs: bool = False


def _seconds(after: object) -> float | None:
    """Return how long a handler wants to wait, if that makes sense."""
    if not isinstance(after, int | float) or not after >= 0:
        return None
    return min(float(after), MAX_AFTER)


def summary(error: BaseException, folder: Path | None = None) -> str:
    """Return an exception's class and where it was raised, without its text, on one line."""
    found = list(places(error, folder))
    return f"{_kind(error)} in {found[-1]}" if found else _kind(error)


def describe(error: BaseException, folder: Path | None = None) -> Iterator[str]:
    """Yield lines about an exception and what caused it: classes and places, and none of their texts.

    Args:
        error: The exception.
        folder: Places in this folder are told without it.
    """
    one: BaseException | None = error
    for _ in range(5):
        if one is None:
            return
        yield f"{_kind(one)}{'' if one is error else ' was raised before'}, at"
        found = list(places(one, folder))
        if len(found) > MAX_PLACES:
            yield f"    … {len(found) - MAX_PLACES} more places …"
        yield from (f"    {place}" for place in found[-MAX_PLACES:])
        for inner in one.exceptions[:5] if isinstance(one, BaseExceptionGroup) else ():
            yield f"    and in it: {summary(inner, folder)}"
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def places(error: BaseException, folder: Path | None = None) -> Iterator[str]:
    """Yield where an exception passed, the place where it was raised last."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        path = code.co_filename
        if path.startswith(_OURS) or path == contextlib.__file__:
            continue  # what the bot's code is told is where it asked
        yield f"{_within(path, folder)}:{line} {code.co_name}"
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        yield f"{_within(error.filename, folder)}:{error.lineno}"  # code that never ran is in no traceback


def _within(path: str, folder: Path | None) -> str:
    return path if folder is None else path.removeprefix(f"{folder}/")


def _kind(error: BaseException) -> str:
    kind = type(error)
    if isinstance(error, ActionError):
        return f"ActionError({error.key})"  # one of the service's words
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"[:200]
