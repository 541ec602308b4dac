"""Receivers of webhooks: real HTTP servers in a thread, which can misbehave in any way that is wanted.

h11 reads the requests, the package standardwebhooks checks every signature: neither is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias

import h11
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = b"a secret of receivers in tests, no longer"[:32]


@dataclass(frozen=True, slots=True)
class Request:
    """What came in.

    Attributes:
        at: When it was read to its end, in seconds of `time.monotonic`.
        target: Its path and query.
        headers: Its headers, in lower case.
        body: Its body.
        connection: Which connection it came over, counted from 0.
        status: What it was answered with, 0 if it had no status.
    """

    at: float
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    status: int = 0

    @property
    def event(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: Its status.
        headers: More headers.
        body: Its body.
        pause: Seconds between two bytes, if it comes in drops.
        after: Seconds before it begins.
        close: Whether the connection ends with it.
        cut: Bytes of the body after which the connection ends, if it ends too early.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pause: float = 0.0
    after: float = 0.0
    close: bool = False
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes in the place of an answer; then the connection ends, or stays open if `hold` says so."""

    data: bytes = b""
    hold: bool = False


Answer: TypeAlias = Reply | Raw
Behavior: TypeAlias = Callable[[Request], Answer]

HANG = Raw(hold=True)
"""No answer ever."""
HANG_UP = Raw()
"""The connection ends without an answer."""


def always(answer: Answer) -> Behavior:
    return lambda _: answer


def ok(_: Request) -> Answer:
    return Reply()


