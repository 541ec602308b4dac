"""The table of accounts: what matters most stays readable however narrow the terminal is."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli import table

NOW = 1_795_357_100.0
LONG = "WhatsApp banned the account for 1 h (101): it wrote to too many people"


def account(name: str, state: str, reason: str | None, retry: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "since": "2026-11-22T14:00:00Z",
        "reason": reason,
        "phone": "+49…78",
        "next_retry_at": retry,
    }


ACCOUNTS = [
    account("support", "reconnecting", "the connection was lost"),
    account("a-very-long-name-that-somebody-found-good", "banned", LONG, "2026-11-22T16:00:00Z"),
    account("sales", "connected", None),
]


def lines(width: int) -> list[str]:
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table.make(ACCOUNTS, now=NOW))
    return captured.get().splitlines()


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
