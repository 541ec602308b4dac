"""The running service's codes in their folder: whatever befalls that, no account is held up.

Only a picture that was really written, and is still there, is named to anybody. One that cannot be written is
missed by its watchers until the next code; a terminal shows the code all the same. One that cannot be removed
would be taken for valid, so that is tried until it is done. While a code is shown, its picture is looked
after: whoever scans another one in its place links a stranger's phone.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from orchestrator.errors import StateError
from orchestrator.store.protocols import Codes
from orchestrator.system.os_errors import advice

RETRY_SECONDS = 1.0
"""Seconds between tries to remove what is out of date."""
GUARD_SECONDS = 1.0
"""Seconds between two looks whether the pictures are those that were written. A look takes microseconds."""
_REPLACED = (
    "somebody put another file in its place, and the service has removed that: see who may write there;"
    " the next code gets a new picture"
)

log = logging.getLogger(__name__)


class Pictures:
    """The pictures of all accounts' codes. What fails is logged when it begins and when it is over.

    Args:
        folder: Where they are shown.
        changed: Takes the name of an account whose picture is gone or back without an event of the account.
    """

    def __init__(self, folder: Codes, changed: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._changed = changed
        self._failing: dict[str, str] = {}
        self._shown: set[str] = set()
        self._unwritten: dict[str, str] = {}
        self._stale: set[str] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._guarded: set[str] = set()
        self._next_look: asyncio.TimerHandle | None = None

    def prepare(self, names: Iterable[str]) -> None:
        """Make the folder ready, and remove what is out of date; see `Codes.prepare`.

        Raises:
            StateError: The folder cannot be used.
        """
        self._folder.prepare(names)

    def shown(self, name: str) -> Path | None:
        """Return an account's picture, if it was written and is still there."""
        path = self._folder.path(name)
        return path if name in self._shown and os.path.lexists(path) else None

    def missing(self, name: str) -> str:
        """Say why an account that shows a code has no picture, and what to do."""
        why = self._unwritten.get(name, "another program has removed it; the next code gets a new one")
        place = self._folder.path(name).parent
        return f"no picture of its code is in {place}: {why}; {_instead(name)}"

    def about(self, name: str) -> tuple[Path | None, str | None]:
        """Return the picture of an account that shows a code, or why it has none."""
        shown = self.shown(name)
        return shown, None if shown else self.missing(name)

    def show(self, name: str, png: bytes, issued_at: float) -> None:
        """Put an account's picture into the folder, in place of the one before.

        Args:
            name: The account.
            png: The picture.
            issued_at: When the code was issued, in Unix seconds.
        """
        try:
            self._folder.show(name, png, issued_at)
        except (OSError, StateError) as error:
            text = error.args[0] if isinstance(error, StateError) else advice(error, "picture")
            self._failed(name, text, f"{_instead(name)} meanwhile")
            self.hide(name)
            self._unwritten[name] = text
        else:
            self._shown.add(name)
            self._unwritten.pop(name, None)
            self._stale.discard(name)
            self._works(name)
            self._guarded.add(name)
            self._look_later()

    def hide(self, name: str) -> None:
        """Remove an account's picture, if there is one: now, or as soon as that is possible."""
        self._shown.discard(name)
        self._guarded.discard(name)
        self._unwritten.pop(name, None)
        try:
            self._folder.hide(name)
        except OSError as error:
            self._stale.add(name)
            self._failed(name, advice(error, "picture"), "a code that is out of date cannot be removed")
            if self._retry is None:
                self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._hide_again)
        else:
            self._stale.discard(name)

    def stop(self) -> None:
        """Try no more; what is left then, the next start removes."""
        for timer in (self._retry, self._next_look):
            if timer is not None:
                timer.cancel()

    def _look_later(self) -> None:
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_later(GUARD_SECONDS, self._look)

    def _look(self) -> None:
        """See that what is shown was written here, and let nothing else stand in its place."""
        self._next_look = None
        for name in sorted(self._guarded):
            try:
                is_strange = self._folder.guard(name)
            except OSError as error:
                why = advice(error, "picture")
                self._replaced(
                    name, f"somebody put something else in its place that cannot be removed: {why}"
                )
            else:
                if is_strange:
                    self._replaced(name, _REPLACED)
        if self._guarded:
            self._look_later()

    def _replaced(self, name: str, why: str) -> None:
        if self._unwritten.get(name) != why:
            log.error(
                "%s: %s; whoever scans such a code links a stranger's phone", self._folder.path(name), why
            )
        self._shown.discard(name)
        self._unwritten[name] = why
        self._changed(name)

    def _hide_again(self) -> None:
        self._retry = None
        for name in sorted(self._stale):
            self.hide(name)
            if name not in self._stale:
                self._works(name)

    def _failed(self, name: str, why: str, then: str) -> None:
        is_new = why not in self._failing.values()
        self._failing[name] = why
        if is_new:
            log.error("%s: %s; %s", self._folder.path(name), why, then)

    def _works(self, name: str) -> None:
        if self._failing.pop(name, None) is not None and not self._failing:
            log.warning("%s: codes can be written again", self._folder.path(name).parent)


def _instead(name: str) -> str:
    return f"`orchestrator qr {name}` shows the code"
