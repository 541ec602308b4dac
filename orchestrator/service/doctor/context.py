"""What checks look at. Everything is looked up once, when the first check asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from orchestrator.config.settings import Settings
from orchestrator.control.client import Client
from orchestrator.control.protocol import Json
from orchestrator.errors import NotRunning, StoreUnusable
from orchestrator.service import stores
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.store.protocols import Store

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection, Database
    from orchestrator.postgres.health import Health

T = TypeVar("T")


class Lookup(Generic[T]):
    """Something that is looked up once. Whoever asks again gets the same value, or the same error.

    Args:
        find: Looks it up.
    """

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._value: T | None = None
        self._error: Exception | None = None
        self._is_done = False

    def get(self) -> T:
        """Return the value.

        Raises:
            Exception: Whatever looking it up raises.
        """
        if not self._is_done:
            self._is_done = True
            try:
                self._value = self._find()
            except Exception as error:  # noqa: BLE001 - whoever asks gets it
                self._error = error
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # there is one if there is no error

    def or_none(self) -> T | None:
        """Return the value, None if it cannot be had: another check says so."""
        try:
            return self.get()
        except Exception:  # noqa: BLE001 - the check whose subject it is tells the error
            return None


class Context:
    """What checks look at.

    Args:
        load: Reads the configuration.
        find_state: Returns where the state folder is.
        find_service: Makes a client for the service.

    Attributes:
        settings: The configuration.
        paths: The state folder.
        client: A client for the service, whether it runs or not.
        ping: What a running service says of itself. It raises `NotRunning` if none runs.
        database: What the server of the database is like; None where the configuration names no database.
        store: What is kept of the accounts, in files or in a database. A database that is away or unfit is
            an error, which is the same one for each check.
        lock: Looks whether the state folder is free. It raises `AlreadyRunning` if another process uses it.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        find_state: Callable[[], StatePaths],
        find_service: Callable[[], Client],
    ) -> None:
        self._open = contextlib.ExitStack()
        self.settings = Lookup(load)
        self.paths = Lookup(find_state)
        self.client = Lookup(find_service)
        self.ping: Lookup[Json] = Lookup(lambda: self.client.get().call("ping"))
        self.lock = Lookup(self._try_lock)
        self.store = Lookup(self._open_store)
        self.database: Lookup[Health | None] = Lookup(self._look_at_database)
        self._connected: Lookup[Database] = Lookup(self._connect)

    def accounts(self) -> int:
        """Return how many accounts are enabled, 0 if the configuration cannot be read."""
        settings = self.settings.or_none()
        return sum(account.enabled for account in settings.accounts.values()) if settings else 0

    def is_free(self) -> bool:
        """Tell whether the state folder is there and no service works on it."""
        paths = self.paths.or_none()
        if paths is None or not paths.sessions.exists():
            return False
        try:
            self.ping.get()
        except NotRunning:
            pass
        except Exception:  # noqa: BLE001 - it may run
            return False
        else:
            return False
        try:
            self.lock.get()
        except Exception:  # noqa: BLE001 - the check of the service tells the error
            return False
        return True

    def in_database(self, work: Callable[[Connection], T]) -> T:
        """Return what is read in the database that the configuration names.

        Raises:
            StateError: It cannot be reached, or is unfit.
        """
        self._need_database()
        return self._connected.get().run(work)

    def _need_database(self) -> None:
        health = self.database.get()
        for problem in () if health is None else health.problems:
            if problem.fatal:
                raise StoreUnusable(problem.text)

    def _look_at_database(self) -> Health | None:
        if self._dsn_file() is None:
            return None
        from orchestrator.postgres import driver

        driver.need()
        from orchestrator.postgres import health

        return health.examine(self._connected.get())

    def _connect(self) -> Database:
        from orchestrator.postgres import dsn
        from orchestrator.postgres.database import Database

        file = self._dsn_file()
        assert file is not None
        return self._open.enter_context(Database(dsn.read(file), name="orchestrator doctor"))

    def _dsn_file(self) -> Path | None:
        settings = self.settings.or_none()
        return None if settings is None else settings.store

    def _open_store(self) -> Store:
        settings, paths = self.settings.or_none(), self.paths.get()
        if settings is None or settings.store is None:
            return in_files(paths, paths.qr)
        self._need_database()
        return self._open.enter_context(stores.opened(settings, paths, commands=True))

    def _try_lock(self) -> None:
        path = self.paths.get().lock
        if path.exists():
            InstanceLock(path, what="looks whether this is locked").release()
