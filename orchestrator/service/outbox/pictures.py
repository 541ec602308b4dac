"""Has a picture looked at by a process that is made for it and thrown away; see `picture`."""

from __future__ import annotations

import base64
import binascii
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass, field
from typing import Final

from orchestrator.errors import OrchestratorError
from orchestrator.sending.forms import MAX_THUMBNAIL
from orchestrator.service.outbox import picture
from orchestrator.system import interpreter

SECONDS: Final = 20.0
"""How long that may take; it takes 0.3 s, most of which is Python's start."""
_MOST_ANSWER: Final = 64 * 1024
_MOST_SIDE: Final = 1 << 16
_MODULE: Final = "orchestrator.service.outbox.picture"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a picture.

    Attributes:
        width: Pixels.
        height: The same.
        animated: Whether it moves.
        thumbnail: A small JPEG.
        stripped: The picture without metadata, None if nobody wanted it.
    """

    width: int
    height: int
    animated: bool
    thumbnail: bytes = field(repr=False)
    stripped: bytes | None = field(default=None, repr=False)


def look(source: int, *, strip: bool) -> Picture:
    """Return what is known of a picture. This blocks, for as long as `SECONDS`.

    Args:
        source: A descriptor that reads the picture from its beginning.
        strip: Whether it is to lose what it says beside its pixels.

    Raises:
        OrchestratorError: The picture is damaged or too large (`file_unfit`); or there is no process to be
            had (`cannot_start`).
    """
    try:
        with os.fdopen(os.memfd_create("picture", os.MFD_CLOEXEC), "rb") as target:
            given = (target.fileno(),) if strip else ()
            answer = _run(source, given)
            found = _read(answer)
            if not strip:
                return found
            target.seek(0)
            data = target.read(picture.MOST_BYTES + 1)
    except OSError as error:
        raise OrchestratorError(
            f"the picture cannot be looked at: {error.strerror or error}", key="cannot_start"
        ) from None
    if not 0 < len(data) <= picture.MOST_BYTES:
        raise _unfit()
    return Picture(found.width, found.height, found.animated, found.thumbnail, data)


def _run(source: int, given: tuple[int, ...]) -> bytes:
    """Return what the process says.

    Raises:
        OSError: There is no process to be had.
        OrchestratorError: It does not say anything, and takes no end, or fails.
    """
    process = subprocess.Popen(
        interpreter.module(_MODULE, *map(str, given)),
        stdin=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=interpreter.bot_environment(os.environ),
        pass_fds=given,
        cwd="/",
        start_new_session=True,
    )
    deadline = time.monotonic() + SECONDS
    try:
        answer = _all_of(process, deadline)
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _unfit() from None
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    if process.returncode != 0:
        raise _unfit()
    return answer


def _all_of(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return what a process writes, as far as anybody wants to read it."""
    assert process.stdout is not None
    found = bytearray()
    poll = select.poll()  # which takes descriptors above 1,023, too
    poll.register(process.stdout, select.POLLIN)
    while len(found) <= _MOST_ANSWER:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            raise subprocess.TimeoutExpired(process.args, SECONDS)
        if not (block := os.read(process.stdout.fileno(), _MOST_ANSWER)):
            return bytes(found)
        found += block
    raise _unfit()


def _read(answer: bytes) -> Picture:
    """Return what a process has answered that a picture may have taken over."""
    try:
        said = json.loads(answer.decode("ascii"))
        width, height, animated = said["width"], said["height"], said["animated"]
        thumbnail = base64.b64decode(said["thumbnail"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise _unfit() from None
    sides = all(type(one) is int and 0 < one <= _MOST_SIDE for one in (width, height))
    is_jpeg = not thumbnail or thumbnail.startswith(b"\xff\xd8\xff")
    if not sides or type(animated) is not bool or not is_jpeg or len(thumbnail) > MAX_THUMBNAIL:
        raise _unfit()
    return Picture(width, height, animated, thumbnail)


def _unfit() -> OrchestratorError:
    return OrchestratorError(
        f"the picture cannot be read: it is damaged, or has more than {picture.MOST_PIXELS // 10**6} million"
        " pixels",
        key="file_unfit",
    )
