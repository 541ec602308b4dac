"""Notices accounts of the running service that are linked to one phone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.accounts import same_phone
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.machine import Account
from orchestrator.service.roster import Roster
from orchestrator.system.masking import mask_number

log = logging.getLogger(__name__)


class OnePhone:
    """Compares the numbers of the accounts, in full. Nobody else sees more than masked ones.

    Args:
        roster: The accounts.
        look: Reads from an account's session to which number it is linked.
    """

    def __init__(self, roster: Roster, look: Callable[[str], str | None]) -> None:
        self._roster = roster
        self._look = look

    def mind(self, name: str) -> None:
        """Note to which phone an account is linked after something has happened to it, or that it is gone."""
        phones = self._roster.phones
        account = self._roster.machines.get(name)
        number = None if account is None else number_of(account)
        if phones.number(name) == number:
            return
        others = [one for one in phones.members(number) if one != name]
        # Only where numbers meet is it worth a look whether there is a session, or a mere memory of one.
        if number is not None and others and self._is_only_remembered(name):
            number = None
        changed = phones.set(name, number)
        for one in others if number is not None else ():
            if self._is_only_remembered(one):
                changed |= phones.set(one, None)
        if number is not None and changed and phones.others(name):
            self._warn(name, number)
        for one in changed - {name}:
            self._roster.touch(one)

    def _is_only_remembered(self, name: str) -> bool:
        account = self._roster.machines.get(name)
        return account is None or (account.linked is None and self._look(name) is None)

    def _warn(self, name: str, number: str) -> None:
        order = list(self._roster.settings.accounts)
        names = same_phone.in_order(name, self._roster.phones.others(name), order)
        log.warning("%s", same_phone.sentence(names, mask_number(number)))


def number_of(account: Account) -> str | None:
    """Return the number that an account is linked to, as far as is known; None if it is not linked.

    A session that is refused because it is a copy of another one is told otherwise.
    """
    if account.linked is False or account.kind is Kind.DUPLICATE:
        return None
    return account.guard.number
