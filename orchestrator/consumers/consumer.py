"""Who gets events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["webhook", "bot", "pull"]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A webhook, a bot, or a pull by name.

    Attributes:
        name: Its name; no two consumers have the same, of whatever kind.
        kind: What it is.
        accounts: The accounts whose events it gets, None for all.
        events: Patterns of the types that it gets, such as ``message.*``.
        parallel: How many events may be on their way to it at once. Each is of another chat.
    """

    name: str
    kind: Kind
    accounts: frozenset[str] | None = None
    events: tuple[str, ...] = ("*",)
    parallel: int = 8
