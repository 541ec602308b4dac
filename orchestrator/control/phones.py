"""Says which of the accounts that are shown are linked to one phone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.accounts import same_phone
from orchestrator.control.view import AccountView


def about_phones(views: Sequence[AccountView]) -> list[str]:
    """Return a sentence for each phone that several accounts are linked to.

    Args:
        views: Accounts as they are shown, in the order of the configuration. Others of their phones, which
            are not shown, are named all the same.
    """
    shown = [one.name for one in views]
    found: dict[tuple[str, ...], str | None] = {}
    for one in views:
        if one.same_phone:
            order = shown if {*one.same_phone} <= {*shown} else ()  # else it is not known
            found.setdefault(same_phone.in_order(one.name, one.same_phone, order), one.phone)
    return [same_phone.sentence(names, phone) for names, phone in found.items()]
