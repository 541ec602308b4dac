"""One companion: carries out what its machine decides, and tells the machine what happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, Final

from orchestrator.control.protocol import Json
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service.aside import Aside
from orchestrator.service.companions.machine import (
    Action,
    Beat,
    Broke,
    Event,
    Exited,
    Kill,
    Machine,
    NotSpawned,
    Renew,
    Spawned,
    Stalled,
    Start,
    State,
    Stop,
    Tick,
    Want,
)
from orchestrator.service.companions.process import CompanionProcess, Launch, Line, how_it_ended
from orchestrator.service.timers import now
from orchestrator.system.clock import iso
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

ENDING_SECONDS: Final = 3.0
"""How long a process that has closed its line may take to end by itself, so that its exit code is known."""


class Nature(ABC):
    """What sort of companion it is.

    Attributes:
        name: What it is called in the log and by people.
        exits: What exit codes of its own mean, for people.
    """

    name: str
    exits: ClassVar[Mapping[int, str]] = {}

    @abstractmethod
    def launch(self) -> Launch:
        """Return what its process is started with. This is called in a thread: it may wait for files.

        Raises:
            OrchestratorError: It cannot be started now.
        """

    @abstractmethod
    def connect(self, sock: socket.socket, beat: Callable[[], None], lost: Callable[[str], None]) -> Line:
        """Make this end of a new process's line.

        Args:
            sock: The socket.
            beat: Is to be called at every sign of life.
            lost: Is to be called when the line is lost, with what rule was broken, if one was.
        """

    async def begin(self, line: Line) -> None:  # noqa: B027 - most need nothing
        """Tell a new process what it needs to know; an error ends that process.

        Raises:
            OrchestratorError: It does not take that.
        """

    async def drain(self, line: Line, seconds: float) -> None:  # noqa: B027
        """Have a process finish what it has begun; SIGTERM follows.

        Raises:
            OrchestratorError: It does not answer.
        """

    def gone(self) -> None:  # noqa: B027
        """Take note that a process is gone."""


class Companion:
    """Keeps one process running, as long as it is wanted.

    Args:
        nature: What sort of companion it is.
        aside: Does what takes time beside the event loop.
        changed: Is called when something about it has changed.
    """

    def __init__(self, nature: Nature, aside: Aside, changed: Callable[[], None] = lambda: None) -> None:
        self.nature = nature
        self._aside = aside
        self._changed = changed
        self._machine = Machine()
        self._process: CompanionProcess | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._over.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._since = now().wall

    @property
    def name(self) -> str:
        """What it is called."""
        return self.nature.name

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._machine.state

    @property
    def line(self) -> Line:
        """The line of the running process.

        Raises:
            NotRunning: It does not run now.
        """
        if self._process is None:
            raise NotRunning(f"the {self.name} does not run at the moment: {self._why_not()}")
        return self._process.line

    def about(self) -> Json:
        """Return what others see of it."""
        machine = self._machine
        return {
            "name": self.name,
            "state": str(machine.state),
            "since": iso(self._since),
            "pid": self._process.pid if self._process else None,
            "reason": machine.reason or None,
            "restarts": max(0, machine.starts - 1),
        }

    def want(self, on: bool, seconds: float = 0.0) -> None:
        """Have it run, or end within so many seconds."""
        self._tell(Want(on, seconds))

    def renew(self, seconds: float) -> None:
        """Have another process take the place of the present one, which may take so long to end."""
        self._tell(Renew(seconds))

    def stalled(self, seconds: float) -> None:
        """Let no silence count of a time in which the service itself stood still."""
        self._tell(Stalled(seconds))

    async def over(self) -> None:
        """Return when there is no process, and none comes by itself."""
        await self._over.wait()

    def _why_not(self) -> str:
        machine = self._machine
        if machine.state is State.WAITING:
            return f"{machine.reason}; another process follows"
        return "it stops" if machine.state in (State.STOPPING, State.OFF) else "it starts"

    # What happens

    def _tell(self, event: Event) -> None:
        before = self._machine.state
        actions = self._machine.handle(event, now().monotonic, random.random())
        for action in actions:
            self._do(action)
        self._plan()
        if self._machine.state is not before:
            self._since = now().wall
            self._changed()
        if self._machine.is_over:
            self._over.set()
        else:
            self._over.clear()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self._machine.wake_at) is not None:
            self._timer = self._loop.call_at(at, self._tell, Tick())

    def _do(self, action: Action) -> None:
        match action:
            case Start():
                self._background(self._start())
            case Stop(seconds):
                if self._process is not None:
                    self._background(self._stop(self._process, seconds))
            case Kill(why):
                log.warning("%s: process killed: %s", self.name, why)
                if self._process is not None:
                    self._process.kill()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        try:
            launch = await self._aside.run(self.nature.launch)
            process = await CompanionProcess.start(
                self.name,
                launch,
                self._aside,
                lambda sock: self.nature.connect(sock, self._beat, self._lost),
                self._exited,
            )
        except NotRunning as error:  # what it needs is not there yet, and brings it up when it is
            log.debug("%s: no process could be started: %s", self.name, error)
            self._tell(NotSpawned(str(error)))
            return
        except (OSError, OrchestratorError) as error:
            why = trouble(error) if isinstance(error, OSError) else str(error)
            log.error("%s: no process could be started: %s", self.name, why)
            self._tell(NotSpawned(f"no process could be started: {why}"))
            return
        except Exception:  # or it would be waited for for ever
            log.exception("%s: no process could be started", self.name)
            self._tell(NotSpawned("no process could be started: the service's log says more"))
            return
        self._process = process
        log.info("%s: process %d was started", self.name, process.pid)
        self._tell(Spawned())
        if self._machine.state is not State.STOPPING:
            await self._begin(process)

    async def _begin(self, process: CompanionProcess) -> None:
        why = ""
        try:
            await self.nature.begin(process.line)
        except NotRunning:
            pass  # it is gone, and that is told otherwise
        except OrchestratorError as error:
            if error.key == "canceled":  # it has begun to end by itself, and has said why in the log
                why = "it has ended while it began: the service's log says why"
            else:
                why = f"it does not take what it is told: {error}"
            log.error("%s: %s", self.name, why)
        except Exception:
            log.exception("%s: the process could not be told what it needs", self.name)
            why = "a bug in the service: the service's log has the details"
        if why and process is self._process:
            self._tell(Broke(why))

    async def _stop(self, process: CompanionProcess, seconds: float) -> None:
        """Have a process do what it has begun, and end; the machine kills it if that takes too long."""
        with contextlib.suppress(OrchestratorError):
            await self.nature.drain(process.line, seconds)
        process.terminate()

    def _beat(self) -> None:
        self._tell(Beat())

    def _lost(self, why: str) -> None:
        if why:
            log.error("%s: the process broke a rule of its line (%s)", self.name, why)
            self._tell(Broke(why))
        elif self._process is not None and self._ending is None:
            self._ending = self._loop.call_later(ENDING_SECONDS, self._tell, Broke("it closed its line"))

    def _exited(self, status: int) -> None:
        self._process = None
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        how = how_it_ended(status, self.nature.exits)
        stopping = self._machine.state is State.STOPPING
        log.log(logging.INFO if stopping else logging.ERROR, "%s: %s", self.name, how)
        self.nature.gone()
        self._tell(Exited(how))
