"""Makes the card of a contact (vCard 3.0, RFC 2426) from what the Cloud API says of the contact. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from orchestrator.gateway.cloud import faults

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,30}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{5,20}", re.ASCII)
_ADDRESS: Final = ("street", "city", "state", "zip", "country")
_NAMES: Final = ("last_name", "first_name", "middle_name", "prefix", "suffix")
MOST: Final = 10
"""Numbers, addresses and the like of one contact."""


def name_of(contact: Mapping[str, Any]) -> str:
    """Return the name of a contact.

    Raises:
        FaultError: It has none.
    """
    name = contact.get("name")
    found = name.get("formatted_name") if isinstance(name, Mapping) else None
    if not isinstance(found, str) or not found.strip():
        raise faults.missing("contacts.name.formatted_name")
    return " ".join(_plain(found).split())


def card(contact: Mapping[str, Any]) -> str:
    """Return the card of a contact.

    Raises:
        FaultError: The contact has another form.
    """
    lines = ["BEGIN:VCARD", "VERSION:3.0", *_about(contact), "END:VCARD"]
    return "\n".join(lines)


def _about(contact: Mapping[str, Any]) -> Iterator[str]:
    name = contact["name"]
    yield "N:" + ";".join(_value(name, part) for part in _NAMES)
    yield f"FN:{_escaped(name_of(contact))}"
    for phone in _listed(contact, "phones"):
        digits = phone.get("wa_id")
        is_id = isinstance(digits, str) and _DIGITS.fullmatch(digits) is not None
        yield f"TEL{_type(phone)}{f';waid={digits}' if is_id else ''}:{_value(phone, 'phone')}"
    for email in _listed(contact, "emails"):
        yield f"EMAIL{_type(email)}:{_value(email, 'email')}"
    for url in _listed(contact, "urls"):
        yield f"URL{_type(url)}:{_value(url, 'url')}"
    for address in _listed(contact, "addresses"):
        yield f"ADR{_type(address)}:;;" + ";".join(_value(address, part) for part in _ADDRESS)
    org = contact.get("org")
    if isinstance(org, Mapping):
        yield f"ORG:{_value(org, 'company')};{_value(org, 'department')}"
        if org.get("title"):
            yield f"TITLE:{_value(org, 'title')}"
    if contact.get("birthday"):
        yield f"BDAY:{_value(contact, 'birthday')}"


def _listed(contact: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = contact.get(key) or []
    if not isinstance(found, list) or len(found) > MOST or not all(isinstance(one, Mapping) for one in found):
        raise faults.invalid(f"contacts.{key} must be a list of at most {MOST} objects")
    return found


def _type(about: Mapping[str, Any]) -> str:
    word = about.get("type")
    return f";type={word}" if isinstance(word, str) and _WORD.fullmatch(word) else ""


def _value(about: Mapping[str, Any], key: str) -> str:
    value = about.get(key)
    if value is not None and not isinstance(value, str):
        raise faults.invalid(f"{key} of a contact must be a text")
    return _escaped(value or "")


def _escaped(text: str) -> str:
    return re.sub(r"([\\;,])", r"\\\1", _plain(text))


def _plain(text: str) -> str:
    """Return a text without what would begin another line of the card."""
    return "".join(one if one.isprintable() else " " for one in text).strip()
