"""Opens the files of messages for those who fetch them, and sees that each is what its message is about."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from orchestrator.errors import OrchestratorError
from orchestrator.messages import media_files

Json: TypeAlias = dict[str, Any]

LARGEST: Final = 2 << 30
"""Bytes of a file that is handed on; WhatsApp takes none that are larger."""
AT_ONCE: Final = 2
"""Files of which the hash is made at the same time."""
REMEMBERED: Final = 1000
"""Files whose hash is remembered, until they change."""
_BLOCK: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class OpenMedia:
    """The file of a message, open to be read from its beginning; whoever gets it closes `file`.

    Attributes:
        file: It, checked to be what the message is about.
        size: Its bytes.
        sha256: Its hash in hexadecimal digits.
        about: What the event says of it (`data.media`): the words are a stranger's.
    """

    file: IO[bytes] = field(repr=False)
    size: int
    sha256: str
    about: Json = field(repr=False)


class Files:
    """The files of all accounts' messages.

    Args:
        messages: The folder of all messages.
    """

    def __init__(self, messages: Path) -> None:
        self._messages = messages
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._hashes: dict[tuple[int, ...], str] = {}

    async def open(self, account: str, media_id: str, about: Json) -> OpenMedia:
        """Open a file, if it is there.

        Args:
            account: The account; a valid name.
            media_id: The attachment's identifier, valid as well.
            about: What the event says of it.

        Raises:
            FileNotFoundError: It is not there.
            OrchestratorError: It cannot be opened, or is something else than the message is about.
        """
        wanted = about.get("sha256")
        if not isinstance(wanted, str):
            raise OrchestratorError("the message does not say what its attachment is", key="media_unfit")
        try:
            file = await asyncio.to_thread(media_files.open_file, self._messages / account, media_id)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise OrchestratorError(
                f"the attachment cannot be opened: {error.strerror or error}", key="media_altered"
            ) from None
        try:
            facts = os.fstat(file.fileno())
            found = await self._hash(file, facts) if facts.st_size <= LARGEST else None
            if found != wanted:
                raise OrchestratorError(
                    "the file is not what the message is about: it was changed on the disk",
                    key="media_altered",
                )
        except BaseException:
            file.close()
            raise
        return OpenMedia(file, facts.st_size, wanted, about)

    def holders(self, media_id: str, accounts: Collection[str]) -> Iterable[str]:
        """Yield the accounts that have a file of this name."""
        for account in sorted(accounts):
            if media_files.is_there(self._messages / account, media_id):
                yield account

    async def _hash(self, file: IO[bytes], facts: os.stat_result) -> str:
        key = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if (known := self._hashes.get(key)) is not None:
            return known
        async with self._turns:
            found = await asyncio.to_thread(_digest, file, facts.st_size)
        self._hashes[key] = found
        while len(self._hashes) > REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
        return found


def _digest(file: IO[bytes], size: int) -> str:
    """Return the hash of a file, which is then read from its beginning again."""
    digest = hashlib.sha256()
    left = size
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
    file.seek(0)
    return digest.hexdigest()
