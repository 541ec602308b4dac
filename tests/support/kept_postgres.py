"""What a service keeps in Postgres, as tests look at it and spoil it: `support.kept` over its tables."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

from psycopg import sql
from support.kept import Contents, Entries, Json, PutAway, Rows, texts_in
from support.postgres import FreshDatabase

from orchestrator.postgres.database import Connection
from orchestrator.postgres.messages import box
from orchestrator.postgres.messages.views import InboxRows, OutboxRows

_STAMP = "%Y%m%dT%H%M%SZ"
_ENTRY: LiteralString = "orchestrator_messages.entry"
_META: LiteralString = "orchestrator_messages.meta"
_OF_MESSAGES: tuple[LiteralString, ...] = (
    _ENTRY,
    _META,
    "orchestrator_messages.contact",
    "orchestrator_messages.outgoing",
    "orchestrator_messages.receipt",
    "orchestrator_messages.seen",
    "orchestrator_messages.sent",
)
_BOX: LiteralString = (
    "SELECT box FROM orchestrator_messages.box JOIN orchestrator.account ON account.id = box.account"
    " WHERE account.name = %s"
)


@dataclass(frozen=True, slots=True)
class SchemaPutAway:
    """A schema in quarantine."""

    database: FreshDatabase
    id: str
    name: str

    def exists(self) -> bool:
        """See `PutAway.exists`."""
        with self.database.superuser() as connection:
            return oid_of(connection, self.id) is not None

    def identity(self) -> object:
        """See `PutAway.identity`."""
        with self.database.superuser() as connection:
            return oid_of(connection, self.id)

    def contents(self) -> Contents:
        """See `PutAway.contents`."""
        with self.database.superuser() as connection:
            return contents_of(connection, self.id)

    def devices(self) -> list[str]:
        """See `PutAway.devices`."""
        with self.database.superuser() as connection:
            return devices_of(connection, self.id)

    def is_closed(self) -> bool:
        """See `PutAway.is_closed`."""
        with self.database.superuser() as connection:
            return not readers_of(connection, self.id)

    def has_messages(self) -> bool:
        """See `PutAway.has_messages`."""
        query = (
            "SELECT EXISTS (SELECT FROM orchestrator_messages.entry"
            " JOIN orchestrator_messages.box USING (box) WHERE account = %s)"
        )
        with self.database.superuser() as connection:
            return bool(one(connection, query, self.id))


class KeptInPostgres:
    """A database, and what stays in the state folder of the machine.

    Args:
        database: The database.
        state: The folder.
    """

    def __init__(self, database: FreshDatabase, state: Path) -> None:
        self._database = database
        self._state = state

    def has_session(self, name: str) -> bool:
        """See `Kept.has_session`."""
        with self._connected() as connection:
            id_ = id_of(connection, name)
            return id_ is not None and bool(tables_of(connection, id_))

    def session(self, name: str) -> Contents:
        """See `Kept.session`."""
        with self._connected() as connection:
            return contents_of(connection, self._id(connection, name))

    def devices(self, name: str) -> list[str]:
        """See `Kept.devices`."""
        with self._connected() as connection:
            return devices_of(connection, self._id(connection, name))

    def secrets(self, name: str) -> list[str]:
        """See `Kept.secrets`."""
        with self._connected() as connection:
            schema = sql.Identifier(self._id(connection, name))
            device = "SELECT noise_key, identity_key, signed_pre_key, adv_key FROM {}.whatsmeow_device"
            keys = [key for row in connection.execute(sql.SQL(device).format(schema)) for key in row]
            some = "SELECT key FROM {}.whatsmeow_pre_keys LIMIT 50"
            keys += [row[0] for row in connection.execute(sql.SQL(some).format(schema))]
        texts = []
        for key in keys:
            texts += [key.hex(), base64.b64encode(key).decode().rstrip("="), " ".join(map(str, key))]
        return texts

    def identity(self, name: str) -> object:
        """See `Kept.identity`."""
        with self._connected() as connection:
            found = oid_of(connection, self._id(connection, name))
            assert found is not None, f"{name} has no session"
            return found

    def realm(self, name: str) -> str | None:
        """See `Kept.realm`."""
        query = "SELECT realm FROM orchestrator.session WHERE account = %s"
        with self._connected() as connection:
            return str(one(connection, query, self._id(connection, name)))

    def is_closed(self, name: str) -> bool:
        """See `Kept.is_closed`."""
        with self._connected() as connection:
            id_ = self._id(connection, name)
            return readers_of(connection, id_) <= {id_}

    def damage_session(self, name: str) -> None:
        """See `Kept.damage_session`."""
        with self._connected() as connection:
            spoil = "ALTER TABLE {}.whatsmeow_device RENAME COLUMN noise_key TO nothing"
            connection.execute(sql.SQL(spoil).format(sql.Identifier(self._id(connection, name))))

    def drop_session(self, name: str) -> None:
        """See `Kept.drop_session`."""
        with self._connected() as connection:
            drop = sql.SQL("DROP SCHEMA {} CASCADE")
            connection.execute(drop.format(sql.Identifier(self._id(connection, name))))

    def exchange_session(self, name: str, other: str) -> Callable[[], None]:
        """See `Kept.exchange_session`."""
        with self._connected() as connection:
            id_, source = self._id(connection, name), self._id(connection, other)
            aside = f"{id_}_own"
            rename_schema(connection, id_, aside)
            copy_schema(connection, source, id_, owner=id_)

        def give_back() -> None:
            with self._connected() as connection:
                drop_schema(connection, id_)
                rename_schema(connection, aside, id_)

        return give_back

    def quarantined(self, name: str, reason: str = "*") -> list[PutAway]:
        """See `Kept.quarantined`."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT id, folder FROM orchestrator.quarantine"
                " WHERE %(name)s IN (name, '*') AND %(reason)s IN (reason, '*') ORDER BY at, number",
                {"name": name, "reason": reason},
            ).fetchall()
        return [SchemaPutAway(self._database, id_, folder) for id_, folder in rows]

    def put_away_copy(self, name: str, when: str, reason: str) -> str:
        """See `Kept.put_away_copy`."""
        place = f"q_{secrets.token_hex(8)}"
        folder = f"{name}-{when}-{reason}"
        at = datetime.strptime(when, _STAMP).replace(tzinfo=UTC)
        with self._connected() as connection:
            id_ = self._id(connection, name)
            copy_schema(connection, id_, place, owner=self._owner_of_put_away(connection))
            connection.execute(
                "INSERT INTO orchestrator.quarantine"
                " (id, folder, account, name, reason, at, session, messages)"
                " VALUES (%s, %s, %s, %s, %s, %s, true, false)",
                [place, folder, id_, name, reason, at],
            )
        return folder

    def timeline(self, name: str) -> list[Json]:
        """See `Kept.timeline`."""
        query = (
            "SELECT entry, n FROM orchestrator.history JOIN orchestrator.account"
            " ON account.id = history.account WHERE account.name = %s ORDER BY place"
        )
        with self._connected() as connection:
            return [{**entry, "n": n} for entry, n in connection.execute(query, [name])]

    def status(self, name: str) -> Json:
        """See `Kept.status`."""
        query = (
            "SELECT kept FROM orchestrator.status JOIN orchestrator.account ON account.id = status.account"
            " WHERE account.name = %s"
        )
        with self._connected() as connection:
            return dict(one(connection, query, name))

    def change_status(self, change: Callable[[Json], None]) -> None:
        """See `Kept.change_status`."""
        with self._connected() as connection:
            rows = connection.execute("SELECT account, kept FROM orchestrator.status").fetchall()
            for account, about in rows:
                change(about)
                connection.execute(
                    "UPDATE orchestrator.status SET kept = %s::json WHERE account = %s",
                    [json.dumps(about), account],
                )

    def forget_status(self) -> None:
        """See `Kept.forget_status`."""
        with self._connected() as connection:
            connection.execute("DELETE FROM orchestrator.status")

    def is_record_closed(self) -> bool:
        """See `Kept.is_record_closed`."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"
                " AND has_table_privilege(oid, 'orchestrator.status', 'SELECT')"
            ).fetchall()
        return {role for (role,) in rows} == {self._database.role}

    def texts(self) -> Iterator[tuple[str, str]]:
        """See `Kept.texts`."""
        yield from texts_in(self._state)
        with self._connected() as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'orchestrator%%'"
                " AND schemaname <> 'orchestrator_messages'"
                " AND (schemaname, tablename) <> ('orchestrator', 'code')"
            ).fetchall()
            assert tables
            for schema, table in tables:
                query = sql.SQL("SELECT one::text FROM {} AS one").format(sql.Identifier(schema, table))
                text = "\n".join(row for (row,) in connection.execute(query))
                yield f"{schema}.{table}", re.sub(r'""linked_phone"": ?""\d+""', "", text)

    @contextlib.contextmanager
    def inbox(self, name: str) -> Iterator[Entries]:
        """See `Kept.inbox`."""
        with self._connected() as connection:
            found = box.find(connection, self._id(connection, name))
            assert found is not None, f"{name} has no inbox"
            yield InboxRows(connection, found)

    def has_inbox(self, name: str) -> bool:
        """See `Kept.has_inbox`."""
        query = f"SELECT EXISTS (SELECT FROM {_ENTRY} WHERE box IN ({_BOX}))"
        with self._connected() as connection:
            return bool(one(connection, query, name))

    def has_messages(self, name: str) -> bool:
        """See `Kept.has_messages`."""
        with self._connected() as connection:
            return any(
                connection.execute(f"SELECT FROM {table} WHERE box IN ({_BOX})", [name]).fetchone()
                is not None
                for table in _OF_MESSAGES
            )

    @contextlib.contextmanager
    def outbox(self, name: str) -> Iterator[Rows]:
        """See `Kept.outbox`."""
        with self._connected() as connection:
            found = box.find(connection, self._id(connection, name))
            assert found is not None, f"{name} has no outbox"
            yield OutboxRows(connection, found)

    def inbox_note(self, name: str, key: str) -> str | None:
        """See `Kept.inbox_note`."""
        query = f"SELECT value FROM {_META} WHERE box IN ({_BOX}) AND key = %s"
        with self._connected() as connection:
            row = connection.execute(query, [name, key]).fetchone()
        return None if row is None else str(row[0])

    @contextlib.contextmanager
    def nothing_is_stored(self, name: str) -> Iterator[None]:
        """See `Kept.nothing_is_stored`."""
        with self._connected() as connection, connection.transaction():
            assert connection.execute(f"{_BOX} FOR UPDATE OF box", [name]).fetchone() is not None
            yield

    def back_up(self, place: Path) -> None:
        """See `Kept.back_up`."""
        shutil.copytree(self._state, place, symlinks=True)
        copy_database(self._database, self._database.name, f"{self._database.name}_kept")

    def put_back(self, place: Path) -> None:
        """See `Kept.put_back`."""
        shutil.rmtree(self._state)
        place.rename(self._state)
        drop_database(self._database, self._database.name)
        copy_database(self._database, f"{self._database.name}_kept", self._database.name)
        drop_database(self._database, f"{self._database.name}_kept")
        self._database.ready()

    def _connected(self) -> AbstractContextManager[Connection]:
        return self._database.superuser()

    def _id(self, connection: Connection, name: str) -> str:
        found = id_of(connection, name)
        assert found is not None, f"{name} has no id"
        return found

    def _owner_of_put_away(self, connection: Connection) -> str:
        query = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'orchestrator_admin'"
        return str(one(connection, query))


def one(connection: Connection, query: LiteralString, *values: object) -> Any:  # noqa: ANN401 - a value
    """Return the only value of the only row."""
    row = connection.execute(query, values).fetchone()
    assert row is not None, query
    return row[0]


def id_of(connection: Connection, name: str) -> str | None:
    """Return the id of an account, None if it has none."""
    row = connection.execute("SELECT id FROM orchestrator.account WHERE name = %s", [name]).fetchone()
    return None if row is None else str(row[0])


def oid_of(connection: Connection, schema: str) -> int | None:
    """Return by what Postgres knows a schema whatever its name, None if there is none."""
    row = connection.execute("SELECT oid FROM pg_namespace WHERE nspname = %s", [schema]).fetchone()
    return None if row is None else int(row[0])


def tables_of(connection: Connection, schema: str) -> list[str]:
    """Return the tables of a schema."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename"
    return [name for (name,) in connection.execute(query, [schema])]


