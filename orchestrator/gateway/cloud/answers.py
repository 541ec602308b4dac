"""What the Cloud API answers: accounts, groups, files and what was sent, in its words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from orchestrator.control.view import AccountView
from orchestrator.gateway.cloud import ids

Json: TypeAlias = dict[str, Any]

APP: Final = "orchestrator"
"""What is told of the "app" that a token belongs to."""
DONE: Final[Json] = {"success": True}
_PRODUCT: Final = {"messaging_product": "whatsapp"}


def sent(row: Mapping[str, Any], to: str) -> Json:
    """Return the answer about a message that was taken.

    Args:
        row: Its row in the outbox, as `sending.row.Row.as_json` has it.
        to: What the client calls the receiver.
    """
    name = row["id"] or ids.of_row(row["row"])
    state = "accepted" if row["state"] == "sent" else "queued"
    return {
        **_PRODUCT,
        "contacts": [{"input": to} | receiver(row["to"])],
        "messages": [{"id": name, "message_status": state}],
    }


def receiver(chat: str) -> Json:
    """Return by what a chat is known: a person by number or user id, a group by its id."""
    if ids.is_group(chat):
        return {"wa_id": chat, "group_id": chat}
    found = {"wa_id": ids.digits_of(chat), "user_id": ids.user_id(chat)}
    return {key: value for key, value in found.items() if value is not None}


def number(view: AccountView, digits: str | None) -> Json:
    """Return what is known of an account: as a phone number, and as the business account around it.

    Nothing here rates the number, so its quality is never said to be good.

    Args:
        view: The account.
        digits: Its number.
    """
    return {
        "id": digits or view.name,
        "display_phone_number": f"+{digits}" if digits else "",
        "verified_name": view.name,
        "name": view.name,
        "quality_rating": "UNKNOWN",
        "status": "CONNECTED" if view.state == "connected" else "DISCONNECTED",
        "code_verification_status": "VERIFIED" if digits else "NOT_VERIFIED",
        "account_mode": "LIVE",
        "platform_type": "NOT_APPLICABLE",
        "is_official_business_account": False,
    }


def token(scopes: frozenset[str]) -> Json:
    """Return what is told of a client's own token.

    Args:
        scopes: What the token may be used for.
    """
    theirs = {"read": "whatsapp_business_management", "send": "whatsapp_business_messaging"}
    return {
        "data": {
            "app_id": APP,
            "type": "SYSTEM_USER",
            "application": APP,
            "expires_at": 0,
            "data_access_expires_at": 0,
            "is_valid": True,
            "scopes": [theirs[one] for one in theirs if one in scopes],
        }
    }


def apps() -> Json:
    """Return which apps get webhooks: they are in the configuration, so there is nothing to subscribe."""
    return {"data": [{"whatsapp_business_api_data": {"id": APP, "name": APP, "link": ""}}]}


def media(media_id: str, about: Mapping[str, Any], url: str) -> Json:
    """Return what is known of a file.

    Args:
        media_id: Its identifier.
        about: Its `mime_type`, `sha256` and `size`, each of which may be None.
        url: Where it can be fetched, with the same token.
    """
    return {
        **_PRODUCT,
        "url": url,
        "mime_type": about.get("mime_type") or "application/octet-stream",
        "sha256": about.get("sha256") or "",
        "file_size": about.get("size") or 0,
        "id": media_id,
    }


def group(about: Mapping[str, Any]) -> Json:
    """Return what is known of a group, as `sending.asks.Group.as_json` has it."""
    return {
        **_PRODUCT,
        "id": about["id"],
        "subject": about["subject"],
        "description": about["description"] or "",
        "creation_timestamp": about["created_at"] or 0,
        "suspended": False,
        "join_approval_mode": "auto_approve",
        "total_participant_count": about["member_count"],
        "participants": [_member(one) for one in about.get("members", ())],
    }


def groups(listed: Mapping[str, Any]) -> Json:
    """Return all groups of an account."""
    return {"data": [group(one) for one in listed["groups"]], "paging": {"cursors": {}}}


def changed(group_id: str) -> Json:
    """Return the answer about a group that was changed. It is done already: the request has no other id."""
    return {**_PRODUCT, **DONE, "request_id": group_id, "id": group_id}


def _member(about: Mapping[str, Any]) -> Json:
    found = {"wa_id": ids.wa_id(about["phone"]), "user_id": ids.user_id(about["id"])}
    return {key: value for key, value in found.items() if value is not None}
