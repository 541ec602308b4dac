"""The commands that show messages: ``messages`` and ``trace``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.accounts import names
from orchestrator.cli import completion, invocation
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cli.inbox.reading import Events
    from orchestrator.messages.rendering import Event

app = typer.Typer(rich_markup_mode=None)

FOLLOWED = 10
"""How many events `--follow` shows first, as `tail -f` and `journalctl -f` do."""
_MOST = 10**18
"""More than an inbox ever counts."""


@app.command(
    epilog=examples(
        "orchestrator messages support --limit 20",
        "orchestrator messages support --follow",
        "orchestrator messages support --json --after 17",
        "orchestrator messages support --json | jq -r 'select(.type == \"message.received\") | .data.text'",
    )
)
def messages(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.accounts)
    ],
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Also show what comes in from now on, until Ctrl-C. Begins with the last 10.",
        ),
    ] = False,
    after: Annotated[
        int | None,
        typer.Option(
            "--after", metavar="SEQ", min=0, max=_MOST, help="Show only events with a higher number."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            min=0,
            max=_MOST,
            help="Show the last N events; with --after, the first N of them. Default: all.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line and event, in ASCII.")
    ] = False,
) -> None:
    """Show the messages that an account has kept, and what else happened to messages.

    Works with and without a running service, for the service's user. Nothing is marked as read or taken from
    anybody. A terminal cuts long texts. `--json` has everything.
    """
    if follow and after is not None and limit is not None:
        raise typer.BadParameter("cannot be combined with --follow and --after", param_hint="--limit")
    invocation.keep_out_of_cores()
    from orchestrator.cli.inbox import reading
    from orchestrator.cli.inbox.kept import kept

    where = invocation.of(context)
    state = kept(where)
    if not names.is_name(name):
        _about_nothing(where, name)
    with reading.Events(state, name, _tell) as events:
        if not events.open():
            _about_nothing(where, name)
            if not follow:
                return
        shown = False
        try:
            for event in _wanted(events, follow=follow, after=after, limit=limit):
                _show(event, as_json=as_json, flush=follow)
                shown = True
        except BrokenPipeError:
            return  # a reader like head has seen enough
        if not shown and after is None and limit != 0:
            _tell(
                f"{name} has no messages now: nobody who is allowed has written, or `messages.keep` in the"
                " configuration is over"
            )


def _wanted(events: Events, *, follow: bool, after: int | None, limit: int | None) -> Iterator[Event]:
    at = after or 0
    if after is not None:
        found = events.after(after, limit)
    elif limit is not None or follow:
        found = iter(events.last(FOLLOWED if limit is None else limit))
        at = events.newest()
    else:
        found = events.after(0)
    for event in found:
        at = max(at, event["seq"])
        yield event
    if follow:
        sys.stdout.flush()
        yield from events.follow(at)


def _show(event: Event, *, as_json: bool, flush: bool) -> None:
    if as_json:
        print(json.dumps(event), flush=flush)
        return
    from orchestrator.cli.inbox import lines
    from orchestrator.cli.terminal import judge

    size = judge().size
    print(lines.line(event, size and size[0]), flush=flush)


def _tell(sentence: str) -> None:
    print(f"orchestrator: {printable(sentence)}", file=sys.stderr, flush=True)


def _about_nothing(where: invocation.Places, name: str) -> None:
    """Say why an account has no messages, if there is such an account.

    Raises:
        NoSuchAccount: There is none.
    """
    from orchestrator.cli.offline import view

    view.describe(where, view.read_accounts(where), [name])
    _tell(f"{name} has kept no messages; `messages.allow` in the configuration says whose messages are kept")


@app.command(
    epilog=examples(
        "orchestrator trace 3EB0A1B2C3D4E5F60718",
        "orchestrator trace evt_support_17",
        "orchestrator trace 3EB0A1B2C3D4E5F60718 support --json",
    )
)
def trace(
    context: typer.Context,
    message: Annotated[
        str,
        typer.Argument(
            metavar="MESSAGE-ID",
            show_default=False,
            help="WhatsApp's id of a message, or the id of an event.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            show_default=False,
            help="The account. Default: all accounts.",
            autocompletion=completion.accounts,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Say what became of a message: stored, edited, revoked or lost; sent, delivered or read.

    Of a message that an account sends, that is each step of its row in the outbox, and each receipt.

    If the service runs, each event has what became of it at webhooks, bots and pulls.

    The output has no text, name or number, so that it can be passed on.
    """
    invocation.keep_out_of_cores()
    from orchestrator.cli.inbox import tracing
    from orchestrator.cli.inbox.kept import kept

    where = invocation.of(context)
    state = kept(where)
    if name is not None and not state.exists(name):
        _about_nothing(where, name)
    found = tracing.trace(state, message, name, _tell)
    if not found:
        raise OrchestratorError(tracing.unknown(name), key="message_unknown")
    try:
        client = where.service()
        found = tracing.with_consumers(
            found, lambda events: client.call("consumer_trace", events=events)["events"]
        )
    except OrchestratorError as error:
        if error.key not in ("not_running", "unknown_command", "gateway_off"):
            _tell(f"what webhooks, bots and pulls have had is not known: {error}")
    if as_json:
        print(json.dumps([one.as_json() for one in found], indent=2))
    else:
        print("\n".join(printable(line) for one in found for line in one.lines()))
