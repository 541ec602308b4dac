"""What is known of pulls, and how processes tell each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestrator.consumers.followed import checked_number, checked_place, checked_text, checked_time
from orchestrator.consumers.writes import Place

Reach: TypeAlias = tuple[Place, int, int]
"""Where some events are from, and from after which to which number they go."""
MOST_PLACES: Final = 10_000
"""Places of one batch, and positions of one pull that are moved at once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that were handed out.

    Attributes:
        cursor: What acknowledges them: nobody can guess it.
        reach: Which they are.
    """

    cursor: str
    reach: list[Reach]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a pull.

    Attributes:
        maker: Who made it.
        since: Events of an account that is new to it are left out if they were stored before.
        positions: How far it is.
    """

    maker: str
    since: float
    positions: Mapping[Place, int] = field(default_factory=dict)


def dump_places(places: Mapping[Place, int]) -> list[list[Any]]:
    """Return positions in JSON."""
    return [[*place, cursor] for place, cursor in places.items()]


def load_places(plain: object) -> dict[Place, int]:
    """Read positions, which come from another process.

    Raises:
        ValueError: They are none.
    """
    return {checked_place(account, stream): checked_number(at) for account, stream, at in _lists(plain, 3)}


def dump_reach(reach: Iterable[Reach]) -> list[list[Any]]:
    """Return in JSON which events are in a batch."""
    return [[*place, begin, end] for place, begin, end in reach]


def load_reach(plain: object) -> list[Reach]:
    """Read which events are in a batch.

    Raises:
        ValueError: That is none.
    """
    return [
        (checked_place(account, stream), checked_number(begin), checked_number(end))
        for account, stream, begin, end in _lists(plain, 4)
    ]


def dump_known(known: Known) -> dict[str, Any]:
    """Return what is known of a pull in JSON."""
    return {"maker": known.maker, "since": known.since, "places": dump_places(known.positions)}


def load_known(plain: object) -> Known:
    """Read what is known of a pull.

    Raises:
        ValueError: That is nothing of the kind.
    """
    if not isinstance(plain, dict) or plain.keys() != {"maker", "since", "places"}:
        raise ValueError("no pull")
    return Known(checked_text(plain["maker"]), checked_time(plain["since"]), load_places(plain["places"]))


def _lists(plain: object, length: int) -> list[list[Any]]:
    if not isinstance(plain, list) or len(plain) > MOST_PLACES:
        raise ValueError("no places")
    if not all(isinstance(one, list) and len(one) == length for one in plain):
        raise ValueError("no places")
    return plain
