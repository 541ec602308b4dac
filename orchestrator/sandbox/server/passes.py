"""What allows a linked client to upload attachments."""

from __future__ import annotations

import base64
import hmac
import time

PASS_SECONDS = 21600
"""Seconds for which a client may upload with what it was given, as `media_conn` tells it."""


class Passes:
    """What allows a linked client to upload: given out when it asks for the media host.

    Args:
        secret: Makes the passes of one sandbox; they hold across its restart.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self) -> str:
        """Return a pass that is good from now on."""
        until = (int(time.time()) + PASS_SECONDS).to_bytes(8)
        return base64.urlsafe_b64encode(until + self._seal(until)).decode()

    def is_good(self, text: str) -> bool:
        """Tell whether a pass is of this sandbox and still holds."""
        try:
            data = base64.urlsafe_b64decode(text)
        except ValueError:
            return False
        until, seal = data[:8], data[8:]
        return hmac.compare_digest(seal, self._seal(until)) and int.from_bytes(until) > time.time()

    def _seal(self, until: bytes) -> bytes:
        return hmac.digest(self._secret, until, "sha256")
