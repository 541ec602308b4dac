"""What every store has to do with sessions. Another store is run through this by one more world.

``tests/process/test_record_contract.py`` has what is written down, the codes and the ownership.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from orchestrator.errors import NoSuchAccount, OrchestratorError, StateError
from orchestrator.messages.database import NoInbox
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.store import sessions
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.moving import Rename, Restore
from orchestrator.store.protocols import Store
from orchestrator.store.status import Kept
from orchestrator.store.timeline import TimelineEntry

DAY = 86_400.0
NOW = 1_800_000_000.0


class World(Protocol):
    """A store, and what accounts' processes and those who watch codes do to it."""

    store: Store

    def reopen(self) -> Store:
        """Return the store as another service finds it, after the one before was killed."""

    def link(self, name: str, device: str) -> None:
        """Have the library write an account's session, linked as that device."""

    def begin_to_pair(self, name: str) -> None:
        """Have the library write what it does before a code is used."""

    def content(self, name: str) -> object:
        """Return everything in an account's session, None if there is none."""

    def receive(self, name: str, count: int) -> None:
        """Have an account's process store messages in its inbox."""

    def messages(self, name: str) -> list[int]:
        """Return the numbers of the messages that an account has."""

    def process(self, name: str) -> AbstractContextManager[None]:
        """Have a process use an account's session."""


class Files:
    """The state folder."""

    def __init__(self, folder: Path) -> None:
        self._paths = StatePaths.of(folder / "state", environ={})
        self._paths.prepare()
        self.store = self.reopen()

    def reopen(self) -> Store:
        return in_files(self._paths, self._paths.qr)

    def link(self, name: str, device: str) -> None:
        self._write(name, (f"{device}@s.whatsapp.net", device.encode() * 8, device.encode() * 9))

    def begin_to_pair(self, name: str) -> None:
        self._write(name, None)

    def _write(self, name: str, row: tuple[object, ...] | None) -> None:
        assert self.store.sessions.admit(name) is None
        with closing(sqlite3.connect(self.store.sessions.place(name).database)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS whatsmeow_device (jid TEXT, noise_key BLOB, identity_key BLOB)"
            )
            database.execute("DELETE FROM whatsmeow_device")
            if row is not None:
                database.execute("INSERT INTO whatsmeow_device VALUES (?, ?, ?)", row)

    def content(self, name: str) -> object:
        path = self.store.sessions.place(name).database
        return path.read_bytes() if path.exists() else None

    def receive(self, name: str, count: int) -> None:
        assert self.store.sessions.admit(name) is None
        with closing(Inbox.open(self.store.sessions.place(name).messages)) as inbox:
            for number in range(count):
                chat = "1@s.whatsapp.net"
                assert inbox.append(Entry("message", chat, chat, f"{inbox.count}-{number}", NOW, b"x"))

    def messages(self, name: str) -> list[int]:
        try:
            reader = Reader.open(self.store.sessions.place(name).messages)
        except NoInbox:
            return []
        with closing(reader):
            return [one.seq for one in reader.after(0)]

    @contextmanager
    def process(self, name: str) -> Iterator[None]:
        held = sessions.lock(self.store.sessions.place(name).lock)
        try:
            yield
        finally:
            os.close(held)


@pytest.fixture(params=[pytest.param(Files, id="files")])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    made: World = request.param(tmp_path)
    return made


@dataclass(frozen=True)
class Configuration:
    """What a store asks of a configuration."""

    accounts: dict[str, object]
    config_file: Path = Path("/etc/accounts.yaml")
    qr_dir: Path = field(default=Path("/nowhere"))


def configured(*names: str) -> Configuration:
    return Configuration(dict.fromkeys(names))


# Sessions


def test_an_account_without_a_session(world: World) -> None:
    store = world.store.sessions
    assert not store.exists("a")
    assert store.names() == []
    assert store.device("a").linked is False
    assert store.quarantine("a", "repair", NOW) is None
    assert not world.store.moves.has_session("a")


def test_sessions_are_told_apart_by_their_devices(world: World) -> None:
    for name, device in (("b", "2"), ("a", "1"), ("copy", "1")):
        world.link(name, device)
    store = world.store.sessions
    assert store.names() == ["a", "b", "copy"]
    assert all(store.exists(name) and store.device(name).linked for name in ("a", "b", "copy"))
    assert store.device("a").marks & store.device("copy").marks
    assert not store.device("a").marks & store.device("b").marks


def test_a_session_that_waits_for_its_code_is_of_no_device(world: World) -> None:
    world.begin_to_pair("a")
    assert world.store.sessions.exists("a")
    assert world.store.sessions.device("a").linked is False
    assert not world.store.moves.has_session("a")


