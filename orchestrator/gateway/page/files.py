"""The files of the page: the same for everybody, without a word about any account."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

BEFORE: Final = "/page/"
"""What the paths of the files begin with, and those of what only the page asks for."""
POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none';"
    " require-trusted-types-for 'script'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # A browser asks each time whether its copy is the present one: after an update, no page has half of it.
    "Cache-Control": "no-cache",
}
"""Headers of each file, beside those of all answers."""
MOST_NEEDS: Final = 99
"""The highest number on an icon. It stands for more, too."""

_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page.

    Attributes:
        data: What is in it.
        media_type: Its type.
        tag: Its ``ETag``.
    """

    data: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, data: bytes, media_type: str) -> File:
        """Return a file with its tag."""
        return cls(data, media_type, f'"{hashlib.sha256(data).hexdigest()[:32]}"')

    def is_known(self, if_none_match: str) -> bool:
        """Tell whether a browser has this file already.

        Args:
            if_none_match: The header ``If-None-Match``; empty without one.
        """
        tags = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
        return self.tag in tags or "*" in tags


class Files:
    """All files of the page, read once."""

    def __init__(self) -> None:
        folder = resources.files("orchestrator.gateway.page") / "static"
        self._files = _read(folder, BEFORE)
        self._files["/"] = self._files.pop(BEFORE + "index.html")
        self._files |= {f"{BEFORE}icon-{number}.svg": _icon(number) for number in range(MOST_NEEDS + 1)}

    def find(self, path: str) -> File | None:
        """Return the file at a path, None if there is none."""
        return self._files.get(path)

    def paths(self) -> frozenset[str]:
        """Return the paths of all files."""
        return frozenset(self._files)


@functools.cache
def shared() -> Files:
    """Return the files of this process, which are read at the first call."""
    return Files()


def _read(folder: Traversable, before: str) -> dict[str, File]:
    found: dict[str, File] = {}
    for one in folder.iterdir():
        if one.is_dir():
            found |= _read(one, f"{before}{one.name}/")
        elif (media_type := _TYPES.get(one.name.rpartition(".")[2])) is not None:
            found[before + one.name] = File.of(one.read_bytes(), media_type)
    return found


def _icon(number: int) -> File:
    """Return the icon with the number of accounts that need a person; without a number, all is well."""
    return File.of(icon(number).encode(), _TYPES["svg"])


def icon(number: int) -> str:
    """Return an icon of 32 by 32 as SVG.

    Args:
        number: How many accounts need a person, at most `MOST_NEEDS`, which stands for more, too.
    """
    mark = (
        '<path d="M7 9h18v11H15l-5 5v-5H7z" fill="none" stroke="#fff" stroke-width="2.4"'
        ' stroke-linejoin="round"/>'
    )
    if number:
        words = str(number)
        size = 20 if len(words) == 1 else 17
        mark = (
            f'<text x="16" y="{16 + size * 0.36:.1f}" fill="#fff" font-family="system-ui,sans-serif"'
            f' font-size="{size}" font-weight="700" text-anchor="middle">{words}</text>'
        )
    color = "#b42318" if number else "#0f766e"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="7" fill="{color}"/>{mark}</svg>\n'
    )