def status(code: int, **headers: str) -> Behavior:
    """Answer with a status; ``retry_after="5"`` is the header Retry-After."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return always(Reply(code, named))


def first(count: int, then: Behavior, otherwise: Behavior = ok) -> Behavior:
    """Treat the first requests in one way, the rest in another."""
    left = [count]

    def behave(request: Request) -> Answer:
        left[0] -= 1
        return then(request) if left[0] >= 0 else otherwise(request)

    return behave


def first_of_each(count: int, then: Behavior, otherwise: Behavior = ok) -> Behavior:
    """Treat the first requests of each event in one way, the rest in another."""
    seen: dict[str, int] = defaultdict(int)

    def behave(request: Request) -> Answer:
        seen[request.id] += 1
        return then(request) if seen[request.id] <= count else otherwise(request)

    return behave


@dataclass
class _Record:
    requests: list[Request] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Receiver:
    """A receiver on 127.0.0.1. As a context manager it ends.

    Args:
        behave: How it answers; may be replaced at any time.
        secrets: The keys that it knows: each request must be signed by one.
        tls: Its certificate, if it speaks TLS.
        host: The name in its URL.
    """

    def __init__(
        self,
        behave: Behavior = ok,
        *,
        secrets: Iterable[bytes] = (SECRET,),
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.behave = behave
        self.port = 0
        self.connections = 0
        self._host = host
        self._tls = tls
        self._keys = [Webhook(secret) for secret in secrets]
        self._record = _Record()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.come_back()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://{self._host}:{self.port}/hook?a=1"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order in which they were read."""
        with self._changed:
            return list(self._record.requests)

    @property
    def taken(self) -> list[Request]:
        """Those that were answered by 2xx."""
        return [one for one in self.requests if 200 <= one.status < 300]

    @property
    def wrong(self) -> list[str]:
        """What is wrong with requests: signatures, retries that differ. Empty if all is well."""
        with self._changed:
            found = list(self._record.wrong)
        bodies: dict[str, bytes] = {}
        found += [
            f"{one.id}: another body than at the first try"
            for one in self.requests
            if bodies.setdefault(one.id, one.body) != one.body
        ]
        return found

    def disorder(self, *, among: Callable[[Request], bool] = lambda _: True) -> list[str]:
        """Return what was taken out of order within a chat, at its first time; empty if nothing was."""
        last: dict[tuple[str, str], int] = {}
        seen: set[str] = set()
        found = []
        for one in filter(among, self.taken):
            event = one.event
            if one.id in seen or event.get("seq") is None:
                continue
            seen.add(one.id)
            lane = (event["account"], (event["data"].get("chat") or {}).get("id") or "")
            if event["seq"] < last.get(lane, 0):
                found.append(f"{one.id} came after number {last[lane]} of its chat")
            last[lane] = event["seq"]
        return found

    def wait(self, enough: Callable[[Receiver], bool], seconds: float = 60) -> None:
        """Wait until something is so; it is looked at after each request.

        Raises:
            TimeoutError: It does not come to be so.
        """
        deadline = time.monotonic() + seconds
        while not enough(self):
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{len(self._record.requests)} requests, wrong: {self._record.wrong[:3]}"
                    )
                self._changed.wait(min(left, 0.5))

    def wait_for_requests(self, count: int, seconds: float = 60) -> list[Request]:
        self.wait(lambda one: len(one.requests) >= count, seconds)
        return self.requests

    def wait_for_taken(self, count: int, seconds: float = 60) -> list[Request]:
        """Wait until so many different events were taken."""
        self.wait(lambda one: len({taken.id for taken in one.taken}) >= count, seconds)
        return self.taken

    def die(self) -> None:
        """Close the port and all connections at once."""
        self._do(self._die())

    def come_back(self) -> None:
        """Listen again, at the same port."""
        self._do(self._listen())

    def close(self) -> None:
        if not self._loop.is_closed():
            self.die()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, what: Any) -> None:  # noqa: ANN401
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        number, self.connections = self.connections, self.connections + 1
        try:
            await self._talk(reader, writer, number)
        except asyncio.CancelledError:
            writer.transport.abort()  # a receiver that dies says no goodbye
        except (OSError, h11.RemoteProtocolError) as error:
            if isinstance(error, h11.RemoteProtocolError):
                self._note_wrong(f"not HTTP: {error}")
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request = await self._read(http, reader, number)
            if request is None:
                return
            answer = self.behave(request)
            if isinstance(answer, Raw):
                self._note(request, 0)
                writer.write(answer.data)
                await writer.drain()
                if answer.hold:
                    await reader.read()
                return
            if answer.after:
                await asyncio.sleep(answer.after)
            self._note(request, answer.status)
            await _write(http, writer, answer)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _read(self, http: h11.Connection, reader: asyncio.StreamReader, number: int) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
        assert head is not None
        names = [name.decode() for name, _ in head.headers]
        if len(set(names)) < len(names):
            self._note_wrong(f"a header comes twice: {sorted(names)}")
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Request(time.monotonic(), head.target.decode(), headers, bytes(body), number)

    def _note(self, request: Request, status: int) -> None:
        wrong = self._check(request)
        with self._changed:
            noted = Request(
                request.at, request.target, request.headers, request.body, request.connection, status
            )
            self._record.requests.append(noted)
            self._record.wrong += wrong
            self._changed.notify_all()

    def _note_wrong(self, why: str) -> None:
        with self._changed:
            self._record.wrong.append(why)
            self._changed.notify_all()

    def _check(self, request: Request) -> list[str]:
        if not self._keys:
            return []
        for key in self._keys:
            with contextlib.suppress(WebhookVerificationError):
                event = key.verify(request.body, request.headers)
                same = event["id"] == request.headers["webhook-id"]
                return [] if same else [f"{event['id']} was sent as {request.headers['webhook-id']}"]
        return [f"{request.headers.get('webhook-id')}: no signature is right"]


async def _write(http: h11.Connection, writer: asyncio.StreamWriter, answer: Reply) -> None:
    headers = [*answer.headers, ("content-length", str(len(answer.body)))]
    if answer.close:
        headers.append(("connection", "close"))
    data = http.send(h11.Response(status_code=answer.status, headers=headers))
    assert data is not None
    if answer.cut is not None:
        writer.write(data + answer.body[: answer.cut])
        await writer.drain()
        http.send_failed()
        return
    data += http.send(h11.Data(data=answer.body)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    if not answer.pause:
        writer.write(data)
    else:
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(answer.pause)
    await writer.drain()
