"""The leases at a real server: two who claim at once, one who is frozen, and roles that want too much."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.postgres import FreshDatabase

from orchestrator.accounts.breaker import PROBE_FIRST
from orchestrator.accounts.refusal import PROBING_SECONDS, Refusal, Word
from orchestrator.cluster.actions import Claim, Leave, Parcel, Register, Release, Renew
from orchestrator.cluster.board import Board, Holding, Report
from orchestrator.cluster.events import Claimed, Granted, Left, Refused, Released, Taken
from orchestrator.consumers.followed import Row
from orchestrator.consumers.writes import Moved, Place
from orchestrator.errors import AlreadyRunning, Disowned, StoreUnusable
from orchestrator.postgres import ids, leases, roles
from orchestrator.postgres.consumers import ConsumerRows
from orchestrator.postgres.database import Connection, Database, Listener
from orchestrator.postgres.leases import CHANNEL, WATCH, Leases, Me
from orchestrator.postgres.membership import Membership
from orchestrator.postgres.ownership import OwnerRow
from orchestrator.store.layout import StatePaths

NOTHING = Report()
NAMES = [f"account-{number:02}" for number in range(12)]


class Shard:
    """A shard that asks the database what it is told to."""

    def __init__(self, fresh: FreshDatabase, name: str, capacity: int = 100) -> None:
        self.database = fresh.open()
        self.leases = Leases(self.database, Me(name, f"host-of-{name}", "1.0", capacity))
        self.incarnation = str(uuid.uuid4())

    def register(self, report: Report = NOTHING) -> Board:
        answer = self.leases.ask(Register(self.incarnation, report), 7.0)
        assert isinstance(answer, Granted)
        assert (answer.incarnation, answer.begun) == (self.incarnation, 7.0)
        return answer.board

    def renew(self, report: Report = NOTHING) -> Board:
        answer = self.leases.ask(Renew(self.incarnation, report), 8.0)
        assert isinstance(answer, Granted)
        return answer.board

    def claim(self, count: int) -> tuple[Holding, ...]:
        answer = self.leases.ask(Claim(self.incarnation, count), 0.0)
        assert isinstance(answer, Claimed)
        return answer.holdings

    def release(self, *parcels: Parcel) -> tuple[str, ...]:
        answer = self.leases.ask(Release(self.incarnation, parcels), 0.0)
        assert isinstance(answer, Released)
        return answer.kept

    def is_refused(self) -> bool:
        return isinstance(self.leases.ask(Renew(self.incarnation, NOTHING), 0.0), Refused)


@pytest.fixture
def filled(fresh: FreshDatabase) -> FreshDatabase:
    fresh.ready().run(lambda connection: [ids.of(connection, name) for name in NAMES])
    return fresh


@pytest.fixture
def database(filled: FreshDatabase) -> Database:
    return filled.open()


@pytest.fixture
def two(filled: FreshDatabase) -> tuple[Shard, Shard]:
    shards = Shard(filled, "one"), Shard(filled, "two")
    for shard in shards:
        shard.register()
    return shards


def expire(fresh: FreshDatabase, name: str) -> None:
    with fresh.superuser() as connection:
        connection.execute("UPDATE orchestrator.shard SET until = clock_timestamp() WHERE name = %s", [name])


def owners(database: Database) -> dict[str, str | None]:
    return dict(database.run(leases.look).owners)


def test_a_shard_registers_sees_the_others_and_claims(two: tuple[Shard, Shard]) -> None:
    one, other = two
    board = one.renew(Report(connected=3, willing=False, failing_over=True))
    assert [peer.name for peer in board.peers] == ["one", "two"]
    assert (board.free, board.reserved, board.mine, board.drained) == (12, 0, (), False)
    assert board.free_seconds > 0
    seen = other.renew().peers[0]
    assert seen.report == Report(connected=3, willing=False, failing_over=True)
    assert 0 <= seen.age < 60
    got = one.claim(5)
    assert len(got) == 5
    assert {holding.epoch for holding in got} == {1}
    assert {holding.name for holding in got} <= set(NAMES)
    assert one.renew().mine == got
    assert other.renew().free == 7


def test_registering_again_after_a_lost_answer_is_the_same_lease(filled: FreshDatabase) -> None:
    shard = Shard(filled, "one")
    shard.register()
    shard.claim(2)
    assert len(shard.register().mine) == 2


@pytest.mark.usefixtures("two")
def test_a_name_that_another_process_has_is_taken(fresh: FreshDatabase) -> None:
    again = Shard(fresh, "one")
    assert again.leases.ask(Register(again.incarnation, NOTHING), 0.0) == Taken("host-of-one")


def test_two_who_claim_at_once_never_get_the_same(two: tuple[Shard, Shard]) -> None:
    for _ in range(20):
        barrier = threading.Barrier(2)
        got: list[tuple[Holding, ...]] = []

        def claim(shard: Shard, barrier: threading.Barrier = barrier, got: list[Any] = got) -> None:
            barrier.wait(30)
            got.append(shard.claim(8))

        threads = [threading.Thread(target=claim, args=[shard]) for shard in two]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        accounts = [holding.account for holdings in got for holding in holdings]
        assert len(accounts) == len(set(accounts))
        assert len(got) == 2
        for shard in two:
            shard.release(*(Parcel(h.account, h.epoch, None) for h in shard.renew().mine))


def test_nobody_claims_beyond_his_room(filled: FreshDatabase) -> None:
    shard = Shard(filled, "one", capacity=3)
    shard.register()
    assert len(shard.claim(8)) == 3
    assert len(shard.claim(8)) == 3


def test_a_shard_claims_nothing_that_its_configuration_does_not_have(
    fresh: FreshDatabase, database: Database
) -> None:
    shard = Shard(fresh, "one")
    shard.register()
    account = database.run(lambda connection: ids.of(connection, NAMES[0]))
    shard.leases.unknown = {account}
    assert account not in {holding.account for holding in shard.claim(100)}
    assert len(shard.renew().mine) == 11


def test_a_lease_that_has_ended_never_comes_back_and_its_accounts_are_free(
    two: tuple[Shard, Shard], fresh: FreshDatabase, database: Database
) -> None:
    one, other = two
    lost = one.claim(12)
    expire(fresh, "one")
    assert one.is_refused(), "not even before anybody else has looked"
    board = other.renew()
    assert [peer.name for peer in board.peers] == ["two"]
    assert board.free == 12
    assert one.is_refused()
    assert isinstance(one.leases.ask(Claim(one.incarnation, 1), 0.0), Refused)
    assert isinstance(one.leases.ask(Leave(one.incarnation), 0.0), Refused)
    parcels = tuple(Parcel(holding.account, holding.epoch, None) for holding in lost)
    assert isinstance(one.leases.ask(Release(one.incarnation, parcels), 0.0), Refused)
    taken = other.claim(12)
    assert {holding.epoch for holding in taken} == {2}
    assert all(holding.urgent for holding in taken)
    assert set(owners(database).values()) == {"two"}


def test_a_parcel_of_an_earlier_epoch_gives_nothing_up(two: tuple[Shard, Shard]) -> None:
    one, _ = two
    (holding,) = one.claim(1)
    one.release(Parcel(holding.account, holding.epoch - 1, None))
    assert one.renew().mine == (holding,)


def test_an_account_is_handed_to_a_shard_that_has_room_and_waits_for_it(two: tuple[Shard, Shard]) -> None:
    one, other = two
    first, second = one.claim(2)
    assert one.release(Parcel(first.account, first.epoch, "two")) == ()
    board = one.renew()
    assert (board.free, board.reserved) == (10, 0)
    assert [peer.coming for peer in board.peers] == [0, 1]
    assert other.renew().reserved == 1
    assert first.account not in {holding.account for holding in one.claim(100)}
    (got,) = other.claim(1)
    assert (got.account, got.epoch, got.urgent) == (first.account, 2, True)
    other.renew(Report(willing=False))
    assert one.release(Parcel(second.account, second.epoch, "two")) == (second.account,)
    assert one.release(Parcel(second.account, second.epoch, "nobody")) == (second.account,)


def test_a_full_shard_is_handed_nothing(filled: FreshDatabase) -> None:
    full, giver = Shard(filled, "full", capacity=2), Shard(filled, "giver")
    full.register()
    giver.register()
    full.claim(1)
    first, second, *_ = giver.claim(2)
    parcels = [Parcel(holding.account, holding.epoch, "full") for holding in (first, second)]
    assert giver.release(*parcels) == (second.account,)


def test_what_is_kept_for_a_shard_that_is_gone_is_for_anybody(
    two: tuple[Shard, Shard], fresh: FreshDatabase
) -> None:
    one, other = two
    (holding,) = one.claim(1)
    one.release(Parcel(holding.account, holding.epoch, "two"))
    expire(fresh, "two")
    assert one.renew().free == 12
    assert other.is_refused()


def test_a_shard_that_leaves_frees_what_it_has(two: tuple[Shard, Shard]) -> None:
    one, other = two
    one.claim(4)
    assert isinstance(one.leases.ask(Leave(one.incarnation), 0.0), Left)
    assert isinstance(one.leases.ask(Leave(one.incarnation), 0.0), Refused)
    assert other.renew().free == 12


def test_an_operator_moves_an_account_and_drains_a_shard(
    two: tuple[Shard, Shard], database: Database
) -> None:
    one, other = two
    (holding,) = one.claim(1)
    assert database.run(lambda connection: leases.move(connection, holding.account, "two"))
    assert one.renew().mine[0].target == "two"
    one.release(Parcel(holding.account, holding.epoch, "two"))
    assert other.claim(1)[0].target == "two", "there it stays"
    database.run(lambda connection: leases.drain(connection, "two", wanted=True))
    assert other.renew().drained
    assert database.run(leases.look).drained == ("two",)
    database.run(lambda connection: leases.drain(connection, "two", wanted=False))
    assert not other.renew().drained
    assert not database.run(lambda connection: leases.move(connection, ids.make(), "two"))


def test_the_cluster_shows_who_has_what_and_what_waits(two: tuple[Shard, Shard], database: Database) -> None:
    one, _ = two
    one.claim(3)
    seen = database.run(leases.look)
    assert [(shard.peer.name, shard.host, shard.peer.held) for shard in seen.shards] == [
        ("one", "host-of-one", 3),
        ("two", "host-of-two", 0),
    ]
    assert sorted(seen.owners) == NAMES
    assert len(seen.waiting) == 9


def test_one_who_is_frozen_in_the_middle_of_a_renewal_keeps_nobody_waiting(
    two: tuple[Shard, Shard], fresh: FreshDatabase
) -> None:
    one, other = two
    one.claim(12)
    frozen = one.database.connect()
    try:
        frozen.execute(
            "SELECT orchestrator.lease_renew(%s, 100, 0, true, false)", [one.incarnation]
        )  # and never commits
        assert len(other.renew().peers) == 2
        # Its row is locked until the server loses patience; then the renewal has never been.
        ended = threading.Event()

        def wait() -> None:
            with fresh.superuser() as connection:
                expire_sql = "UPDATE orchestrator.shard SET until = clock_timestamp() WHERE name = 'one'"
                connection.execute(expire_sql)
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert ended.wait(60)
        thread.join()
        assert other.renew().free == 12
        assert len(other.claim(100)) == 12
        with pytest.raises(psycopg.Error):
            frozen.commit()
        assert one.is_refused()
    finally:
        frozen.close()


def test_a_takeover_ends_the_connection_that_its_shard_watches_and_no_other_of_that_name(
    two: tuple[Shard, Shard], fresh: FreshDatabase
) -> None:
    one, other = two
    name = WATCH.format(incarnation=one.incarnation)
    with fresh.superuser() as connection:
        connection.execute("CREATE ROLE watcher LOGIN PASSWORD 'w'")
        connection.execute(f"GRANT CONNECT ON DATABASE {fresh.name} TO watcher".encode())
    watch = Database(fresh.parsed(), name=name).connect(autocommit=True)
    stranger = Database(fresh.open(user="watcher", password="w").dsn, name=name).connect(autocommit=True)
    try:
        expire(fresh, "one")
        other.renew()
        with pytest.raises(psycopg.OperationalError):
            watch.execute("SELECT pg_sleep(60)")
        stranger.execute("SELECT 1")
    finally:
        watch.close()
        stranger.close()
        with fresh.superuser() as connection:
            connection.execute("DROP OWNED BY watcher")
            connection.execute("DROP ROLE watcher")


def test_a_hint_comes_when_something_is_free_and_a_forged_one_moves_nothing(
    two: tuple[Shard, Shard], database: Database
) -> None:
    one, other = two
    (holding,) = one.claim(1)
    listener = Listener(database, [CHANNEL])
    try:
        one.release(Parcel(holding.account, holding.epoch, None))
        assert [heard.channel for heard in listener.wait(30)] == [CHANNEL]
        before = owners(database)
        forged = other.database.connect(autocommit=True)
        forged.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{holding.account} belongs to two"])
        forged.close()
        assert listener.wait(30)[0].payload == f"{holding.account} belongs to two"
        assert owners(database) == before
    finally:
        listener.close()


SETS = {"shard": "until = now()", "drained": "since = now()", "lease": "epoch = 9", "refusal": "wait = 1"}
FUNCTIONS = (
    "lease_register('x', gen_random_uuid(), 'h', '1', 5, 0, true, false)",
    "lease_renew('{incarnation}', 100, 0, true, false)",
    "lease_claim('{incarnation}', 5, '{{}}')",
    "lease_release('{incarnation}', '{{}}', '{{}}', '{{}}')",
    "lease_leave('{incarnation}')",
    "lease_fence('{incarnation}', '{account}', 1, 99)",
    "lease_end('{incarnation}')",
    "lease_sweep()",
    "lease_drain('one', true)",
    "lease_move('{account}', 'two')",
    "lease_peers()",
)


@pytest.fixture
def strangers(filled: FreshDatabase) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """Connections of a role without rights, and of one that may call the functions and nothing else."""
    roles = {name: f"{filled.role}_{name}" for name in ("nobody", "caller")}
    with filled.superuser() as connection:
        for role in roles.values():
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
            connection.execute(f"GRANT CONNECT ON DATABASE {filled.name} TO {role}")
        connection.execute(f"GRANT USAGE ON SCHEMA orchestrator TO {roles['caller']}")
        connection.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA orchestrator TO {roles['caller']}")
    connections = {
        name: filled.open(user=role, password="p").connect(autocommit=True) for name, role in roles.items()
    }
    yield connections
    for connection in connections.values():
        connection.close()
    with filled.superuser() as connection:
        for role in roles.values():
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("table", ["shard", "drained", "lease", "refusal"])
@pytest.mark.parametrize("role", ["nobody", "caller"])
def test_no_other_role_reads_or_writes_the_rows(
    strangers: dict[str, psycopg.Connection[Any]], role: str, table: str
) -> None:
    name = f"orchestrator.{table}"
    for verb in (
        f"SELECT * FROM {name}", f"INSERT INTO {name} DEFAULT VALUES", f"DELETE FROM {name}",
        f"TRUNCATE {name}",
        f"UPDATE {name} SET {SETS[table]}",
        f"COPY {name} TO STDOUT", f"BEGIN; LOCK TABLE {name}", f"DROP TABLE {name}",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            strangers[role].execute(verb)
        strangers[role].execute("ROLLBACK") if verb.startswith("BEGIN") else None


def test_a_role_without_rights_calls_nothing(
    strangers: dict[str, psycopg.Connection[Any]], two: tuple[Shard, Shard]
) -> None:
    one, _ = two
    (holding,) = one.claim(1)
    for function in FUNCTIONS:
        call = function.format(incarnation=one.incarnation, account=holding.account)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            strangers["nobody"].execute(f"SELECT orchestrator.{call}")


def test_another_role_that_knows_an_incarnation_cannot_act_for_it(
    strangers: dict[str, psycopg.Connection[Any]], two: tuple[Shard, Shard], database: Database
) -> None:
    one, _ = two
    (holding,) = one.claim(1)
    before = owners(database)
    for function in FUNCTIONS[1:6]:
        call = function.format(incarnation=one.incarnation, account=holding.account)
        row = strangers["caller"].execute(f"SELECT orchestrator.{call}").fetchone()
        assert row in ((None,), (False,)), function
    assert owners(database) == before
    assert one.renew().mine == (holding,)


def test_a_shard_needs_a_name_that_can_be_one(filled: FreshDatabase) -> None:
    with pytest.raises(StoreUnusable):
        Shard(filled, "a b; DROP").register()


@pytest.fixture
def ready(fresh: FreshDatabase) -> Iterator[tuple[Shard, Shard]]:
    """Two shards, with an administrator's functions; roles are the server's, so they go at the end."""
    control = fresh.ready()
    accounts = control.run(lambda connection: [ids.of(connection, name) for name in NAMES[:8]])
    shards = Shard(fresh, "one"), Shard(fresh, "two")
    for shard in shards:
        shard.register()
    yield shards
    with fresh.superuser() as connection:
        for account in accounts:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [account]).fetchone():
                connection.execute(f"DROP OWNED BY {account} CASCADE")
                connection.execute(f"DROP ROLE {account}")


def log_in(fresh: FreshDatabase, account: str, password: str) -> psycopg.Connection[Any]:
    return fresh.open(user=account, password=password).connect(autocommit=True)


def let_in(shard: Shard, account: str) -> str:
    """Give an account's role a password, as it is done before its process starts."""

    def work(connection: Connection) -> str:
        shard.leases.admit(connection, account)
        return roles.make_account(connection, account)

    shard.leases.incarnation = shard.incarnation
    return shard.database.run(work)


