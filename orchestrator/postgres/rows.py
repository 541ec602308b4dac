"""The statements by which what is written down of accounts gets into its tables, and out of them."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from orchestrator.accounts.names import is_name
from orchestrator.postgres import ids
from orchestrator.postgres.database import Connection, notify
from orchestrator.postgres.pending import Batch, Code, Entry
from orchestrator.store import plain
from orchestrator.store.timeline import KEPT_SECONDS
from orchestrator.system.clock import Reading

CODES: Final = "orchestrator_code"
"""Where a hint is given that a code was written or removed. It says nothing of the code."""
LEAST_KEPT: Final = 4000
"""Entries of an account that are kept however old they are, as in the newest file of a timeline."""
MOST_KEPT: Final = 32_000
"""Entries of an account that are kept at the most, as in all files of a timeline."""
NUMBERS: Final = 10**15
"""Higher than the number of any entry but one."""
_TIDY: Final = 256
"""One of so many entries has older ones be looked at."""
_PIECE: Final = 200
"""Entries that are read at once."""

_APPEND: Final = """
INSERT INTO orchestrator.history (account, n, mark, at, entry)
SELECT %(account)s, greatest(
         coalesce((SELECT max(n) FROM orchestrator.history WHERE account = %(account)s), 0) + 1,
         least(greatest(floor(%(at)s)::bigint, 1), 5e14::bigint)
       ), %(mark)s, to_timestamp(%(at)s), %(entry)s::json
ON CONFLICT (account, mark) DO NOTHING
RETURNING n
"""
_APPEND_LATE: Final = _APPEND.replace(
    "ON CONFLICT",
    "WHERE NOT EXISTS (SELECT FROM orchestrator.history WHERE account = %(account)s"
    " AND at > to_timestamp(%(at)s))\nON CONFLICT",
)
"""What another machine has written meanwhile is newer, and says how the account has gone on."""
_FORGET: Final = """
DELETE FROM orchestrator.history WHERE account = %(account)s AND (
  place < (SELECT place FROM orchestrator.history WHERE account = %(account)s
           ORDER BY place DESC OFFSET %(most)s LIMIT 1)
  OR at < to_timestamp(%(old)s)
  AND place < (SELECT place FROM orchestrator.history WHERE account = %(account)s
               ORDER BY place DESC OFFSET %(least)s LIMIT 1))
