"""What can become of a row of an outbox, wherever that is kept: which state follows which, and with what.

A store of messages has to do no more than to read a row and to write columns; `changed` says which.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.messages import loss
from orchestrator.messages.outbox_form import MAX_WHY, UNSETTLED, KeyConflict, NotWaiting, OutboxFull
from orchestrator.sending.row import WAITING, Pace, Row, State

SECRET_BYTES: Final = 32
"""Bytes of a message's secret."""
MOVABLE: Final = frozenset({"pace", "secret", "why", "code", "message", "queued_until"})
"""The columns that a move may set besides the state."""


class OutboxMoves:
    """Moves rows from state to state. `NoRow` and `NotWaiting` are raised as `Outbox` has it."""

    def take_back(self, number: int) -> Row:
        """Take a row back that was not handed over yet."""
        return self.move(number, State.TAKEN_BACK, {State.QUEUED})

    def hand_over(self, number: int, pace: Pace | None) -> bytes:
        """Note that a row is handed to the library; return the secret that its message gets.

        The secret is one of its own each time: what was handed over before is told apart by it.
        """
        secret = os.urandom(SECRET_BYTES)
        self.move(number, State.SENDING, {State.QUEUED}, pace=pace, secret=loss.digest(secret))
        return secret

    def failed(self, number: int, why: str, code: int | None = None) -> Row:
        """Note that a row is not sent and will not be.

        Args:
            number: The row.
            why: In plain words.
            code: WhatsApp's number, if that was its answer.
        """
        return self.move(number, State.FAILED, {State.QUEUED, *UNSETTLED}, why=why, code=code)

    def unknown(self, number: int, why: str, message: str | None = None) -> Row:
        """Note that nobody knows whether a row was sent.

        Args:
            number: The row.
            why: In plain words.
            message: The identifier that its message has if it was sent, None if nobody knows that, either.
        """
        known = {} if message is None else {"message": message}
        return self.move(number, State.UNKNOWN, UNSETTLED, why=why, **known)

    def unprovable(self, number: int) -> Row:
        """Note that the session cannot prove that a row that was handed over has not left.

        The library has not written the message's secret down, and goes on all the same.
        """
        return self.move(number, None, UNSETTLED, secret=None)

    def put_back(
        self, number: int, why: str, queued_until: float | None = None, code: int | None = None
    ) -> Row:
        """Let a row wait again that was handed over and is known not to have left.

        Args:
            number: The row.
            why: In plain words.
            queued_until: When it is sent at the earliest, in Unix seconds.
            code: WhatsApp's number, if that was its answer.
        """
        return self.move(
            number, State.QUEUED, {State.QUEUED, *UNSETTLED}, why=why, code=code, queued_until=queued_until,
            message=None, secret=None,
        )  # fmt: skip

    def expire(self, number: int) -> Row:
        """Note that a row was not sent in its time."""
        return self.move(number, State.EXPIRED, {State.QUEUED}, why="it could not be sent in its time")

    def schedule(
        self, number: int, pace: Pace | None, queued_until: float | None, why: str | None = None
    ) -> Row:
        """Note when a row that waits is sent at the earliest, and why not before."""
        return self.move(number, State.QUEUED, {State.QUEUED}, pace=pace, queued_until=queued_until, why=why)

    def move(self, number: int, state: State | None, origins: Iterable[State], **values: object) -> Row:
        """Bring a row into a state, whole or not at all; one that is over and there already stays as it is.

        Args:
            number: The row.
            state: The state; None: the one that it has.
            origins: From which states that is possible.
            values: What is written besides, of `MOVABLE`.
        """
        raise NotImplementedError


def changed(
    row: Row, state: State | None, origins: Iterable[State], now: float, values: Mapping[str, object]
) -> dict[str, Any] | None:
    """Return which columns of a row get which values, None if the row is where it should get.

    Args:
        row: The row as it is.
        state: The state that it gets; None: the one that it has.
        origins: From which states that is possible.
        now: Unix seconds.
        values: What is written besides.

    Raises:
        NotWaiting: It is in another state.
    """
    state = row.state if state is None else state
    if row.state is state and state.is_over:
        return None
    if row.state not in origins:
        raise NotWaiting(f"row {row.number} does not wait to be sent: it is {_WORDS[row.state]}")
    found = {"state": state, **(_FRESH if state is not row.state else {}), **values}
    if isinstance(why := found.get("why"), str):
        found["why"] = "".join(one if one.isprintable() else " " for one in why)[:MAX_WHY]
    if state is not row.state or "code" in values:
        found["changed_at"] = now
    return found


def is_same(content: bytes, before: bytes, key_until: float, row: Row, now: float) -> bool:
    """Tell whether a message for an outbox is one that has come before, by the row of the same key.

    Args:
        content: What stands for the message.
        before: What stands for the message of the row.
        key_until: Until when the key belongs to the row.
        row: The row.
        now: Unix seconds.

    Returns:
        Whether the row is the message's. If not, the key is free again.

    Raises:
        KeyConflict: The key is that of another message.
    """
    if key_until < now and row.state not in WAITING:
        return False
    if not hmac.compare_digest(before, content):
        raise KeyConflict("the key was used for another message: use another key")
    return True


def check_room(waiting: int, most: int) -> None:
    """See that one more row may wait.

    Raises:
        OutboxFull: As many wait as may.
    """
    if waiting >= most:
        raise OutboxFull(
            f"{most} messages wait to be sent already: try again once some are sent, or raise `most_waiting`"
        )


_FRESH: Final[Mapping[str, object]] = {"queued_until": None, "code": None, "why": None}
"""What a new state leaves of the one before."""
_WORDS: Final[Mapping[State, str]] = {
    State.QUEUED: "waiting",
    State.SENDING: "being sent",
    State.SENT: "sent",
    State.FAILED: "not sent",
    State.UNKNOWN: "perhaps sent",
    State.EXPIRED: "expired",
    State.TAKEN_BACK: "taken back",
}
