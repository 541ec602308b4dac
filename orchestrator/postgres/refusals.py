"""What all shards know of a version of the client that WhatsApp refuses; `accounts.refusal` decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.accounts.refusal import Refusal, Word, hear
from orchestrator.postgres.database import Connection

MAX_LIBRARY: Final = 100
"""Characters of a version."""
_OLD: Final = "7 days"
"""After which a version that nobody has tried is one that nobody runs."""

_READ: Final = """
SELECT refused, extract(epoch FROM since)::float8, wait, extract(epoch FROM probe_at)::float8, canary::text,
  account, extract(epoch FROM until)::float8
FROM orchestrator.refusal WHERE library = %s
"""
_MAKE: Final = "INSERT INTO orchestrator.refusal (library) VALUES (%s) ON CONFLICT DO NOTHING"
_LOCK: Final = "SELECT FROM orchestrator.refusal WHERE library = %s FOR UPDATE"
_WRITE: Final = """
UPDATE orchestrator.refusal SET refused = %s, since = %s, wait = %s, probe_at = %s, canary = %s, account = %s,
  until = %s, written_at = clock_timestamp()
WHERE library = %s
"""
_FORGET: Final = """
DELETE FROM orchestrator.refusal WHERE library <> %s AND written_at < clock_timestamp() - %s::interval
"""
_SEEN: Final = """
SELECT r.library, extract(epoch FROM clock_timestamp() - r.since)::float8,
  nullif(greatest(extract(epoch FROM r.probe_at - clock_timestamp())::float8, 0), 0), s.name,
  CASE WHEN s.name IS NOT NULL THEN r.account END
FROM orchestrator.refusal r LEFT JOIN orchestrator.shard s ON s.incarnation = r.canary
WHERE r.since IS NOT NULL ORDER BY r.library
"""


def tell(
    connection: Connection, library: str, word: Word, who: str, check: Callable[[Connection], object]
) -> tuple[Refusal | None, float]:
    """Tell the other shards what this one knows of a version, and return what all of them know by then.

    Args:
        connection: The database.
        library: The version.
        word: What this shard knows.
        who: The shard, by its incarnation.
        check: Raises if the shard may not write.

    Returns:
        What is known, None if nothing is said against the version; and the time there, in Unix seconds.
    """
    library = library[:MAX_LIBRARY]
    known, at = _read(connection, library), _now(connection)
    if hear(known, word, who, at) == known:
        return known, at  # most of the time: nobody locks anything
    check(connection)
    connection.execute(
        "INSERT INTO orchestrator.refusal (library) VALUES (%s) ON CONFLICT DO NOTHING", [library]
    )
    connection.execute(_LOCK, [library])
    known, at = _read(connection, library), _now(connection)
    known = hear(known, word, who, at)
    if known is None:
        connection.execute("DELETE FROM orchestrator.refusal WHERE library = %s", [library])
    else:
        times = map(_time, (known.since, known.probe_at, known.until))
        since, probe_at, until = times
        connection.execute(
            _WRITE,
            [list(known.refused), since, known.wait, probe_at, known.canary, known.account, until, library],
        )
    connection.execute(_FORGET, [library, _OLD])
    return known, at


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """A version that WhatsApp refuses, for people.

    Attributes:
        library: The version.
        seconds: For how long no account has started by itself.
        next_in: Seconds until the next account tries, None if one may try now.
        shard: The shard whose turn it is; None while it is nobody's.
        account: Its account that tries.
    """

    library: str
    seconds: float
    next_in: float | None
    shard: str | None
    account: str | None


def look(connection: Connection) -> tuple[RefusalSeen, ...]:
    """Return the versions that hold accounts."""
    rows = connection.execute(_SEEN).fetchall()
    return tuple(RefusalSeen(*row) for row in rows)


def _read(connection: Connection, library: str) -> Refusal | None:
    row: Any = connection.execute(_READ, [library]).fetchone()
    if row is None:
        return None
    refused, *rest = row
    # One that was only just made says nothing yet.
    return Refusal(tuple(map(str, refused)), *rest) if refused else None


def _now(connection: Connection) -> float:
    row: Any = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    return float(row[0])


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
