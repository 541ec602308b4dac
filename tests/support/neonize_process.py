"""The program `neonize_driver` with Python's types: a bot in another process, for tests and measurements."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil
import qrcode

Event = dict[str, Any]

DRIVER = Path(__file__).with_name("neonize_driver.py")
START_SECONDS = 90.0
"""Time for Python to start and import neonize: 1 s on an idle machine, many on one that runs other tests."""

PANICKED = (-signal.SIGABRT, 4, 5)
"""How a process ends whose Go half panics: by SIGABRT, or, where Go panics again while it writes that down,
with exit code 4 or 5, and then often without a word (`startpanic_m` in Go's runtime/panic.go)."""

LOG_LINES = 60
"""How much of the log a failure shows."""


class CommandError(Exception):
    """A command was answered with an error; the message has neonize's class and text."""


class NeonizeProcess:
    """A bot with the real neonize; as a context manager it is started and, whatever happens, ended.

    Each event is a dict as the driver's documentation has it, and has its ``index`` in `events` as well.
    Everything that takes a time limit raises AssertionError, with all events and the end of the log in its
    message, when the time is up or the process has ended.

    Args:
        database: The session's SQLite file; the log goes beside it.
        environment: All of the process's environment.
        proxy: URL for neonize's ProxySettings, on top of what the environment says.
        device_name: What the phone shows under linked devices.
        download: Have the media of each incoming message fetched before its Message event, which then has
            ``sha256`` and ``length``, or ``download_error``.
        program: What is run instead of neonize's driver, with all arguments.
    """

    def __init__(
        self,
        database: Path,
        environment: Mapping[str, str],
        *,
        proxy: str | None = None,
        device_name: str | None = None,
        download: bool = False,
        program: Sequence[str] | None = None,
    ) -> None:
        self.database = database
        self.log = database.with_name(f"{database.name}.log")
        self._environment = environment
        self._arguments = [sys.executable, *(program or (str(DRIVER), str(database), "--log", str(self.log)))]
        if proxy is not None:
            self._arguments += ["--proxy", proxy]
        if device_name is not None:
            self._arguments += ["--device-name", device_name]
        if download:
            self._arguments.append("--download")
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._answers: dict[int, Event] = {}
        self._ended = False
        self._commands = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until neonize is imported."""
        self._process = subprocess.Popen(
            self._arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(self._environment),
            text=True,
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        try:
            self.wait_for("ready", timeout=START_SECONDS)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._running.pid

    @property
    def events(self) -> list[Event]:
        """All events so far, oldest first."""
        with self._changed:
            return list(self._events)

    def last_index(self) -> int:
        """Return the index of the newest event, to wait for a later one; -1 if there is none."""
        with self._changed:
            return len(self._events) - 1

    def wait_for(
        self,
        name: str,
        timeout: float = 90.0,
        predicate: Callable[[Event], bool] | None = None,
        *,
        after: int = -1,
    ) -> Event:
        """Return the first event of that name, waiting for it if need be.

        Args:
            name: The event's name, such as ``Connected``.
            timeout: Seconds to wait at most.
            predicate: What else must be true of it.
            after: Index of an event: only later ones count.
        """

        def look() -> Event | None:
            for event in self._events[after + 1 :]:
                if event["event"] == name and (predicate is None or predicate(event)):
                    return event
            return None

        return self._wait(look, f"event {name!r}", timeout)

    def qr(self, timeout: float = 90.0, *, after: int = -1) -> str:
        """Return the text of the newest QR code, waiting for one if need be.

        Args:
            timeout: Seconds to wait at most.
            after: Index of an event: only codes that came later count.
        """
        self.wait_for("qr", timeout, after=after)
        codes = [str(event["text"]) for event in self.events if event["event"] == "qr"]
        return codes[-1]

    def command(self, name: str, /, *, timeout: float = 80.0, **arguments: object) -> Event:
        """Have a command carried out and return its answer.

        The default time limit is a little more than the 75 s after which whatsmeow gives up a question.

        Raises:
            CommandError: neonize, or the driver, raised an error.
        """
        number = self.post(name, **arguments)
        answer = self._wait(lambda: self._answers.get(number), f"answer to {name!r}", timeout)
        if "error" in answer:
            raise CommandError(f"{name}: {answer['error']}")
        return answer

    def post(self, name: str, /, **arguments: object) -> int:
        """Send a command without waiting for its answer; returns its number."""
        with self._changed:
            self._commands += 1
            number = self._commands
            with contextlib.suppress(BrokenPipeError):  # it has ended, as whoever waits is going to be told
                self._send({"command": name, "id": number, **arguments})
        return number

    def cpu_seconds(self) -> float:
        """Return the CPU time of the running process since its start, all threads, user and system."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def wait_for_end(self, timeout: float = 90.0) -> int:
        """Return the exit code, once the process has ended by itself; a signal's number is negative."""
        code = self._running.wait(timeout)
        self._reap()
        return code

    def kill(self) -> None:
        """End the process by SIGKILL."""
        self._running.kill()
        self._reap()

    def stop(self) -> None:
        """End the process at once but by its own hand; no harm if it has ended."""
        try:
            self._send({"command": "exit"})
            self._running.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._running.kill()
        self._reap()

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "not started"
        return self._process

    def _send(self, request: Event) -> None:
        assert self._running.stdin is not None
        if not self._running.stdin.closed:
            self._running.stdin.write(json.dumps(request) + "\n")

    def _reap(self) -> None:
        process = self._running
        process.wait()
        assert self._reader is not None
        self._reader.join()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # a command that was never read
                stream.close()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            try:
                message = json.loads(line)
            except ValueError:
                message = {"event": "not_json", "text": line}
            with self._changed:
                if "answer" in message:
                    self._answers[message["answer"]] = message
                else:
                    self._events.append({"index": len(self._events), **message})
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait(self, look: Callable[[], Event | None], what: str, timeout: float) -> Event:
        deadline = time.monotonic() + timeout
        with self._changed:
            while (found := look()) is None:
                remaining = deadline - time.monotonic()
                if self._ended or remaining <= 0:
                    break
                self._changed.wait(remaining)
        if found is None:
            raise AssertionError(self._story(what, timeout))
        return found

    def _story(self, what: str, timeout: float) -> str:
        """Tell everything that is known about why something did not come."""
        if self._ended:
            ending = f"the process ended with {self._running.wait(5)} before"
        else:
            ending = f"not within {timeout:g} s:"
        log = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        parts = [f"{ending} {what}", "--- events", *map(json.dumps, self.events), f"--- end of {self.log}"]
        return "\n".join([*parts, *log[-LOG_LINES:]])


def write_png(text: str, path: Path) -> None:
    """Draw a QR code as the picture a phone would be held to."""
    with path.open("wb") as file:
        qrcode.make(text).save(file)
