"""The words for what an account is doing, as operators see them."""

from __future__ import annotations

from enum import StrEnum


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


WAITS_FOR_TURN = "waiting for its turn"
"""How the reason begins of an account that is connected and gets a new process."""
