"""Where attachments lie: uploaded and fetched over HTTPS, encrypted by their senders."""

from __future__ import annotations

import base64
import hashlib

from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.faults import Who
from orchestrator.sandbox.server.http import Request, Response, json_response

HOST = "mmg.whatsapp.net"
KINDS = ("image", "video", "audio", "document", "sticker", "thumbnail-link", "sticker-pack")
"""What can be uploaded, as it is called in an address."""


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
            if fault := hub.strikes("upload-error", Who(0)):
                return json_response({"error": "refused by a fault"}, fault.params["status"])
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
