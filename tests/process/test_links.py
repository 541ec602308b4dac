"""Links of clients: nothing is fetched that only this machine can reach, and nothing without an end."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.certificates import certificate
from support.http_client import in_loop, until

from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import links as module
from orchestrator.gateway.links import Links
from orchestrator.gateway.webhooks.client import Place

REFUSED = [
    "", "x", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/",
    "data:text/plain,x", "javascript:alert(1)", "//example.com/x", "http://", "http:///x",
    "http://127.0.0.1/", "http://127.0.0.1:80/", "http://localhost/", "http://LOCALHOST./x",
    "http://0x7f.1/", "http://2130706433/", "http://017700000001/", "http://127.1/", "http://0/",
    "http://0.0.0.0/", "http://[::]/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[fe80::1]/", "http://[fd00::1]/", "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/", "http://192.168.0.1/", "http://172.16.0.1/", "http://100.64.0.1/",
    "http://198.18.0.1/", "http://224.0.0.1/", "http://255.255.255.255/",
    "http://user@8.8.8.8/", "http://user:word@8.8.8.8/", "http://8.8.8.8:22/", "http://8.8.8.8:8080/",
    "https://8.8.8.8:80443/", "http://8.8.8.8\\@127.0.0.1/", "http://8.8.8.8 /", "http://8.8.8.8\r\nX: y/",
    "http://%31%32%37.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://exa mple.com/",
    "http://[::1%25lo]/",
]  # fmt: skip


class Pauses:
    """Counts how long answers are held back, and holds none back."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Names:
    """A name server."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> Sequence[Place]:
        self.asked.append((host, port))
        found = self.answers.pop(0) if self.answers else ()
        if not found:
            raise OSError("not found")
        return [
            (socket.AF_INET6, (one, port, 0, 0)) if ":" in one else (socket.AF_INET, (one, port))
            for one in found
        ]


def links(
    http: Http | None = None,
    find: Names | None = None,
    tls: ssl.SSLContext | None = None,
    pauses: Pauses | None = None,
) -> Links:
    return Links(tls or ssl.create_default_context(), lambda: http, find or Names(), pauses or Pauses())


async def fetch(one: Links, url: str, most: int = 1 << 20) -> bytes:
    async with one.open(url, most=most) as found:
        return b"".join([piece async for piece in found.pieces])


async def key_of(work: Awaitable[object]) -> str:
    with pytest.raises(OrchestratorError) as caught:
        await work
    return caught.value.key


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(answer: Answer | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Any]:
    """Run a server, and yield its port and the heads of the requests that it has got."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield running.sockets[0].getsockname()[1], heads
    finally:
        running.close()
        await until(lambda: not running._active_count)  # type: ignore[attr-defined]


def inside(port: int) -> Http:
    """Return settings that let files be fetched from this machine."""
    return Http((Tcp("127.0.0.1", 1),), link_ports=(port,), link_networks=("127.0.0.0/8",))


@pytest.mark.parametrize("url", REFUSED)
@in_loop
async def test_links_inside_and_of_other_forms_are_refused_all_in_the_same_way(url: str) -> None:
    pauses = Pauses()
    one = links(find=Names(["127.0.0.1"]), pauses=pauses)
    assert await key_of(fetch(one, url)) == "link_unusable"
    # The answer is held back until it is as late as that of a host that does not answer.
    assert len(pauses.seconds) == 1
    assert 0 < pauses.seconds[0] <= module.REFUSAL_SECONDS


@in_loop
async def test_nothing_is_fetched_from_this_machine_by_default() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as (port, heads):
        http = Http((Tcp("127.0.0.1", 1),), link_ports=(port,))
        for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
            one = links(http, Names(["127.0.0.1"]))
            assert await key_of(fetch(one, f"http://{host}:{port}/")) == "link_unusable"
        assert heads == []


@in_loop
async def test_every_address_of_a_name_must_be_public_and_is_looked_up_once() -> None:
    for answer in (["8.8.8.8", "127.0.0.1"], ["::1", "8.8.8.8"], ["8.8.8.8", "fd00::1"], []):
        names = Names(answer, ["8.8.8.8"])
        assert await key_of(fetch(links(find=names), "http://rebind.example/")) == "link_unusable"
        assert names.asked == [("rebind.example", 80)]


@in_loop
async def test_another_answer_of_the_name_server_changes_nothing() -> None:
    # The name is inside the allowed network when it is checked, and would lead elsewhere a moment later.
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as (port, heads):
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        assert await fetch(links(inside(port), names), f"http://rebind.example:{port}/a%20b?c=d") == b"hello"
        assert len(names.asked) == 1
        (head,) = heads
        assert head.startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
        assert f"\r\nHost: rebind.example:{port}\r\n".encode() in head
        assert b"\r\nAccept-Encoding: identity\r\n" in head
        assert b"Cookie" not in head
        assert b"Authorization" not in head


@in_loop
async def test_the_own_server_is_never_fetched_from() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as (port, heads):
        for listen in (Tcp("127.0.0.1", port), Tcp("0.0.0.0", port), Tcp("::", port)):
            http = Http((listen,), "https://us.example", link_ports=(port, 443), link_networks=("0.0.0.0/0",))
            for url in (
                f"http://127.0.0.1:{port}/",
                f"http://name.example:{port}/",
                "https://us.example/",
                "https://US.example.:443/",
                "https://us\N{IDEOGRAPHIC FULL STOP}example/",
            ):
                one = links(http, Names(["127.0.0.1"]))
                assert await key_of(fetch(one, url)) == "link_unusable"
        assert heads == []


