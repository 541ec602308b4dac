"""What survives a restart: people, devices, keys, queued stanzas, groups, media, in one SQLite file.

SQLite makes every change atomic: after a crash at any point the file holds the state before or after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from orchestrator.sandbox.server.group_store import SETTINGS, GroupStore
from orchestrator.sandbox.server.group_store import Group as Group
from orchestrator.sandbox.wire.jid import JID, LID, PN

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE person (
    number TEXT PRIMARY KEY, lid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, raw_id INTEGER NOT NULL,
    next_device INTEGER NOT NULL DEFAULT 1, signal TEXT NOT NULL, sender_keys TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE device (
    number TEXT NOT NULL REFERENCES person, device INTEGER NOT NULL,
    noise BLOB NOT NULL, identity BLOB NOT NULL,
    registration BLOB NOT NULL, skey_id BLOB NOT NULL, skey BLOB NOT NULL, skey_signature BLOB NOT NULL,
    os TEXT NOT NULL, linked_at INTEGER NOT NULL, removed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (number, device)
) WITHOUT ROWID;
CREATE TABLE prekey (
    number TEXT NOT NULL, device INTEGER NOT NULL, id BLOB NOT NULL, value BLOB NOT NULL,
    given INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (number, device, id)
) WITHOUT ROWID;
CREATE TABLE queued (
    seq INTEGER PRIMARY KEY, number TEXT NOT NULL, device INTEGER NOT NULL, class TEXT NOT NULL,
    stanza_id TEXT NOT NULL, stanza BLOB NOT NULL
);
CREATE INDEX queued_by_device ON queued (number, device, class, stanza_id);
CREATE TABLE watcher (
    watched TEXT NOT NULL, number TEXT NOT NULL, device INTEGER NOT NULL,
    PRIMARY KEY (watched, number, device)
) WITHOUT ROWID;
CREATE TABLE crowd (
    id TEXT PRIMARY KEY, subject TEXT NOT NULL, creator TEXT NOT NULL, created INTEGER NOT NULL,
    subject_by TEXT NOT NULL, subject_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE member (
    crowd TEXT NOT NULL REFERENCES crowd, number TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (crowd, number)
) WITHOUT ROWID;
CREATE TABLE media (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, blob BLOB NOT NULL, stored_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE inbox (seq INTEGER PRIMARY KEY, number TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX inbox_by_number ON inbox (number, seq);
CREATE TABLE sent (
    seq INTEGER PRIMARY KEY, number TEXT NOT NULL, stanza_id TEXT NOT NULL, chat TEXT NOT NULL,
    kind TEXT NOT NULL, plain BLOB NOT NULL
);
CREATE INDEX sent_by_id ON sent (number, stanza_id);
"""

_ID = "CASE WHEN json_valid(message) THEN json_extract(message, '$.id') END"
"""A message's id in an inbox. Earlier versions have kept places that are no numbers, which is no JSON."""
_INDEXES = f"CREATE INDEX IF NOT EXISTS inbox_by_id ON inbox (number, {_ID});"
"""What state files of earlier versions do not have yet."""

SENT_KEPT = 500
"""How many sent messages a phone remembers for a receiver that asks again; phones keep a few hundred."""


class StoreError(Exception):
    """The state folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone: the number (digits only), the hidden address, and the name others see."""

    number: str
    lid: str
    name: str
    raw_id: int

    @property
    def pn_jid(self) -> JID:
        """The address that shows the number."""
        return JID(self.number, PN)

    @property
    def lid_jid(self) -> JID:
        """The hidden address."""
        return JID(self.lid, LID)


@dataclass(frozen=True, slots=True)
class Device:
    """A linked client of a number. All keys are raw bytes as the client sent them."""

    number: str
    device: int
    noise: bytes
    identity: bytes
    registration: bytes
    skey_id: bytes
    skey: bytes
    skey_signature: bytes
    os: str
    linked_at: int
    removed: bool

    @property
    def key(self) -> DeviceKey:
        """The device's place: number and device number."""
        return (self.number, self.device)


DeviceKey = tuple[str, int]
"""Number and device; device 0 is the phone."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A stanza that a device has not confirmed yet, as encoded binary XML."""

    seq: int
    kind: str
    stanza_id: str
    stanza: bytes


def lid_of(number: str) -> str:
    """Return the 15 digits that stand for a number: the same ones in every sandbox."""
    return str(10**14 + int.from_bytes(hashlib.sha256(f"lid {number}".encode()).digest()[:8]) % (9 * 10**14))