def contents_of(connection: Connection, schema: str) -> Contents:
    """Return a mark of what is in each table of a schema."""
    query = sql.SQL("SELECT md5(string_agg(one::text, chr(10) ORDER BY one::text)) FROM {} AS one")
    found: dict[str, object] = {}
    for table in tables_of(connection, schema):
        row = connection.execute(query.format(sql.Identifier(schema, table))).fetchone()
        found[table] = row and row[0]
    return found


def devices_of(connection: Connection, schema: str) -> list[str]:
    """Return the addresses of the devices in a session."""
    if "whatsmeow_device" not in tables_of(connection, schema):
        return []
    query = sql.SQL("SELECT jid FROM {}.whatsmeow_device").format(sql.Identifier(schema))
    return [jid for (jid,) in connection.execute(query)]


def readers_of(connection: Connection, schema: str) -> set[str]:
    """Return the roles that can log in and may look into a schema, but for the administrators."""
    rows = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"
        " AND has_schema_privilege(oid, %s, 'USAGE')",
        [schema],
    )
    return {role for (role,) in rows}


def copy_database(of: FreshDatabase, source: str, target: str) -> None:
    """Make a database with all that is in another one, to which nobody may be connected."""
    copy = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
    with of.server.superuser() as connection:
        names = (target, of.role, source)
        connection.execute(copy.format(*map(sql.Identifier, names)))