def test_a_fence_shuts_out_whoever_was_in(ready: tuple[Shard, Shard], fresh: FreshDatabase) -> None:
    one, other = ready
    (holding,) = one.claim(1)
    assert one.leases.fence(one.incarnation, holding.account, holding.epoch)
    former = let_in(one, holding.account)
    inside = [log_in(fresh, holding.account, former) for _ in range(3)]
    expire(fresh, "one")
    other.renew()
    taken = next(h for h in other.claim(8) if h.account == holding.account)
    assert other.leases.fence(other.incarnation, taken.account, taken.epoch)
    for connection in inside:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(StoreUnusable):
        log_in(fresh, holding.account, former)
    password = let_in(other, taken.account)
    now = log_in(fresh, holding.account, password)
    assert not one.leases.fence(one.incarnation, holding.account, holding.epoch), "it is late"
    assert not one.leases.fence(one.incarnation, taken.account, taken.epoch), "it knows the epoch"
    assert not other.leases.fence(other.incarnation, taken.account, taken.epoch - 1)
    with pytest.raises(Disowned):
        let_in(one, taken.account)
    now.execute("SELECT 1")
    now.close()
    log_in(fresh, holding.account, password).close()
    assert former not in fresh.server.log
    assert password not in fresh.server.log


def test_a_fence_that_comes_late_leaves_the_process_that_was_let_in(
    ready: tuple[Shard, Shard], fresh: FreshDatabase
) -> None:
    one, _ = ready
    (holding,) = one.claim(1)
    late = Leases(one.database, one.leases.me)  # its first step has a lower number than the last one of ours
    for _ in range(2):
        assert one.leases.fence(one.incarnation, holding.account, holding.epoch)
    password = let_in(one, holding.account)
    with log_in(fresh, holding.account, password) as connection:
        assert not late.fence(one.incarnation, holding.account, holding.epoch)
        connection.execute("SELECT 1")


