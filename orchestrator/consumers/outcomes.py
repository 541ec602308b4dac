"""One try to hand an event to a consumer, and how the try ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Carried(Protocol):
    """What a consumer is to get: an event that is rendered."""

    @property
    def id(self) -> str:
        """The event's id: the same on every try."""

    @property
    def type(self) -> str:
        """The event's type."""

    @property
    def account(self) -> str:
        """The account that the event is about."""

    @property
    def at(self) -> float:
        """When the event was stored, in Unix seconds."""

    @property
    def body(self) -> bytes:
        """The event as JSON: the same bytes on every try."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try.

    Attributes:
        event: What is handed over.
        number: Which try of this event this is, from 1.
    """

    event: Carried
    number: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The consumer has the event."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The consumer does not have the event, or nobody knows.

    Attributes:
        why: Words of ours for people, without a URL or anything that the consumer said.
        retry_after: Seconds that the consumer asks for before the next try, None without such a wish.
        disable: The consumer wants nothing any more.
    """

    why: str
    retry_after: float | None = None
    disable: bool = False


Outcome: TypeAlias = Delivered | Failed


class Endpoint(Protocol):
    """Where a consumer's events go."""

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Try to hand over an event, and say how that ended. The time that a try takes is bounded."""
