"""Writes into the outbox of an account that has no process at the moment. Everything here blocks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypeAlias

from orchestrator.accounts.outgoing import Fault
from orchestrator.messages.outbox_form import Added, KeyConflict, New, NoOutbox, NoRow, NotWaiting, OutboxFull
from orchestrator.messages.protocols import OutboxStore
from orchestrator.sending.row import Row

Outbox: TypeAlias = AbstractContextManager[OutboxStore]


class Refused(Exception):  # noqa: N818 - what it is
    """The outbox does not do what is asked.

    Args:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def add(outbox: Outbox, new: New) -> tuple[Added, int]:
    """Write a row, or find the one of the same key; return how many rows wait now, too.

    Args:
        outbox: Opens the account's outbox.
        new: The message.

    Raises:
        Refused: The key is another message's, or as many wait as may.
        OutboxBusy: Somebody else has the outbox open, such as a process that has come up.
        OutboxError: It cannot be used.
    """
    try:
        with outbox as opened:
            return opened.add(new), opened.count
    except KeyConflict:
        raise Refused(Fault.CONFLICT) from None
    except OutboxFull:
        raise Refused(Fault.FULL) from None


def take_back(outbox: Outbox, number: int) -> tuple[Row, int]:
    """Take a row back that waits; return how many rows wait now, too.

    Args:
        outbox: Opens the account's outbox.
        number: The row.

    Raises:
        Refused: There is no such row, or it does not wait.
        OutboxBusy: Somebody else has the outbox open, such as a process that has come up.
        OutboxError: It cannot be used.
    """
    try:
        with outbox as opened:
            return opened.take_back(number), opened.count
    except (NoOutbox, NoRow):
        raise Refused(Fault.NO_ROW) from None
    except NotWaiting:
        raise Refused(Fault.NOT_WAITING) from None
