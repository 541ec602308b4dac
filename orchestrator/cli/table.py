"""The list of accounts for people."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.accounts.states import State
from orchestrator.cli.formatting import ago, ahead, clock, cpu, megabytes, printable
from orchestrator.cli.terminal import judge, plain
from orchestrator.cluster.deadlines import SILENT_SECONDS
from orchestrator.control import causes
from orchestrator.control.view import AccountView

UNBOUNDED = 4096
"""Columns without a terminal: each account has one line, uncut, for grep and for mails."""

NARROW = 40
"""Columns below which no table fits. Then each account has one line with its name and state."""

ROOMY = 100
"""Columns from which on a table has process ids without being asked for more."""

_COLOURS: dict[str, str] = {
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
    """Return where to print: as wide as the terminal. Without a terminal, lines are not cut.

    NO_COLOR and FORCE_COLOR are respected.

    Args:
        piped: Columns without a terminal; by default COLUMNS, else no limit.
    """
    able = judge()
    wide = None if able.is_terminal else piped or (None if os.environ.get("COLUMNS") else UNBOUNDED)
    force = able.escapes if able.is_terminal else None  # FORCE_COLOR may ask for colors in a pipe
    return Console(markup=False, emoji=False, highlight=False, width=wide, force_terminal=force)


def show(accounts: Sequence[AccountView], *, wide: bool = False, needs: bool = False) -> None:
    """Print a table of accounts. Without a terminal, lines do not end in blanks.

    Args:
        accounts: The accounts.
        wide: Show what their processes use, too.
        needs: Show what a person can do about each, unless the table is wide.
    """
    screen = console()
    if screen.width < NARROW:
        print(*map(_short, accounts), sep="\n")
        return
    processes = screen.width >= ROOMY
    plain_table = make(accounts, processes=processes, needs=needs)
    _print(screen, make_wide(accounts, screen.width) if wide else plain_table)


def show_rows(
    columns: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    piped: int = 200,
    unimportant: Sequence[str] = (),
) -> None:
    """Print a table of texts; long ones are folded.

    Args:
        columns: The titles.
        rows: The cells of each row.
        piped: Columns of a line where there is no terminal.
        unimportant: Titles that are left out, the first ones first, as far as a terminal is too narrow.
    """
    screen, cells = console(piped=piped), [[*row] for row in rows]
    left, boundless = [*columns], screen.options.update(max_width=UNBOUNDED)
    for title in (None, *unimportant):
        if title is not None:
            left.remove(title)
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in left:
            table.add_column(column, overflow="fold")
        shown = [columns.index(column) for column in left]
        for row in cells:
            table.add_row(*(row[number] for number in shown))
        if screen.measure(table, options=boundless).maximum <= screen.width:
            break
    _print(screen, table)


def _print(screen: Console, table: Table) -> None:
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def make(
    accounts: Iterable[AccountView],
    *,
    now: float | None = None,
    processes: bool = False,
    needs: bool = False,
) -> Table:
    """Make a table of accounts.

    Args:
        accounts: The accounts.
        now: Unix time, if it is not the present.
        processes: Show process ids, too.
        needs: Show what a person can do about each account, instead of what comes next by itself.
    """
    accounts = [*accounts]
    shard = ("SHARD",) if _in_cluster(accounts) else ()
    titles = ("STATE", *shard, "SINCE", *(("PID",) if processes else ()), "PHONE", "DO" if needs else "NEXT")
    return _make(accounts, titles, time.time() if now is None else now)


def make_wide(accounts: Sequence[AccountView], width: int, *, now: float | None = None) -> Table:
    """Make a table of accounts with what their processes use.

    Args:
        accounts: The accounts.
        width: Columns of the screen. If there are too few, the least important columns are left out.
        now: Unix time, if it is not the present.
    """
    at = time.time() if now is None else now
    titles = [title for title in _WIDE if title != "SHARD" or _in_cluster(accounts)]
    for title in _LEAST_IMPORTANT:
        if _width(accounts, titles, at) <= width:
            break
        titles.remove(title)
    return _make(accounts, titles, at)


_WIDE = ("STATE", "SHARD", "SINCE", "TAGS", "PID", "MEMORY", "CPU", "FILES", "THREADS", "ISOLATED",
         "RESTARTS", "STORED", "WAITING", "OUTBOX", "PHONE", "NOTE", "NEXT")  # fmt: skip
_LEAST_IMPORTANT = (
    "NOTE",
    "OUTBOX",
    "WAITING",
    "TAGS",
    "PHONE",
    "THREADS",
    "FILES",
    "ISOLATED",
    "STORED",
    "NEXT",
    "SINCE",
    "PID",
    "RESTARTS",
)
"""The columns that may be left out, the least important first."""
_ISOLATED = {"full": "yes", "without": "partly", "off": "no"}
_NUMBERS = frozenset(("PID", "MEMORY", "CPU", "FILES", "THREADS", "RESTARTS", "STORED", "WAITING", "OUTBOX"))
_NAME_WIDTH = 8
_BESIDE = _NAME_WIDTH + 2 + len("REASON")
"""Characters that name and reason need at least, with the gap between them."""


def _make(accounts: Iterable[AccountView], titles: Sequence[str], at: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    # In a narrow terminal, reasons are cut first, then long names: `explain` has both in full. rich takes
    # room only from columns that may wrap; each cell says that it is to be cut instead.
    table.add_column("NAME", min_width=_NAME_WIDTH)
    for title in titles:
        table.add_column(title, no_wrap=True, justify="right" if title in _NUMBERS else "left")
    table.add_column("REASON")
    for one in accounts:
        cells = (_cell(one, title, at) for title in titles)
        why = causes.reason(one, lambda moment: clock(moment, at))
        table.add_row(_line(one.name), *cells, _line(why or "-"))
    return table


def _cell(one: AccountView, title: str, at: float) -> str | Text:
    match title:
        case "STATE":
            return Text(printable(one.state), style=_COLOURS.get(one.state, ""))
        case "SHARD":
            return printable(_shard(one))
        case "SINCE":
            return ago(one.since, at)
        case "TAGS":
            return printable(",".join(one.tags) or "-")
        case "NOTE":
            return printable(one.note or "-")
        case "PID":
            return _number(one.pid)
        case "MEMORY":
            return "-" if one.memory_bytes is None else megabytes(one.memory_bytes)
        case "CPU":
            return "-" if one.cpu_s is None else cpu(one.cpu_s)
        case "FILES":
            return _number(one.open_files)
        case "THREADS":
            return _number(one.threads)
        case "ISOLATED":
            return _ISOLATED.get((one.isolation or "-").partition(" ")[0], "-")
        case "RESTARTS":
            return str(one.restarts)
        case "STORED":
            return _number(one.stored)
        case "WAITING":
            return _number(one.waiting)
        case "OUTBOX":
            return _number(one.queued)
        case "PHONE":
            return printable(one.phone or "-")
        case "NEXT":
            return ahead(one.next_retry_at, at)
        case "DO":
            from orchestrator.control.attention import need  # few tables have this column

            found = need(one)
            # The name is in the row already, and a long one would leave no room for anything else.
            words = "-" if found is None else found.command
            return printable(words.removeprefix("orchestrator ").removesuffix(f" {one.name}"))
    raise AssertionError(title)


def _in_cluster(accounts: Iterable[AccountView]) -> bool:
    return any(one.shard is not None for one in accounts)


def _shard(one: AccountView) -> str:
    """Return the machine that runs an account, and how long it has been silent if it has."""
    if one.shard is None:
        return "-"
    age = one.lease_age_s or 0.0
    return one.shard if age <= SILENT_SECONDS else f"{one.shard} (silent {age:.0f}s)"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _width(accounts: Sequence[AccountView], titles: Sequence[str], at: float) -> int:
    """Return the least columns that a table needs so that no cell but names and reasons is cut."""
    return _BESIDE + sum(
        2 + max(map(cell_len, (title, *(str(_cell(one, title, at)) for one in accounts)))) for title in titles
    )


def fitting(
    accounts: Sequence[AccountView],
    width: int,
    height: int,
    *,
    now: float | None = None,
    needs: bool = False,
) -> Group:
    """Make a table of as many accounts as fit, with a line about the others.

    To make hundreds of rows would take longer than the time between two changes.

    Args:
        accounts: The accounts.
        width: Columns of the screen.
        height: Lines of the screen, with the header's.
        now: Unix time, if it is not the present.
        needs: Show what a person can do about each account; all of them need one.
    """
    if needs and not accounts:
        from orchestrator.control.attention import NOBODY_NEEDED  # few tables need it

        return Group(_line(NOBODY_NEEDED))
    if width < NARROW:
        shown = min(len(accounts), height if len(accounts) <= height else height - 1)
        rows: list[RenderableType] = [_line(_short(one)) for one in accounts[:shown]]
    else:
        shown = len(accounts) if len(accounts) < height else max(0, height - 2)
        rows = [make(accounts[:shown], now=now, processes=width >= ROOMY, needs=needs)]
    if shown < len(accounts):
        states = Counter(one.state for one in accounts[shown:])
        others = ", ".join(f"{count} {state}" for state, count in states.most_common())
        rows.append(_line(f"… and {len(accounts) - shown} more: {others}", "dim"))
    return Group(*rows)


def _short(one: AccountView) -> str:
    return printable(f"{one.name} {one.state}")


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow=_cut_off())


def _cut_off() -> OverflowMethod:
    """Return how to cut a text: with an ellipsis, unless standard output cannot write one."""
    return "ellipsis" if plain("…") == "…" else "crop"
