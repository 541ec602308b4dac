"""The HTTP server itself, with real sockets: what it refuses, who may stay, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.http_client import Connection, connect, in_loop, listener, raw, request, until

from orchestrator.gateway.http.crowd import FRESH_SECONDS, STALL_SECONDS, Phase
from orchestrator.gateway.http.peers import networks
from orchestrator.gateway.http.server import HttpServer

Address = tuple[str, int]


class Application:
    """Notes what comes, and answers when it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.came = asyncio.Event()
        self.answer = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        self.came.set()
        body = b""
        if scope["path"] != "/unread":
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                if not message["more_body"]:
                    break
        self.seen.append((scope["path"], body))
        await self.go.wait()
        peer = self.answer or str(scope["state"]["peer"]).encode()
        headers = [(b"content-length", str(len(peer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": peer})


class Running:
    def __init__(
        self, server: HttpServer, app: Application, stop: asyncio.Event, done: asyncio.Task[None]
    ) -> None:
        self.server, self.app, self.stop, self.done = server, app, stop, done
        self.address: Any = None


@contextlib.asynccontextmanager
async def running(sock: socket.socket | None = None, **limits: Any) -> AsyncIterator[Running]:  # noqa: ANN401
    app = Application()
    sock = sock or listener()
    address = sock.getsockname()
    server = HttpServer(app, max_body=1 << 16, **limits)
    stop = asyncio.Event()
    done = asyncio.create_task(server.run_on([sock], stop))
    about = Running(server, app, stop, done)
    about.address = address
    try:
        await until(lambda: server.started)
        yield about
    finally:
        stop.set()
        await done


HEAD = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SMUGGLED = {
    "chunks and a length": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length and chunks": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
    "two equal lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two hosts": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET /a HTTP/1.1\r\n\r\n",
    "a folded line": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n",
    "bare line feeds": b"GET /a HTTP/1.1\nHost: 127.0.0.1\n\n",
    "one bare line feed": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "chunks in 1.0": b"POST /a HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an absolute target": b"GET http://evil.example/a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "another protocol": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "a NUL": b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED.keys())
@in_loop
async def test_what_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    async with running() as server, connect(server.address) as connection:
        connection.write(data + request("GET", "/smuggled"))
        answer = await connection.answer()
        assert answer is not None
        assert answer.status in (400, 505)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["key"] == "bad_http"
        assert await connection.is_closed()
        assert server.app.seen == []


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
)
@in_loop
async def test_a_body_that_goes_wrong_ends_the_connection(data: bytes) -> None:
    async with running() as server, connect(server.address) as connection:
        connection.write(data)
        connection.write(request("GET", "/smuggled"))
        answer = await connection.answer()
        assert answer is None or answer.status == 400
        assert await connection.is_closed()
        assert server.app.seen == []


@in_loop
async def test_a_head_has_bounds_also_when_it_never_ends() -> None:
    async with running() as server:
        large = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000
        for data in (large + b"\r\n\r\n", b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
            answer = await raw(server.address, data)
            assert answer is not None
            assert answer.status == 431
        many = b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"a: b\r\n" * 100 + b"\r\n"
        answer = await raw(server.address, many)
        assert answer is not None
        assert answer.status == 431
        async with connect(server.address) as connection:
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    connection.write(large[:40_000] if _ == 0 else b"x" * 40_000)
                    await connection.writer.drain()
            assert await connection.is_closed()
        assert server.app.seen == []


@in_loop
async def test_requests_on_one_connection_are_answered_in_order() -> None:
    async with running() as server, connect(server.address) as connection:
        connection.write(b"".join(request("POST", f"/{n}", body=b"b" * n) for n in range(5)))
        for _ in range(5):
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
        assert server.app.seen == [(f"/{n}", b"b" * n) for n in range(5)]
        connection.write(b"".join(request("GET", "/many") for _ in range(500)))
        assert await connection.is_closed()


@in_loop
async def test_a_request_is_the_same_however_it_is_cut() -> None:
    chunks = b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + request("POST", "/b", body=b"fg")
    async with running() as server:
        for size in (1, 2, 7, 50, len(data)):
            server.app.seen.clear()
            async with connect(server.address) as connection:
                for begin in range(0, len(data), size):
                    connection.write(data[begin : begin + size])
                    await connection.writer.drain()
                    await asyncio.sleep(0)
                for _ in range(2):
                    answer = await connection.answer()
                    assert answer is not None
                    assert answer.status == 200
            assert server.app.seen == [("/a", b"abcde"), ("/b", b"fg")]


@in_loop
async def test_whoever_does_not_read_the_answer_goes() -> None:
    async with running() as server, connect(server.address) as connection:
        server.app.answer = b"x" * (64 << 20)
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.write(request("GET", "/"))
        crowd = server.server.crowd
        await until(lambda: crowd._stalled)
        now = asyncio.get_running_loop().time()
        assert not list(crowd.overdue(now))
        ((client, phase),) = crowd.overdue(now + STALL_SECONDS + 1)
        client.end(phase)
        await until(lambda: not len(crowd))
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await connection.is_closed()


@in_loop
async def test_silent_clients_make_room_and_others_are_served() -> None:
    async with (
        running(most=20, trusted=networks(["127.0.0.1"])) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        slow: list[Connection] = []
        for _ in range(60):
            connection = await stack.enter_async_context(connect(server.address))
            connection.write(b"GET /slow HTTP/1.1\r\n")
            slow.append(connection)
        answer = await raw(server.address, request("GET", "/fine"))
        assert answer is not None
        assert answer.status == 200
        assert len(server.server.crowd) <= 20
        assert await slow[0].is_closed()


@in_loop
async def test_one_address_has_half_of_the_room() -> None:
    async with running(most=20) as server, contextlib.AsyncExitStack() as stack:
        server.app.go.clear()
        busy = [await stack.enter_async_context(connect(server.address)) for _ in range(10)]
        for connection in busy:
            connection.write(request("GET", "/busy"))
        await until(lambda: len(server.app.seen) == 10)
        answer = await raw(server.address, request("GET", "/more"))
        assert answer is not None
        assert (answer.status, answer.json()["key"]) == (503, "service_busy")
        server.app.go.set()
        for connection in busy:
            assert (answer := await connection.answer()) is not None
            assert answer.status == 200


@in_loop
async def test_whoever_takes_too_long_is_told_and_goes() -> None:
    async with running() as server, contextlib.AsyncExitStack() as stack:
        fresh, head, body, rest = [await stack.enter_async_context(connect(server.address)) for _ in range(4)]
        head.write(b"GET /a HTTP")
        body.write(HEAD + b"Content-Length: 10\r\n\r\nabc")
        rest.write(request("GET", "/"))
        assert await rest.answer() is not None
        crowd = server.server.crowd
        wanted = [Phase.BODY, Phase.FRESH, Phase.HEAD, Phase.REST]
        await until(lambda: sorted((one for one, _ in crowd._phases.values()), key=str) == wanted)
        assert not list(crowd.overdue(asyncio.get_running_loop().time()))
        late = list(crowd.overdue(asyncio.get_running_loop().time() + 100 * FRESH_SECONDS))
        assert len(late) == 4
        for client, phase in late:
            client.end(phase)
        for connection in (head, body):
            answer = await connection.answer()
            assert answer is not None
            assert (answer.status, answer.json()["key"]) == (408, "request_timeout")
        for connection in (fresh, head, body, rest):
            assert await connection.is_closed()


@in_loop
async def test_the_rest_of_a_body_that_nobody_wants_is_thrown_away() -> None:
    async with running() as server, connect(server.address) as connection:
        connection.write(request("POST", "/unread", body=b"x" * 50_000)[:-1])
        answer = await connection.answer()
        assert answer is not None
        assert answer.status == 200
        connection.write(b"x" + request("GET", "/next"))
        answer = await connection.answer()
        assert answer is not None
        assert server.app.seen[-1] == ("/next", b"")
        connection.write(HEAD.replace(b"/a", b"/unread") + b"Content-Length: 1000000000\r\n\r\n")
        assert await connection.answer() is not None
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.write(b"x" * 40_000)
                await connection.writer.drain()
        assert await connection.is_closed()


@in_loop
async def test_the_end_waits_for_what_is_under_way_and_not_for_ever() -> None:
    async with running(drain_seconds=1) as server, connect(server.address) as connection:
        server.app.go.clear()
        connection.write(request("GET", "/"))
        await server.app.came.wait()
        server.stop.set()
        server.app.go.set()
        answer = await connection.answer()
        assert answer is not None
        assert answer.headers["connection"] == "close"
    async with running(drain_seconds=1) as server, connect(server.address) as connection:
        server.app.go.clear()
        connection.write(request("GET", "/"))
        await server.app.came.wait()
        server.stop.set()
        await server.done
        assert await connection.is_closed()


@in_loop
async def test_another_server_goes_on_with_the_same_socket() -> None:
    sock = listener()
    for _ in range(3):
        async with running(sock.dup()) as server:
            answer = await raw(server.address, request("GET", "/"))
            assert answer is not None
            assert answer.status == 200
    async with connect(sock.getsockname()) as connection:  # nobody serves, and nobody is refused
        connection.write(request("GET", "/"))
        async with running(sock.dup()):
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
    sock.close()


@in_loop
async def test_a_server_listens_elsewhere_without_losing_a_connection() -> None:
    async with running() as server, connect(server.address) as connection:
        other = listener()
        await server.server.listen([other])
        for address in (other.getsockname(),):
            assert await raw(address, request("GET", "/")) is not None
        connection.write(request("GET", "/"))
        assert await connection.answer() is not None
        with pytest.raises(ConnectionError):
            await raw(server.address, request("GET", "/"))


@in_loop
async def test_a_body_does_not_wait_for_the_head_to_arrive() -> None:
    async with running() as server, connect(server.address) as connection:
        connection.write(request("GET", "/"))
        assert await connection.answer() is not None
        (client,) = server.server.crowd._phases
        sock = client.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@in_loop
async def test_the_kernel_says_who_is_at_the_other_end_of_a_unix_socket(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "http.sock"))
    sock.listen()
    async with running(sock) as server:
        answer = await raw(server.address, request("GET", "/"))
        assert answer is not None
        assert answer.body.startswith(b"uid ")
