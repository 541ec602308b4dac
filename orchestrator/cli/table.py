"""The list of accounts for people."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, OverflowMethod
from rich.table import Table
from rich.text import Text

from orchestrator.accounts.states import State
from orchestrator.cli.formatting import ago, ahead, printable
from orchestrator.cli.terminal import judge, plain

UNBOUNDED = 4096
"""Columns for what is no terminal: a line an account, uncut, for grep and for mails."""

NARROW = 40
"""Columns below which no table fits: there is a line of name and state for each account."""

_COLOURS = {
    State.CONNECTED: "green",
    State.FAILED: "bold red",
    State.BANNED: "bold red",
    State.REPLACED: "red",
    State.OUTDATED: "red",
    State.BACKOFF: "yellow",
    State.RECONNECTING: "yellow",
    State.PAIRING: "bold cyan",
    State.CONNECTING: "cyan",
    State.STARTING: "cyan",
    State.STOPPED: "dim",
    State.DISABLED: "dim",
}


def console(piped: int | None = None) -> Console:
    """Return where to print: as wide as the terminal, or uncut where there is none; NO_COLOR is heeded.

    Args:
        piped: Columns where there is no terminal; if not given, COLUMNS or no limit.
    """
    able = judge()
    wide = None if able.is_terminal else piped or (None if os.environ.get("COLUMNS") else UNBOUNDED)
    force = able.escapes if able.is_terminal else None  # FORCE_COLOR may ask for colors in a pipe
    return Console(markup=False, emoji=False, highlight=False, width=wide, force_terminal=force)


def show(accounts: Iterable[Mapping[str, Any]]) -> None:
    """Print a table of accounts; one that is no terminal gets no blanks at the ends of lines."""
    screen = console()
    if screen.width < NARROW:
        print(*(printable(f"{one['name']} {one['state']}") for one in accounts), sep="\n")
        return
    _print(screen, make(accounts))


def show_rows(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table of texts; long ones are folded, and where there is no terminal a line has 200 columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(console(piped=200), table)


def _print(screen: Console, table: Table) -> None:
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def make(
    accounts: Iterable[Mapping[str, Any]], *, now: float | None = None, processes: bool = False
) -> Table:
    """Make a table of accounts.

    Args:
        accounts: The accounts as `status.describe` shows them.
        now: Unix time, if it is not the present.
        processes: Show their process ids, too.
    """
    at = time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    # What is cut off for want of room are reasons, and then long names: `explain` has them in full. Room is
    # taken only from columns that may wrap; that their cells are cut instead is said of each cell.
    table.add_column("NAME", min_width=8)
    for title in ("STATE", "SINCE", *(("PID",) if processes else ()), "PHONE", "NEXT"):
        table.add_column(title, no_wrap=True)
    table.add_column("REASON")
    for one in accounts:
        table.add_row(
            _cut(one["name"]),
            Text(one["state"], style=_COLOURS.get(one["state"], "")),
            ago(one["since"], at),
            *((str(one["pid"] or "-"),) if processes else ()),
            printable(one["phone"] or "-"),
            ahead(one["next_retry_at"], at),
            _cut(one["reason"] or "-"),
        )
    return table


def fitting(accounts: Sequence[Mapping[str, Any]], height: int, *, now: float | None = None) -> Group:
    """Make a table of as many accounts as fit, with a line about the others.

    Hundreds of rows take longer to make than what changes takes to come.

    Args:
        accounts: The accounts as `status.describe` shows them.
        height: Lines there are, the header's included.
        now: Unix time, if it is not the present.
    """
    if len(accounts) < height:
        return Group(make(accounts, now=now))
    shown = max(0, height - 2)
    states = Counter(one["state"] for one in accounts[shown:])
    others = ", ".join(f"{count} {state}" for state, count in states.most_common())
    more = plain(f"… and {len(accounts) - shown} more: {others}")
    return Group(make(accounts[:shown], now=now), Text(more, style="dim", no_wrap=True, overflow=_cut_off()))


def _cut(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow=_cut_off())


def _cut_off() -> OverflowMethod:
    """Return how to cut a text: where an ellipsis cannot be written it would be wider than its room."""
    return "ellipsis" if plain("…") == "…" else "crop"
