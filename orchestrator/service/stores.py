"""Opens the store that the configuration names: the state folder, or a database.

Nothing of a database is imported where the configuration has no `store:`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.cluster.settings import NAME, NAME_RULE, Cluster
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from orchestrator.messages.serving import Serving
from orchestrator.service.messages import InFiles, Messages, in_database
from orchestrator.store import realm
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Store

if TYPE_CHECKING:
    from orchestrator.postgres.leases import Me


@contextlib.contextmanager
def opened(settings: Settings, paths: StatePaths, *, commands: bool = False) -> Iterator[Store]:
    """Open the store until the end of the context. A database need not be there yet.

    Args:
        settings: The configuration.
        paths: The state folder.
        commands: Whether a command opens it, which ends when it has done what it wants: what is written down
            is then kept when a call returns.

    Raises:
        StateError: The codes would lie where the process of an account reads and writes.
        StoreUnusable: The file with the DSN cannot be used.
    """
    files = in_files(paths, settings.qr_dir, settings.qr_group)
    if settings.store is None:
        yield files
        return
    store, close = _in_database(settings, files, commands=commands)
    try:
        yield store
    finally:
        close()


def _in_database(settings: Settings, files: Store, *, commands: bool) -> tuple[Store, Callable[[], None]]:
    from orchestrator.postgres import driver

    driver.need()
    from orchestrator.postgres import dsn, record, schema
    from orchestrator.postgres.codes import CodeRows
    from orchestrator.postgres.consumers import ConsumerRows
    from orchestrator.postgres.database import Database
    from orchestrator.postgres.leases import Leases
    from orchestrator.postgres.membership import Membership
    from orchestrator.postgres.messages.boxes import Boxes
    from orchestrator.postgres.moves import Moves
    from orchestrator.postgres.ownership import OwnerRow
    from orchestrator.postgres.pulls import PullRows
    from orchestrator.postgres.sessions import Sessions
    from orchestrator.postgres.writing import Writer
    from orchestrator.store.record_files import RecordFiles

    assert settings.store is not None
    paths = files.paths
    # A service looks when it takes the accounts, and waits for a database that is away.
    database = Database(dsn.read(settings.store), first=schema.check if commands else None)
    owner: OwnerRow | Membership = OwnerRow(database, paths, _end)
    shared = settings.cluster is not None and not commands
    if settings.cluster is not None:
        owner = Membership(database, paths, Leases(database, _me(settings.cluster)), alone=commands)
    writer = Writer(database, owner.check, shared=shared)

    def close() -> None:
        writer.close()
        database.close()

    store = Store(
        paths,
        Sessions(database, paths, realm.current(), Boxes(), owner.admit),
        Moves(database, paths, Boxes(), renamed=record.renamed),
        record.RecordRows(database, writer, RecordFiles(paths), waits=commands),
        CodeRows(files.codes, database, writer, shared=shared),
        owner,
        database,
        () if database.dsn.root is None else (database.dsn.root,),
        ConsumerRows(database, owner.owns),
        PullRows(database),
    )
    return store, close


@contextlib.contextmanager
def messages(settings: Settings, store: Store) -> Iterator[Messages]:
    """Keep messages where the configuration says, until the end of the context.

    Args:
        settings: The configuration.
        store: The store, which this service owns.

    Raises:
        StoreUnusable: The file with the DSN cannot be used.
    """
    folder = store.paths.message_folder
    if settings.store is None:
        yield InFiles(folder)
        return
    from orchestrator.postgres import dsn
    from orchestrator.postgres.database import Database
    from orchestrator.postgres.membership import Membership
    from orchestrator.postgres.ownership import OwnerRow

    assert isinstance(store.ownership, OwnerRow | Membership)
    with Database(dsn.read(settings.store), name="orchestrator messages") as database:
        kept = in_database(database, folder, check=store.ownership.check)
        kept.start()
        try:
            yield kept
        finally:
            kept.close()


@contextlib.contextmanager
def reading(settings: Settings) -> Iterator[socket.socket]:
    """Give a socket by which messages in a database are read, until the end of the context.

    Args:
        settings: The configuration, which names a database.

    Raises:
        StoreUnusable: The file with the DSN cannot be used.
    """
    from orchestrator.postgres import driver

    driver.need()
    from orchestrator.postgres import dsn, schema
    from orchestrator.postgres.database import Database
    from orchestrator.postgres.messages.reading import ReadOnly

    assert settings.store is not None
    name = "orchestrator reads messages"
    with Database(dsn.read(settings.store), name=name, first=schema.check) as database:
        serving = Serving(ReadOnly(database))
        serving.start()
        try:
            yield serving.open()
        finally:
            serving.close()


def _end() -> None:
    """End this service: another one has taken its accounts, while this one could not reach the database."""
    os.kill(os.getpid(), signal.SIGTERM)


def _me(cluster: Cluster) -> Me:
    """Return how this machine presents itself to the others.

    Raises:
        ConfigError: The name of the host cannot be the name of a shard.
    """
    from orchestrator.postgres.leases import Me

    host = socket.gethostname()[:255] or "localhost"
    name = cluster.shard or host.lower()
    if NAME.fullmatch(name) is None:
        raise ConfigError(
            f"this machine has no name that can be one in the cluster: set cluster.shard to {NAME_RULE}"
        )
    return Me(name, host, __version__, cluster.capacity)
