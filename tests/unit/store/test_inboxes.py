"""Messages move with their account, whole, and no number of an entry ever comes twice under one name."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.devices import write_device
from support.full_disk import fill, read_only, small_disk
from support.outboxes import new, outbox_of

from orchestrator.errors import OrchestratorError
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.outbox import OutboxReader
from orchestrator.messages.retention import Retention
from orchestrator.sending.contacts import Contact
from orchestrator.store import counted, inboxes, leftovers, moving, quarantine
from orchestrator.store.admission import make_folders
from orchestrator.store.files import in_files
from orchestrator.store.layout import OUTBOX, StatePaths
from orchestrator.store.moving import Rename

ROOT = Path(inboxes.__file__).parents[2]
NOW = 1_795_354_074.0
DAY = 86_400.0
NEEDLE = b"a text that nobody else may read"


@dataclass(frozen=True)
class Configuration:
    accounts: dict[str, object]
    config_file: Path = Path("/etc/accounts.yaml")
    qr_dir: Path = field(default=Path("/nowhere"))


def configured(*names: str) -> Configuration:
    return Configuration(dict.fromkeys(names))


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return prepared(tmp_path / "state")


def prepared(root: Path) -> StatePaths:
    found = StatePaths.of(root, environ={})
    found.prepare()
    return found


def link(paths: StatePaths, name: str) -> None:
    paths.home(name).mkdir(exist_ok=True)
    write_device(paths.session(name))


def store(paths: StatePaths, name: str, count: int, *, clean: bool = False, media: bool = True) -> Inbox:
    """Store entries as an account's process does, and leave the log as it is after a kill."""
    folder = paths.message_folder(name)
    folder.mkdir(exist_ok=True)
    inbox = Inbox.open(folder)
    for _ in range(count):
        chat = "1@s.whatsapp.net"
        assert inbox.append(Entry("message", chat, chat, os.urandom(8).hex(), NOW, NEEDLE))
    if media:
        (folder / "media").mkdir(exist_ok=True)
        (folder / "media" / "123").write_bytes(NEEDLE)
    if clean:
        inbox.close()
    return inbox


def numbers(folder: Path) -> list[int]:
    with closing(sqlite3.connect(folder / "inbox.sqlite3")) as connection:
        return [seq for (seq,) in connection.execute("SELECT seq FROM entries ORDER BY seq")]


def put_away(paths: StatePaths, name: str, now: float = NOW) -> Path:
    place = in_files(paths, paths.qr).sessions.quarantine(name, "removed", now, messages=True)
    assert place is not None
    return Path(place)


def restore(paths: StatePaths, name: str, wanted: str | None = None) -> tuple[str, ...]:
    moves = in_files(paths, paths.qr).moves
    task, about = moves.check_restore(configured(name), name, wanted)
    moves.begin(task)
    moves.finish(configured(name))
    return about.notes


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".lock"
    }


def with_needle(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and NEEDLE in path.read_bytes()}


# Remove


