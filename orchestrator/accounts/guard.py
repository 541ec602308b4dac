"""Which phone an account may be linked to: the one that the configuration names, or the first it had. Pure.

Whoever sees a code can scan it. Without a guard, an account whose device was unlinked becomes the account of
whichever phone scans next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from orchestrator.accounts import phones
from orchestrator.accounts.settings import AccountSettings
from orchestrator.errors import OrchestratorError


def is_number(text: str) -> bool:
    """Tell whether a text is the digits of a number, as WhatsApp gives them."""
    return re.fullmatch(phones.DIGITS, text) is not None


@dataclass(frozen=True, slots=True)
class Guard:
    """What is remembered of the phone of an account. It outlives the service.

    Attributes:
        number: Digits of the number that the account was linked to first, None if it never was.
        any_phone: Whether an operator lets any phone be linked next. Then the number of that phone counts.
    """

    number: str | None = field(default=None, repr=False)
    any_phone: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows yet which phone the account has, and not because an operator wants that."""
        return self.number is None and not self.any_phone

    def wanted(self, configured: str | None) -> str | None:
        """Return digits of the only number that may be linked, None if any may be.

        Args:
            configured: Digits of the number that the configuration names, which wins; None if it names none.
        """
        return configured or (None if self.any_phone else self.number)

    def found(self, number: str | None) -> Guard:
        """Take in which number the account's session is of, if it is linked."""
        return self if self.any_phone or self.number or not number else Guard(number)

    def linked(self, number: str, configured: str | None) -> Guard:
        """Take in which phone has used a code; the process itself unlinks the device of a wrong phone."""
        wanted = self.wanted(configured)
        if not is_number(number) or (wanted is not None and not phones.same(number, wanted)):
            return self
        # A number that is spelled in another way is no other phone.
        known = self.number if self.number and phones.same(number, self.number) else number
        return Guard(known)

    def connected(self, number: str, configured: str | None) -> Guard:
        """Take in as which number the account has logged in."""
        if self.any_phone and configured is None:
            return self  # with the session that it has still: the next phone has not come yet
        return self.linked(number, configured)

    def open_to_any(self) -> Guard:
        """Return the guard for when an operator lets any phone be linked next."""
        return replace(self, number=None, any_phone=True)

    def restored(self, number: str | None) -> Guard:
        """Take in which number a session is of that an operator has put back on purpose."""
        return self if number is None else Guard(number)


def refuse_any_phone(settings: AccountSettings) -> None:
    """See that the configuration lets any phone be linked to an account.

    Raises:
        OrchestratorError: It names the number.
    """
    if settings.phone is not None:
        raise OrchestratorError(
            f"{settings.name}: `phone:` in the configuration names the only phone that may be linked: change"
            " the number there, or remove it, then pair anew",
            key="phone_configured",
        )
