"""What accounts cost that are kept in Postgres: beside the same accounts in files, and hundreds of them.

Run as ``python -m benchmarks.postgres [--accounts 10] [--rounds 2] [--seconds 60] [--schemas 200]``. Debian's
package `postgresql` has to be there. The server is made in a temporary folder, with Debian's configuration,
and the service reaches it by a UNIX socket.

Two services take turns, one with files, one with Postgres. All accounts are paired first. Then each service
is started again several times, and left alone after the last start; see `benchmarks.accounts`. What the
server has for the accounts is read at the end of that.

Hundreds of accounts are copies of one session that was really linked: a schema and a role each. For each
account, as many connections as neonize has opened for one log in with the account's role, and read all its
tables once. Then pg_dump dumps it all, and autovacuum looks through it: once with nothing to do, and once
after a table of each account has changed.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import LiteralString

import psutil
import psycopg
from psycopg import sql
from support.kept_postgres import copy_schema, id_of, one, tables_of
from support.postgres import FreshDatabase, PostgresServer, programs, serving

from benchmarks.accounts import Idle, Pace, Start, online, pair, prefix, stay_idle
from benchmarks.machine import cores, print_load, print_machine
from benchmarks.meter import Memory, cpu_of_ended_children, cpu_seconds, filesystem
from benchmarks.report import megabytes, percent, table
from benchmarks.service import DEFAULT_PARALLEL, Service
from orchestrator.postgres import ids, roles
from orchestrator.sandbox.process import SandboxProcess

FILES, POSTGRES = "files", "Postgres"
PACE = Pace("without spread", DEFAULT_PARALLEL, 0.0)
SPARE_CONNECTIONS = 50
AS_DEBIAN: Mapping[str, str] = {
    "autovacuum_naptime": "1min",
    "fsync": "on",
    "full_page_writes": "on",
    "log_min_messages": "warning",
    "log_statement": "none",
    "max_wal_size": "1GB",
    "shared_buffers": "128MB",
}
"""What Debian's configuration says where that of the tests says something else."""
NAP = 5
"""Seconds between two looks of autovacuum while one is measured."""
LOOKS = 6
VACUUM_SECONDS = 900.0
CHURNED: LiteralString = "whatsmeow_pre_keys"
"""The largest table of a session."""