def test_messages_go_with_the_session_and_leave_no_text(paths: StatePaths) -> None:
    link(paths, "a")
    with closing(store(paths, "a", 5)):
        assert (paths.messages / "a/inbox.sqlite3-wal").stat().st_size > 0
        data = everything(paths.messages / "a")
    for name, content in data.items():  # as a kill leaves them
        (paths.messages / "a" / name).write_bytes(content)
    place = put_away(paths, "a")
    assert (place / "session.sqlite3").exists()
    assert numbers(place / "messages") == [1, 2, 3, 4, 5]
    assert (place / "messages/media/123").read_bytes() == NEEDLE
    assert all(place in one.parents for one in with_needle(paths.root))
    assert not paths.home("a").exists()
    assert everything(paths.messages) == {"a/begin": b"5\n"}
    assert stat.S_IMODE((paths.messages / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((paths.messages / "a/begin").stat().st_mode) == 0o600


def test_deleted_texts_are_not_in_the_log_either(paths: StatePaths) -> None:
    link(paths, "a")
    with closing(store(paths, "a", 100)) as inbox, closing(Reader.open(paths.messages / "a")) as reader:
        reader._connection.execute("BEGIN")
        assert reader.newest() == 100
        assert inbox.clear(Retention(-1e9, -1e9)) == 100, "a reader keeps the log from being emptied"
        (paths.messages / "a/media/123").unlink()
        data = everything(paths.messages / "a")
    for name, content in data.items():
        (paths.messages / "a" / name).write_bytes(content)
    assert with_needle(paths.messages)
    place = put_away(paths, "a")
    assert with_needle(paths.root) == set()
    assert counted.begin(paths.message_folder("a")) == 100
    assert not (place / "messages/inbox.sqlite3-wal").exists()


def test_a_command_that_shows_messages_is_in_nobodys_way(paths: StatePaths) -> None:
    store(paths, "a", 5, clean=True)
    with closing(Reader.open(paths.messages / "a")) as reader:
        assert reader.newest() == 5
        place = put_away(paths, "a")
    assert counted.begin(paths.message_folder("a")) == 5
    assert numbers(place / "messages") == [1, 2, 3, 4, 5]


def test_an_account_without_messages_leaves_no_folder(paths: StatePaths) -> None:
    link(paths, "a")
    place = put_away(paths, "a")
    assert not (place / "messages").exists()
    assert list(paths.messages.iterdir()) == []
    assert in_files(paths, paths.qr).sessions.quarantine("a", "removed", NOW, messages=True) is None


def test_messages_without_a_session_go_as_well(paths: StatePaths) -> None:
    store(paths, "a", 3, clean=True)
    place = put_away(paths, "a")
    assert not (place / "session.sqlite3").exists()
    assert not paths.home("a").exists()
    assert [one.path for one in quarantine.quarantined(paths.quarantine)] == [place]


@pytest.mark.parametrize("reason", ["repair", "logged_out", "locked", "damaged", "wrong_phone"])
def test_messages_stay_when_only_the_session_goes(paths: StatePaths, reason: str) -> None:
    link(paths, "a")
    store(paths, "a", 3, clean=True)
    before = everything(paths.messages)
    assert in_files(paths, paths.qr).sessions.quarantine("a", reason, NOW)
    assert everything(paths.messages) == before


def test_numbers_never_come_again_under_one_name(paths: StatePaths) -> None:
    given: list[int] = []
    for _ in range(3):
        store(paths, "a", 4, clean=True)
        given += numbers(paths.messages / "a")
        put_away(paths, "a")
    assert given == list(range(1, 13))
    put_away_again = in_files(paths, paths.qr).sessions.quarantine("a", "removed", NOW, messages=True)
    assert put_away_again is None, "what is left behind is no inbox"
    assert counted.begin(paths.message_folder("a")) == 12


CODE = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON entries BEGIN SELECT 1; END",
    "view": "CREATE VIEW t AS SELECT 1",
    # Whose code runs, of SQLite's own, on bytes that an account's process has chosen.
    "virtual table": "CREATE VIRTUAL TABLE t USING rtree (a, b, c)",
    "computed number": "UPDATE sqlite_master SET sql = 'CREATE TABLE sqlite_sequence(name, x, seq AS (7))'"
    " WHERE name = 'sqlite_sequence'",
    "huge definition": "UPDATE sqlite_master SET sql = sql || ' --' || hex(zeroblob(2000000))"
    " WHERE name = 'entries'",
}
"""What makes whoever reads an inbox run something, or read without an end."""


@pytest.mark.parametrize("what", ["garbage", "link", "hard link", "pipe", "folder", "journal", *CODE])
def test_an_inbox_that_cannot_be_read_goes_too_and_its_numbers_do_not_return(
    paths: StatePaths, tmp_path: Path, what: str
) -> None:
    precious = tmp_path / "precious"
    link(paths, "other")
    precious.write_bytes(paths.session("other").read_bytes())
    before = precious.read_bytes()
    store(paths, "a", 3, clean=True)
    file = paths.messages / "a/inbox.sqlite3"
    match what:
        case "garbage":
            file.write_bytes(b"garbage" * 1000)
        case "link":
            file.unlink()
            file.symlink_to(precious)
        case "hard link":
            file.unlink()
            file.hardlink_to(precious)
        case "pipe":
            file.unlink()
            os.mkfifo(file)
        case "folder":
            file.unlink()
            file.mkdir()
        case "journal":
            file.with_name("inbox.sqlite3-journal").write_bytes(b"undo")
        case _:
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("PRAGMA writable_schema = ON")
                connection.execute(CODE[what])
    place = put_away(paths, "a")
    assert precious.read_bytes() == before
    assert os.path.lexists(place / "messages/inbox.sqlite3")
    assert counted.begin(paths.message_folder("a")) > 1_000_000_000


@pytest.mark.parametrize("name", ["begin", "renamed", ".begin.01234567.tmp", ".renamed.01234567.tmp"])
@pytest.mark.parametrize("then", ["remove", "rename", "restore", "forget"])
def test_folders_in_the_place_of_small_files_keep_nothing_from_moving(
    paths: StatePaths, name: str, then: str
) -> None:
    link(paths, "a")
    for one in ("a", "b"):
        if one == "a" and then != "forget":
            store(paths, "a", 3, clean=True)
        (paths.message_folder(one) / name / "deep").mkdir(parents=True)
        (paths.message_folder(one) / name / "deep" / "file").write_bytes(b"x")
    match then:
        case "remove" | "forget":
            put_away(paths, "a")
            assert not numbers_of(paths, "a")
        case "rename":
            moving.begin(paths, Rename("a", "b"))
            moving.finish(paths, configured("b"))
            assert numbers_of(paths, "b") == [1, 2, 3]
        case _:
            put_away(paths, "a")
            (paths.message_folder("a") / name).unlink(missing_ok=True)
            (paths.message_folder("a") / name / "deep").mkdir(parents=True)
            restore(paths, "a")
            assert numbers_of(paths, "a") == [1, 2, 3]


@pytest.mark.parametrize("what", ["link", "file", "pipe", "half", "aside"])
def test_whatever_is_in_the_place_of_messages_leaves_the_quarantine_in_time(
    paths: StatePaths, tmp_path: Path, what: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_bytes(b"x")
    link(paths, "a")
    planted = paths.home("a") / "messages"
    match what:
        case "link":
            planted.symlink_to(tmp_path / "mine")
        case "file":
            planted.write_bytes(NEEDLE)
        case "pipe":
            os.mkfifo(planted)
        case "half":  # of somebody who was killed while messages went to another disk
            (paths.home("a") / ".messages.01234567.tmp").mkdir()
            (paths.home("a") / ".messages.01234567.tmp/inbox.sqlite3").write_bytes(NEEDLE)
        case _:  # an account's process can make it, and the messages need its place
            planted.mkdir()
            (planted / "inbox.sqlite3").write_bytes(NEEDLE)
            store(paths, "a", 2, clean=True)
    place = put_away(paths, "a")
    assert in_files(paths, paths.qr).sessions.prune(7, NOW + 8 * DAY) == [place.name]
    assert not place.exists()
    assert (tmp_path / "mine/file").exists()


def numbers_of(paths: StatePaths, name: str) -> list[int]:
    folder = paths.message_folder(name)
    return numbers(folder) if (folder / "inbox.sqlite3").exists() else []


@pytest.mark.parametrize("what", ["link", "file"])
def test_something_else_in_the_place_of_the_folder_is_an_error(paths: StatePaths, what: str) -> None:
    link(paths, "a")
    store(paths, "good", 1, clean=True)
    folder = paths.messages / "a"
    folder.symlink_to(paths.messages / "good") if what == "link" else folder.write_bytes(b"x")
    before = everything(paths.root)
    with pytest.raises(OrchestratorError, match=r"remove it|move it away"):
        in_files(paths, paths.qr).sessions.quarantine("a", "removed", NOW, messages=True)
    assert everything(paths.root) == before


def test_what_lies_in_the_way_in_the_sessions_folder_goes_along(paths: StatePaths, tmp_path: Path) -> None:
    """The account's process can have made a folder of that name beside the session."""
    link(paths, "a")
    (paths.home("a") / "messages").symlink_to(tmp_path)
    store(paths, "a", 2, clean=True)
    place = put_away(paths, "a")
    assert numbers(place / "messages") == [1, 2]
    assert len(list(place.iterdir())) == 4  # with the lock and the link


def test_on_a_full_disk_everything_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        paths = prepared(disk / "state")
        link(paths, "a")
        store(paths, "a", 3, clean=True)
        filler = fill(disk)
        before = everything(paths.root)
        with pytest.raises(OrchestratorError, match=r"No space left|full"):
            in_files(paths, paths.qr).sessions.quarantine("a", "removed", NOW, messages=True)
        assert everything(paths.root) == before
        filler.unlink()
        assert numbers(put_away(paths, "a") / "messages") == [1, 2, 3]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_folder_that_cannot_be_written(paths: StatePaths) -> None:
    link(paths, "a")
    store(paths, "a", 3, clean=True)
    before = everything(paths.root)
    with read_only(paths.messages), pytest.raises(OrchestratorError, match=r"[Rr]ead-only"):
        in_files(paths, paths.qr).sessions.quarantine("a", "removed", NOW, messages=True)
    assert everything(paths.root) == before


def test_what_is_old_enough_is_deleted_with_its_attachments(paths: StatePaths, tmp_path: Path) -> None:
    link(paths, "a")
    store(paths, "a", 3, clean=True)
    deep = paths.messages / "a/media/x/y"
    deep.mkdir(parents=True)
    (deep / "link").symlink_to(tmp_path)
    (tmp_path / "mine").write_bytes(b"mine")
    place = put_away(paths, "a")
    prune = in_files(paths, paths.qr).sessions.prune
    assert prune(7, NOW + 6 * DAY) == []
    assert prune(7, NOW + 8 * DAY) == [place.name]
    assert with_needle(paths.root) == set()
    assert (tmp_path / "mine").exists()


def test_a_link_in_the_place_of_messages_in_quarantine_is_not_followed(
    paths: StatePaths, tmp_path: Path
) -> None:
    link(paths, "a")
    place = put_away(paths, "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_bytes(b"mine")
    (place / "messages").symlink_to(tmp_path / "mine")
    assert in_files(paths, paths.qr).sessions.prune(7, NOW + 8 * DAY) == [place.name]
    assert (tmp_path / "mine/file").exists()


@pytest.mark.parametrize("media", [False, True])
def test_an_inbox_that_was_never_used_is_nothing(paths: StatePaths, media: bool) -> None:
    """An account's process makes an inbox before anybody has written."""
    for name in ("a", "b"):
        (paths.messages / name).mkdir()
        Inbox.open(paths.messages / name).close()
        if media:
            (paths.messages / name / "media").mkdir()
    link(paths, "a")
    place = put_away(paths, "a")
    assert not (place / "messages").exists()
    assert not (paths.messages / "a").exists()
    store(paths, "old", 2, clean=True)
    link(paths, "old")
    rename(paths, "old", "b")
    assert numbers(paths.messages / "b") == [1, 2]


def test_an_inbox_whose_messages_aged_out_was_used(paths: StatePaths) -> None:
    with closing(store(paths, "a", 3)) as inbox:
        inbox.clear(Retention(-1e9, -1e9))
    (paths.messages / "a/media/123").unlink()
    (paths.messages / "a/media").rmdir()
    assert inboxes.holds(paths.messages / "a")
    put_away(paths, "a")
    assert everything(paths.messages) == {"a/begin": b"3\n"}


def test_an_inbox_after_an_earlier_one_is_unused_until_it_gives_a_number(paths: StatePaths) -> None:
    store(paths, "a", 3, clean=True)
    place = put_away(paths, "a")
    Inbox.open(paths.messages / "a").close()
    assert not inboxes.holds(paths.messages / "a")
    restore(paths, "a", place.name)
    assert numbers(paths.messages / "a") == [1, 2, 3]
    assert not place.exists()


def test_an_inbox_is_looked_at_while_its_process_runs(paths: StatePaths) -> None:
    (paths.messages / "a").mkdir()
    with closing(Inbox.open(paths.messages / "a")) as inbox:
        assert not inboxes.holds(paths.messages / "a")
        chat = "1@s.whatsapp.net"
        assert inbox.append(Entry("message", chat, chat, "1", NOW, NEEDLE))
        assert inboxes.holds(paths.messages / "a")


# Outboxes


def test_an_outbox_that_was_never_used_is_nothing(paths: StatePaths) -> None:
    folder = paths.messages / "a"
    with outbox_of(paths.root, "a") as outbox:
        outbox.note_contacts({"1@lid": Contact(heard_at=1.0)})
        (folder / "outgoing").mkdir()
        assert not inboxes.holds(folder), "while its process runs"
    assert not inboxes.holds(folder)
    inboxes.drop_unused(folder)
    assert not folder.exists()


@pytest.mark.parametrize("over", [False, True])
def test_a_row_is_something_even_where_nobody_has_written(paths: StatePaths, over: bool) -> None:
    folder = paths.messages / "a"
    with outbox_of(paths.root, "a") as outbox:
        outbox.add(new())
        if over:
            outbox.take_back(1)
        assert inboxes.holds(folder), "while its process runs"
    inboxes.drop_unused(folder)
    assert inboxes.holds(folder)
    assert inboxes.names(paths.messages) == ["a"]


def test_a_file_that_waits_is_something(paths: StatePaths) -> None:
    (paths.messages / "a/outgoing").mkdir(parents=True)
    (paths.messages / "a/outgoing/17").touch()
    assert inboxes.holds(paths.messages / "a")


def test_rows_and_their_files_go_and_come_back_with_the_account(paths: StatePaths) -> None:
    link(paths, "a")
    with outbox_of(paths.root, "a") as outbox:
        outbox.add(new("first"))
        (paths.messages / "a/outgoing").mkdir()
        (paths.messages / "a/outgoing/17").write_bytes(NEEDLE)
        place = put_away(paths, "a")
    assert with_needle(place / "messages") == {place / "messages/outgoing/17"}
    assert everything(paths.messages) == {"a/begin": b"1\n"}
    restore(paths, "a")
    assert (paths.messages / "a/outgoing/17").read_bytes() == NEEDLE
    with outbox_of(paths.root, "a") as outbox:
        assert [row.number for row in outbox.waiting()] == [1]
        assert outbox.add(new("first")).again
        assert outbox.add(new("second")).row.number == 2


def test_no_number_of_a_row_comes_again_under_one_name(paths: StatePaths) -> None:
    link(paths, "a")
    with outbox_of(paths.root, "a") as outbox:
        for number in range(7):
            outbox.add(new(str(number)))
    store(paths, "a", 3, clean=True)
    put_away(paths, "a")
    with outbox_of(paths.root, "a") as outbox:
        assert outbox.add(new()).row.number == 8
    store(paths, "a", 1, clean=True)
    assert numbers(paths.messages / "a") == [8]


def test_an_outbox_that_cannot_be_read_goes_too_and_its_numbers_do_not_return(paths: StatePaths) -> None:
    link(paths, "a")
    store(paths, "a", 3, clean=True)
    (paths.messages / "a" / OUTBOX).write_bytes(b"not a database" * 100)
    place = put_away(paths, "a")
    assert numbers(place / "messages") == [1, 2, 3]
    assert counted.begin(paths.messages / "a") > 10**9


def test_deleted_texts_are_not_in_the_log_of_an_outbox_either(paths: StatePaths) -> None:
    link(paths, "a")
    with outbox_of(paths.root, "a") as outbox:
        outbox.add(new(NEEDLE.decode()))
        outbox.take_back(1)
        with closing(OutboxReader.open(paths.messages / "a")) as reader:
            assert reader.rows()
            outbox.clear(Retention(-1e9, -1e9))
        place = put_away(paths, "a")
    assert with_needle(place) == set()


def test_outboxes_that_were_put_aside_are_found(paths: StatePaths) -> None:
    (paths.messages / "a").mkdir()
    (paths.messages / "a" / OUTBOX).write_bytes(b"not a database" * 100)
    with outbox_of(paths.root, "a"):
        pass
    (aside,) = inboxes.put_aside(paths.messages / "a")
    assert aside.name.startswith("damaged-outbox-")


@pytest.mark.parametrize("where", ["old", "new"])
def test_a_rename_is_refused_where_a_link_is_in_the_way(
    paths: StatePaths, tmp_path: Path, where: str
) -> None:
    link(paths, "old")
    (paths.messages / where).symlink_to(tmp_path)
    with pytest.raises(OrchestratorError, match="remove it"):
        in_files(paths, paths.qr).moves.check_rename(configured("old"), "old", "new", ())


# Killed in the middle

KILL = """
import os, sys
name, calls = sys.argv[1], int(sys.argv[2])
real = getattr(os, name)
def kill(*args, **more):
    global calls
    calls -= 1
    if calls < 0:
        os.kill(os.getpid(), 9)
    return real(*args, **more)
setattr(os, name, kill)
exec(sys.argv[3])
"""
QUARANTINE = """
from pathlib import Path
from orchestrator.store.quarantine import put
root = Path(sys.argv[4])
put(root / "sessions/a", root / "quarantine", "removed", 1795354074, messages=root / "messages/a")
"""
RENAME = """
from dataclasses import dataclass, field
from pathlib import Path
from orchestrator.store import moving
from orchestrator.store.layout import OUTBOX, StatePaths
@dataclass(frozen=True)
class Configuration:
    accounts: dict
    config_file: Path = Path("/etc/accounts.yaml")
    qr_dir: Path = Path("/nowhere")
moving.finish(StatePaths.of(Path(sys.argv[4]), environ={}), Configuration({sys.argv[5]: None}))
"""
CALLS = [(name, count) for name in ("rename", "replace", "mkdir", "unlink", "rmdir") for count in range(4)]


def killed(call: str, count: int, code: str, *arguments: object) -> bool:
    """Run code that is killed at the so-many-th call of a function of `os`; tell whether it was."""
    line = [sys.executable, "-c", KILL, call, str(count), code, *map(str, arguments)]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=90)
    assert done.returncode in (0, -9)
    return done.returncode == -9


@pytest.mark.parametrize(("call", "count"), CALLS)
def test_a_killed_remove_leaves_session_and_messages_together(
    paths: StatePaths, call: str, count: int
) -> None:
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    killed(call, count, QUARANTINE, paths.root)
    leftovers.clear(paths, configured())
    if paths.session("a").exists():
        assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]
        assert quarantine.quarantined(paths.quarantine) == []
        assert not (paths.home("a") / "messages").exists()
        put_away(paths, "a")
    (one,) = quarantine.quarantined(paths.quarantine)
    assert one.has_session
    assert numbers(one.path / "messages") == [1, 2, 3, 4, 5]
    assert everything(paths.messages) == {"a/begin": b"5\n"}
    assert inboxes.is_put_away(paths.messages / "a")


@pytest.mark.parametrize(("call", "count"), [*CALLS, *(("fsync", count) for count in range(16))])
def test_a_killed_rename_is_finished(paths: StatePaths, call: str, count: int) -> None:
    link(paths, "old")
    store(paths, "old", 5, clean=True)
    moving.begin(paths, Rename("old", "new"))
    killed(call, count, RENAME, paths.root, "new")
    assert not inboxes.is_put_away(paths.messages / "old"), "or texts of them would be deleted elsewhere"
    leftovers.clear(paths, configured("new"))
    assert paths.session("new").exists()
    assert numbers(paths.messages / "new") == [1, 2, 3, 4, 5]
    assert everything(paths.messages / "old") == {"begin": b"5\n", "renamed": b"new\n"}


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize(("call", "count"), CALLS)
def test_a_killed_restore_is_finished(paths: StatePaths, call: str, count: int, newer: bool) -> None:
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    place = put_away(paths, "a")
    if newer:
        store(paths, "a", 2, clean=True)
    moves = in_files(paths, paths.qr).moves
    moves.begin(moves.check_restore(configured("a"), "a", None)[0])
    killed(call, count, RENAME, paths.root, "a")
    leftovers.clear(paths, configured("a"))
    assert paths.session("a").exists()
    if newer:
        assert numbers(paths.messages / "a") == [6, 7]
        assert numbers(place / "messages") == [1, 2, 3, 4, 5]
    else:
        assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]
        assert not place.exists()