def drop_database(of: FreshDatabase, name: str) -> None:
    """Delete a database, whoever is connected."""
    with of.server.superuser() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def rename_schema(connection: Connection, old: str, new: str) -> None:
    """Give a schema another name."""
    rename = sql.SQL("ALTER SCHEMA {} RENAME TO {}")
    connection.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))


def drop_schema(connection: Connection, schema: str) -> None:
    """Delete a schema."""
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def copy_schema(connection: Connection, source: str, target: str, *, owner: str) -> None:
    """Make a schema with the tables of another one, and all that is in them.

    Args:
        connection: The database.
        source: That other one.
        target: The new one.
        owner: Whose the new tables are; the schema is the administrator's, as that of each account.
    """
    made = (
        "CREATE SCHEMA {schema} AUTHORIZATION {administrator}",
        "GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}",
    )
    copied = (
        "CREATE TABLE {target} (LIKE {source} INCLUDING ALL)",
        "INSERT INTO {target} SELECT * FROM {source}",
        "ALTER TABLE {target} OWNER TO {role}",
    )
    query = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s"
    names = {
        "schema": sql.Identifier(target),
        "role": sql.Identifier(owner),
        "administrator": sql.Identifier(one(connection, query, source)),
    }
    for statement in made:
        connection.execute(sql.SQL(statement).format(**names))
    for table in tables_of(connection, source):
        names |= {"source": sql.Identifier(source, table), "target": sql.Identifier(target, table)}
        for statement in copied:
            connection.execute(sql.SQL(statement).format(**names))
