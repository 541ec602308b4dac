"""What tests of children do again and again: start one, link it, copy what it stored."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from support.linked import scan_shown
from support.worker_process import PATIENCE, WorkerProcess

from orchestrator.sandbox.process import SandboxProcess


@dataclass(frozen=True)
class Account:
    """A linked account whose process has ended.

    Attributes:
        number: Its number, with a plus.
        device: Its device number.
        database: Its session's file, which is to be copied before it is used.
    """

    number: str
    device: int
    database: Path

    @property
    def target(self) -> str:
        """The account as faults are aimed at it."""
        return f"{self.number}:{self.device}"


class StartWorker(Protocol):
    """Starts a child in the sandbox's environment; it is ended with the test."""

    def __call__(
        self,
        *,
        account: Account | None = None,
        environment: dict[str, str] | None = None,
        spawn: bool = False,
        **spec: object,
    ) -> WorkerProcess: ...


def starter(sandbox: SandboxProcess, folder: Path, running: ExitStack) -> StartWorker:
    """Return what starts children in a folder.

    A child with an account gets a copy of its session, unless one is there already.
    """

    def start(
        *,
        account: Account | None = None,
        environment: dict[str, str] | None = None,
        spawn: bool = False,
        **spec: object,
    ) -> WorkerProcess:
        given = sandbox.environment() | (environment or {})
        worker = WorkerProcess(folder, given, spawn=spawn, **spec)
        if account is not None and not worker.database.exists():
            shutil.copyfile(account.database, worker.database)
            worker.database.chmod(0o600)
        return running.enter_context(worker)

    return start


def link(worker: WorkerProcess, sandbox: SandboxProcess, number: str) -> int:
    """Have a phone scan the child's picture, and wait until it is online; return the device number."""
    worker.wait_for("Code")
    device = scan_shown(sandbox.client, number, lambda: base64.b64decode(worker.last("Code")["png"]))
    worker.wait_for("Connected")
    return device


def make_account(sandbox: SandboxProcess, number: str, folder: Path) -> Account:
    """Link an account and stop its process."""
    with WorkerProcess(folder, sandbox.environment()) as worker:
        device = link(worker, sandbox, number)
        worker.tell("stop")
        assert worker.ended()["kind"] == "stopped"
        return Account(number, device, worker.database)


def addresses(database: Path) -> list[str]:
    """Return whom a session's file is linked to."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT jid FROM whatsmeow_device")]


def secrets_of(database: Path) -> list[str]:
    """Return the keys of a session's file, in the ways they could be written."""
    columns = "noise_key, identity_key, signed_pre_key, adv_key"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        keys = [key for row in connection.execute(f"SELECT {columns} FROM whatsmeow_device") for key in row]
        keys += [row[0] for row in connection.execute("SELECT key FROM whatsmeow_pre_keys LIMIT 50")]
    texts = []
    for key in keys:
        texts += [key.hex(), base64.b64encode(key).decode().rstrip("="), " ".join(map(str, key))]
    return texts


def devices(sandbox: SandboxProcess, number: str) -> list[dict[str, Any]]:
    """Return the linked devices of a phone, as WhatsApp has them."""
    return [
        device for phone in sandbox.client.phones() if phone["phone"] == number for device in phone["devices"]
    ]


def seconds_to_exit(worker: WorkerProcess, act: Callable[[], None], clock: Callable[[], float]) -> float:
    """Return how long the child takes to be gone after something was done to it."""
    start = clock()
    act()
    return float(worker.wait_for("exit", PATIENCE)["time"]) - start
