"""Sessions in the database: what every store has to do, and what only this one can get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.postgres import FreshDatabase, serving
from unit.store import test_contract as contract

from orchestrator.accounts.failure import Kind
from orchestrator.errors import StateError, StoreAway
from orchestrator.postgres.database import Database
from orchestrator.postgres.moves import Moves
from orchestrator.postgres.sessions import Sessions
from orchestrator.store import realm
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Store

NOW = contract.NOW


class InPostgres:
    """The sessions in a database, and the rest of a store in files."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._paths = StatePaths.of(folder / "state", environ={})
        self._paths.prepare()
        self._database = database
        self.store = self.reopen()

    def reopen(self) -> Store:
        files = in_files(self._paths, self._paths.qr)
        sessions = Sessions(self._database, self._paths, realm.WHATSAPP)
        return Store(
            self._paths,
            sessions,
            Moves(self._database, self._paths),
            files.record,
            files.codes,
            files.ownership,
        )

    def link(self, name: str, device: str) -> None:
        self._write(name, (f"{device}@s.whatsapp.net", device.encode() * 8, device.encode() * 9))

    def begin_to_pair(self, name: str) -> None:
        self._write(name, None)

    def _write(self, name: str, row: tuple[object, ...] | None) -> None:
        with self.process(name), self._connection as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS whatsmeow_device (jid text, noise_key bytea, identity_key bytea)"
            )
            connection.execute("DELETE FROM whatsmeow_device")
            if row is not None:
                connection.execute("INSERT INTO whatsmeow_device VALUES (%s, %s, %s)", row)

    def content(self, name: str) -> object:
        if not self.store.sessions.exists(name):
            return None
        with self.process(name):
            return self._connection.execute("SELECT * FROM whatsmeow_device").fetchall()

    @contextmanager
    def process(self, name: str) -> Iterator[None]:
        assert self.store.sessions.admit(name) is None
        dsn = self.store.sessions.place(name).dsn
        assert dsn is not None
        with psycopg.connect(dsn, autocommit=True) as self._connection:
            yield

    def receive(self, name: str, count: int) -> None:
        raise NotImplementedError

    def messages(self, name: str) -> list[int]:
        raise NotImplementedError

    def code(self, name: str) -> bytes | None:
        raise NotImplementedError


@pytest.fixture
def world(tmp_path: Path, fresh: FreshDatabase) -> InPostgres:
    return InPostgres(tmp_path, fresh.ready())


HELD = (
    contract.test_an_account_without_a_session,
    contract.test_sessions_are_told_apart_by_their_devices,
    contract.test_a_session_that_waits_for_its_code_is_of_no_device,
    contract.test_the_signature_changes_with_the_session_and_only_then,
    contract.test_a_session_in_quarantine_is_gone_whole_and_comes_back_whole,
    contract.test_two_sessions_of_an_account_at_the_same_second,
    contract.test_a_session_in_use_stays_where_it_is,
    contract.test_only_what_is_old_enough_is_deleted,
    contract.test_what_is_deleted_for_good_cannot_be_restored,
    contract.test_closing_to_others_is_done_once,
    contract.test_a_rename_that_the_configuration_does_not_have_moves_nothing,
    contract.test_a_rename_can_be_given_up,
    contract.test_a_rename_that_cannot_be,
    contract.test_a_session_that_cannot_be_put_back,
    contract.test_what_is_being_restored_is_known_after_a_kill,
    contract.test_sessions_without_an_account_are_told,
)


@pytest.mark.parametrize("test", HELD, ids=lambda test: test.__name__.removeprefix("test_"))
def test_does_what_every_store_has_to_do(world: InPostgres, test: Callable[[contract.World], None]) -> None:
    test(world)


def test_names_that_postgres_would_cut_are_two_accounts(world: InPostgres) -> None:
    one, two = "a" * 62 + "1", "a" * 62 + "2"
    world.link(one, "4915100001")
    world.link(two, "4915100002")
    assert world.store.sessions.device(one).number == "4915100001"
    assert world.store.sessions.device(two).number == "4915100002"
    places = [world.store.sessions.quarantine(name, "logged_out", NOW) for name in (one, two)]
    assert len(set(places)) == 2
    assert {entry.name for entry in world.store.sessions.in_quarantine()} == {one, two}


def test_a_session_goes_to_another_account_with_the_rights_of_that_one(world: InPostgres) -> None:
    world.link("a", "1")
    place = world.store.sessions.quarantine("a", "repair", NOW)
    assert place is not None
    folder = place.partition(" ")[0]
    task, _ = world.store.moves.check_restore(contract.configured("b"), "b", folder)
    world.store.moves.begin(task)
    assert world.store.moves.finish(contract.configured("b"))
    with world.process("b"):
        world._connection.execute("ALTER TABLE whatsmeow_device ADD COLUMN more int")
    assert world.store.sessions.names() == ["b"]


def test_whoever_has_had_the_session_before_is_out(world: InPostgres) -> None:
    world.link("a", "1")
    with world.process("a"):
        former = world._connection
        dsn = world.store.sessions.place("a").dsn
        assert dsn is not None
        assert world.store.sessions.admit("a") is None
        with pytest.raises(psycopg.OperationalError):
            former.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(dsn)


def test_a_session_that_was_paired_elsewhere_is_refused(world: InPostgres) -> None:
    world.link("a", "1")
    elsewhere = Sessions(world._database, world._paths, "sandbox-1")
    refusal = elsewhere.admit("a")
    assert refusal is not None
    assert refusal.kind is Kind.CONFIG


def test_while_the_database_is_away_nothing_is_lost_or_decided(tmp_path: Path) -> None:
    with serving() as server:
        world = InPostgres(tmp_path, server.make_database().ready())
        world.link("a", "1")
        server.crash()
        sessions = world.store.sessions
        refusal = sessions.admit("a")
        assert refusal is not None
        assert refusal.kind is Kind.STORE
        assert sessions.device("a").linked is None
        with pytest.raises(StoreAway):
            sessions.exists("a")
        with pytest.raises(StateError):
            sessions.quarantine("a", "logged_out", NOW)
        assert sessions.prune(7, NOW) == []
        server.start()
        assert sessions.device("a").linked
        assert sessions.admit("a") is None


def test_a_password_is_shown_nowhere(world: InPostgres) -> None:
    world.link("a", "1")
    place = world.store.sessions.place("a")
    assert place.dsn is not None
    password = place.dsn.partition("password=")[2].partition("&")[0]
    assert len(password) > 20
    assert password not in repr(place)
