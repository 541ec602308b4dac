"""Does in an outbox what whoever runs the account wants of it, and answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.accounts import pipe
from orchestrator.accounts.acts import BadAct
from orchestrator.accounts.outgoing import Fault
from orchestrator.errors import StoreAway
from orchestrator.messages.outbox_form import KeyConflict, New, NoRow, NotWaiting, OutboxError, OutboxFull
from orchestrator.messages.protocols import UNUSABLE, OutboxStore
from orchestrator.sending import telling, wire
from orchestrator.sending.forms import Media, Outgoing
from orchestrator.sending.row import Row
from orchestrator.worker.sending.files import OutgoingFiles

log = logging.getLogger(__name__)


class Orders:
    """Takes orders.

    Args:
        outbox: The outbox.
        files: The files that wait to be sent.
        most: How many rows may wait.
        say: Tells whoever runs the account.
    """

    def __init__(
        self, outbox: OutboxStore, files: OutgoingFiles, most: int, say: Callable[[pipe.FromChild], object]
    ) -> None:
        self._outbox = outbox
        self._files = files
        self._most = most
        self._say = say

    def add(self, order: pipe.Send) -> Row | None:
        """Write a message into the outbox; return its row, None if there is no new one.

        Raises:
            StoreAway: Nobody knows whether it is written: no answer says that, and its file stays.
        """
        message = None
        try:
            message = wire.from_text(order.body)
            key = bytes.fromhex(order.key)
            new = New(message, order.body, key, order.key_until, order.expires_at, self._most)
            added = self._outbox.add(new)
        except (BadAct, OutboxError, *UNUSABLE) as error:
            if isinstance(error, StoreAway) and error.in_doubt:
                raise
            self._say(telling.refused(order.id, _fault(error)))
            self.delete_file(message)
            return None
        self._say(telling.queued(order.id, added.row, again=added.again))
        if not added.again:
            return added.row
        self.delete_file(message)  # the row has one of its own
        return None

    def take_back(self, order: pipe.TakeBack) -> Row | None:
        """Take a row back; return it, None if that is not possible."""
        try:
            row = self._outbox.take_back(order.row)
        except (OutboxError, *UNUSABLE) as error:
            self._say(telling.refused(order.id, _fault(error)))
            return None
        self._say(telling.queued(order.id, row))
        return row

    def message_of(self, number: int) -> Outgoing | None:
        """Return the message of a row, None if the outbox does not have it any more."""
        try:
            return self._outbox.outgoing(number)
        except (OutboxError, BadAct):
            return None

    def delete_file(self, message: Outgoing | None) -> None:
        """Delete the file of a message, unless a row needs it."""
        content = None if message is None else message.content
        if isinstance(content, Media) and content.file is not None:
            self._files.delete({content.file.id} - self._outbox.files())


def _fault(error: Exception) -> Fault:
    """Return why the outbox did not do what was asked of it."""
    match error:
        case KeyConflict():
            return Fault.CONFLICT
        case OutboxFull():
            return Fault.FULL
        case NoRow():
            return Fault.NO_ROW
        case NotWaiting():
            return Fault.NOT_WAITING
    log.warning("the outbox could not be used: %s", type(error).__name__)
    return Fault.UNUSABLE
