"""Completes names of accounts for the tab key."""

from __future__ import annotations

import contextlib

import typer

from orchestrator.cli.invocation import Places
from orchestrator.errors import OrchestratorError


def accounts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the accounts whose names begin with a text, without those that the command line names already.

    No error may be shown while somebody types, so an error gives no names.
    """
    places = _places(context)
    named = set(context.params.get("names") or ())
    with contextlib.suppress(OrchestratorError, OSError):
        return [name for name in _known(places) if name.startswith(incomplete) and name not in named]
    return []


def renamable(context: typer.Context, incomplete: str) -> list[str]:
    """Return the accounts whose names begin with a text, and sessions without an account."""
    found = accounts(context, incomplete)
    with contextlib.suppress(OrchestratorError, OSError):
        from orchestrator.cli.offline import kept

        sessions = kept.session_names(_places(context))
        found += [name for name in sessions if name.startswith(incomplete) and name not in found]
    return found


def quarantined(context: typer.Context, incomplete: str) -> list[str]:
    """Return the folders in quarantine whose names begin with a text: those of the account, else all."""
    with contextlib.suppress(OrchestratorError, OSError):
        from orchestrator.cli.offline import kept

        every = kept.store(_places(context)).sessions.in_quarantine()
        own = [one.folder for one in every if one.name == context.params.get("name")]
        return [name for name in own or [one.folder for one in every] if name.startswith(incomplete)]
    return []


def put_away(context: typer.Context, incomplete: str) -> list[str]:
    """Return the accounts and the folders in quarantine whose names begin with a text."""
    with contextlib.suppress(OrchestratorError, OSError):
        from orchestrator.cli.offline import kept

        every = kept.store(_places(context)).sessions.in_quarantine()
        found = sorted({one.name for one in every if one.name}) + [one.folder for one in every]
        named = set(context.params.get("names") or ())
        return [name for name in found if name.startswith(incomplete) and name not in named]
    return []


def tags(context: typer.Context, incomplete: str) -> list[str]:
    """Return the tags of accounts that begin with a text, without those that were given already."""
    named = set(context.params.get("tags") or ())
    with contextlib.suppress(OrchestratorError, OSError):
        accounts = _places(context).settings().accounts.values()
        found = {tag for one in accounts for tag in one.tags if tag.startswith(incomplete)}
        return sorted(found - named)
    return []


def webhooks(context: typer.Context, incomplete: str) -> list[str]:
    """Return the webhooks whose names begin with a text."""
    places = _places(context)
    with contextlib.suppress(OrchestratorError, OSError):
        return [name for name in places.settings().webhooks if name.startswith(incomplete)]
    return []


def consumers(context: typer.Context, incomplete: str) -> list[str]:
    """Return the consumers whose names begin with a text."""
    places = _places(context)
    with contextlib.suppress(OrchestratorError, OSError):
        found = [one["name"] for one in places.service().call("consumers")["consumers"]]
        return [name for name in found if name.startswith(incomplete)]
    return []


def _places(context: typer.Context) -> Places:
    given = context.find_root().params
    return Places(given.get("config"), given.get("state_dir"))


def _known(places: Places) -> list[str]:
    try:
        found = places.service().call("list")["accounts"]
    except OrchestratorError:
        return list(places.settings().accounts)
    return [account["name"] for account in found]
