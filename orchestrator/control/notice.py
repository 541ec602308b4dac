"""What a program is told of changes: the JSON on its standard input, as docs/notifications.md lists it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from orchestrator.accounts.on_change import NEEDS_PERSON, RESOLVED
from orchestrator.accounts.states import State
from orchestrator.accounts.words import counted
from orchestrator.control.attention import need
from orchestrator.control.changes import Call, Change
from orchestrator.control.view import AccountView

VERSION: Final = 1
"""The version of the fields. It grows when the meaning of a field changes, and not with a new field."""
NAMED: Final = 5
"""How many accounts a subject names."""
_LONGEST: Final = 300
"""Characters of a reason in a line for people."""


def as_json(
    call: Call, views: Callable[[str], AccountView | None], iso: Callable[[float], str]
) -> dict[str, Any]:
    """Return what a program is told.

    Args:
        call: The changes.
        views: Returns an account as it is now, None for one that is gone.
        iso: Writes Unix seconds as UTC time in ISO form.
    """
    changes = []
    for change in call.changes:
        view = views(change.name)
        if view is not None:
            changes.append((change, view))
    return {
        "version": VERSION,
        "test": False,
        "changes": [_change(change, view, iso) for change, view in changes],
        "more": call.more,
        "left_out": call.left_out,
        "subject": _subject(changes),
        "text": _text(changes, call),
    }


def test(views: list[AccountView], at: str) -> dict[str, Any]:
    """Return what a program is told when an operator tries it.

    Args:
        views: An account that is shown as an example, or none.
        at: The present time, in ISO form.
    """
    said = "This is a test of `on_change`. No account has changed."
    changes = [
        {"change": "test", "before": None, "at": at, "need": None, "account": view.as_json()}
        for view in views
    ]
    return {
        "version": VERSION,
        "test": True,
        "changes": changes,
        "more": 0,
        "left_out": 0,
        "subject": "WhatsApp: a test",
        "text": said + "\n",
    }


def _change(change: Change, view: AccountView, iso: Callable[[float], str]) -> dict[str, Any]:
    found = need(view)
    return {
        "change": change.word,
        "before": change.before,
        "at": iso(change.at),
        "need": None if found is None else found._asdict(),
        "account": view.as_json(),
    }


def _subject(changes: list[tuple[Change, AccountView]]) -> str:
    """Say in one line what has changed."""
    parts = []
    for word, said in (
        (NEEDS_PERSON, ("needs a person", "need a person")),
        ("down", ("is down", "are down")),
    ):
        parts += _named([change.name for change, _ in changes if change.word == word], *said)
    for state in State:
        names = [change.name for change, _ in changes if change.word == state.value]
        parts += _named(names, f"is {state}", f"are {state}")
    names = [change.name for change, _ in changes if change.word == RESOLVED]
    parts += _named(names, "is well again", "are well again")
    return "WhatsApp: " + "; ".join(parts)


def _named(names: list[str], one: str, several: str) -> list[str]:
    if not names:
        return []
    if len(names) > NAMED:
        return [f"{len(names)} accounts {several}"]
    return [f"{', '.join(names)} {one if len(names) == 1 else several}"]


def _text(changes: list[tuple[Change, AccountView]], call: Call) -> str:
    """Say what has changed and what to do, a paragraph for each change."""
    lines = [_line(change, view) for change, view in changes]
    if call.more:
        lines.append(f"{counted(call.more, 'further change follows', 'further changes follow')} later.")
    if call.left_out:
        what = counted(call.left_out, "change was", "changes were")
        lines.append(f"{what} over before they could be told: see `orchestrator list`.")
    return "\n".join(lines) + "\n"


def _line(change: Change, view: AccountView) -> str:
    reason = f": {view.reason[:_LONGEST]}" if view.reason else ""
    said = f"{view.name} is {view.state}{reason}"
    if change.word == RESOLVED:
        return f"{said} (resolved)"
    found = need(view)
    if found is None:
        return said
    return f"{said}\n  what to do: {found.sentence}: {found.command}"
