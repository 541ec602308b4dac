"""Outboxes as accounts' processes and the service write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.messages.outbox import New, Outbox
from orchestrator.sending import wire
from orchestrator.sending.forms import Outgoing, Text
from orchestrator.sending.row import key_digest

CHAT = "4915100000002@s.whatsapp.net"


def new(
    text: str = "Hello", key: str = "", *, to: str = CHAT, most: int = 1000, now: float | None = None
) -> New:
    """Return a text to be sent.

    Args:
        text: The text.
        key: The client's key; by default one for each text.
        to: The chat's address.
        most: How many rows may wait.
        now: When it is sent, in Unix seconds; None: now.
    """
    return of(Outgoing(to, Text(text)), key or text, most=most, now=now)


def of(outgoing: Outgoing, key: str, *, most: int = 1000, now: float | None = None) -> New:
    """Return something to be sent; the key is known for three days, and it may wait for one."""
    now = time.time() if now is None else now
    digest = key_digest("test", key)
    return New(outgoing, wire.as_text(outgoing), digest, now + 259_200.0, now + 86_400.0, most)


@contextmanager
def outbox_of(state: Path, name: str) -> Iterator[Outbox]:
    """Write to the outbox of an account, as its process does; it is made if there is none."""
    folder = state / "messages" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    outbox = Outbox.open(folder)
    try:
        yield outbox
    finally:
        outbox.close()
