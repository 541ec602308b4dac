"""The cluster: a Postgres, WhatsApp, and shards on machines of their own, with linked accounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from support.postgres import FreshDatabase, PostgresServer

from benchmarks.cluster import network
from benchmarks.cluster.shard import Shard
from benchmarks.service import program_environment
from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

T = TypeVar("T")

AS_DEBIAN: Final[Mapping[str, str]] = {
    "fsync": "on",
    "full_page_writes": "on",
    "log_min_messages": "warning",
    "log_statement": "none",
    "max_wal_size": "1GB",
    "shared_buffers": "128MB",
}
"""What Debian's configuration of the server says where that of the tests says something else."""
SETTINGS: Final[Mapping[str, object]] = {"defaults": {"messages": {"allow": "*"}}}
"""What the configuration of a shard says besides the store and the accounts: all else is by default."""
PAIR_SECONDS: Final = 600.0
READY_SECONDS: Final = 300.0
"""For all accounts to be connected, on a busy machine."""
BALANCE_SECONDS: Final = 900.0
"""For all shards to have the same number of accounts: one account leaves a shard every five seconds."""
_PHONES_AT_ONCE: Final = 4
_POLL: Final = 0.2
_LEDGER: LiteralString = """
CREATE SCHEMA rig;
CREATE TABLE rig.change (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  account text NOT NULL, epoch bigint NOT NULL, shard text
);
CREATE FUNCTION rig.note() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO rig.change (account, epoch, shard)
    SELECT a.name, NEW.epoch, (SELECT s.name FROM orchestrator.shard s WHERE s.incarnation = NEW.incarnation)
    FROM orchestrator.account a WHERE a.id = NEW.account;
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE OF incarnation ON orchestrator.lease
  FOR EACH ROW WHEN (OLD.incarnation IS DISTINCT FROM NEW.incarnation) EXECUTE FUNCTION rig.note();
"""
"""Writes down each change of an owner, when it happens, by the clock of the database."""