# Restore


def test_an_inbox_that_is_back_is_as_good_as_before(paths: StatePaths) -> None:
    """The number that is left behind is also in the folder that moved: its entries count all the same."""
    link(paths, "a")
    store(paths, "a", 5, clean=True, media=False)
    for _ in range(3):
        place = put_away(paths, "a")
        assert restore(paths, "a")
        assert not place.exists()
        assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]
    rename(paths, "a", "b")
    assert numbers(paths.messages / "b") == [1, 2, 3, 4, 5]
    rename(paths, "b", "a")
    assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]


def test_session_and_messages_come_back_together(paths: StatePaths) -> None:
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    place = put_away(paths, "a")
    notes = restore(paths, "a")
    assert any("messages that were put away with this session are back" in note for note in notes)
    assert paths.session("a").exists()
    assert not place.exists()
    store(paths, "a", 1, clean=True)
    assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5, 6]


def test_newer_messages_are_never_replaced(paths: StatePaths) -> None:
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    place = put_away(paths, "a")
    store(paths, "a", 2, clean=True)
    notes = restore(paths, "a")
    assert any(f"stay in {place}" in note and "has other messages since" in note for note in notes)
    assert numbers(paths.messages / "a") == [6, 7]
    assert numbers(place / "messages") == [1, 2, 3, 4, 5]
    with pytest.raises(OrchestratorError, match="nothing was restored") as caught:
        restore(paths, "a", place.name)
    assert caught.value.key == "messages_exist"
    assert in_files(paths, paths.qr).sessions.prune(7, NOW + 8 * DAY) == [place.name]


