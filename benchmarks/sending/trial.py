"""A service with accounts, people who receive, and what goes wrong while the accounts send."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.accounts import Pace, pair
from benchmarks.sending.errands import Clients, Errand, Received
from benchmarks.service import Service
from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError
from orchestrator.messages.outbox_form import NoOutbox
from orchestrator.messages.outbox_reader import OutboxReader
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sending.row import Row, State

PATIENCE = 3600.0
"""Seconds for all texts of a run to be sent, on a machine that is slow and busy."""
PREFIX = "+49157"
PEOPLE_PREFIX = "+49158"
_POLL = 0.1
FAULTS: Mapping[str, float] = {
    "kill account": 3,
    "kill service": 1,
    "restart account": 1,
    "reset": 3,
    "away": 1,
    "refused": 0.5,
    "ack lost, cut": 3,
    "message lost, cut": 3,
    "ack lost": 1,
}
"""What goes wrong, and how often compared with others. A lost acknowledgment holds up an account for 75 s,
and each refusal (429) for a minute, then for twice as long."""
AWAY_SECONDS = 3.0


class Trial:
    """A service with accounts that send without pauses, and people with phones.

    Args:
        folder: Where everything of it goes.
        sandbox: Their WhatsApp.
        accounts: How many accounts.
        people: How many people.
    """

    def __init__(self, folder: Path, sandbox: SandboxProcess, accounts: int, people: int) -> None:
        self.names = [f"account-{number:03d}" for number in range(accounts)]
        self.numbers = {name: f"{PREFIX}{number:08d}" for number, name in enumerate(self.names)}
        self.people = [f"{PEOPLE_PREFIX}{number:08d}" for number in range(people)]
        self.struck: Counter[str] = Counter()
        self._sandbox = sandbox
        self.service = Service(folder, {name: {} for name in self.names}, sandbox.environment())
        for number, one in enumerate(self.people):
            sandbox.client.add_phone(one, f"Person {number}")

    @property
    def sandbox(self) -> SandboxClient:
        """Their WhatsApp."""
        return self._sandbox.client

    def prepare(self) -> None:
        """Pair all accounts, and start the service with accounts that take no time over sending."""
        pair(self.service, self._sandbox, Pace("pairing", 4, 0.0), PREFIX)
        backoff = {"base": "500ms", "factor": 1, "max": "500ms", "jitter": 0, "reset_after": "1s"}
        # Whose messages are kept is followed: receipts settle what nobody knows.
        settings = {"sending": {"pacing": "off"}, "messages": {"allow": "*"}, "backoff": backoff}
        content = {
            "start": {"parallel": len(self.names), "spread": "0s"},
            "defaults": settings,
            "accounts": {name: {} for name in self.names},
        }
        self.service.config_file.write_text(json.dumps(content))
        self.service.start()
        self.service.until_connected()

    def client(self) -> Client:
        """Return a handle by which a client asks the service."""
        return Client(self.service.paths.control_socket)

    def errands(
        self, count: int, *, accounts: Sequence[str] | None = None, word: str = "number"
    ) -> list[Errand]:
        """Return so many errands, dealt out to accounts and people in turns."""
        names = self.names if accounts is None else accounts
        return [
            Errand(
                names[number % len(names)],
                self.people[(number // len(names)) % len(self.people)],
                f"{word} {number}",
                f"{word}-{number}",
            )
            for number in range(count)
        ]

    # What becomes of it

    def rows(self, name: str) -> list[Row]:
        """Return all rows of an account."""
        try:
            reader = OutboxReader.open(self.service.paths.message_folder(name))
        except NoOutbox:
            return []
        with closing(reader):
            found: list[Row] = []
            while some := reader.rows(found[-1].number if found else 0, 1000):
                found += some
            return found

    def waiting(self, states: Sequence[State]) -> int:
        """Return how many rows are in these states."""
        count = 0
        for name in self.names:
            with contextlib.suppress(NoOutbox):
                reader = OutboxReader.open(self.service.paths.message_folder(name))
                with closing(reader):
                    count += reader.count(states)
        return count

    def until_over(
        self, seconds: float = PATIENCE, states: Sequence[State] = (State.QUEUED, State.SENDING)
    ) -> None:
        """Wait until no row of any account is in these states.

        Raises:
            AssertionError: Some are after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while left := self.waiting(states):
            assert time.monotonic() < deadline, f"{left} rows wait after {seconds:.0f} s"
            time.sleep(_POLL)

    def received(self, errands: Sequence[Errand], rows: Mapping[str, int]) -> Received:
        """Return what the people have received of these errands."""
        counts: Counter[str] = Counter()
        of = {one.text: one for one in errands}
        mixed = 0
        names = {number: name for name, number in self.numbers.items()}
        for person in self.people:
            last: dict[str, int] = {}
            for message in self.sandbox.inbox(person):
                errand = of.get(str(message.get("text", "")))
                if errand is None or names.get(message["from"]) != errand.account:
                    continue
                counts[errand.text] += 1
                row = rows.get(errand.key, 0)
                mixed += row < last.get(errand.account, 0)
                last[errand.account] = max(row, last.get(errand.account, 0))
        return Received(counts, mixed)

    def read(self, errands: Sequence[Errand], rows: Mapping[str, int]) -> None:
        """Have people read what has arrived of rows of which nobody knows that: a receipt settles those."""
        doubtful = {
            (name, row.number) for name in self.names for row in self.rows(name) if row.state is State.UNKNOWN
        }
        texts = {one.text for one in errands if (one.account, rows.get(one.key)) in doubtful}
        for person in self.people:
            for message in self.sandbox.inbox(person):
                if message.get("text") in texts:
                    self.sandbox.read(person, message["id"])

    # What goes wrong

    def play(self, clients: Clients, wanted: int, chance: random.Random, every: float) -> None:
        """Let things go wrong at random until so many errands were taken.

        Args:
            clients: Who asks.
            wanted: How many errands there are.
            chance: Decides what goes wrong, and when.
            every: Seconds between two of them, on average.
        """
        deadline = time.monotonic() + PATIENCE
        kinds, weights = zip(*FAULTS.items(), strict=True)
        while clients.count < wanted:
            assert time.monotonic() < deadline, "it takes too long"
            time.sleep(chance.uniform(0, 2 * every))
            kind = chance.choices(kinds, weights)[0]
            name = chance.choice(self.names)
            try:
                self._strike(kind, name)
            except (OrchestratorError, SandboxError):  # the account is away just now
                continue
            self.struck[kind] += 1

    def _strike(self, kind: str, name: str) -> None:
        target, sandbox = self.numbers[name], self.sandbox
        match kind:
            case "kill account":
                for pid in self._pids(name):
                    os.kill(pid, signal.SIGKILL)
            case "kill service":
                self.service.kill()
                self._again(self.service.start)
            case "restart account":
                self.client().call("restart", names=[name])
            case "reset":
                sandbox.fault("reset", target)
            case "away":
                sandbox.fault("refuse", target, seconds=AWAY_SECONDS)
            case "refused":
                sandbox.fault("send-error", target, code=429)
            case "ack lost, cut":
                sandbox.fault("lost-ack", target, delivered=True, cut=True, times=1)
            case "message lost, cut":
                sandbox.fault("lost-ack", target, delivered=False, cut=True, times=1)
            case "ack lost":
                sandbox.fault("lost-ack", target, delivered=True, times=1)

    def _pids(self, name: str) -> list[int]:
        return [one["pid"] for one in self.service.about() if one["name"] == name and one["pid"]]

    def _again(self, start: Callable[[], None]) -> None:
        """Start the service; its children of before may need a moment to be gone."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return start()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
