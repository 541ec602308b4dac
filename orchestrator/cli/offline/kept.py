"""What is kept of the accounts, for commands that no service answers."""

from __future__ import annotations

from orchestrator.cli.invocation import Places
from orchestrator.store.protocols import Record, Store
from orchestrator.store.record_files import RecordFiles


def record(where: Places) -> Record:
    """Return what is written down of accounts, without what moves sessions: `list` has to start fast.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder makes no sense.
        StateError: The path of the state folder is too long.
    """
    return RecordFiles(where.state())


def store(where: Places) -> Store:
    """Return all that is kept. Its codes are those of the usual folder: such a command shows none.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder makes no sense.
        StateError: The path of the state folder is too long.
    """
    from orchestrator.store.files import in_files

    paths = where.state()
    return in_files(paths, paths.qr)


def session_names(where: Places) -> list[str]:
    """Return the names of all sessions, without what moves them.

    Args:
        where: What the command's options say.

    Raises:
        ConfigError: What names the state folder makes no sense.
        StateError: The path of the state folder is too long.
    """
    from orchestrator.store import sessions

    return sessions.names(where.state().sessions)