def test_messages_alone_come_back(paths: StatePaths) -> None:
    store(paths, "a", 5, clean=True)
    place = put_away(paths, "a")
    link(paths, "a")  # it has been linked since
    (note,) = restore(paths, "a", place.name)
    assert "only the messages are back" in note
    assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]
    assert not place.exists()


def test_older_messages_that_come_back_go_on_after_the_newest(paths: StatePaths) -> None:
    store(paths, "a", 5, clean=True)
    first = put_away(paths, "a")
    store(paths, "a", 5, clean=True)
    put_away(paths, "a", NOW + 1)
    restore(paths, "a", first.name)
    store(paths, "a", 1, clean=True)
    assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5, 11]


def test_messages_of_another_account_do_not_get_numbers_that_were_given(paths: StatePaths) -> None:
    link(paths, "other")
    store(paths, "other", 5, clean=True)
    place = put_away(paths, "other")
    store(paths, "a", 2, clean=True)
    put_away(paths, "a")
    notes = restore(paths, "a", place.name)
    assert any("has had messages before" in note for note in notes)
    assert numbers(place / "messages") == [1, 2, 3, 4, 5]
    assert everything(paths.messages / "a") == {"begin": b"2\n"}


# Rename


def rename(paths: StatePaths, old: str, new: str) -> None:
    moves = in_files(paths, paths.qr).moves
    moves.check_rename(configured(old), old, new, ())
    moves.begin(Rename(old, new))
    moves.finish(configured(new))


