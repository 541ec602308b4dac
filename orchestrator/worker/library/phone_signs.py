"""Signs that an account's own phone is alive, told from what the library hands over. Pure.

The phone is device 0 of the account; the others are computers, which work while the phone is off. Of what
neonize 0.5.2 hands over, these are the phone's doing, and have WhatsApp's time:

- a message that it has sent, also one of those that devices send each other without anybody's seeing them:
  keys, notices of a history, answers;
- a receipt of its own: for what the account's other devices have sent, and for what was read on it.

Its being linked is a sign, too, which the service itself sees. Changes of the picture, the privacy settings
and the block list are none: a computer may have made them. What says when a person was last online comes of
others only. neonize has no event for the state that the devices of an account share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.messages.entry import Source, seconds
from orchestrator.worker import events

Proto = Any
"""A message of neonize's, which ship without types."""

SECONDS = 300.0
"""Seconds between two signs that are told: the service looks at days."""


def of(source: Source, event: Proto) -> float | None:
    """Return the Unix time of what the library hands over, if the account's own phone has done it.

    Args:
        source: Which protobuf it is.
        event: The protobuf.
    """
    match source:
        case "message" | "undecryptable" if _is_phone(event.Info.MessageSource):
            return seconds(event.Info.Timestamp)
        case "receipt" if _is_phone(event.MessageSource):
            return seconds(event.Timestamp)
    return None


def _is_phone(source: Proto) -> bool:
    return bool(source.IsFromMe) and source.Sender.Device == 0


class PhoneSigns:
    """Tells signs of the phone, so that a phone that is in use is no burden.

    Args:
        wall: Returns Unix seconds.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._told = 0.0

    def heard(self, at: float | None) -> events.PhoneSeen | None:
        """Return what is to be told of a sign at that Unix time, if anything is.

        WhatsApp's clock may be ahead of this machine's; nothing was seen later than now.
        """
        if at is None:
            return None
        at = min(at, self._wall())
        if not self._told + SECONDS <= at:  # also for "not a number"
            return None
        self._told = at
        return events.PhoneSeen(at)
