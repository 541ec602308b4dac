"""An account's library with what composes for it, in the hands of a test: `composing_driver`."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.linked import PATIENCE, scan_shown
from support.neonize_process import CommandError, Event, NeonizeProcess

from orchestrator.sandbox.process import SandboxProcess

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Composing:
    """A linked account that sends what is composed for it.

    Attributes:
        process: Its process.
        number: The number of its phone.
        folder: The folder of its messages.
    """

    process: NeonizeProcess
    number: str
    folder: Path

    def send(self, to: str, **outgoing: Any) -> str | None:  # noqa: ANN401
        """Compose and send something; return the message's identifier, None if it was no message."""
        done = self.try_to_send(to, **outgoing)
        if "error" in done:
            raise AssertionError(done["error"])
        return None if done["id"] is None else str(done["id"])

    def try_to_send(self, to: str, **outgoing: Any) -> Event:  # noqa: ANN401
        """Compose and send something; return the answer, with ``secrets``: what the session has of it."""
        secret = secrets.token_bytes(32)
        try:
            answer = self.process.command("send", outgoing={"to": to, **outgoing}, secret=secret.hex())
        except CommandError as error:
            answer = {"error": str(error)}
        with closing(sqlite3.connect(f"file:{self.process.database}?mode=ro", uri=True)) as session:
            query = "SELECT chat_jid, message_id FROM whatsmeow_message_secrets WHERE key = ?"
            return {**answer, "secrets": session.execute(query, (secret,)).fetchall()}

    def file(self, data: bytes, mime_type: str, **about: Any) -> dict[str, Any]:  # noqa: ANN401
        """Put a file where those lie that wait; return what a message says of it."""
        name = str(secrets.randbits(63))
        (self.folder / "outgoing" / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return {"id": name, "sha256": digest, "size": len(data), "mime_type": mime_type, **about}

    def ask(self, kind: str, **ask: Any) -> Event:  # noqa: ANN401
        """Have something done at once; return what became of it."""
        return self.process.command("ask", ask={"kind": kind, **ask})

    def does(self, kind: str, **ask: Any) -> dict[str, Any]:  # noqa: ANN401
        """Have something done at once; return the result."""
        done = self.ask(kind, **ask)
        assert (done["fate"], done["about"]) == ("done", ""), done
        return dict(done["result"])


@contextmanager
def composing(sandbox: SandboxProcess, number: str, folder: Path) -> Iterator[Composing]:
    """Link an account that composes and sends."""
    messages = folder / "messages"
    (messages / "outgoing").mkdir(parents=True)
    database = folder / "session.sqlite3"
    environment = dict(sandbox.environment())
    # The sandbox's hook must stay in front: Python takes the first sitecustomize it finds.
    path = [environment.get("PYTHONPATH", ""), str(ROOT / "tests"), str(ROOT)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    program = ["-m", "support.composing_driver", str(database), str(messages)]
    with NeonizeProcess(database, environment, program=program) as process:
        process.command("connect")
        scan_shown(sandbox.client, number, lambda: process.qr(PATIENCE))
        process.wait_for("Connected", PATIENCE)
        yield Composing(process, number, messages)
