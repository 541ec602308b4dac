"""HTTP/1.1 on a channel, parsed by h11: for media, and for the control interface."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from orchestrator.sandbox.server.channel import Closed

MAX_BODY = 64 * 1024 * 1024
"""Bytes a request may carry; WhatsApp's own limit for media is 16 MiB to 2 GiB by kind."""


class Stream(Protocol):
    """What a request comes in on; `channel.Channel` is one."""

    async def read(self) -> bytes:
        """Return some bytes, or raise `Closed`."""

    def write(self, data: bytes) -> None:
        """Send bytes without waiting."""

    async def drain(self) -> None:
        """Wait until most is sent, or raise `Closed`."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/octet-stream"


class _Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is answered without its body being read."""

    def __init__(self, response: Response, *, head_only: bool) -> None:
        self.response = response
        self.head_only = head_only


def json_response(value: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON value
    """Answer with a JSON document."""
    return Response(status, json.dumps(value).encode() + b"\n", "application/json")


async def serve(
    stream: Stream,
    handle: Callable[[Request], Awaitable[Response]],
    begun: bytes = b"",
    refuse: Callable[[Request], Response | None] = lambda _: None,
) -> None:
    """Answer requests until the client goes; what is no HTTP gets a 400 and the end.

    Args:
        stream: The connection.
        handle: Makes the answer to each request.
        begun: What was read of the first request already.
        refuse: Answers requests that are to be refused, by their head alone: the body is not there yet. The
            connection ends then.
    """
    connection = h11.Connection(h11.SERVER)
    if begun:
        connection.receive_data(begun)
    try:
        while True:
            request = await _read(stream, connection, refuse)
            await _send(stream, connection, await handle(request), head_only=request.method == "HEAD")
            if connection.our_state is not h11.DONE:
                return  # the client wants the connection closed
            connection.start_next_cycle()
    except _Refused as refused:
        await _send(stream, connection, refused.response, head_only=refused.head_only, close=True)
    except h11.RemoteProtocolError as error:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = error.error_status_hint
            await _send(stream, connection, json_response({"error": f"not HTTP: {error}"}, status))


async def _read(
    stream: Stream, connection: h11.Connection, refuse: Callable[[Request], Response | None]
) -> Request:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    stream.write(
                        connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                    )
                connection.receive_data(await stream.read())
            case h11.Request() as event:
                head = event
                refusal = refuse(_request(head, b""))
                if refusal is not None:
                    raise _Refused(refusal, head_only=event.method == b"HEAD")
            case h11.Data() as event:
                body += event.data
                if len(body) > MAX_BODY:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            case h11.EndOfMessage():
                assert head is not None
                return _request(head, bytes(body))
            case _:
                raise Closed("the client has gone")


def _request(head: h11.Request, body: bytes) -> Request:
    try:
        target = urlsplit(head.target.decode("latin-1"))
    except ValueError as error:
        raise h11.RemoteProtocolError(str(error)) from None
    return Request(
        head.method.decode("latin-1"),
        unquote(target.path),
        dict(parse_qsl(target.query, keep_blank_values=True)),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body,
    )


async def _send(
    stream: Stream,
    connection: h11.Connection,
    response: Response,
    *,
    head_only: bool = False,
    close: bool = False,
) -> None:
    headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
    if close:
        headers.append(("connection", "close"))
    reason = HTTPStatus(response.status).phrase.encode()
    head = h11.Response(status_code=response.status, headers=headers, reason=reason)
    data = connection.send(head) or b""
    if not head_only:
        data += connection.send(h11.Data(data=response.body)) or b""
    stream.write(data + (connection.send(h11.EndOfMessage()) or b""))
    await stream.drain()
