"""The command ``wait``, for scripts that go on when accounts are connected."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from orchestrator.accounts.states import State
from orchestrator.cli import invocation, selecting
from orchestrator.cli.accounts import Names
from orchestrator.cli.formatting import examples, printable
from orchestrator.control.client import Client
from orchestrator.control.view import AccountView
from orchestrator.control.waiting import counts, is_hopeless, missing
from orchestrator.errors import ExitCode, NoSuchAccount

app = typer.Typer(rich_markup_mode=None)

_LONGEST = 30 * 86_400.0
"""The longest time, in seconds, that may be waited."""


@app.command(
    epilog=examples(
        "orchestrator wait support",
        "orchestrator restart support && orchestrator wait support --for 2m",
        "orchestrator wait --all --for 5m || echo 'somebody has to look'",
        "orchestrator wait 'shop-1*' --for 5m",
        "orchestrator wait --tag berlin --for 5m",
        "orchestrator wait support --state stopped",
    )
)
def wait(
    context: typer.Context,
    names: Names = None,
    tags: selecting.Tags = None,
    everyone: Annotated[bool, typer.Option("--all", help="All enabled accounts.")] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="Wait no longer than this, such as 5m. Default: no limit."
        ),
    ] = None,
    state: Annotated[
        State, typer.Option("--state", help="Wait for this state.", show_default=True)
    ] = State.CONNECTED,
) -> None:
    """Wait until accounts are connected.

    The exit code is 0 when all are, and 3 when the time is over: a line then says how each account is that
    is not connected. If an account cannot get there without an operator, such as a failed or disabled one,
    the command ends at once with 1 and says why.

    `--all`, patterns and tags leave out accounts that an operator disabled or stopped.
    """
    if everyone == bool(names or tags):
        raise typer.BadParameter("name the accounts, or give --tag or --all", param_hint="NAME...")
    deadline = None
    if limit is not None:
        from orchestrator.cli import durations

        deadline = time.monotonic() + durations.seconds("--for", limit, 0.0, _LONGEST)
    client = invocation.of(context).service()
    wanted = [] if everyone else _choose(client, names or [], tags or [], state)
    left, code = _wait(client, wanted, state, deadline, everyone=everyone)
    for account in left:
        print(f"orchestrator: {printable(missing(account, state))}", file=sys.stderr)
    raise typer.Exit(code)


def _choose(client: Client, names: list[str], tags: list[str], wanted: State) -> list[str]:
    """Return the names of the accounts to wait for, each once.

    Like `--all`, a pattern or a tag is about the accounts that run; an account that was named counts.

    Raises:
        NoSuchAccount: There is no account of a name, or none that fits a pattern.
        typer.BadParameter: No account has the tags.
        OrchestratorError: All accounts that were chosen are disabled or stopped.
    """
    if not tags and not any(map(selecting.is_pattern, names)):
        return list(dict.fromkeys(names))
    accounts = map(AccountView.from_json, client.call("list")["accounts"])
    found = selecting.select(accounts, names, tags)
    if wanted == State.DISABLED:
        return [one.name for one in found]
    if wanted != State.STOPPED:
        found = selecting.without_stopped(found, names, "wait for")
    return selecting.without_disabled(found, names, "wait for")


def _wait(
    client: Client, names: list[str], wanted: State, deadline: float | None, *, everyone: bool
) -> tuple[list[AccountView], ExitCode]:
    """Return the accounts that are not as wanted, and the exit code."""
    accounts: dict[str, AccountView] = {}
    with client.stream("watch", names=names) as events:
        stream = iter(events)
        while True:
            if accounts and not events.is_ready(_left(deadline)):
                return _not_there(accounts, wanted), ExitCode.NOT_CONNECTED
            event = next(stream)
            for one in map(AccountView.from_json, event["accounts"]):
                accounts[one.name] = one
            for name in event["gone"]:
                accounts.pop(name, None)
                if name in names:
                    raise NoSuchAccount(f"{name} was removed while this command waited")
            if everyone:
                accounts = {name: one for name, one in accounts.items() if counts(one, wanted)}
            left = _not_there(accounts, wanted)
            if not left:
                return [], ExitCode.DONE
            if hopeless := [one for one in left if is_hopeless(one, wanted)]:
                return hopeless, ExitCode.FAILED


def _not_there(accounts: dict[str, AccountView], wanted: State) -> list[AccountView]:
    return [one for one in accounts.values() if one.state != wanted]


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
