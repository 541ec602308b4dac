"""Why something was not sent: what the library says → words for people, without anybody's number. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.worker.outcomes import quote

NOT_CONNECTED = "the account is not connected"
"""What a process says that has no link at the moment."""

_NO_ANSWER = "WhatsApp did not answer in time; the message may still arrive"
_NOTHING_SENT = "WhatsApp did not answer what has to be asked before anything is sent"
_CUT = "the connection was lost; the message may still arrive"

# Of WhatsApp's numbers only these have a meaning that is known; neonize passes on the number alone.
_REFUSALS = {
    "403": "WhatsApp refuses the message: the account may not write in this chat",
    "404": "this number is not on WhatsApp",
    "429": "WhatsApp refuses the message: too many messages in a short time",
    "463": (
        "WhatsApp refuses the message: this receiver takes none from this account, or the account"
        " currently may not write to people who have not written to it"
    ),
    "475": "WhatsApp refuses the message: the account has started as many new chats as it currently may",
}
_REFUSED = re.compile(r"(?:server returned error|info query returned status) (\d{3})\b")
_TROUBLE = re.compile(r"info query returned status 5\d\d\b")
"""What WhatsApp's servers answer to what the library asks before it sends, while something ails them."""
_CAUSES = (
    ("websocket not connected", NOT_CONNECTED),
    ("store doesn't contain a device JID", NOT_CONNECTED),
    ("no LID found", "this number is not on WhatsApp"),
    ("not participating in that group", "the account is not in this group"),
    ("group does not exist", "there is no such group"),
    ("timed out", _NO_ANSWER),
    ("deadline exceeded", _NO_ANSWER),
    ("websocket disconnected", _CUT),
    ("context canceled", _CUT),
    ("failed to encrypt", "the message could not be encrypted for any device of the receiver"),
)
"""A part of what neonize's send_message() raises, and our words. The first that fits counts."""


_BEFORE = (
    "websocket not connected",
    "store doesn't contain a device JID",
    "failed to encrypt",
    "failed to get device list",
    "failed to get group info",
    "failed to get group members",
)
"""What it raises before anything is sent, and another try may end otherwise."""
_FOR_GOOD = (
    "no LID found",
    "not participating in that group",
    "group does not exist",
    "failed to marshal",
)
"""What it raises before anything is sent, and another try would not change."""


_AFTER_A_CUT = "websocket not connected"

Certainty: TypeAlias = Literal["refused", "before", "unknown"]
"""What is certain of something that was not sent in good order: WhatsApp has refused it, nothing has left, or
nobody knows whether anything has."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call of the library's did not send something in good order.

    Attributes:
        certainty: What is certain of it.
        why: In plain words, without anybody's number.
        code: WhatsApp's number for it, None if it has none.
    """

    certainty: Certainty
    why: str
    code: int | None = None


def failure(error: str) -> Failure:
    """Say what an error means for the message that was to be sent.

    An answer of WhatsApp's to a question, such as which devices somebody has, is about the message, too: the
    library asks before it sends, and sends nothing if the answer is an error. An error of WhatsApp's own
    passes.

    Args:
        error: What the library's call raised; it may hold the receiver's number.
    """
    why = why_not_sent(error)
    if _TROUBLE.search(error):
        return Failure("before", _NOTHING_SENT)
    if match := _REFUSED.search(error):
        return Failure("refused", why, int(match[1]))
    if any(part in error for part in _FOR_GOOD):
        return Failure("refused", why)
    # By itself, the library says so of a message that it could not send once more after a cut.
    if error == _AFTER_A_CUT or not any(part in error for part in _BEFORE):
        return Failure("unknown", _CUT if error == _AFTER_A_CUT else why)
    return Failure("before", _NOTHING_SENT if why in (_NO_ANSWER, _CUT) else why)


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