@dataclass(frozen=True, slots=True)
class Server:
    """What a server has for its clients.

    Attributes:
        memory: Memory of all its processes.
        backends: How many connections are of accounts.
        others: How many connections are of the service.
        size: Bytes of the database on the disk.
    """

    memory: Memory
    backends: int
    others: int
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a service took.

    Attributes:
        pairing: Its first start, with the pairing of all accounts.
        starts: Its later starts.
        idle: What it took after the last of them.
        server: What the server of the database had at the end of that; None with files.
        server_cpu: CPU seconds of the server in that time.
    """

    pairing: Start
    starts: Sequence[Start]
    idle: Idle
    server: Server | None
    server_cpu: float


def memory_of(server: PostgresServer) -> Memory:
    """Return the memory of all processes of a server."""
    total = Memory.of(server.pid)
    for process in psutil.Process(server.pid).children():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            total += Memory.of(process.pid)
    return total


def cpu_of(server: PostgresServer) -> float:
    """Return the CPU seconds of all processes of a server, with those that have ended."""
    total = cpu_seconds(server.pid)
    for process in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += cpu_seconds(process.pid)
    return total + cpu_of_ended_children(server.pid)


def look(database: FreshDatabase) -> Server:
    """Look at a server, without what the look itself takes."""
    memory = memory_of(database.server)
    with database.superuser() as connection:
        rows = connection.execute(
            "SELECT usename ~ '^a_[0-9a-f]{16}$' FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            [database.name],
        ).fetchall()
        size = one(connection, "SELECT pg_database_size(%s)", database.name)
    backends = sum(bool(is_account) for (is_account,) in rows)
    return Server(memory, backends, len(rows) - backends, size)


# A few real accounts


def compare(
    database: FreshDatabase, count: int, rounds: int, seconds: float, folder: Path
) -> dict[str, Result]:
    """Have the same accounts in files and in Postgres; return what each service took.

    Args:
        database: The database, ready for a service.
        count: How many accounts each service has.
        rounds: How often each is started again.
        seconds: How long it is left alone.
        folder: Where both are.
    """
    names = [f"account-{number:03d}" for number in range(count)]
    dsn = database.dsn_file(folder, "socket")
    stores: dict[str, dict[str, object]] = {FILES: {}, POSTGRES: {"store": {"dsn_file": str(dsn)}}}
    pairings: dict[str, Start] = {}
    starts: dict[str, list[Start]] = {name: [] for name in stores}
    results: dict[str, Result] = {}
    with SandboxProcess() as sandbox:
        services: dict[str, Service] = {}
        for number, (name, settings) in enumerate(stores.items()):
            place = folder / name
            place.mkdir()
            accounts = {account: {"messages": {"allow": "*"}} for account in names}
            services[name] = Service(place, accounts, sandbox.environment(), settings=settings)
            pairings[name], _ = pair(services[name], sandbox, PACE, prefix(number))
        for round_ in range(rounds):
            for name, service in services.items():
                with online(service, sandbox, PACE) as (start, arrivals):
                    starts[name].append(start)
                    if round_ == rounds - 1:
                        before = cpu_of(database.server)
                        idle = stay_idle(service, sandbox, arrivals, seconds)
                        spent = cpu_of(database.server) - before
                        server = look(database) if name == POSTGRES else None
                        results[name] = Result(pairings[name], starts[name], idle, server, spent)
    return results


def show_compared(count: int, results: Mapping[str, Result], empty: Memory) -> None:
    """Print how the two compare, and what the server has for each account."""

    def row(name: str, value: Callable[[Result], float], show: Callable[[float], str]) -> tuple[str, ...]:
        files, postgres = value(results[FILES]), value(results[POSTGRES])
        change = f"{100 * (postgres / files - 1):+.1f} %" if files else "-"
        return name, show(files), show(postgres), change

    def of_megabytes(size: float) -> str:
        return megabytes(int(size))

    def milliseconds(seconds: float) -> str:
        return f"{1000 * seconds:.1f} ms"

    def memory(part: Callable[[Memory], int]) -> Callable[[Result], float]:
        return lambda result: median(part(account) for account in result.idle.memory)

    table(
        f"{count} accounts each, medians of {len(results[FILES].starts)} starts",
        ("", FILES, POSTGRES, "change"),
        row("an account: PSS", memory(lambda account: account.pss), of_megabytes),
        row("  private", memory(lambda account: account.private), of_megabytes),
        row("  CPU to pair", lambda result: median(result.pairing.each), milliseconds),
        row(
            "  CPU until connected",
            lambda result: median(median(start.each) for start in result.starts),
            milliseconds,
        ),
        row(
            "  idle, CPU in a second",
            lambda result: result.idle.accounts / count / result.idle.seconds,
            milliseconds,
        ),
        row(
            "until all are connected",
            lambda result: median(start.wall for start in result.starts),
            milliseconds,
        ),
        row("the service's own process: PSS", lambda result: result.idle.parent_memory.pss, of_megabytes),
        row(
            "  idle, CPU in a second",
            lambda result: result.idle.parent / result.idle.seconds,
            milliseconds,
        ),
        (
            f"of the {cores()} cores: other programs",
            *(percent(results[name].idle.others) for name in (FILES, POSTGRES)),
            "",
        ),
    )
    found = results[POSTGRES]
    server = found.server
    assert server is not None
    table(
        f"the server, with {count} accounts connected",
        ("connections of an account", f"{server.backends / count:g}"),
        ("connections of the service", str(server.others)),
        ("memory (PSS) of it all", megabytes(server.memory.pss)),
        ("  more than without clients, an account", megabytes((server.memory.pss - empty.pss) // count)),
        (
            "idle, CPU in a second",
            milliseconds(found.server_cpu / found.idle.seconds),
        ),
    )


# Hundreds of copies


def copy_accounts(database: FreshDatabase, count: int) -> dict[str, str]:
    """Make accounts that are copies of the first one; return their roles' passwords by their ids."""
    made: dict[str, str] = {}
    with database.open("socket") as ours, database.superuser() as connection:
        source = id_of(connection, "account-000")
        assert source is not None
        for number in range(count):
            name = f"copy-{number:03d}"
            account = ours.run(lambda work, name=name: ids.of(work, name))  # type: ignore[misc]
            made[account] = ours.run(lambda work, account=account: roles.make_account(work, account))  # type: ignore[misc]
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(account)))
            copy_schema(connection, source, account, owner=account)
    return made


def connect(database: FreshDatabase, accounts: Mapping[str, str], each: int, until: ExitStack) -> None:
    """Open connections of accounts' roles, which stay open; each reads its account's tables once."""
    with database.superuser() as connection:
        tables = tables_of(connection, next(iter(accounts)))
    for account, password in accounts.items():
        for _ in range(each):
            dsn = database.dsn("socket", user=account, password=password)
            mine = until.enter_context(psycopg.connect(dsn, autocommit=True, prepare_threshold=0))
            for name in tables:
                mine.execute(sql.SQL("SELECT * FROM {} LIMIT 100").format(sql.Identifier(name))).fetchall()


def dump(database: FreshDatabase, *options: str) -> tuple[float, int]:
    """Dump a database as an administrator does; return the seconds and the bytes."""
    folder = programs()
    assert folder is not None
    command: list[str | Path] = [
        folder / "pg_dump", "-Fc", "-h", database.server.sockets, "-p", str(database.server.port),
        "-U", "postgres", *options, database.name,
    ]  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        subprocess.run(command, stdout=file, check=True)
        return time.monotonic() - began, file.seek(0, 2)


