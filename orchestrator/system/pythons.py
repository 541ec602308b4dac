"""The versions of Python that this program is tried on, each time it is changed: `.ci/run` does that.

`multiprocess_private` and other modules use private names, which any new version may change. So
`pyproject.toml` allows installation on these versions only.
"""

from __future__ import annotations

TRIED = ((3, 11), (3, 12), (3, 13))


def is_tried(version: tuple[int, ...]) -> bool:
    """Tell whether this program was tried on a version of Python; its first two numbers count."""
    return version[:2] in TRIED


def tried() -> str:
    """Return the versions for people."""
    *others, last = (".".join(map(str, version)) for version in TRIED)
    return f"{', '.join(others)} or {last}"
