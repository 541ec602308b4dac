"""A service and its commands with `store:`, with stand-in children: what they say is in the database."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from support.cli import COMMAND, STAND_IN, Cli, bare, wait_for
from support.postgres import FreshDatabase, serving

from orchestrator.control.client import Client
from orchestrator.postgres.database import Database
from orchestrator.postgres.sessions import Sessions
from orchestrator.store import realm
from orchestrator.store.layout import StatePaths


class Machine(Cli):
    """A machine with a service of its own, and the one database."""

    def __init__(self, folder: Path, fresh: FreshDatabase) -> None:
        folder.mkdir()
        super().__init__(folder)
        self._top = f"store: {{dsn_file: {fresh.dsn_file(folder)}}}\n"

    def configure(self, *accounts: str, top: str = "") -> None:
        super().configure(*accounts, top=self._top + top)

    def status(self, name: str) -> dict[str, object]:
        return self.accounts()[name]


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return fresh.ready()


@pytest.fixture
def machines(tmp_path: Path, fresh: FreshDatabase, database: Database) -> tuple[Machine, Machine]:
    del database
    return Machine(tmp_path / "one", fresh), Machine(tmp_path / "two", fresh)


def link(database: Database, folder: Path, name: str, device: str) -> None:
    """Write an account's session as the library does."""
    paths = StatePaths.of(folder / "written", environ={})
    paths.prepare()
    sessions = Sessions(database, paths, realm.WHATSAPP)
    assert sessions.admit(name) is None
    dsn = sessions.place(name).dsn
    assert dsn is not None
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS whatsmeow_device (jid text, noise_key bytea, identity_key bytea)"
        )
        connection.execute("DELETE FROM whatsmeow_device")
        row = (f"{device}@s.whatsapp.net", device.encode() * 8, device.encode() * 9)
        connection.execute("INSERT INTO whatsmeow_device VALUES (%s, %s, %s)", row)


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    return database.run(lambda connection: connection.execute(query.encode()).fetchall())


def test_another_machine_says_what_the_service_of_the_first_one_has_written(
    machines: tuple[Machine, Machine], database: Database
) -> None:
    one, two = machines
    for cli in machines:
        cli.configure("a: {}", "b: {phone: '+4915100001'}")
    with one.service():
        one.until("a", "pairing")
        code = one.state / "qr" / "a.png"
        wait_for(code.exists, "a shows a code")
        stored = wait_for(
            lambda: rows(database, "SELECT png FROM orchestrator.code ORDER BY account"), "codes are rows"
        )
        assert code.read_bytes() in [png for (png,) in stored]
        one("stop", "b")
        assert two.status("b")["reason"] == "stopped by an operator"
        # What changes something is for the machine whose service has the accounts.
        for line in (("maintenance", "on"), ("repair", "a", "--no-wait", "--yes"), ("remove", "a", "--yes")):
            refused = two(*line, code=1).stderr
            assert f"on {os.uname().nodename} (the service)" in refused, (line, refused)
        assert "a: {}" in two.config.read_text()
    assert rows(database, "SELECT png FROM orchestrator.code") == []
    for cli in machines:
        found = cli.accounts()
        assert (found["a"]["state"], found["b"]["state"]) == ("stopped", "stopped")
        assert "an operator" in str(found["b"]["reason"])
        assert "pairing" in cli("explain", "a").stdout
        happened = json.loads(cli("history", "--json").stdout)
        assert {"starting", "pairing", "stopped"} <= {entry["to"] for entry in happened}
        assert json.loads(cli("report", "--json").stdout)[0]["name"] == "a"
    assert one("history").stdout == two("history").stdout
    assert not (one.state / "status.json").exists()
    assert not any((one.state / "timeline").iterdir())