@in_loop
async def test_an_address_of_the_internet_that_is_this_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if this machine had the address itself: only the connection shows it.
    monkeypatch.setattr(module, "may_reach", lambda *_: True)
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as (port, heads):
        http = Http((Tcp("127.0.0.1", 1),), link_ports=(port,))
        assert await key_of(fetch(links(http), f"http://127.0.0.1:{port}/")) == "link_unusable"
        assert heads == []


@in_loop
async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
    async with server(answer) as (port, _), server(answer) as (other, seen):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{other}")
        assert await fetch(links(inside(port)), f"http://127.0.0.1:{port}/") == b"x"
        assert seen == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
@in_loop
async def test_what_is_not_the_file_is_not_taken_for_it(answer: bytes) -> None:
    async with server(answer) as (port, _):
        assert await key_of(fetch(links(inside(port)), f"http://127.0.0.1:{port}/")) == "link_unusable"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000000000\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + bytes(101),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 101,
    ],
)
@in_loop
async def test_a_file_that_is_too_large_is_not_read_to_its_end(answer: bytes) -> None:
    async with server(answer) as (port, _):
        key = await key_of(fetch(links(inside(port)), f"http://127.0.0.1:{port}/", most=100))
        assert key in ("file_too_large", "link_unusable")


@in_loop
async def test_chunks_of_nothing_but_framing_have_an_end() -> None:
    sent = 0

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1;" + b"a" * 8000 + b"\r\nx\r\n")
            await writer.drain()
            sent += 8000

    async with server(drip) as (port, _):
        assert await key_of(fetch(links(inside(port)), f"http://127.0.0.1:{port}/")) == "link_unusable"
        assert sent < 32 << 20


@pytest.mark.parametrize(
    "trailers", ["x%d: y\r\n", "content-encoding: %d\r\n", "x%d"], ids=["many", "same", "one"]
)
@in_loop
async def test_what_comes_after_the_last_chunk_is_short(trailers: str) -> None:
    sent = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        while sent < 20 << 20:
            block = "".join(trailers % number for number in range(sent, sent + 5000)).encode()
            writer.write(block)
            sent += len(block)
            await writer.drain()
        writer.write(b"\r\n\r\n")

    async with server(answer) as (port, _):
        one = links(inside(port))
        assert await key_of(fetch(one, f"http://127.0.0.1:{port}/x", most=64 << 20)) == "link_unusable"
    assert sent < 8 << 20  # what is on its way is thrown away


@in_loop
async def test_trailers_do_not_change_what_the_head_said() -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
        b"1\r\nx\r\n0\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\n\r\n"
    )
    async with (
        server(data) as (port, _),
        links(inside(port)).open(f"http://127.0.0.1:{port}/", most=9) as found,
    ):
        assert found.media_type == "text/plain"
        assert b"".join([piece async for piece in found.pieces]) == b"x"


@in_loop
async def test_a_bomb_of_zeros_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(32 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(head + bomb) as (port, _):
        assert await key_of(fetch(links(inside(port)), f"http://127.0.0.1:{port}/")) == "link_unusable"
    # As a file of its own, it is a small file.
    plain = b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(plain + bomb) as (port, _):
        assert await fetch(links(inside(port)), f"http://127.0.0.1:{port}/") == bomb


@in_loop
async def test_bytes_that_come_one_by_one_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.3)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(drip) as (port, _):
        assert await key_of(fetch(links(inside(port)), f"http://127.0.0.1:{port}/")) == "link_unusable"


@in_loop
async def test_a_host_that_does_not_answer_is_as_one_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSAL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        # It takes the connection and says nothing: no TLS, and no error either.
        one = links(inside(port))
        assert await key_of(fetch(one, f"https://127.0.0.1:{port}/")) == "link_unusable"
    closed = links(inside(port))
    assert await key_of(fetch(closed, f"http://127.0.0.1:{port}/")) == "link_unusable"


@in_loop
async def test_the_certificate_is_that_of_the_host(tmp_path: Path) -> None:
    for name in ("files.example", "other.example"):
        made, trusting = certificate(tmp_path, name=name)
        async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", made) as (port, heads):
            names = Names(["127.0.0.1"])
            one = links(inside(port), names, trusting)
            url = f"https://files.example:{port}/a.pdf"
            if name == "files.example":
                assert await fetch(one, url) == b"x"
            else:
                assert await key_of(fetch(one, url)) == "link_unusable"
                assert heads == []


@in_loop
async def test_a_file_has_the_name_at_the_end_of_its_link() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: Application/PDF; x=y\r\nContent-Length: 1\r\n\r\nx"
    async with server(answer) as (port, _):
        one = links(inside(port))
        for path, name in (("a/b%20c.pdf?d=e", "b c.pdf"), ("", None), ("a/", None), ("%2e%2e%2fx", "../x")):
            async with one.open(f"http://127.0.0.1:{port}/{path}", most=10) as found:
                assert found.name == name
                assert found.media_type == "application/pdf"


@in_loop
async def test_only_so_many_are_fetched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 1)
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as (port, _):
        one, url = links(inside(port)), f"http://127.0.0.1:{port}/"
        async with one.open(url, most=1):
            assert await key_of(fetch(one, url)) == "service_busy"
        assert await fetch(one, url) == b"x"
