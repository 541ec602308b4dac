"""Files that clients have uploaded to be sent: kept in the gateway's folder for 30 days, within a quota.

On the disk a file has a random number for its name. What the client calls the file is in an SQLite table
beside it, and goes with it: what is deleted there is overwritten, in the write-ahead log as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from orchestrator.accounts import attachments
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.notebook import Notebook, in_thread
from orchestrator.sending.media_types import HEAD_BYTES, sniff
from orchestrator.system import files
from orchestrator.system.transactions import transaction

log = logging.getLogger(__name__)

KEEP_SECONDS: Final = 30 * 86_400.0
"""How long an upload is kept: as long as the Cloud API keeps one."""
MOST_BYTES: Final = 4 << 30
"""Bytes of all uploads together."""
MOST_BYTES_OF_ONE: Final = 1 << 30
"""Bytes of the uploads of one client."""
MOST_FETCHED_BYTES: Final = 256 << 20
"""Bytes of what was fetched for the requests of one client. The oldest goes: it can be fetched again."""
MOST_OF_ONE: Final = 5_000
"""Uploads of one client."""
MOST_FETCHED: Final = 1_000
"""Files that were fetched for the requests of one client."""
SPARE_BYTES: Final = 256 << 20
"""Bytes that an upload leaves free on the disk: the accounts' own files need room."""
CLEAR_SECONDS: Final = 3600.0
"""How often uploads that were kept long enough are deleted."""
LONGEST_NAME: Final = 200
"""Characters of a file's name, and fewer if they are more than 255 bytes."""

