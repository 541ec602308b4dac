"""Finds the messages that another one is about: in the inbox, and among what the account has sent itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from orchestrator.errors import OrchestratorError
from orchestrator.messages.database import InboxError, NoInbox
from orchestrator.messages.entry import Stored
from orchestrator.messages.protocols import AccountMessages
from orchestrator.sending.forms import Contacts, Location, Media, Outgoing, Poll, Text
from orchestrator.sending.row import Row, State
from orchestrator.worker.composing import contents, quoting

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""

Find: TypeAlias = Callable[[str], Stored | None]
"""Finds a message of a chat by its identifier."""


class Own(Protocol):
    """What the account has sent: `messages.outbox.Outbox`."""

    def by_message(self, id: str) -> Row | None:  # noqa: A002 - as the outbox has it
        """Return the row that has become the message of that identifier, None if there is none."""

    def outgoing(self, number: int) -> Outgoing:
        """Return what a row sends.

        Raises:
            OrchestratorError: There is no such row, or it is over and its words are gone.
        """


class Nothing:
    """An account that has sent nothing."""

    def by_message(self, id: str) -> None:  # noqa: A002
        """Return nothing."""

    def outgoing(self, number: int) -> Outgoing:
        """Say that there is none."""
        raise OrchestratorError(f"there is no row {number}", key="message_unknown")


@contextlib.contextmanager
def inbox(messages: AccountMessages | None, names: tuple[str, ...]) -> Iterator[Find]:
    """Open the inbox; yield what finds a message of a chat there.

    Args:
        messages: Where the account's messages are kept, None if nowhere.
        names: All addresses of the chat.

    Raises:
        InboxError: The inbox cannot be read at the moment: whether it has a message is not known. What is
            yielded raises that, too.
    """
    with contextlib.ExitStack() as stack:
        reader = None
        if messages is not None:
            with contextlib.suppress(NoInbox):
                reader = stack.enter_context(contextlib.closing(messages.view()))

        def find(message: str) -> Stored | None:
            if reader is None:
                return None
            found = (reader.message(one, message) for one in names)
            return next((one for one in found if one is not None), None)

        yield find


def last(messages: AccountMessages | None, names: tuple[str, ...]) -> Stored | None:
    """Return the last message of a chat that the inbox has, None without one.

    Args:
        messages: Where the account's messages are kept, None if nowhere.
        names: All addresses of the chat.
    """
    if messages is None:
        return None
    try:
        with contextlib.closing(messages.view()) as reader:
            found = [one for name in names if (one := reader.latest(name)) is not None]
    except InboxError:
        return None
    return max(found, key=lambda one: one.seq, default=None)


def sent(own: Own, names: tuple[str, ...], message: str) -> Row | None:
    """Return the row of a message that the account has sent into a chat, None if it has sent no such one.

    Args:
        own: What it has sent.
        names: All addresses of the chat.
        message: WhatsApp's identifier.
    """
    row = own.by_message(message)
    # One whose fate nobody knows has an identifier, too, and may have arrived.
    return row if row is not None and row.to in names and row.state in (State.SENT, State.UNKNOWN) else None


def shown(own: Own, row: Row) -> Proto:
    """Return what an answer shows of a message that the account has sent, an empty one if nothing is left."""
    try:
        content = own.outgoing(row.number).content
    except OrchestratorError:
        return quoting.empty()
    match content:
        case Text():
            return contents.text(content, plain=True)
        case Media():
            return contents.pictured(content)
        case Location():
            return contents.location(content)
        case Contacts():
            return contents.contacts(content)
        case Poll():
            return contents.poll(content)
    return quoting.empty()
