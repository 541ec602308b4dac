"""The inbox that an account has at present: it can move, come back, or begin anew while it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from orchestrator.errors import StateError
from orchestrator.messages.database import DATABASE, PATIENCE, NoInbox
from orchestrator.messages.entry import Stored
from orchestrator.messages.inbox import Reader
from orchestrator.messages.protocols import AccountMessages, InboxView
from orchestrator.messages.rendering import Event, render

Identity: TypeAlias = tuple[int, int]
"""Which file an inbox is: its device and inode."""


class AnyPresent(Protocol):
    """The inbox that an account has at present, wherever messages are kept.

    Attributes:
        folder: The folder of the account's messages.
        reader: The inbox; None if there was none when it was opened.
    """

    folder: Path

    @property
    def reader(self) -> InboxView | None:
        """The inbox; None if there was none when it was opened."""

    @property
    def has_moved(self) -> bool:
        """Whether another inbox is there now than the open one, or none, or none was open."""

    @property
    def followed(self) -> Identity | None:
        """Which file the inbox was that was opened last, None if it is no file."""

    def open(self) -> bool:
        """Open the inbox that is there now, unless it is open; tell whether there is one."""

    def render(self, stored: Stored, account: str) -> Event | None:
        """Return the event of an entry, None if the entry says nothing to a consumer."""

    def close(self) -> None:
        """Close what is open."""


class RemotePresent:
    """The inbox of an account that somebody else keeps.

    Args:
        folder: The folder of the account's messages, where attachments are.
        messages: Where its messages are kept.
        skipped: Called with the number of an entry that is none, which is left out.
    """

    def __init__(
        self,
        folder: Path,
        messages: AccountMessages,
        skipped: Callable[[object], object] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.reader: InboxView | None = None
        self._messages = messages
        self._skipped = skipped

    @property
    def has_moved(self) -> bool:
        """Whether it was not opened yet: it does not move."""
        return self.reader is None

    @property
    def followed(self) -> None:
        """See `AnyPresent.followed`."""

    def open(self) -> bool:
        """See `Present.open`."""
        if self.reader is None:
            self.reader = self._messages.view(self._skipped)
        return True

    def render(self, stored: Stored, account: str) -> Event | None:
        """See `Present.render`."""
        assert self.reader is not None
        return render(stored, account, self.reader.message)

    def close(self) -> None:
        """See `Present.close`."""
        self.reader = None


class Present:
    """The inbox that lies in a folder at present, to be read.

    Args:
        folder: The folder of an account's messages, which need not be there.
        skipped: Called with the number of an entry that is none, which is left out.
        patience: Seconds to wait for a writer that holds the inbox.

    Attributes:
        folder: The folder.
        reader: The inbox; None if none was there when it was opened.
        identity: Which file it is.
        followed: Which file the inbox was that was opened last.
    """

    def __init__(
        self,
        folder: Path,
        skipped: Callable[[object], object] = lambda _: None,
        patience: float = PATIENCE,
    ) -> None:
        self.folder = folder
        self.reader: Reader | None = None
        self.identity: Identity | None = None
        self.followed: Identity | None = None
        self._skipped = skipped
        self._patience = patience

    def open(self) -> bool:
        """Open the inbox that is there now, unless it is open; tell whether there is one.

        Raises:
            StateError: It cannot be read.
        """
        identity = identity_of(self.folder)
        if self.reader is not None and identity == self.identity and self.reader.is_current:
            return True
        self.close()
        if identity is None:
            return False
        try:
            self.reader = Reader.open(self.folder, self._skipped, self._patience)
        except NoInbox:
            return False
        self.identity = self.followed = identity
        return True

    @property
    def has_moved(self) -> bool:
        """Whether another inbox is there now than the open one, or none, or none was open.

        Raises:
            StateError: This user may not look.
        """
        return self.reader is None or identity_of(self.folder) != self.identity

    def render(self, stored: Stored, account: str) -> Event | None:
        """Return the event of an entry, None if the entry says nothing to a consumer.

        Args:
            stored: An entry of the open inbox.
            account: The name of the account.

        Raises:
            InboxError: The inbox cannot be read.
        """
        return render(stored, account, self._look_up)

    def close(self) -> None:
        """Close what is open."""
        if self.reader is not None:
            self.reader.close()
        self.reader = self.identity = None

    def _look_up(self, chat: str, message: str) -> Stored | None:
        assert self.reader is not None
        return self.reader.message(chat, message)


def identity_of(folder: Path, name: str = DATABASE) -> Identity | None:
    """Return which file an account's inbox is, None if there is none.

    Args:
        folder: The folder of the account's messages.
        name: The name of another database in there, such as the outbox.

    Raises:
        StateError: This user may not look.
    """
    try:
        about = os.stat(folder / name, follow_symlinks=False)  # noqa: PTH116 - like all that is stat()ed
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(folder, error) from None
    return about.st_dev, about.st_ino


def unreadable(folder: Path, error: OSError) -> StateError:
    """Return the error that says that messages cannot be read, and what to do."""
    return StateError(
        f"{folder}: the messages cannot be read ({error.strerror}): run this command as the service's"
        " user, with `sudo -u`",
        key="permission_denied" if isinstance(error, PermissionError) else None,
    )
