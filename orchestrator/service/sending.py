"""Texts on their way through an account's process, and who waits to hear what became of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from orchestrator.accounts import deadlines
from orchestrator.accounts.pipe import Send, Sent
from orchestrator.errors import OrchestratorError

SEND_SECONDS = deadlines.SENDING.outer
"""How long a process may take to say what became of a text."""
MAX_WAITING = 16
"""Texts of one account that may be on their way at once: whoever sends more than that is no operator."""


class Waiting:
    """Those who wait to hear what became of a text, in one process of an account.

    Args:
        name: The account's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[OrchestratorError | None]] = {}

    async def send(self, tell: Callable[[Send], None], to: str, text: str) -> None:
        """Have a text sent, and wait until WhatsApp has taken it.

        Args:
            tell: Hands the process a message.
            to: Digits of the number.
            text: The text.

        Raises:
            OrchestratorError: It was not sent, or nobody knows whether it was; the message says which.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise OrchestratorError(
                f"{self._name}: {MAX_WAITING} texts are on their way already; wait until they are sent",
                key="service_busy",
            )
        number = next(self._ids)
        answer: asyncio.Future[OrchestratorError | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            tell(Send(number, to, text))
            async with asyncio.timeout(SEND_SECONDS):
                error = await answer
        except TimeoutError:
            error = self._unknown(f"no answer within {SEND_SECONDS:.0f} s")
        finally:
            del self._waiting[number]
        if error is not None:
            raise error

    def sent(self, message: Sent) -> None:
        """Tell whoever waits for it what became of a text."""
        error = None
        if message.error is not None:
            error = OrchestratorError(f"{self._name}: the text was not sent: {message.error}", key="not_sent")
        self._answer(message.id, error)

    def process_ended(self) -> None:
        """Tell all who wait that there will be no answer."""
        for number in self._waiting:
            self._answer(number, self._unknown("the account's process ended before it said so"))

    def _answer(self, number: int, error: OrchestratorError | None) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(error)

    def _unknown(self, why: str) -> OrchestratorError:
        return OrchestratorError(
            f"{self._name}: it is not known whether the text was sent: {why}", key="delivery_unknown"
        )
