"""Gets the encrypted form of an attachment from WhatsApp's host: one request, a bounded answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import h11

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.messages.media import HOST, PORT
from orchestrator.system.dialing import DialError, Line, Proxy, words

STALL_SECONDS: Final = 30.0
"""How long WhatsApp's server may send nothing."""
_PIECE: Final = 64 * 1024
_MOST_OF_HEAD: Final = 32 * 1024
_EXPIRED: Final = (403, 404, 410)
_BUSY: Final = 429
_HEADERS: Final = [
    # Those that the library sends.
    ("Host", HOST),
    ("User-Agent", "Go-http-client/1.1"),
    ("Origin", "https://web.whatsapp.com"),
    ("Referer", "https://web.whatsapp.com/"),
    # What comes is counted as it is: nothing may grow when it is unpacked.
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
]


class PassingError(Exception):
    """It did not work this time; the text says why, in words for people."""


class Clock:
    """The time that an attachment may take.

    Args:
        seconds: All of it.
        stall: The longest pause.
        now: Returns monotonic seconds.
    """

    def __init__(
        self, seconds: float, stall: float = STALL_SECONDS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._end = now() + seconds
        self._stall = stall
        self._now = now

    def patience(self) -> float:
        """Return how many seconds the next step may take.

        Raises:
            TimeoutError: The time is over.
        """
        left = self._end - self._now()
        if left <= 0:
            raise TimeoutError
        return min(left, self._stall)


def get(target: str, proxy: Proxy | None, most: int, clock: Clock, take: Callable[[bytes], None]) -> None:
    """Get what lies at a path of WhatsApp's host.

    Args:
        target: The path and query.
        proxy: The proxy to go through, None for a direct connection.
        most: Bytes that it may have.
        clock: The time that it may take.
        take: Takes the bytes as they come; its errors go through.

    Raises:
        MissingError: It is not there, or too large.
        PassingError: It did not work this time.
    """
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_OF_HEAD)
    try:
        with Line(HOST, PORT, proxy, clock.patience) as line:
            request = http.send(h11.Request(method="GET", target=target, headers=_HEADERS))
            answer = _Answer(http, line)
            answer.ask((request or b"") + (http.send(h11.EndOfMessage()) or b""))
            _receive(answer, most, take)
    except DialError as error:
        raise PassingError(str(error)) from None
    except h11.RemoteProtocolError:
        raise PassingError("WhatsApp's server broke the rules of HTTP, or its answer was cut") from None
    except _Network as error:
        raise PassingError(f"the connection failed: {words(error.error)}") from None


class _Network(Exception):  # noqa: N818 - tells errors of the connection from those of the disk
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class _Answer:
    """What WhatsApp's server answers, event by event."""

    def __init__(self, http: h11.Connection, line: Line) -> None:
        self._http = http
        self._line = line
        self._received = 0

    @property
    def received(self) -> int:
        """How many bytes have come, head and all."""
        return self._received

    def ask(self, request: bytes) -> None:
        try:
            self._line.sendall(request)
        except OSError as error:
            raise _Network(error) from None

    def next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            try:
                data = self._line.recv(_PIECE)
            except OSError as error:
                raise _Network(error) from None
            self._received += len(data)
            self._http.receive_data(data)
        return event


def _receive(answer: _Answer, most: int, take: Callable[[bytes], None]) -> None:
    while isinstance(event := answer.next(), h11.InformationalResponse):
        if answer.received > _MOST_OF_HEAD:
            raise PassingError("WhatsApp's server does not come to an answer")
    if not isinstance(event, h11.Response):
        raise PassingError("WhatsApp's server hung up without an answer")
    _check_head(event, most)
    size = 0
    while isinstance(event := answer.next(), h11.Data):
        size += len(event.data)
        if size > most:
            raise MissingError(Fault.TOO_LARGE)
        take(bytes(event.data))
    if not isinstance(event, h11.EndOfMessage):
        raise PassingError("the answer of WhatsApp's server was cut")


def _check_head(response: h11.Response, most: int) -> None:
    status = response.status_code
    if status in _EXPIRED:
        raise MissingError(Fault.EXPIRED)
    if status == _BUSY or status >= 500:
        raise PassingError(f"WhatsApp's server answers with status {status}")
    if status != 200:  # which includes all that would lead elsewhere
        raise MissingError(Fault.UNREACHABLE, f"WhatsApp's server answers with status {status}")
    for name, value in response.headers:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise MissingError(Fault.UNREACHABLE, "WhatsApp's server packs what nobody asked it to pack")
        if name == b"content-length" and int(value) > most:
            raise MissingError(Fault.TOO_LARGE)
