"""The table of accounts: what matters most stays readable however narrow the terminal is."""

from __future__ import annotations

import pytest
from rich.console import Console, RenderableType

from orchestrator.cli import table
from orchestrator.control.view import AccountView

NOW = 1_795_357_100.0
LONG = "WhatsApp banned the account for 1 h (101): the account wrote to too many people"


def account(name: str, state: str, reason: str | None, retry: str | None = None) -> AccountView:
    since = "2026-11-22T14:00:00Z"
    return AccountView(name, state, since=since, reason=reason, phone="+49…78", next_retry_at=retry)


ACCOUNTS = [
    account("support", "reconnecting", "the connection was lost"),
    account("a-very-long-name-that-somebody-found-good", "banned", LONG, "2026-11-22T16:00:00Z"),
    account("sales", "connected", None),
]


def printed(what: RenderableType, width: int) -> list[str]:
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get().splitlines()


def lines(width: int) -> list[str]:
    return printed(table.make(ACCOUNTS, now=NOW), width)


@pytest.mark.parametrize("width", [60, 80, 100, 132, table.UNBOUNDED])
def test_names_and_reasons_give_way_to_states(width: int) -> None:
    found = lines(width)
    assert len(found) == 1 + len(ACCOUNTS), "a line an account"
    assert all(title in found[0] for title in ("NAME", "STATE", "SINCE", "PHONE", "NEXT"))
    assert [line.split()[1] for line in found[1:]] == ["reconnecting", "banned", "connected"]
    assert all("+49…78" in line for line in found[1:])
    assert found[1].startswith("support ")
    assert all(len(line) <= width for line in found)


def test_nothing_is_cut_where_there_is_room() -> None:
    assert LONG in lines(table.UNBOUNDED)[2]
    assert "a-very-long-name-that-somebody-found-good" in lines(table.UNBOUNDED)[2]


@pytest.mark.parametrize("height", [2, 3, 10, 200, 201, 500])
def test_what_does_not_fit_is_counted(height: int) -> None:
    accounts = [account(f"a{number:03}", "connected", None) for number in range(198)]
    accounts += [account("last", "backoff", "no network"), account("of-all", "connected", None)]
    found = printed(table.fitting(accounts, height, now=NOW), 100)
    assert len(found) == min(height, 201)
    assert found[0].startswith("NAME ")
    shown = [line.split()[0] for line in found[1:]]
    if height >= 201:
        assert shown == [one.name for one in accounts]
    else:
        assert shown[:-1] == [one.name for one in accounts[: height - 2]]
        more = 200 - (height - 2)
        said, _, others = found[-1].strip().partition(": ")
        assert said == f"… and {more} more"
        assert set(others.split(", ")) == {f"{more - 1} connected", "1 backoff"}


def test_no_accounts_are_a_header() -> None:
    (header,) = printed(table.fitting([], 24, now=NOW), 100)
    assert header.startswith("NAME ")


PROCESSES = [
    AccountView(
        "a-very-long-name-that-somebody-found-good",
        "connected",
        since="2026-11-22T14:00:00Z",
        phone="+49…78",
        pid=4_194_303,
        restarts=12,
        memory_bytes=21_400_000,
        cpu_s=3700.4,
        open_files=31,
        isolation="without file isolation (Landlock)",
        threads=10,
    ),
    AccountView("sales", "stopped", reason="stopped by an operator"),
]
WIDE = ["NAME", "STATE", "SINCE", "PID", "MEMORY", "CPU", "FILES", "THREADS"]
WIDE += ["ISOLATED", "RESTARTS", "PHONE", "NEXT", "REASON"]


def wide(width: int) -> list[str]:
    return printed(table.make_wide(PROCESSES, width, now=NOW), width)


def test_a_wide_table_says_what_processes_use() -> None:
    header, busy, idle = wide(table.UNBOUNDED)
    assert header.split() == WIDE
    assert " ".join(busy.split()[1:]) == "connected 18m20s 4194303 21 MB 1h1m 31 10 partly 12 +49…78 - -"
    assert " ".join(idle.split()) == "sales stopped - - - - - - - 0 - - stopped by an operator"


@pytest.mark.parametrize("width", [48, 60, 72, 80, 100, 120, 140, 160])
def test_a_wide_table_leaves_out_columns_that_do_not_fit(width: int) -> None:
    header, busy, idle = wide(width)
    titles = header.split()
    assert titles == [title for title in WIDE if title in titles]
    assert {"NAME", "STATE", "MEMORY", "CPU"} <= set(titles)
    assert all(len(line) <= width for line in (header, busy, idle))
    values = {"STATE": "connected", "PID": "4194303", "MEMORY": "21 MB", "CPU": "1h1m", "PHONE": "+49…78"}
    assert all(value in busy for title, value in values.items() if title in titles), "nothing is cut"
    assert "RESTARTS" in titles or width < 80
    assert titles == WIDE or width < 160
