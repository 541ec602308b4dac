"""Which messages have left is read from the outside, of a session that its process writes meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.messages.loss import digest
from orchestrator.store import device, sent_secrets

OWN = "4915100000001:7@s.whatsapp.net"
SECRETS = [bytes((number,)) * 32 for number in range(1, 6)]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "session" / "neonize.sqlite3"


@pytest.fixture
def session(database: Path) -> Iterator[sqlite3.Connection]:
    """Give a session as the library keeps it, open as in an account's process."""
    database.parent.mkdir()
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE whatsmeow_device (jid, lid, noise_key, identity_key)")
    connection.execute(
        "CREATE TABLE whatsmeow_message_secrets (our_jid, chat_jid, sender_jid, message_id, key)"
    )
    connection.execute(
        "INSERT INTO whatsmeow_device VALUES (?, '269139479534551:7@lid', x'00', x'00')", (OWN,)
    )
    yield connection
    connection.close()


def sent(session: sqlite3.Connection, secret: bytes, id_: str) -> None:
    row = (OWN, "1@s.whatsapp.net", OWN.replace(":7", ""), id_, secret)
    session.execute("INSERT INTO whatsmeow_message_secrets VALUES (?, ?, ?, ?, ?)", row)


WANTED = [digest(one) for one in SECRETS]


def test_what_has_left_is_found_in_the_file_and_in_its_log(
    database: Path, session: sqlite3.Connection
) -> None:
    sent(session, SECRETS[0], "3EB0A")
    session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sent(session, SECRETS[1], "3EB0B")
    assert sent_secrets.look(database, WANTED, digest) == {WANTED[0]: "3EB0A", WANTED[1]: "3EB0B"}


@pytest.mark.usefixtures("session")
def test_nothing_has_left(database: Path) -> None:
    assert sent_secrets.look(database, WANTED, digest) == {}


def test_a_log_that_begins_anew_meanwhile_hides_nothing(
    database: Path, session: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the file and its log, the process moves all from the log into the file, and writes anew."""
    sent(session, SECRETS[0], "3EB0A")
    image, times = device.image, iter(range(10))

    def slow(data: bytes, folder: int, name: str) -> bytes:
        if next(times) == 0:
            session.execute("PRAGMA wal_checkpoint(RESTART)")
            for number in range(3):
                sent(session, SECRETS[1 + number], f"3EB0B{number}")
        return image(data, folder, name)

    monkeypatch.setattr(device, "image", slow)
    found = sent_secrets.look(database, WANTED, digest)
    assert found is not None
    assert found[WANTED[0]] == "3EB0A"


def test_a_log_that_always_begins_anew_makes_nothing_certain(
    database: Path, session: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(session, SECRETS[0], "3EB0A")
    image = device.image

    def slow(data: bytes, folder: int, name: str) -> bytes:
        session.execute("PRAGMA wal_checkpoint(RESTART)")
        sent(session, os.urandom(32), "3EB0B")
        return image(data, folder, name)

    monkeypatch.setattr(device, "image", slow)
    assert sent_secrets.look(database, WANTED, digest) is None


@pytest.mark.parametrize("what", ["missing", "link", "pipe", "nonsense", "empty", "journal", "unlinked"])
def test_what_cannot_be_read_makes_nothing_certain(
    database: Path, session: sqlite3.Connection, tmp_path: Path, what: str
) -> None:
    sent(session, SECRETS[0], "3EB0A")
    if what in ("missing", "link", "pipe", "nonsense", "empty"):
        session.close()
        database.rename(tmp_path / "elsewhere")
    match what:
        case "link":
            database.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(database)
        case "nonsense":
            database.write_bytes(b"no session" * 1000)
        case "empty":
            database.touch()
        case "journal":
            database.with_name(f"{database.name}-journal").write_bytes(b"half a write")
        case "unlinked":
            session.execute("DELETE FROM whatsmeow_device")
    assert sent_secrets.look(database, WANTED, digest) is None
