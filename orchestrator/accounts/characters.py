"""Names characters that are invisible or look like others, and says where they are. Pure.

Keys, names, numbers and addresses are plain ASCII. A no-break space, a curly quote or a Cyrillic letter looks
right on every screen. A message that quotes the text does not help; a message that names the character does.
"""

from __future__ import annotations

_NAMES = {
    "\0": "null", "\t": "tab", "\n": "line feed", "\v": "vertical tab", "\f": "form feed",
    "\r": "carriage return", "\x1b": "escape", "\x7f": "delete", "\x85": "next line",
}  # fmt: skip
"""Unicode gives the control characters no names; these are the common ones."""
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode's categories of controls, invisible formatting, spaces, and separators of lines and paragraphs."""
_DASHES_AND_QUOTES = frozenset({"Pd", "Pi", "Pf"})
_PASS_FOR_OTHERS = "\u2212\u201a\u201e\u2032\u2033\u02b9\u02bc"
"""A minus sign, low quotes, primes and an apostrophe: other categories, but as easy to mistake."""


def describe(character: str) -> str:
    """Return a character's number and its name in Unicode, such as ``U+00A0 (NO-BREAK SPACE)``."""
    import unicodedata  # only when something is wrong

    name = unicodedata.name(character, "") or _NAMES.get(character)
    if name is None:
        name = (
            "half of a surrogate pair"
            if unicodedata.category(character) == "Cs"
            else "a character without a name"
        )
        name = "a control character" if unicodedata.category(character) == "Cc" else name
    return f"U+{ord(character):04X} ({name})"


def find_strange(text: str) -> int | None:
    """Return the index of the first character that is not printable ASCII; None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    return next((at for at, one in enumerate(text) if not (one.isascii() and one.isprintable())), None)


def find_unseen(text: str) -> int | None:
    """Return the index of the first invisible character other than a space; None if there is none."""
    if text.isprintable():
        return None
    import unicodedata

    return next(
        (at for at, one in enumerate(text) if one != " " and unicodedata.category(one) in _UNSEEN), None
    )


def find_deceptive(text: str) -> int | None:
    """Return the index of the first character that is invisible or looks like ASCII; None if there is none.

    Letters of other scripts do not count: this function is for text that may contain them.
    """
    if text.isascii() and text.isprintable():
        return None
    return next((at for at, one in enumerate(text) if _is_deceptive(one)), None)


def is_dash(character: str) -> bool:
    """Tell whether a character only looks like the ``-`` of an option."""
    import unicodedata

    return character != "-" and (unicodedata.category(character) == "Pd" or character == "\u2212")


def at(text: str, index: int) -> str:
    """Name a character of a text and its place, counted from 1."""
    return f"{describe(text[index])} as character {index + 1}"


def one_line(text: str, longest: int) -> str:
    """Return somebody else's text as one line that can be shown: printable, and not longer than that.

    Args:
        text: The text.
        longest: Characters at most; what is cut off is marked by an ellipsis.
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def remark(text: str) -> str:
    """Return the remark for a message that quotes a name; empty if the name is ASCII."""
    index = None if text.isascii() else next(at for at, one in enumerate(text) if not one.isascii())
    return "" if index is None else f" (it contains {at(text, index)})"


def _is_deceptive(one: str) -> bool:
    if one.isascii():
        return not one.isprintable()
    import unicodedata

    category = unicodedata.category(one)
    if category in _UNSEEN or category in _DASHES_AND_QUOTES or one in _PASS_FOR_OTHERS:
        return True
    plain = unicodedata.normalize("NFKC", one)
    return len(plain) == 1 and plain.isascii()
