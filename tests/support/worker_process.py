"""A child of the service in the hands of a test: real processes, real neonize, its messages as dicts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

Event = dict[str, Any]

PROGRAM = Path(__file__).with_name("worker_parent.py")
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0
"""Seconds for what takes one or two on an idle machine."""


class WorkerProcess:
    """One run of one account; as a context manager it is started and, whatever happens, ended.

    Everything that waits raises AssertionError, with all that is known, when the time is up or the end came.

    Args:
        folder: Where the session, its lock and the log are.
        environment: All of the parent's environment.
        spawn: Start the child by spawn instead of from a fork server.
        **spec: What else the child's `ChildSpec` says.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, spawn: bool = False, **spec: object
    ) -> None:
        self.folder = folder
        self.name = str(spec.get("name", "support"))
        self.database = folder / f"{self.name}.sqlite3"
        self.log = folder / f"{self.name}.log"
        given = {
            "name": self.name,
            "database": str(self.database),
            "lock": str(folder / f"{self.name}.lock"),
            **spec,
        }
        self._arguments = [sys.executable, str(PROGRAM), json.dumps(given), *(["--spawn"] if spawn else [])]
        self._environment = {**environment}
        path = [str(ROOT), environment.get("PYTHONPATH", "")]
        # The sandbox's hook must stay in front: Python takes the first sitecustomize it finds.
        self._environment["PYTHONPATH"] = os.pathsep.join(reversed([entry for entry in path if entry]))
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._over = False
        self._parent: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._parent = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                bufsize=1,
            )
        self._reader = threading.Thread(target=self._read, args=(self._parent.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        parent = self._running
        with contextlib.suppress(AssertionError, psutil.NoSuchProcess):
            if not any(event["event"] == "exit" for event in self.events):
                psutil.Process(self.pid).kill()
        parent.kill()
        parent.wait()
        assert self._reader is not None
        self._reader.join()
        for stream in (parent.stdin, parent.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return int(self.wait_for("started")["pid"])

    @property
    def events(self) -> list[Event]:
        """All the child has said so far, oldest first."""
        with self._changed:
            return list(self._events)

    @property
    def said(self) -> list[str]:
        """The names of the messages so far, without heartbeats."""
        return [
            event["event"] for event in self.events if event["event"] not in ("started", "Heartbeat", "exit")
        ]

    def printed(self) -> str:
        """Return all that has come out of its standard error, and the parent's."""
        return self.log.read_text(errors="replace")

    def count(self) -> int:
        """Return how many events there are, to wait for a later one."""
        with self._changed:
            return len(self._events)

    def last(self, name: str) -> Event:
        """Return the newest event of that name; there must be one."""
        with self._changed:
            return [event for event in self._events if event["event"] == name][-1]

    def wait_for(
        self,
        name: str,
        timeout: float = PATIENCE,
        predicate: Callable[[Event], bool] = lambda _: True,
        *,
        after: int = 0,
    ) -> Event:
        """Return the first event of that name, waiting for it if need be.

        Args:
            name: The name of a message, or ``started`` or ``exit``.
            timeout: Seconds to wait at most.
            predicate: What else must be true of it.
            after: A number of events: only later ones count.
        """

        def found() -> Event | None:
            for event in self._events[after:]:
                if event["event"] == name and predicate(event):
                    return event
            return None

        deadline = time.monotonic() + timeout
        with self._changed:
            while (event := found()) is None:
                remaining = deadline - time.monotonic()
                if self._over or remaining <= 0:
                    break
                self._changed.wait(remaining)
        if event is None:
            raise AssertionError(self._story(name, timeout))
        return event

    def ended(self, timeout: float = PATIENCE) -> Event:
        """Return its last word, once it has exited; the exit's ``status`` and ``at`` are added."""
        end = self.wait_for("exit", timeout)
        words = [event for event in self.events if event["event"] == "Ended"]
        assert len(words) <= 1, self._story("one Ended", timeout)
        if not words:
            return {"kind": None, "status": end["status"], "at": end["time"]}
        last = [event for event in self.events if event["event"] not in ("exit", "started")][-1]
        assert last is words[0] or last["event"] == "Ended", self._story("Ended last", timeout)
        return {**words[0], "status": end["status"], "at": end["time"]}

    def tell(self, command: str) -> None:
        """Have the parent do something: ``stop``, ``deaf``, ``hear``, or pass on a message as JSON."""
        assert self._running.stdin is not None
        self._running.stdin.write(f"{command}\n")

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        os.kill(self.pid, number)

    def kill_parent(self) -> None:
        """End the parent by SIGKILL."""
        self._running.kill()

    @contextlib.contextmanager
    def watched(self) -> Iterator[Callable[[float], bool]]:
        """Give a function that tells whether the child is gone, waiting for it so many seconds at most."""
        descriptor = os.pidfd_open(self.pid)
        try:
            yield lambda seconds: bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._parent is not None, "not started"
        return self._parent

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _story(self, what: str, timeout: float) -> str:
        kept = [
            {
                key: value
                for key, value in event.items()
                if key not in ("png", "text") or event["event"] == "Ended"
            }
            for event in self.events
        ]
        lines = [
            f"no {what} within {timeout:g} s; what there was:",
            *map(json.dumps, kept),
            "--- the log's end",
        ]
        return "\n".join([*lines, *self.printed().splitlines()[-60:]])