def test_who_is_killed_and_starts_again_keeps_the_wishes_and_needs_no_patience(
    machines: tuple[Machine, Machine],
) -> None:
    one, two = machines
    for cli in machines:
        cli.configure("a: {}", "b: {}")
    with one.service(code=-signal.SIGKILL) as process:
        one.until("a", "pairing")
        one("stop", "a")
        assert one.status("a")["state"] == "stopped"
        process.kill()
        process.wait()
    with one.service():
        assert one.status("a")["state"] == "stopped"
        refused = two("run", code=1, program=STAND_IN).stderr
        assert f"on {os.uname().nodename} (the service)" in refused
        assert "end that one first" in refused
    with two.service():
        assert two.status("a")["state"] == "stopped"


@contextmanager
def starting(cli: Machine) -> Iterator[subprocess.Popen[str]]:
    with cli.log.open("a") as log, cli.popen("run", stderr=log) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "Traceback" not in cli.log.read_text(), cli.log.read_text()


def test_a_start_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    with serving() as server:
        fresh = server.make_database()
        fresh.ready()
        cli = Machine(tmp_path / "one", fresh)
        cli.configure("a: {}", "b: {enabled: false}")
        server.stop()
        with starting(cli):
            wait_for((cli.state / "control.sock").exists, "the service listens")
            assert cli("ping").stdout
            found = cli.accounts()
            assert (found["a"]["state"], found["a"]["kind"]) == ("backoff", "store")
            assert "cannot be reached" in str(found["a"]["reason"])
            assert found["b"]["state"] == "disabled"
            refused = cli("stop", "a", code=1).stderr
            assert "waits for its store" in refused
            assert fresh.password not in cli.log.read_text() + refused + json.dumps(found)
            server.start()
            cli.until("a", "pairing")
        # And once more, ended while it waits.
        server.stop()
        with starting(cli):
            wait_for((cli.state / "control.sock").exists, "the service listens")
            assert cli("list", "--json").stdout
        assert not (cli.state / "control.sock").exists()


def test_commands_say_that_the_database_is_away(tmp_path: Path) -> None:
    with serving() as server:
        fresh = server.make_database()
        fresh.ready()
        cli = Machine(tmp_path / "one", fresh)
        cli.configure("a: {}")
        assert cli.status("a")["state"] == "stopped"
        server.stop()
        for line in (
            ("list",), ("explain", "a"), ("history",), ("report",), ("quarantine", "list"), ("restore", "a"),
            ("maintenance", "on"), ("repair", "a", "--no-wait", "--yes"), ("remove", "a", "--yes"),
            ("rename", "a", "c"), ("on-change", "status"), ("restore",), ("messages", "a"), ("outbox", "a"),
            ("cluster", "status"), ("codes",),
        ):  # fmt: skip
            said = cli(*line, code=1).stderr
            assert re.search(r"the database \S+ at \S+ cannot be reached", said), (line, said)
            assert fresh.password not in said
        assert "a: {}" in cli.config.read_text()


def test_a_database_that_was_not_made_ready_says_what_to_run(tmp_path: Path, fresh: FreshDatabase) -> None:
    cli = Machine(tmp_path / "one", fresh)
    cli.configure("a: {}")
    for line in (("run",), ("list",)):
        assert "`orchestrator cluster init`" in bare(cli(*line, code=1, program=STAND_IN).stderr)


def test_what_a_service_could_not_follow_edits_no_configuration(tmp_path: Path) -> None:
    with serving() as server:
        fresh = server.make_database()
        fresh.ready()
        cli = Machine(tmp_path / "one", fresh)
        cli.configure("a: {}")
        with cli.service():
            cli.until("a", "pairing")
            before = cli.config.read_text()
            server.stop()
            for line in (
                ("add", "b"),
                ("remove", "a", "--yes"),
                ("remove", "a", "--unlink", "--yes"),
                ("set", "a", "note=x"),
            ):
                said = cli(*line, code=1).stderr
                assert re.search(r"cannot be reached: .*: nothing was changed", said), (line, said)
                assert cli.config.read_text() == before
            told = Client(cli.state / "control.sock", trusts=lambda _: True)
            assert told.call("companions")["store"] == {"up": False, "outages": 1}
            server.start()
            assert "b is in" in wait_for(lambda: cli.run_any(cli.line("add", "b")).stdout, "b is added")
            assert "b" in cli.accounts()
            wait_for(lambda: told.call("companions")["store"]["up"], "the database is back")
            assert told.call("companions")["shard"] is None


