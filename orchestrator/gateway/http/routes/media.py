"""The files of messages. Strangers have sent them: nothing of ours opens one, and no browser is led to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from typing import IO, Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.files import OpenMedia
from orchestrator.gateway.http import models, outgoing, problems, sniffing
from orchestrator.gateway.http.asking import AccountName, Asker, MediaId, Reader, Sender
from orchestrator.gateway.http.describing import answers, file_of, problems_of
from orchestrator.gateway.http.forms import FORM, Incoming
from orchestrator.gateway.http.needs import Json
from orchestrator.gateway.http.routes.messages import known
from orchestrator.gateway.sending import owner_of
from orchestrator.gateway.uploads import Upload

router = APIRouter(prefix="/api/media", tags=["Messages"])
uploads = APIRouter(prefix="/api/accounts/{name}/media", tags=["Messages"])

_PIECE: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-store",
}


@router.get(
    "/{media}",
    summary="The file of a message",
    response_class=StreamingResponse,
    responses=file_of("The whole file, checked against the hash in the message.", sniffing.OTHER)
    | file_of("The bytes that were asked for.", sniffing.OTHER, 206)
    | problems_of(404, 409, 410, 416),
)
async def get_media(
    asker: Reader,
    media: MediaId,
    range_: Annotated[
        str | None,
        Header(alias="Range", max_length=200, description="One range of bytes.", examples=["bytes=0-1023"]),
    ] = None,
    if_range: Annotated[
        str | None, Header(alias="If-Range", max_length=200, description="The `ETag` of an answer before.")
    ] = None,
) -> Response:
    """Return the file of a message, or an upload. It is fetched from WhatsApp first, if it is not there yet.

    `media_pending` means that it is on its way: ask again. Treat the file as a stranger's.
    """
    found = await _uploaded(asker, media) or await _received(asker, media)
    try:
        head = await asyncio.to_thread(_head, found.file)
        name = found.about.get("file_name") if isinstance(found.about, dict) else None
        tag = f'"{found.sha256}"'
        headers = _HEADERS | {"ETag": tag, "Content-Disposition": disposition(name, media)}
        kind = sniffing.media_type(head)
        wanted = part(range_, found.size) if range_ and if_range in (None, tag) else None
        begin, end = wanted or (0, found.size)
        if wanted is not None and begin == end:
            found.file.close()
            return _not_there(found.size)
        if wanted is not None:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{found.size}"
        headers["Content-Length"] = str(end - begin)
    except BaseException:
        found.file.close()
        raise
    return StreamingResponse(_pieces(found.file, begin, end), 200 if wanted is None else 206, headers, kind)


async def _uploaded(asker: Asker, media: str) -> OpenMedia | None:
    """Open an upload, None if there is none of that name for the asker."""
    try:
        upload, file = await asker.services.uploads.open(media, asker.accounts())
    except OrchestratorError as error:
        if error.key != "file_missing":
            raise
        return None
    return OpenMedia(file, upload.size, upload.sha256, {"file_name": upload.name})


async def _received(asker: Asker, media: str) -> OpenMedia:
    """Open the file of a message.

    Raises:
        OrchestratorError: It cannot be had.
    """
    feed = asker.services.feed
    account, _ = await feed.find_media(media, asker.accounts())
    return await asker.wait_for(feed.media(account, media, asker.principal))


@uploads.post(
    "",
    summary="Upload a file",
    status_code=201,
    responses=answers(outgoing.Uploaded, 201) | problems_of(404, 413, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file itself, or a form with one file in the part `file`.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                FORM: {
                    "schema": {
                        "type": "object",
                        "properties": {"file": {"type": "string", "format": "binary"}},
                        "required": ["file"],
                    }
                },
            },
        }
    },
)
async def upload_media(
    asker: Sender,
    name: AccountName,
    file_name: Annotated[
        str | None,
        Query(max_length=255, description="What the file is called; by default, what the form says."),
    ] = None,
) -> Response:
    """Upload a file, to send it by its id as often as wanted, for 30 days.

    Its type is found out from its first bytes; what the request says of it is not believed.
    """
    asker.sees(name)
    await known(asker, name)
    incoming = Incoming(asker.request)
    largest = asker.services.sending.largest(name)
    upload = await asker.services.uploads.save(
        incoming.pieces(),
        name,
        owner_of(asker.principal),
        most=largest,
        name=lambda: file_name or incoming.name,
    )
    return JSONResponse(_about(upload), 201)


@uploads.get("/{media}", summary="About an upload", responses=answers(outgoing.Uploaded) | problems_of(404))
async def get_upload(asker: Sender, name: AccountName, media: MediaId) -> Response:
    """Return what is known of a file that was uploaded."""
    asker.sees(name)
    return JSONResponse(_about(await asker.services.uploads.find(media, (name,))))


@uploads.delete("/{media}", summary="Delete an upload", responses=answers(models.Nothing) | problems_of(404))
async def delete_upload(asker: Sender, name: AccountName, media: MediaId) -> Response:
    """Delete a file that was uploaded. What was sent with it stays sent, and what waits is sent."""
    asker.sees(name)
    await asker.services.uploads.delete(media, (name,))
    return JSONResponse({})


async def whole_upload(asker: Asker, media: str, accounts: Collection[str]) -> Response:
    """Return the file of an upload.

    Raises:
        OrchestratorError: There is none of that name for these accounts.
    """
    upload, file = await asker.services.uploads.open(media, accounts)
    headers = _HEADERS | {
        "ETag": f'"{upload.sha256}"',
        "Accept-Ranges": "none",
        "Content-Disposition": disposition(upload.name, media),
        "Content-Length": str(upload.size),
    }
    return StreamingResponse(_pieces(file, 0, upload.size), 200, headers, upload.mime_type)


def _about(upload: Upload) -> Json:
    return {
        "id": upload.id,
        "mime_type": upload.mime_type,
        "size": upload.size,
        "sha256": upload.sha256,
        "file_name": upload.name,
    }


def part(wanted: str, size: int) -> tuple[int, int] | None:
    """Return which bytes are asked for, from and up to; two equal numbers if the file does not have them.

    What is no single range of bytes is not understood: None, for the whole file, as RFC 9110 has it.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        return max(0, size - int(match[2])), size
    begin, end = int(match[1]), int(match[2]) + 1 if match[2] else max(size, int(match[1]) + 1)
    if end <= begin:
        return None
    return (begin, min(end, size)) if begin < size else (size, size)


def disposition(name: object, media: str) -> str:
    """Return the header that has a browser save a file, with the sender's name for it in a safe form."""
    plain = f'attachment; filename="{media}"'
    if not isinstance(name, str) or not name:
        return plain
    # Surrogates cannot be encoded; the event's name has none, but it is a stranger's.
    encoded = quote(name.encode("utf-8", "replace")[:255], safe="")
    return f"{plain}; filename*=UTF-8''{encoded}"


def _not_there(size: int) -> Response:
    headers = {"Content-Range": f"bytes */{size}"}
    return Response(problems.body("bad_range"), 416, headers, problems.MEDIA_TYPE)


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(sniffing.HEAD)


async def _pieces(file: IO[bytes], begin: int, end: int) -> AsyncIterator[bytes]:
    try:
        await asyncio.to_thread(file.seek, begin)
        left = end - begin
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(_PIECE, left))
            if not piece:
                raise EOFError("the file is shorter than it was")
            left -= len(piece)
            yield piece
    finally:
        file.close()
