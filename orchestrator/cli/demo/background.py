"""A service of one's own in the background: started, watched through its control socket, and ended.

For programs that bring a service along, such as `demo`. What it says of its accounts comes in by a thread;
whoever waits for something is woken by each change, by the service's end, and by `cancel`.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from orchestrator.control.client import Client
from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.system import interpreter

Accounts: TypeAlias = Mapping[str, AccountView]
T = TypeVar("T")

_NOT_OURS = (
    "ORCHESTRATOR_CONFIG",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "NOTIFY_SOCKET",
    "JOURNAL_STREAM",
)
"""What would lead it to another service's files, or speak to systemd in the name of whoever started this."""
_LOG_LINES = 30
_POLL = 0.05  # seconds between two looks whether it listens already, of which nobody tells
_LAUNCH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it outlives the exec
os.execv(sys.argv[1], sys.argv[1:])
"""


class Cancelled(Exception):  # noqa: N818 - not an error
    """Nobody waits any more."""


class BackgroundService:
    """A service in a process of its own, out of the terminal's reach: a Ctrl-C is for whoever holds it.

    Should this process die without a word, the service is told to stop; so it is when the thread ends that
    has called `start`.

    Args:
        config_file: Its configuration.
        socket: Its control socket.
        environment: Its environment, of which nothing is taken that would lead it elsewhere.
        log: The file for all it logs.
        changed: Is told all accounts after each change, in a thread.
        ended: Is called when it has ended, in a thread.
    """

    def __init__(
        self,
        config_file: Path,
        socket: Path,
        environment: Mapping[str, str],
        log: Path,
        *,
        changed: Callable[[Sequence[AccountView]], None],
        ended: Callable[[], None],
    ) -> None:
        self.log = log
        self.client = Client(socket)
        service = interpreter.program("--config", str(config_file), "run")
        self._arguments = interpreter.script(_LAUNCH, *service)
        kept = {key: value for key, value in environment.items() if key not in _NOT_OURS}
        self._environment = interpreter.environment(kept)
        self._tell = changed
        self._tell_end = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._accounts: dict[str, AccountView] = {}
        self._is_up = self._is_over = self._is_cancelled = False

    # Its life

    def start(self) -> None:
        """Start it; whether it is up is told by `until_up`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        for target in (self._watch, self._reap):
            thread = threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)

    def ask_to_stop(self) -> None:
        """Ask it to stop; asked a second time, it hurries."""
        if self._process is not None and not self._is_over:
            self._process.terminate()

    def kill(self) -> None:
        """End it by SIGKILL; its children notice and end, too."""
        if self._process is not None and not self._is_over:
            self._process.kill()

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and not self._is_over

    def join(self) -> None:
        """Wait for the threads of one that has ended."""
        for thread in self._threads:
            thread.join()

    # What it says

    def until_up(self, seconds: float) -> None:
        """Wait until it takes commands.

        Raises:
            OrchestratorError: It does not in so many seconds, or has ended.
            Cancelled: See `cancel`.
        """
        self._wait(lambda: self._is_up or None, "the service did not take commands", seconds)

    def until(self, condition: Callable[[Accounts], T | None], otherwise: str, seconds: float) -> T:
        """Return what a condition on the accounts, by name, returns as soon as that is not None.

        Args:
            condition: The condition.
            otherwise: What the error says if that does not come true.
            seconds: How long to wait.

        Raises:
            OrchestratorError: It did not come true, or the service has ended; the message has the log's end.
            Cancelled: See `cancel`.
        """
        return self._wait(lambda: condition(self._accounts), otherwise, seconds)

    def cancel(self) -> None:
        """Let nobody wait any more, now or later."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()

    def failure(self, what: str) -> OrchestratorError:
        """Return an error that says what went wrong, and shows the end of the service's log."""
        states = [
            f"  {name}: {account.state}" + (f", {account.reason}" if account.reason else "")
            for name, account in self._accounts.items()
        ]
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            lines = []
        return OrchestratorError(
            "\n".join([what, *states, "the end of the service's log:", *(f"  {line}" for line in lines)]),
            key="demo_failed",
        )

    def _wait(self, found: Callable[[], T | None], otherwise: str, seconds: float) -> T:
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                if self._is_cancelled:
                    raise Cancelled
                value = found()
                if value is not None:
                    return value
                remaining = deadline - time.monotonic()
                if self._is_over:
                    raise self.failure(f"{otherwise}: the service has ended")
                if remaining <= 0:
                    raise self.failure(f"{otherwise} within {seconds:.0f} s")
                self._changed.wait(remaining)

    # Its threads

    def _watch(self) -> None:
        while self.runs:
            try:
                with self.client.stream("watch") as events:
                    for event in events:
                        self._take(event)
            except NotRunning:
                time.sleep(_POLL)  # not yet, or not any more
            except OrchestratorError:
                time.sleep(1)  # it is too busy to talk: whoever waits has a deadline

    def _take(self, event: Mapping[str, Any]) -> None:
        with self._changed:
            self._accounts |= {view.name: view for view in map(AccountView.from_json, event["accounts"])}
            for name in event["gone"]:
                self._accounts.pop(name, None)
            self._is_up = True
            accounts = list(self._accounts.values())
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # whoever shows them has a terminal that is gone
            self._tell(accounts)

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._tell_end()
