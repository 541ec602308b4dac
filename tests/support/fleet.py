"""The real supervisor with stand-in children, in the test's own process, and its control server if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self

import psutil
from support.stand_in_child import Puppets, run

from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control.client import Client
from orchestrator.service.control import overview, reloading, sending, showing
from orchestrator.service.control.commands import Commands
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer
from orchestrator.service.forkserver import Spawner, Target
from orchestrator.service.supervisor import Supervisor
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths
from orchestrator.system.memory import OomKills

PATIENCE = 90.0
"""Seconds for what takes some tenths of one on an idle machine."""
QUICK = Backoff(base=0.05, factor=1.0, max=0.05, jitter=0.0, reset_after=30.0)

P = ParamSpec("P")


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function; it fails when tasks are left behind."""

    @functools.wraps(test)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            await test(*args, **kwargs)
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"

        asyncio.run(main())

    return run_test


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something of which nobody tells by itself."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.01)


def descendants() -> set[psutil.Process]:
    """Return the processes below this one, but for those of a database's server.

    The server is there for many tests, and has processes come and go by itself.
    """
    found = set[psutil.Process]()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() != "postgres":
                found |= {child, *child.children(recursive=True)}
    return found


class Fleet:
    """A supervisor that runs; leaving it stops it and sees that nothing is left behind.

    Args:
        folder: An empty folder.
        accounts: Names of accounts, or settings of some.
        start: Start the supervisor.
        control: Let commands come in over a socket, too.
        preload: What the children need not import themselves.
        target: What runs in the children.
        settings: Other settings of the service.
    """

    def __init__(
        self,
        folder: Path,
        *accounts: str | AccountSettings,
        start: bool = True,
        control: bool = False,
        preload: tuple[str, ...] = (),
        target: Target = run,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        state = folder / "state"
        self.folder = folder
        self.config_file = folder / "accounts.yaml"
        self.paths = StatePaths.of(state, environ={})
        self.paths.prepare()
        self.puppets = Puppets(state)
        known = [
            AccountSettings(account, backoff=QUICK) if isinstance(account, str) else account
            for account in accounts
        ]
        self.settings = Settings(
            config_file=self.config_file,
            state_dir=state,
            qr_dir=settings.pop("qr_dir", self.paths.qr),
            start_parallel=settings.pop("start_parallel", 10),
            start_spread=settings.pop("start_spread", 0.0),
            # The stand-ins write beside the state folder, where no isolated process could.
            confine=settings.pop("confine", "off"),
            accounts={account.name: account for account in known},
            **settings,
        )
        self._start = start
        self._control = control
        self._preload = preload
        self._target = target
        self.spawner: Spawner
        self.supervisor: Supervisor
        self.server: ControlServer
        self.commands: Commands
        self.client = Client(self.paths.control_socket)

    async def __aenter__(self) -> Self:
        self._before = descendants()
        self.spawner = Spawner(self._target, self.paths.meeting_places, self._preload)
        self.store = in_files(self.paths, self.settings.qr_dir, self.settings.qr_group)
        self.supervisor = Supervisor(self.settings, self.store, self.spawner, version="0.5.2")
        # What the kernel ends elsewhere on the machine, as other tests have it do, is none of this one's.
        self.supervisor._children.oom_kills = OomKills(machine=Path(os.devnull))
        if self._start:
            self.supervisor.start()
        if self._control:
            self.commands = commands = Commands(self.supervisor)
            sending.add(commands, self.supervisor.sends)
            overview.add(commands, self.supervisor)
            showing.add(commands, self.supervisor)
            reloading.add(commands, self.supervisor)
            self.server = ControlServer(ControlSocket(self.paths.control_socket), commands)
            await self.server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.wait_for(self.supervisor.stop(), PATIENCE)
        if self._control:
            await asyncio.wait_for(self.server.close(), PATIENCE)
        if error is None:
            left = descendants() - self._before
            assert not left, f"processes are left: {left}"
            assert not list(self.settings.qr_dir.glob("*.png"))
            assert not self.paths.control_socket.exists()

    def about(self, name: str) -> dict[str, Any]:
        """Return what is shown of an account."""
        return self.supervisor.describe(name).as_json()

    def timeline(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return the last entries of an account's timeline."""
        return self.store.record.tail(name, count)

    def state(self, name: str) -> State:
        """Return an account's state."""
        return State(self.about(name)["state"])

    def pid(self, name: str) -> int:
        """Return the process of an account that has one."""
        pid = self.about(name)["pid"]
        assert isinstance(pid, int), self.about(name)
        return pid

    def history(self, name: str) -> list[str]:
        """Return the states that an account has gone through."""
        return [entry["to"] for entry in self.timeline(name, 100)]

    @property
    def connections(self) -> int:
        """How many clients of the control socket there are."""
        return len(self.server._connections)

    def picture(self, name: str) -> Path:
        """Return where the picture of an account's code is, if one is shown."""
        return self.settings.qr_dir / f"{name}.png"

    def timeline_file(self, name: str) -> Path:
        """Return the file with an account's history."""
        return self.paths.timeline / f"{name}.jsonl"

    def sessions(self, name: str, *, reason: str = "*") -> list[Path]:
        """Return the folders in quarantine with a session of an account."""
        return sorted(self.paths.quarantine.glob(f"{name}-*Z-{reason}"))

    def place(self, name: str) -> Path:
        """Return where an account's session is, with its folder made."""
        path = self.paths.session(name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return path

    def has_session(self, name: str) -> Path:
        """Give an account a session, so that it connects without being paired."""
        path = self.place(name)
        path.write_bytes(b"a session of " + name.encode())
        return path

    async def until(self, name: str, *states: State, after: int | None = None) -> dict[str, Any]:
        """Wait until an account is in one of these states; return what is shown of it.

        Args:
            name: The account.
            states: The states.
            after: Only with another process than this one.
        """

        def is_there() -> bool:
            return self.state(name) in states and (
                after is None or self.about(name)["pid"] not in (None, after)
            )

        await self.until_true(is_there, f"{name} is {' or '.join(states)}, but it is {self.about(name)}")
        return self.about(name)

    async def until_true(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a change of the accounts has made something true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self.supervisor.wait_for_change()
        except TimeoutError:
            states = [self.about(name) for name in self.supervisor.names()]
            raise AssertionError(f"not within {PATIENCE:g} s: {what}; {states}") from None

    async def call(self, command: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """Give a command over the socket."""
        return await asyncio.to_thread(self.client.call, command, **arguments)


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and more than a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_files() -> int:
    """Return how many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
