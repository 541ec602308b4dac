"""A parent with one child, for tests: starts it as the service does, and tells what it says as lines of JSON.

Run it as ``python worker_parent.py SPEC [--spawn]``, where SPEC is a `ChildSpec` as JSON. On stdout appear

- ``{"event": "started", "pid": PID}``,
- ``{"event": NAME, "time": SECONDS, ...}`` for every message of the child, with its fields; the time is
  CLOCK_MONOTONIC,
- at its end ``{"event": "exit", "status": CODE}``.

On stdin it takes ``stop`` (ask the child to stop), ``deaf`` (hear nothing any more), ``hear`` (again), and
any message for the child as JSON, as it goes through the pipe.
Its stderr is the child's.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path

import multiprocess

from orchestrator.accounts import pipe
from orchestrator.accounts.settings import Messages, Sending
from orchestrator.worker.main import run
from orchestrator.worker.pipe import Connection
from orchestrator.worker.spec import ChildSpec

lock = threading.Lock()


def tell(event: str, **fields: object) -> None:
    line = {"event": event, "time": time.monotonic(), **fields}
    with lock:
        print(json.dumps(line), flush=True)


def relay(connection: Connection, hears: threading.Event) -> None:
    try:
        while True:
            wait([connection.fileno()])
            hears.wait()
            message = pipe.decode(connection.recv_bytes())
            fields = asdict(message)
            if isinstance(message, pipe.Code):
                fields["png"] = base64.b64encode(message.png).decode()
            tell(type(message).__name__, **fields)
    except (EOFError, OSError):
        pass


def obey(connection: Connection, hears: threading.Event) -> None:
    for line in sys.stdin:
        match line.strip():
            case "stop":
                connection.send_bytes(pipe.encode(pipe.Stop()))
            case "deaf":
                hears.clear()
            case "hear":
                hears.set()
            case message if message.startswith("{"):
                connection.send_bytes(message.encode())
    os._exit(3)  # whoever started this is gone


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=json.loads)
    parser.add_argument("--spawn", action="store_true")
    arguments = parser.parse_args()
    given = arguments.spec
    paths = {
        key: Path(given[key]) for key in ("database", "lock", "home", "messages", "trace") if key in given
    }
    allow = {"keeps": Messages(allow=tuple(given.pop("allow")))} if "allow" in given else {}
    sending = {"sending": Sending(**given.pop("sending"))} if "sending" in given else {}
    reads = {"reads": tuple(map(Path, given.pop("reads", ())))}
    spec = ChildSpec(**{**given, **paths, **allow, **sending, **reads})
    context = multiprocess.get_context("spawn" if arguments.spawn else "forkserver")
    if not arguments.spawn:
        context.set_forkserver_preload(["orchestrator.worker.library.preload"])
    ours, theirs = context.Pipe(duplex=True)
    child = context.Process(target=run, args=(spec, theirs), name=spec.name)
    child.start()
    theirs.close()
    tell("started", pid=child.pid)
    hears = threading.Event()
    hears.set()
    relaying = threading.Thread(target=relay, args=(ours, hears), daemon=True)
    relaying.start()
    threading.Thread(target=obey, args=(ours, hears), daemon=True).start()
    child.join()
    hears.set()
    relaying.join(60)
    tell("exit", status=child.exitcode)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
