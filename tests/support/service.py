"""The service as an operator runs it, with a sandbox as its WhatsApp: `Service`, a handle for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
import yaml
from support import stores
from support.kept import Kept, KeptInFiles, PutAway
from support.linked import NOT_SHOWN

from orchestrator.control.client import Client, Stream
from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.process import SandboxProcess

Json = dict[str, Any]
Accounts = Mapping[str, Json]
T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-m", "orchestrator")
PATIENCE = 90.0
"""Seconds for what takes a few on an idle machine."""
ORPHAN_SECONDS = 30.0
"""Seconds within which nothing may be left of a service that has ended; a fraction of one on an idle machine.
Less than `DIAL_SECONDS`, by which a process that dials ends in any case; other ones would live for ever."""
QUICK: Json = {"base": "100ms", "factor": 1, "max": "100ms", "jitter": 0}
"""A back-off for tests that wait for the next try."""
_LOG_LINES = 60


class Service:
    """A service of its own; as a context manager it is started and, whatever happens, ended.

    Everything that waits raises AssertionError, with all that is known, when the time is up.

    Args:
        folder: Where the configuration, the state folder and the log are; it need not be empty.
        sandbox: Its WhatsApp.
        accounts: What the configuration says of each account; names alone for no more than that.
        log_level: What is logged.
        start: Start it with the context.
        write: Write a configuration; otherwise the one that is there is taken.
        program: What is run in place of this Python and these sources.
        environment: What it is run in, but for what leads to the sandbox; by default this process's.
        **settings: What else the configuration says.

    Attributes:
        state: The state folder.
        kept: What it keeps of its accounts.
        files: The same if that is files, for tests of the files themselves.
        config_file: The configuration.
        environment: That of the service and of all commands.
    """

    def __init__(
        self,
        folder: Path,
        sandbox: SandboxProcess,
        accounts: Mapping[str, Json] | Sequence[str] = (),
        *,
        log_level: str = "INFO",
        start: bool = True,
        write: bool = True,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config_file = folder / "accounts.yaml"
        self.files = KeptInFiles(self.state)
        self.store = stores.current()
        kept = self.store.kept(folder, self.state)
        self.kept: Kept = self.files if isinstance(kept, KeptInFiles) else kept
        self.sandbox = sandbox
        # A test may run the service as another user.
        self.client = Client(self.state / "control.sock", trusts=lambda _: True)
        given = os.environ if environment is None else environment
        base = {name: value for name, value in given.items() if name not in _NOT_OURS}
        if program is PROGRAM:
            base["PYTHONPATH"] = str(ROOT)
        self.environment = sandbox.environment(base)
        self._program = program
        self._log_level = log_level
        self._start = start
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._log: list[str] = []
        self._reader: threading.Thread | None = None
        self._reading = False
        if write:
            self.configure(accounts, **settings)

    def __enter__(self) -> Self:
        if self._start:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                code = self.stop()
                assert code == 0 or error is not None, f"the service ended with {code}\n{self._story()}"
        except AssertionError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            if error is not None:
                error.add_note(self._story())

    # Its life

    def configure(self, accounts: Mapping[str, Json] | Sequence[str], **settings: object) -> None:
        """Write a configuration; the service reads it when it starts, or is told to."""
        named = accounts if isinstance(accounts, Mapping) else {name: {} for name in accounts}
        document = {
            "state_dir": str(self.state),
            "start": {"parallel": 4, "spread": "0s"},
            "defaults": {"backoff": QUICK},
            **self.store.settings(self.folder),
            **settings,
            "accounts": {name: dict(values) for name, values in named.items()},
        }
        self.config_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def launch(self, *options: str) -> subprocess.Popen[str]:
        """Start the process without waiting for it to be ready."""
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(
            self.command_line("run", "--log-level", self._log_level, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.folder,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reading = True
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        return self._process

    def start(self) -> None:
        """Start it and wait until it takes commands."""
        after = len(self.log)
        self.launch()
        try:
            self.wait_for_log("the control socket is", after=after)
        except BaseException:
            end(self.processes())  # without a context, nobody would
            self._over()
            raise

    def stop(self, *signals: signal.Signals) -> int:
        """Stop it by SIGTERM or other signals; return its exit code once nothing is left of it."""
        process = self._running
        everything = self.processes()
        for number in signals or (signal.SIGTERM,):
            process.send_signal(number)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            end(everything)
            self._over()
            raise AssertionError(f"the service did not stop within {PATIENCE:g} s") from None
        left = wait_gone(everything, ORPHAN_SECONDS)
        end(left)
        self._over()
        assert not left, f"left behind by the service: {left}"
        return code

    def kill(self, *, but: Container[int] = ()) -> None:
        """End it by SIGKILL, and see that its children and helpers follow by themselves.

        Args:
            but: Processes that cannot.
        """
        everything = [process for process in self.processes() if process.pid not in but]
        self._running.kill()
        self._running.wait()
        left = wait_gone(everything, ORPHAN_SECONDS)
        end(left)
        self._over(wait=not but)
        assert not left, f"left behind by the service that was killed: {left}"

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        code = self._running.wait(PATIENCE)
        self._over()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._running.send_signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    def processes(self) -> list[psutil.Process]:
        """Return all processes that belong to it: its own, the children, the fork server and its helper."""
        try:
            own = psutil.Process(self.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    # Commands

    def command(
        self, *arguments: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Give a command as a person would, in a process of its own, whose output is no terminal.

        Args:
            *arguments: The command and what it takes.
            check: It must succeed, and say nothing but what belongs on stdout.
            stdin: What is typed.
        """
        done = subprocess.run(
            self.command_line(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done
        return done

    def command_line(self, *arguments: str) -> list[str]:
        """Return how a command is given to this service."""
        return [*self._program, "--config", str(self.config_file), *arguments]

    # What it says

    @property
    def log(self) -> list[str]:
        """All lines it has written so far, those of earlier starts included."""
        with self._changed:
            return list(self._log)

    def wait_for_log(self, text: str, *, after: int = 0) -> str:
        """Return the first line with that text in it, of those after a number of lines."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                for line in self._log[after:]:
                    if text in line:
                        return line
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._reading:
                    break
                self._changed.wait(remaining)
        raise AssertionError(f"not in the log: {text}\n{self._story()}")

    def accounts(self) -> list[Json]:
        """Return all accounts as `list --json` shows them."""
        return list(self.client.call("list")["accounts"])

    def about(self, name: str) -> Json:
        """Return one of them."""
        (account,) = self.client.call("list", names=[name])["accounts"]
        return dict(account)

    def child(self, name: str) -> int:
        """Return the process id of an account that has one."""
        pid = self.about(name)["pid"]
        assert isinstance(pid, int), self.about(name)
        return pid

    def explain(self, name: str) -> Json:
        """Return what `explain` knows: account, outlook and timeline."""
        return self.client.call("explain", name=name, entries=1000)

    def timeline(self, name: str) -> list[Json]:
        """Return an account's history as it is kept."""
        if self._process is not None:
            self.store.settle(self.client, name)
        return self.kept.timeline(name)

    def until(self, condition: Callable[[Accounts], T | None], what: str, *, timeout: float = PATIENCE) -> T:
        """Return what a condition on the accounts returns, as soon as that is true."""
        deadline = time.monotonic() + timeout
        accounts: dict[str, Json] = {}
        try:
            with Stream(self.client.path, {"command": "watch"}, timeout, trusts=self.client.trusts) as events:
                for event in events:
                    accounts |= {account["name"]: account for account in event["accounts"]}
                    for name in event["gone"]:
                        accounts.pop(name, None)
                    if found := condition(accounts):
                        return found
                    if time.monotonic() > deadline:
                        break
        except OrchestratorError as error:
            what += f" ({error})"
        story = json.dumps(accounts, indent=1, ensure_ascii=False)
        raise AssertionError(f"not within {timeout:g} s: {what}\n{story}\n{self._story()}")

    def wait_for_state(
        self, name: str, *states: str, after: int | None = None, timeout: float = PATIENCE
    ) -> Json:
        """Wait until an account is in one of these states; return what is shown of it then.

        Args:
            name: The account.
            states: The states.
            after: A process id: only with another process than this one, or with none.
            timeout: Seconds to wait at most.
        """

        def found(accounts: Accounts) -> Json | None:
            account = accounts.get(name)
            if account is None or account["state"] not in states:
                return None
            return account if after is None or account["pid"] != after else None

        return self.until(found, f"{name} is {' or '.join(states)}", timeout=timeout)

    def wait_for_entry(self, name: str, *, after: int = 0, **facts: object) -> Json:
        """Return the first entry of a timeline with these facts, of those after a number of entries."""

        def found(_: Accounts) -> Json | None:
            for entry in self.timeline(name)[after:]:
                if all(entry[key] == value for key, value in facts.items()):
                    return entry
            return None

        return self.until(found, f"an entry of {name}'s timeline with {facts}")

    # Files

    def png(self, name: str) -> Path:
        """Return where an account's code is shown."""
        return self.state / "qr" / f"{name}.png"

    def pngs(self) -> list[str]:
        """Return the names of all pictures, and of all that are not done yet."""
        return sorted(path.name for path in (self.state / "qr").iterdir())

    def quarantined(self, name: str, reason: str = "*") -> list[PutAway]:
        """Return the sessions of an account that were put away, oldest first."""
        return self.kept.quarantined(name, reason)

    # WhatsApp

    def wait_for_code(self, name: str, *, after: int | None = None) -> Path:
        """Wait until an account shows a code, not that of a certain process; return the picture."""

        def shown(accounts: Accounts) -> Path | None:
            account = accounts.get(name, {"qr_path": None})
            return Path(account["qr_path"]) if account["qr_path"] and account["pid"] != after else None

        return self.until(shown, f"{name} shows a code")

    def scan(self, name: str, number: str, *, after: int | None = None) -> None:
        """Hold a phone to an account's picture, as a person does: to the next one, if its round is over."""
        deadline = time.monotonic() + PATIENCE
        while True:
            png = self.wait_for_code(name, after=after)
            try:
                self.sandbox.client.scan(number, png=png)
                return
            except FileNotFoundError:
                assert time.monotonic() < deadline, f"{name} shows no picture"
            except SandboxError as error:
                if NOT_SHOWN not in str(error) or time.monotonic() > deadline:
                    raise

    def pair(self, name: str, number: str, *, after: int | None = None) -> Json:
        """Hold a phone to an account's picture; return the account once it is connected."""
        self.scan(name, number, after=after)
        return self.wait_for_state(name, "connected")

    def connections(self, number: str) -> list[int]:
        """Return the numbers of a phone's devices' connections, as WhatsApp has them."""
        return [one["connection"] for one in self.sandbox.client.connections() if one["phone"] == number]

    def connection(self, number: str) -> int:
        """Return the number of the one connection there is."""
        (connection,) = self.connections(number)
        return connection

    def wait_until_away(self, number: str) -> None:
        """Wait until WhatsApp has noticed that none of a phone's devices is connected any more."""
        since = self.sandbox.client.last_event()
        while self.connections(number):
            since = self.sandbox.client.wait_for("closed", PATIENCE, since, phone=number)["seq"]

    # Its output

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it does not run"
        return self._process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    self._log.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            if self._process in (process, None):  # and not that one's successor already
                self._reading = False
            self._changed.notify_all()

    def _over(self, *, wait: bool = True) -> None:
        assert self._reader is not None
        if wait:
            self._reader.join()  # the pipe has no other end any more
        self._process = None

    def _story(self) -> str:
        return "\n".join(["the end of the service's log:", *self.log[-_LOG_LINES:]])


_NOT_OURS = {
    "COLUMNS",
    "LINES",
    "ORCHESTRATOR_CONFIG",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "NOTIFY_SOCKET",
    "JOURNAL_STREAM",
    "PYTHONPATH",
}


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that have not. A zombie nobody reaps has ended."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if is_alive(process)]
    while left and (remaining := deadline - time.monotonic()) > 0:
        psutil.wait_procs(left, min(remaining, 0.1))
        left = [process for process in left if is_alive(process)]
    return left


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: Sequence[psutil.Process]) -> None:
    """End processes by SIGKILL, whether they are there or not."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
