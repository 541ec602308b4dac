"""Words that follow numbers."""

from __future__ import annotations

from orchestrator.accounts.words import counted


def test_one_is_not_many() -> None:
    assert [counted(number, "account") for number in (0, 1, 2)] == ["0 accounts", "1 account", "2 accounts"]
    assert counted(1, "event waits", "events wait") == "1 event waits"
    assert counted(3, "event waits", "events wait") == "3 events wait"
