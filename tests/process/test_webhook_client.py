"""The gateway's client against receivers that misbehave."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from support.certificates import certificate
from support.receivers import HANG, HANG_UP, Raw, Receiver, Reply, always, first, ok

from orchestrator.consumers.answers import Answer, Trouble
from orchestrator.gateway.webhooks import client as module
from orchestrator.gateway.webhooks.address import Address
from orchestrator.gateway.webhooks.client import Client, Place, trust

T = TypeVar("T")
REQUEST = b"POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
SECONDS = 30.0


def plain(behave: Callable[..., Raw | Reply] = ok) -> Receiver:
    return Receiver(behave, secrets=())


def client_of(receiver: Receiver, tls: ssl.SSLContext | None = None, **more: object) -> Client:
    return Client(Address.of(receiver.url), tls or trust(), **more)  # type: ignore[arg-type]


def ask(receiver: Receiver, seconds: float = SECONDS, tls: ssl.SSLContext | None = None) -> Answer | Trouble:
    async def run() -> Answer | Trouble:
        client = client_of(receiver, tls)
        try:
            return await client.ask(REQUEST, seconds)
        finally:
            client.close()

    return asyncio.run(run())


def with_client(receiver: Receiver, use: Callable[[Client], Awaitable[T]], **more: object) -> T:
    async def run() -> T:
        client = client_of(receiver, **more)  # type: ignore[arg-type]
        try:
            return await use(client)
        finally:
            client.close()

    return asyncio.run(run())


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (Reply(204), Answer(204)),
        (Reply(500, body=b"<html>needle</html>"), Answer(500)),
        (Reply(301, (("location", "http://127.0.0.1:1/"),)), Answer(301)),
        (Reply(429, (("retry-after", "17"),)), Answer(429, "17")),
        (Reply(503, (("Retry-After", "x" * 1000),)), Answer(503, "x" * 65)),
        (Reply(200, body=bytes(4096)), Answer(200)),
        (Reply(200, body=bytes(1 << 20)), Answer(200)),
        (Reply(200, close=True, body=b"ok"), Answer(200)),
        (Reply(200, body=b"12345678", cut=4), Trouble.CUT),
        (Reply(200, body=b"12345678", cut=0), Trouble.CUT),
        (HANG_UP, Trouble.CLOSED),
        (Raw(HEAD), Trouble.CUT),
        (Raw(HEAD + b"\r\nuntil the end"), Answer(200)),
        (Raw(b"HTTP/1.0 200 OK\r\n\r\n"), Answer(200)),
        (Raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"), Answer(200)),
        (Raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), Trouble.CUT),
        (Raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), Trouble.CUT),
        (Raw(HEAD + b"Content-Length: 2\r\n\r\nokHTTP/1.1 500 Oops\r\n\r\n"), Answer(200)),
        (Raw(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), Trouble.GARBAGE),
        (
            Raw(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"),
            Answer(200),
        ),
        (Raw(b"HTTP/1.1 100 Continue\r\n\r\n"), Trouble.CUT),
        (Raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), Trouble.UPGRADE),
        (Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), Trouble.GARBAGE),
        (Raw(b"\x00" * 100), Trouble.GARBAGE),
        (Raw(b"HTTP/2 200 OK\r\n\r\n"), Trouble.GARBAGE),
        (Raw(HEAD + b"X: " + b"y" * 40_000), Trouble.GARBAGE),
        (Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000), Trouble.GARBAGE),
        (Raw(HEAD + b"X" * 40_000), Trouble.GARBAGE),
    ],
)
def test_what_comes_back(answer: Raw | Reply, wanted: Answer | Trouble) -> None:
    with plain(always(answer)) as receiver:
        assert ask(receiver) == wanted
        assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        HANG,
        Reply(200, body=bytes(1000), pause=0.05),
        Reply(200, (("x", "y" * 1000),), pause=0.05),
        Raw(HEAD + b"Content-Length: 9\r\n\r\n", hold=True),
        Raw(b"HTTP/1.1 100 Continue\r\n\r\n", hold=True),
    ],
)
def test_all_of_it_has_a_time_limit(answer: Raw | Reply) -> None:
    with plain(always(answer)) as receiver:
        assert ask(receiver, 0.5) == Trouble.SLOW


def test_an_answer_that_never_ends_is_not_read_to_its_end() -> None:
    def flood(_: object) -> Raw:
        return Raw(HEAD + b"Content-Length: 999999999\r\n\r\n" + bytes(10_000), hold=True)

    with plain(flood) as receiver:
        assert ask(receiver) == Answer(200)


def test_connections_are_used_again() -> None:
    async def use(client: Client) -> list[Answer | Trouble]:
        one_by_one = [await client.ask(REQUEST, SECONDS) for _ in range(20)]
        return one_by_one + list(await asyncio.gather(*(client.ask(REQUEST, SECONDS) for _ in range(4))))

    with plain() as receiver:
        assert with_client(receiver, use) == [Answer(200)] * 24
        assert receiver.connections == 4


@pytest.mark.parametrize(
    "answer", [Reply(close=True), Reply(body=bytes(1 << 20)), Raw(HEAD + b"Content-Length: 0\r\n\r\nmore")]
)
def test_a_connection_that_cannot_be_used_again_is_not(answer: Raw | Reply) -> None:
    async def use(client: Client) -> list[Answer | Trouble]:
        return [await client.ask(REQUEST, SECONDS) for _ in range(3)]

    with plain(always(answer)) as receiver:
        assert with_client(receiver, use) == [Answer(200)] * 3
        assert receiver.connections == 3


def test_a_receiver_that_has_closed_an_old_connection_costs_no_try() -> None:
    def behave(_: object) -> Raw | Reply:
        return HANG_UP if receiver.connections == 1 and len(receiver.requests) == 1 else Reply()

    async def use(client: Client) -> tuple[Answer | Trouble, Answer | Trouble]:
        return await client.ask(REQUEST, SECONDS), await client.ask(REQUEST, SECONDS)

    with plain(behave) as receiver:
        assert with_client(receiver, use) == (Answer(200), Answer(200))
        assert [one.connection for one in receiver.requests] == [0, 0, 1]


def test_a_receiver_that_always_hangs_up_is_a_failure_after_one_new_connection() -> None:
    async def use(client: Client) -> tuple[Answer | Trouble, Answer | Trouble]:
        return await client.ask(REQUEST, SECONDS), await client.ask(REQUEST, SECONDS)

    with plain(first(1, ok, always(HANG_UP))) as receiver:
        assert with_client(receiver, use) == (Answer(200), Trouble.CLOSED)
        assert receiver.connections == 2


def test_a_receiver_may_die_and_come_back() -> None:
    async def use(client: Client) -> list[Answer | Trouble]:
        found = [await client.ask(REQUEST, SECONDS)]
        await asyncio.to_thread(receiver.die)
        found.append(await client.ask(REQUEST, SECONDS))
        await asyncio.to_thread(receiver.come_back)
        return [*found, await client.ask(REQUEST, SECONDS)]

    with plain() as receiver:
        assert with_client(receiver, use) == [Answer(200), Trouble.REFUSED, Answer(200)]


def test_who_is_cancelled_leaves_nothing_open() -> None:
    async def use(client: Client) -> None:
        asking = asyncio.ensure_future(client.ask(REQUEST, SECONDS))
        await asyncio.to_thread(receiver.wait_for_requests, 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with plain(always(HANG)) as receiver:
        with_client(receiver, use)
        receiver.wait(lambda one: not one._tasks)


def test_an_old_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)

    async def use(client: Client) -> None:
        assert await client.ask(REQUEST, SECONDS) == Answer(200)
        await asyncio.to_thread(receiver.wait, lambda one: not one._tasks)

    with plain() as receiver:
        with_client(receiver, use)


def test_a_client_that_is_closed_meanwhile_keeps_no_connection() -> None:
    async def use(client: Client) -> Answer | Trouble:
        asking = asyncio.ensure_future(client.ask(REQUEST, SECONDS))
        await asyncio.to_thread(receiver.wait, lambda one: one.connections == 1)
        client.close()
        found = await asking
        await asyncio.to_thread(receiver.wait, lambda one: not one._tasks)
        return found

    with plain(always(Reply(after=0.2))) as receiver:
        assert with_client(receiver, use) == Answer(200)


# Finding and connecting.


def at(places: Sequence[Place] | Exception) -> Callable[[str, int], Sequence[Place]]:
    def find(*_: object) -> Sequence[Place]:
        if isinstance(places, Exception):
            raise places
        return places

    return find


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError(24, "files"), UnicodeError()])
def test_a_name_that_cannot_be_resolved(error: Exception) -> None:
    with plain() as receiver:
        answer = with_client(receiver, lambda client: client.ask(REQUEST, SECONDS), find=at(error))
    assert answer == Trouble.UNRESOLVED


def test_a_name_without_addresses() -> None:
    with plain() as receiver:
        answer = with_client(receiver, lambda client: client.ask(REQUEST, SECONDS), find=at([]))
    assert answer == Trouble.UNRESOLVED


def test_a_name_server_that_hangs_has_a_time_limit_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    over, calls = threading.Event(), []

    def find(host: str, port: int) -> Sequence[Place]:
        calls.append(host)
        over.wait()
        return [(socket.AF_INET, (host, port))]

    async def use(client: Client) -> list[Answer | Trouble]:
        return await asyncio.gather(*(client.ask(REQUEST, SECONDS) for _ in range(8)))

    with plain() as receiver:
        assert with_client(receiver, use, find=find) == [Trouble.SLOW_CONNECT] * 8
        over.set()
    assert len(calls) == 1


def test_the_first_address_that_answers_is_taken() -> None:
    with plain() as receiver, socket.create_server(("127.0.0.1", 0)) as deaf:
        closed = deaf.getsockname()
        deaf.close()
        places: list[Place] = [
            (socket.AF_INET6, ("::1", receiver.port, 0, 0)),
            (socket.AF_INET, closed),
            (socket.AF_INET, ("127.0.0.1", receiver.port)),
        ]
        answer = with_client(receiver, lambda client: client.ask(REQUEST, SECONDS), find=at(places))
    assert answer == Answer(200)


def full() -> tuple[socket.socket, list[socket.socket]]:
    """Return a listener whose queue is full: whoever connects waits."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    others = []
    for _ in range(3):
        other = socket.socket()
        other.setblocking(False)
        other.connect_ex(listener.getsockname())
        others.append(other)
    return listener, others


