"""Words that follow numbers."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number and what there is so many of.

    Args:
        number: The number.
        one: What follows 1, such as ``event waits``.
        many: What follows other numbers; `one` with an ``s`` by default.
    """
    return f"{number:d} {one if number == 1 else many or f'{one}s'}"


def size(count: int) -> str:
    """Write a number of bytes for people, such as ``412.0 kB``."""
    for unit, of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= of:
            return f"{count / of:,.1f} {unit}"
    return counted(count, "byte")
