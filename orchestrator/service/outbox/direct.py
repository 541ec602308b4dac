"""Writes into the outbox of an account that has no process at the moment. Everything here blocks."""

from __future__ import annotations

from pathlib import Path

from orchestrator.accounts.outgoing import Fault
from orchestrator.messages.outbox import alone
from orchestrator.messages.outbox_form import Added, KeyConflict, New, NoRow, NotWaiting, OutboxFull
from orchestrator.sending.row import Row
from orchestrator.store.layout import OUTBOX


class Refused(Exception):  # noqa: N818 - what it is
    """The outbox does not do what is asked.

    Args:
        fault: Why.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


def add(folder: Path, new: New) -> tuple[Added, int]:
    """Write a row, or find the one of the same key; return how many rows wait now, too.

    Args:
        folder: The folder of the account's messages.
        new: The message.

    Raises:
        Refused: The key is another message's, or as many wait as may.
        OutboxBusy: Somebody else has the outbox open, such as a process that has come up.
        OutboxError: It cannot be used.
    """
    try:
        with alone(folder) as outbox:
            return outbox.add(new), outbox.count
    except KeyConflict:
        raise Refused(Fault.CONFLICT) from None
    except OutboxFull:
        raise Refused(Fault.FULL) from None


def take_back(folder: Path, number: int) -> tuple[Row, int]:
    """Take a row back that waits; return how many rows wait now, too.

    Args:
        folder: The folder of the account's messages.
        number: The row.

    Raises:
        Refused: There is no such row, or it does not wait.
        OutboxBusy: Somebody else has the outbox open, such as a process that has come up.
        OutboxError: It cannot be used.
    """
    if not (folder / OUTBOX).exists():
        raise Refused(Fault.NO_ROW)
    try:
        with alone(folder) as outbox:
            return outbox.take_back(number), outbox.count
    except NoRow:
        raise Refused(Fault.NO_ROW) from None
    except NotWaiting:
        raise Refused(Fault.NOT_WAITING) from None
