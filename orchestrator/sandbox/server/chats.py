"""The chats of a phone as its owner sees them: each message as it is after all that was said of it. Pure.

A phone receives edits, reactions, votes, pins and deletions as messages of their own. Here they are applied
to the message that they are about.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

Shown: TypeAlias = dict[str, Any]

KEPT: Final = ("id", "at", "from", "chat", "kind")
"""What is left of a message that was deleted for everyone."""


def fold(received: Iterable[Mapping[str, Any]], sent: Iterable[Mapping[str, Any]]) -> list[Shown]:
    """Return the messages of all chats, oldest first, as they are now.

    Each has what `orchestrator.sandbox.server.reading` says of it, and as far as there is any: ``reactions``
    (number to emoji), ``votes`` (number to options), ``edits`` (how often), ``pinned_by``, ``deleted_by``.

    Args:
        received: What the phone has received, with id, at, from, chat and content, in order.
        sent: What the owner has sent from the phone itself, in the same form.
    """
    messages: dict[tuple[str, str], Shown] = {}
    changes = []
    for one in heapq.merge(received, sent, key=lambda entry: float(entry["at"])):
        if one["kind"] in _CHANGES:
            changes.append(one)
        else:
            messages.setdefault((one["chat"], one["id"]), dict(one))
    for change in changes:
        message = messages.get((change["chat"], change["of"]))
        if message is not None and "deleted_by" not in message:
            _CHANGES[change["kind"]](message, change)
    return list(messages.values())


def _react(message: Shown, change: Mapping[str, Any]) -> None:
    _note(message, "reactions", change["from"], change["emoji"])


def _vote(message: Shown, change: Mapping[str, Any]) -> None:
    if "options" in change:  # else the phone could not read it
        _note(message, "votes", change["from"], change["options"])


def _note(message: Shown, name: str, who: str, what: object) -> None:
    """Keep what somebody thinks of a message; nothing takes back what was there."""
    noted = {by: said for by, said in message.get(name, {}).items() if by != who}
    message[name] = noted | ({who: what} if what else {})
    if not message[name]:
        del message[name]


def _edit(message: Shown, change: Mapping[str, Any]) -> None:
    name = "caption" if "caption" in message else "text"
    message |= {name: change["text"], "edits": message.get("edits", 0) + 1}
    if "mentions" in change:
        message["mentions"] = change["mentions"]


def _revoke(message: Shown, change: Mapping[str, Any]) -> None:
    for name in set(message) - set(KEPT):
        del message[name]
    message["deleted_by"] = change["from"]


def _pin(message: Shown, change: Mapping[str, Any]) -> None:
    message["pinned_by"] = change["from"]


def _unpin(message: Shown, _: Mapping[str, Any]) -> None:
    message.pop("pinned_by", None)


_CHANGES: Final[dict[str, Callable[[Shown, Mapping[str, Any]], None]]] = {
    "reaction": _react,
    "vote": _vote,
    "edit": _edit,
    "revoke": _revoke,
    "pin": _pin,
    "unpin": _unpin,
}
"""What the kinds that are about another message do to it."""
