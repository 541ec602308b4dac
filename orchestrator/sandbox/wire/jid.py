"""Addresses: who or what a stanza is from or to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

PN = "s.whatsapp.net"
"""Server part of a phone-number address; alone, it addresses WhatsApp itself."""
LID = "lid"
"""Server part of a hidden address, which stands for a person without showing the number."""
GROUP = "g.us"
"""Server part of a group."""
BROADCAST = "broadcast"
"""Server part of status posts."""
NEWSLETTER = "newsletter"
"""Server part of a channel."""


@dataclass(frozen=True, slots=True, order=True)
class JID:
    """One address: a user, the server it lives on, and the device (0 is the phone).

    Attributes:
        user: Digits of a phone number, of a LID or of a group; empty for a server itself.
        server: One of the constants of this module, or another of WhatsApp's servers.
        device: 0 for the phone, 1 to 255 for a linked device.
    """

    user: str
    server: str = PN
    device: int = 0

    @classmethod
    def parse(cls, text: str) -> JID:
        """Read ``user@server`` or ``user:device@server``; without an @, a server alone.

        Raises:
            ValueError: The device is not a number from 0 to 255, or the text is empty.
        """
        user, at, server = text.rpartition("@")
        if not server:
            raise ValueError(f"{text!r} is not an address: expected user@server")
        if not at:
            return cls("", server)
        user, _, device = user.partition(":")
        if not re.fullmatch(r"[0-9]{0,3}", device) or (number := int(device or 0)) > 255:
            raise ValueError(f"the device of {text!r} is no number from 0 to 255")
        return cls(user, server, number)

    @property
    def bare(self) -> JID:
        """The same person without the device."""
        return replace(self, device=0)

    def with_device(self, device: int) -> JID:
        """Return the address of another device of the same person."""
        return replace(self, device=device)

    def __str__(self) -> str:
        user = f"{self.user}:{self.device}" if self.device else self.user
        return f"{user}@{self.server}" if user else self.server


STATUS = JID("status", BROADCAST)
"""Where status posts are."""
SERVER = JID("")
"""WhatsApp itself: the sender of everything that no person sent."""