def test_the_signature_changes_with_the_session_and_only_then(world: World) -> None:
    store = world.store.sessions
    nothing = store.signature("a")
    world.link("a", "1")
    first = store.signature("a")
    store.device("a")
    world.link("b", "2")
    assert store.signature("a") == first != nothing
    world.link("a", "another")
    assert store.signature("a") != first
    store.quarantine("a", "repair", NOW)
    assert store.signature("a") == nothing


def test_a_session_in_quarantine_is_gone_whole_and_comes_back_whole(world: World) -> None:
    world.link("a", "1")
    before = world.content("a")
    place = world.store.sessions.quarantine("a", "logged_out", NOW)
    assert place
    assert (world.content("a"), world.store.sessions.exists("a")) == (None, False)
    task, about = world.store.moves.check_restore(configured("a"), "a", None)
    assert about.folder in place
    assert any("logged this session out" in note for note in about.notes)
    world.store.moves.begin(task)
    world.store.moves.finish(configured("a"))
    assert world.content("a") == before
    assert world.store.moves.pending() is None


def test_two_sessions_of_an_account_at_the_same_second(world: World) -> None:
    places = []
    for device in ("1", "2"):
        world.link("a", device)
        places.append(world.store.sessions.quarantine("a", "repair", NOW))
    assert len(set(places)) == 2
    _, newest = world.store.moves.check_restore(configured("a"), "a", None)
    assert newest.folder in str(places[1])


def test_a_session_in_use_stays_where_it_is(world: World) -> None:
    world.link("a", "1")
    before = world.content("a")
    with world.process("a"), pytest.raises(StateError, match="in use"):
        world.store.sessions.quarantine("a", "repair", NOW)
    assert world.content("a") == before


def test_only_what_is_old_enough_is_deleted(world: World) -> None:
    for name, age in (("old", 8), ("young", 6)):
        world.link(name, name)
        world.store.sessions.quarantine(name, "repair", NOW - age * DAY)
    assert [name.partition("-")[0] for name in world.store.sessions.prune(7, NOW)] == ["old"]
    assert world.store.sessions.prune(7, NOW) == []
    world.store.moves.check_restore(configured("young"), "young", None)
    with pytest.raises(OrchestratorError, match='there is no session of "old"'):
        world.store.moves.check_restore(configured("old"), "old", None)


def test_what_is_deleted_for_good_cannot_be_restored(world: World) -> None:
    for name in ("a", "b"):
        world.link(name, name)
        world.store.sessions.quarantine(name, "repair", NOW)
    _, about = world.store.moves.check_restore(configured("a"), "a", None)
    assert world.store.sessions.purge([about.folder]).done == [about.folder]
    assert list(world.store.sessions.purge([about.folder]).kept) == [about.folder]
    world.store.moves.check_restore(configured("b"), "b", None)
    with pytest.raises(OrchestratorError, match='there is no session of "a"'):
        world.store.moves.check_restore(configured("a"), "a", None)


def test_what_lies_in_quarantine_is_listed_and_known_by_its_device(world: World) -> None:
    sessions = world.store.sessions
    assert sessions.in_quarantine() == []
    world.link("a", "1")
    marks = sessions.device("a").marks
    sessions.quarantine("a", "repair", NOW)
    world.receive("b", 2)
    sessions.quarantine("b", "removed", NOW + 1, messages=True)
    newer, older = sessions.in_quarantine()
    assert (older.name, older.reason, older.at) == ("a", "repair", NOW)
    assert (older.session, older.messages, older.restorable) == (True, False, True)
    assert (newer.name, newer.reason, newer.at) == ("b", "removed", NOW + 1)
    assert (newer.session, newer.messages) == (False, True)
    assert older.size > 0
    assert sessions.former(older.folder).marks == marks
    assert sessions.former(newer.folder).linked is False
    assert sessions.quarantine_place


def test_closing_to_others_is_done_once(world: World) -> None:
    world.link("a", "1")
    world.store.sessions.close_to_others()
    assert world.store.sessions.close_to_others() == []


# Messages


def test_messages_go_and_come_back_with_the_session(world: World) -> None:
    world.link("a", "1")
    world.receive("a", 3)
    assert world.store.sessions.quarantine("a", "removed", NOW, messages=True)
    assert world.messages("a") == []
    task, about = world.store.moves.check_restore(configured("a"), "a", None)
    assert any("messages" in note for note in about.notes)
    world.store.moves.begin(task)
    assert world.reopen().moves.finish(configured("a"))
    assert world.messages("a") == [1, 2, 3]


def test_messages_stay_when_the_session_alone_goes(world: World) -> None:
    world.link("a", "1")
    world.receive("a", 3)
    world.store.sessions.quarantine("a", "logged_out", NOW)
    assert world.messages("a") == [1, 2, 3]


def test_no_number_comes_twice_under_one_name(world: World) -> None:
    world.receive("a", 3)
    world.store.sessions.quarantine("a", "removed", NOW, messages=True)
    world.receive("a", 2)
    assert world.messages("a") == [4, 5]
    world.store.moves.begin(Rename("a", "b"))
    world.store.moves.finish(configured("b"))
    world.receive("a", 1)
    assert (world.messages("a"), world.messages("b")) == ([6], [4, 5])


