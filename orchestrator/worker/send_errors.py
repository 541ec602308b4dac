"""Why a text was not sent: what the library says → words for people, without anybody's number. Pure."""

from __future__ import annotations

import re

from orchestrator.worker.outcomes import quote

NOT_CONNECTED = "the account is not connected"
"""What a process says that has no link at the moment."""

_NO_ANSWER = "WhatsApp did not answer in time; the message may still arrive"
_CUT = "the connection was lost; the message may still arrive"

# Of WhatsApp's numbers only these have a meaning that is known; neonize passes on the number alone.
_REFUSALS = {
    "404": "WhatsApp knows no such number",
    "429": "WhatsApp refuses it: too many messages in too short a time",
    "463": (
        "WhatsApp refuses it: this receiver takes no texts from this account, or for now the account may not"
        " write to people who have not written to it"
    ),
    "475": "WhatsApp refuses it: the account has begun as many new chats as it may for now",
}
_REFUSED = re.compile(r"(?:server returned error|info query returned status) (\d{3})\b")
_CAUSES = (
    ("websocket not connected", NOT_CONNECTED),
    ("store doesn't contain a device JID", NOT_CONNECTED),
    ("no LID found", "WhatsApp knows no such number"),
    ("timed out", _NO_ANSWER),
    ("deadline exceeded", _NO_ANSWER),
    ("websocket disconnected", _CUT),
    ("context canceled", _CUT),
    ("failed to encrypt", "it could not be encrypted for any device of the receiver"),
)
"""A part of what neonize's send_message() raises, and our words. The first that fits counts."""


def why_not_sent(error: str) -> str:
    """Say why the library could not send a text.

    Args:
        error: What its call raised; it may hold the receiver's number.
    """
    if match := _REFUSED.search(error):
        return _REFUSALS.get(match[1], f"WhatsApp refuses it, with the number {match[1]}")
    for part, text in _CAUSES:
        if part in error:
            return text
    return f"the library could not send it: {quote(error)}"