def vacuum_idle(database: FreshDatabase) -> float:
    """Return the CPU seconds of one look of autovacuum that has nothing to do."""
    with database.superuser() as connection:
        connection.execute("VACUUM ANALYZE")
    with ExitStack() as fast:
        hurry(database, fast)
        before = cpu_of(database.server)
        time.sleep(NAP * LOOKS)
        return (cpu_of(database.server) - before) / LOOKS


def vacuum_churned(database: FreshDatabase, accounts: Sequence[str]) -> tuple[float, float]:
    """Change a table of each account; return seconds and CPU until autovacuum has done with all."""
    waiting = sql.SQL(
        "SELECT count(*) FROM pg_stat_user_tables WHERE relname = {} AND schemaname = ANY (%s)"
        " AND (last_autovacuum IS NULL OR last_autovacuum < %s)"
    ).format(sql.Literal(CHURNED))
    with ExitStack() as fast, database.superuser() as connection:
        since = one(connection, "SELECT clock_timestamp()")
        for account in accounts:
            update = sql.SQL("UPDATE {} SET key_id = key_id").format(sql.Identifier(account, CHURNED))
            connection.execute(update)
        before, began = cpu_of(database.server), time.monotonic()
        hurry(database, fast)
        while True:
            row = connection.execute(waiting, [list(accounts), since]).fetchone()
            seconds = time.monotonic() - began
            if row == (0,):
                return seconds, cpu_of(database.server) - before
            assert seconds < VACUUM_SECONDS, f"{row} tables wait still"
            time.sleep(0.5)


def hurry(database: FreshDatabase, until: ExitStack) -> None:
    """Have autovacuum look more often than once a minute, until then."""

    def set_nap(seconds: int) -> None:
        with database.superuser() as connection:
            value = sql.Literal(f"{seconds}s")
            connection.execute(sql.SQL("ALTER SYSTEM SET autovacuum_naptime = {}").format(value))
            connection.execute("SELECT pg_reload_conf()")

    set_nap(NAP)
    until.callback(set_nap, 60)


def show_many(database: FreshDatabase, count: int, each: int) -> None:
    """Measure hundreds of accounts, and print what the server takes for them."""
    before = look(database)
    began = time.monotonic()
    accounts = copy_accounts(database, count)
    making = time.monotonic() - began
    after = look(database)
    with ExitStack() as connections:
        connect(database, accounts, each, connections)
        connected = look(database)
    more = connected.memory.pss - after.memory.pss
    with database.superuser() as connection:
        tables = one(connection, "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'a\\_%%'")
    whole, size = dump(database)
    alone, _ = dump(database, "-n", next(iter(accounts)))
    nothing = vacuum_idle(database)
    seconds, cpu = vacuum_churned(database, list(accounts))
    table(
        f"{count} accounts more, copies of one that is linked",
        ("tables", str(tables)),
        ("to make and copy one", f"{1000 * making / count:.0f} ms"),
        ("on the disk, an account", megabytes((after.size - before.size) // count)),
        (f"connections, {each} an account", str(connected.backends)),
        ("memory (PSS) of the server", megabytes(connected.memory.pss)),
        ("  a connection", megabytes(more // connected.backends)),
        ("  an account", megabytes(more // count)),
        ("pg_dump -Fc of it all", f"{whole:.1f} s, {megabytes(size)}"),
        ("  of one account", f"{alone:.1f} s"),
        ("autovacuum, a look with nothing to do: CPU", f"{1000 * nothing:.0f} ms"),
        (f"  after all rows of {CHURNED} have changed", f"{seconds:.0f} s, {cpu:.1f} s of CPU"),
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=10, help="how many real accounts (default: 10)")
    parser.add_argument("--rounds", type=int, default=2, help="how many starts (default: 2)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to stay idle (default: 60)")
    parser.add_argument("--schemas", type=int, default=200, help="how many copies (default: 200)")
    arguments = parser.parse_args()
    most = 2 * (arguments.accounts + arguments.schemas) + SPARE_CONNECTIONS
    with (
        serving(**AS_DEBIAN, max_connections=str(most)) as server,
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
    ):
        database = server.make_database()
        database.ready()
        server.close()
        print_machine()
        with database.superuser() as connection:
            version = one(connection, "SHOW server_version")
        table(
            "Postgres",
            ("version", str(version)),
            ("its folder on", filesystem(server.data)),
            ("max_connections", str(most)),
        )
        empty = memory_of(server)
        results = compare(database, arguments.accounts, arguments.rounds, arguments.seconds, Path(folder))
        show_compared(arguments.accounts, results, empty)
        found = results[POSTGRES].server
        assert found is not None
        show_many(database, arguments.schemas, max(1, round(found.backends / arguments.accounts)))
        print_load()


if __name__ == "__main__":
    main()
