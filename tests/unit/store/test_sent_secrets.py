"""Which messages have left, by the secrets that the library writes down before it sends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import pytest
from support.devices import add_secrets, write_session, write_unlinked

from orchestrator.messages.loss import digest
from orchestrator.store import sent_secrets
from orchestrator.worker import session_secrets

OWN = "200000000000001@lid"
OWN_NUMBER = "4915100000001@s.whatsapp.net"
SECRETS = [os.urandom(32) for _ in range(5)]
WANTED = [digest(one) for one in SECRETS]


def find(path: Path, wanted: Collection[bytes] = WANTED) -> dict[bytes, str] | None:
    with closing(sqlite3.connect(path)) as connection:
        return sent_secrets.find(connection, wanted, digest)


def test_what_was_sent_has_its_identifier_and_the_rest_is_certainly_not_there(tmp_path: Path) -> None:
    path = write_session(tmp_path, 9)
    add_secrets(path, "B0", sender=OWN, key=SECRETS[0])
    add_secrets(path, "B1", sender="200000000000001:1@lid", key=SECRETS[1])
    add_secrets(path, "B2", sender=OWN_NUMBER, key=SECRETS[2])
    add_secrets(path, *range(20), sender=OWN, key=os.urandom(32))
    assert find(path) == {WANTED[0]: "B0", WANTED[1]: "B1", WANTED[2]: "B2"}
    assert session_secrets.sent(path, WANTED) == find(path)
    assert find(path, WANTED[4:]) == {}


def test_a_secret_of_somebody_else_or_of_another_device_does_not_count(tmp_path: Path) -> None:
    path = write_session(tmp_path)
    add_secrets(path, "B0", key=SECRETS[0])
    add_secrets(path, "B1", sender=OWN, key=SECRETS[1], jid="4915100000001:2@s.whatsapp.net")
    assert find(path) == {}


@pytest.mark.parametrize("id_", ["", "x" * 129, "a b", "ä", b"\xff"])
def test_nothing_is_certain_if_an_identifier_cannot_be_told(tmp_path: Path, id_: object) -> None:
    path = write_session(tmp_path)
    add_secrets(path, id_, sender=OWN, key=SECRETS[0])
    assert session_secrets.sent(path, WANTED) is None
    assert find(path, WANTED[1:]) == {}


def test_nothing_is_certain_of_a_session_of_nobody(tmp_path: Path) -> None:
    assert session_secrets.sent(tmp_path / "none", WANTED) is None
    unlinked = write_unlinked(tmp_path / "unlinked")
    assert find(unlinked) is None
    other = tmp_path / "other"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE whatsmeow_device (jid TEXT)")
        connection.execute("INSERT INTO whatsmeow_device VALUES ('4915100000001:1@s.whatsapp.net')")
    assert find(other) is None


def test_a_session_that_is_damaged_raises(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(sqlite3.Error):
        session_secrets.sent(path, WANTED)


def test_without_a_question_there_is_no_look(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(b"no database at all" * 1000)
    assert session_secrets.sent(path, []) is None
