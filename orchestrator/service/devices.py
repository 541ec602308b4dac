"""Which account of the running service uses which linked device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from orchestrator.accounts.duplicates import rival
from orchestrator.store import device

_Signature = tuple[int, ...] | None


class Devices:
    """The devices of the accounts, read from their sessions' files and remembered.

    Args:
        session: Returns the path of an account's session.
    """

    def __init__(self, session: Callable[[str], Path]) -> None:
        self._session = session
        self._known: dict[str, tuple[_Signature, frozenset[str]]] = {}
        self._uses: set[str] = set()

    def read(self, name: str, first: Iterable[str]) -> None:
        """Read an account's session and those of others, as far as they are not known; may take a moment.

        Args:
            name: The account that is to start.
            first: Those that come before it, and run or are to.
        """
        if self._read(name):
            unread = [other for other in list(self._uses) if other not in self._known]
            for other in (*unread, *(other for other in first if other not in self._uses)):
                if other != name:
                    self._read(other)

    def rival(self, name: str, order: list[str], runs: Collection[str]) -> str | None:
        """Return the account because of which this one may not start, by what was read.

        Args:
            name: The account that is to start.
            order: The accounts as the configuration has them.
            runs: Those that run, or are to.
        """
        known = dict(self._known)  # a thread may be adding to it
        return rival(name, {other: marks for other, (_, marks) in known.items()}, order, self._uses, runs)

    def use(self, name: str) -> None:
        """Note that an account starts: its device is its own until `free`."""
        self._uses.add(name)

    def free(self, name: str) -> None:
        """Note that an account has come to rest."""
        self._uses.discard(name)

    def changed(self, name: str) -> None:
        """Note that an account's session is another one, or that there is none any more."""
        self._known.pop(name, None)

    def _read(self, name: str) -> frozenset[str]:
        path = self._session(name)
        signature = _signature(path)
        known = self._known.get(name)
        if known is None or known[0] != signature:
            known = self._known[name] = signature, device.look(path).marks
        return known[1]


def _signature(path: Path) -> _Signature:
    """Return what changes when a file does, or its log beside it."""
    found: list[int] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        try:
            about = file.stat()
        except OSError:
            continue
        found += (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
    return tuple(found) or None
