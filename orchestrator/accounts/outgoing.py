"""What the service and an account's process say to each other about sending, in single words. Pure.

`orchestrator.sending` has what can be sent and the states of a row; a process names them by the same words.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

MAX_BODY: Final = 96 * 1024
"""Bytes of a message to be sent, in JSON and UTF-8."""
MAX_WRITTEN: Final = 3 * MAX_BODY
"""Bytes of such a message within a message on the pipe: ASCII needs six for each character of two bytes."""
MAX_RESULT: Final = 128 * 1024
"""Bytes of the result of an act within a message on the pipe. A group of 1,024 members has about 90,000."""
MAX_TAG: Final = 512
"""Characters of a text of the client's own that comes back with each status."""
MAX_UNSETTLED: Final = 100
"""Messages about whose secrets a process asks at once."""

KIND: Final = re.compile(
    "text|image|video|audio|voice|document|sticker|location|contact|poll|reaction|edit|revocation|read"
)
"""What is sent: the words of `sending.forms.Kind`."""
STATE: Final = re.compile("queued|sending|sent|failed|unknown|expired|taken_back")
"""Where a row is: the words of `sending.row.State`."""
PACE: Final = re.compile("reply|known|new")
"""How well a chat is known: the words of `sending.row.Pace`."""
KEY: Final = re.compile("[0-9a-f]{64}")
"""What stands for a client's key (`sending.row.key_digest`), in hexadecimal digits."""
SECRET: Final = re.compile("[0-9a-f]{32}")
"""What stands for the secret of a message (`messages.loss.digest`), in hexadecimal digits."""


class Fault(StrEnum):
    """Why an outbox did not do what was asked of it."""

    CONFLICT = "conflict"
    """The key belongs to another message."""
    FULL = "full"
    """As many messages wait as may."""
    NO_ROW = "no_row"
    """There is no row of that number."""
    NOT_WAITING = "not_waiting"
    """The row is on its way, or over."""
    UNUSABLE = "unusable"
    """The file of the outbox cannot be read or written."""


class Restriction(StrEnum):
    """What an account may not send for now, because WhatsApp would not have it."""

    NOTHING = "nothing"
    """It may send everything."""
    NEW = "new"
    """It may not write to chats with which it had no exchange."""
    ALL = "all"
    """It may send nothing."""
