"""A bot as a companion: a process that gets events from the gateway, and shows the service that it lives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import BotSettings
from orchestrator.control.companions import BOT_VARIABLE, BotExit, BotSpec
from orchestrator.control.port import Port
from orchestrator.service.companions.companion import Nature
from orchestrator.service.companions.process import Launch, Line
from orchestrator.service.isolation import Isolation
from orchestrator.store.layout import StatePaths
from orchestrator.system.folders import make_folder

MODULE: Final = "orchestrator.bots"
PAUSE_SECONDS: Final = 1.0
"""Between two looks at a bot's signs of life. One that writes without end takes no time from anybody else."""


class Beats:
    """Hears that a bot lives: whatever it writes is a sign of life.

    Args:
        sock: This end of the line.
        beat: Is called at every sign of life.
        lost: Is called when the other end is closed.
    """

    def __init__(self, sock: socket.socket, beat: Callable[[], None], lost: Callable[[str], None]) -> None:
        self._socket = sock
        self._beat = beat
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Hear nothing any more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._loop.remove_reader(self._socket.fileno())
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._listen)
            self._beat()
        else:
            self.close()
            self._lost("")


class Bot(Nature):
    """A bot's process.

    Args:
        bot: What the configuration says of it.
        settings: Returns the configuration in use.
        paths: The state folder.
        gateway: Returns the gateway's port; it raises NotRunning while there is none.
        log_level: What it logs.
    """

    exits = {  # noqa: RUF012 - nobody changes it
        BotExit.HUNG: "one of its handlers did not end in time",
        BotExit.NO_GATEWAY: "the gateway was gone",
        BotExit.UNUSABLE: "the bot cannot be loaded: the service's log says why",
    }

    def __init__(
        self,
        bot: BotSettings,
        settings: Callable[[], Settings],
        paths: StatePaths,
        gateway: Callable[[], Port],
        log_level: str,
    ) -> None:
        self.bot = bot
        self.name = f"bot {bot.name}"
        self._settings = settings
        self._paths = paths
        self._gateway = gateway
        self._log_level = log_level
        self._for_gateway: socket.socket | None = None

    def launch(self) -> Launch:
        """Return what its process is started with.

        Raises:
            NotRunning: There is no gateway that could have events for it.
            StateError: Its folder cannot be made.
        """
        self._gateway()
        self.gone()
        settings, bot = self._settings(), self.bot
        folder = self._paths.bots / bot.name
        make_folder(folder)
        self._for_gateway, for_bot = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)

        def variables(fd: int) -> dict[str, str]:
            spec = BotSpec(
                port=for_bot.fileno(),
                beat=fd,
                name=bot.name,
                app=bot.app,
                path=bot.path,
                folder=folder,
                closed=Isolation.of(settings, self._paths).closed,
                confine=settings.confine,
                seconds=bot.timeout,
                memory_limit=bot.memory_limit,
                log_level=self._log_level,
                log_format="journal",  # the service reads the lines and logs them in its own form
            )
            return {**dict(bot.env), BOT_VARIABLE: spec.as_text()}

        return Launch(MODULE, variables, given=[for_bot], is_foreign=True)

    def connect(self, sock: socket.socket, beat: Callable[[], None], lost: Callable[[str], None]) -> Line:
        """Make this end of its line."""
        return Beats(sock, beat, lost)

    async def begin(self, line: Line) -> None:  # noqa: ARG002 - as all natures have it
        """Hand the gateway the other end of the bot's port."""
        ours, self._for_gateway = self._for_gateway, None
        if ours is not None:
            with contextlib.closing(ours):
                await hand_over(self._gateway(), self.bot, ours)

    def gone(self) -> None:
        """Close what the gateway was not handed."""
        if self._for_gateway is not None:
            self._for_gateway.close()
            self._for_gateway = None


async def hand_over(
    gateway: Port, bot: BotSettings, end: socket.socket, *, attached: bool = False, is_new: bool = False
) -> None:
    """Hand the gateway its end of a bot's port.

    Args:
        gateway: The gateway's port.
        bot: The bot.
        end: The end.
        attached: Whether the bot is a person's, who runs it by hand, and not one of the configuration.
        is_new: Whether it gets only what comes from now on.

    Raises:
        NotRunning: The gateway is gone.
        OrchestratorError: It does not take the bot.
    """
    await gateway.call(
        "bot",
        fds=[end.fileno()],
        name=bot.name,
        accounts=None if bot.accounts is None else sorted(bot.accounts),
        events=list(bot.events),
        timeout=bot.timeout,
        parallel=bot.parallel,
        attached=attached,
        is_new=is_new,
    )
