"""Who may use a session that several accounts have: one device is connected once, or the two fight. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Marks = Mapping[str, frozenset[str]]
"""What each account's session is known by; see `device.Device`."""


def rival(
    name: str, marks: Marks, order: Sequence[str], uses: Collection[str], runs: Collection[str]
) -> str | None:
    """Return the account because of which another one may not start; None if it may.

    That is one whose session is of the same device, and which uses it already, or is to start by itself and
    comes first in the configuration.

    Args:
        name: The account that is to start.
        marks: The marks of accounts; those who have none may be left out.
        order: The accounts as the configuration has them.
        uses: The accounts that have started, and go on by themselves until somebody ends that.
        runs: The accounts that have a process, or are to get one by themselves.
    """
    mine = marks.get(name, frozenset())
    others = [other for other in marks if other != name and mine & marks[other]]
    if not others:
        return None
    place = {other: index for index, other in enumerate(order)}
    others.sort(key=lambda other: place.get(other, -1))
    for other in others:
        if other in uses:
            return other
    if name in uses:
        return None
    first = [other for other in others if other in runs and place.get(other, -1) < place.get(name, -1)]
    return first[0] if first else None


def groups(marks: Marks) -> list[list[str]]:
    """Return the accounts that have one device between them, each group in the order they are given in."""
    found: list[list[str]] = []
    seen: dict[str, list[str]] = {}
    for name, own in marks.items():
        group = next((seen[mark] for mark in sorted(own) if mark in seen), None)
        if group is None:
            group = []
            found.append(group)
        group.append(name)
        for mark in own:
            seen[mark] = group
    return [group for group in found if len(group) > 1]


def why(other: str) -> str:
    """Say what is wrong with a session that another account uses."""
    return (
        f"its session is a copy of that of the account {other}: WhatsApp keeps one connection for each linked"
        " device, and the two would take it away from each other"
    )


def advice(name: str) -> str:
    """Say what to do about that."""
    return (
        f"run `orchestrator repair {name}` to link {name} as a device of its own, or remove one of the two;"
        f" then `orchestrator start {name}`"
    )
