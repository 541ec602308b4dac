"""The commands that show accounts: ``list`` and ``explain``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from orchestrator.accounts.states import State
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import (
    ago,
    ahead,
    cpu,
    examples,
    local,
    megabytes,
    printable,
    warn_of_sandbox,
)
from orchestrator.cli.terminal import Terminal, judge, sane
from orchestrator.control.client import Client
from orchestrator.control.view import AccountView
from orchestrator.errors import ExitCode, NotRunning

app = typer.Typer(rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
_LABEL = "  {:<10}"


@app.command(
    "list",
    epilog=examples(
        "orchestrator list",
        "orchestrator list --watch",
        "orchestrator list --wide",
        "orchestrator list --json | jq -r '.[] | select(.state == \"failed\") | .name'",
        "orchestrator list --check support >/dev/null || echo 'support is down'",
    ),
)
def list_accounts(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Show only these accounts.", autocompletion=completion.accounts
        ),
    ] = None,
    as_json: AsJson = False,
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="Show what each account's process uses, too: memory, CPU time, open files, threads.",
        ),
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="With --json: show complete phone numbers.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", "-w", help="Show changes until Ctrl-C. With --json: print a line for every change."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 3 if an enabled account is not connected.")
    ] = False,
) -> None:
    """List the accounts with their states.

    Without a running service, the list comes from the configuration and the last known states.
    """
    if reveal and not as_json:
        raise typer.BadParameter("needs --json: a table has masked numbers only", param_hint="--reveal")
    if wide and as_json:
        raise typer.BadParameter("cannot be combined with --json, which has all fields", param_hint="--wide")
    if wide and watch:
        # An account is sent when its state changes: the numbers between two changes would be old.
        raise typer.BadParameter("cannot be combined with --watch", param_hint="--wide")
    if watch and check:
        raise typer.BadParameter("cannot be combined with --watch", param_hint="--check")
    warn_of_sandbox()
    where = invocation.of(context)
    if watch:
        _watch(where.service(), names or [], as_json=as_json, reveal=reveal)
        return
    try:
        result = where.service().call("list", names=names or [], reveal=reveal)
        found = [AccountView.from_json(one) for one in result["accounts"]]
        strays = result.get("without_account", [])
    except NotRunning:
        from orchestrator.cli.offline import view

        accounts, state = view.read_accounts(where, reveal=reveal), where.state()
        found = view.describe(accounts, where.config_file(), state, names or ())
        strays = [] if names else view.strays(accounts, state)
    if as_json:
        print(json.dumps([one.as_json() for one in found], indent=2))
    else:
        _print_table(found, wide=wide)
        for sentence in strays:
            print(printable(sentence))
    if check and not all(one.state in (State.CONNECTED, State.DISABLED) for one in found):
        raise typer.Exit(ExitCode.NOT_CONNECTED)


def _print_table(found: Sequence[AccountView], *, wide: bool) -> None:
    from orchestrator.cli import table

    if found:
        table.show(found, wide=wide)
    else:
        print("there are no accounts yet; `orchestrator add NAME` adds one")


def _watch(client: Client, names: list[str], *, as_json: bool, reveal: bool) -> None:
    with client.stream("watch", names=names, reveal=reveal) as events:
        if as_json:
            for event in events:
                for account in _accounts(event):
                    print(json.dumps(account.as_json()), flush=True)
        elif _has_room(judge()):
            _watch_live(events)
        else:
            _watch_lines(events)


def _has_room(able: Terminal) -> bool:
    from orchestrator.cli import table

    return able.is_live and able.size is not None and able.size[0] >= table.NARROW


def _accounts(event: Mapping[str, Any]) -> Iterable[AccountView]:
    return map(AccountView.from_json, event["accounts"])


def _watch_live(events: Iterable[dict[str, Any]]) -> None:
    from rich.live import Live

    from orchestrator.cli import table

    accounts: dict[str, AccountView] = {}
    screen = table.console()
    # The table shows how long ago things happened, so it is made again every second.
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
    accounts: dict[str, AccountView] = {}
    for event in events:
        before = dict(accounts)
        _take(event, accounts)
        for name in before.keys() - accounts.keys():
            print(printable(f"{time.strftime('%H:%M:%S')} {name} removed"), flush=True)
        for name, account in accounts.items():
            last = before.get(name)
            if last is None or (last.state, last.reason) != (account.state, account.reason):
                reason = f": {account.reason}" if account.reason else ""
                print(printable(f"{time.strftime('%H:%M:%S')} {name} {account.state}{reason}"), flush=True)


def _take(event: Mapping[str, Any], accounts: dict[str, AccountView]) -> None:
    for account in _accounts(event):
        accounts[account.name] = account
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
        int, typer.Option(metavar="N", min=0, max=1000, help="How many entries of the timeline to show.")
    ] = 20,
) -> None:
    """Say why an account is in its state, and what happens next.

    Shows since when and why, what happens next and when, what you can do, and the end of the timeline.
    """
    where = invocation.of(context)
    try:
        found = where.service().call("explain", name=name, entries=entries)
        found["account"] = AccountView.from_json(found["account"]).as_json()
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

    state, file = where.state(), where.config_file()
    (account,) = view.describe(view.read_accounts(where), file, state, [name])
    start = where.start_command(file)
    return {
        "account": account.as_json(),
        "outlook": without_service(account, start).as_json(),
        "timeline": Timeline(state.timeline).tail(name, entries),
    }


def _explained(found: Mapping[str, Any], now: float) -> list[str]:
    account, outlook = AccountView.from_json(found["account"]), found["outlook"]
    lines = [printable(f"{account.name} is {account.state}")]

    def say(label: str, text: str) -> None:
        lines.append(_LABEL.format(label) + printable(text))

    if account.since:
        say("since", f"{local(account.since)} ({ago(account.since, now)} ago)")
    if account.reason:
        say("because", account.reason)
    if account.attempt:
        say("attempt", f"{account.attempt} in a row")
    if account.phone:
        say("phone", account.phone)
    if account.pid:
        say("process", ", ".join([str(account.pid), *_usage(account)]))
    if account.isolation:
        say("isolation", account.isolation)
    if account.last_seen_at:
        say("last seen", f"WhatsApp last sent something {ago(account.last_seen_at, now)} ago")
    if end := account.last_exit:
        say("last end", f"{local(end.at)}: {end.kind}" if end.at else f"{end.kind}")
        if end.traceback:
            say("traceback", end.traceback)
    at = f" ({ahead(outlook['at'], now)}, at {local(outlook['at'])})" if outlook["at"] else ""
    say("next", outlook["next"] + at)
    for number, advice in enumerate(outlook["advice"]):
        say("" if number else "you can", advice)
    if found["timeline"]:
        lines += ["", "timeline, in local time:"]
        lines += [_entry(entry) for entry in found["timeline"]]
    return lines


def _usage(account: AccountView) -> Iterable[str]:
    """Say what an account's process uses, as far as that is known."""
    if account.memory_bytes is not None:
        yield f"{megabytes(account.memory_bytes)} of memory"
    if account.cpu_s is not None:
        yield f"{cpu(account.cpu_s)} of CPU time"
    if account.open_files is not None:
        yield f"{account.open_files} open files"
    if account.threads is not None:
        yield f"{account.threads} threads"


def _entry(entry: Mapping[str, Any]) -> str:
    text = f"  {local(entry['at'])}  {entry.get('from')} → {entry['to']}"
    if entry.get("reason"):
        text += f": {entry['reason']}"
    if entry.get("delay") is not None:
        text += f" (next try after {entry['delay']:.0f} s)"
    if entry.get("others"):
        text += f", with {entry['others']} other{'s' if entry['others'] > 1 else ''}"
    return printable(text)
