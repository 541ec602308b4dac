"""The attachments of the account of this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.accounts.settings import Messages
from orchestrator.messages.database import NoInbox
from orchestrator.messages.media import HOST, Reference
from orchestrator.messages.media_files import MediaFiles
from orchestrator.messages.protocols import AccountMessages, InboxView
from orchestrator.messages.rendering import attachment, classes
from orchestrator.worker import events, proxy
from orchestrator.worker.media.fetcher import Fetcher, Policy, Waiting

log = logging.getLogger(__name__)


class InboxAttachments:
    """What the inbox of an account says about attachments.

    Args:
        messages: Where the account's messages are kept.
    """

    def __init__(self, messages: AccountMessages) -> None:
        self._messages = messages
        self._reader: InboxView | None = None

    def find(self, media: str) -> Reference:
        """See `fetcher.Attachments`."""
        entry = None if (reader := self._open()) is None else reader.find_media(media)
        if entry is None:
            raise MissingError(Fault.UNKNOWN)
        try:
            found = attachment.of_event(classes.get().Message.FromString(entry.raw))
        except DecodeError:
            found = None
        except Exception as error:  # noqa: BLE001 - a stranger has written the message
            # Not more than the name: what the error quotes may be what somebody wrote.
            log.error("a message with an attachment could not be read: %s", type(error).__name__)
            found = None
        if found is None:
            raise MissingError(Fault.UNFIT)
        return found

    def has(self, media: str) -> bool:
        """See `fetcher.Attachments`."""
        reader = self._open()
        return reader is not None and reader.find_media(media) is not None

    def after(self, seq: int, since: float) -> Sequence[Waiting]:
        """See `fetcher.Attachments`."""
        reader = self._open()
        return [] if reader is None else [Waiting(*one) for one in reader.with_media(seq, since)]

    def close(self) -> None:
        """See `fetcher.Attachments`."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> InboxView | None:
        if self._reader is None:
            try:
                self._reader = self._messages.view()
            except NoInbox:
                return None
        return self._reader


def fetcher(
    folder: Path,
    messages: AccountMessages,
    settings: Messages,
    own_proxy: str | None,
    put: Callable[[events.Event], None],
) -> Fetcher:
    """Return what fetches the attachments of an account.

    Args:
        folder: The folder of the account's messages, where attachments are.
        messages: Where its messages are kept.
        settings: What the configuration says about them.
        own_proxy: URL of the account's own proxy, None for what the environment says.
        put: Takes an event.
    """
    return Fetcher(
        MediaFiles(folder),
        InboxAttachments(messages),
        Policy(settings.media, settings.media_limit, settings.keep),
        way=lambda: proxy.find(own_proxy, os.environ, HOST),
        answer=lambda number, fault, about: put(events.FetchEnded(number, fault, about)),
    )
