"""Moves what is known of consumers between the gateway's file and a database, while no service runs."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.consumers.followed import MOST_ROWS, Gone, Row, Stand, order
from orchestrator.consumers.writes import Moved, Standing, Write
from orchestrator.errors import StateError
from orchestrator.gateway.dispatch.changes import Changes, gone
from orchestrator.gateway.dispatch.store import DATABASE, Store
from orchestrator.store.protocols import ConsumerStore, PullRows

_ALL = 1 << 40


def bring_in(folder: Path, account: str, consumers: ConsumerStore, pulls: PullRows) -> None:
    """Have a database know how far the consumers are with an account, and the file no more.

    Args:
        folder: The gateway's folder, which may have no file.
        account: The account.
        consumers: The database.
        pulls: The same.

    Raises:
        StateError: The file or the database cannot be used. The file still has everything.
    """
    if not (folder / DATABASE).exists():
        return
    with _opened(folder) as (store, changes):
        changes.take_up(account, (), newer=True)
        rows = changes.read(_ALL).rows
        known = store.known()
        names = {row.consumer for row in rows}
        stands = [
            Stand(name, known[name].kind, store.load(name).standing) for name in sorted(names & known.keys())
        ]
        consumers.stand(stands, ())
        for piece in order(rows):
            consumers.follow(piece)
        for name, positions in changes.pulls().items():
            about = known[name]
            pulls.use(name, about.maker, store.load(name).standing.since or time.time())
            pulls.begin(name, {place: at for place, at in positions.items() if place.account == account})
        changes.let_go(account, is_known=True)


def bring_out(folder: Path, account: str, consumers: ConsumerStore, pulls: PullRows) -> None:
    """Have the gateway's file know how far the consumers are with an account, and a database no more.

    Raises:
        StateError: The file or the database cannot be used. The database still has everything.
    """
    rows: list[Row] = []
    while not (page := consumers.read(account, len(rows), MOST_ROWS)).is_last:
        rows += page.rows
    rows += page.rows
    now = time.time()
    with _opened(folder) as (store, changes):
        changes.take_up(account, rows, newer=False)
        kept, names = store.known(), {row.consumer for row in rows}
        for stand in consumers.standings():
            if stand.name in names and not store.load(stand.name).standing.since:
                store.begin({stand.name: stand.kind}, {stand.name: [stand.standing]}, now)
        for name, known in pulls.known([account]).items():
            if known.positions:
                moved: list[Write] = [Moved(place, at) for place, at in known.positions.items()]
                if name not in kept:
                    store.declare(name, "pull", now, known.maker)
                    moved.append(Standing(since=known.since))
                store.apply({name: moved})
    for piece in order([Row(row.consumer, Gone(*gone(row))) for row in rows]):
        consumers.follow(piece)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[tuple[Store, Changes]]:
    try:
        folder.mkdir(0o700, exist_ok=True)
        store = Store.open(folder, follows=True)
        try:
            assert store.changes is not None
            yield store, store.changes
        finally:
            store.close()
    except sqlite3.Error as error:
        raise StateError(f"what is kept of consumers in {folder} cannot be used: {error}") from None
