"""All accounts of a cluster in one look: which machine runs each, and what was written down of it last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrator.accounts.names import is_name
from orchestrator.postgres.database import Connection
from orchestrator.store import status
from orchestrator.store.owned import Owned

LONGEST: Final = 65_536
"""Bytes of what is kept of an account that are read; it has about 1,000."""
_OVERLAP: Final = 20.0
"""Seconds by which a look goes back: some of what was written then was not committed at the look before."""

_LOOK: Final = """
SELECT a.name, s.name,
       extract(epoch FROM clock_timestamp() - s.until + interval '12 seconds')::float8,
       extract(epoch FROM clock_timestamp() - l.since)::float8,
       coalesce(t.written_at < l.since, true),
       extract(epoch FROM t.written_at)::float8,
       extract(epoch FROM clock_timestamp() - t.written_at)::float8,
       CASE WHEN t.written_at > to_timestamp(%(after)s) AND octet_length(t.kept::text) <= %(longest)s
         THEN t.kept::text END,
       t.clock::text
FROM orchestrator.account a
JOIN orchestrator.lease l ON l.account = a.id
LEFT JOIN orchestrator.shard s ON s.incarnation = l.incarnation AND s.until > clock_timestamp()
LEFT JOIN orchestrator.status t ON t.account = a.id
"""


class Looks:
    """Looks again and again, and reads only what has changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, status.Kept]] = {}

    def look(self, connection: Connection) -> Mapping[str, Owned]:
        """Return all accounts that the database knows, by name. One thread does so at a time."""
        newest = max((at for at, _ in self._known.values()), default=0.0)
        rows = connection.execute(
            _LOOK, {"after": max(0.0, newest - _OVERLAP), "longest": LONGEST}
        ).fetchall()
        known, found = self._known, dict[str, Owned]()
        self._known = {}
        for name, shard, lease_age, waiting, is_new, written_at, age, text, clock in rows:
            if not is_name(name):
                continue
            kept = status.Kept()
            if written_at is not None:
                at, kept = known.get(name, (0.0, kept))
                if text is not None and at != written_at:
                    kept = _read(text, clock)
                self._known[name] = (written_at, kept)
            found[name] = Owned(shard, lease_age, waiting, is_new, written_at, age or 0.0, kept)
        return found


def _read(text: str, clock: str) -> status.Kept:
    """Return what is kept of an account; what is damaged counts for nothing, and its owner says so."""
    try:
        return status.of_text(text, clock)
    except ValueError:
        return status.Kept()
