"""The command ``report``: how well the accounts worked."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.accounts import uptime
from orchestrator.accounts.durations import short
from orchestrator.cli import completion, invocation, selecting
from orchestrator.cli.formatting import examples, local, printable
from orchestrator.system.clock import iso, utc

if TYPE_CHECKING:
    from orchestrator.accounts.uptime import Uptime
    from orchestrator.cli.selecting import Named

app = typer.Typer(rich_markup_mode=None)

FIELDS: Final = (
    "name", "tags", "from", "until", "known_from", "uptime_percent", "up_s", "down_s", "off_s", "unknown_s",
    "logouts", "bans", "crashes", "restarts", "longest_outage_s", "longest_outage_at",
)  # fmt: skip
"""What programs get of each account, in this order."""
_MONTH: Final = 30 * 86_400.0
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""
_NEAR: Final = 1.0
"""Seconds: an account of which all is known but these is one of which all is known."""


@app.command(
    epilog=examples(
        "orchestrator report",
        "orchestrator report --since 7d --tag berlin",
        "orchestrator report --since 2026-11-01 --csv > november.csv",
        "orchestrator report --json | jq '.[] | select(.uptime_percent < 99) | .name'",
    )
)
def report(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these accounts.", autocompletion=completion.accounts),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            show_default="30d",
            help="From when on: 30d, a date, or a date with a time.",
        ),
    ] = None,
    tags: selecting.Tags = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Show how long each account was connected, and how often it was logged out, banned or restarted.

    What the timelines do not tell counts as not known, and not as connected. Works with and without a running
    service, for the service's user.
    """
    if as_csv and as_json:
        raise typer.BadParameter("cannot be combined with --json", param_hint="--csv")
    from orchestrator.cli import history
    from orchestrator.cli.offline import kept
    from orchestrator.store import history as timelines

    now = time.time()
    begin = now - _MONTH if since is None else history.past(since, now)
    where = invocation.of(context)
    record = kept.record(where)
    found, runs = history.known(where, record.histories(), names, tags)
    until = now if runs else record.alive()
    measured = [
        (one, uptime.measure(timelines.changes(record, one.name, begin), begin, now, until)) for one in found
    ]
    rows = [_row(one, known, begin, now) for one, known in measured]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif as_csv:
        _print_csv(rows)
    else:
        _print_table(measured, begin)


_UNIMPORTANT: Final = (
    "UNKNOWN", "OFF", "CRASHES", "RESTARTS", "CONNECTED", "LONGEST OUTAGE", "BANS", "LOG-OUTS",
)  # fmt: skip
"""Columns that a terminal may be too narrow for, the least important first."""


def _row(one: Named, known: Uptime, begin: float, end: float) -> dict[str, Any]:
    """Return what programs get of an account."""
    share, longest = _percent(known), known.longest
    values = (
        one.name, [*one.tags], utc(begin), utc(end), iso(known.since), share, round(known.up),
        round(known.down), round(known.off), round(known.unknown), known.logouts, known.bans, known.crashes,
        known.restarts, round(longest.seconds) if longest else 0, iso(longest.at) if longest else None,
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def _percent(known: Uptime) -> float | None:
    """Return the uptime in percent, rounded down: only who was always connected has 100."""
    return None if known.share is None else math.floor(known.share * 10_000) / 100


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows([cell(row[field]) for field in FIELDS] for row in rows)


def cell(value: Any) -> str:  # noqa: ANN401 - a field of any type
    """Return a value as a spreadsheet may read it: what looks like a formula is a text."""
    if value is None:
        return ""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _print_table(measured: Sequence[tuple[Named, Uptime]], begin: float) -> None:
    from orchestrator.cli import table

    if not measured:
        print(printable("there are no accounts yet; `orchestrator add NAME` adds one"))
        return
    print(f"since {local(utc(begin))}")
    columns = (
        "NAME", "UPTIME", "CONNECTED", "DOWN", "OFF", "UNKNOWN", "LOG-OUTS", "BANS", "CRASHES", "RESTARTS",
        "LONGEST OUTAGE",
    )  # fmt: skip
    rows = [_cells(one, known) for one, known in measured]
    table.show_rows(columns, rows, unimportant=_UNIMPORTANT)
    later = [
        (one.name, known.since) for one, known in measured if known.since and known.since > begin + _NEAR
    ]
    if later:
        first = min(at for _, at in later if at is not None)
        which = later[0][0] if len(later) == 1 else f"{len(later)} accounts"
        print(printable(f"the timelines of {which} begin later, the first {local(utc(first))}"))


def _cells(one: Named, known: Uptime) -> tuple[str, ...]:
    percent, longest = _percent(known), known.longest
    outage = f"{short(longest.seconds)} at {local(utc(longest.at))}" if longest else "-"
    return (
        one.name,
        "-" if percent is None else f"{percent:.2f} %",
        *(
            short(seconds) if seconds >= _NEAR else "-"
            for seconds in (known.up, known.down, known.off, known.unknown)
        ),
        *map(str, (known.logouts, known.bans, known.crashes, known.restarts)),
        outage,
    )