def test_an_address_that_does_not_answer_does_not_keep_the_next_from_being_tried() -> None:
    listener, others = full()
    with plain() as receiver:
        places: list[Place] = [
            (socket.AF_INET, listener.getsockname()),
            (socket.AF_INET, ("127.0.0.1", receiver.port)),
        ]
        answer = with_client(receiver, lambda client: client.ask(REQUEST, SECONDS), find=at(places))
    assert answer == Answer(200)
    for one in (listener, *others):
        one.close()


def test_connecting_has_a_time_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    listener, others = full()

    async def run() -> Answer | Trouble:
        host, port = listener.getsockname()
        return await Client(Address.of(f"http://{host}:{port}/"), trust()).ask(REQUEST, SECONDS)

    assert asyncio.run(run()) == Trouble.SLOW_CONNECT
    for one in (listener, *others):
        one.close()


# TLS.


def asked_over_tls(server: ssl.SSLContext, tls: ssl.SSLContext) -> Answer | Trouble:
    with Receiver(secrets=(), tls=server, host="localhost") as receiver:
        return ask(receiver, tls=tls)


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert asked_over_tls(server, trust()) == Answer(200)


def test_a_certificate_of_nobody_known_is_not_trusted(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    assert asked_over_tls(server, trust()) == Trouble.CERTIFICATE
    alone, _ = certificate(tmp_path, sign=False)
    assert asked_over_tls(alone, trust()) == Trouble.CERTIFICATE


def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    assert asked_over_tls(*certificate(tmp_path, name="example.org")) == Trouble.CERTIFICATE_OTHER


@pytest.mark.parametrize("days", [(-3, -1), (1, 3)])
def test_a_certificate_of_another_time_is_not_trusted(tmp_path: Path, days: tuple[int, int]) -> None:
    assert asked_over_tls(*certificate(tmp_path, days=days)) == Trouble.CERTIFICATE_EXPIRED


def test_a_receiver_without_tls(tmp_path: Path) -> None:
    _, tls = certificate(tmp_path)

    async def run(port: int) -> Answer | Trouble:
        return await Client(Address.of(f"https://127.0.0.1:{port}/"), tls).ask(REQUEST, SECONDS)

    with plain() as receiver:
        assert asyncio.run(run(receiver.port)) == Trouble.TLS


def test_a_request_without_tls_to_a_receiver_with_it(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)

    async def run(port: int) -> Answer | Trouble:
        return await Client(Address.of(f"http://127.0.0.1:{port}/"), trust()).ask(REQUEST, SECONDS)

    with Receiver(secrets=(), tls=server) as receiver:
        assert asyncio.run(run(receiver.port)) in (Trouble.CLOSED, Trouble.GARBAGE)


def test_proxies_in_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with plain() as receiver:
        assert ask(receiver) == Answer(200)