def test_newer_messages_are_never_replaced(world: World) -> None:
    world.link("a", "1")
    world.receive("a", 2)
    world.store.sessions.quarantine("a", "removed", NOW, messages=True)
    world.receive("a", 1)
    task, _ = world.store.moves.check_restore(configured("a"), "a", None)
    world.store.moves.begin(task)
    world.store.moves.finish(configured("a"))
    assert (world.store.sessions.names(), world.messages("a")) == (["a"], [3])


# Moves


def test_a_rename_takes_everything_along_even_after_a_kill(world: World) -> None:
    world.link("old", "1")
    before = world.content("old")
    world.store.record.append("old", TimelineEntry(1.0, "starting", "connected"))
    world.store.record.save({"old": Kept(stopped=True), "other": Kept()})
    assert world.store.moves.check_rename(configured("old"), "old", "new", known=())
    world.store.moves.begin(Rename("old", "new"))

    store = world.reopen()
    assert store.moves.pending() == Rename("old", "new")
    assert store.moves.finish(configured("new"))
    assert (store.moves.pending(), store.moves.finish(configured("new"))) == (None, None)
    assert (world.content("old"), world.content("new")) == (None, before)
    assert [entry["to"] for entry in store.record.tail("new", 9)] == ["connected"]
    assert store.record.tail("old", 9) == []
    assert {name: kept.stopped for name, kept in store.record.load().items()} == {"new": True, "other": False}


def test_a_rename_that_the_configuration_does_not_have_moves_nothing(world: World) -> None:
    world.link("old", "1")
    world.store.moves.begin(Rename("old", "new"))
    world.store.moves.finish(configured("old"))
    assert world.store.moves.pending() is None
    assert world.store.sessions.names() == ["old"]


def test_what_was_left_half_done_is_cleared_up(world: World) -> None:
    world.link("old", "1")
    world.store.moves.begin(Rename("old", "new"))
    assert world.reopen().moves.clear_up() == []
    assert world.store.moves.pending() is not None, "without a configuration, nobody knows which name counts"
    (said,) = world.reopen().moves.clear_up(configured("new"))
    assert said.startswith("old: renamed to new")
    assert world.store.sessions.names() == ["new"]
    assert world.store.moves.clear_up(configured("new")) == []


def test_a_rename_can_be_given_up(world: World) -> None:
    world.store.moves.begin(Rename("old", "new"))
    world.store.moves.give_up()
    world.store.moves.give_up()
    assert world.reopen().moves.pending() is None


def test_a_rename_that_cannot_be(world: World) -> None:
    moves = world.store.moves
    with pytest.raises(NoSuchAccount):
        moves.check_rename(configured("a"), "nobody", "new", known=())
    with pytest.raises(OrchestratorError, match="choose another name"):
        moves.check_rename(configured("a", "b"), "a", "b", known=())
    world.link("stray", "1")
    with pytest.raises(OrchestratorError, match="belongs to no account"):
        moves.check_rename(configured("a"), "a", "stray", known=())
    # One that was renamed in the configuration already, and still runs under its old name.
    assert not moves.check_rename(configured("new"), "a", "new", known={"a"})


def test_a_session_that_cannot_be_put_back(world: World) -> None:
    moves = world.store.moves
    with pytest.raises(NoSuchAccount):
        moves.check_restore(configured("a"), "nobody", None)
    world.link("a", "1")
    world.store.sessions.quarantine("a", "repair", NOW)
    world.link("a", "2")
    with pytest.raises(OrchestratorError, match="nothing was restored"):
        moves.check_restore(configured("a"), "a", None)
    world.store.sessions.quarantine("a", "unlinked", NOW)
    world.link("b", "1")
    with pytest.raises(OrchestratorError, match="the account b uses"):
        moves.check_restore(configured("a", "b"), "a", None)


def test_what_is_being_restored_is_known_after_a_kill(world: World) -> None:
    world.link("a", "1")
    world.store.sessions.quarantine("a", "repair", NOW)
    task, _ = world.store.moves.check_restore(configured("a"), "a", None)
    world.store.moves.begin(task)
    store = world.reopen()
    found = store.moves.pending()
    assert isinstance(found, Restore)
    assert found == task
    assert store.moves.finish(configured("a"))
    assert store.sessions.names() == ["a"]


def test_sessions_without_an_account_are_told(world: World) -> None:
    world.link("a", "1")
    world.link("stray", "2")
    world.begin_to_pair("unlinked")
    moves = world.store.moves
    assert moves.strays({"a"}) == ["stray"]
    (said,) = moves.about_strays(["stray"], ["a", "free"])
    assert "orchestrator rename stray free" in said
    assert moves.about_strays([], ["a"]) == []
