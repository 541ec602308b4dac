"""What tests do with a bot again and again: link it, bring it online, and look at what it leaves behind."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.neonize_process import NeonizeProcess

from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess

PATIENCE = 90.0
"""Seconds for what takes less than ten on an idle machine."""
NOT_SHOWN = "no client shows this code now"
"""What the sandbox says of a code that is used, or has been replaced by the next one."""
POLL = 0.1
"""Seconds between two looks at what nobody tells of by itself."""
FORTUNES = (
    "Connected",
    "Disconnected",
    "StreamError",
    "StreamReplaced",
    "KeepAliveTimeout",
    "KeepAliveRestored",
    "LoggedOut",
    "TemporaryBan",
    "ConnectFailure",
    "ClientOutdated",
    "connect_raised",
    "connect_returned",
)
"""Events that say how the connection fares; others come before, after and between them."""


@dataclass(frozen=True)
class Linked:
    """A bot that is linked to a phone, or was.

    Attributes:
        bot: Its process.
        number: The phone's number.
        device: Its device number.
    """

    bot: NeonizeProcess
    number: str
    device: int

    @property
    def target(self) -> str:
        """The bot as faults are aimed at it."""
        return f"{self.number}:{self.device}"

    @property
    def address(self) -> str:
        """The bot's address as its session's file has it."""
        return f"{self.number[1:]}:{self.device}@s.whatsapp.net"


def scan_shown(sandbox: SandboxClient, number: str, code: Callable[[], str | bytes]) -> int:
    """Hold a phone to a code, as a person does: to the next one, if that has just been replaced.

    Args:
        sandbox: The sandbox.
        number: The phone's number.
        code: Returns the code that is shown now: its text, or its picture.

    Returns:
        The number of the new device.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        shown = code()
        try:
            given = {"text": shown} if isinstance(shown, str) else {"png": shown}
            return int(sandbox.scan(number, **given)["device"])
        except SandboxError as error:
            if NOT_SHOWN not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(POLL)


def link(bot: NeonizeProcess, sandbox: SandboxClient, number: str) -> Linked:
    """Have a phone scan the bot's code, and wait until the bot is online."""
    bot.command("connect")
    device = scan_shown(sandbox, number, lambda: bot.qr(PATIENCE))
    bot.wait_for("Connected", PATIENCE)
    return Linked(bot, number, device)


def log_in(bot: NeonizeProcess) -> None:
    """Bring a bot online that was linked before."""
    bot.command("connect")
    bot.wait_for("Connected", PATIENCE)


def fortunes(bot: NeonizeProcess, after: int = -1) -> list[str]:
    """Return the names of the events that say how the connection has fared since the event of that index."""
    return [event["event"] for event in bot.events[after + 1 :] if event["event"] in FORTUNES]


def fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event says besides its name, place and time."""
    return {key: value for key, value in event.items() if key not in ("event", "index", "time")}


def stored_sessions(database: Path) -> list[str]:
    """Return the addresses of the devices in a session's file; it may be in use."""
    with closing(sqlite3.connect(database)) as connection:
        return [address for (address,) in connection.execute("SELECT jid FROM whatsmeow_device")]


def copy_session(database: Path, to: Path) -> Path:
    """Copy a session's file, which may be in use."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def devices(sandbox: SandboxClient, number: str) -> dict[int, int | None]:
    """Return a phone's linked devices, each with the number of its connection, or None."""
    (phone,) = [phone for phone in sandbox.phones() if phone["phone"] == number]
    return {device["device"]: device["connection"] for device in phone["devices"]}


def proxy_of(sandbox: SandboxProcess, user: str) -> str:
    """Return the URL of the sandbox's proxy for a user, by whose name faults find the connection."""
    return f"http://{user}:secret@127.0.0.1:{sandbox.port}"


def log_end(bot: NeonizeProcess) -> int:
    """Return where the bot's log ends now, to look for later lines."""
    return bot.log.stat().st_size


def wait_for_log(bot: NeonizeProcess, text: str, *, after: int = 0) -> None:
    """Wait until the bot's process has printed something of which there is no event."""
    wait_until(
        lambda: text in bot.log.read_bytes()[after:].decode(errors="replace"), f"no {text!r} in {bot.log}"
    )


def wait_until_forgotten(bot: NeonizeProcess) -> None:
    """Wait until the bot has deleted its session, which it begins to do when it tells of the logout."""
    wait_until(lambda: stored_sessions(bot.database) == [], f"the session is still in {bot.database}")


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait for something that nobody tells of, by looking."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{otherwise} after {PATIENCE:g} s"
        time.sleep(POLL)
