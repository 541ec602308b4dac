"""When an account may send after it was connected: once what had waited for it is decrypted. Pure.

The library keeps a state of encryption for each device that it writes to or hears from. To encrypt and to
decrypt both change that state, and nothing keeps one from writing over what the other has just changed
(whatsmeow's pull request 1168). The same key is used twice then, and whoever gets the second message takes it
for one that was there before: it is lost. That is likely where an account sends at the moment in which many
messages come that had waited, and some of them are from the same people.
"""

from __future__ import annotations

from typing import Final

SECONDS: Final = 10.0
"""How long WhatsApp may take to deliver what has waited. A backlog of days can take longer; then the account
sends meanwhile, as what waits to be sent must not wait without end."""


class CatchingUp:
    """What is known of one account.

    Attributes:
        due: When the account may send at the latest, in monotonic seconds; None if that is not waited for.
    """

    def __init__(self) -> None:
        self.due: float | None = None
        self._is_online = False
        self._has_caught_up = False

    def caught_up(self) -> None:
        """Take note that WhatsApp has delivered all, which may come before the word that there is a link.

        A word that comes after the end of its link counts for the next one: that cannot be told apart.
        """
        self._has_caught_up = True

    def may_send(self, now: float, *, online: bool) -> bool:
        """Tell whether the account may send.

        Args:
            now: Monotonic seconds.
            online: Whether the account is connected.
        """
        if not online:
            if self._is_online:
                self._has_caught_up = False  # the next link has its own
            self._is_online, self.due = False, None
            return False
        if not self._is_online:
            self._is_online, self.due = True, now + SECONDS
        if self._has_caught_up or (self.due is not None and now >= self.due):
            self._has_caught_up, self.due = True, None
        return self._has_caught_up
