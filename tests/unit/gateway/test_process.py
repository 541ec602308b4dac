"""What the gateway tells the service again, and what not."""

from __future__ import annotations

from orchestrator.gateway.process import unsaid


def test_an_account_that_is_added_again_is_told_its_number_again() -> None:
    told: dict[str, int | None] = {"a": 5, "b": None}
    assert unsaid(told, {"a": 5, "b": None}) == {}
    assert unsaid(told, {"a": 6, "b": None, "c": None}) == {"a": 6, "c": None}
    assert unsaid(told, {"b": None}) == {}  # a was removed
    assert unsaid(told, {"a": 5, "b": None}) == {"a": 5}