def test_only_a_shard_with_a_good_lease_writes(ready: tuple[Shard, Shard], fresh: FreshDatabase) -> None:
    one, _ = ready
    with pytest.raises(Disowned):
        one.database.run(one.leases.check)
    one.leases.incarnation = one.incarnation
    one.database.run(one.leases.check)
    expire(fresh, "one")
    with pytest.raises(Disowned):
        one.database.run(one.leases.check)


def test_accounts_are_fenced_side_by_side(ready: tuple[Shard, Shard], fresh: FreshDatabase) -> None:
    one, _ = ready
    holdings = one.claim(8)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda h: one.leases.fence(one.incarnation, h.account, h.epoch), holdings))
    assert all(done)
    for holding in holdings:
        log_in(fresh, holding.account, let_in(one, holding.account)).close()


def test_a_fence_that_is_under_way_keeps_nobody_from_renewing(
    ready: tuple[Shard, Shard], fresh: FreshDatabase
) -> None:
    one, other = ready
    (holding,) = one.claim(1)
    with one.database.connect() as fencing:
        row = fencing.execute(
            "SELECT orchestrator.lease_fence(%s, %s, %s, 1)",
            [one.incarnation, holding.account, holding.epoch],
        ).fetchone()
        assert row == (True,)
        expire(fresh, "one")
        assert [peer.name for peer in other.renew().peers] == ["one", "two"], "its end waits for the fence"
    assert [peer.name for peer in other.renew().peers] == ["two"]


