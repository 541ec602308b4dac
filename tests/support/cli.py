"""The command line in processes of its own, in a folder of its own, with stand-in children: `Cli`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil
from support.stand_in_child import Puppets

from orchestrator.control.client import Client

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "orchestrator")
"""What an operator runs."""
STAND_IN = (sys.executable, str(ROOT / "tests/support/stand_in_orchestrator.py"))
"""The same, but children it starts are stand-ins."""
PATIENCE = 120.0
"""Seconds for what takes a fraction of one on an idle machine."""
_VARIABLES = (
    "ORCHESTRATOR_CONFIG",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "COLUMNS",  # which readline sets in pytest's own process, and LINES likewise
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "LANG",
    "LC_ALL",
    "PYTHONIOENCODING",
)

_REPEATED = re.compile(r"orchestrator (?:--(?:config|state-dir) \S+ )+")

Done = subprocess.CompletedProcess[str]


class Cli:
    """Runs commands in a folder.

    Args:
        folder: An empty folder: the home, with configuration and state in it.

    Attributes:
        config: The configuration file, which need not exist.
        state: The state folder.
        environment: Of all commands.
        puppets: Tells the children what to do.
        names_state: Whether the command line names the state folder; else the configuration has to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "accounts.yaml"
        self.state = folder / "state"
        self.log = folder / "service.log"
        kept = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        # A terminal's name: what is no terminal does not look at it.
        kept["TERM"] = "xterm-256color"
        self.environment = {**kept, "HOME": str(folder), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        self.puppets = Puppets(self.state)
        self.names_state = True

    def configure(self, *accounts: str, top: str = "") -> None:
        """Write a configuration: a line for each account, such as ``a: {}``."""
        entries = "".join(f"  {entry}\n" for entry in accounts) or "  {}\n"
        self.config.write_text(
            "start: {parallel: 10, spread: 0s}\n"
            "defaults: {backoff: {base: 50ms, max: 50ms}}\n"
            f"{top}accounts:\n{entries}"
        )

    def line(self, *arguments: str, program: tuple[str, ...] = COMMAND) -> list[str]:
        """Return how a command is given here."""
        state = ("--state-dir", str(self.state)) if self.names_state else ()
        return [*program, "--config", str(self.config), *state, *arguments]

    def __call__(
        self, *arguments: str, code: int = 0, program: tuple[str, ...] = COMMAND, text: str = ""
    ) -> Done:
        """Give a command, which is to end with that exit code and never with a traceback."""
        return self.run(self.line(*arguments, program=program), code=code, text=text)

    def run(self, line: list[str], *, code: int = 0, text: str = "") -> Done:
        """Run a whole command line, likewise."""
        done = self.run_any(line, text=text)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def run_any(self, line: list[str], *, text: str = "") -> Done:
        """Run a whole command line, whatever it ends with."""
        return subprocess.run(
            line,
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )

    def accounts(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Return what ``list --json`` says, by name."""
        return {account["name"]: account for account in json.loads(self("list", "--json", *arguments).stdout)}

    def until(self, name: str, state: str) -> dict[str, Any]:
        """Wait until an account of the running service is in a state."""

        # A test may run the service as another user.
        client = Client(self.state / "control.sock", trusts=lambda _: True)

        def found() -> dict[str, Any] | None:
            (account,) = client.call("list", names=[name])["accounts"]
            return dict(account) if account["state"] == state else None

        return dict(wait_for(found, f"{name} is {state}"))

    def has_session(self, name: str) -> Path:
        """Give an account a session, so that it connects without being paired."""
        path = self.state / "sessions" / name / "session.sqlite3"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.parent.chmod(0o700)
        self.state.chmod(0o700)
        path.write_bytes(b"a session")
        return path

    @contextmanager
    def popen(
        self,
        *arguments: str,
        program: tuple[str, ...] = STAND_IN,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: IO[str] | int | None = None,
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a command that goes on; it is ended with the context if it has not by then."""
        with subprocess.Popen(
            self.line(*arguments, program=program),
            env=self.environment,
            cwd=self.folder,
            text=True,
            start_new_session=True,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    @contextmanager
    def service(self, *options: str, code: int = 0) -> Iterator[subprocess.Popen[str]]:
        """Run the service; in the end it is stopped, unless it is already, and nothing may be left of it."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        with (
            self.log.open("a") as log,
            self.popen("run", *options, stdin=subprocess.DEVNULL, stderr=log) as process,
        ):
            wait_for(
                lambda: process.poll() is not None or "the control socket is" in self.log.read_text()[begun:],
                "the service is ready",
            )
            assert process.poll() is None, self.log.read_text()
            everything = psutil.Process(process.pid).children(recursive=True)
            try:
                yield process
            finally:
                with suppress(psutil.NoSuchProcess):  # the test has ended it
                    everything += psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGTERM)  # once: a second one would hurry it
            assert process.wait(PATIENCE) == code, self.log.read_text()
            _, left = psutil.wait_procs(everything, PATIENCE)
            assert not left, left
        assert "Traceback" not in self.log.read_text(), self.log.read_text()


def bare(text: str) -> str:
    """Return what a command says without the options of its own that its hints repeat."""
    return _REPEATED.sub("orchestrator ", text)


def wait_for(condition: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - what the condition returns
    """Return what a condition returns as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.02)
    return found
