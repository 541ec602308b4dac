"""The commands ``consumer …``: how far webhooks, bots and pulls are, whether and where they go on."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from orchestrator.cli import completion, deliveries, invocation
from orchestrator.cli.deliveries import AsJson, number, text
from orchestrator.cli.formatting import ago, ahead, examples

app = typer.Typer(
    name="consumer",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See how far webhooks, bots and pulls are, pause them, and send again what failed.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, autocompletion=completion.consumers)]


@app.command(
    "list",
    epilog=examples(
        "orchestrator consumer list",
        "orchestrator consumer list crm",
        "orchestrator consumer list --json | jq '.[] | select(.dead > 0) | .name'",
    ),
)
def list_consumers(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            show_default=False,
            help="Show how far this one is with each account.",
            autocompletion=completion.consumers,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List webhooks, bots and pulls, with what waits for them.

    WAITING are events that a consumer has not had, RETRYING those of them that failed and are tried again,
    DEAD those that failed for about three days and are kept.
    """
    client = invocation.of(context).service()
    if name is None:
        found = client.call("consumers")["consumers"]
        if as_json:
            print(json.dumps(found, indent=2))
        else:
            show(found)
        return
    result = client.call("consumers", name=name)
    if as_json:
        print(json.dumps({**result["consumers"][0], "positions": result["positions"]}, indent=2))
        return
    show(result["consumers"])
    print()
    show_positions(result["positions"])


@app.command(epilog=examples("orchestrator consumer pause echo"))
def pause(context: typer.Context, name: Name) -> None:
    """Hand nothing more to a webhook or a bot until `resume`, also after a restart.

    What comes in meanwhile waits as long as `messages.keep_at_most` says.
    """
    deliveries.steer(context, "consumer_pause", name)


@app.command(epilog=examples("orchestrator consumer resume echo"))
def resume(context: typer.Context, name: Name) -> None:
    """Go on with a webhook or a bot, and try at once what failed before.

    So this command is also for a bot whose code you have mended, after `orchestrator reload`.
    """
    deliveries.steer(context, "consumer_resume", name)


@app.command(epilog=examples("orchestrator consumer dead echo", "orchestrator consumer dead echo --json"))
def dead(context: typer.Context, name: Name, limit: deliveries.Limit = 100, as_json: AsJson = False) -> None:
    """List the dead letters of a webhook or a bot: events that failed for about three days, the oldest first.

    They are kept as long as `messages.keep` says, and their texts with them. `orchestrator consumer replay`
    hands them out again.
    """
    deliveries.show_dead(context, "consumer_dead", name, limit, as_json=as_json)


@app.command(
    epilog=examples("orchestrator consumer replay echo", "orchestrator consumer replay echo evt_support_17")
)
def replay(context: typer.Context, name: Name, event: deliveries.Event = None) -> None:
    """Hand dead letters to a webhook or a bot again, by the schedule from its beginning."""
    deliveries.send_again(context, "consumer_replay", name, event)


@app.command(
    epilog=examples(
        "orchestrator consumer reset crm --from now",
        "orchestrator consumer reset crm --from beginning",
        "orchestrator consumer reset crm --from 4711 --account support",
    )
)
def reset(
    context: typer.Context,
    name: Name,
    to: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="beginning|now|SEQ",
            show_default=False,
            help="`beginning`: all that is stored comes again. `now`: what waits is left out. A number, with"
            " --account: what comes after this number of the account's messages.",
        ),
    ],
    account: Annotated[
        str | None,
        typer.Option(
            "--account",
            metavar="NAME",
            show_default=False,
            help="Only for this account. Default: all.",
            autocompletion=completion.accounts,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a consumer go on from another place.

    What failed and waits for its next try is given up; dead letters stay.
    """
    where: str | int = to
    if to.isascii() and to.isdigit() and len(to) <= 15:
        where = int(to)
        if account is None:
            raise typer.BadParameter(
                "a number belongs to one account: name it with --account", param_hint="--from"
            )
    elif to not in ("beginning", "now"):
        raise typer.BadParameter("is `beginning`, `now` or a number", param_hint="--from")
    more: dict[str, Any] = {} if account is None else {"account": account}
    positions = (
        invocation.of(context).service().call("consumer_reset", name=name, to=where, **more)["positions"]
    )
    if as_json:
        print(json.dumps(positions, indent=2))
    else:
        show_positions(positions)


@app.command(epilog=examples("orchestrator consumer remove archive"))
def remove(
    context: typer.Context,
    name: Name,
) -> None:
    """Forget a pull, and how far it was.

    A client that asks for events under this name again begins with what comes in after that. Webhooks and
    bots are removed in the configuration.
    """
    invocation.of(context).service().call("consumer_remove", name=name)
    print(f"{name}: removed")


def show(consumers: list[dict[str, Any]]) -> None:
    """Print a table of consumers."""
    from orchestrator.cli import table

    if not consumers:
        print("there are no consumers; `webhooks:` and `bots:` in the configuration make some")
        return
    now = time.time()
    table.show_rows(
        ("NAME", "KIND", "STATE", "SINCE", "WAITING", "RETRYING", "DEAD", "NEXT", "REASON"),
        (
            (
                text(one, "name"),
                text(one, "kind"),
                text(one, "state"),
                ago(one.get("since"), now),
                number(one, "waiting"),
                number(one, "retrying"),
                number(one, "dead"),
                ahead(one.get("next_try_at"), now),
                text(one, "why"),
            )
            for one in consumers
        ),
    )


def show_positions(positions: list[dict[str, Any]]) -> None:
    """Print how far a consumer is with each account."""
    from orchestrator.cli import table

    if not positions:
        print("no account has anything for it")
        return
    table.show_rows(
        ("ACCOUNT", "STREAM", "LOOKED AT", "NEWEST", "WAITING"),
        (
            (
                text(one, "account"),
                text(one, "stream"),
                number(one, "cursor"),
                number(one, "newest"),
                number(one, "waiting"),
            )
            for one in positions
        ),
    )
