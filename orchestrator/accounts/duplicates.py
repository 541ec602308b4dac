"""Decides which account may use a session that several accounts have copies of. Pure.

WhatsApp keeps one connection per linked device. Two accounts with one device would disconnect each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Marks = Mapping[str, frozenset[str]]
"""What each account's session is known by; see `device.Device`."""


def rival(
    name: str, marks: Marks, order: Sequence[str], uses: Collection[str], runs: Collection[str]
) -> str | None:
    """Return the account that keeps another account from starting; None if the account may start.

    Such a rival has a session of the same device. It uses the session already, or it is to start by itself
    and comes first in the configuration.

    Args:
        name: The account that is to start.
        marks: The marks of accounts; accounts without marks may be left out.
        order: The accounts as the configuration has them.
        uses: The accounts that have started, and go on by themselves until somebody stops them.
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
    """Return the groups of accounts that share one device, each in the given order."""
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
    """Say why a session that another account uses is refused."""
    return (
        f"its session is a copy of the session of the account {other}: WhatsApp keeps one connection per"
        " linked device, so the two accounts would disconnect each other"
    )


def advice(name: str) -> str:
    """Say what to do about a refused session."""
    return (
        f"run `orchestrator repair {name}` to link {name} as a device of its own, or remove one of the two"
        f" accounts; then run `orchestrator start {name}`"
    )
