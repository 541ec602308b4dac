"""The command ``outbox``: shows what an account is to send and what became of it, and takes messages back."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer

from orchestrator.accounts import names
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples

app = typer.Typer(rich_markup_mode=None)

SHOWN: Final = 1000
"""How many messages are shown if nobody says how many."""
_MOST: Final = 10**18
"""More than an outbox ever counts."""


@app.command(
    epilog=examples(
        "orchestrator outbox support",
        "orchestrator outbox support --all --limit 20",
        "orchestrator outbox support --row 12",
        "orchestrator outbox support --take-back 12",
        "orchestrator outbox support --json | jq -r 'select(.state == \"unknown\") | .row'",
    )
)
def outbox(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Also show the messages that are over, not only those that wait.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            min=1,
            max=_MOST,
            help=f"Show the last N messages. Default: {SHOWN}.",
            show_default=False,
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            "--row",
            metavar="ROW",
            min=1,
            max=_MOST,
            help="Show all that is known of one message, with its text.",
            show_default=False,
        ),
    ] = None,
    take_back: Annotated[
        int | None,
        typer.Option(
            "--take-back",
            metavar="ROW",
            min=1,
            max=_MOST,
            help="Take a message back that waits: it is not sent then.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line and message, in ASCII.")
    ] = False,
) -> None:
    """Show what an account is to send, and what became of it.

    Works with and without a running service, for the service's user; only `--take-back` needs the service.
    Texts are deleted some time after the message is over (`messages.keep` in the configuration), and the rows
    a few days after that.
    """
    invocation.keep_out_of_cores()
    where = invocation.of(context)
    if take_back is not None:
        taken = where.service().call("take_back", name=name, row=take_back)["row"]
        print(json.dumps(taken) if as_json else f"{name}: row {take_back} is taken back")
        return
    if not names.is_name(name):
        _check(where, name)
    from orchestrator.cli.inbox import rows
    from orchestrator.cli.inbox.kept import kept
    from orchestrator.sending.row import WAITING, State

    at = kept(where)
    if row is not None:
        rows.show_one(at, name, row, as_json=as_json)
        return
    states = frozenset(State) if every else WAITING
    found, count = rows.rows(at, name, states, limit or SHOWN)
    if not found:
        _check(where, name)
    if as_json:
        for one in found:
            print(json.dumps(one.as_json()))
    elif found:
        rows.show(found)
        if limit is None and count > len(found):
            print(f"there are {count - len(found)} more; --limit {count} shows them")
    else:
        print(f"{name}: nothing waits to be sent" + ("" if every else "; --all also shows what is over"))


def _check(where: invocation.Places, name: str) -> None:
    """See that there is such an account.

    Raises:
        NoSuchAccount: There is none.
    """
    from orchestrator.cli.offline import view

    view.describe(where, view.read_accounts(where), [name])
