"""The paths of the Cloud API: `/vNN.N/ID/EDGE`. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PATH: Final = re.compile(r"/(v[0-9]{1,3}\.[0-9]{1,3})(?:/.*)?", re.ASCII | re.DOTALL)
_TOKEN: Final = "debug_token"


class Path(NamedTuple):
    """What a path names.

    Attributes:
        version: The version of the API, any.
        what: The number, name, group or file that is meant; empty for none.
        edge: What of it; empty: it itself.
    """

    version: str
    what: str
    edge: str


def is_cloud(path: str) -> bool:
    """Tell whether a path is one of the Cloud API."""
    return _PATH.fullmatch(path) is not None


def read(path: str) -> Path | None:
    """Return what a path names, None if there is nothing at such a path.

    Args:
        path: The path, decoded.
    """
    match = _PATH.fullmatch(path)
    parts = path.strip("/").split("/")[1:]
    if match is None or not 1 <= len(parts) <= 2 or not all(parts):
        return None
    what, edge = (*parts, "")[:2]
    return Path(match[1], "", what) if parts == [_TOKEN] else Path(match[1], what, edge)