def test_a_cluster_and_a_service_that_has_all_accounts_keep_apart(
    filled: FreshDatabase, tmp_path: Path
) -> None:
    shard, paths = Shard(filled, "one"), StatePaths.of(tmp_path)
    paths.prepare()
    alone = OwnerRow(filled.open(), paths)
    with alone.take("a service that is alone"):
        taken = shard.leases.ask(Register(shard.incarnation, NOTHING), 0.0)
        assert taken == Taken(socket.gethostname(), "a service that is alone")
    shard.register()
    ends = threading.Event()

    def renew() -> None:
        while not ends.wait(1.0):
            shard.renew()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        said = r"machines of a cluster \(one on host-of-one\), and this configuration has no `cluster:`"
        with pytest.raises(AlreadyRunning, match=said), alone.take("a service that is alone"):
            pass
    finally:
        ends.set()
        thread.join(60)


def test_a_command_without_a_service_waits_for_no_machine_that_runs(
    filled: FreshDatabase, tmp_path: Path
) -> None:
    shard, paths = Shard(filled, "one"), StatePaths.of(tmp_path)
    paths.prepare()
    command = Membership(filled.open(), paths, shard.leases, alone=True)
    with command.take("renames an account"):
        filled.open().run(command.check)
    shard.register()
    with pytest.raises(AlreadyRunning, match="one on host-of-one"), command.take("renames an account"):
        pass