"""


# What is written


def write(connection: Connection, batch: Batch, now: Callable[[], float] = time.monotonic) -> None:
    """Write a batch."""
    known: dict[str, str] = {}

    def of(name: str) -> str:
        if name not in known:
            known[name] = ids.of(connection, name)
        return known[name]

    _write_status(connection, batch, of)
    for key, value in sorted(batch.facts.items()):
        _write_fact(connection, key, value)
    for entry in batch.entries:
        _append(connection, of(entry.account), entry)
    _write_codes(connection, batch.codes, of, now)


def _write_status(connection: Connection, batch: Batch, of: Callable[[str], str]) -> None:
    clock = json.dumps(Reading.take().as_json())
    # In one order, so that no two services wait for each other.
    for name in sorted(batch.status):
        if (text := batch.status[name]) is None:
            connection.execute(
                "DELETE FROM orchestrator.status USING orchestrator.account"
                " WHERE account.id = status.account AND account.name = %s",
                [name],
            )
            continue
        connection.execute(
            "INSERT INTO orchestrator.status (account, kept, clock) VALUES (%s, %s::json, %s::json)"
            " ON CONFLICT (account) DO UPDATE SET kept = excluded.kept, clock = excluded.clock,"
            " written_at = clock_timestamp()",
            [of(name), text, clock],
        )
    if batch.alone:
        connection.execute(
            "DELETE FROM orchestrator.status USING orchestrator.account"
            " WHERE account.id = status.account AND account.name <> ALL (%s)",
            [[name for name, text in batch.status.items() if text is not None]],
        )


def _write_fact(connection: Connection, key: str, value: str | None) -> None:
    if value is None:
        connection.execute("DELETE FROM orchestrator.fact WHERE key = %s", [key])
    else:
        connection.execute(
            "INSERT INTO orchestrator.fact (key, value) VALUES (%s, %s::json)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value, written_at = clock_timestamp()",
            [key, value],
        )


def _append(connection: Connection, account: str, entry: Entry) -> None:
    row = connection.execute(
        _APPEND_LATE if entry.late else _APPEND,
        {"account": account, "at": entry.at, "mark": entry.mark, "entry": entry.text},
    ).fetchone()
    if row is not None and row[0] % _TIDY == 0:
        old = {
            "account": account,
            "most": MOST_KEPT - 1,
            "least": LEAST_KEPT - 1,
            "old": entry.at - KEPT_SECONDS,
        }
        connection.execute(_FORGET, old)


def prepend(connection: Connection, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Put entries before all that an account's history has.

    An entry keeps its number ``n`` if that is lower than all that follow: by numbers, programs know how far
    they have read.

    Args:
        connection: The database.
        name: The account.
        entries: The entries as they are shown, oldest first.
    """
    account = ids.of(connection, name)
    row = connection.execute(
        "SELECT min(place), min(n) FROM orchestrator.history WHERE account = %s", [account]
    ).fetchone()
    place, least = (row[0] or 0, row[1] or NUMBERS) if row is not None else (0, NUMBERS)
    for entry in reversed(entries):
        place -= 1
        n = entry.get("n")
        least = n if isinstance(n, int) and 0 < n < least else least
        connection.execute(
            "INSERT INTO orchestrator.history (account, place, n, mark, at, entry) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, %s, %s, %s, %s::json)",
            [
                account,
                place,
                n if n == least else None,
                secrets.token_hex(16),
                datetime.fromisoformat(entry["at"]),
                json.dumps({key: value for key, value in entry.items() if key != "n"}, allow_nan=False),
            ],
        )


def _write_codes(
    connection: Connection,
    codes: Mapping[str, Code | None],
    of: Callable[[str], str],
    now: Callable[[], float],
) -> None:
    for name in sorted(codes):
        code = codes[name]
        left = 0.0 if code is None else code.until - now()
        if code is None or left <= 0:
            connection.execute(
                "DELETE FROM orchestrator.code USING orchestrator.account"
                " WHERE account.id = code.account AND account.name = %s",
                [name],
            )
            continue
        connection.execute(
            "INSERT INTO orchestrator.code (account, png, expires_at)"
            " VALUES (%(account)s, %(png)s, clock_timestamp() + make_interval(secs => %(left)s))"
            " ON CONFLICT (account) DO UPDATE SET png = excluded.png, expires_at = excluded.expires_at",
            {"account": of(name), "png": code.png, "left": left},
        )
    if codes:
        notify(connection, CODES)


def keep(connection: Connection, account: str, text: str) -> None:
    """Change what is kept of an account by its id, which has a row."""
    connection.execute(
        "UPDATE orchestrator.status SET kept = %s::json, clock = %s::json WHERE account = %s",
        [text, json.dumps(Reading.take().as_json()), account],
    )


def expire_codes(connection: Connection) -> int | None:
    """Delete the codes that are over by the database's clock.

    Returns:
        How many there are still; None if the next look is due when one is written.
    """
    connection.execute("DELETE FROM orchestrator.code WHERE expires_at <= clock_timestamp()")
    row = connection.execute("SELECT count(*) FROM orchestrator.code").fetchone()
    return row[0] if row and row[0] else None


def drop_codes(connection: Connection) -> None:
    """Delete all codes, of a service that is gone."""
    connection.execute("DELETE FROM orchestrator.code")
    notify(connection, CODES)


# What is read


def status(connection: Connection) -> dict[str, tuple[str, str]]:
    """Return what is kept of accounts and what the clocks said then, as JSON, by name."""
    rows = connection.execute(
        "SELECT name, kept::text, clock::text FROM orchestrator.status"
        " JOIN orchestrator.account ON account.id = status.account"
    ).fetchall()
    return {name: (kept, clock) for name, kept, clock in rows if is_name(name)}