def test_who_has_a_name_anew_is_not_the_one_that_had_it_before(paths: StatePaths) -> None:
    """An account is renamed, another one gets its name, receives nothing, and is removed."""
    link(paths, "old")
    store(paths, "old", 5, clean=True)
    rename(paths, "old", "new")
    folder = paths.messages / "old"
    assert inboxes.renamed(folder) == "new"
    assert make_folders(paths, "old") is None  # before each start
    for _ in range(2):
        assert make_folders(paths, "old") is None
        assert inboxes.renamed(folder) is None
        assert inboxes.was_renamed(folder) == "new"
        link(paths, "old")
        store(paths, "old", 0, clean=True, media=False)
        put_away(paths, "old")
    assert inboxes.renamed(folder) is None
    rename(paths, "new", "old")  # as if nothing had happened
    assert numbers(folder) == [1, 2, 3, 4, 5]
    rename(paths, "old", "new")
    assert inboxes.renamed(folder) == "new"
    # One that is renamed itself before it has a message has left nothing that anybody could follow.
    make_folders(paths, "old")
    link(paths, "old")
    store(paths, "old", 0, clean=True, media=False)
    rename(paths, "old", "third")
    assert inboxes.renamed(folder) is None


def test_a_rename_and_back_again(paths: StatePaths) -> None:
    link(paths, "old")
    store(paths, "old", 5, clean=True)
    rename(paths, "old", "new")
    store(paths, "new", 1, clean=True)
    rename(paths, "new", "third")
    rename(paths, "third", "old")
    assert numbers(paths.messages / "old") == [1, 2, 3, 4, 5, 6]
    assert inboxes.renamed(paths.messages / "new") == "third"


