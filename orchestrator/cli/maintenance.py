"""The commands ``maintenance …``: the switch with which no account starts by itself."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from orchestrator.accounts.words import counted
from orchestrator.cli import invocation
from orchestrator.cli.formatting import during, examples
from orchestrator.cli.invocation import Places
from orchestrator.errors import NotRunning
from orchestrator.system.clock import iso

app = typer.Typer(
    name="maintenance",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keep all accounts from starting by themselves, while something is mended.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command(epilog=examples("orchestrator maintenance on", "orchestrator maintenance on --json"))
def on(context: typer.Context, as_json: AsJson = False) -> None:
    """Turn maintenance on: from now on, no account starts by itself.

    Accounts that run go on. An account whose process ends waits, and so do all accounts when the service is
    restarted. `orchestrator start NAME` starts an account all the same. Without a running service, this holds
    from when it starts.
    """
    _show(_turn(invocation.of(context), on=True), as_json=as_json)


@app.command(epilog=examples("orchestrator maintenance off"))
def off(context: typer.Context, as_json: AsJson = False) -> None:
    """Turn maintenance off: the accounts that waited start in their turn."""
    _show(_turn(invocation.of(context), on=False), as_json=as_json)


@app.command(
    epilog=examples("orchestrator maintenance status", "orchestrator maintenance status --json | jq .on")
)
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Say whether maintenance is on, since when, and how many accounts wait for its end."""
    where = invocation.of(context)
    try:
        found = where.service().call("maintenance")
    except NotRunning:
        found = _kept(where)
    _show(found, as_json=as_json)


def _turn(where: Places, *, on: bool) -> dict[str, Any]:
    try:
        return where.service().call("maintenance", on=on)
    except NotRunning:
        from orchestrator.cli.offline import kept
        from orchestrator.cli.offline.changes import exclusive

        store = kept.store(where)
        with exclusive(store, "turns maintenance on or off"):
            if on is (store.record.maintenance() is None):
                store.record.keep_maintenance(time.time() if on else None)
        return _kept(where)


def _kept(where: Places) -> dict[str, Any]:
    """Return what is written down of maintenance, for when no service runs."""
    from orchestrator.cli.offline import kept

    since = kept.record(where).maintenance()
    return {"on": since is not None, "since": None if since is None else round(since), "waiting": 0}


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
    elif not found["on"]:
        print("maintenance is off: accounts start by themselves")
    else:
        print(during(iso(found["since"]) or ""))
        if found["waiting"]:
            print(
                f"{counted(found['waiting'], 'account')} wait{'s' if found['waiting'] == 1 else ''} for that"
            )