@pytest.mark.parametrize(("change", "said"), [("tables", "install that version"), ("role", "CREATEROLE")])
def test_commands_do_not_read_what_they_would_not_understand(
    tmp_path: Path, fresh: FreshDatabase, database: Database, change: str, said: str
) -> None:
    cli = Machine(tmp_path / "one", fresh)
    cli.configure("a: {}")
    assert cli.accounts()["a"]["state"] == "stopped"
    if change == "role":
        with fresh.superuser() as connection:
            connection.execute(f"ALTER ROLE {fresh.role} CREATEROLE".encode())
    else:
        rows(database, "UPDATE orchestrator.part SET version = version + 1 RETURNING name")
    for line in (
        ("list",), ("history",), ("messages", "a"), ("maintenance", "on"), ("cluster", "status"), ("codes",),
        ("run",),
    ):  # fmt: skip
        assert said in cli(*line, code=1, program=STAND_IN).stderr, line


def test_commands_change_what_is_kept(
    tmp_path: Path, machines: tuple[Machine, Machine], database: Database
) -> None:
    one, two = machines
    one.configure("a: {}", "b: {}")
    two.configure("a: {}", "b: {}")
    link(database, tmp_path, "a", "4915100001")
    link(database, tmp_path, "stray", "4915100002")
    assert "stray" in two("list").stdout

    two("maintenance", "on")
    assert json.loads(one("maintenance", "status", "--json").stdout)["on"]
    assert "maintenance" in one("list").stdout
    one("maintenance", "off")

    one("repair", "a", "--no-wait", "--yes")
    (entry,) = json.loads(two("quarantine", "list", "--json").stdout)
    assert (entry["name"], entry["reason"], entry["session"]) == ("a", "repair", True)
    assert f"restored from {entry['quarantine']}" in two("restore", "a").stdout
    assert json.loads(two("quarantine", "list", "--json").stdout) == []

    one("rename", "a", "c")
    two.configure("c: {}", "b: {}")
    assert [*two.accounts()] == ["c", "b"]
    assert 'there is no session of "c"' in two("restore", "c", code=1).stderr

    two("remove", "c", "--yes")
    (entry,) = json.loads(one("quarantine", "list", "--json").stdout)
    assert (entry["name"], entry["reason"]) == ("c", "removed")
    two("quarantine", "purge", "c", "--yes")
    assert json.loads(one("quarantine", "list", "--json").stdout) == []


def test_without_a_store_nothing_of_a_database_is_imported(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    for arguments in (("list",), ("explain", "a"), ("history",), ("repair", "a", "--no-wait", "--yes")):
        line = [sys.executable, "-X", "importtime", *COMMAND[1:], *cli.line(*arguments)[len(COMMAND) :]]
        said = cli.run(line).stderr
        assert "orchestrator.cli" in said
        assert not re.search(r"psycopg|orchestrator\.postgres", said), arguments


def test_the_password_is_nowhere(machines: tuple[Machine, Machine], fresh: FreshDatabase) -> None:
    one, _ = machines
    one.configure("a: {}")
    with one.service() as process:
        one.until("a", "pairing")
        for path in (f"/proc/{process.pid}/cmdline", f"/proc/{process.pid}/environ"):
            assert fresh.password.encode() not in Path(path).read_bytes()
        assert fresh.password not in one("list", "--json").stdout + one("explain", "a").stdout
    assert fresh.password not in one.log.read_text()
    shutil.rmtree(one.state)
    one("list")
