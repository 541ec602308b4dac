"""Which account of the running service uses which linked device."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from orchestrator.accounts.duplicates import rival
from orchestrator.store.protocols import SessionStore


class Devices:
    """The devices of the accounts, read from their sessions and remembered.

    Args:
        sessions: The sessions.
    """

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions
        self._known: dict[str, tuple[Hashable, frozenset[str]]] = {}
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
        signature = self._sessions.signature(name)
        known = self._known.get(name)
        if known is None or known[0] != signature:
            known = self._known[name] = signature, self._sessions.device(name).marks
        return known[1]
