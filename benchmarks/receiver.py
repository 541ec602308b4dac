"""A receiver of webhooks for measurements and the soak: it answers, notes what came, and costs little.

`Receiver` runs in a thread; `ReceiverProcess` runs one in a process of its own, so that its work is not the
measurement's. Signatures are checked afterwards, by the package standardwebhooks.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httptools
from standardwebhooks import Webhook, WebhookVerificationError

SECRET: Final = b"the secret of the measurements"
SECRET_LINE: Final = f"whsec_{b64encode(SECRET).decode()}"
"""What the file of `secret_file` has."""
_SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_OK: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Received:
    """A request.

    Attributes:
        at: When it was there as a whole, in Unix seconds.
        status: What it was answered with; 0 for nothing.
        headers: Those of Standard Webhooks.
        body: The body.
    """

    at: float
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers.get("webhook-id", "")


def unsigned(requests: Iterable[Received], secret: bytes = SECRET) -> list[str]:
    """Return the ids of the requests whose signature is wrong; those of the last five minutes are right."""
    webhook = Webhook(secret)
    found = []
    for one in requests:
        try:
            webhook.verify(one.body, one.headers, json_parse=False)
        except WebhookVerificationError:
            found.append(one.id)
    return found


def changed(requests: Iterable[Received]) -> list[str]:
    """Return the ids of the events that came with different bodies."""
    bodies: dict[str, bytes] = {}
    return [one.id for one in requests if bodies.setdefault(one.id, one.body) != one.body]


def disorder(requests: Iterable[Received]) -> int:
    """Return how many events were taken after a later one of their chat, each counted at its first time."""
    last: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    count = 0
    for one in requests:
        if not 200 <= one.status < 300 or one.id in seen:
            continue
        seen.add(one.id)
        event = one.event
        lane = (str(event["account"]), str((event["data"].get("chat") or {}).get("id")))
        seq = event["seq"] or 0
        count += seq < last.get(lane, 0)
        last[lane] = max(seq, last.get(lane, 0))
    return count


class Receiver:
    """A receiver on 127.0.0.1, in a thread.

    Attributes:
        port: Where it listens, also after `die`.
        status: What it answers with.
        delay: Seconds before it answers.
        hangs: Whether it answers nothing.
        requests: What came.
        transports: The open connections.
    """

    def __init__(self) -> None:
        self.port = 0
        self.status = 204
        self.delay = 0.0
        self.hangs = False
        self.requests: list[Received] = []
        self.transports: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="receiver")
        self._thread.start()
        self.come_back()

    @property
    def url(self) -> str:
        """Where events go."""
        return f"http://127.0.0.1:{self.port}/hook"

    def die(self) -> None:
        """Close the port and all connections."""
        asyncio.run_coroutine_threadsafe(self._die(), self._loop).result()

    def come_back(self) -> None:
        """Listen again, at the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def close(self) -> None:
        """End."""
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(
                lambda: _Speaker(self), "127.0.0.1", self.port, backlog=512
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self.transports):
            transport.abort()


class _Speaker(asyncio.Protocol):
    """One connection to a `Receiver`."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._receiver.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        word = name.decode().lower()
        if word in _SIGNED:
            self._headers[word] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        receiver = self._receiver
        status = 0 if receiver.hangs else receiver.status
        receiver.requests.append(Received(time.time(), status, self._headers, bytes(self._body)))
        if not status:
            return
        answer = _OK if status == 204 else b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status
        if receiver.delay:
            asyncio.get_running_loop().call_later(receiver.delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


class ReceiverProcess:
    """A receiver in a process of its own. As a context manager it ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiver"],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._ask("port"))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where events go."""
        return f"http://127.0.0.1:{self.port}/hook"

    def count(self) -> int:
        """Return how many requests it has noted."""
        return int(self._ask("count"))

    def set_delay(self, seconds: float) -> None:
        """Have it wait before it answers."""
        self._ask(f"delay {seconds}")

    def hang(self) -> None:
        """Have it answer nothing any more."""
        self._ask("hang")

    def go_away(self, seconds: float) -> None:
        """Have nobody listen for a while; return when it is back."""
        self._ask("die")
        time.sleep(seconds)
        self._ask("back")

    def take(self) -> list[Received]:
        """Return what it has noted, and let it forget that."""
        with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as file:
            self._ask(f"take {file.name}")
            return [*map(_read, file)]

    def close(self) -> None:
        """End."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def _read(line: str) -> Received:
    at, status, headers, body = json.loads(line)
    return Received(at, status, headers, b64decode(body))


def _write(requests: Iterable[Received]) -> Iterator[str]:
    for one in requests:
        yield json.dumps([one.at, one.status, one.headers, b64encode(one.body).decode()]) + "\n"


def main() -> None:
    """Be the process of a `ReceiverProcess`: a line in, a line out."""
    receiver = Receiver()
    for line in sys.stdin:
        match line.split():
            case ["port"]:
                print(receiver.port, flush=True)
            case ["count"]:
                print(len(receiver.requests), flush=True)
            case ["delay", seconds]:
                receiver.delay = float(seconds)
                print("ok", flush=True)
            case ["hang"]:
                receiver.hangs = True
                print("ok", flush=True)
            case ["die"]:
                receiver.die()
                print("ok", flush=True)
            case ["back"]:
                receiver.come_back()
                print("ok", flush=True)
            case ["take", path]:
                requests, receiver.requests = receiver.requests, []
                with Path(path).open("w") as file:
                    file.writelines(_write(requests))
                print("ok", flush=True)
    receiver.close()


if __name__ == "__main__":
    main()
