"""What webhooks get of the messages: everything that is stored, signed, and in order within a chat.

One receiver always answers. The other is away, fails or hangs from time to time, and gets all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.receiver import Received, Receiver, changed, disorder, unsigned
from benchmarks.soak.observation import Finding
from benchmarks.soak.world import World
from orchestrator.errors import OrchestratorError

DELIVER_SECONDS = 90.0
"""Seconds in the end for all that is stored to be delivered."""
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of stored messages at one webhook.

    Attributes:
        webhook: Its name.
        wanted: How many messages are stored.
        missing: How many of them it was not brought.
        requests: How many requests came.
        again: How many of them brought an event that had been taken.
    """

    webhook: str
    wanted: int
    missing: int
    requests: int
    again: int


class Deliveries:
    """The webhooks of a soak.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def hurry(self) -> None:
        """Have what failed be tried again at once; an operator would do it, too."""
        for name in self._world.receivers:
            with contextlib.suppress(OrchestratorError):
                self._world.service.client.call("webhook_resume", name=name)

    def is_settled(self, stored: Sequence[tuple[str, int]]) -> bool:
        """Tell whether both have been brought everything.

        Args:
            stored: The messages: account and number.
        """
        return not any(self._missing(receiver, stored) for _, receiver in self._world.receivers.items())

    def judge(self, stored: Sequence[tuple[str, int]]) -> tuple[list[Delivered], Iterator[Finding]]:
        """Tell what became of stored messages, and what is wrong with that."""
        found = [self._judge(name, receiver, stored) for name, receiver in self._world.receivers.items()]
        return found, self._findings(stored)

    def _judge(self, name: str, receiver: Receiver, stored: Sequence[tuple[str, int]]) -> Delivered:
        taken = _taken(receiver)
        requests = list(receiver.requests)
        again = sum(200 <= one.status < 300 for one in requests) - len(taken)
        return Delivered(name, len(stored), len(self._missing(receiver, stored)), len(requests), again)

    def _findings(self, stored: Sequence[tuple[str, int]]) -> Iterator[Finding]:
        for name, receiver in self._world.receivers.items():
            requests = list(receiver.requests)
            missing = self._missing(receiver, stored)
            for check, some in (
                ("not delivered", missing),
                ("another body", changed(requests)),
                ("wrong signature", self.unsigned(requests)),
            ):
                if some:
                    yield Finding(check, None, f"{name}: {len(some)}: {', '.join(some[:_EXAMPLES])}")
            if count := disorder(requests):
                yield Finding("out of order", None, f"{name}: {count} events")

    def unsigned(self, requests: Sequence[Received]) -> list[str]:
        """Return those of the last minutes whose signature is wrong: older ones nobody believes any more."""
        newest = max((one.at for one in requests), default=0.0)
        return unsigned(one for one in requests if one.at > newest - 200)

    def _missing(self, receiver: Receiver, stored: Sequence[tuple[str, int]]) -> list[str]:
        taken = _taken(receiver)
        return [one for one in (f"evt_{name}_{seq}" for name, seq in stored) if one not in taken]


def _taken(receiver: Receiver) -> set[str]:
    return {one.id for one in list(receiver.requests) if 200 <= one.status < 300}


def about(delivered: Sequence[Delivered]) -> Iterator[tuple[str, ...]]:
    """Yield rows for people."""
    yield "webhook", "stored messages", "not delivered", "requests", "of those for what it had"
    for one in delivered:
        numbers: tuple[Any, ...] = (one.wanted, one.missing, one.requests, one.again)
        yield one.webhook, *map(str, numbers)
