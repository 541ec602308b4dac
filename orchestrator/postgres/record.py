"""What is written down of accounts, in tables: behind `store.protocols.Record`.

Writes return at once, and `writing` brings them to the database. Reads wait for what was to be written before
them, on the calling thread: the event loop asks beside itself.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from orchestrator.errors import StateError, StoreAway
from orchestrator.postgres import rows
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.pending import Entry
from orchestrator.postgres.writing import Writer
from orchestrator.store import plain, status
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.summary import Summary
from orchestrator.store.timeline import TimelineEntry
from orchestrator.store.told import Kept as Told
from orchestrator.store.told import of_values

_FIRST_SECONDS: Final = 5.0
"""How long a read waits for what was to be written before."""
_WRITE_SECONDS: Final = 10.0
"""How long a write waits that has to be there before anything else is done."""

MAINTENANCE: Final = "maintenance"
ALIVE: Final = "alive"
"""The keys of facts."""
_TOLD: Final = "told/"
"""How the keys of facts begin that say what a program was told of an account."""


class RecordRows:
    """Status, timelines and facts as rows.

    Args:
        database: Where they are.
        writer: Writes them.
        local: The files of this machine: the summary of its configuration stays there.
        waits: Whether `save` returns only when it is written, as a command wants it that ends then.
    """

    def __init__(
        self, database: Database, writer: Writer, local: RecordFiles, *, waits: bool = False
    ) -> None:
        self._database = database
        self._writer = writer
        self._local = local
        self._waits = waits
        self._lost = False
        self._told: Mapping[str, Mapping[str, str]] = {}

    @property
    def place(self) -> str:
        """See `Record.place`."""
        return str(self._database.dsn)

    def load(self, damaged: dict[str, StateError] | None = None) -> dict[str, status.Kept]:
        """See `Record.load`."""
        self._written_first()
        found = self._database.run(rows.status)
        kept = {}
        for name, (text, clock) in found.items():
            try:
                kept[name] = status.of_text(text, clock)
            except ValueError:
                error = StateError(
                    f"{self.place}: what is kept of {name} is damaged, or of a newer version: delete the"
                    " account's row in orchestrator.status to have it start if the configuration enables it"
                )
                if damaged is None:
                    raise error from None
                damaged[name] = error
        texts = {name: status.as_text(name, one) for name, one in kept.items()}
        self._writer.put(lambda pending: pending.loaded(texts))
        return kept

    def save(self, kept: Mapping[str, status.Kept]) -> None:
        """See `Record.save`: it is written soon, and `StateError` says that the last try did not work."""
        texts = {name: status.as_text(name, one) for name, one in kept.items()}
        self._writer.put(lambda pending: pending.keep(texts))
        self._settle()

    def disown(self, name: str) -> None:
        """See `Record.disown`."""
        self._writer.put(lambda pending: pending.disown(name))

    def flush(self, seconds: float) -> bool:
        """See `Record.flush`."""
        return self._writer.flush(seconds)

    def summarize(self, digest: str, accounts: Mapping[str, Summary]) -> None:
        """See `Record.summarize`."""
        self._local.summarize(digest, accounts)

    def summary(self, digest: str) -> dict[str, Summary] | None:
        """See `Record.summary`."""
        return self._local.summary(digest)

    def told(self) -> Told:
        """See `Record.told`: each account's part goes where the account goes, the rest is of this machine."""
        self._written_first()
        found = self._database.run(lambda connection: rows.facts(connection, _TOLD))
        accounts = {key.removeprefix(_TOLD): words for key, words in found.items()}
        self._told = of_values({"told": accounts}).told
        return replace(self._local.told(), told=self._told)

    def keep_told(self, kept: Told, accounts: Collection[str]) -> None:
        """See `Record.keep_told`."""
        told = {**self._told}
        for name in accounts:
            words = kept.told.get(name)
            if words != told.pop(name, None):
                self._note(_TOLD + name, words)
            if words is not None:
                told[name] = words
        self._told = told
        if (mine := replace(kept, told={})) != self._local.told():
            self._local.keep_told(mine, ())
        self._settle()

    def maintenance(self) -> float | None:
        """See `Record.maintenance`."""
        found = self._fact(MAINTENANCE)
        if found is None:
            return None
        value, written_at = found
        since = plain.unix_time(value.get("since"), 0.0) if isinstance(value, dict) else None
        return since or written_at

    def keep_maintenance(self, since: float | None) -> None:
        """See `Record.keep_maintenance`: of all that is written, this is there when the call returns."""
        self._note(MAINTENANCE, None if since is None else {"since": since})
        if not self._writer.flush(_WRITE_SECONDS):
            raise self._why()

    def alive(self) -> float | None:
        """See `Record.alive`."""
        with contextlib.suppress(StateError):
            found = self._fact(ALIVE)
            if found is not None and isinstance(found[0], dict):
                return plain.unix_time(found[0].get("at"))
        return None

    def keep_alive(self, at: float) -> None:
        """See `Record.keep_alive`."""
        self._note(ALIVE, {"at": round(at, 3)})

    def append(self, name: str, entry: TimelineEntry) -> bool:
        """See `Record.append`."""
        one = Entry(name, secrets.token_hex(16), entry.at, json.dumps(entry.as_json(), allow_nan=False))
        return self._writer.put(lambda pending: pending.append(one))

    def prepend(self, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put entries before all that an account's history has, with their numbers where nobody has those.

        Raises:
            StateError: They are not written.
        """
        self._written_first()
        self._database.run(lambda connection: rows.prepend(connection, name, entries))

    def tail(self, name: str, count: int) -> list[dict[str, Any]]:
        """See `Record.tail`: while the database is away, what waits to be written is all there is."""
        self._written_first()
        found: list[dict[str, Any]] = []
        with contextlib.suppress(StateError):
            found = self._database.run(lambda connection: rows.tail(connection, name, count))
        waiting = self._writer.look(lambda pending: [one.text for one in pending.entries_of(name)])
        return [*found, *map(json.loads, waiting)][-count:] if count > 0 else []

    def after(self, name: str, number: int, limit: int) -> list[dict[str, Any]]:
        """See `Record.after`: nobody can tell while an entry of the account waits to be written."""
        self._all_written_of(name)
        return self._database.run(lambda connection: rows.after(connection, name, number, limit))

    def newest(self, name: str) -> int:
        """See `Record.newest`: nobody can tell while an entry of the account waits to be written."""
        self._all_written_of(name)
        return self._database.run(lambda connection: rows.newest(connection, name))

    def backwards(self, name: str) -> Iterator[dict[str, Any]]:
        """See `Record.backwards`."""
        self._written_first()
        place: int | None = None
        while True:
            at = place
            found = self._database.run(lambda connection: rows.before(connection, name, at))  # noqa: B023
            if not found:
                return
            yield from (entry for _, entry in found)
            place = found[-1][0]

    def histories(self) -> list[str]:
        """See `Record.histories`."""
        self._written_first()
        return self._database.run(rows.histories)

    def _note(self, key: str, values: object) -> None:
        text = None if values is None else json.dumps(values, allow_nan=False)
        self._writer.put(lambda pending: pending.note(key, text))

    def _fact(self, key: str) -> tuple[Any, float] | None:
        self._written_first()
        return self._database.run(lambda connection: rows.fact(connection, key))

    def _written_first(self) -> None:
        """Wait for what was to be written before; not while that does not work anyway."""
        if self._writer.trouble is None:
            self._writer.flush(_FIRST_SECONDS)

    def _all_written_of(self, name: str) -> None:
        """Wait for what was to be written before, and see that no entry of an account still waits.

        Whoever goes by the numbers would take an answer without that entry for all there is, and would not
        ask again until the account changes once more.

        Raises:
            StateError: One still waits.
        """
        self._written_first()
        if self._writer.look(lambda pending: [one.text for one in pending.entries_of(name)]):
            raise self._why()

    def _settle(self) -> None:
        if self._waits:
            if not self._writer.flush(_WRITE_SECONDS):
                raise self._why()
        elif self._writer.trouble is not None:
            raise self._why()

    def _why(self) -> StateError:
        return self._writer.trouble or StoreAway(f"{self.place} does not answer in time")


def renamed(connection: Connection, account: str, old: str, new: str) -> None:
    """Reword what is kept of an account that has a new name; all that has its id went along.

    Args:
        connection: The transaction that renames it.
        account: The account's id.
        old: The name that it had.
        new: The name that it has.
    """
    if (found := rows.status_of(connection, account)) is not None:
        kept = status.renamed(status.of_text(*found), old, new)
        rows.keep(connection, account, status.as_text(new, kept))
