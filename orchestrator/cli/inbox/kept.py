"""Where commands read messages: in the accounts' files, or in the database of all accounts."""

from __future__ import annotations

import functools
import os
import socket
from typing import Protocol

from orchestrator.accounts.names import is_name
from orchestrator.cli.ending import UNTIL_THE_END
from orchestrator.cli.invocation import Places
from orchestrator.messages.outbox import NoOutbox, OutboxReader
from orchestrator.messages.present import AnyPresent, Present, RemotePresent, identity_of, unreadable
from orchestrator.messages.protocols import OutboxView
from orchestrator.messages.remote import Channel, RemoteMessages
from orchestrator.store import inboxes
from orchestrator.store.layout import OUTBOX, StatePaths


class Kept(Protocol):
    """Where messages are kept."""

    def present(self, name: str) -> AnyPresent:
        """Return what reads the inbox of an account."""

    def rows(self, name: str) -> OutboxView:
        """Open the outbox of an account.

        Raises:
            NoOutbox: There is none.
            StateError: It cannot be read.
        """

    def names(self) -> list[str]:
        """Return the names of the accounts that have an inbox, in alphabetical order.

        Raises:
            StateError: This user may not look.
        """

    def exists(self, name: str) -> bool:
        """Tell whether an account has an inbox or an outbox.

        Raises:
            StateError: This user may not look.
        """

    def renamed(self, name: str, present: AnyPresent) -> str | None:
        """Return what the account is called now whose inbox was read under a name, None if that is not known.

        Args:
            name: The name.
            present: What has read it.
        """


class InFolders:
    """Messages in the files of each account.

    Args:
        paths: The state folder.
    """

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths

    def present(self, name: str) -> Present:
        """See `Kept.present`."""
        return Present(self._paths.message_folder(name))

    def rows(self, name: str) -> OutboxReader:
        """See `Kept.rows`."""
        folder = self._paths.message_folder(name)
        if identity_of(folder, OUTBOX) is None:
            raise NoOutbox(f"{name} has no outbox: nothing was to be sent yet")
        return OutboxReader.open(folder)

    def names(self) -> list[str]:
        """See `Kept.names`."""
        place = self._paths.messages
        try:
            os.scandir(place).close()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable(place, error) from None
        return inboxes.names(place)

    def exists(self, name: str) -> bool:
        """See `Kept.exists`."""
        if not is_name(name):
            return False
        folder = self._paths.message_folder(name)
        return identity_of(folder) is not None or identity_of(folder, OUTBOX) is not None

    def renamed(self, name: str, present: AnyPresent) -> str | None:
        """See `Kept.renamed`."""
        new = inboxes.was_renamed(self._paths.message_folder(name))
        # Another inbox under that name is none of those that were followed.
        if new is None or identity_of(self._paths.message_folder(new)) != present.followed:
            return None
        return new


class InDatabase:
    """Messages in the database of all accounts.

    Args:
        paths: The state folder, where attachments are.
        channel: Where they are asked for.
    """

    def __init__(self, paths: StatePaths, channel: Channel) -> None:
        self._paths = paths
        self._channel = channel

    def present(self, name: str) -> RemotePresent:
        """See `Kept.present`."""
        return RemotePresent(self._paths.message_folder(name), RemoteMessages(self._channel.of(name)))

    def rows(self, name: str) -> OutboxView:
        """See `Kept.rows`."""
        return RemoteMessages(self._channel.of(name)).rows()

    def names(self) -> list[str]:
        """See `Kept.names`."""
        return sorted(self._channel.of("").ask("accounts"))

    def exists(self, name: str) -> bool:
        """See `Kept.exists`."""
        return is_name(name) and name in self.names()

    def renamed(self, name: str, present: AnyPresent) -> str | None:  # noqa: ARG002
        """See `Kept.renamed`."""
        return None


def kept(where: Places) -> Kept:
    """Return where messages are kept.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder or the database makes no sense.
        StateError: The path of the state folder is too long, or the database cannot be used.
    """
    if where.may_have_store() and where.settings().store is not None:
        return InDatabase(where.state(), _channel(where))
    return InFolders(where.state())


@functools.cache
def _channel(where: Places) -> Channel:
    from orchestrator.service import stores

    sock: socket.socket = UNTIL_THE_END.enter_context(stores.reading(where.settings()))
    return Channel(sock)
