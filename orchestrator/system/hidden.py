"""Characters that nobody sees and that change what is seen: no log, terminal or file for people gets one.

Some steer a terminal, some end a line, some turn the order of what follows, some have no width. Python's
`str.isprintable` is false for each of them. `accounts.characters` goes by that, for single lines.
"""

from __future__ import annotations

from typing import Final

_RANGES: Final = (
    (0x00, 0x1F),  # C0: escape, bell, carriage return, …
    (0x7F, 0x9F),  # delete, and C1, where one character begins an escape sequence
    (0xAD, 0xAD),  # soft hyphen
    (0x061C, 0x061C),  # Arabic letter mark
    (0x180E, 0x180E),  # Mongolian vowel separator
    (0x200B, 0x200F),  # zero width, and marks of direction
    (0x2028, 0x202E),  # separators of lines and paragraphs, embeddings and overrides of direction
    (0x2060, 0x206F),  # word joiner, isolates of direction, and what is deprecated
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFF9, 0xFFFB),  # interlinear annotation
    (0xE0000, 0xE007F),  # tags
)


def _written_out(number: int) -> str:
    """Return a character as JSON writes it, which is understood in other texts, too."""
    if number < 0x10000:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


HIDDEN: Final = {number: _written_out(number) for first, last in _RANGES for number in range(first, last + 1)}
"""Each character's number, and how it is written out: a table for `str.translate`."""
_IN_LINES: Final = {number: text for number, text in HIDDEN.items() if chr(number) not in "\t\n"}


def write_out(text: str) -> str:
    """Return a text of several lines with what nobody sees written out by its number.

    Tabs and line feeds stay. A lone surrogate stays, too: it is for whoever encodes the text.
    """
    # Most texts have none of them, and a test is cheaper than the table.
    return text if text.isascii() and text.isprintable() else text.translate(_IN_LINES)
