"""The groups in the state file, and what happens there together or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.sandbox.wire.jid import GROUP, JID

SETTINGS = """
CREATE TABLE IF NOT EXISTS crowd_setting (
    crowd TEXT NOT NULL REFERENCES crowd, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (crowd, name)
) WITHOUT ROWID;
"""
"""The table that state files of earlier versions do not have yet."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its subject, who is in it, number → role (``superadmin``, ``admin`` or empty), and settings.

    The settings are those of `groups.SETTINGS`; one that is off is not there.
    """

    id: str
    subject: str
    creator: str
    created: int
    subject_by: str
    subject_at: int
    members: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def jid(self) -> JID:
        """The group's address."""
        return JID(self.id, GROUP)


class GroupStore:
    """The part of the state file that has the groups; see `orchestrator.sandbox.server.store.Store`."""

    _db: sqlite3.Connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside happen together or not at all; may be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def save_group(self, group: Group) -> None:
        """Save a group whole."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO crowd VALUES (?, ?, ?, ?, ?, ?)",
                (group.id, group.subject, group.creator, group.created, group.subject_by, group.subject_at),
            )
            self._db.execute("DELETE FROM member WHERE crowd = ?", (group.id,))
            self._db.executemany(
                "INSERT INTO member VALUES (?, ?, ?)",
                [(group.id, number, role) for number, role in group.members.items()],
            )
            self._db.execute("DELETE FROM crowd_setting WHERE crowd = ?", (group.id,))
            self._db.executemany(
                "INSERT INTO crowd_setting VALUES (?, ?, ?)",
                [(group.id, name, value) for name, value in group.settings.items()],
            )

    def delete_group(self, group_id: str) -> None:
        """Forget a group."""
        with self.transaction():
            for table in ("member", "crowd_setting"):
                self._db.execute(f"DELETE FROM {table} WHERE crowd = ?", (group_id,))
            self._db.execute("DELETE FROM crowd WHERE id = ?", (group_id,))

    def group(self, group_id: str) -> Group | None:
        """Return a group."""
        row = self._db.execute("SELECT * FROM crowd WHERE id = ?", (group_id,)).fetchone()
        return self._group(row) if row else None

    def groups(self, number: str | None = None) -> list[Group]:
        """Return all groups, or those somebody is in."""
        rows = self._db.execute(
            "SELECT * FROM crowd "
            "WHERE ? IS NULL OR id IN (SELECT crowd FROM member WHERE number = ?) ORDER BY id",
            (number, number),
        ).fetchall()
        return [self._group(row) for row in rows]

    def _group(self, row: tuple[Any, ...]) -> Group:
        members = self._db.execute(
            "SELECT number, role FROM member WHERE crowd = ? ORDER BY number", (row[0],)
        )
        settings = self._db.execute("SELECT name, value FROM crowd_setting WHERE crowd = ?", (row[0],))
        id_, subject, creator, created, subject_by, subject_at = row
        facts = (id_, subject, creator, created, subject_by, subject_at)
        return Group(*facts, dict(members.fetchall()), dict(settings.fetchall()))
