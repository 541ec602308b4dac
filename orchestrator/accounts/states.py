"""The words for what an account is doing, as operators see them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What an account is doing."""

    DISABLED = "disabled"
    """``enabled: false`` in the configuration."""
    STOPPED = "stopped"
    """An operator stopped it; it stays stopped across a restart of the service."""
    STARTING = "starting"
    """Its process is waiting for its turn, or was started and has not reported yet."""
    CONNECTING = "connecting"
    """Dialling WhatsApp with a stored session."""
    PAIRING = "pairing"
    """A QR code (or an eight-character code) is waiting to be used."""
    CONNECTED = "connected"
    """Logged in; WhatsApp said so."""
    RECONNECTING = "reconnecting"
    """Was connected and lost the link; the session is kept and the process retries."""
    BACKOFF = "backoff"
    """The process ended; the next one starts at the time that is shown."""
    REPLACED = "replaced"
    """Another client took the session over."""
    BANNED = "banned"
    """WhatsApp refuses the account: for some time, or until an operator acts."""
    OUTDATED = "outdated"
    """WhatsApp refuses this version of the client; the whole fleet waits while one account probes."""
    FAILED = "failed"
    """Gave up; the reason says why and what to do."""


WORST_FIRST: Final = (
    State.BANNED, State.FAILED, State.OUTDATED, State.REPLACED, State.PAIRING, State.BACKOFF,
    State.RECONNECTING, State.CONNECTING, State.STARTING, State.CONNECTED, State.STOPPED, State.DISABLED,
)  # fmt: skip
"""All states, first those in which an account stays until a person acts, last those that somebody wanted."""

CODE_WAITS = "waiting for its code to be used"
"""The reason of an account that shows a code."""
WAITS_FOR_TURN = "waiting for its turn"
"""How the reason begins of an account that is connected and gets a new process."""
PAIRED_ANEW = "to be paired anew"
"""The reason of an account that gets a process because an operator wants another session."""
MAINTENANCE = "maintenance is on"
"""How the reason begins of an account that waits for the end of maintenance."""
SERVICE_STOPS = "the service stops"
"""The reason of an account that was stopped because the service was."""
SERVICE_WAS_GONE = "the service was gone without a word: it was killed, or the machine went down"
"""The reason of an account that had a process when the service was last known to be there."""

WAITS_FOR_SHARD = "waiting for a shard"
"""How the reason begins of an account that no machine of the cluster runs."""
