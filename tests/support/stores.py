"""Where the services under test keep their accounts: in files, or in Postgres.

A test says nothing of it, and runs on either. `pytest --store postgres` takes Postgres for all tests of
services, which takes as long as with files.

In each run of pytest, and so in `.ci/run`, all tests run with files, and those of the modules that are
marked `both_stores` once more with Postgres. These modules are about what is kept: sessions that are put
away and come back, what outlasts a restart and a kill, what is stored of messages and what is to be sent,
and what must be nowhere. The others are about the library, WhatsApp, the gateway or the page, whose code
meets no store. So some ten minutes show what could break.

What makes sense with files only is marked `files_only`, with the reason; `test_store_trouble` has the
database's own trouble in place of the disk's.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest
from support.kept import Kept, KeptInFiles

from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from support.postgres import FreshDatabase, PostgresServer

FILES: Final = "files"
POSTGRES: Final = "postgres"


class Store(Protocol):
    """Where services keep their accounts."""

    def settings(self, folder: Path) -> dict[str, Any]:
        """Return what the configuration says of it for a service in a folder; the same one each time."""

    def kept(self, folder: Path, state: Path) -> Kept:
        """Return what a service in a folder keeps, whose state folder this is."""

    def copy(self, folder: Path, to: Path) -> None:
        """Have a service in another folder begin with what a service in a folder has kept; neither runs."""

    def settle(self, client: Client, name: str) -> None:
        """Wait until a service that runs has written down what it has shown of an account."""


class Files:
    """The state folder, which needs no word in the configuration."""

    def settings(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        """See `Store.settings`."""
        return {}

    def kept(self, folder: Path, state: Path) -> Kept:  # noqa: ARG002
        """See `Store.kept`."""
        return KeptInFiles(state)

    def copy(self, folder: Path, to: Path) -> None:
        """See `Store.copy`."""
        shutil.copytree(folder / "state", to / "state", symlinks=True)

    def settle(self, client: Client, name: str) -> None:
        """See `Store.settle`: it is written before it is shown."""


class Postgres:
    """A server, with a database for each service.

    Args:
        server: The server.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._databases: dict[Path, FreshDatabase] = {}

    def settings(self, folder: Path) -> dict[str, Any]:
        """See `Store.settings`."""
        return {"store": {"dsn_file": str(folder / "dsn")}}

    def kept(self, folder: Path, state: Path) -> Kept:
        """See `Store.kept`."""
        from support.kept_postgres import KeptInPostgres

        return KeptInPostgres(self.database(folder), state)

    def copy(self, folder: Path, to: Path) -> None:
        """See `Store.copy`: the accounts' roles are the same, so only one of the two may run."""
        from support.kept_postgres import copy_database

        shutil.copytree(folder / "state", to / "state", symlinks=True)
        database = self.database(folder)
        other = replace(database, name=f"{database.name}_{len(self._databases)}")
        copy_database(database, database.name, other.name)
        other.ready()
        other.dsn_file(to)
        self._databases[to] = other

    def settle(self, client: Client, name: str) -> None:
        """See `Store.settle`: who asks for the history is answered when it is written."""
        with contextlib.suppress(OrchestratorError):
            client.call("explain", name=name, entries=1)

    def database(self, folder: Path) -> FreshDatabase:
        """Return the database of a service in a folder, as `orchestrator cluster init` leaves it."""
        if folder not in self._databases:
            database = self._databases[folder] = self._server.make_database()
            database.ready()
            database.dsn_file(folder)
        return self._databases[folder]

    def close(self) -> None:
        """Delete the databases."""
        from support.kept_postgres import drop_database

        self._server.close()
        for database in self._databases.values():
            drop_database(database, database.name)
        self._databases.clear()


_now: list[Store] = [Files()]


def current() -> Store:
    """Return the store of the test that runs."""
    return _now[-1]


@contextmanager
def using(store: Store) -> Iterator[None]:
    """Have services keep their accounts in a store."""
    _now.append(store)
    try:
        yield
    finally:
        _now.remove(store)


def add_option(parser: pytest.Parser) -> None:
    """Add pytest's option."""
    parser.addoption(
        "--store",
        choices=(FILES, POSTGRES),
        help="where services of end-to-end tests keep their accounts; by default in files, those of modules"
        " marked both_stores once more in Postgres",
    )


def of_test(nodeid: str) -> str:
    """Return the store of a test by its name."""
    words = nodeid.rpartition("[")[2].rstrip("]").split("-")
    return POSTGRES if POSTGRES in words else FILES


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Have a test run on the stores it is meant for; its name says so if that is Postgres."""
    if not isinstance(metafunc.module, ModuleType) or not hasattr(metafunc.module, "Service"):
        return  # it starts no service
    test = metafunc.definition
    only = test.get_closest_marker("files_only")
    wanted = metafunc.config.getoption("--store")
    if wanted is None:
        wanted = [FILES, POSTGRES] if test.get_closest_marker("both_stores") and only is None else [FILES]
    else:
        wanted = [wanted]
    skip = () if only is None else (pytest.mark.skip(f"with files only: {only.args[0]}"),)
    metafunc.parametrize(
        "store",
        [
            pytest.param(FILES, id=pytest.HIDDEN_PARAM)
            if one == FILES
            else pytest.param(POSTGRES, id=POSTGRES, marks=skip)
            for one in wanted
        ],
        indirect=True,
        scope="module",
    )
