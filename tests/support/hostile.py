"""What a terminal, a log and a file for people must never get, and how to look for it."""

from __future__ import annotations

import re
from typing import Final

from orchestrator.system.hidden import HIDDEN

ESCAPES: Final = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\r\u202e\u2066\u200b\u200f\u2060\ufeff\u061c\u2028\x00"
"""What does harm where it is shown."""

_OURS: Final = re.compile(r"\x1b\[(?:[0-9;]*[mFKJAG]|\?(?:25|1049)[lh]|H|[0-9]*[ABCD])")
"""Colors, the few movements of the cursor that our own screens need, and the screen of `list --watch`."""
_FORBIDDEN: Final = re.compile("[" + "".join(map(re.escape, map(chr, HIDDEN))) + "\ud800-\udfff]")


def found_in(text: str, *, terminal: bool = False) -> set[str]:
    """Return the characters in a text that must not be there.

    Args:
        text: What was written.
        terminal: It was written to a terminal, which needs carriage returns, and understands colors.
    """
    if terminal:
        text = _OURS.sub("", text).replace("\r\n", "\n").replace("\r", "")
    return set(_FORBIDDEN.findall(text.replace("\n", ""))) - {"\t"}
