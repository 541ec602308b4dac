"""What the service starts its gateway and its bots with. Nothing in it is secret."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

GATEWAY: Final = "gateway"
"""The name of the gateway in the log and in `list`."""
VARIABLE: Final = "ORCHESTRATOR_GATEWAY"
"""The variable of the environment with the gateway's `GatewaySpec`."""
BOT_VARIABLE: Final = "ORCHESTRATOR_BOT"
"""The variable of the environment with a bot's `BotSpec`. The bot's own code does not see it."""
BEAT_SECONDS: Final = 10.0
"""How often a bot's process says that it is alive."""


class BotExit(IntEnum):
    """How a bot's process ends by itself. All of it is told in its log."""

    ASKED = 0
    """It was asked to."""
    BUG = 1
    """A bug, or a coroutine that has blocked the event loop for longer than a handler may take."""
    HUNG = 70
    """A handler could not be ended in time otherwise. The event is brought again."""
    NO_GATEWAY = 75
    """The other end of its port is gone: it is to be started anew, with another port."""
    UNUSABLE = 78
    """The bot cannot be loaded, or not be confined as the configuration requires. Until somebody changes
    something, the next process ends in the same way."""


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """One run of the gateway.

    Attributes:
        port: The descriptor of the gateway's end of its port.
        messages: The folder of all accounts' messages, which the gateway reads.
        tokens: The folder of the tokens' file, which the gateway reads.
        folder: The gateway's own folder, which nobody else writes in.
        closed: Folders that the gateway never reads as a whole, such as the state folder.
        confine: Whether the gateway gives up all files and system calls that it does not need: ``auto``,
            ``required`` or ``off``.
        log_level: What is logged: DEBUG, INFO, WARNING or ERROR.
        log_format: How: ``text`` or ``json``.
        stored: Whether messages are kept in a database, of which the service gives the reader an end.
    """

    port: int
    messages: Path
    tokens: Path
    folder: Path
    closed: tuple[Path, ...] = ()
    confine: str = "auto"
    log_level: str = "INFO"
    log_format: str = "text"
    stored: bool = False

    def as_text(self) -> str:
        """Return the spec as a text, for a variable of the environment."""
        return json.dumps(
            {
                "port": self.port,
                "messages": str(self.messages),
                "tokens": str(self.tokens),
                "folder": str(self.folder),
                "closed": [str(path) for path in self.closed],
                "confine": self.confine,
                "log_level": self.log_level,
                "log_format": self.log_format,
                "stored": self.stored,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> GatewaySpec:
        """Read what `as_text` returns."""
        found: dict[str, Any] = json.loads(text)
        return cls(
            port=found["port"],
            messages=Path(found["messages"]),
            tokens=Path(found["tokens"]),
            folder=Path(found["folder"]),
            closed=tuple(Path(path) for path in found["closed"]),
            confine=found["confine"],
            log_level=found["log_level"],
            log_format=found["log_format"],
            stored=found["stored"],
        )


@dataclass(frozen=True, slots=True)
class BotSpec:
    """One run of a bot: ``python -P -m orchestrator.bots``.

    Attributes:
        port: The descriptor of the bot's end of its port, at whose other end the gateway is.
        beat: A descriptor on which the bot writes a byte every `BEAT_SECONDS`, the first one when it has been
            loaded; None if nobody listens.
        name: The bot's name, for the log.
        app: The bot, as ``module:attribute``.
        path: The folder with the module, absolute, which the bot reads.
        folder: The bot's scratch folder, the only one that it writes in. It is its current folder, and its
            home.
        closed: Folders that stay closed, even beneath `path`: the state folder, the configuration's, that of
            the codes.
        confine: Whether the bot gives up all files and system calls that it does not need: ``auto``,
            ``required`` or ``off``.
        seconds: How long a handler may take.
        memory_limit: Bytes of memory that it may use, None for as much as there is.
        log_level: What is logged: DEBUG, INFO, WARNING or ERROR.
        log_format: How: ``text``, ``json``, or ``journal``: with priorities and without the bot's name.
    """

    port: int
    name: str
    app: str
    path: Path
    folder: Path
    beat: int | None = None
    closed: tuple[Path, ...] = ()
    confine: str = "auto"
    seconds: float = 60.0
    memory_limit: int | None = None
    log_level: str = "INFO"
    log_format: str = "text"

    def as_text(self) -> str:
        """Return the spec as a text, for a variable of the environment."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_text(cls, text: str) -> BotSpec:
        """Read what `as_text` returns."""
        found: dict[str, Any] = json.loads(text)
        found |= {key: Path(found[key]) for key in ("path", "folder")}
        found["closed"] = tuple(Path(path) for path in found["closed"])
        return cls(**found)
