"""How large the body of a request may be: larger for a file that is uploaded, small for a log-in. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

AROUND: Final = 64 * 1024
"""Bytes of a form around the file in it."""
LOG_IN: Final = 4096
"""Bytes of what somebody logs in with. Nobody knows yet who that is, so it may take no room."""
LOG_IN_PATH: Final = "/page/session"
"""Where browsers log in, without a token, and out."""
_UPLOADS: Final = re.compile(r"/(?:api/accounts|v[0-9]{1,3}\.[0-9]{1,3})/[^/]{1,200}/media", re.ASCII)


class Sizes(NamedTuple):
    """What bodies may have.

    Attributes:
        body: Bytes of any body.
        file: Bytes of a file that is uploaded.
    """

    body: int
    file: int

    def of(self, path: str) -> int:
        """Return how many bytes the body of a request may have.

        Args:
            path: What the request is for, without a query.
        """
        if path == LOG_IN_PATH:
            return min(self.body, LOG_IN)
        return max(self.body, self.file + AROUND) if _UPLOADS.fullmatch(path) else self.body
