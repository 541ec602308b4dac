"""`cluster import` and `cluster export`: sessions between files and the database, while no service runs."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.cli import Cli
from support.postgres import FreshDatabase

from orchestrator.consumers.writes import Moved, Place, Standing
from orchestrator.errors import ExitCode, StateError
from orchestrator.gateway.dispatch.store import Store
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.postgres import transfer
from orchestrator.postgres.record import RecordRows
from orchestrator.postgres.writing import Writer
from orchestrator.store import realm
from orchestrator.store.layout import StatePaths
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.status import Kept
from orchestrator.store.timeline import TimelineEntry

TABLES = (
    "CREATE TABLE whatsmeow_version (version INTEGER, compat INTEGER)",
    """CREATE TABLE whatsmeow_device (
	jid TEXT PRIMARY KEY,

	registration_id BIGINT NOT NULL CHECK ( registration_id >= 0 AND registration_id < 4294967296 ),

	noise_key    bytea NOT NULL CHECK ( length(noise_key) = 32 ),
	identity_key bytea NOT NULL,
	platform      TEXT NOT NULL DEFAULT ''
)""",
    """CREATE TABLE whatsmeow_pre_keys (
	jid      TEXT,
	key_id   INTEGER          CHECK ( key_id >= 0 AND key_id < 16777216 ),
	uploaded BOOLEAN NOT NULL,

	PRIMARY KEY (jid, key_id),
	FOREIGN KEY (jid) REFERENCES whatsmeow_device(jid) ON DELETE CASCADE ON UPDATE CASCADE
)""",
    "CREATE INDEX keys_idx ON whatsmeow_pre_keys (jid, uploaded)",
)


def write(state: Path, name: str, number: str | None) -> Path:
    paths = StatePaths.of(state, environ={})
    paths.prepare()
    home = paths.home(name)
    home.mkdir(0o700, exist_ok=True)
    with closing(sqlite3.connect(paths.session(name))) as database, database:
        for table in TABLES:
            database.execute(table)
        database.execute("INSERT INTO whatsmeow_version VALUES (13, 8)")
        if number is not None:
            jid = f"{number}:1@s.whatsapp.net"
            row = (jid, 2**32 - 1, number.encode().ljust(32, b"\0"), b"\xff\0", "it's \U0001f44d")
            database.execute("INSERT INTO whatsmeow_device VALUES (?, ?, ?, ?, ?)", row)
            keys = [(jid, number, number % 2) for number in range(900)]
            database.executemany("INSERT INTO whatsmeow_pre_keys VALUES (?, ?, ?)", keys)
    realm.note(home, realm.WHATSAPP)
    return paths.session(name)


@pytest.fixture
def cli(tmp_path: Path, fresh: FreshDatabase) -> Cli:
    made = Cli(tmp_path)
    fresh.ready()
    made.configure("a: {}\n  b: {}\n  fresh: {}")
    made.config.write_text(f"store: {{dsn_file: {fresh.dsn_file(tmp_path)}}}\n{made.config.read_text()}")
    return made


def test_goes_in_with_all_that_is_known_and_comes_out_again(cli: Cli, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    before = {name: transfer.read_file(write(old, name, number)) for name, number in (("a", "1"), ("b", "2"))}
    write(old, "fresh", None)
    record = RecordFiles(StatePaths.of(old, environ={}))
    record.save({"a": Kept(stopped=True)})
    for number in range(5):
        record.append("a", TimelineEntry(time.time() - 100 + number, "starting", "backoff", attempt=number))
    numbers = [entry["n"] for entry in record.tail("a", 9)]

    assert "nobody" in cli("cluster", "import", str(old), "nobody", code=ExitCode.NO_SUCH_ACCOUNT).stderr
    done = cli("cluster", "import", str(old))
    assert "a: moved" in done.stdout
    assert "linked to no phone: 1" in done.stdout
    assert not StatePaths.of(old, environ={}).session("a").exists()
    assert len(list((old / "quarantine").glob("a-*-moved"))) == 1
    states = {one["name"]: one["state"] for one in json.loads(cli("list", "--json").stdout)}
    assert states["a"] == "stopped"
    history = json.loads(cli("history", "a", "--json").stdout)
    assert "backoff" in str(history)

    assert "b: moved" in cli("cluster", "export", str(new)).stdout
    paths = StatePaths.of(new, environ={})
    for name, session in before.items():
        again = transfer.read_file(paths.session(name))
        assert [(table.name, table.columns, table.rows) for table in again.tables] == [
            (table.name, table.columns, table.rows) for table in session.tables
        ]
        assert realm.read(paths.home(name)) == realm.WHATSAPP
    found = RecordFiles(paths)
    assert found.load()["a"].stopped
    assert [entry["n"] for entry in found.tail("a", 9)] == numbers
    assert "a-" in cli("quarantine", "list").stdout


def test_how_far_webhooks_are_goes_along(cli: Cli, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write(old, "a", "1")
    place, other = Place("a", "messages"), Place("other", "messages")
    files = StatePaths.of(old, environ={}).gateway
    files.mkdir(0o700, exist_ok=True)
    store = Store.open(files)
    store.begin({"crm": "webhook"}, {"crm": [Standing(since=5.0, paused=True)]}, 9.0)
    store.apply({"crm": [Moved(place, 41), Moved(other, 7)]})
    store.close()
    cli("cluster", "import", str(old))
    cli("cluster", "export", str(new))
    for folder, left in ((files, {other: 7}), (StatePaths.of(new, environ={}).gateway, {place: 41})):
        store = Store.open(folder)
        kept = store.load("crm")
        store.close()
        assert {where: moved.cursor for where, moved in kept.positions.items()} == left
        assert (kept.standing.since, kept.standing.paused) == (5.0, True)


def test_an_older_history_is_taken_along_where_there_is_a_newer_one(
    cli: Cli, tmp_path: Path, fresh: FreshDatabase
) -> None:
    old = tmp_path / "old"
    write(old, "a", "1")
    files = RecordFiles(StatePaths.of(old, environ={}))
    now = time.time()
    for number in range(5):
        files.append("a", TimelineEntry(now - 1000 + number, "starting", "backoff", attempt=number))
    numbers = [entry["n"] for entry in files.tail("a", 9)]
    with fresh.open() as database:
        writer = Writer(database)
        record = RecordRows(database, writer, RecordFiles(StatePaths.of(tmp_path, environ={})))
        for number in range(2):
            record.append("a", TimelineEntry(now - 500 + number, "starting", "pairing"))
        # And what has come in the files since, as of a service that ran with them once more.
        files.append("a", TimelineEntry(now - 100, "starting", "connected"))
        assert writer.flush(60)
        here = [entry["n"] for entry in record.tail("a", 9)]
        assert "a: moved" in cli("cluster", "import", str(old)).stdout
        found = record.tail("a", 99)
        assert [entry["to"] for entry in found] == ["backoff"] * 5 + ["pairing"] * 2 + ["connected"]
        assert [entry.get("n") for entry in found[:7]] == [*numbers, *here]
        later = [entry["to"] for entry in record.after("a", numbers[-1], 9)]
        assert later == ["pairing", "pairing", "connected"]
        assert [*record.backwards("a")] == found[::-1]
        writer.close()


def test_a_folder_that_is_no_state_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nosuch", "empty"):
        refused = cli("cluster", "import", str(tmp_path / name), code=1).stderr
        assert f"{tmp_path / name} is no state folder that has sessions" in refused
    assert not (tmp_path / "nosuch").exists()
    assert not any((tmp_path / "empty").iterdir())


def test_a_session_that_is_there_is_never_replaced(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "one", "a", "1")
    write(tmp_path / "two", "a", "2")
    write(tmp_path / "two", "b", "3")
    cli("cluster", "import", str(tmp_path / "one"))
    done = cli("cluster", "import", str(tmp_path / "two"), code=1)
    assert "nothing was moved" in done.stderr
    assert StatePaths.of(tmp_path / "two", environ={}).session("b").exists()
    cli("cluster", "import", str(tmp_path / "two"), "b")


def test_what_was_interrupted_after_the_copy_is_completed(cli: Cli, tmp_path: Path) -> None:
    source = write(tmp_path / "one", "a", "1")
    data = source.read_bytes()
    cli("cluster", "import", str(tmp_path / "one"))
    source.parent.mkdir(0o700, exist_ok=True)
    source.write_bytes(data)  # as if it had been killed before the file was put away
    assert "a: moved" in cli("cluster", "import", str(tmp_path / "one")).stdout
    assert not source.exists()


def test_messages_go_along_and_are_read_as_before(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "one", "a", "1")
    paths = StatePaths.of(tmp_path / "one", environ={})
    paths.messages.mkdir(0o700, exist_ok=True)
    paths.message_folder("a").mkdir(0o700)
    with closing(Inbox.open(paths.message_folder("a"))) as inbox:
        for number in range(3):
            chat = "1@s.whatsapp.net"
            assert inbox.append(Entry("message", chat, chat, f"x{number}", time.time(), b"x"))
    cli("cluster", "import", str(tmp_path / "one"))
    assert not list(paths.message_folder("a").glob("inbox*"))
    cli("cluster", "export", str(tmp_path / "two"))
    with closing(Reader.open(StatePaths.of(tmp_path / "two", environ={}).message_folder("a"))) as reader:
        assert [(one.seq, one.id) for one in reader.after(0)] == [(1, "x0"), (2, "x1"), (3, "x2")]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other (id INTEGER)",
        "CREATE VIEW whatsmeow_extra AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON whatsmeow_device BEGIN SELECT 1; END",
        "CREATE TABLE whatsmeow_x (a TEXT, b TEXT AS (a || 'x'))",
    ],
)
def test_a_file_that_is_not_the_librarys_is_refused(tmp_path: Path, statement: str) -> None:
    path = write(tmp_path / "one", "a", "1")
    with closing(sqlite3.connect(path)) as database:
        database.executescript(statement)
    with pytest.raises(StateError, match="no session that can be moved"):
        transfer.read_file(path)
