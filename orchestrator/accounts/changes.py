"""Says which keys of the configuration have changed, and never what they say: values may be secrets. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from orchestrator.accounts.settings import AccountSettings

MOST_GROUPS: Final = 20
"""Groups of accounts with the same changes that are told apart."""
MOST_NAMES: Final = 5
"""Accounts that are named; of more of them, only the number is told where they stand for a change."""


def keys(before: object, after: object, ignored: Collection[str] = ()) -> tuple[str, ...]:
    """Return the keys by which two settings differ, such as ``proxy`` and ``backoff.base``.

    Args:
        before: A dataclass of settings, whose fields are named as the keys are.
        after: Another one of the same class.
        ignored: Fields that do not count.
    """
    return tuple(_keys(before, after, ignored))


def _keys(before: object, after: object, ignored: Collection[str]) -> Iterator[str]:
    assert dataclasses.is_dataclass(after)
    for one in dataclasses.fields(after):
        old, new = getattr(before, one.name), getattr(after, one.name)
        if not one.compare or one.name in ignored or old == new:
            continue
        if dataclasses.is_dataclass(new) and type(old) is type(new):
            yield from (f"{one.name}.{key}" for key in _keys(old, new, ()))
        else:
            yield one.name


def of_accounts(
    before: Mapping[str, AccountSettings], after: Mapping[str, AccountSettings]
) -> dict[str, tuple[str, ...]]:
    """Return the keys that have changed of each account that is there before and after, if any have.

    The accounts are in the order of the new configuration.
    """
    both = ((name, before[name], new) for name, new in after.items() if name in before)
    return {name: keys(old, new) for name, old, new in both if old != new}


def sentences(
    service: Sequence[str], before: Mapping[str, AccountSettings], after: Mapping[str, AccountSettings]
) -> list[str]:
    """Return what is said of changes; accounts with the same changes are told in one.

    Args:
        service: The keys of the service that have changed.
        before: The accounts as they were.
        after: The accounts as they are.
    """
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, changed in of_accounts(before, after).items():
        groups.setdefault(changed, []).append(name)
    said = [f"the service: {', '.join(service)}"] if service else []
    for changed, names in list(groups.items())[:MOST_GROUPS]:
        which = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} accounts"
        said.append(f"{which}: {', '.join(changed)}")
    if left := list(groups.values())[MOST_GROUPS:]:
        said.append(f"{sum(map(len, left))} more accounts")
    said += [f"{what}: {_some(names)}" for what, names in (("added", added), ("removed", removed)) if names]
    return said


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"
