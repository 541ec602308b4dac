"""Attachments on their way to an account's folder, and who waits for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.pipe import Fetch, Fetched
from orchestrator.errors import OrchestratorError

WAIT_SECONDS: Final = 20.0
"""How long a command waits for an attachment before it is told to ask again."""
MAX_WAITING: Final = 16
"""Attachments of one account that may be asked for at once."""


class Fetching:
    """Those who wait for attachments, in one process of an account.

    Args:
        name: The account's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids = itertools.count(1)
        self._numbers: dict[int, str] = {}
        self._waiting: dict[str, asyncio.Future[Fetched]] = {}

    async def fetch(self, tell: Callable[[Fetch], None], media: str) -> None:
        """Have an attachment fetched, and wait until it is there.

        Whoever asks again for one that is on its way waits for the same answer.

        Args:
            tell: Hands the process a message.
            media: The attachment's identifier.

        Raises:
            OrchestratorError: It is not there, or not yet; the message says which.
        """
        answer = self._waiting.get(media)
        if answer is None:
            if len(self._waiting) >= MAX_WAITING:
                raise missing(self._name, Fault.BUSY)
            answer = self._waiting[media] = asyncio.get_running_loop().create_future()
            number = next(self._ids)
            self._numbers[number] = media
            tell(Fetch(number, media))
        # Others may wait for the same: only this one gives up.
        await asyncio.wait((answer,), timeout=WAIT_SECONDS)
        if not answer.done():
            raise OrchestratorError(
                f"{self._name}: the attachment is still on its way: ask for it again", key="media_pending"
            )
        if (fault := answer.result().fault) is not None:
            raise missing(self._name, fault, answer.result().about)

    def fetched(self, message: Fetched) -> None:
        """Tell whoever waits for it what became of an attachment."""
        media = self._numbers.pop(message.id, None)
        if media is not None:
            self._waiting.pop(media).set_result(message)

    def process_ended(self) -> None:
        """Tell all who wait that there will be no answer."""
        for number in list(self._numbers):
            self.fetched(Fetched(number, Fault.UNREACHABLE, "the account's process ended meanwhile"))


def missing(name: str, fault: Fault, about: str = "") -> OrchestratorError:
    """Return what an operator is told about an attachment that cannot be had.

    Args:
        name: The account's name.
        fault: Why it cannot be had.
        about: What happened.
    """
    error = _missing(name, fault)
    return OrchestratorError(f"{error} ({about})", key=error.key) if about else error


def _missing(name: str, fault: Fault) -> OrchestratorError:
    match fault:
        case Fault.UNKNOWN:
            return OrchestratorError(
                f"{name}: no stored message has this attachment: `orchestrator messages {name} --json` shows"
                " the attachments, and messages that are older than `keep` are deleted",
                key="media_unknown",
            )
        case Fault.NEVER:
            return OrchestratorError(
                f"{name}: the configuration says `media: never`: set `media: on_demand` for this account",
                key="media_never",
            )
        case Fault.TOO_LARGE:
            return OrchestratorError(
                f"{name}: the attachment is larger than `media_limit` in the configuration: raise the limit",
                key="media_too_large",
            )
        case Fault.EXPIRED:
            return OrchestratorError(
                f"{name}: WhatsApp no longer has the file: ask the sender to send the file again",
                key="media_expired",
            )
        case Fault.ALTERED:
            return OrchestratorError(
                f"{name}: WhatsApp has another file than the one of this message, and it was thrown away: ask"
                " the sender to send the file again",
                key="media_altered",
            )
        case Fault.UNFIT:
            return OrchestratorError(
                f"{name}: the attachment cannot be fetched: ask the sender to send the file again",
                key="media_unfit",
            )
        case Fault.UNREACHABLE:
            return OrchestratorError(
                f"{name}: the file cannot be fetched at the moment: try again", key="media_unreachable"
            )
        case Fault.NO_ROOM:
            return OrchestratorError(
                f"{name}: the file cannot be written: look whether the disk of the state folder is full",
                key="media_no_room",
            )
        case Fault.BUSY:
            return OrchestratorError(
                f"{name}: too many attachments are on their way already: try again in a moment",
                key="service_busy",
            )
