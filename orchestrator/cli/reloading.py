"""The command ``reload``: it reads an edited configuration, or only says what that would do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.accounts.words import counted
from orchestrator.cli import invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import NotRunning, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.accounts.proxy import Proxy
    from orchestrator.control.client import Client

app = typer.Typer(rich_markup_mode=None)

_EFFECTS = {
    "starts": "starts",
    "stops": "stops; its session is kept",
    "reconnects": "reconnects; its session is kept",
    "stays": "takes effect at once; the account stays connected as it is",
    "waits": "takes effect when the account starts",
}


@app.command(
    epilog=examples(
        "orchestrator reload",
        "orchestrator reload --dry-run",
        "orchestrator reload --probe",
    )
)
def reload(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change and who would reconnect.")
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Try the new proxies first, from this machine. If one fails, change nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Make the service read its configuration again.

    Only changed accounts are touched. If the configuration is not valid, the command shows all errors, and
    the service keeps the configuration that it has.

    Accounts whose connection changes reconnect one after another: the first alone, and more at once as they
    connect. If one does not connect, the others keep their old settings, and `orchestrator list` says so.
    Mend the configuration, and run `orchestrator reload` again.
    """
    if as_json and not dry_run:
        raise typer.BadParameter("needs --dry-run", param_hint="--json")
    where = invocation.of(context)
    client = where.service()
    try:
        plan = client.call("plan") if dry_run or probe else None
        if plan is not None and dry_run:
            print(json.dumps(plan, indent=2) if as_json else "\n".join(map(printable, planned(plan))))
        if plan is not None and probe:
            _probe(plan, quiet=as_json)
        if not dry_run:
            _tell(client.call("reload"))
    except NotRunning as error:
        if where.state_dir:
            raise
        raise NotRunning(
            f"{error}; if `state_dir:` was changed while the service runs, name the old folder with"
            " --state-dir"
        ) from None


def reload_service(client: Client) -> None:
    """Have a service read its configuration again, and say what that does.

    Args:
        client: The service.

    Raises:
        OrchestratorError: The configuration is not valid, or no process can be started.
    """
    _tell(client.call("reload"))


def _tell(changes: dict[str, Any]) -> None:
    """Say what a reload has done.

    Raises:
        OrchestratorError: No process could be started, so accounts keep their old one.
    """
    for what in ("added", "changed", "removed"):
        if changes[what]:
            print(printable(f"{what}: {', '.join(changes[what])}"))
    if changes["restart"]:
        print(f"takes effect when the service restarts: {', '.join(changes['restart'])}")
    strays = changes.pop("without_account", [])
    reconnect = changes.pop("reconnect", [])
    for sentence in (*changes.get("programs", []), *changes.get("renamed", [])):
        print(printable(sentence))
    if not any(changes.values()):
        print("nothing has changed")
    kept = changes.get("kept")
    if reconnect and not kept:
        print(printable(_in_turn(reconnect)))
    for sentence in strays:
        print(printable(sentence))
    if kept:
        raise OrchestratorError(
            f"no process can be started, so these accounts keep their old process: {', '.join(kept)};"
            " `orchestrator explain NAME` says why",
            key="cannot_start",
        )


def planned(plan: Mapping[str, Any]) -> list[str]:
    """Return what a reload would do, a line for each account and each part of the service.

    Args:
        plan: What the service answers to ``plan``.
    """
    lines = []
    for one in plan["accounts"]:
        what = ", ".join(one["keys"]) or (one["what"] if one["what"] != "changed" else "as it runs")
        lines.append(f"{one['name']}: {what}: {_EFFECTS.get(one['effect'], one['effect'])}")
    lines += [f"{key}: takes effect at once" for key in plan["settings"]]
    lines += plan["programs"]
    if plan["restart"]:
        lines.append(f"takes effect when the service restarts: {', '.join(plan['restart'])}")
    if reconnect := [one["name"] for one in plan["accounts"] if one["effect"] == "reconnects"]:
        lines.append(_in_turn(reconnect))
    return lines or ["nothing would change"]


def _in_turn(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} reconnects"
    return (
        f"{counted(len(names), 'account')} reconnect, one after another, each for about a second; if one does"
        " not connect, the others keep their old settings"
    )


def _probe(plan: Mapping[str, Any], *, quiet: bool) -> None:
    """Try the proxies that a reload would have accounts use.

    Raises:
        OrchestratorError: WhatsApp cannot be reached through one of them; the message has a line for each.
    """
    from concurrent.futures import ThreadPoolExecutor

    from orchestrator.accounts import proxy
    from orchestrator.config import reader
    from orchestrator.service.doctor.reach import Unreachable, reach

    wanted = {one["name"] for one in plan["accounts"] if one["what"] == "added" or "proxy" in one["keys"]}
    ways: dict[Proxy, list[str]] = {}
    for name, account in reader.load(plan["config_file"]).accounts.items():
        if name in wanted and account.proxy is not None and account.enabled:
            ways.setdefault(proxy.parse(account.proxy), []).append(name)

    def tried(way: Proxy) -> str | None:
        try:
            reach(way)
        except Unreachable as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=16) as pool:
        found = dict(zip(ways, pool.map(tried, ways), strict=True))
    failed = []
    for way, error in found.items():
        whose = f"{', '.join(ways[way][:3])}{' and others' if len(ways[way]) > 3 else ''}"
        if error is not None:
            failed.append(f"WhatsApp cannot be reached through {way} for {whose}: {error}")
        elif not quiet:
            print(printable(f"WhatsApp can be reached through {way} for {whose}"))
    if failed:
        raise OrchestratorError("\n".join([*failed, "nothing was changed"]), key="whatsapp_unreachable")
    if not ways and not quiet:
        print("no account gets a new proxy")
