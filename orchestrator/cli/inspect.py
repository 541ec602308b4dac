"""The commands that look at accounts: ``list`` and ``explain``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from orchestrator.accounts.states import State
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import ago, ahead, examples, local, printable
from orchestrator.cli.terminal import Terminal, judge, sane
from orchestrator.control.client import Client
from orchestrator.errors import ExitCode, NotRunning

app = typer.Typer(rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_Account = dict[str, Any]
_LABEL = "  {:<10}"


@app.command(
    "list",
    epilog=examples(
        "orchestrator list",
        "orchestrator list --watch",
        "orchestrator list --json | jq -r '.[] | select(.state == \"failed\") | .name'",
        "orchestrator list --check support >/dev/null || echo 'support is down'",
    ),
)
def list_accounts(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these.", autocompletion=completion.accounts),
    ] = None,
    as_json: AsJson = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With --json: show phone numbers in full.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C; with --json, a line for every change.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 3 if an enabled account is not connected.")
    ] = False,
) -> None:
    """List the accounts with their states.

    Without a running service, this shows the configuration and what the last service left behind.
    """
    if reveal and not as_json:
        raise typer.BadParameter("phone numbers are shown in full only with --json", param_hint="--reveal")
    if watch and check:
        raise typer.BadParameter("looks once, and --watch goes on", param_hint="--check")
    where = invocation.of(context)
    if watch:
        _watch(where.service(), names or [], as_json=as_json, reveal=reveal)
        return
    try:
        result = where.service().call("list", names=names or [], reveal=reveal)
        found, strays = result["accounts"], result.get("without_account", [])
    except NotRunning:
        from orchestrator.cli.offline import view

        settings, state = where.settings(), where.state()
        found = view.describe(settings, state, names or (), reveal=reveal)
        strays = [] if names else view.strays(settings, state)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print_table(found)
        for sentence in strays:
            print(printable(sentence))
    if check and not all(one["state"] in (State.CONNECTED, State.DISABLED) for one in found):
        raise typer.Exit(ExitCode.NOT_CONNECTED)


def _print_table(found: Iterable[Mapping[str, Any]]) -> None:
    from orchestrator.cli import table

    rows = list(found)
    if rows:
        table.show(rows)
    else:
        print("there are no accounts yet; `orchestrator add NAME` adds one")


def _watch(client: Client, names: list[str], *, as_json: bool, reveal: bool) -> None:
    with client.stream("watch", names=names, reveal=reveal) as events:
        if as_json:
            for event in events:
                for account in event["accounts"]:
                    print(json.dumps(account), flush=True)
        elif _has_room(judge()):
            _watch_live(events)
        else:
            _watch_lines(events)


def _has_room(able: Terminal) -> bool:
    from orchestrator.cli import table

    return able.is_live and able.size is not None and able.size[0] >= table.NARROW


def _watch_live(events: Iterable[dict[str, Any]]) -> None:
    from rich.live import Live

    from orchestrator.cli import table

    accounts: dict[str, _Account] = {}
    screen = table.console()
    # The table is made anew every second even if nothing happens: it shows how long ago things were.
    with (
        sane(),
        Live(
            get_renderable=lambda: table.fitting(list(accounts.values()), screen.height),
            console=screen,
            refresh_per_second=1,
            vertical_overflow="crop",
        ) as live,
    ):
        for event in events:
            _take(event, accounts)
            live.refresh()


def _watch_lines(events: Iterable[dict[str, Any]]) -> None:
    accounts: dict[str, _Account] = {}
    for event in events:
        before = dict(accounts)
        _take(event, accounts)
        for name in before.keys() - accounts.keys():
            print(f"{time.strftime('%H:%M:%S')} {name} removed", flush=True)
        for name, account in accounts.items():
            last = before.get(name)
            if last is None or (last["state"], last["reason"]) != (account["state"], account["reason"]):
                reason = f": {printable(account['reason'])}" if account["reason"] else ""
                print(f"{time.strftime('%H:%M:%S')} {name} {account['state']}{reason}", flush=True)


def _take(event: Mapping[str, Any], accounts: dict[str, _Account]) -> None:
    for account in event["accounts"]:
        accounts[account["name"]] = account
    for name in event["gone"]:
        accounts.pop(name, None)


@app.command(
    epilog=examples("orchestrator explain support", "orchestrator explain support --json | jq .outlook")
)
def explain(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    as_json: AsJson = False,
    entries: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="How much of the timeline to show.")
    ] = 20,
) -> None:
    """Say why an account is in its state.

    Also what happens next and when, what you can do, and how it came to this: the end of its timeline.
    """
    where = invocation.of(context)
    try:
        found = where.service().call("explain", name=name, entries=entries)
    except NotRunning:
        found = _explain_offline(where, name, entries)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(_explained(found, time.time())))


def _explain_offline(where: invocation.Places, name: str, entries: int) -> dict[str, Any]:
    from orchestrator.cli.offline import view
    from orchestrator.control.outlook import without_service
    from orchestrator.store.timeline import Timeline

    state = where.state()
    settings = where.settings()
    (account,) = view.describe(settings, state, [name])
    start = where.start_command(settings.config_file)
    return {
        "account": account,
        "outlook": without_service(account, start).as_json(),
        "timeline": Timeline(state.timeline).tail(name, entries),
    }


def _explained(found: Mapping[str, Any], now: float) -> list[str]:
    account, ahead_of_it = found["account"], found["outlook"]
    lines = [f"{account['name']} is {account['state']}"]

    def say(label: str, text: str) -> None:
        lines.append(_LABEL.format(label) + printable(text))

    if account["since"]:
        say("since", f"{local(account['since'])} ({ago(account['since'], now)} ago)")
    if account["reason"]:
        say("because", account["reason"])
    if account["attempt"]:
        say("attempt", f"{account['attempt']} in a row")
    if account["phone"]:
        say("phone", account["phone"])
    if account["pid"]:
        memory = account["memory_bytes"]
        say("process", f"{account['pid']}" + (f", {memory / 1e6:.0f} MB of memory" if memory else ""))
    if account["last_seen_at"]:
        say("last seen", f"WhatsApp was heard of {ago(account['last_seen_at'], now)} ago")
    if account["last_exit"]:
        end = account["last_exit"]
        say("last end", f"{local(end['at'])}: {end['kind']}")
        if end.get("traceback"):  # what an older version has kept does not have it
            say("traceback", end["traceback"])
    at = f" ({ahead(ahead_of_it['at'], now)}, at {local(ahead_of_it['at'])})" if ahead_of_it["at"] else ""
    say("next", ahead_of_it["next"] + at)
    for number, advice in enumerate(ahead_of_it["advice"]):
        say("" if number else "you can", advice)
    if found["timeline"]:
        lines += ["", "timeline, in local time:"]
        lines += [_entry(entry) for entry in found["timeline"]]
    return lines


def _entry(entry: Mapping[str, Any]) -> str:
    text = f"  {local(entry['at'])}  {entry.get('from')} → {entry['to']}"
    if entry.get("reason"):
        text += f": {entry['reason']}"
    if entry.get("delay") is not None:
        text += f" (next try after {entry['delay']:.0f} s)"
    return printable(text)
