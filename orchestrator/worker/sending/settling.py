"""Finds out what became of messages that were handed to the library, and of which nobody heard more. Pure.

    in doubt ─► the session does not have the secret ─► never left
         └────► it has: the identifier is known ─► a receipt names it ─► sent

The secrets are in the session, which another process reads (`store.sent_secrets`). A receipt may come before
the answer does, and even before the message is in doubt: WhatsApp tells of it when it likes. The outbox keeps
such receipts, too, for the next process (`Outbox.note_receipt`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.messages.outbox_form import MAX_RECEIPTS

MOST_ASKED: Final = 100
"""Messages that one question is about; see `accounts.outgoing.MAX_UNSETTLED`."""
ASK_EVERY: Final = 5.0
"""Seconds between two questions. Each has the service read the session."""
ASK_AGAIN: Final = 30.0
ASK_AGAIN_LATEST: Final = 3600.0
"""Seconds until a question that was not answered is asked again, doubled from the first to the latest."""


@dataclass(frozen=True, slots=True)
class Identified:
    """A row whose message is known.

    Attributes:
        number: The row.
        digest: What stands for the secret of the message.
        id: WhatsApp's identifier.
    """

    number: int
    digest: bytes = field(repr=False)
    id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer tells.

    Attributes:
        identified: Rows that may have been sent.
        never_left: Rows that were certainly not sent.
    """

    identified: list[Identified] = field(default_factory=list)
    never_left: list[int] = field(default_factory=list)


class Settling:
    """The rows that are in doubt."""

    def __init__(self) -> None:
        self._wanted: dict[bytes, _Wanted] = {}
        self._next_at = 0.0
        self._known: dict[str, int] = {}
        self._early: dict[str, None] = {}

    def doubt(self, number: int, digest: bytes) -> None:
        """Take in a row in doubt, of whose message nothing is known but the secret.

        Each try to send a row has a secret of its own. So an answer about it is true whenever it comes.

        Args:
            number: The row.
            digest: What stands for the secret; see `loss.digest`.
        """
        self._wanted[digest] = _Wanted(number)

    def distrust(self, number: int) -> None:
        """Note that the session may not have the secret of a row in doubt although its message has left."""
        for one in self._wanted.values():
            if one.number == number:
                one.proves = False

    def identify(self, number: int, id_: str) -> bool:
        """Take in a row in doubt whose message has that identifier; return whether a receipt has named it."""
        self._forget_secret(number)
        if id_ in self._early:
            return True
        self._known[id_] = number
        return False

    def drop(self, number: int) -> None:
        """Forget a row; one that is not in doubt is none too."""
        self._forget_secret(number)
        for id_ in [one for one, of in self._known.items() if of == number]:
            del self._known[id_]

    def heard(self, ids: Iterable[str]) -> list[int]:
        """Take in which messages a receipt is about; return the rows that were sent, as is clear now."""
        found = []
        for id_ in ids:
            if (number := self._known.pop(id_, None)) is not None:
                found.append(number)
            else:
                self._early[id_] = None
                if len(self._early) > MAX_RECEIPTS:
                    del self._early[next(iter(self._early))]
        return found

    def due(self) -> float | None:
        """Return when there is something to ask, None if there is not; see `ask`."""
        if not self._wanted:
            return None
        return max(self._next_at, min(one.ask_at for one in self._wanted.values()))

    def ask(self, now: float) -> list[bytes]:
        """Return what stands for the secrets that are to be looked for; empty if it is not the time.

        What is not answered is asked again: whoever is asked says nothing if nothing is certain.

        Args:
            now: Unix seconds.
        """
        self._next_at = min(self._next_at, now + ASK_EVERY)  # the clock may have been put back
        for one in self._wanted.values():
            one.ask_at = min(one.ask_at, now + ASK_AGAIN_LATEST)
        if (due := self.due()) is None or now < due:
            return []
        asked = [digest for digest, one in self._wanted.items() if one.ask_at <= now][:MOST_ASKED]
        for digest in asked:
            one = self._wanted[digest]
            one.ask_at = now + min(ASK_AGAIN * 2**one.asked, ASK_AGAIN_LATEST)
            one.asked += 1
        self._next_at = now + ASK_EVERY
        return asked

    def answer(self, asked: Iterable[bytes], found: Mapping[bytes, str]) -> Answered:
        """Take in which secrets the session has.

        Args:
            asked: What stands for the secrets that were looked for.
            found: The identifiers of those that are there.
        """
        answered = Answered()
        for digest in asked:
            one = self._wanted.get(digest)
            # A row may have been settled meanwhile, or be in doubt anew, with another secret. And nobody is
            # believed to have looked for what was not asked for: it could have been before it was sent.
            if one is None or not one.asked:
                continue
            del self._wanted[digest]
            if digest in found:
                answered.identified.append(Identified(one.number, digest, found[digest]))
            elif one.proves:
                answered.never_left.append(one.number)
        return answered

    def _forget_secret(self, number: int) -> None:
        for digest in [one for one, of in self._wanted.items() if of.number == number]:
            del self._wanted[digest]


@dataclass(slots=True)
class _Wanted:
    """A row of whose message nothing is known but the secret.

    Attributes:
        number: The row.
        ask_at: When it is asked about, in Unix seconds.
        asked: How often it was asked about.
        proves: Whether the message has never left if the session does not have its secret.
    """

    number: int
    ask_at: float = 0.0
    asked: int = 0
    proves: bool = True
