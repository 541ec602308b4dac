"""The programs of the demonstration that use the service: a bot, a webhook's receiver, a reader of metrics.

They are what a user would write: each knows only what the documentation says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

BOT: Final = """\
from orchestrator.bots import Bot, Message

bot = Bot()


@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply(f"You said: {message.text}")
"""
"""A bot that repeats what it is told."""
MAX_BODY: Final = 2 << 20
"""Bytes of an event."""


class Receiver:
    """A program that a webhook sends events to. It takes only what is signed with its secret.

    Attributes:
        secret: The line of the webhook's file with the secret.
        events: What has come in; None at the end, when nothing more comes.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self.secret = "whsec_" + base64.b64encode(self._key).decode()
        self.events: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self.events.put(None)  # whoever waits waits no longer

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any] | None:
        """Return the next event for which a condition holds; None if none comes in time, or at the end.

        Args:
            condition: The condition.
            seconds: How long to wait for each event.
        """
        while True:
            try:
                event = self.events.get(timeout=seconds)
            except Empty:
                return None
            if event is None or condition(event):
                return event

    def is_genuine(self, event: str, timestamp: str, signatures: str, body: bytes) -> bool:
        """Tell whether a request comes from the service, as Standard Webhooks has it."""
        signed = f"{event}.{timestamp}.".encode() + body
        right = "v1," + base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256)).decode()
        return any(hmac.compare_digest(right.encode(), one.encode()) for one in signatures.split())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """Takes one request."""

            timeout = 30

            def do_POST(self) -> None:
                """Take an event."""
                length = self.headers.get("Content-Length", "")
                if not length.isdecimal() or int(length) > MAX_BODY:
                    self._answer(413)
                    return
                body = self.rfile.read(int(length))
                names = ("webhook-id", "webhook-timestamp", "webhook-signature")
                event, timestamp, signatures = (self.headers.get(name, "") for name in names)
                if not receiver.is_genuine(event, timestamp, signatures, body):
                    self._answer(401)
                    return
                receiver.events.put(json.loads(body))
                self._answer(204)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - as http.server calls it
                """Say nothing on the terminal of the demonstration."""

        return Handler


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def read_metrics(path: Path, seconds: float = 10.0) -> list[str]:
    """Return the lines of the service's metrics.

    Args:
        path: The UNIX socket on which the service listens; it needs no token.
        seconds: How long each part may take.

    Raises:
        OSError, http.client.HTTPException: They cannot be had now.
    """
    connection = _UnixConnection(path, seconds)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"the service answers {answer.status}")
        return text.splitlines()
    finally:
        connection.close()