def test_a_name_whose_messages_were_others_is_taken(paths: StatePaths) -> None:
    for name in ("a", "b"):
        link(paths, name)
        store(paths, name, 5, clean=True)
    put_away(paths, "b")
    with pytest.raises(OrchestratorError, match="the same identifiers"):
        in_files(paths, paths.qr).moves.check_rename(configured("a"), "a", "b", ())
    # The name of an account that was renamed, and was used again since.
    rename(paths, "a", "c")
    store(paths, "a", 1, clean=True)
    assert numbers(paths.messages / "a") == [6]
    put_away(paths, "a")
    with pytest.raises(OrchestratorError, match="the same identifiers"):
        in_files(paths, paths.qr).moves.check_rename(configured("c"), "c", "a", ())


def test_an_account_without_messages_may_have_such_a_name(paths: StatePaths) -> None:
    link(paths, "b")
    store(paths, "b", 5, clean=True)
    put_away(paths, "b")
    link(paths, "a")
    (paths.messages / "a").mkdir()
    rename(paths, "a", "b")
    assert not (paths.messages / "a").exists()
    store(paths, "b", 1, clean=True)
    assert numbers(paths.messages / "b") == [6]


# Another file system


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="orchestrator-test-") as folder:
        if Path(folder).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("the temporary folder is in memory, too")
        yield Path(folder)


