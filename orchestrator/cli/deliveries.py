"""What the commands ``webhook …`` and ``consumer …`` have in common."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.accounts.words import counted
from orchestrator.cli import invocation
from orchestrator.cli.formatting import local, printable
from orchestrator.control.client import Client
from orchestrator.control.consumers import MOST_DEAD

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Show at most this many.")]
Event = Annotated[
    str | None,
    typer.Argument(metavar="[EVENT]", show_default=False, help="The id of one dead letter. Default: all."),
]


def steer(context: typer.Context, command: str, name: str) -> None:
    """Pause a consumer or have it go on, and say what waits for it.

    Args:
        context: The command line.
        command: What the service is asked.
        name: The consumer.
    """
    for one in invocation.of(context).service().call(command, name=name)["consumers"]:
        waiting = one.get("waiting")
        more = f", {counted(waiting, 'event waits', 'events wait')}" if isinstance(waiting, int) else ""
        print(f"{text(one, 'name')}: {text(one, 'state')}{more}")


def show_dead(context: typer.Context, command: str, name: str, limit: int, *, as_json: bool) -> None:
    """Print dead letters.

    Args:
        context: The command line.
        command: What the service is asked.
        name: The consumer whose dead letters they are.
        limit: How many at most.
        as_json: Whether for programs.
    """
    found = _dead(invocation.of(context).service(), command, name, limit + 1)
    if as_json:
        print(json.dumps(found[:limit], indent=2))
        return
    if not found:
        print(printable(f"{name} has no dead letters"))
        return
    from orchestrator.cli import table

    table.show_rows(
        ("EVENT", "TYPE", "ACCOUNT", "STORED", "DIED", "TRIES", "REASON"),
        (
            (
                text(one, "event"),
                text(one, "type"),
                text(one, "account"),
                local(text(one, "at")),
                local(text(one, "died_at")),
                number(one, "tries"),
                "is being sent again" if one.get("replaying") else text(one, "why"),
            )
            for one in found[:limit]
        ),
    )
    if len(found) > limit:
        print(f"there are more; --limit {10 * limit} shows more of them")


def _dead(client: Client, command: str, name: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        after = found[-1]["number"] if found else 0
        most = min(MOST_DEAD, limit - len(found))
        page = client.call(command, name=name, limit=most, after=after)["dead"]
        if not page:
            break
        found += page
    return found


def send_again(context: typer.Context, command: str, name: str, event: str | None) -> None:
    """Have dead letters sent again, and say how many.

    Args:
        context: The command line.
        command: What the service is asked.
        name: The consumer.
        event: The id of one of them, None for all.
    """
    more: dict[str, Any] = {} if event is None else {"event": event}
    count = invocation.of(context).service().call(command, name=name, **more)["replayed"]
    if count:
        said = f"{counted(count, 'dead letter')} will be sent again"
    elif event is None:
        said = "there are no dead letters to send again"
    else:
        said = "the dead letter is being sent again already"
    print(printable(f"{name}: {said}"))


def text(one: dict[str, Any], key: str) -> str:
    """Return a text of the service's answer, ``-`` if there is none."""
    found = one.get(key)
    return "-" if found is None else printable(str(found))


def number(one: dict[str, Any], key: str) -> str:
    """Return a number of the service's answer, ``-`` if there is none."""
    found = one.get(key)
    return str(found) if isinstance(found, int) else "-"
