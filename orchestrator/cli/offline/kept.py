"""What is kept of the accounts, for commands that no service answers: in files, or in a database."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.cli.ending import UNTIL_THE_END
from orchestrator.cli.invocation import Places
from orchestrator.store.protocols import Record, Store
from orchestrator.store.record_files import RecordFiles

if TYPE_CHECKING:  # most configurations have no cluster
    from orchestrator.store.owned import Owned


def record(where: Places) -> Record:
    """Return what is written down of accounts, without what moves sessions: `list` has to start fast.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder or the database makes no sense.
        StateError: The path of the state folder is too long, or the database cannot be used.
    """
    return store(where).record if where.may_have_store() else RecordFiles(where.state())


def store(where: Places) -> Store:
    """Return all that is kept. Its codes are those of the usual folder: such a command shows none.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder or the database makes no sense.
        StateError: The path of the state folder is too long, or the database cannot be used.
    """
    if where.may_have_store():
        return _opened(where)
    from orchestrator.store.files import in_files

    paths = where.state()
    return in_files(paths, paths.qr)


def cluster(where: Places) -> Mapping[str, Owned] | None:
    """Return all accounts of the cluster, by name; None where the configuration has no cluster.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the database makes no sense.
        StateError: The database cannot be used.
    """
    if not where.may_have_store() or where.settings().cluster is None:
        return None
    from orchestrator.postgres.database import Database
    from orchestrator.postgres.fleet import Looks

    database = store(where).presence
    assert isinstance(database, Database)
    return database.run(Looks().look)


def session_names(where: Places) -> list[str]:
    """Return the names of all sessions, without what moves them.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder or the database makes no sense.
        StateError: The path of the state folder is too long, or the database cannot be used.
    """
    if where.may_have_store():
        return store(where).sessions.names()
    from orchestrator.store import sessions

    return sessions.names(where.state().sessions)


@functools.cache
def _opened(where: Places) -> Store:
    """Open the store that the whole configuration names, until the command ends."""
    from orchestrator.service import stores

    return UNTIL_THE_END.enter_context(stores.opened(where.settings(), where.state(), commands=True))
