"""`orchestrator codes`: the codes of all machines, in a folder of a machine that has nothing but the DSN."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cli import COMMAND, Cli, wait_for
from support.postgres import FreshDatabase, serving

from orchestrator.postgres import fleet_codes, ids, rows
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.pending import Batch, Code
from orchestrator.store.codes import draw


class Onlooker(Cli):
    """A machine without a configuration, which has a file with a DSN."""

    def __init__(self, folder: Path, dsn: str) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.dsn_file = folder / "codes.secret"
        self.dsn_file.write_text(dsn + "\n")
        self.dsn_file.chmod(0o400)
        self.shown = folder / "shown"

    def line(self, *arguments: str, program: tuple[str, ...] = COMMAND) -> list[str]:
        first, *rest = arguments
        return [*program, first, "--dsn-file", str(self.dsn_file), *rest]

    @contextmanager
    def watching(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        with (
            self.log.open("a") as log,
            self.popen("codes", "--watch", str(self.shown), *more, program=COMMAND, stderr=log) as process,
        ):
            wait_for(lambda: "shows the codes of" in self.log.read_text(), "the codes are watched")
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()
        assert list(self.shown.iterdir()) == []

    def pictures(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.shown.glob("*")}

    def until_shown(self, **pictures: bytes) -> None:
        wanted = {f"{name}.png": png for name, png in pictures.items()}
        wait_for(lambda: self.pictures() == wanted, f"the folder has {sorted(wanted)}")


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return fresh.ready()


def png(text: str) -> bytes:
    return draw.render(text, time.time() + 60)


def show(database: Database, seconds: float = 300.0, **codes: bytes | None) -> None:
    """Write codes as the service of a machine does."""
    until = time.monotonic() + seconds
    written = {name: None if png is None else Code(png, until) for name, png in codes.items()}
    batch = Batch({}, {}, written, ())
    database.run(lambda connection: rows.write(connection, batch))


def test_each_code_is_a_picture_until_it_is_over(
    tmp_path: Path, fresh: FreshDatabase, database: Database
) -> None:
    here = Onlooker(tmp_path / "here", fresh.dsn())
    assert here("codes").stdout == "no account shows a code\n"
    show(database, a=png("first"), b=(other := png("other")))
    here.shown.mkdir(0o700)
    (here.shown / "old.png").write_bytes(png("of a watch that was killed"))
    with here.watching() as process:
        a = png("second")
        show(database, a=a)
        here.until_shown(a=a, b=other)
        about = (here.shown / "a.png").stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid) == (0o600, os.geteuid())
        assert stat.S_IMODE(here.shown.stat().st_mode) == 0o700
        listed = json.loads(here("codes", "--json").stdout)
        assert [one["name"] for one in listed] == ["a", "b"]
        assert all(0 < one["seconds_left"] <= 300 for one in listed)
        second = here("codes", "--watch", str(here.shown), code=1).stderr
        assert "another `orchestrator codes --watch`" in second
        # What somebody else puts there goes, and is not followed.
        (tmp_path / "strange").write_bytes(png("mine"))
        (here.shown / "b.png").unlink()
        (here.shown / "a.png").unlink()
        (here.shown / "a.png").symlink_to(tmp_path / "strange")
        here.until_shown()
        wait_for(lambda: "somebody put another file in its place" in here.log.read_text(), "it is told")
        assert (tmp_path / "strange").exists()
        show(database, a=None, b=(again := png("again")))
        here.until_shown(b=again)
        show(database, 0.5, b=(short := png("short")))
        here.until_shown()
        del short
        show(database, c=png("left behind"))
        wait_for(lambda: list(here.pictures()) == ["c.png"], "c has a picture")
        assert process.poll() is None
    assert fresh.password not in here.log.read_text()


def test_while_the_database_is_away_codes_end_and_the_watch_waits(tmp_path: Path) -> None:
    with serving() as server:
        fresh = server.make_database()
        database = fresh.ready()
        here = Onlooker(tmp_path / "here", fresh.dsn())
        server.stop()
        with here.watching():
            wait_for(lambda: "cannot be reached: nothing listens there" in here.log.read_text(), "it is told")
            server.start()
            show(database, 15, a=(first := png("first")))
            here.until_shown(a=first)
            server.stop()
            here.until_shown()
            server.start()
            wait_for(lambda: here.log.read_text().count("answers again") == 2, "the database is back")
            show(database, a=(second := png("second")))
            here.until_shown(a=second)
        assert fresh.password not in here.log.read_text()


def test_a_role_that_may_do_nothing_else_shows_codes(
    tmp_path: Path, fresh: FreshDatabase, database: Database
) -> None:
    watcher = f"{fresh.role}_codes"
    with fresh.superuser() as connection:
        connection.execute(f"CREATE ROLE {watcher} LOGIN PASSWORD 'needle7'".encode())
        connection.execute(f"GRANT CONNECT ON DATABASE {fresh.name} TO {watcher}".encode())
    here = Onlooker(tmp_path / "here", fresh.dsn(user=watcher, password="needle7"))
    refused = here("codes", "--watch", str(here.shown), code=1).stderr
    assert "does not give this user the rights" in refused
    assert "needle7" not in refused
    tables = "orchestrator.code, orchestrator.account, orchestrator.part"
    grants = (f"GRANT USAGE ON SCHEMA orchestrator TO {watcher}", f"GRANT SELECT ON {tables} TO {watcher}")
    database.run(lambda connection: [connection.execute(grant.encode()) for grant in grants])
    show(database, a=(first := png("first")))
    with here.watching("--group", str(os.getegid())):
        here.until_shown(a=first)
        assert stat.S_IMODE((here.shown / "a.png").stat().st_mode) == 0o640


def test_rows_that_are_no_codes_of_accounts_are_left_out(fresh: FreshDatabase, database: Database) -> None:
    def write(connection: Connection) -> None:
        for number, (name, content) in enumerate(
            [("../a", png("x")), ("b", b"<svg>"), ("c", png("x")), (".d", png("x"))]
        ):
            connection.execute(
                "INSERT INTO orchestrator.account (id, name) VALUES (%s, %s)", [f"a_{number:016x}", name]
            )
            connection.execute(
                "INSERT INTO orchestrator.code VALUES (%s, %s, clock_timestamp() + interval '1 hour')",
                [ids.find(connection, name), content],
            )

    database.run(write)
    found = database.run(lambda connection: fleet_codes.read(connection, lambda: 100.0))
    assert [code.account for code in found] == ["c"]
    assert 3600 < found[0].until < 3701
    del fresh


def test_a_folder_that_others_may_write_to_shows_nothing(
    tmp_path: Path, fresh: FreshDatabase, database: Database
) -> None:
    del database
    here = Onlooker(tmp_path / "here", fresh.dsn())
    here.shown.mkdir()
    here.shown.chmod(0o777)
    refused = here("codes", "--watch", str(here.shown), code=1).stderr
    assert "others could put codes of their own there" in refused
    assert "qr_dir" not in refused


def test_the_folder_of_the_machines_own_service_is_not_taken(tmp_path: Path, fresh: FreshDatabase) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}", top=f"store: {{dsn_file: {fresh.dsn_file(tmp_path)}}}\nqr_dir: shown\n")
    assert "shows its own codes there" in cli("codes", "--watch", str(tmp_path / "shown"), code=2).stderr
    assert not (tmp_path / "shown").exists()
