"""The table of accounts: what matters most stays readable however narrow the terminal is."""

from __future__ import annotations

import pytest
from rich.console import Console, RenderableType

from orchestrator.cli import table
from orchestrator.control.attention import NOBODY_NEEDED
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


@pytest.mark.parametrize(
    ("width", "left"),
    [
        (10, ["NAME"]),
        (20, ["NAME", "STATE"]),
        (30, ["NAME", "STATE", "NOTE"]),
        (200, ["NAME", "STATE", "NOTE"]),
    ],
)
def test_unimportant_columns_give_way(
    width: int, left: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "console", lambda **_: Console(width=width, markup=False, highlight=False))
    rows = [("support", "connected", "abcdef"), ("a", "b", "c")]
    table.show_rows(("NAME", "STATE", "NOTE"), iter(rows), unimportant=("NOTE", "STATE"))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == left
    assert shown[2].split() == [*rows[0]][: len(left)]
    assert shown[3].split() == [*rows[1]][: len(left)]


def test_nothing_is_cut_where_there_is_room() -> None:
    assert LONG in lines(table.UNBOUNDED)[2]
    assert "a-very-long-name-that-somebody-found-good" in lines(table.UNBOUNDED)[2]


@pytest.mark.parametrize("height", [2, 3, 10, 200, 201, 500])
def test_what_does_not_fit_is_counted(height: int) -> None:
    accounts = [account(f"a{number:03}", "connected", None) for number in range(198)]
    accounts += [account("last", "backoff", "no network"), account("of-all", "connected", None)]
    found = printed(table.fitting(accounts, 100, height, now=NOW), 100)
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


NEEDS = [
    account("support", "failed", LONG)._replace(kind="locked"),
    account("a-very-long-name-that-somebody-found-good", "pairing", "waiting for its code to be used"),
    account("start", "failed", LONG)._replace(kind="crash"),
    account("old", "outdated", LONG),
]


@pytest.mark.parametrize("width", [72, 80, 100, 132, table.UNBOUNDED])
def test_what_helps_is_shown_as_a_whole(width: int) -> None:
    header, *rows = printed(table.make(NEEDS, now=NOW, needs=True), width)
    assert "NEXT" not in header.split()
    begin = header.index(" DO ") + 1
    assert [row[begin:].partition("  ")[0] for row in rows] == [
        "start", "qr", "explain", "pip install --upgrade neonize",
    ]  # fmt: skip
    assert all(len(row) <= width for row in rows)


def test_a_live_table_of_nobody_says_so() -> None:
    assert printed(table.fitting([], 100, 24, needs=True), 100) == [NOBODY_NEEDED]


@pytest.mark.parametrize("height", [1, 2, 3, 4, 24])
def test_a_live_view_that_is_too_narrow_for_a_table_has_names_and_states(height: int) -> None:
    found = printed(table.fitting(ACCOUNTS, 30, height, now=NOW), 30)
    whole = ["support reconnecting", "a-very-long-name-that-somebod…", "sales connected"]
    if height >= 3:
        assert found == whole
    else:
        assert found[:-1] == whole[: height - 1]
        assert found[-1].startswith(f"… and {4 - height} more")


def test_process_ids_are_shown_where_there_is_room() -> None:
    for width in (99, 100):
        header = printed(table.fitting(ACCOUNTS, width, 24, now=NOW), width)[0]
        assert ("PID" in header) is (width == 100)


def test_no_accounts_are_a_header() -> None:
    (header,) = printed(table.fitting([], 100, 24, now=NOW), 100)
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
        stored=1204,
        refused=3,
        queued=7,
        tags=("vip", "brazil"),
    ),
    AccountView("sales", "stopped", reason="stopped by an operator"),
]
WIDE = ["NAME", "STATE", "SINCE", "TAGS", "PID", "MEMORY", "CPU", "FILES", "THREADS"]
WIDE += ["ISOLATED", "RESTARTS", "STORED", "WAITING", "OUTBOX", "PHONE", "NOTE", "NEXT", "REASON"]


def wide(width: int) -> list[str]:
    return printed(table.make_wide(PROCESSES, width, now=NOW), width)


def test_a_wide_table_says_what_processes_use() -> None:
    header, busy, idle = wide(table.UNBOUNDED)
    assert header.split() == WIDE
    cells = "connected 18m20s vip,brazil 4194303 21 MB 1h1m 31 10 partly 12 1204 - 7 +49…78 - - -"
    assert " ".join(busy.split()[1:]) == cells
    assert " ".join(idle.split()) == "sales stopped - - - - - - - - 0 - - - - - - stopped by an operator"


@pytest.mark.parametrize("width", [48, 60, 72, 80, 100, 120, 140, 160, 180, 200])
def test_a_wide_table_leaves_out_columns_that_do_not_fit(width: int) -> None:
    header, busy, idle = wide(width)
    titles = header.split()
    assert titles == [title for title in WIDE if title in titles]
    assert {"NAME", "STATE", "MEMORY", "CPU"} <= set(titles)
    assert all(len(line) <= width for line in (header, busy, idle))
    values = {"STATE": "connected", "PID": "4194303", "MEMORY": "21 MB", "CPU": "1h1m", "PHONE": "+49…78"}
    assert all(value in busy for title, value in values.items() if title in titles), "nothing is cut"
    assert "RESTARTS" in titles or width < 80
    assert titles == WIDE or width < 200