@pytest.mark.parametrize("which", ["quarantine", "sessions", "messages"])
def test_parts_on_another_file_system(
    paths: StatePaths, elsewhere: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StatePaths, which, property(lambda _: elsewhere / which))
    (elsewhere / which).mkdir(mode=0o700)
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    (paths.messages / "a/media/link").symlink_to("123")
    place = put_away(paths, "a")
    assert numbers(place / "messages") == [1, 2, 3, 4, 5]
    assert (place / "messages/media/link").readlink() == Path("123")
    assert everything(paths.messages) == {"a/begin": b"5\n"}
    assert not paths.home("a").exists()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    restore(paths, "a")
    assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]
    assert paths.session("a").exists()
    assert not place.exists()


@pytest.mark.parametrize(("call", "count"), CALLS)
def test_a_killed_remove_to_another_file_system(
    paths: StatePaths, elsewhere: Path, call: str, count: int
) -> None:
    (elsewhere / "quarantine").mkdir(mode=0o700)
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    code = QUARANTINE.replace('root / "quarantine"', "Path(sys.argv[5])")
    killed(call, count, code, paths.root, elsewhere / "quarantine")
    said = quarantine.tidy_quarantine(paths.sessions, elsewhere / "quarantine")
    said += quarantine.undo(paths.sessions, paths.messages, elsewhere / "quarantine", NOW)
    assert not [one for one in said if "cannot" in one]
    if not paths.session("a").exists():
        (one,) = quarantine.quarantined(elsewhere / "quarantine")
        assert one.has_session
        assert numbers(one.path / "messages") == [1, 2, 3, 4, 5]
    else:
        assert numbers(paths.messages / "a") == [1, 2, 3, 4, 5]


def test_something_that_cannot_be_copied_keeps_all_where_it_is(paths: StatePaths, elsewhere: Path) -> None:
    link(paths, "a")
    store(paths, "a", 5, clean=True)
    os.mkfifo(paths.messages / "a/pipe")
    before = everything(paths.root)
    with pytest.raises(OSError, match="not a regular file"):
        quarantine.put(
            paths.home("a"), elsewhere / "quarantine", "removed", NOW, messages=paths.messages / "a"
        )
    after = everything(paths.root)
    after.pop("messages/a/begin", None)
    assert after == before
