"""The service as an operator runs it, in the hands of a measurement."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.meter import cpu_seconds
from orchestrator.control.client import Client, Stream
from orchestrator.errors import NotRunning
from orchestrator.store.layout import StatePaths
from orchestrator.system import certificates, interpreter

START_SECONDS = 60.0
"""Time for the service to answer; it takes a second, most of it for seeing that neonize can be loaded."""
STOP_SECONDS = 60.0
"""Time for it to stop; after 15 s it kills what has not stopped by then."""
PATIENCE = 600.0
"""Time for all accounts to connect; fifty that pair take two minutes on two cores."""
DEFAULT_PARALLEL = 2
DEFAULT_SPREAD = 1.0
"""The configuration's defaults for how many accounts start at once, and the seconds between them."""
_FORK_SERVER = "multiprocess.forkserver"
_LOG_LINES = 40
_LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "ORCHESTRATOR_CONFIG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY")


@dataclass(frozen=True, slots=True)
class Arrival:
    """An account that has connected.

    Attributes:
        pid: Its process.
        seconds: From the start of the service to its word that the account is connected.
        cpu: What its process had used up to a quarter of a second after that.
    """

    pid: int
    seconds: float
    cpu: float


def program_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python keeps compiled modules, and finds nothing of an operator's.

    Without the former, every start of a program would compile it anew, which nobody's installation does.

    Args:
        base: What the environment holds otherwise.
    """
    kept = {name: value for name, value in base.items() if name not in _LEFT_OUT}
    return interpreter.environment(kept)


def trusting_the_system(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment with which programs trust the system's certificates and the sandbox's own.

    They trust the sandbox's alone otherwise, and need not read some hundred other ones first, as they must
    where WhatsApp itself is at the other end.

    Args:
        environment: The sandbox's.
        folder: Where a file with all of them goes.
    """
    both = Path(environment["SSL_CERT_FILE"]).read_text()
    for path in map(Path, certificates.FILES):
        if path.exists():
            both += "\n" + path.read_text()
            break
    together = folder / "certificates.pem"
    together.write_text(both)
    return {**environment, "SSL_CERT_FILE": str(together)}


class Service:
    """A service with accounts; it can be started and stopped many times, and keeps its sessions.

    Args:
        folder: Where everything of it goes; it must exist.
        accounts: Names of the accounts, each with what its configuration says.
        environment: Which WhatsApp it meets, and what else the process needs.
        program: The command ``orchestrator``, which is this checkout's if no other is given.
        settings: What else the configuration says.
    """

    def __init__(
        self,
        folder: Path,
        accounts: Mapping[str, Mapping[str, object]],
        environment: Mapping[str, str],
        program: Sequence[str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        folder = folder.absolute()
        self.folder = folder
        self.names = list(accounts)
        self.paths = StatePaths.of(folder / "state", environ={})
        self.config_file = folder / "accounts.yaml"
        self.log = folder / "service.log"
        self.client = Client(self.paths.control_socket)
        self._accounts = accounts
        self._settings = {} if settings is None else settings
        self._environment = program_environment(environment)
        self._program = interpreter.program() if program is None else program
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def pid(self) -> int:
        """The id of the service's own process."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def running_pid(self) -> int | None:
        """The same, None while it does not run."""
        process = self._process
        return None if process is None else process.pid

    @contextmanager
    def running(self, *, parallel: int = DEFAULT_PARALLEL, spread: float = DEFAULT_SPREAD) -> Iterator[None]:
        """Run it, from the moment it answers; it is stopped in good order at the end.

        Args:
            parallel: How many accounts may be starting at once.
            spread: Up to how many seconds are between two starts, at random.
        """
        start = {"parallel": parallel, "spread": f"{spread * 1000:.0f}ms"}
        # JSON is YAML, too.
        self.config_file.write_text(
            json.dumps({"start": start, **self._settings, "accounts": self._accounts})
        )
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Start it with the configuration that is there, and wait until it answers.

        Raises:
            AssertionError: It does not start; the message has the end of its log.
        """
        arguments = ["--config", str(self.config_file), "--state-dir", str(self.paths.root), "run"]
        self._started_at = time.time()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program, *arguments],
                cwd=self.folder,  # an earlier version's processes import from the current folder
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client.call("ping")
            except NotRunning as error:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise self._failure("does not start") from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> int:
        """Stop it in good order; return its exit code.

        Raises:
            AssertionError: It did not stop in time, and was killed; the message has the end of its log.
        """
        process = self._process
        assert process is not None
        self._process = None
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise self._failure("does not stop") from None

    def kill(self) -> None:
        """End its own process by SIGKILL; its children and helpers have to follow by themselves."""
        process = self._process
        assert process is not None
        self._process = None
        process.kill()
        process.wait()

    def until_connected(self, patience: float = PATIENCE) -> dict[str, Arrival]:
        """Wait until every account is connected; return when each was, and what that took.

        Raises:
            AssertionError: It took too long; the message has the end of the service's log.
        """
        used: dict[str, tuple[int, float]] = {}
        deadline = time.monotonic() + patience
        with Stream(self.paths.control_socket, {"command": "watch", "names": []}, patience) as events:
            for event in events:
                for one in event["accounts"]:
                    if one["state"] == "connected" and one["name"] not in used:
                        used[one["name"]] = (one["pid"], cpu_seconds(one["pid"]))
                if len(used) == len(self.names):
                    break
                if time.monotonic() > deadline:
                    raise self._failure(f"has only {len(used)} of {len(self.names)} accounts connected")
        return {name: Arrival(pid, self._connected_after(name), cpu) for name, (pid, cpu) in used.items()}

    def _connected_after(self, name: str) -> float:
        """Return when an account was connected, to the millisecond: the stream tells it up to 0.25 s late."""
        entries = self.client.call("explain", name=name, entries=20)["timeline"]
        times = [one["at"] for one in entries if one["to"] == "connected"]
        return datetime.fromisoformat(times[-1]).timestamp() - self._started_at

    def about(self) -> list[dict[str, Any]]:
        """Return what the service tells of its accounts."""
        return list(self.client.call("list")["accounts"])

    def check_connected(self, arrivals: Mapping[str, Arrival]) -> None:
        """See that every account is still connected, by the same process."""
        now = {one["name"]: (one["state"], one["pid"]) for one in self.about()}
        changed = {name: now[name] for name, one in arrivals.items() if now[name] != ("connected", one.pid)}
        assert not changed, f"not connected any more, or by another process: {changed}"

    def helpers(self) -> tuple[int, Sequence[int]]:
        """Return the fork server's process id, and those of the service's other children (its tracker)."""
        children = psutil.Process(self.pid).children()
        (server,) = [one.pid for one in children if _FORK_SERVER in " ".join(one.cmdline())]
        return server, [one.pid for one in children if one.pid != server]

    def _failure(self, what: str) -> AssertionError:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return AssertionError("\n".join([f"the service {what}; the end of its log:", *lines]))
