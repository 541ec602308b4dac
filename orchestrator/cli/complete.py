"""Completes names of accounts when somebody presses the tab key."""

from __future__ import annotations

import contextlib

import typer

from orchestrator.cli.places import Places
from orchestrator.errors import OrchestratorError


def accounts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the accounts whose names begin like that; those already named are left out.

    Nothing may go wrong aloud while somebody types, so whatever goes wrong gives no names.
    """
    given = context.find_root().params
    places = Places(given.get("config"), given.get("state_dir"))
    named = set(context.params.get("names") or ())
    with contextlib.suppress(OrchestratorError, OSError):
        return [name for name in _known(places) if name.startswith(incomplete) and name not in named]
    return []


def _known(places: Places) -> list[str]:
    try:
        found = places.service().call("list")["accounts"]
    except OrchestratorError:
        return list(places.settings().accounts)
    return [account["name"] for account in found]