def test_only_the_owner_of_an_account_writes_how_far_its_consumers_are(
    two: tuple[Shard, Shard], tmp_path: Path
) -> None:
    """A gateway that goes on after its machine has lost an account changes nothing of it."""
    one, other = two
    stores = []
    for shard in two:
        paths = StatePaths.of(tmp_path, environ={})
        member = Membership(shard.database, paths, shard.leases, alone=False)
        shard.leases.incarnation = shard.incarnation
        stores.append(ConsumerRows(shard.database, member.owns))
    mine, theirs = one.claim(1)[0], other.claim(1)[0]
    rows = [Row("crm", Moved(Place(held.name, "messages"), 5)) for held in (mine, theirs)]
    assert stores[0].follow(rows) == {theirs.name}
    assert stores[1].follow(rows) == {mine.name}
    one.release(Parcel(mine.account, mine.epoch, "two"))
    assert stores[0].follow([Row("crm", Moved(Place(mine.name, "messages"), 6))]) == {mine.name}
    assert other.claim(1)
    assert stores[1].follow([Row("crm", Moved(Place(mine.name, "messages"), 7))]) == set()
    (row,) = stores[0].read(mine.name, 0, 10).rows
    assert row == Row("crm", Moved(Place(mine.name, "messages"), 7))
    one.leases.ask(Leave(one.incarnation), 0.0)
    with pytest.raises(Disowned):
        stores[0].follow(rows)