class Rig:
    """A cluster; as a context manager it runs, with all accounts linked, and is gone afterwards.

    It belongs into a world of its own: see `benchmarks.cluster.sealed`.

    Args:
        folder: Where everything goes; it must exist, and everybody must be let into it.
        shards: How many machines.
        accounts: How many accounts.
        say: Is told what is done.
        settings: What the configuration says besides the store and the accounts.
        postgres: What the server's configuration says besides.

    Attributes:
        names: The accounts' names.
        numbers: Their phones' numbers by name.
        shards: The machines.
        sandbox: WhatsApp.
        server: The database's server.
        database: The database.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shards: int = 3,
        accounts: int = 6,
        say: Callable[[str], None] = lambda _: None,
        settings: Mapping[str, object] = SETTINGS,
        postgres: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.names = [f"account-{number:03d}" for number in range(accounts)]
        self.numbers = {name: f"+49157{number:08d}" for number, name in enumerate(self.names)}
        self.shards: list[Shard] = []
        self._count = shards
        self._say = say
        self._settings = settings
        self._postgres = postgres or {}
        self._open = ExitStack()
        self.sandbox: SandboxProcess
        self.server: PostgresServer
        self.database: FreshDatabase

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _begin(self) -> None:
        network.prepare()
        self._start_database()
        place = self.folder / "sandbox"
        self.sandbox = self._open.enter_context(SandboxProcess(place, listen=network.WHATSAPP))
        dsn = self.folder / "dsn"
        dsn.write_text(self.database.dsn("network") + "\n")
        dsn.chmod(0o400)
        settings = {**self._settings, "store": {"dsn_file": str(dsn)}}
        environment = program_environment(self.sandbox.environment())
        for number in range(1, self._count + 1):
            shard = Shard(number, self.folder / f"shard-{number}", self.names, environment, settings)
            self._open.callback(shard.close)
            self.shards.append(shard)
        with ThreadPoolExecutor(len(self.shards)) as pool:
            list(pool.map(Shard.start, self.shards))
        self._say(f"{len(self.shards)} shards, the database and WhatsApp run")
        # Only now: a shard that is alone takes all accounts, and hands them on one after the other.
        count = "SELECT count(*) FROM orchestrator.shard WHERE until > clock_timestamp()"
        self.until(lambda: self.rows(count) == [(len(self.shards),)], READY_SECONDS, "all have a lease")
        for shard in self.shards:
            shard.configure(settings, self.names)
            shard.client.call("reload")
        self._pair()
        self.until_connected()
        self._say(f"{len(self.names)} accounts are linked and connected")

    def _start_database(self) -> None:
        place = self.folder / "postgres"
        place.mkdir(0o755)
        wanted = 3 * len(self.names) + 10 * self._count + 40  # those of a frozen machine stay for a while
        settings = {**AS_DEBIAN, "max_connections": str(wanted), **self._postgres}
        self.server = PostgresServer(place, address=network.DATABASE, machines=network.MACHINES, **settings)
        self.server.start()
        self._open.callback(self.server.stop)
        self._open.callback(self.server.close)
        self.database = self.server.make_database()
        self.database.ready()
        with self.database.superuser() as connection:
            connection.execute(_LEDGER)

    # Accounts

    def _pair(self) -> None:
        """Hold a phone to the code of each account, as the codes come."""
        for name, number in self.numbers.items():
            self.sandbox.client.add_phone(number, name)
        until = time.monotonic() + PAIR_SECONDS
        with ThreadPoolExecutor(_PHONES_AT_ONCE) as pool:
            while left := [name for name in self.names if not self._linked(name)]:
                assert time.monotonic() < until, f"{len(left)} accounts are not linked, such as {left[0]}"
                codes = self.rows(
                    "SELECT a.name, c.png FROM orchestrator.code c JOIN orchestrator.account a"
                    " ON a.id = c.account WHERE c.expires_at > clock_timestamp() + interval '2 seconds'"
                )
                list(pool.map(self._scan, *zip(*(row for row in codes if row[0] in left), strict=True)))
                time.sleep(_POLL)

    def _scan(self, name: str, png: bytes) -> None:
        with contextlib.suppress(SandboxError):  # the code was over, or is another one by now
            self.sandbox.client.scan(self.numbers[name], png=png)

    def _linked(self, name: str) -> bool:
        phone = next(one for one in self.sandbox.client.phones() if one["phone"] == self.numbers[name])
        return bool(phone["devices"])

    def links(self) -> dict[str, list[dict[str, Any]]]:
        """Return the connections that WhatsApp has of each account and that are online."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        names = {number: name for name, number in self.numbers.items()}
        for one in self.sandbox.client.connections():
            if one["state"] == "online" and one.get("phone") in names:
                found[names[one["phone"]]].append(one)
        return found

    def owners(self) -> dict[str, str | None]:
        """Return the shard that owns each account, None for an account that nobody owns.

        Raises:
            RuntimeError: The database is away.
        """
        rows = self.rows(
            "SELECT a.name, s.name FROM orchestrator.account a JOIN orchestrator.lease l ON l.account = a.id"
            " LEFT JOIN orchestrator.shard s USING (incarnation)"
        )
        return {name: shard for name, shard in rows if name in self.numbers}

    def held(self) -> dict[str, list[str]]:
        """Return the accounts that each shard owns.

        Raises:
            RuntimeError: The database is away.
        """
        found: dict[str, list[str]] = {shard.name: [] for shard in self.shards}
        for name, shard in self.owners().items():
            if shard is not None:
                found[shard].append(name)
        return found

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Return what the database answers to its administrator.

        Raises:
            RuntimeError: The database is away.
        """
        try:
            with self.database.superuser() as connection:
                return connection.execute(query, values).fetchall()
        except psycopg.OperationalError as error:
            raise RuntimeError(str(error)) from None

    # Waiting

    def is_connected(self, *, on: Sequence[Shard] | None = None) -> bool:
        """Tell whether each account has an owner and one link, which is online.

        Args:
            on: The shards that are to own the accounts; any if not given.
        """
        wanted = {shard.name for shard in (self.shards if on is None else on)}
        try:
            owners = self.owners()
        except RuntimeError:
            return False
        return (
            len(owners) == len(self.names)
            and all(owner in wanted for owner in owners.values())
            and all(len(links) == 1 for links in self.links().values())
        )

    def until_connected(self, *, on: Sequence[Shard] | None = None, seconds: float = READY_SECONDS) -> None:
        """Wait until `is_connected`.

        Raises:
            AssertionError: It took too long; the message says what is missing.
        """
        self.until(lambda: self.is_connected(on=on), seconds, "all accounts are connected")

    def until_balanced(self, seconds: float = BALANCE_SECONDS) -> None:
        """Wait until all accounts are connected, and no shard that runs has two more than another one.

        Raises:
            AssertionError: It took too long; the message says what is missing.
        """

        def balanced() -> bool:
            counts = [len(self.held()[shard.name]) for shard in self.shards if shard.runs]
            return max(counts) - min(counts) <= 1 and self.is_connected()

        self.until(balanced, seconds, "all shards have the same number of accounts")

    def until(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something is true.

        Raises:
            AssertionError: It took too long; the message says what there is.
        """
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.story()}"
            time.sleep(_POLL)

    def story(self) -> str:
        """Return what there is, for a person who has to find what is wrong."""
        lines = [f"{name}: {len(links)} links" for name, links in self.links().items() if len(links) != 1]
        with contextlib.suppress(RuntimeError):
            lines += [f"{shard} owns {len(accounts)}" for shard, accounts in self.held().items()]
            lines += [f"{name}: nobody's" for name, owner in self.owners().items() if owner is None]
        for shard in self.shards:
            tail = shard.log.read_text(errors="replace").splitlines()[-20:] if shard.log.exists() else []
            lines += [f"the end of the log of {shard.name}:", *tail]
        return "\n".join(lines)

    # What befalls a shard or the database

    def by_load(self) -> list[Shard]:
        """Return the shards that run, those with the most accounts first."""
        held = self.held()
        return sorted((one for one in self.shards if one.runs), key=lambda one: -len(held[one.name]))

    def others(self, shard: Shard) -> list[Shard]:
        """Return the shards but one."""
        return [one for one in self.shards if one is not shard]

    @contextlib.contextmanager
    def powered_off(self, shard: Shard) -> Iterator[None]:
        """A machine is off."""
        shard.power_off()
        try:
            yield
        finally:
            shard.power_on()

    @contextlib.contextmanager
    def killed(self, shard: Shard) -> Iterator[None]:
        """All processes of a shard are killed at once; the machine's connections end."""
        shard.kill_all()
        try:
            yield
        finally:
            shard.start()

    @contextlib.contextmanager
    def frozen(self, shard: Shard) -> Iterator[list[int]]:
        """All processes of a shard stand still; yields the ids of the accounts' processes."""
        try:
            yield shard.freeze()
        finally:
            shard.thaw()

    @contextlib.contextmanager
    def cut_off(self, shard: Shard, *sides: network.Side) -> Iterator[None]:
        """Cables of a machine are out."""
        shard.network.pull(*sides)
        try:
            yield
        finally:
            shard.network.plug(*sides)

    @contextlib.contextmanager
    def stopped(self, shard: Shard) -> Iterator[int]:
        """A service was stopped in good order, by SIGTERM; yields its exit code."""
        code = shard.stop()
        try:
            yield code
        finally:
            shard.start()

    @contextlib.contextmanager
    def drained(self, shard: Shard) -> Iterator[None]:
        """An operator wants a shard to own nothing."""
        with self.database.superuser() as connection:
            connection.execute("SELECT orchestrator.lease_drain(%s, true)", [shard.name])
        try:
            yield
        finally:
            with self.database.superuser() as connection:
                connection.execute("SELECT orchestrator.lease_drain(%s, false)", [shard.name])

    @contextlib.contextmanager
    def database_away(self, *, crash: bool = False) -> Iterator[None]:
        """The database's server is down.

        Args:
            crash: It ends without any order, and has to recover.
        """
        if crash:
            self.server.crash()
        else:
            self.server.stop()
        try:
            yield
        finally:
            self.server.start()
