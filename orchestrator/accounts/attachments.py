"""Attachments of messages: how they are named between processes, and why there may be none. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

ID: Final = re.compile("[1-9][0-9]{0,18}")
"""The form of an attachment's identifier: a number of 63 random bits in decimal digits, above 0."""
MOST: Final = 2**63 - 1


def is_id(text: str) -> bool:
    """Tell whether a text is an attachment's identifier, which the account's process has drawn."""
    return bool(ID.fullmatch(text)) and int(text) <= MOST


class Fault(StrEnum):
    """Why an attachment is not there."""

    UNKNOWN = "unknown"
    """No stored message has it."""
    NEVER = "never"
    """The configuration forbids it."""
    TOO_LARGE = "too_large"
    """It is larger than the configuration allows."""
    EXPIRED = "expired"
    """WhatsApp does not have it any more."""
    ALTERED = "altered"
    """What WhatsApp has is not what the message is about."""
    UNFIT = "unfit"
    """The message does not say where it is, or not in a form that is used."""
    UNREACHABLE = "unreachable"
    """The network, the proxy or WhatsApp's server failed."""
    NO_ROOM = "no_room"
    """It could not be written."""
    BUSY = "busy"
    """Too many are asked for at once."""


PERMANENT: Final = frozenset({Fault.TOO_LARGE, Fault.EXPIRED, Fault.ALTERED, Fault.UNFIT})
"""After these, another try will not help: only somebody who asks for it has it tried again."""


class MissingError(Exception):
    """An attachment cannot be had.

    Args:
        fault: Why.
        about: What happened, for people, if the fault alone does not tell. It has nothing of the message.
    """

    def __init__(self, fault: Fault, about: str = "") -> None:
        super().__init__(f"{fault}: {about}" if about else str(fault))
        self.fault = fault
        self.about = about
