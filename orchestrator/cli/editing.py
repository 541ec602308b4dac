"""What commands mind that edit the configuration and then have a running service take it over.

With `store:`, a service takes nothing over while its database is away. An edit that it cannot follow would be
half of what the operator wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.cli.invocation import Places
from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError, StoreAway


def need_store(where: Places, client: Client | None) -> None:
    """See, before the configuration is edited, that a running service can keep what follows.

    Args:
        where: What the command's options say.
        client: A client for the service, None if none runs.

    Raises:
        StoreAway: The database is away; nothing was changed.
        StateError: The database cannot be used.
    """
    if client is None or not where.may_have_store():
        return
    from orchestrator.cli.offline import kept

    try:
        kept.record(where).maintenance()
    except StoreAway as error:
        raise StoreAway(f"{error}: nothing was changed, try again when it is back") from None


@contextmanager
def told(file: Path, left: str) -> Iterator[None]:
    """Have an error say that the configuration is edited already, and what is left to do.

    Args:
        file: The configuration.
        left: What is left, and with which command it is done.
    """
    try:
        yield
    except OrchestratorError as error:
        error.args = (f"{error}\n{file} is edited already: {left}",)
        raise
