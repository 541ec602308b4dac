"""Checks a text and the number of its receiver before it is sent. Pure."""

from __future__ import annotations

from orchestrator.accounts import phones
from orchestrator.errors import OrchestratorError

MAX_TEXT = 4096
"""Characters of a text. Each takes up to 12 bytes of a message, which has no more than 64 KiB."""


def check(to: str, text: str) -> str:
    """Check that a text can be sent, and return the digits of the receiver's number.

    Args:
        to: The number, with + and country code.
        text: The text.

    Raises:
        OrchestratorError: The number or the text is not valid; the message quotes neither.
    """
    try:
        number = phones.parse(to)
    except phones.NotANumber as error:
        raise OrchestratorError(f"the number of the receiver: {error}", key="bad_number") from None
    if not text.strip():
        raise OrchestratorError("the text is empty", key="bad_text")
    if len(text) > MAX_TEXT:
        raise OrchestratorError(
            f"the text is too long: a message has at most {MAX_TEXT:,} characters", key="bad_text"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OrchestratorError("the text is not valid UTF-8", key="bad_text") from None
    return number
