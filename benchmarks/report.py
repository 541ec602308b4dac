"""Tables for people, which can be pasted anywhere."""

from __future__ import annotations


def table(title: str, *rows: tuple[str, ...]) -> None:
    """Print rows under a title, each column as wide as it needs to be."""
    print(f"\n{title}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())


def megabytes(count: float) -> str:
    """Write a number of bytes in megabytes (10^6)."""
    return f"{count / 1e6:.1f} MB"


def kilobytes(count: float) -> str:
    """Write a number of bytes in kilobytes (10^3)."""
    return f"{count / 1e3:.0f} kB"


def percent(share: float) -> str:
    """Write a share of 1 in percent."""
    return f"{100 * share:.1f} %"
