"""A sandbox in a process of its own, for tests and for programs that need a WhatsApp server."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from orchestrator.sandbox import token
from orchestrator.sandbox.client import SandboxClient, SandboxError, environment_of
from orchestrator.sandbox.environment import LOOPBACK
from orchestrator.system import interpreter

START_SECONDS: Final = 60.0
"""Time to get ready: half a second on an idle machine, many seconds on a busy one."""
STOP_SECONDS: Final = 30.0
"""Time to stop after SIGTERM, before SIGKILL; an orderly stop takes some hundredths of a second."""
_LOG_LINES = 40


class SandboxProcess:
    """A running sandbox; a context manager starts the sandbox and always ends it.

    If this process dies, the sandbox notices and ends, too. Ctrl-C in the terminal does not reach the
    sandbox: the owner of this object decides when the sandbox ends.

    Args:
        state_dir: Where the sandbox keeps its state; by default a temporary folder, removed at the end.
        port: Where the sandbox listens for WhatsApp clients; 0 for any free port, which a restart keeps.
        control_port: Where the sandbox takes commands; 0 likewise.
        listen: The IP address on which the sandbox listens for WhatsApp clients.

    Attributes:
        state_dir: The folder.
        log: The sandbox's log file, in that folder.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        port: int = 0,
        control_port: int = 0,
        listen: str = LOOPBACK,
    ) -> None:
        self._clean_up: Callable[[], object] = lambda: None
        if state_dir is None:
            state_dir = Path(tempfile.mkdtemp(prefix="orchestrator-sandbox-"))
            self._clean_up = weakref.finalize(self, shutil.rmtree, state_dir, ignore_errors=True)
        self.state_dir = state_dir.absolute()
        self.log = self.state_dir / "server.log"
        self._ports = (port, control_port)
        self._listen = listen
        self._about: dict[str, Any] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except SandboxError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            self._clean_up()

    # What clients need

    @property
    def about(self) -> dict[str, Any]:
        """The facts that the sandbox told when it was ready: see `SandboxClient.about`."""
        if self._about is None:
            raise SandboxError("the sandbox is not started: call start() first")
        return self._about

    @property
    def port(self) -> int:
        """The port for WhatsApp clients: an HTTP and SOCKS5 proxy."""
        return int(self.about["port"])

    @property
    def client(self) -> SandboxClient:
        """The control interface."""
        address = f"http://127.0.0.1:{self.about['control_port']}"
        return SandboxClient(address, token_file=Path(self.about["state_dir"], token.NAME))

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which a process connects to this sandbox instead of WhatsApp.

        Args:
            base: The other variables; `os.environ` if not given.
        """
        return environment_of(self.about, base)

    # The process

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running().pid

    def start(self) -> None:
        """Start the sandbox and wait until it listens.

        Raises:
            SandboxError: The sandbox is already running, ended at once, or was not ready in `START_SECONDS`;
                the message has the end of the log.
        """
        if self._process is not None:
            raise SandboxError("the sandbox is already running")
        port, control_port = self._ports
        self._ports = (port or _free_port(self, self._listen), control_port or _free_port(self, LOOPBACK))
        port, control_port = self._ports
        arguments = ["--json", "--until-stdin-closes", "--state-dir", str(self.state_dir)]
        arguments += ["--port", str(port), "--control-port", str(control_port), "--listen", self._listen]
        with self._open_log() as log:
            self._process = subprocess.Popen(
                interpreter.program("sandbox", "serve", *arguments),
                env=interpreter.environment(os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._about = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the sandbox gracefully; do nothing if no sandbox runs.

        Raises:
            SandboxError: The sandbox did not stop in `STOP_SECONDS` and was killed, or ended with an exit
                code other than 0, now or before; the message has the end of the log.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failure(f"did not stop within {STOP_SECONDS:g} s") from None
        code = self._reap()
        if code:
            raise self._failure(f"ended with exit code {code}")

    def kill(self) -> None:
        """End the sandbox by SIGKILL, which leaves no time to close connections."""
        self._running().kill()
        self._reap()

    def restart(self) -> None:
        """Stop the sandbox if it runs, and start the sandbox again: same ports, same state.

        Raises:
            SandboxError: As `stop` and `start` do.
        """
        self.stop()
        self.start()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SandboxError("the sandbox is not running")
        return self._process

    def _reap(self) -> int:
        process = self._running()
        code = process.wait()
        # Only now: closing stdin is a second command to stop, and would interrupt the first.
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        self._process = None
        return code

    def _open_log(self) -> IO[bytes]:
        try:
            self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SandboxError(f"{self.log} cannot be written: {error.strerror}") from None
        log = os.fdopen(descriptor, "ab")
        self._log_start = log.seek(0, os.SEEK_END)
        return log

    def _first_line(self) -> bytes:
        process = self._running()
        assert process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self._failure(f"was not ready within {START_SECONDS:g} s")
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    raise self._failure(f"did not start: exit code {process.wait(STOP_SECONDS)}")
                line += data
        return line

    def _failure(self, what: str) -> SandboxError:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        end = "\n".join(lines[-_LOG_LINES:]) or "(nothing)"
        return SandboxError(f"the sandbox {what}; the end of its log {self.log}:\n{end}")


def _free_port(owner: object, address: str) -> int:
    """Return a port that no other program gets as long as the owner lives, also between two starts.

    Raises:
        SandboxError: This machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as reserved:
        reserved.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else the sandbox could not use the port
        try:
            reserved.bind((address, 0))
        except OSError as error:
            raise SandboxError(f"the address {address} cannot be used: {error.strerror}") from None
        port: int = reserved.getsockname()[1]
        weakref.finalize(owner, os.close, reserved.detach())
    return port
