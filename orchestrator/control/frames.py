"""The form of what goes over a port: frames of a length and a JSON object, and the descriptors of each. Pure.

    request   {"id": N, "command": …, "arguments": {…}, "fds": K}     id from 1 on, never again
    answers   {"id": N, "event": {…}}* {"id": N, "result": {…}} or {"id": N, "error": …, …}
    credit    {"id": N, "more": true}      the asker has taken one event in
    cancel    {"id": N, "cancel": true}    the asker does not want the answer any more; one comes nevertheless

Both ends ask and answer, each with numbers of its own. Descriptors go with the first byte of their request.
What comes in is read as if an enemy had written it: nothing but finite numbers of few digits, no name twice,
no half of a surrogate pair, no other form than the ones above.
"""

from __future__ import annotations

import json
import re
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.accounts import bounds
from orchestrator.accounts.bounds import BoundsError
from orchestrator.control.protocol import Json

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of a request. The longest tells the gateway its whole configuration."""
MAX_FRAME: Final = 4 * 1024 * 1024
"""Bytes of any frame. A list of 5,000 accounts has about 2 MB."""
MAX_FDS: Final = 32
"""Descriptors of a request: the gateway is handed all its listeners at once. The kernel allows 253."""
LENGTH: Final = struct.Struct("!I")
"""What stands before each frame."""

_COMMAND: Final = re.compile("[a-z_]{1,40}")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_CALLS: Final = 2**53


class FrameError(ValueError):
    """What came over a port has no valid form; the text says why and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The other end asks for something."""

    id: int
    command: str
    arguments: Json
    fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class More:
    """The other end has taken in an event of its request."""

    id: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """The other end does not want the answer to its request any more."""

    id: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that our request goes on with."""

    id: int
    value: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """The last word to our request: ``{"result": …}``, or what stands for an error."""

    id: int
    value: Json


Frame: TypeAlias = Asked | More | Cancel | Event | Answer


def write(frame: Frame) -> bytes:
    """Write a frame, its length first.

    Raises:
        FrameError: It is too large, or holds what JSON does not have.
    """
    match frame:
        case Asked(id, command, arguments, fds):
            value: Json = {"id": id, "command": command, "arguments": arguments, "fds": len(fds)}
        case More(id):
            value = {"id": id, "more": True}
        case Cancel(id):
            value = {"id": id, "cancel": True}
        case Event(id, event):
            value = {"id": id, "event": event}
        case Answer(id, answer):
            value = {"id": id, **answer}
    try:
        data = _ENCODER.encode(value).encode("ascii")
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()  # or the other end would take the port for broken
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"a {type(frame).__name__} cannot be written: {type(error).__name__}") from None
    most = MAX_REQUEST if isinstance(frame, Asked) else MAX_FRAME
    if len(data) > most or (isinstance(frame, Asked) and len(frame.fds) > MAX_FDS):
        raise FrameError(f"a {type(frame).__name__} of {len(data)} bytes is too large")
    return LENGTH.pack(len(data)) + data


class Reader:
    """Takes in bytes and descriptors as they come, and gives out whole frames.

    Whoever owns it closes the descriptors that `leftover` has when the port ends.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a frame has come."""
        return not self._buffer

    def feed(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Take in what has come.

        Raises:
            FrameError: There are more descriptors than any request may have.
        """
        self._buffer += data
        self._fds.extend(fds)  # first, so that they are known and can be closed
        if len(self._fds) > MAX_FDS:
            raise FrameError("too many descriptors")

    def next(self) -> Frame | None:
        """Return the next frame, None if none is whole yet.

        Raises:
            FrameError: It has no valid form, or its descriptors are not the ones that have come.
        """
        if len(self._buffer) < LENGTH.size:
            if self._fds and not self._buffer:
                raise FrameError("descriptors that no request has")
            return None
        (size,) = LENGTH.unpack_from(self._buffer)
        if not 2 <= size <= MAX_FRAME:
            raise FrameError(f"a frame of {size} bytes")
        end = LENGTH.size + size
        if len(self._buffer) < end:
            return None
        data = bytes(memoryview(self._buffer)[LENGTH.size : end])
        del self._buffer[:end]
        frame, count = _read(data)
        if count > len(self._fds):
            raise FrameError("a request without its descriptors")
        if isinstance(frame, Asked):
            return Asked(
                frame.id, frame.command, frame.arguments, tuple(self._fds.popleft() for _ in range(count))
            )
        return frame

    def leftover(self) -> Sequence[int]:
        """Give away the descriptors that no request has taken; they are for closing."""
        fds = tuple(self._fds)
        self._fds.clear()
        return fds


def _read(data: bytes) -> tuple[Frame, int]:
    """Return a frame, and how many descriptors it says that it has."""
    value = parse(data)
    number = value.pop("id", None)
    if type(number) is not int or not 0 < number <= _MOST_CALLS:
        raise FrameError("a frame without a number")
    if "command" in value:
        return _asked(number, value, len(data))
    if value == {"more": True}:
        return More(number), 0
    if value == {"cancel": True}:
        return Cancel(number), 0
    if value.keys() == {"event"} and isinstance(value["event"], dict):
        return Event(number, value["event"]), 0
    is_result = value.keys() == {"result"} and isinstance(value["result"], dict)
    if is_result or ("error" in value and value.keys() <= {"error", "exit_code", "key"}):
        return Answer(number, value), 0
    raise FrameError("a frame of no known form")


def _asked(number: int, value: Json, size: int) -> tuple[Asked, int]:
    command, arguments, fds = value.get("command"), value.get("arguments"), value.get("fds")
    if value.keys() != {"command", "arguments", "fds"} or size > MAX_REQUEST:
        raise FrameError("a request of no known form")
    if not isinstance(command, str) or not _COMMAND.fullmatch(command) or not isinstance(arguments, dict):
        raise FrameError("a request of no known form")
    if type(fds) is not int or not 0 <= fds <= MAX_FDS:
        raise FrameError("a request with a wrong number of descriptors")
    return Asked(number, command, arguments), fds


def parse(data: bytes) -> Json:
    """Return a JSON object, read strictly.

    Raises:
        FrameError: The bytes are something else, or hold what no honest program writes.
    """
    try:
        text = data.decode("ascii")  # everything else is written out
        value = _DECODER.decode(text)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()  # which no half of a pair allows
    except BoundsError as error:
        raise FrameError(str(error)) from None
    except (ValueError, RecursionError):
        raise FrameError("not JSON") from None
    if not isinstance(value, dict):
        raise FrameError("not a JSON object")
    return value


def _finite(text: str) -> float:
    number = bounds.fraction(text)
    if not -bounds.LATEST * 2.0**20 <= number <= bounds.LATEST * 2.0**20:
        raise BoundsError("out of range")
    return number


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BoundsError("a name that is there twice")
    return found


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(
    parse_int=bounds.whole_number,
    parse_float=_finite,
    parse_constant=bounds.no_constant,
    object_pairs_hook=_object,
)
