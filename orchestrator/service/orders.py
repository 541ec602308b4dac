"""Orders for accounts of other machines: gives them, waits for answers, and carries out those for this one.

`cluster/orders.py` decides; what the database tells is a hint to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from orchestrator.cluster import orders as protocol
from orchestrator.cluster.orders import Verdict, judge
from orchestrator.control.protocol import Json, error_answer
from orchestrator.errors import NotRunning, OrchestratorError, StateError, StoreAway
from orchestrator.postgres import orders as rows
from orchestrator.postgres.orders import Looked, Taken
from orchestrator.service import who

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks for answers, if nobody says that there is one."""
TAKE_SECONDS: Final = 2.0
"""Between two looks for orders, likewise."""
AGAIN_SECONDS: Final = 0.5
"""From a failure of the database to the next try."""
PATIENCE: Final = 4.0
"""Seconds for one question to the database."""
MOST_AT_ONCE: Final = 1000
"""Orders that are given at once."""
UNKNOWN: Final = "nobody knows whether it was done: `orchestrator list` shows how the account is"


class Line(Protocol):
    """Asks the database beside the event loop: see `postgres.line.Line`."""

    async def run(self, work: Callable[[Any], Any], *, patience: float = ...) -> Any:  # noqa: ANN401
        """Return what some work at the database returns."""


