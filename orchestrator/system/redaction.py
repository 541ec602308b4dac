"""Keep secrets and people out of logs: phone numbers, codes, keys, messages. Standard library only.

Everything that is logged goes through `redact`, in the parent and in the children. Most of it was worded by
others: the WhatsApp library prints log-in codes at DEBUG, and phone numbers at every level. `redact` hides
too much rather than too little, with the exceptions that make a log worth reading: times, dates, sizes,
process ids, ports, versions and paths stay. `tests/unit/system/test_redaction_table.py` has every form that
was tried, both ways. What is hidden, and how it is found, is in the modules of `redacting`.

Every pattern looks at each character a bounded number of times (possessive quantifiers, a look-behind where
a run must begin), so a line of a megabyte from the network costs a second at worst, and not the service.
"""

from __future__ import annotations

import logging
from typing import Final

from orchestrator.system.redacting import numbers, secrets, writing
from orchestrator.system.redacting.secrets import KEY, LINK_CODE, QR

__all__ = ["KEY", "LINK_CODE", "QR", "RedactingFilter", "redact"]

_ROUNDS: Final = 6


def redact(text: str) -> str:
    """Return a text without phone numbers, codes to log in with, keys, credentials, messages and names.

    Numbers become ``+49…78``, LIDs and groups ``…78@lid``, secrets a word in brackets, and what people wrote
    an ellipsis. Doing it twice changes nothing. The time is linear in the length of the text.
    """
    plain = numbers.with_plain_digits(text)
    if plain is text or plain == text:
        return _until_quiet(text)
    # Digits of other scripts stay as they were where nothing had to be hidden.
    redacted = _until_quiet(plain)
    return text if redacted == plain else redacted


def _until_quiet(text: str) -> str:
    # Where one thing was cut out of another, what is left can look like a third: once more, until it is
    # quiet. An ordinary line is at once, and more than three rounds were never seen.
    for _ in range(_ROUNDS):
        before, text = text, _redact(text)
        if text == before:
            break
    return text


def _redact(text: str) -> str:
    # What is whole goes first. Numbers go before what may hold them and is told apart by its length, and
    # after what is whole without.
    text = writing.mask_writing(text)
    text = secrets.mask_codes(text)
    text = secrets.mask_named(text)
    text = secrets.mask_bytes(text)
    text = numbers.mask(text)
    text = secrets.mask_urls(text)
    text = secrets.mask_tokens(text, _is_telling)
    text = secrets.mask_link_codes(text)
    return writing.mask_mail(text)


def _is_telling(text: str) -> bool:
    """Tell whether a text that somebody has encoded holds a phone number, a code or a message."""
    if numbers.mask(text) != text or writing.mask_writing(text) != text or secrets.mask_codes(text) != text:
        return True
    return writing.mask_mail(text) != text


class RedactingFilter(logging.Filter):
    """Redacts every record that passes, with its arguments, its traceback and its stack.

    It belongs on the handlers of the root logger: a filter of a logger does not see what comes from the
    loggers below it. The record itself is changed, so whatever handles it afterwards sees nothing else. It
    never raises; of a record whose arguments do not fit its text, the text is kept.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; return True, always."""
        if getattr(record, "redacted", False):
            return True
        try:
            record.msg = redact(_message(record))
        except Exception as error:  # noqa: BLE001 - logging must go on whatever it was given
            record.msg = f"[a message that cannot be shown: {type(error).__name__}]"
        record.args = ()
        try:
            if record.exc_info and not record.exc_text:
                record.exc_text = _formatter.formatException(record.exc_info)
            record.exc_text = redact(record.exc_text) if record.exc_text else None
            record.stack_info = redact(str(record.stack_info)) if record.stack_info else None
        except Exception as error:  # noqa: BLE001 - as above: an exception's own str() may fail
            record.exc_text = f"[a traceback that cannot be shown: {type(error).__name__}]"
            record.stack_info = None
        record.exc_info = None
        record.redacted = True
        return True


_formatter = logging.Formatter()


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong %-format, or an argument whose str() fails
        return f"{record.msg} [its arguments do not fit: {type(error).__name__}]"
