"""A service in the background: started, watched through its control socket, and ended.

For programs that run their own service, such as `demo`. A thread receives the accounts' changes. Each change,
the service's end, and `cancel` wake the threads that wait for something.
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
"""Variables that would lead the service to another service's files, or to systemd."""
_LOG_LINES = 30
_POLL = 0.05  # seconds between two attempts to reach a service that is not up yet
_LAUNCH = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it outlives the exec
os.execv(sys.argv[1], sys.argv[1:])
"""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The waiting was canceled."""


class BackgroundService:
    """A service in its own process. Ctrl-C in the terminal does not reach the service.

    The service is told to stop if this process dies, and if the thread ends that called `start`.

    Args:
        config_file: The service's configuration.
        socket: The service's control socket.
        environment: The service's environment; variables that lead to another service are left out.
        log: The service's log file.
        changed: Called with all accounts after each change, in a thread.
        ended: Called when the service has ended, in a thread.
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

    # The process

    def start(self) -> None:
        """Start the service; `until_up` waits until it is up."""
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
        """Ask the service to stop; a second request makes the service hurry."""
        if self._process is not None and not self._is_over:
            self._process.terminate()

    def kill(self) -> None:
        """End the service by SIGKILL; its children notice and end, too."""
        if self._process is not None and not self._is_over:
            self._process.kill()

    @property
    def runs(self) -> bool:
        """Whether the service was started and has not ended."""
        return self._process is not None and not self._is_over

    def join(self) -> None:
        """Wait for the threads of a service that has ended."""
        for thread in self._threads:
            thread.join()

    # The accounts

    def until_up(self, seconds: float) -> None:
        """Wait until the service takes commands.

        Raises:
            OrchestratorError: The service does not take commands in time, or has ended.
            Cancelled: See `cancel`.
        """
        self._wait(lambda: self._is_up or None, "the service did not take commands", seconds)

    def until(self, condition: Callable[[Accounts], T | None], otherwise: str, seconds: float) -> T:
        """Wait until a condition on the accounts, by name, returns something; return that.

        Args:
            condition: The condition.
            otherwise: What the error says if the condition does not come true.
            seconds: How long to wait.

        Raises:
            OrchestratorError: The condition did not come true, or the service has ended; the message has the
                log's end.
            Cancelled: See `cancel`.
        """
        return self._wait(lambda: condition(self._accounts), otherwise, seconds)

    def pause(self, seconds: float) -> None:
        """Wait a moment.

        Raises:
            OrchestratorError: The service has ended.
            Cancelled: See `cancel`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_cancelled or self._is_over, seconds)
            if self._is_cancelled:
                raise Cancelled
            if self._is_over:
                raise self.failure("the service has ended")

    def cancel(self) -> None:
        """End all waiting, now and later."""
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

    # The threads

    def _watch(self) -> None:
        while self.runs:
            try:
                with self.client.stream("watch") as events:
                    for event in events:
                        self._take(event)
            except NotRunning:
                time.sleep(_POLL)  # not up yet, or already ended
            except OrchestratorError:
                time.sleep(1)  # too busy to answer: waiting threads have deadlines

    def _take(self, event: Mapping[str, Any]) -> None:
        with self._changed:
            self._accounts |= {view.name: view for view in map(AccountView.from_json, event["accounts"])}
            for name in event["gone"]:
                self._accounts.pop(name, None)
            self._is_up = True
            accounts = list(self._accounts.values())
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._tell(accounts)

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._tell_end()
