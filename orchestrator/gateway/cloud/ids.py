"""What the Cloud API calls people, groups and messages, and what they are called here. Pure.

The Cloud API knows a person by `wa_id`, the digits of the number, and by `user_id`, two letters, a dot and
digits. WhatsApp hides many numbers, so `wa_id` can be missing, and `user_id` never is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.accounts import acts, phones

_HIDDEN: Final = "ZZ"
_NUMBER: Final = "XP"
"""The letters of user ids: of hidden addresses, and of numbers. Both are codes that ISO 3166 leaves to users,
so no country has them: with a real country's code, an id would change when a number becomes known."""
_SERVERS: Final[Mapping[str, str]] = {_HIDDEN: "lid", _NUMBER: "s.whatsapp.net"}
_LETTERS: Final = {server: letters for letters, server in _SERVERS.items()}
_USER_ID: Final = re.compile(rf"({_HIDDEN}|{_NUMBER})\.([0-9]{{5,20}})", re.ASCII)
_ROW: Final = re.compile(r"row\.([1-9][0-9]{0,15})", re.ASCII)
_BARE: Final = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_GROUP: Final = "@g.us"


class NotSomebodyError(ValueError):
    """A text names neither a person nor a group. The message quotes nothing of it."""


def user_id(address: str) -> str | None:
    """Return the user id of a person's address, None if the address is another one."""
    user, _, server = address.partition("@")
    letters = _LETTERS.get(server)
    return None if letters is None else f"{letters}.{user}"


def wa_id(phone: str | None) -> str | None:
    """Return the digits of a number with +, None for none."""
    return None if phone is None else phone.removeprefix("+")


def digits_of(address: str) -> str | None:
    """Return the digits of the number that an address has, None if the address hides it."""
    user, _, server = address.partition("@")
    return user if server == _SERVERS[_NUMBER] else None


def chat_of(name: str) -> str:
    """Return the address of the chat that a client means.

    Args:
        name: A number with or without +, a user id, or the id of a group.

    Raises:
        NotSomebodyError: It is none of these.
    """
    text = name.strip()
    if match := _USER_ID.fullmatch(text):
        return f"{match[2]}@{_SERVERS[match[1]]}"
    if text.endswith(_GROUP):
        if acts.CHAT.fullmatch(text):
            return text
        raise NotSomebodyError("the group's id has another form")
    try:
        return acts.person(phones.parse(text if text.startswith("+") else f"+{text}"))
    except phones.NotANumber:
        raise NotSomebodyError(
            f"expected {phones.EXPECTED}, a user id, or the id of a group, found something else"
        ) from None


def is_group(name: str) -> bool:
    """Tell whether a chat's address, or what a client calls a chat, is a group's."""
    return name.endswith(_GROUP)


def is_number(name: str) -> bool:
    """Tell whether a text may be the digits of an account's number."""
    return _BARE.fullmatch(name) is not None


def of_row(row: int) -> str:
    """Return what a message is called that WhatsApp has not named yet, by its row in the outbox."""
    return f"row.{row}"


def row_of(message: str) -> int | None:
    """Return the row that a message is called by, None if it is called otherwise."""
    match = _ROW.fullmatch(message)
    return None if match is None else int(match[1])


def contact(person: Mapping[str, Any]) -> dict[str, Any]:
    """Return a person as an entry of `contacts`.

    Args:
        person: A sender or recipient of an event: its `id`, `phone` and `name`.
    """
    digits, identity = wa_id(person["phone"]) or digits_of(person["id"]), user_id(person["id"])
    name = person["name"] or (f"+{digits}" if digits else identity) or ""
    found: dict[str, Any] = {"profile": {"name": name}}
    if digits is not None:
        found["wa_id"] = digits
    if identity is not None:
        found["user_id"] = identity
    return found
