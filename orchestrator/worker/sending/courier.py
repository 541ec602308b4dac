"""Carries one message to the library and back: makes it ready, hands it over, and says how that ended.

It blocks for as long as WhatsApp takes, so each message has a thread of its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from orchestrator.messages.loss import digest
from orchestrator.messages.outbox_form import OutboxError
from orchestrator.messages.protocols import UNUSABLE
from orchestrator.sending import asks
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Row
from orchestrator.sending.steps import End, EndKind
from orchestrator.worker import addresses, send_errors
from orchestrator.worker.composing import composer
from orchestrator.worker.composing.composer import Composer, Ready, Unsendable
from orchestrator.worker.intake import Intake

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
"""Seconds between two tries to write down that a message was sent."""
_KINDS: Final = {"refused": EndKind.REFUSED, "before": EndKind.BEFORE, "unknown": EndKind.UNKNOWN}
_TOO_MUCH: Final = 429
"""WhatsApp's number for: too much was asked. It says nothing of the one message."""
_NOT_READY: Final = "it could not be made ready"
_ENDS: Final = "the account's process was about to end"


class Library(composer.Library, Protocol):
    """What is needed of the library; see `library.client`. Its calls block, and raise what they like."""

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[asks.Found]:
        """Return which of some numbers, by their digits, are on WhatsApp."""

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        """Show in a chat that the account writes or records, or does not."""

    def words(self, error: Exception) -> str:
        """Return what an error that a call has raised says, without what somebody has written."""


class Outbox(Protocol):
    """Where it is written down that a message was sent; see `messages.outbox`."""

    def sent(self, number: int, message: str | None, at: float | None = None) -> Row:
        """Note that WhatsApp has taken a row's message.

        Raises:
            OutboxError: There is no such row, or it is over.
            UNUSABLE: It cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Carried:
    """How it ended.

    Attributes:
        number: The row.
        end: How.
        row: The row, if it was sent.
        chat: The chat's address as it stands in what comes from there.
        secret: What stands for the secret of the message.
        followed: Whether receipts for it are still held back until more is known; see `Courier.let_go`.
    """

    number: int
    end: End
    row: Row | None = None
    chat: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    followed: bool = False


class Courier:
    """Carries messages. Its methods may be called from several threads at once.

    Args:
        library: Sends them.
        composer: Makes them ready.
        intake: Where what becomes of them is stored.
        outbox: Where it is written down that a message was sent.
        wall: Returns Unix seconds.
    """

    def __init__(
        self,
        library: Library,
        composer_: Composer,
        intake: Intake,
        outbox: Outbox,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._library = library
        self._composer = composer_
        self._intake = intake
        self._outbox = outbox
        self._wall = wall
        self._never = threading.Event()
        self._halted = threading.Event()

    def halt(self) -> None:
        """Hand nothing over any more: the process ends, and what begins now would be cut off."""
        self._halted.set()

    def usual(self, chat: str) -> str:
        """Return the address of a chat as it stands in what comes from there."""
        return addresses.usual(self._library, chat)

    def names_of(self, chat: str) -> tuple[str, ...]:
        """Return all addresses of a chat, the usual one first."""
        return addresses.names_of(self._library, chat)

    def carry(self, number: int, outgoing: Outgoing, secret: bytes) -> Carried:
        """Have a message sent; return how that ended. That it was sent is written down then.

        Of a message of which nobody knows whether it was sent, receipts are held back until `let_go`.

        Args:
            number: The row.
            outgoing: The message.
            secret: Its secret.
        """
        sign = digest(secret)
        try:
            ready = self._composer.make(outgoing, secret, self._wall())
        except Unsendable as error:
            return Carried(number, End(EndKind.REFUSED, why=error.why))
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
            return Carried(number, self._not_ready(error))
        if self._halted.is_set():
            return Carried(number, End(EndKind.BEFORE, why=_ENDS))
        chat = self.usual(ready.chat)
        followed = False
        with _no_matter_what():
            followed = self._intake.tidings.sending(chat, secret)
        try:
            done = ready.hand_over(self._library)
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            found = send_errors.failure(self._library.words(error))
            end = End(_KINDS[found.certainty], found.code, None, found.why)
            carried = Carried(number, end, None, chat, sign, followed)
            if end.kind is not EndKind.UNKNOWN:
                self.let_go(carried)
            return carried
        return self._sent(number, ready, chat, secret, done, followed=followed)

    def is_on_whatsapp(self, phone: str) -> bool | None:
        """Tell whether a number is on WhatsApp, None if that could not be found out.

        Args:
            phone: The number's digits.
        """
        try:
            found = self._library.is_on_whatsapp((phone,))
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            log.info("a number could not be looked up: %s", type(error).__name__)
            return None
        return found[0].exists if len(found) == 1 else None

    def show_typing(self, chat: str, *, records: bool = False, writes: bool = True) -> None:
        """Show in a chat that the account writes or records, or does no longer; nothing depends on it."""
        with contextlib.suppress(Exception):
            self._library.show_typing(self.usual(chat), writes=writes, records=records)

    def let_go(self, carried: Carried) -> None:
        """Note that more is known of a message that may have been sent, or that nobody waits for it."""
        if carried.followed:
            self._intake.tidings.ended()

    def _sent(
        self,
        number: int,
        ready: Ready,
        chat: str,
        secret: bytes,
        done: tuple[str, float] | None,
        *,
        followed: bool,
    ) -> Carried:
        # Marks are no message, and have no identifier.
        id_, at = done or (None, self._wall())
        row = self._write(number, id_, at)
        if followed and id_ is not None:
            with _no_matter_what():
                chat = self.usual(ready.chat)  # of a stranger, the library knows it only now
                self._intake.tidings.sent(chat, secret, id_, at, self._intake.store)
        if followed:
            self._intake.tidings.ended()
        return Carried(number, End(EndKind.SENT), row, chat)

    def _write(self, number: int, id_: str | None, at: float) -> Row | None:
        """Write down that a message was sent, however long that takes: it must not look as if it was not.

        If the process ends before, the next one finds the secret in the session.
        """
        is_told = False
        while True:
            try:
                return self._outbox.sent(number, id_, at)
            except OutboxError as error:
                log.error("what was sent has no row any more: %s", type(error).__name__)
                return None
            except UNUSABLE as error:
                if not is_told:
                    log.warning("the outbox cannot be written: %s", error)
                is_told = True
            self._never.wait(RETRY_SECONDS)

    def _not_ready(self, error: Exception) -> End:
        """Return how it ended if a message could not be made ready: nothing was sent."""
        found = send_errors.failure(self._library.words(error))
        if found.code == _TOO_MUCH:
            return End(EndKind.REFUSED, found.code, None, found.why)
        log.info("a message could not be made ready: %s", type(error).__name__)
        return End(EndKind.BEFORE, why=_NOT_READY if found.certainty == "unknown" else found.why)


@contextlib.contextmanager
def _no_matter_what() -> Iterator[None]:
    """Do what may fail without harm to a message that is sent."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - no error may look as if the message had not been sent
        log.warning("what became of a message that is sent cannot be written down: %s", type(error).__name__)
