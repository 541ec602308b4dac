"""The sandbox as a running server: opens its state, listens, and stops when told to."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.sandbox import token
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.environment import LOOPBACK, client_environment
from orchestrator.sandbox.server.control import Control
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.listener import Listener
from orchestrator.sandbox.server.store import Store, StoreError
from orchestrator.sandbox.wire.tokens import Tokens, load_tokens


class StartError(Exception):
    """The sandbox cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a sandbox is started with; port 0 means any free one.

    Attributes:
        state_dir: Where phones, devices and messages are kept.
        port: Where WhatsApp clients connect.
        control_port: Where commands connect, on 127.0.0.1.
        address: The IP address on which WhatsApp clients connect.
    """

    state_dir: Path
    port: int = 0
    control_port: int = 0
    address: str = LOOPBACK


async def run(options: Options, ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        options: Where and what to serve.
        ready: Called once with what ``GET /`` of the control interface says, when both ports listen.

    Raises:
        StartError: Another sandbox uses the folder, or a port is taken.
        StoreError: The state cannot be used.
        CertificateError: The certificates cannot be used.
        TokenError: neonize's library is missing or of an unknown form.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tokens = load_tokens()
    lock = _lock(options.state_dir)
    authority = Authority.load_or_make(options.state_dir)
    secret = _secret(options.state_dir)
    store = Store(options.state_dir / "sandbox.sqlite3")
    try:
        hub = _hub(store, tokens)
        listener = Listener(hub, authority.server_context(), options.address, options.port)
        await _listen(listener.start(), options.port, options.address)
        environment = client_environment(
            port=listener.port,
            ca_file=options.state_dir / "ca.pem",
            root_key=hub.root_key,
            address=options.address,
        )
        about: dict[str, Any] = {
            "sandbox": __version__,
            "pid": os.getpid(),
            "port": listener.port,
            "address": options.address,
            "state_dir": str(options.state_dir),
            "environment": environment,
        }
        control = Control(hub, listener, about, secret, options.state_dir / token.NAME)
        await _listen(control.start(options.control_port), options.control_port)
        ready({**about, "control_port": control.port})
        await stopping.wait()
        await control.stop()
        await listener.stop()
    finally:
        store.close()
        os.close(lock)


async def _listen(starting: Any, port: int, address: str = LOOPBACK) -> None:  # noqa: ANN401 - a coroutine
    try:
        await starting
    except OSError as error:
        raise StartError(f"port {port} on {address} cannot be used: {error.strerror}; name another") from None


def _hub(store: Store, tokens: Tokens) -> Hub:
    try:
        return Hub(store, tokens)
    except sqlite3.Error as error:
        raise StoreError(f"the sandbox's state cannot be written ({error}): is the disk full?") from None


def _secret(folder: Path) -> str:
    try:
        return token.load_or_make(folder)
    except OSError as error:
        raise StoreError(f"{folder / token.NAME} cannot be written: {error.strerror}") from None


def _lock(folder: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "sandbox.lock", flags, 0o600)
    except OSError as error:
        why = error.strerror
        raise StoreError(f"{folder}: cannot be used as the sandbox's state folder: {why}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StartError(
            f"{folder}: another sandbox (process {holder or 'unknown'}) uses this state folder; "
            "stop it or name another"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"{folder}: cannot be locked: {error.strerror}") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
