"""What commands mind that edit the configuration and then have a running service take it over.

With `store:`, a service takes nothing over while its database is away. An edit that it cannot follow would be
half of what the operator wanted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from orchestrator.cli.invocation import Places
from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError, StoreAway

NOTICE_SECONDS: Final = 6.0
"""For the service to notice that its database is back."""


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
    until = time.monotonic() + NOTICE_SECONDS
    while not _has_store(client):
        if time.monotonic() > until:
            raise StoreAway("the service cannot reach its database: nothing was changed, try again later")
        time.sleep(0.2)


def _has_store(client: Client) -> bool:
    """Tell whether the service reaches its database: the service looks every two seconds."""
    store = client.call("companions").get("store")
    return not isinstance(store, dict) or store.get("up") is not False


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
