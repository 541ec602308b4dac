"""Previews of links: the gateway looks at the page by the rules for links, and only if it is asked to.

Whatever goes wrong, the text is sent without a preview. The page's server sees the address of this machine.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.links import Links
from orchestrator.sending import pages

SECONDS: Final = 10.0
"""How long all of it may take: somebody waits."""
MOST_PAGE: Final = 8 << 20
"""Bytes of a page; only the first `pages.MAX_PAGE` are read."""
MOST_PICTURE: Final = 2 << 20
"""Bytes of a picture. The service makes a small one of it, in a process of its own."""
_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True)
class Found:
    """What is shown of a link.

    Attributes:
        preview: `url`, `title` and `description`, as `sending.wire` has them.
        picture: The page's picture, as it is; empty without one.
    """

    preview: dict[str, Any] = field(repr=False)
    picture: bytes = field(default=b"", repr=False)


class Previews:
    """Looks at pages.

    Args:
        links: Fetches them.
    """

    def __init__(self, links: Links) -> None:
        self._links = links

    async def find(self, text: str) -> Found | None:
        """Return what is shown of the first link of a text; None if there is none, or nothing to show."""
        link = pages.first_link(text)
        if link is None:
            return None
        page: pages.Page | None = None
        picture = b""
        try:
            async with asyncio.timeout(SECONDS):
                page = await self._page(link)
                if page is not None and page.image is not None:
                    picture = await self._picture(page.image)
        except (OrchestratorError, TimeoutError):
            pass  # a page without its picture is shown nevertheless
        if page is None:
            return None
        return Found({"url": link, "title": page.title, "description": page.description}, picture)

    async def _page(self, link: str) -> pages.Page | None:
        data = bytearray()
        async with self._links.open(link, most=MOST_PAGE) as found:
            if found.media_type not in _PAGES:
                return None
            async for piece in found.pieces:
                data += piece
                if len(data) >= pages.MAX_PAGE:
                    break
        return pages.read(bytes(data), link)

    async def _picture(self, link: str) -> bytes:
        async with self._links.open(link, most=MOST_PICTURE) as found:
            return b"".join([piece async for piece in found.pieces])
