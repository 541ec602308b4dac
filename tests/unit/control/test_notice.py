"""What a program is told: the fields that docs/notifications.md lists, and texts for people."""

from __future__ import annotations

import re
from typing import Any

from support.cli import ROOT

from orchestrator.control import notice
from orchestrator.control.changes import Call, Change
from orchestrator.control.view import AccountView

AT = "2026-11-22T10:00:00Z"


def told(*changes: Change, more: int = 0, left_out: int = 0, **views: AccountView) -> dict[str, Any]:
    return notice.as_json(Call(changes, more, left_out), views.get, lambda _: AT)


def paths(value: object, at: str = "") -> set[str]:
    match value:
        case dict() if at not in ("changes[].account", "changes[].need"):
            return {path for key, one in value.items() for path in paths(one, f"{at}.{key}".lstrip("."))} | {
                at
            }
        case list():
            return {path for one in value for path in paths(one, f"{at}[]")} | {at}
    return {at}


def test_the_documentation_has_every_field() -> None:
    text = (ROOT / "docs" / "notifications.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_\[\].]+)` \|", text, re.MULTILINE))
    view = AccountView("a", "pairing")
    document = told(Change("a", "needs_person", "code", None, 0.0), a=view)
    assert paths(document) - {"", "changes[]"} == listed
    assert paths(notice.test([view], AT)) - {"", "changes[]"} == listed


def test_people_read_what_to_do() -> None:
    document = told(
        Change("a", "needs_person", "code", None, 0.0),
        Change("b", "down", "down", None, 0.0),
        Change("c", "resolved", "resolved", "code", 0.0),
        Change("d", "connected", "connected", None, 0.0),
        more=1,
        left_out=2,
        a=AccountView("a", "pairing", reason="waiting for its code"),
        b=AccountView("b", "backoff", reason="no network"),
        c=AccountView("c", "connected"),
        d=AccountView("d", "connected"),
    )
    assert document["subject"] == "WhatsApp: a needs a person; b is down; d is connected; c is well again"
    assert document["text"].splitlines() == [
        "a is pairing: waiting for its code",
        "  what to do: on the phone: Settings, Linked devices, Link a device: orchestrator qr a",
        "b is backoff: no network",
        "c is connected (resolved)",
        "d is connected",
        "1 further change follows later.",
        "2 changes were over before they could be told: see `orchestrator list`.",
    ]


def test_many_accounts_are_counted() -> None:
    names = [f"a{number}" for number in range(notice.NAMED + 1)]
    changes = [Change(name, "down", "down", None, 0.0) for name in names]
    views = {name: AccountView(name, "backoff") for name in names}
    document = notice.as_json(Call(tuple(changes), 0, 0), views.get, lambda _: AT)
    assert document["subject"] == "WhatsApp: 6 accounts are down"


def test_an_account_that_is_gone_meanwhile_is_left_out() -> None:
    assert told(Change("a", "down", "down", None, 0.0))["changes"] == []