def status_of(connection: Connection, account: str) -> tuple[str, str] | None:
    """Return what is kept of an account by its id, and what the clocks said then."""
    return connection.execute(
        "SELECT kept::text, clock::text FROM orchestrator.status WHERE account = %s", [account]
    ).fetchone()


def fact(connection: Connection, key: str) -> tuple[Any, float] | None:
    """Return a fact, and when it was written; None if there is none.

    A value that makes no sense counts as null.
    """
    row = connection.execute(
        "SELECT value::text, extract(epoch FROM written_at)::float8 FROM orchestrator.fact WHERE key = %s",
        [key],
    ).fetchone()
    if row is None:
        return None
    try:
        return plain.loads(str(row[0])), float(row[1])
    except (ValueError, RecursionError):
        return None, float(row[1])


def facts(connection: Connection, prefix: str) -> dict[str, Any]:
    """Return all facts whose keys begin so, by key; one that makes no sense is left out."""
    found = {}
    for key, text in connection.execute(
        "SELECT key, value::text FROM orchestrator.fact WHERE starts_with(key, %s)", [prefix]
    ):
        with contextlib.suppress(ValueError, RecursionError):
            found[str(key)] = plain.loads(str(text))
    return found


def tail(connection: Connection, name: str, count: int) -> list[dict[str, Any]]:
    """Return the last entries of an account, oldest first."""
    rows = connection.execute(
        "SELECT n, entry::text FROM orchestrator.history WHERE account = ("
        "SELECT id FROM orchestrator.account WHERE name = %s) ORDER BY place DESC LIMIT %s",
        [name, max(0, count)],
    ).fetchall()
    return list(_entries(reversed(rows)))


def before(
    connection: Connection, name: str, place: int | None, count: int = _PIECE
) -> list[tuple[int, dict[str, Any]]]:
    """Return the entries of an account before a place, newest first, each with its place."""
    rows = connection.execute(
        "SELECT place, n, entry::text FROM orchestrator.history WHERE account = ("
        "SELECT id FROM orchestrator.account WHERE name = %(name)s)"
        " AND (%(place)s::bigint IS NULL OR place < %(place)s::bigint) ORDER BY place DESC LIMIT %(count)s",
        {"name": name, "place": place, "count": count},
    ).fetchall()
    return [(place, made) for place, n, text in rows for made in _entries([(n, text)])]


def after(connection: Connection, name: str, number: int, limit: int) -> list[dict[str, Any]]:
    """Return the first entries of an account with a higher number, oldest first."""
    rows = connection.execute(
        "SELECT n, entry::text FROM orchestrator.history WHERE account = ("
        "SELECT id FROM orchestrator.account WHERE name = %s) AND n > %s ORDER BY n LIMIT %s",
        [name, number, max(0, limit)],
    ).fetchall()
    return list(_entries(rows))


def newest(connection: Connection, name: str) -> int:
    """Return the highest number of an account's entries, 0 without one."""
    row = connection.execute(
        "SELECT max(n) FROM orchestrator.history WHERE account = ("
        "SELECT id FROM orchestrator.account WHERE name = %s)",
        [name],
    ).fetchone()
    return row[0] if row and row[0] else 0


def histories(connection: Connection) -> list[str]:
    """Return the names of all accounts that have entries, in order, but of those whose name another has."""
    rows = connection.execute(
        "SELECT name FROM orchestrator.account WHERE EXISTS ("
        'SELECT FROM orchestrator.history WHERE history.account = account.id) ORDER BY name COLLATE "C"'
    ).fetchall()
    return [name for (name,) in rows if is_name(name)]


def _entries(rows: Iterable[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield entries that are such, with their numbers."""
    for n, text in rows:
        entry = json.loads(text)
        if isinstance(entry, dict):
            yield entry if n is None else {"n": n, **entry}
