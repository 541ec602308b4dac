"""An account's library and what composes for it, without the rest of the account's process.

Run it as ``python -m support.composing_driver DATABASE FOLDER``, with tests/ on the path; FOLDER is that of
the account's messages. Commands come in and events go out as lines of JSON, as with `neonize_driver`:

- ``connect``
- ``send``: composes ``outgoing``, in the words of `sending.wire`, and hands it over with the secret
  ``secret`` (hexadecimal digits); the answer has ``id``, ``chat`` and ``seconds``
- ``ask``: does ``ask``, in the words of `sending.asks`; the answer has ``fate``, ``code``, ``about`` and
  ``result``
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from orchestrator.accounts.settings import Messages
from orchestrator.messages.inbox import Inbox
from orchestrator.sending import asks, wire
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Row, State
from orchestrator.worker import asking, events
from orchestrator.worker.composing.composer import Composer, Unsendable
from orchestrator.worker.intake import Intake
from orchestrator.worker.library import loading, package

Json = dict[str, Any]


class Sent:
    """Remembers what was sent, as an outbox does."""

    def __init__(self) -> None:
        self._rows: list[tuple[Row, Outgoing]] = []

    def add(self, outgoing: Outgoing, id_: str, at: float) -> None:
        number = len(self._rows) + 1
        row = Row(number, outgoing.kind, outgoing.to, State.SENT, at, at + 60, at, message=id_)
        self._rows.append((row, outgoing))

    def by_message(self, id: str) -> Row | None:  # noqa: A002
        return next((row for row, _ in self._rows if row.message == id), None)

    def outgoing(self, number: int) -> Outgoing:
        return self._rows[number - 1][1]


class Account:
    """The library of one account, and what composes for it."""

    def __init__(self, out: TextIO, database: Path, folder: Path) -> None:
        loading.prepare()
        with package.without_shell():
            from orchestrator.worker.library.client import Client, ClientSettings
        loading.complete()
        self._out = out
        self._lines: queue.SimpleQueue[Json] = queue.SimpleQueue()
        inbox = Inbox.open(folder)
        intake = Intake(inbox, Messages(allow=("*",), groups=True, from_me=True), self._hear, folder)
        settings = ClientSettings("support", database, "Test", None, logging.INFO)
        self._client = Client(settings, self._hear, intake)
        self._sent = Sent()
        self._composer = Composer(self._client, intake, folder, self._sent)
        threading.Thread(target=self._write, daemon=True).start()

    def report(self, event: str, **fields: object) -> None:
        self._lines.put({"event": event, "time": time.monotonic(), **fields})

    def serve(self, commands: TextIO) -> None:
        for line in commands:
            request = json.loads(line)
            if request["command"] == "exit":
                return
            threading.Thread(target=self._answer, args=(request,), daemon=True).start()

    def command_connect(self) -> Json:
        self._client.dial()
        return {}

    def command_send(self, outgoing: Json, secret: str) -> Json:
        made = wire.parse(outgoing, checked=True)
        ready = self._composer.make(made, bytes.fromhex(secret), time.time())
        begun = time.monotonic()
        done = ready.hand_over(self._client)
        if done is not None:
            self._sent.add(made, *done)
        id_ = None if done is None else done[0]
        return {"id": id_, "chat": ready.chat, "seconds": time.monotonic() - begun}

    def command_ask(self, ask: Json) -> Json:
        done = asking.answer(self._client, asks.parse(ask))
        return {"fate": str(done.fate), "code": done.code, "about": done.about, "result": done.result}

    def _hear(self, event: events.Event) -> None:
        match event:
            case events.Qr(text):
                self.report("qr", text=text)
            case events.ConnectEnded(error=error):
                self.report("connect_returned", error=error)
            case _:
                self.report(type(event).__name__)

    def _answer(self, request: Json) -> None:
        number, name = request.pop("id"), request.pop("command")
        try:
            line = {"answer": number, **getattr(self, f"command_{name}")(**request)}
        except Unsendable as error:
            line = {"answer": number, "error": f"Unsendable: {error.key}: {error.why}"}
        except Exception as error:  # noqa: BLE001 - the other side is told
            line = {"answer": number, "error": f"{type(error).__name__}: {error}"}
        self._lines.put(line)

    def _write(self) -> None:
        while True:
            self._out.write(json.dumps(self._lines.get(), default=repr) + "\n")
            self._out.flush()


def main() -> None:
    database, folder = map(Path, sys.argv[1:])
    os.umask(0o077)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = os.open(f"{database}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log, 2)
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO)
    account = Account(out, database, folder)
    account.report("ready", pid=os.getpid())
    account.serve(sys.stdin)
    os._exit(0)


if __name__ == "__main__":
    main()
