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
    "404": "this number is not on WhatsApp",
    "429": "WhatsApp refuses the message: too many messages in a short time",
    "463": (
        "WhatsApp refuses the message: this receiver takes none from this account, or the account"
        " currently may not write to people who have not written to it"
    ),
    "475": "WhatsApp refuses the message: the account has started as many new chats as it currently may",
}
_REFUSED = re.compile(r"(?:server returned error|info query returned status) (\d{3})\b")
_CAUSES = (
    ("websocket not connected", NOT_CONNECTED),
    ("store doesn't contain a device JID", NOT_CONNECTED),
    ("no LID found", "this number is not on WhatsApp"),
    ("timed out", _NO_ANSWER),
    ("deadline exceeded", _NO_ANSWER),
    ("websocket disconnected", _CUT),
    ("context canceled", _CUT),
    ("failed to encrypt", "the message could not be encrypted for any device of the receiver"),
)
"""A part of what neonize's send_message() raises, and our words. The first that fits counts."""


def why_not_sent(error: str) -> str:
    """Say why the library could not send a text.

    Args:
        error: What its call raised; it may hold the receiver's number.
    """
    if match := _REFUSED.search(error):
        return _REFUSALS.get(match[1], f"WhatsApp refuses the message (error {match[1]})")
    for part, text in _CAUSES:
        if part in error:
            return text
    return f"neonize could not send the message: {quote(error)}"
