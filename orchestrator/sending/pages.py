"""What a page says of itself, for the preview of a link. Pure.

The page is a stranger's: it is looked at with a few patterns whose work is bounded by its length, and never
built into a tree. What they find is text, and is shown as such.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

from orchestrator.accounts.characters import one_line
from orchestrator.sending.forms import MAX_LINK

MAX_PAGE: Final = 256 * 1024
"""Bytes of a page that are looked at: what it says of itself stands at its beginning."""
MAX_TITLE: Final = 200
MAX_DESCRIPTION: Final = 300

_LINK: Final = re.compile(r"https?://[^\s<>\"'`{}|\\^]{1,2048}", re.IGNORECASE)
_BEHIND: Final = ".,;:!?*_~"
"""What ends a sentence, and not a link."""
_META: Final = re.compile(r"<meta\s([^<>]{1,2000})>", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title(?:\s[^<>]{0,200})?>([^<]{1,1000})<", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    r"(?<![a-z:-])([a-z:-]{1,30})\s{0,3}=\s{0,3}(?:\"([^\"]{0,2000})\"|'([^']{0,2000})')", re.IGNORECASE
)
_CHARSET: Final = re.compile(rb"charset\s{0,3}=\s{0,3}[\"']?([A-Za-z0-9_-]{1,30})")
_CHARSETS: Final = {"iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252"}
"""Old names of encodings, as browsers read them (WHATWG). All others are taken for UTF-8."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says of itself.

    Attributes:
        title: Its title.
        description: What it is about, None if it does not say.
        image: The URL of its picture, None if it has none.
    """

    title: str = field(repr=False)
    description: str | None = field(default=None, repr=False)
    image: str | None = field(default=None, repr=False)


def first_link(text: str) -> str | None:
    """Return the first link of a text, None if there is none."""
    match = _LINK.search(text)
    if match is None:
        return None
    link = match[0].rstrip(_BEHIND)
    for opening, closing in ("()", "[]"):
        while link.endswith(closing) and link.count(closing) > link.count(opening):
            link = link[:-1].rstrip(_BEHIND)
    return link if len(link) <= MAX_LINK and len(link) > len("https://") else None


def read(data: bytes, url: str) -> Page | None:
    """Return what a page says of itself, None if it has no title.

    Args:
        data: The page, or its beginning.
        url: Where it is from: the place of its picture may be given from there.
    """
    data = data[:MAX_PAGE]
    named = _CHARSET.search(data[:2048])
    text = data.decode(_CHARSETS.get(named[1].decode().lower() if named else "", "utf-8"), "replace")
    said: dict[str, str] = {}
    for match in _META.finditer(text):
        found = {one[1].lower(): one[2] or one[3] or "" for one in _ATTRIBUTE.finditer(match[1])}
        name = (found.get("property") or found.get("name") or "").lower()
        if found.get("content"):
            said.setdefault(name, found["content"])
    title = _TITLE.search(text)
    shown = said.get("og:title") or said.get("twitter:title") or (title[1] if title else "")
    about = said.get("og:description") or said.get("description") or ""
    shown, about = _words(shown, MAX_TITLE), _words(about, MAX_DESCRIPTION)
    return (
        Page(shown, about or None, _image(said.get("og:image") or said.get("twitter:image"), url))
        if shown
        else None
    )


def _words(text: str, longest: int) -> str:
    return one_line(html.unescape(text), longest)


def _image(place: str | None, url: str) -> str | None:
    if not place:
        return None
    try:
        found = urljoin(url, html.unescape(place).strip())
    except ValueError:
        return None
    return found if found.startswith(("http://", "https://")) and len(found) <= MAX_LINK else None