def test_a_shard_and_a_service_that_has_all_accounts_never_both_start_in_the_same_instant(
    filled: FreshDatabase, tmp_path: Path
) -> None:
    # Each does all that its start does, and nothing of either can be seen before it is committed.
    paths = StatePaths.of(tmp_path)
    paths.prepare()
    paths.lock.touch()
    shard, database = Shard(filled, "one"), filled.open()
    first = database.connect()
    looked = threading.Event()
    try:
        leases._call(first, "lease_register", "one", shard.incarnation, "host", "1", 5, 0, True, False)
        with ThreadPoolExecutor(1) as pool:
            alone = OwnerRow(filled.open(), paths, look=lambda _: looked.set())
            taking = pool.submit(alone._try, "a service that is alone")
            assert not looked.wait(0.5), "the service looks before the shard has its row"
            first.commit()
            assert looked.wait(30)
            assert taking.result(30) is False
    finally:
        first.close()


def test_whoever_starts_first_of_a_shard_and_a_service_is_alone_however_they_meet(
    filled: FreshDatabase, tmp_path: Path
) -> None:
    paths = StatePaths.of(tmp_path)
    paths.prepare()
    paths.lock.touch()
    won = set()
    for _ in range(15):
        shard, alone = Shard(filled, "one"), OwnerRow(filled.open(), paths)
        barrier = threading.Barrier(2)

        def register(shard: Shard = shard, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(30)
            return isinstance(shard.leases.ask(Register(shard.incarnation, NOTHING), 0.0), Granted)

        def take(alone: OwnerRow = alone, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(30)
            return alone._try("a service that is alone")

        with ThreadPoolExecutor(2) as pool:
            is_shard, is_alone = pool.submit(register), pool.submit(take)
            assert is_shard.result(60) is not is_alone.result(60)
        won.add(is_alone.result())
        if is_shard.result():
            assert shard.leases.ask(Leave(shard.incarnation), 0.0) == Left()
        alone._give_back()
        filled.server.close()
    assert won  # which of the two is chance


def test_a_shard_waits_for_a_command_that_needs_all_of_them_to_stand_still(
    filled: FreshDatabase, tmp_path: Path
) -> None:
    shard, paths = Shard(filled, "one"), StatePaths.of(tmp_path)
    paths.prepare()
    command = Membership(filled.open(), paths, shard.leases, alone=True)
    with command.take("renames an account"):
        assert isinstance(shard.leases.ask(Register(shard.incarnation, NOTHING), 0.0), Taken)
    shard.register()


REFUSED = Word(refused=frozenset({"a"}))


def tell(shard: Shard, word: Word, library: str = "0.5.2") -> Refusal | None:
    shard.leases.incarnation = shard.incarnation
    return shard.leases.tell(library, word, 5.0)[0]


def let_time_pass(fresh: FreshDatabase, seconds: float) -> None:
    with fresh.superuser() as connection:
        connection.execute(
            "UPDATE orchestrator.refusal SET probe_at = probe_at - make_interval(secs => %(s)s),"
            " until = until - make_interval(secs => %(s)s)",
            {"s": seconds},
        )


def test_shards_tell_each_other_of_a_version_and_one_of_them_tries(
    two: tuple[Shard, Shard], filled: FreshDatabase
) -> None:
    one, other = two
    assert tell(one, Word()) is None
    assert tell(one, REFUSED) == Refusal(("a",))
    held = tell(other, Word(refused=frozenset({"b"})))
    assert held is not None
    assert held.holds
    assert held.refused == ("a", "b")
    assert tell(one, Word(wants=True)) == held, "not yet"
    assert tell(one, Word(), "0.5.3") is None, "another version is another matter"
    (seen,) = filled.open().run(leases.look).refusals
    assert (seen.library, seen.shard, seen.account) == ("0.5.2", None, None)
    assert 800 < (seen.next_in or 0) <= PROBE_FIRST
    let_time_pass(filled, PROBE_FIRST)
    mine = tell(one, Word(wants=True))
    assert mine is not None
    assert mine.canary == one.incarnation
    tell(one, Word(wants=True, canary="account-03"))
    theirs = tell(other, Word(wants=True))
    assert theirs is not None
    assert theirs.canary == one.incarnation, "one in all"
    (seen,) = filled.open().run(leases.look).refusals
    assert (seen.next_in, seen.shard, seen.account) == (None, "one", "account-03")
    let_time_pass(filled, PROBING_SECONDS)
    theirs = tell(other, Word(wants=True))
    assert theirs is not None
    assert theirs.canary == other.incarnation, "the first one says nothing any more"
    assert tell(other, Word(accepted=True)) is None
    assert tell(one, Word()) is None
    assert filled.open().run(leases.look).refusals == ()


def test_two_shards_that_speak_at_once_are_both_heard(
    two: tuple[Shard, Shard], filled: FreshDatabase
) -> None:
    for attempt in range(10):
        with ThreadPoolExecutor(2) as pool:
            words = [Word(refused=frozenset({name})) for name in "ab"]
            told = [
                pool.submit(tell, shard, word, str(attempt)) for shard, word in zip(two, words, strict=True)
            ]
            assert None not in [one.result(60) for one in told]
    assert len(filled.open().run(leases.look).refusals) == 10
    for attempt in range(10):
        let_time_pass(filled, PROBE_FIRST)
        with ThreadPoolExecutor(2) as pool:
            turns = [pool.submit(tell, shard, Word(wants=True), str(attempt)) for shard in two]
            known = {turn.result(60) for turn in turns}
        assert None not in known
        assert len({one.canary for one in known if one is not None}) == 1


def test_a_shard_without_a_lease_says_nothing_of_a_version(
    two: tuple[Shard, Shard], filled: FreshDatabase
) -> None:
    one, other = two
    tell(one, REFUSED)
    expire(filled, "two")
    with pytest.raises(Disowned):
        tell(other, Word(accepted=True))
    assert tell(other, Word()) == Refusal(("a",)), "it may look"


def test_a_version_that_nobody_tries_any_more_is_forgotten(
    two: tuple[Shard, Shard], filled: FreshDatabase
) -> None:
    tell(two[0], REFUSED, "0.1")
    with filled.superuser() as connection:
        connection.execute("UPDATE orchestrator.refusal SET written_at = written_at - interval '8 days'")
    tell(two[0], REFUSED, "0.2")
    assert tell(two[0], Word(), "0.1") is None
