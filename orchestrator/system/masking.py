"""How a phone number is shown to people. Standard library only, and fast to import, unlike `redaction`."""

from __future__ import annotations

import re
from typing import Final

ELLIPSIS: Final = "…"

_TWO_DIGITS: Final = re.compile("2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")
"""The calling codes of two digits in ITU-T E.164's list; 1 and 7 have one, and all others have three."""


def mask_number(digits: str) -> str:
    """Show a phone number as people may see it: calling code and last two digits, ``+49…78``.

    Args:
        digits: The number in international form; a plus in front does no harm. Of one that is too short to
            hide anything, and of what is no number, nothing is shown.
    """
    digits = digits.removeprefix("+")
    if len(digits) < 7 or not (digits.isascii() and digits.isdigit()):
        return ELLIPSIS
    length = 1 if digits[0] in "17" else 2 if _TWO_DIGITS.match(digits) else 3
    return f"+{digits[:length]}{ELLIPSIS}{digits[-2:]}"
