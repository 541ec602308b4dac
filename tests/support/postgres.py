"""A real Postgres for tests: Debian's, in a temporary folder, as another user, for it does not run as root.

`postgres` is a server for all tests of one worker of pytest; `fresh` is a database of its own for one test.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import pytest
from support.certificates import certificate
from support.ports import free_port

if TYPE_CHECKING:
    import psycopg

    from orchestrator.postgres.database import Database
    from orchestrator.postgres.dsn import Dsn

MUST: Final = "ORCHESTRATOR_TESTS_MUST_POSTGRES"
PROGRAMS: Final = "ORCHESTRATOR_TESTS_POSTGRES"
"""The variable that has the folder of `initdb` and `postgres` of another Postgres than Debian's."""
_PLACES: Final = Path("/usr/lib/postgresql")
_PATIENCE: Final = 60.0

Way = Literal["loopback", "socket", "tls", "network"]
"""How a server is reached; by the network only if the server has an address there."""

_CONFIG: Final = """\
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
max_wal_size = 128MB
autovacuum_naptime = 10min
log_statement = all
log_min_messages = info
password_encryption = scram-sha-256
ssl = on
ssl_cert_file = 'leaf.pem'
ssl_key_file = 'leaf.pem'
"""
_HBA: Final = """\
local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


def programs() -> Path | None:
    """Return the folder of the Postgres that the environment names, or else of the newest on this machine."""
    if named := os.environ.get(PROGRAMS):
        return Path(named)
    found = sorted(_PLACES.glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


class PostgresServer:
    """A server of its own, which can be stopped, crashed and started again. It keeps its port.

    Attributes:
        folder: Where it is, with ``ca.pem``, which has signed its certificate.
        port: Where it listens, at 127.0.0.1 and in `sockets`.
        address: Where other machines reach it, by TLS only; None: nowhere.

    Args:
        folder: Where it is to be; it must exist.
        address: Where other machines are to reach it.
        machines: From which addresses, such as ``192.0.2.0/24``.
        **settings: What its configuration says besides.
    """

    def __init__(
        self, folder: Path, *, address: str | None = None, machines: str = "", **settings: str
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = free_port()
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = 0
        self.opened: list[Database] = []
        self._user = "postgres" if os.geteuid() == 0 else None
        certificate(folder, name=address or "localhost")
        folder.chmod(0o755)
        for path in (self.sockets, self.data):
            path.mkdir(0o700)
            self._give(path)
        self.sockets.chmod(0o755)
        self._call(
            "initdb", "--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C", "--data-checksums",
            "--pgdata", str(self.data),
        )  # fmt: skip
        shutil.copyfile(folder / "leaf.pem", self.data / "leaf.pem")
        (self.data / "leaf.pem").chmod(0o600)
        self._give(self.data / "leaf.pem")
        lines = [f"{key} = '{value}'" for key, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(_CONFIG + "\n".join(lines) + "\n")
        others = f"hostssl all all {machines} scram-sha-256\n" if address else ""
        (self.data / "pg_hba.conf").write_text(_HBA + others)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def sockets(self) -> Path:
        return self.folder / "run"

    @property
    def log(self) -> str:
        """What the server has logged: every statement, too."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        assert self._process is None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._path("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.sockets,
                 "-c", f"listen_addresses={','.join(filter(None, ['127.0.0.1', self.address]))}"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self._user, group=self._user,
                extra_groups=None if self._user is None else [], cwd="/", start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError, RuntimeError):
                with self.superuser() as connection:
                    connection.execute("SELECT 1")
                return
            assert self._process.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and all its connections, in good order by default."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_PATIENCE)

    def crash(self) -> None:
        """End the server without any order: it has to recover when it starts again."""
        self.stop(signal.SIGQUIT)

    def close(self) -> None:
        """Close what tests have opened."""
        opened, self.opened = self.opened, []
        for database in opened:
            database.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def superuser(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Return a connection of the administrator."""
        import psycopg

        try:
            return psycopg.connect(
                host=str(self.sockets), port=self.port, user="postgres", dbname=database, autocommit=True
            )
        except psycopg.OperationalError as error:
            raise RuntimeError(str(error)) from None

    def make_database(self) -> FreshDatabase:
        """Return a new database, which belongs to a new role."""
        from psycopg import sql

        self._numbers += 1
        fresh = FreshDatabase(self, f"test_{self._numbers}", f"t{self._numbers}", secrets.token_hex(8))
        with self.superuser() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(fresh.role), sql.Literal(fresh.password)
                )
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(fresh.name), sql.Identifier(fresh.role)
                )
            )
        return fresh

    def _give(self, path: Path) -> None:
        if self._user is not None:
            about = pwd.getpwnam(self._user)
            os.chown(path, about.pw_uid, about.pw_gid)

    def _path(self, program: str) -> Path:
        assert self._programs is not None
        return self._programs / program

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._path(program), *arguments], check=True, capture_output=True, user=self._user,
            group=self._user, extra_groups=None if self._user is None else [], cwd="/",
        )  # fmt: skip


@dataclass
class FreshDatabase:
    """A database with nothing in it, and the role that owns it."""

    server: PostgresServer
    name: str
    role: str
    password: str = field(repr=False)

    def dsn(self, way: Way = "loopback", *, user: str = "", password: str = "") -> str:
        """Return a DSN: by default over loopback without TLS, as the role that owns the database."""
        user, password = user or self.role, password or self.password
        if way == "socket":
            words = f"host={quote(str(self.server.sockets))}&port={self.server.port}"
            return f"postgres://{user}:{quote(password)}@/{self.name}?{words}"
        host, words = "127.0.0.1", ""
        if way in ("tls", "network"):
            root = quote(str(self.server.folder / "ca.pem"))
            host, words = "localhost", f"?sslmode=verify-full&sslrootcert={root}"
        if way == "network":
            assert self.server.address is not None
            host = self.server.address
        return f"postgres://{user}:{quote(password)}@{host}:{self.server.port}/{self.name}{words}"

    def parsed(self, way: Way = "loopback") -> Dsn:
        from orchestrator.postgres.dsn import parse

        return parse(self.dsn(way))

    def dsn_file(self, folder: Path, way: Way = "loopback") -> Path:
        """Write a DSN into a file that only this user may read."""
        path = folder / "dsn"
        path.write_text(self.dsn(way) + "\n")
        path.chmod(0o400)
        return path

    def open(self, way: Way = "loopback", *, user: str = "", password: str = "") -> Database:
        from orchestrator.postgres.database import Database
        from orchestrator.postgres.dsn import parse

        database = Database(parse(self.dsn(way, user=user, password=password)))
        self.server.opened.append(database)
        return database

    def administrator_dsn(self) -> str:
        """Return the DSN of a superuser, whom the server believes by the socket."""
        return (
            f"postgres://postgres@/{self.name}?host={quote(str(self.server.sockets))}&port={self.server.port}"
        )

    def ready(self) -> Database:
        """Return the database as `orchestrator cluster init` leaves it."""
        from orchestrator.postgres import setup
        from orchestrator.postgres.dsn import parse

        administrator = parse(self.administrator_dsn())
        setup.install(administrator, self.parsed("socket"))
        setup.make_ready(self.parsed())
        return self.open()

    def prepared(self) -> Database:
        """Return the database with all tables."""
        from orchestrator.postgres import schema

        database = self.open()
        database.run(schema.prepare)
        return database

    def superuser(self) -> psycopg.Connection[tuple[Any, ...]]:
        return self.server.superuser(self.name)


def signal_to(pids: Sequence[int], number: signal.Signals) -> None:
    """Send processes of a server a signal; the server may have ended some of them meanwhile."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def serving(**settings: str) -> Iterator[PostgresServer]:
    """A server for a test that does to it what others would not survive."""
    skip_without_postgres()
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), **settings)
        server.start()
        try:
            yield server
        finally:
            server.close()
            server.stop(signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with serving() as server:
        yield server


@pytest.fixture
def fresh(postgres: PostgresServer) -> Iterator[FreshDatabase]:
    yield postgres.make_database()
    postgres.close()


@functools.cache
def _why_not() -> str | None:
    if programs() is None:
        return "there is no Postgres: `apt-get install postgresql`"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "there is no psycopg: install the extra `cluster`"
    return None


def skip_without_postgres() -> None:
    """Skip a test where there is no Postgres, unless there must be one."""
    if (why := _why_not()) is not None:
        if os.environ.get(MUST):
            pytest.fail(why)
        pytest.skip(why)