class Orders:
    """The orders that this machine gives, and those that it carries out.

    Args:
        me: The name of this machine in the cluster.
        line: Asks the database.
        incarnation: Returns the present lease of this machine, None without one.

    Attributes:
        carry_out: Does what an order says for an account that runs here, and returns the answer.
    """

    def __init__(self, me: str, line: Line, incarnation: Callable[[], str | None]) -> None:
        self.carry_out: Callable[[str, str, Json], Awaitable[Json]] | None = None
        self._me = me
        self._line = line
        self._incarnation = incarnation
        self._heard = asyncio.Event()
        self._answers = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to carry out orders."""
        self._background(self._serve())

    def close(self) -> None:
        """Carry out no more; what was begun is not answered."""
        for task in self._tasks:
            task.cancel()

    def hear(self) -> None:
        """Take the hint that there is something to look at."""
        self._heard.set()
        self._answers.set()
        self._answers = asyncio.Event()

    # To give orders

    async def give(self, names: Sequence[str], command: str, arguments: Json) -> dict[str, Json]:
        """Have the machines that own accounts do something, and wait for their answers.

        Args:
            names: The accounts.
            command: What is to be done.
            arguments: And how; with neither texts of messages nor secrets.

        Returns:
            For each account ``{"result": …}``, or an error as on the control socket.

        Raises:
            StoreAway: The database is away, so nothing was done.
        """
        answers: dict[str, Json] = {}
        for begin in range(0, len(names), MOST_AT_ONCE):
            some = names[begin : begin + MOST_AT_ONCE]
            try:
                answers |= await self._give(some, command, arguments)
            except OrchestratorError as error:
                if not answers:
                    raise
                answers |= dict.fromkeys(some, error_answer(error))
        return answers

    async def _give(self, names: Sequence[str], command: str, arguments: Json) -> dict[str, Json]:
        given = {str(uuid.uuid4()): name for name in names}
        by = f"{who.current() or 'an operator'} on {self._me}"
        try:
            known = await self._ask(lambda connection: rows.give(connection, given, command, arguments, by))
        except StoreAway as error:
            # If the commit was lost, the orders may be there: nobody is told that nothing was done before
            # they are gone.
            if not await self._take_back(given):
                raise
            raise StoreAway(f"the database is away, so nothing was done: {error}") from None
        if known is None:
            raise OrchestratorError(
                "too many orders wait for other machines: try again in a moment", key="service_busy"
            )
        waited = await self._wait({id_: name for id_, name in given.items() if id_ in known})
        strange = {name: error_answer(_strange(name)) for name in names if name not in waited}
        return {**waited, **strange}

    async def _take_back(self, given: Mapping[str, str]) -> bool:
        """Take orders back of which nobody knows whether they are there; tell whether that is certain."""
        with contextlib.suppress(StateError):
            await self._ask(lambda connection: rows.withdraw(connection, given))
            return not await self._ask(lambda connection: rows.look(connection, [*given]))
        return False

    async def _wait(self, given: Mapping[str, str]) -> dict[str, Json]:
        answers: dict[str, Json] = {}
        left = dict(given)
        until = time.monotonic() + protocol.TAKE_SECONDS + protocol.DONE_SECONDS
        while left:
            heard = self._answers
            try:
                over = await self._look(left)
            except StateError as error:
                if time.monotonic() > until:
                    away = StoreAway(f"the database is away ({error}), and {UNKNOWN}")
                    over = dict.fromkeys(left, error_answer(away))
                else:
                    over = {}
            for id_, said in over.items():
                answers[left.pop(id_)] = said
            if over:
                self._background(self._forget([*over]))
            if left:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await heard.wait()
        return answers

    async def _look(self, left: Mapping[str, str]) -> dict[str, Json]:
        """Return the answers of orders that are over."""
        found = await self._ask(lambda connection: rows.look(connection, [*left]))
        over: dict[str, Json] = {}
        late: dict[str, Looked] = {}
        for id_, name in left.items():
            looked, said = found.get(id_, (None, None))
            if looked is None:
                over[id_] = error_answer(_lost(name, None))
                continue
            match judge(looked.order, looked.owner, looked.now, is_good=looked.is_good):
                case Verdict.ANSWERED:
                    over[id_] = said if isinstance(said, dict) else error_answer(_lost(name, looked.shard))
                case Verdict.LOST:
                    over[id_] = error_answer(_lost(name, looked.shard))
                case Verdict.WITHDRAW:
                    late[id_] = looked
                case Verdict.WAIT:
                    pass
        if late:
            for id_ in await self._ask(lambda connection: rows.withdraw(connection, late)):
                over[id_] = error_answer(_not_taken(left[id_], late[id_]))
        return over

    async def _forget(self, orders: Sequence[str]) -> None:
        with contextlib.suppress(StateError, NotRunning):  # the database does so by itself after a while
            await self._ask(lambda connection: rows.forget(connection, orders))

    # To carry them out

    async def _serve(self) -> None:
        while True:
            self._heard.clear()
            wait = TAKE_SECONDS
            try:
                incarnation = self._incarnation()
                if incarnation is not None and self.carry_out is not None:
                    for one in await self._ask(lambda c: rows.take(c, incarnation)):  # noqa: B023
                        self._background(self._do(one, incarnation))
            except NotRunning:
                return
            except StateError:
                wait = AGAIN_SECONDS  # the watch of the store says so
            except Exception:
                log.exception("a bug in the service, met at the orders of other machines")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._heard.wait()

    async def _do(self, order: Taken, incarnation: str) -> None:
        assert self.carry_out is not None
        who.begin(order.by)
        log.info("%s: the order %s%s", order.name, order.command, who.by())
        try:
            said: Json = {"result": await self.carry_out(order.command, order.name, dict(order.arguments))}
        except OrchestratorError as error:
            said = error_answer(error)
        except Exception:
            log.exception("%s: a bug in the service, met at the order %s", order.name, order.command)
            said = error_answer(
                OrchestratorError(
                    f"a bug in the service on {self._me}: its log has the details", key="internal_error"
                )
            )
        await self._answer(order, incarnation, said)

    async def _answer(self, order: Taken, incarnation: str, said: Json) -> None:
        until = time.monotonic() + protocol.DONE_SECONDS
        while time.monotonic() < until:
            try:
                await self._ask(lambda connection: rows.answer(connection, incarnation, order.id, said))
            except NotRunning:
                return
            except StateError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    # Shared

    async def _ask(self, work: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        return await self._line.run(work, patience=PATIENCE)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _strange(name: str) -> OrchestratorError:
    return OrchestratorError(
        f"{name}: the database does not know the account yet, so nothing was done: try again in a moment",
        key="order_not_taken",
    )


def _not_taken(name: str, looked: Looked) -> OrchestratorError:
    """Say why nobody has taken an order, so that nothing was done."""
    seconds = f"{protocol.TAKE_SECONDS:.0f} s"
    if looked.shard is None:
        return OrchestratorError(
            f"{name}: no machine of the cluster runs the account, so nothing was done within {seconds}:"
            " `orchestrator cluster status` shows the machines and their room",
            key="order_not_taken",
        )
    silent = f" and has been silent for {looked.silent:.0f} s" if looked.silent > PATIENCE else ""
    return OrchestratorError(
        f"{name}: the account runs on {looked.shard}, which has not taken the order within {seconds}{silent}:"
        " nothing was done; try again in a moment",
        key="order_not_taken",
    )


def _lost(name: str, shard: str | None) -> OrchestratorError:
    where = "the account has no machine now" if shard is None else f"the account is on {shard} now"
    return OrchestratorError(
        f"{name}: the machine that took the order does not answer any more, {where}, and {UNKNOWN}",
        key="order_unknown",
    )
