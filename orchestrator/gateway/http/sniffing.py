"""As which of eleven harmless types a file is served, by its first bytes, or as just bytes. Pure.

What the sender calls a file is not believed, and nothing that a browser would run is on the list.
"""

from __future__ import annotations

from typing import Final

from orchestrator.sending import media_types

OTHER: Final = media_types.OTHER
HEAD: Final = media_types.HEAD_BYTES
"""How many bytes are looked at."""
TYPES: Final = frozenset(
    {
        "audio/aac", "audio/amr", "audio/mp4", "audio/mpeg", "audio/ogg", "image/gif", "image/jpeg",
        "image/png", "image/webp", "video/3gpp", "video/mp4",
    }
)  # fmt: skip
"""All types that a file can be said to have, beside `OTHER`."""


def media_type(head: bytes) -> str:
    """Return the type of a file.

    Args:
        head: The first `HEAD` bytes.
    """
    found = media_types.sniff(head).partition(";")[0]
    return found if found in TYPES else OTHER