FOLDER: Final = "uploads"
TABLE: Final = "uploads.sqlite3"
_BLOCK: Final = 256 << 10
_TABLES: Final = """
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, owner BLOB NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, mime_type TEXT NOT NULL, name TEXT, created REAL NOT NULL, until REAL NOT NULL,
    source BLOB
) STRICT;
CREATE INDEX uploads_owner ON uploads (owner);
CREATE INDEX uploads_source ON uploads (source) WHERE source IS NOT NULL;
"""
_COLUMNS: Final = "id, account, sha256, size, mime_type, name, created"


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file.

    Attributes:
        id: What it is known by: 63 random bits in decimal digits.
        account: The account that may send it.
        sha256: Its hash, in hexadecimal digits.
        size: Its bytes.
        mime_type: Its type, by its first bytes.
        name: What the client calls it, in a safe form; None if the client does not say.
        created_at: When it was uploaded, in Unix seconds.
    """

    id: str
    account: str
    sha256: str
    size: int
    mime_type: str
    name: str | None = field(default=None, repr=False)
    created_at: float = 0.0


class _Room(NamedTuple):
    """Bytes that one client, and all, may be writing at once."""

    of_one: int
    of_all: int


class Uploads:
    """The uploads of all accounts. Its methods may be called from any task; the disk is used in threads.

    Args:
        folder: The gateway's folder.
        wall: Returns Unix seconds.
    """

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self._book = Notebook(
            folder / TABLE,
            _TABLES,
            lost="clients have to upload their files again",
            on_open=lambda _: self._folder.mkdir(mode=0o700, exist_ok=True),
        )
        self._folder = folder / FOLDER
        self._wall = wall
        self._writing: dict[str, bytes] = {}
        self._written: Counter[bytes] = Counter()

    async def save(
        self,
        pieces: AsyncIterable[bytes],
        account: str,
        owner: str,
        *,
        most: int,
        name: str | Callable[[], str | None] | None = None,
        source: bytes | None = None,
        keep: float = KEEP_SECONDS,
    ) -> Upload:
        """Keep a file.

        Args:
            pieces: Its bytes, in order.
            account: The account that may send it.
            owner: Who brings it, such as the kind and the id of a token: each has a quota.
            most: How many bytes it may have.
            name: What the client calls it, or what returns that once all of the file has come.
            source: What a file that was fetched for a request is found again by; None for an upload. Such
                files have a quota of their own, and make room for each other.
            keep: For how many seconds it is kept.

        Raises:
            OrchestratorError: It is empty (`file_unfit`), too large (`file_too_large`), or there is no room
                (`uploads_full`). What was written of it is gone.
        """
        who = hashlib.sha256(f"{'upload' if source is None else 'fetched'} {owner}".encode()).digest()
        media_id = str(secrets.randbelow(attachments.MOST) + 1)
        size = 0
        self._writing[media_id] = who
        file: BinaryIO | None = None
        try:
            beside = [one for one, whose in self._writing.items() if whose == who and one != media_id]
            out, room = await self._book.run(lambda: self._begin(media_id, who, beside))
            file = out
            digest, head, block = hashlib.sha256(), b"", bytearray()
            async for piece in pieces:
                size += len(piece)
                self._written[who] += len(piece)
                if size > most:
                    raise OrchestratorError("the file is too large", key="file_too_large")
                if self._written[who] > room.of_one or self._written.total() > room.of_all:
                    raise _full()
                head += piece[: HEAD_BYTES - len(head)]
                block += piece
                if len(block) >= _BLOCK:
                    await in_thread(_writer(out, digest, block))
                    if await self._book.run(self._free_bytes) < 0:
                        raise _full()
                    block = bytearray()
            if not size:
                raise OrchestratorError("the file is empty", key="file_unfit")
            await in_thread(_writer(out, digest, block, sync=True))
            now = self._wall()
            called = safe_name(name() if callable(name) else name)
            upload = Upload(media_id, account, digest.hexdigest(), size, sniff(head), called, now)
            await self._book.run(lambda: self._add(upload, who, now + keep, source))
        except BaseException:
            with contextlib.suppress(OSError):  # `clear` tries again
                self._path(media_id).unlink()
            raise
        finally:
            if file is not None:
                file.close()
            self._written[who] -= size
            del self._writing[media_id]
        return upload

    async def find(self, media_id: str, accounts: Collection[str]) -> Upload:
        """Return an upload.

        Raises:
            OrchestratorError: There is none of that name for these accounts (`file_missing`).
        """
        found = await self._book.run(lambda: self._select("id = ? AND until > ?", media_id, self._wall()))
        if found is None or found.account not in accounts:
            raise _missing()
        return found

    async def fetched(self, source: bytes) -> Upload | None:
        """Return the file that was fetched for a request before, None if there is none."""
        return await self._book.run(lambda: self._select("source = ? AND until > ?", source, self._wall()))

    async def open(self, media_id: str, accounts: Collection[str]) -> tuple[Upload, BinaryIO]:
        """Return an upload and its file, open to be read. Whoever gets it closes it.

        Raises:
            OrchestratorError: There is none of that name for these accounts (`file_missing`).
        """
        upload = await self.find(media_id, accounts)
        try:
            return upload, await in_thread(lambda: os.fdopen(files.open_file(self._path(media_id)), "rb"))
        except FileNotFoundError:  # somebody has deleted it
            raise _missing() from None
        except OSError as error:
            raise self._book.unusable(error) from None

    async def delete(self, media_id: str, accounts: Collection[str]) -> None:
        """Delete an upload.

        Raises:
            OrchestratorError: There is none of that name for these accounts (`file_missing`).
        """
        await self.find(media_id, accounts)
        await self._book.run(lambda: self._delete([media_id]))

    async def forget(self, accounts: Collection[str]) -> None:
        """Delete the uploads of accounts that are gone."""
        if accounts:
            await self._book.run(lambda: self._forget(accounts))

    async def clear(self) -> int:
        """Delete what was kept long enough, and files that belong to nothing; return how many uploads."""
        return await self._book.run(self._clear)

    async def run(self) -> None:
        """Clear from time to time, until cancelled."""
        while True:
            try:
                await self.clear()
            except OrchestratorError as error:
                log.warning("%s", error)
            await asyncio.sleep(CLEAR_SECONDS)

    async def close(self) -> None:
        """Close the table."""
        await self._book.close()

    # In a thread, with the lock

    def _begin(self, media_id: str, who: bytes, beside: Iterable[str]) -> tuple[BinaryIO, _Room]:
        """Open a new file, and return it with the bytes that may be written at present.

        Args:
            media_id: Its name.
            who: Whoever brings it.
            beside: The names of files that they had begun to bring before. Some may be in the table by now.
        """
        connection = self._book.connection()
        count, own = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM uploads WHERE owner = ?", (who,)
        ).fetchone()
        (in_all,) = connection.execute("SELECT coalesce(sum(size), 0) FROM uploads").fetchone()
        room = _Room(MOST_BYTES_OF_ONE - own, min(MOST_BYTES - in_all, self._free_bytes()))
        stored = "SELECT 1 FROM uploads WHERE id = ?"
        coming = [one for one in beside if one in self._writing]
        count += sum(connection.execute(stored, (one,)).fetchone() is None for one in coming)
        if count >= MOST_OF_ONE:
            raise _full()
        file = os.fdopen(files.open_file(self._path(media_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        return file, room

    def _free_bytes(self) -> int:
        """Return how many bytes uploads may still take of the disk."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize - SPARE_BYTES

    def _add(self, upload: Upload, who: bytes, until: float, source: bytes | None) -> None:
        files.sync_folder(self._folder)
        with transaction(self._book.connection()) as connection:
            own, in_all = connection.execute(
                "SELECT coalesce(sum(size) FILTER (WHERE owner = ?), 0), coalesce(sum(size), 0) FROM uploads",
                (who,),
            ).fetchone()
            # Others may have ended since this one began.
            if own + upload.size > MOST_BYTES_OF_ONE or in_all + upload.size > MOST_BYTES:
                raise _full()
            connection.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (upload.id, upload.account, who, upload.sha256, upload.size, upload.mime_type, upload.name,
                 upload.created_at, until, source),
            )  # fmt: skip
        if source is not None:
            self._make_room(who)

    def _make_room(self, who: bytes) -> None:
        """Delete the oldest files that were fetched for a client, if there are too many."""
        query = "SELECT id, size FROM uploads WHERE owner = ? ORDER BY created DESC, rowid DESC"
        total, over = 0, []
        for count, (number, size) in enumerate(self._book.connection().execute(query, (who,)).fetchall()):
            total += size
            if total > MOST_FETCHED_BYTES or count >= MOST_FETCHED:
                over.append(str(number))
        if over:
            self._delete(over)

    def _forget(self, accounts: Collection[str]) -> None:
        rows = self._book.connection().execute("SELECT id, account FROM uploads").fetchall()
        gone = [str(number) for number, account in rows if account in accounts]
        if gone:
            self._delete(gone)

    def _select(self, where: str, *values: object) -> Upload | None:
        row = (
            self._book.connection()
            .execute(f"SELECT {_COLUMNS} FROM uploads WHERE {where}", values)
            .fetchone()
        )
        return None if row is None else Upload(*row)

    def _delete(self, ids: Collection[str]) -> None:
        with transaction(self._book.connection()) as connection:
            connection.executemany("DELETE FROM uploads WHERE id = ?", [(one,) for one in ids])
        for one in ids:
            self._path(one).unlink(missing_ok=True)
        self._book.truncate()

    def _clear(self) -> int:
        now = self._wall()
        # One that is said to be of the future was uploaded while the clock was wrong.
        rows = self._book.connection().execute("SELECT id FROM uploads WHERE until <= ? OR created > ?",
                                    (now, now + KEEP_SECONDS)).fetchall()  # fmt: skip
        over = [str(one) for (one,) in rows]
        if over:
            self._delete(over)
        known = {str(one) for (one,) in self._book.connection().execute("SELECT id FROM uploads")}
        for entry in os.scandir(self._folder):
            if entry.name not in known and entry.name not in self._writing:
                os.unlink(entry.path)  # noqa: PTH108 - its writer was killed
        return len(over)

    def _path(self, media_id: str) -> Path:
        assert attachments.is_id(media_id)
        return self._folder / media_id


def safe_name(name: str | None) -> str | None:
    """Return what a client calls a file, without what a path or a screen could take for something else.

    Returns:
        The last part of the name: printable, no dots in front, at most 255 bytes; None if nothing is left.
    """
    if not name:
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(one for one in last if one.isprintable())
    plain = plain.strip().lstrip(".").strip()[:LONGEST_NAME]
    while len(plain.encode("utf-8", "replace")) > 255:
        plain = plain[:-1]
    return plain.strip() or None


def _writer(
    file: BinaryIO, digest: hashlib._Hash, block: bytearray, *, sync: bool = False
) -> Callable[[], None]:
    def write() -> None:
        digest.update(block)
        try:
            file.write(block)
            if sync:
                files.sync(file)
        except OSError:
            raise _full() from None

    return write


def _missing() -> OrchestratorError:
    return OrchestratorError("there is no upload of that number for the account", key="file_missing")


def _full() -> OrchestratorError:
    return OrchestratorError("there is no room for more uploads: delete some", key="uploads_full")
