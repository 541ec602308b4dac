"""Where the service has messages kept: in each account's files, or in the database of all accounts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from orchestrator.errors import StateError
from orchestrator.messages.bell import Bell
from orchestrator.messages.outbox import NoOutbox, alone
from orchestrator.messages.protocols import OutboxStore
from orchestrator.messages.remote import Channel, RemoteOutbox
from orchestrator.messages.serving import Keeper, Serving
from orchestrator.store.layout import OUTBOX

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection, Database

Folder = Callable[[str], Path]
"""Returns the folder of an account's messages."""


class Messages(Protocol):
    """What the service needs of wherever messages are kept."""

    @property
    def are_stored(self) -> bool:
        """Whether they are in the database, and not in files."""

    def channel(self, name: str) -> socket.socket | None:
        """Return the end of a socket by which an account's process has its messages stored; None: in files.

        Raises:
            OSError: There is no socket to be had.
        """

    def outbox(self, name: str, *, makes: bool = True) -> AbstractContextManager[OutboxStore]:
        """Open the outbox of an account that has no process. It blocks.

        Args:
            name: The account.
            makes: Whether it is made if there is none.

        Raises:
            NoOutbox: There is none.
            OutboxError, StateError: It cannot be used.
        """

    def read(self, sock: socket.socket) -> None:
        """Answer somebody who reads messages, at the other end of a socket.

        Raises:
            StateError: Messages are in files, which everybody reads who may.
        """

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End. It blocks."""


class InFiles:
    """Messages in the files of each account.

    Args:
        folder: Returns the folder of an account's messages.
    """

    are_stored = False

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def channel(self, name: str) -> None:
        """See `Messages.channel`."""

    @contextmanager
    def outbox(self, name: str, *, makes: bool = True) -> Iterator[OutboxStore]:
        """See `Messages.outbox`."""
        folder = self._folder(name)
        if not makes and not (folder / OUTBOX).exists():
            raise NoOutbox("the account has no outbox: nothing was ever to be sent")
        with alone(folder) as outbox:
            yield outbox

    def read(self, sock: socket.socket) -> None:
        """See `Messages.read`."""
        sock.close()
        raise StateError("messages are kept in files here: read those", key="bad_request")

    def start(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class InDatabase:
    """Messages in the database of all accounts, which one thread writes and another one reads.

    Args:
        writer: Writes into the database.
        reader: Reads there, and cannot write.
        lost: Told, in a thread, that the database cannot be reached.
    """

    are_stored = True

    def __init__(self, writer: Keeper, reader: Keeper, lost: Callable[[], object] = lambda: None) -> None:
        self._writing = Serving(writer, lost)
        self._reading = Serving(reader)

    def channel(self, name: str) -> socket.socket:
        """See `Messages.channel`."""
        return self._writing.open(name)

    @contextmanager
    def outbox(self, name: str, *, makes: bool = True) -> Iterator[OutboxStore]:  # noqa: ARG002
        """See `Messages.outbox`. There always is one."""
        channel = Channel(self._writing.open(name))
        try:
            yield RemoteOutbox(channel)
        finally:
            channel.close()

    def read(self, sock: socket.socket) -> None:
        """See `Messages.read`."""
        self._reading.adopt(sock)

    def start(self) -> None:
        """See `Messages.start`."""
        self._writing.start()
        self._reading.start()

    def close(self) -> None:
        """See `Messages.close`."""
        self._writing.close()
        self._reading.close()


def in_database(
    database: Database,
    folder: Folder,
    check: Callable[[Connection], object],
    lost: Callable[[], object] = lambda: None,
) -> InDatabase:
    """Return what keeps messages in a database.

    Args:
        database: The database.
        folder: Returns the folder of an account's messages, which tells that there is something new.
        check: Raises, within a transaction, if the accounts belong to another service by now.
        lost: Told, in a thread, that the database cannot be reached.
    """
    from orchestrator.postgres.messages.reading import ReadOnly
    from orchestrator.postgres.messages.writer import Writer

    writer = Writer(database, uuid4(), told=lambda name: ring(folder(name)), check=check)
    return InDatabase(writer, ReadOnly(database), lost)


def ring(folder: Path) -> None:
    """Tell those who watch the folder of all messages that an account has something new; never raises."""
    bell = Bell(folder)
    bell.ring()
    bell.close()
