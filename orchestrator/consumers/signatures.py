"""How a receiver of a webhook knows that a request is ours: Standard Webhooks, and ``X-Hub-Signature-256``.

https://www.standardwebhooks.com describes the first; Meta's platforms use the second.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

ID: Final = b"webhook-id"
TIMESTAMP: Final = b"webhook-timestamp"
SIGNATURE: Final = b"webhook-signature"
HUB_SIGNATURE: Final = b"x-hub-signature-256"
NAMES: Final = frozenset((ID, TIMESTAMP, SIGNATURE, HUB_SIGNATURE))
"""The headers that are ours alone, in lower case."""


class Signer:
    """Signs what is sent to one receiver.

    Args:
        secrets: The keys of Standard Webhooks. While a secret is rotated there are two, and each body has two
            signatures: a receiver that knows either is content. Without any there is no signature.
        app_secret: The key of ``X-Hub-Signature-256``, if the receiver wants that, too.
    """

    __slots__ = ("_app_secret", "_secrets")

    def __init__(self, secrets: Sequence[bytes], app_secret: bytes | None = None) -> None:
        self._secrets = tuple(secrets)
        self._app_secret = app_secret

    def headers(self, event: str, timestamp: int, body: bytes) -> list[tuple[bytes, bytes]]:
        """Return the headers of a request.

        Args:
            event: The event's id, which stays the same however often it is tried.
            timestamp: The time of this try, in Unix seconds. Receivers refuse what is five minutes old.
            body: What is sent, byte by byte.
        """
        name, at = event.encode(), b"%d" % timestamp
        found = [(ID, name), (TIMESTAMP, at)]
        if self._secrets:
            signed = b"%b.%b.%b" % (name, at, body)
            signatures = (
                b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in self._secrets
            )
            found.append((SIGNATURE, b" ".join(signatures)))
        if self._app_secret is not None:
            digest = hmac.digest(self._app_secret, body, "sha256").hex()
            found.append((HUB_SIGNATURE, b"sha256=" + digest.encode()))
        return found
