"""What may be sent as a text, and to whom. Pure."""

from __future__ import annotations

from orchestrator.accounts import phones
from orchestrator.errors import OrchestratorError

MAX_TEXT = 4096
"""Characters of a text. Each takes up to 12 bytes of a message, which has no more than 64 KiB."""


def check(to: str, text: str) -> str:
    """See that a text can be sent; return the digits of the number it is for.

    Args:
        to: The number, with + and country code.
        text: The text.

    Raises:
        OrchestratorError: It cannot; the message quotes neither.
    """
    try:
        number = phones.parse(to)
    except phones.NotANumber as error:
        raise OrchestratorError(f"the number to send to: {error}", key="bad_number") from None
    if not text.strip():
        raise OrchestratorError("there is no text to send", key="bad_text")
    if len(text) > MAX_TEXT:
        raise OrchestratorError(
            f"the text is too long: {MAX_TEXT:,} characters may be sent at once", key="bad_text"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OrchestratorError("the text is not valid UTF-8", key="bad_text") from None
    return number
