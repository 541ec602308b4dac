"""The commands ``webhook …``: whether webhooks work, and what becomes of what they could not be sent."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from orchestrator.cli import completion, deliveries, invocation
from orchestrator.cli.deliveries import AsJson, number, text
from orchestrator.cli.formatting import ago, ahead, examples, printable
from orchestrator.errors import ExitCode

app = typer.Typer(
    name="webhook",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See whether webhooks work, pause them, and send again what failed.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.webhooks)]


@app.command("list", epilog=examples("orchestrator webhook list", "orchestrator webhook list --json"))
def list_webhooks(context: typer.Context, as_json: AsJson = False) -> None:
    """List the webhooks, with what waits for them.

    A webhook is `active`, `failing` (it is tried by one event at a time), `waiting` (the receiver asked for
    time), `paused` (by an operator) or `disabled` (the receiver answered 410). DELIVERED counts since the
    gateway started.
    """
    found = invocation.of(context).service().call("consumers", kind="webhook")["consumers"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        print("there are no webhooks; `webhooks:` in the configuration has them")
        return
    _show(found)


def _show(webhooks: list[dict[str, Any]]) -> None:
    from orchestrator.cli import table

    now = time.time()
    table.show_rows(
        ("NAME", "STATE", "SINCE", "WAITING", "RETRYING", "DEAD", "DELIVERED", "NEXT", "REASON", "URL"),
        (
            (
                text(one, "name"),
                text(one, "state"),
                ago(one.get("since"), now),
                number(one, "waiting"),
                number(one, "retrying"),
                number(one, "dead"),
                number(one, "delivered"),
                ahead(one.get("next_try_at"), now),
                text(one, "why"),
                text(one, "url"),
            )
            for one in webhooks
        ),
    )


@app.command("test", epilog=examples("orchestrator webhook test crm"))
def try_out(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Send an event of the type `test`, and say what came back.

    It is sent at once, also to a webhook that is paused or disabled, and is not tried again. Exit code 1: the
    receiver did not take it.
    """
    found = invocation.of(context).service().call("webhook_test", name=name)
    why, seconds = found.get("why"), found.get("seconds")
    if as_json:
        print(json.dumps(found, indent=2))
    elif why is None:
        print(printable(f"{name}: answered {found.get('status')} in {seconds} s"))
    else:
        print(printable(f"{name}: {why} (after {seconds} s)"), file=sys.stderr)
        if found.get("advice"):
            print(printable(f"what to do: {found['advice']}"), file=sys.stderr)
    if why is not None:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog=examples("orchestrator webhook pause crm"))
def pause(context: typer.Context, name: Name) -> None:
    """Send nothing more to a webhook until `resume`, also after a restart.

    What comes in meanwhile waits as long as `messages.keep_at_most` says.
    """
    deliveries.steer(context, "webhook_pause", name)


@app.command(epilog=examples("orchestrator webhook resume crm"))
def resume(context: typer.Context, name: Name) -> None:
    """Go on with a webhook that was paused, or disabled by its receiver.

    What failed before is tried again at once.
    """
    deliveries.steer(context, "webhook_resume", name)


@app.command(epilog=examples("orchestrator webhook dead crm", "orchestrator webhook dead crm --json"))
def dead(
    context: typer.Context, name: Name, limit: deliveries.Limit = 100, as_json: deliveries.AsJson = False
) -> None:
    """List dead letters: events that failed for about three days, the oldest first.

    They are kept as long as `messages.keep` says, and their texts with them. `orchestrator webhook replay`
    sends them again.
    """
    deliveries.show_dead(context, "webhook_dead", name, limit, as_json=as_json)


@app.command(
    epilog=examples("orchestrator webhook replay crm", "orchestrator webhook replay crm evt_support_17")
)
def replay(context: typer.Context, name: Name, event: deliveries.Event = None) -> None:
    """Send dead letters again, by the schedule from its beginning."""
    deliveries.send_again(context, "webhook_replay", name, event)
