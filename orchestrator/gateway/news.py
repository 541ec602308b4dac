"""Hears that an inbox has something new: at once where the kernel tells, and by looking where it does not.

One watch of the folder of all messages does for all accounts, see `messages.bell`. It is made before the
gateway gives up making any. Beneath it, the files of each inbox are looked at every few seconds, which costs
some microseconds for each account.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.messages.database import DATABASE
from orchestrator.system.inotify import read_watch

log = logging.getLogger(__name__)

SLOW_SECONDS: Final = 5.0
"""Seconds between two looks at an inbox, where the kernel tells what is new."""
FAST_SECONDS: Final = 0.5
"""The same, where it does not."""
STORED_SECONDS: Final = 30.0
"""Seconds between two times at which an inbox in a database counts as new, where the kernel tells what is."""
UNTOLD_SECONDS: Final = 2.0
"""The same, where it does not."""
SPREAD: Final = 10
"""Parts in which the accounts are looked at, so that a look at 500 takes no time at once."""
LOOKS: Final = 4
"""Looks after a change at which an inbox still counts as new: its files change before readers see it."""

Signature: TypeAlias = tuple[int, ...]


class News:
    """Tells which inboxes may have something new.

    Args:
        messages: The folder of all messages.
        watch: What `open_watch` returned; it is closed in the end.
        accounts: Returns the names of the accounts that matter.
        heard: Called with an account's name, too often rather than too seldom; it returns at once.
        stored: Whether messages are in a database: then there is no file to look at, and who hears of an
            account looks there.
    """

    def __init__(
        self,
        messages: Path,
        watch: int | None,
        accounts: Callable[[], Iterable[str]],
        heard: Callable[[str], object],
        *,
        stored: bool = False,
    ) -> None:
        self._stored = stored
        self._messages = messages
        self._watch = watch
        self._accounts = accounts
        self._heard = heard
        self._seen: dict[str, tuple[Signature, int]] = {}  # and how many looks it still counts as new

    @property
    def is_told(self) -> bool:
        """Whether the kernel tells what is new."""
        return self._watch is not None

    async def run(self) -> None:
        """Listen until cancelled."""
        loop = asyncio.get_running_loop()
        if self._watch is None:
            log.warning(
                "the kernel does not tell when messages come in: inboxes are looked at twice a second"
            )
        else:
            loop.add_reader(self._watch, self._read)
        try:
            while True:
                await self._look_at_all()
        finally:
            self._give_up()

    async def _look_at_all(self) -> None:
        names = sorted(self._accounts())
        for gone in self._seen.keys() - names:
            del self._seen[gone]
        for part in range(SPREAD):
            await asyncio.sleep(self._pause / SPREAD)
            for name in names[part::SPREAD]:
                self.look(name)

    @property
    def _pause(self) -> float:
        if self._stored:
            return STORED_SECONDS if self.is_told else UNTOLD_SECONDS
        return SLOW_SECONDS if self.is_told else FAST_SECONDS

    def look(self, name: str) -> None:
        """Look whether the files of an inbox have changed, and tell it if so."""
        if self._stored:
            self._heard(name)
            return
        now = signature(self._messages / name)
        before, looks = self._seen.get(name, (None, LOOKS))
        looks = looks - 1 if now == before else LOOKS
        self._seen[name] = now, max(looks, 0)
        if looks > 0:
            self._heard(name)

    def _read(self) -> None:
        """Take in what the kernel tells."""
        assert self._watch is not None
        told = read_watch(self._watch)
        if told.over:
            # Another folder may be in its place, and a confined process can watch no other any more.
            log.warning("the folder of messages was moved: they are looked for twice a second")
            self._give_up()
        everybody = self._accounts() if told.missed or told.over else ()
        for name in dict.fromkeys([*filter(is_name, told.names), *everybody]):
            self._heard(name)

    def _give_up(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            asyncio.get_running_loop().remove_reader(watch)
            os.close(watch)


def signature(folder: Path) -> Signature:
    """Return what is different after every write to the inbox in a folder, as a rule."""
    found: list[int] = []
    for name in (DATABASE, f"{DATABASE}-wal"):
        try:
            about = os.stat(folder / name, follow_symlinks=False)  # noqa: PTH116
        except OSError:
            found.append(0)
        else:
            found += (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
    return tuple(found)
