"""The command ``history``: what happened to the accounts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.accounts import history as telling
from orchestrator.cli import completion, invocation, selecting
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.errors import NotRunning
from orchestrator.system.clock import utc

if TYPE_CHECKING:
    from orchestrator.cli.selecting import Named

app = typer.Typer(rich_markup_mode=None)

_DAY: Final = 86_400.0
_DEFAULT: Final = 100_000
"""Entries: 500 accounts that change 200 times a day. They take some 50 MB of memory."""
_MOST: Final = 500_000
_INDENT: Final = " " * 10

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Only these accounts.", autocompletion=completion.accounts),
]


@dataclass(frozen=True, slots=True)
class Gone:
    """An account of which there is a timeline, and nothing in the configuration.

    Attributes:
        name: The name.
        tags: It has none any more.
    """

    name: str
    tags: Sequence[str] = ()


@app.command(
    epilog=examples(
        "orchestrator history",
        "orchestrator history --since 12h",
        "orchestrator history --since 2026-12-24T18:00 'shop-*'",
        "orchestrator history --json | jq -r '.[] | select(.kind == \"logged_out\") | .name'",
    )
)
def history(
    context: typer.Context,
    names: Names = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            show_default="24h",
            help="From when on: 12h, 7d, a date, or a date with a time.",
        ),
    ] = None,
    tags: selecting.Tags = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", metavar="N", min=1, max=_MOST, help="Read the newest N entries."),
    ] = _DEFAULT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one array of all entries, none of them grouped.")
    ] = False,
) -> None:
    """Show what happened to the accounts, the newest last.

    Equal causes that are close in time are one line, and so is what happens to an account again and again.
    Works with and without a running service, for the service's user.
    """
    from orchestrator.cli.offline import kept
    from orchestrator.store import history as timelines

    now = time.time()
    begin = now - _DAY if since is None else past(since, now)
    where = invocation.of(context)
    record = kept.record(where)
    accounts = record.histories()
    if names or tags:
        accounts = [one.name for one in known(where, accounts, names, tags)[0]]
    if as_json:
        found = timelines.read(record, accounts, begin, limit, _as_json)
        print("[" + ",".join(f"\n  {entry}" for entry in found.entries) + ("\n]" if found.entries else "]"))
        is_all = found.is_all
    else:
        told = timelines.read(record, accounts, begin, limit, _told)
        is_all = told.is_all
        lines = [*_lines(telling.grouped(told.entries))]
        print("\n".join(lines) if lines else f"nothing has happened since {local(utc(begin))}")
    if not is_all:
        print(
            f"orchestrator: only the newest {limit} entries were read: give a larger `--limit`, or a shorter"
            " `--since`",
            file=sys.stderr,
        )


def past(since: str, now: float) -> float:
    """Return the moment that ``--since`` names, in Unix seconds.

    Raises:
        OrchestratorError: It names none.
    """
    from orchestrator.cli import durations  # which takes longer to import than all the rest

    return durations.past("--since", since, now)


def known(
    where: invocation.Places,
    with_timeline: Iterable[str],
    names: Sequence[str] | None,
    tags: Collection[str] | None,
) -> tuple[list[Named], bool]:
    """Return the accounts that a command about the past is for, and whether a service runs.

    Accounts that are gone are among them if they are named.

    Args:
        where: What the command's options say.
        with_timeline: The names of those that have a timeline.
        names: Names and patterns; none means all accounts of the configuration.
        tags: Tags that an account has to have, all of them.

    Raises:
        OrchestratorError: There is no such account, or no configuration.
        typer.BadParameter: No account has one of the tags.
    """
    there, runs = _configured(where)
    gone = {*with_timeline} - {one.name for one in there} if names else set()
    return selecting.select([*there, *map(Gone, sorted(gone))], names, tags), runs


def _configured(where: invocation.Places) -> tuple[list[Named], bool]:
    """Return the accounts of the running service, else those of the configuration; and whether one runs."""
    from orchestrator.control.view import AccountView

    try:
        return [AccountView.from_json(one) for one in where.service().call("list")["accounts"]], True
    except NotRunning:
        from orchestrator.cli.offline import view

        return [*view.read_accounts(where).values()], False


def _as_json(name: str, entry: Mapping[str, Any], _: float) -> str:
    return json.dumps(telling.for_programs(name, entry))  # a third of the memory that the entry takes


def _told(name: str, entry: Mapping[str, Any], at: float) -> telling.Happening | None:
    one = telling.happening(name, entry, at)
    return None if one.is_step else one


def _lines(groups: Iterable[telling.Group]) -> Iterator[str]:
    """Yield the lines for people, with a line for each day and each other offset from UTC."""
    day = ""
    for group in groups:
        at = datetime.fromtimestamp(group.at).astimezone()
        today = f"{at:%A} {at:%Y-%m-%d} {at.isoformat()[-6:]}"
        if today != day:
            if day:
                yield ""
            yield today
            day = today
        text = f"{at:%H:%M:%S}  {telling.who(group)}: {telling.sentence(group)}{_extent(group)}"
        yield printable(text)
        if names := telling.listed(group):
            yield printable(_INDENT + names)


def _extent(group: telling.Group) -> str:
    """Say how often it happened, and until when, or since when."""
    if group.repeats:
        return f" ({group.times} times since {_clock(group.first.at, group.at)})"
    if group.last_at - group.first.at < telling.TOGETHER_SECONDS:
        return ""
    return f" (until {_clock(group.last_at, group.at)})"


def _clock(at: float, told: float) -> str:
    """Write a time, with its day if that is another one than that of the line."""
    moment, line = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(told).astimezone()
    return f"{moment:%H:%M:%S}" if moment.date() == line.date() else f"{moment:%Y-%m-%d %H:%M:%S}"
