"""The reader itself: answers one request after the other, until the gateway is gone."""

from __future__ import annotations

import logging
import resource
import select
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.reader import wire
from orchestrator.gateway.reader.shelf import Shelf
from orchestrator.messages.remote import Channel
from orchestrator.system.memory import give_back

MEMORY: Final = 1 << 30
"""Bytes of address space that a reader may take: some 200 MB are Python and its libraries."""


def serve(sock: socket.socket, messages: Path, kept: socket.socket | None = None) -> None:
    """Answer requests until the other end is closed.

    Args:
        sock: Where they come from.
        messages: The folder of all messages.
        kept: Where messages are kept, by `messages.remote`; None: in the folder.
    """
    logging.disable()  # what is said of an inbox may quote it
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    shelf = Shelf(messages, channel=None if kept is None else Channel(kept))
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    idle: float | None = None
    while True:
        was_open, idle = idle is not None, shelf.close_idle()
        if was_open and idle is None:
            give_back()
        if not waiting.poll(None if idle is None else idle * 1000 + 1):
            continue
        request = _request(sock)
        if request is None:
            return
        answer = _answer(shelf, request)
        if kept is not None and _has_ended(kept):
            # Whatever was found out is no word of the store, and no later question would fare better.
            sock.sendall(wire.write_refusal(wire.CUT_OFF))
            return
        sock.sendall(answer)


def _has_ended(kept: socket.socket) -> bool:
    """Tell whether nobody is at the other end. Nothing else comes between questions."""
    ended = select.poll()
    ended.register(kept, select.POLLIN)
    return bool(ended.poll(0))


def _answer(shelf: Shelf, request: bytes) -> bytes:
    try:
        return wire.write_answer(shelf.answer(wire.read_request(request)))
    except MemoryError:
        raise  # another reader has more
    except OrchestratorError as error:
        return wire.write_refusal(error.key)
    except Exception:  # noqa: BLE001 - the next account's messages are as they should be
        return wire.write_refusal("internal_error")


def _request(sock: socket.socket) -> bytes | None:
    """Return the next request, None if there is none any more."""
    head = _exactly(sock, wire.LENGTH.size)
    if head is None:
        return None
    (size,) = wire.LENGTH.unpack(head)
    return _exactly(sock, size) if size <= wire.MAX_REQUEST else None


def _exactly(sock: socket.socket, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        piece = sock.recv(size - len(found))
        if not piece:
            return None
        found += piece
    return bytes(found)
