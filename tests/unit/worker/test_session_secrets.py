"""What a session's file tells of decrypted messages, whatever is in it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.devices import JID, write_device, write_unlinked
from support.devices import add_secrets as add
from support.devices import write_session as make

from orchestrator.accounts.settings import Messages
from orchestrator.messages import loss
from orchestrator.messages.loss import Mark, Session, Suspect
from orchestrator.worker import session_secrets
from orchestrator.worker.session_secrets import read

ADA = "269139479534551@lid"
NUMBER = "4915100001234"


def marked(session: Session | None) -> Mark:
    assert session is not None
    return Mark.load(session.mark(5.0, Messages()).dump()) or pytest.fail("no mark")


def ids(session: Session | None) -> list[str]:
    assert session is not None
    return [one.suspect.id for one in session.secrets]


def test_the_first_look_says_only_how_far_there_is_anything(tmp_path: Path) -> None:
    session = read(make(tmp_path, 3), None)
    assert session is not None
    assert (session.row, session.secrets) == (3, ())
    assert session.own == {"4915100000001@s.whatsapp.net", "200000000000001@lid"}
    assert session.device == loss.device_of(JID)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_later_looks_tell_what_is_new(tmp_path: Path, count: int) -> None:
    path = make(tmp_path, count)
    mark = marked(read(path, None))
    assert ids(read(path, mark)) == []
    add(path, "B1", "B2", sender="111@lid", chat="120363000000000001@g.us")
    add(path, "B3")
    session = read(path, mark)
    assert session is not None
    assert [one.suspect for one in session.secrets] == [
        Suspect("120363000000000001@g.us", "111@lid", "B1"),
        Suspect("120363000000000001@g.us", "111@lid", "B2"),
        Suspect(ADA, ADA, "B3"),
    ]
    assert session.people == loss.other_address(ADA.partition("@")[0], NUMBER)
    assert {one.digest for one in session.secrets} == {loss.digest(b"k" * 32)}
    assert ids(read(path, marked(session))) == []


def test_another_device_or_another_file_is_a_first_look(tmp_path: Path) -> None:
    path = make(tmp_path, 5)
    mark = marked(read(path, None))
    (tmp_path / "b").mkdir()
    anew = make(tmp_path / "b", 9)  # the same number and device, another file
    add(anew, "C1")
    with closing(sqlite3.connect(anew)) as connection, connection:
        connection.execute("UPDATE whatsmeow_message_secrets SET message_id = 'X' || rowid")
    assert ids(read(anew, mark)) == []
    short = tmp_path / "c"
    short.mkdir()
    assert ids(read(make(short, 2), mark)) == []
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE whatsmeow_device SET jid = '4915100000001:2@s.whatsapp.net'")
    add(path, "D1")
    assert ids(read(path, mark)) == []


def test_a_device_that_was_linked_meanwhile_counts_from_its_beginning(tmp_path: Path) -> None:
    path = make(tmp_path, 2)
    assert ids(read(path, Mark(loss.device_of(JID), 0, "", 5.0))) == ["A0", "A1"]
    assert ids(read(path, Mark("", 0, "", 5.0))) == []


def test_secrets_of_another_device_do_not_count(tmp_path: Path) -> None:
    path = make(tmp_path)
    mark = marked(read(path, None))
    add(path, "B1", jid="4915100000009:1@s.whatsapp.net")
    add(path, "B2")
    assert ids(read(path, mark)) == ["B2"]


def test_of_very_many_only_the_last_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_secrets, "MOST", 10)
    path = make(tmp_path)
    mark = marked(read(path, None))
    add(path, *(f"B{count}" for count in range(100)))
    assert ids(read(path, mark)) == [f"B{count}" for count in range(90, 100)]


def test_the_last_ones_are_found_without_sorting_all(tmp_path: Path) -> None:
    with closing(sqlite3.connect(make(tmp_path, 3))) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {session_secrets._SECRETS}", (JID, 1, 1)).fetchall()
    assert [step[-1] for step in plan] == [
        "SEARCH whatsmeow_message_secrets USING INTEGER PRIMARY KEY (rowid>?)"
    ]


@pytest.mark.parametrize(
    "strange",
    [
        {"chat": None},
        {"chat": "nobody"},
        {"chat": "x" * 99 + "@lid"},
        {"sender": b"\xff"},
        {"key": "text"},
        {"key": 5},
    ],
    ids=str,
)
def test_what_is_no_secret_is_left_out(tmp_path: Path, strange: dict[str, Any]) -> None:
    path = make(tmp_path)
    mark = marked(read(path, None))
    add(path, "B1", **strange)
    add(path, "B2")
    assert ids(read(path, mark)) == ["B2"]


def test_without_a_device_or_the_tables_nothing_is_told(tmp_path: Path) -> None:
    assert read(tmp_path / "none.sqlite3", None) is None
    assert read(write_unlinked(tmp_path / "unlinked.sqlite3"), None) is None
    assert read(write_device(tmp_path / "old.sqlite3"), None) is None
    path = make(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE whatsmeow_lid_map")
        connection.execute("CREATE VIEW whatsmeow_lid_map AS SELECT 'a' AS lid, 'b' AS pn")
    assert read(path, None) is None


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite3"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(sqlite3.Error):
        read(path, None)


def test_a_write_that_a_kill_has_interrupted_is_undone_first(tmp_path: Path) -> None:
    path = make(tmp_path, 3)
    mark = marked(read(path, None))
    add(path, "B1")
    if os.fork() == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        for count in range(2000):  # more than fits into the cache, so that it is in the file
            connection.execute(
                "INSERT INTO whatsmeow_message_secrets VALUES (?, ?, ?, ?, ?)",
                (JID, ADA, ADA, f"C{count}", b"k"),
            )
        os._exit(0)
    os.wait()
    assert path.with_name(f"{path.name}-journal").exists()
    assert ids(read(path, mark)) == ["B1"]