class Store(GroupStore):
    """The state file. Every public method is one transaction.

    Raises:
        StoreError: The file cannot be opened, is no database, or belongs to another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)  # SQLite gives its other files the same mode
            finally:
                os.close(descriptor)
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.DatabaseError, OSError, UnicodeDecodeError) as error:  # SQLite quotes damaged text
            raise StoreError(
                f"{path}: cannot be used as the sandbox's state ({error}); "
                "check the folder's owner and free space, or move the file away to start afresh"
            ) from None

    def _open(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (health,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {health}")
        new = version == 0 and tables == 0
        if not new and version != _SCHEMA_VERSION:
            raise StoreError(
                f"{self._path}: written by another version (schema {version}, this one reads "
                f"{_SCHEMA_VERSION}); use another state folder or move the file away"
            )
        # Not before here, as it changes the file.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA cache_size = -4000")
        if not new:
            self._db.executescript(SETTINGS + _INDEXES)
        else:
            self._db.executescript(
                f"BEGIN; {_SCHEMA} {SETTINGS} {_INDEXES} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Secrets of the server

    def secret(self, name: str, new: bytes) -> bytes:
        """Return the secret of that name, which becomes ``new`` if there is none yet."""
        self._db.execute("INSERT OR IGNORE INTO secret VALUES (?, ?)", (name, new))
        (value,) = self._db.execute("SELECT value FROM secret WHERE name = ?", (name,)).fetchone()
        return bytes(value)

    # People

    def add_person(self, number: str, name: str, signal: dict[str, Any]) -> Person:
        """Add somebody who is not there yet; ``signal`` is the state of the phone's own Signal half."""
        raw_id = int.from_bytes(hashlib.sha256(f"raw {number}".encode()).digest()[:4])
        person = Person(number, lid_of(number), name, raw_id)
        self._db.execute(
            "INSERT INTO person (number, lid, name, raw_id, signal) VALUES (?, ?, ?, ?, ?)",
            (number, person.lid, name, raw_id, json.dumps(signal)),
        )
        return person

    def person(self, number: str) -> Person | None:
        """Return somebody by the digits of the number."""
        return self._person("number", number)

    def person_by_jid(self, jid: JID) -> Person | None:
        """Return somebody by either address."""
        if jid.server == LID:
            return self._person("lid", jid.user)
        return self._person("number", jid.user) if jid.server in (PN, "c.us") else None

    def _person(self, column: str, value: str) -> Person | None:
        row = self._db.execute(
            f"SELECT number, lid, name, raw_id FROM person WHERE {column} = ?",
            (value,),
        ).fetchone()
        return Person(*row) if row else None

    def people(self) -> list[Person]:
        """Return everybody, by number."""
        rows = self._db.execute("SELECT number, lid, name, raw_id FROM person ORDER BY number")
        return [Person(*row) for row in rows]

    def signal_state(self, number: str) -> dict[str, Any]:
        """Return the saved Signal half of a phone."""
        (text,) = self._db.execute("SELECT signal FROM person WHERE number = ?", (number,)).fetchone()
        state: dict[str, Any] = json.loads(text)
        return state

    def sender_keys(self, number: str) -> dict[str, Any]:
        """Return the saved group sender keys of a phone."""
        (text,) = self._db.execute("SELECT sender_keys FROM person WHERE number = ?", (number,)).fetchone()
        state: dict[str, Any] = json.loads(text)
        return state

    def save_signal(
        self, number: str, signal: dict[str, Any], sender_keys: dict[str, Any] | None = None
    ) -> None:
        """Save the Signal half of a phone, and its group sender keys if they are given."""
        with self.transaction():
            self._db.execute("UPDATE person SET signal = ? WHERE number = ?", (json.dumps(signal), number))
            if sender_keys is not None:
                self._db.execute(
                    "UPDATE person SET sender_keys = ? WHERE number = ?", (json.dumps(sender_keys), number)
                )

    # Devices

    def next_device(self, number: str) -> int:
        """Use up and return the next device number; numbers are not used twice."""
        row = self._db.execute(
            "UPDATE person SET next_device = next_device + 1 WHERE number = ? RETURNING next_device - 1",
            (number,),
        ).fetchone()
        return int(row[0])

    def add_device(self, device: Device) -> None:
        """Add a linked device."""
        self._db.execute(
            "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*device.key, device.noise, device.identity, device.registration, device.skey_id, device.skey,
             device.skey_signature, device.os, device.linked_at, device.removed),
        )  # fmt: skip

    def device(self, key: DeviceKey) -> Device | None:
        """Return a linked device, removed or not."""
        row = self._db.execute("SELECT * FROM device WHERE number = ? AND device = ?", key).fetchone()
        return _device(row) if row else None

    def devices(self, number: str | None = None) -> list[Device]:
        """Return the devices that are linked now, of one number or of all."""
        rows = self._db.execute(
            "SELECT * FROM device WHERE removed = 0 AND (? IS NULL OR number = ?) ORDER BY number, device",
            (number, number),
        )
        return [_device(row) for row in rows]

    def remove_device(self, key: DeviceKey) -> bool:
        """Unlink a device and forget what waits for it; return False if it was not linked."""
        with self.transaction():
            gone = self._db.execute(
                "UPDATE device SET removed = 1 WHERE number = ? AND device = ? AND removed = 0", key
            ).rowcount
            self._db.execute("DELETE FROM queued WHERE number = ? AND device = ?", key)
            self._db.execute("DELETE FROM prekey WHERE number = ? AND device = ?", key)
            self._db.execute("DELETE FROM watcher WHERE number = ? AND device = ?", key)
        return gone > 0

    def watch(self, watched: str, key: DeviceKey) -> None:
        """Note that a client knows somebody's device list, and wants to hear when it changes."""
        self._db.execute("INSERT OR IGNORE INTO watcher VALUES (?, ?, ?)", (watched, *key))

    def watchers(self, watched: str) -> list[DeviceKey]:
        """Return who knows somebody's device list."""
        rows = self._db.execute("SELECT number, device FROM watcher WHERE watched = ?", (watched,))
        return [(number, device) for number, device in rows]

    def save_keys(
        self,
        key: DeviceKey,
        *,
        registration: bytes,
        identity: bytes,
        skey: tuple[bytes, bytes, bytes],
        prekeys: Sequence[tuple[bytes, bytes]],
    ) -> None:
        """Save what a client uploads: its signed prekey and one-time prekeys (known ids stay as they are)."""
        with self.transaction():
            self._db.execute(
                "UPDATE device SET registration = ?, identity = ?, skey_id = ?, skey = ?, skey_signature = ? "
                "WHERE number = ? AND device = ?",
                (registration, identity, *skey, *key),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO prekey (number, device, id, value) VALUES (?, ?, ?, ?)",
                [(*key, id_, value) for id_, value in prekeys],
            )

    def prekey_count(self, key: DeviceKey) -> int:
        """Return how many one-time prekeys are left."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM prekey WHERE number = ? AND device = ? AND given = 0", key
        ).fetchone()
        return int(count)

    def take_prekey(self, key: DeviceKey) -> tuple[bytes, bytes] | None:
        """Give out a one-time prekey (id and value), never the same one twice."""
        row = self._db.execute(
            "UPDATE prekey SET given = 1 WHERE (number, device, id) = ("
            "SELECT number, device, id FROM prekey WHERE number = ? AND device = ? AND given = 0 LIMIT 1"
            ") RETURNING id, value",
            key,
        ).fetchone()
        return (bytes(row[0]), bytes(row[1])) if row else None

    # Stanzas that wait to be confirmed

    def queue(self, key: DeviceKey, kind: str, stanza_id: str, stanza: bytes) -> int:
        """Keep a stanza for a device; ``kind`` is message, receipt or notification."""
        cursor = self._db.execute(
            "INSERT INTO queued (number, device, class, stanza_id, stanza) VALUES (?, ?, ?, ?, ?)",
            (*key, kind, stanza_id, stanza),
        )
        return int(cursor.lastrowid or 0)

    def confirm(self, key: DeviceKey, kind: str, stanza_ids: Sequence[str]) -> int:
        """Forget stanzas that have arrived; return how many there were.

        All receipts for a message bear its id, and each of them is confirmed by itself, in their order: one
        confirmation is for the oldest. A message is for one device the same however often it was sent.
        """
        limit = -1 if kind == "message" else 1
        with self.transaction():
            return self._db.executemany(
                "DELETE FROM queued WHERE seq IN (SELECT seq FROM queued WHERE number = ? AND device = ? "
                "AND class = ? AND stanza_id = ? ORDER BY seq LIMIT ?)",
                [(*key, kind, stanza_id, limit) for stanza_id in stanza_ids],
            ).rowcount

    def queued(self, key: DeviceKey) -> list[Queued]:
        """Return what waits for a device, oldest first."""
        rows = self._db.execute(
            "SELECT seq, class, stanza_id, stanza FROM queued WHERE number = ? AND device = ? ORDER BY seq",
            key,
        )
        return [Queued(seq, kind, id_, bytes(stanza)) for seq, kind, id_, stanza in rows]

    def queue_lengths(self) -> dict[DeviceKey, int]:
        """Return how many stanzas wait for each device."""
        rows = self._db.execute("SELECT number, device, count(*) FROM queued GROUP BY number, device")
        return {(number, device): count for number, device, count in rows}

    # Media and messages

    def save_media(self, media_id: str, kind: str, blob: bytes) -> None:
        """Keep an uploaded blob, which is encrypted by its sender."""
        self._db.execute(
            "INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?)", (media_id, kind, blob, int(time.time()))
        )

    def media(self, media_id: str) -> bytes | None:
        """Return an uploaded blob."""
        row = self._db.execute("SELECT blob FROM media WHERE id = ?", (media_id,)).fetchone()
        return bytes(row[0]) if row else None

    def add_inbox(self, number: str, message: dict[str, Any]) -> int:
        """Keep what a phone received in clear text; return its number in the order of arrival."""
        cursor = self._db.execute(
            "INSERT INTO inbox (number, message) VALUES (?, ?)", (number, json.dumps(message))
        )
        return int(cursor.lastrowid or 0)

    def inbox(self, number: str, after: int = 0) -> list[dict[str, Any]]:
        """Return what a phone received, after that number."""
        rows = self._db.execute(
            "SELECT seq, message FROM inbox WHERE number = ? AND seq > ? ORDER BY seq", (number, after)
        )
        return [_record(seq, message) for seq, message in rows]

    def inbox_messages(self, number: str, message_id: str) -> list[dict[str, Any]]:
        """Return the messages with an id that a phone received, of different senders; oldest first."""
        rows = self._db.execute(
            f"SELECT seq, message FROM inbox WHERE number = ? AND {_ID} = ? ORDER BY seq",
            (number, message_id),
        )
        return [_record(seq, message) for seq, message in rows]

    def inbox_message(self, number: str, message_id: str) -> dict[str, Any] | None:
        """Return the first message with an id that a phone received."""
        return next(iter(self.inbox_messages(number, message_id)), None)

    def remember_sent(self, number: str, stanza_id: str, chat: str, kind: str, plain: bytes) -> None:
        """Keep what a phone sent, for a receiver that asks for it again."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO sent (number, stanza_id, chat, kind, plain) VALUES (?, ?, ?, ?, ?)",
                (number, stanza_id, chat, kind, plain),
            )
            self._db.execute(
                "DELETE FROM sent WHERE number = ? AND seq <= ("
                "SELECT seq FROM sent WHERE number = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (number, number, SENT_KEPT),
            )

    def sent_messages(self, number: str) -> list[tuple[str, str, str, bytes]]:
        """Return id, chat, kind and plain text of what a phone has sent and still knows, oldest first."""
        rows = self._db.execute(
            "SELECT stanza_id, chat, kind, plain FROM sent WHERE number = ? ORDER BY seq", (number,)
        )
        return [(stanza_id, chat, kind, bytes(plain)) for stanza_id, chat, kind, plain in rows]

    def sent(self, number: str, stanza_id: str) -> tuple[str, str, bytes] | None:
        """Return chat, kind and plain text of what a phone sent; the kind is JSON: type, edit and at."""
        row = self._db.execute(
            "SELECT chat, kind, plain FROM sent WHERE number = ? AND stanza_id = ? ORDER BY seq DESC LIMIT 1",
            (number, stanza_id),
        ).fetchone()
        return (row[0], row[1], bytes(row[2])) if row else None


def _record(seq: int, message: str) -> dict[str, Any]:
    """Return a message of an inbox; earlier versions have the sender's address under another name."""
    record = json.loads(message)
    if "sender" not in record and "address" in record:
        record["sender"] = record.pop("address")
    return {"seq": seq, **record}


def _device(row: tuple[Any, ...]) -> Device:
    *facts, removed = row
    names = [one.name for one in fields(Device)]
    return Device(**dict(zip(names, [*facts, bool(removed)], strict=True)))
