"""Where attachments lie: uploaded and fetched over HTTPS, encrypted by their senders."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from orchestrator.sandbox.server.http import Request, Response, json_response

if TYPE_CHECKING:
    from orchestrator.sandbox.server.hub import Hub

HOST = "mmg.whatsapp.net"
KINDS = ("image", "video", "audio", "document", "sticker")


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


def media_id(blob_sha256: bytes) -> str:
    """Return the name under which a blob is kept: its hash, in URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(blob_sha256).decode().rstrip("=")


def direct_path(blob_id: str) -> str:
    """Return the path a message names; clients append to its query, so it must have one."""
    return f"/v/{blob_id}?ccb=11-4"


def stored_url(blob_id: str) -> str:
    """Return the whole address of a blob."""
    return f"https://{HOST}{direct_path(blob_id)}"


async def handle(hub: Hub, request: Request) -> Response:
    """Answer an upload or a download; anything else is recorded and refused."""
    parts = request.path.strip("/").split("/")
    match request.method, parts:
        case "POST", ["mms", kind, token] if kind in KINDS:
            if not hub.media_passes.is_good(request.query.get("auth", "")):
                return json_response({"error": "only a linked client may upload"}, 401)
            return _upload(hub, kind, token.rstrip("="), request.body)
        case "GET", ["v", blob_id]:
            blob = hub.store.media(blob_id)
            hub.events.add("media-fetched", id=blob_id, found=blob is not None)
            return Response(404) if blob is None else Response(200, blob)
    hub.events.add("unknown-request", method=request.method, path=request.path)
    return json_response({"error": "nothing lives here"}, 404)


def _upload(hub: Hub, kind: str, token: str, blob: bytes) -> Response:
    blob_id = media_id(hashlib.sha256(blob).digest())
    if token != blob_id:
        return json_response({"error": "the name is not the hash of the content"}, 400)
    hub.store.save_media(blob_id, kind, blob)
    hub.events.add("media-stored", id=blob_id, kind=kind, size=len(blob))
    answer = {"url": stored_url(blob_id), "direct_path": direct_path(blob_id), "handle": blob_id}
    return json_response(answer)
