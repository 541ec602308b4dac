"""Messages that people write to the accounts all the time, and what became of each.

A message that WhatsApp has taken is in the account's inbox in the end, once, or the inbox says that it is
lost. Nobody can have what WhatsApp itself has thrown away: what waits for a device goes when it is unlinked.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.observation import Finding
from benchmarks.soak.world import World
from orchestrator.messages.database import DATABASE, InboxError, files
from orchestrator.messages.inbox import Reader
from orchestrator.sandbox.client import SandboxError

PEOPLE = 5
PAUSE_SECONDS = 0.1
"""Seconds between two messages, in the mean."""
LOOK_SECONDS = 1.0
"""Seconds between two looks at which devices are linked."""
QUEUE_SECONDS = 90.0
"""Seconds in the end for all that waits at WhatsApp to arrive, and for lost messages to be reported."""
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Letter:
    """One message.

    Attributes:
        id: WhatsApp's identifier.
        account: To whom.
        devices: The account's devices that were linked a moment before.
        at: Seconds since the beginning.
    """

    id: str
    account: str
    devices: frozenset[int]
    at: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of all messages.

    Attributes:
        sent: How many WhatsApp has taken.
        stored: How many of them are in an inbox.
        reported: How many are not, and the inbox says that they are lost.
        thrown: How many WhatsApp has thrown away with a device that was unlinked.
        missing: How many are lost, and nobody says so.
        doubled: How many are stored more than once.
    """

    sent: int = 0
    stored: int = 0
    reported: int = 0
    thrown: int = 0
    missing: int = 0
    doubled: int = 0


class Letters:
    """Writes to accounts that are connected, in a thread of its own.

    Args:
        world: The world.
    """

    def __init__(self, world: World) -> None:
        self.sent: list[Letter] = []
        self._world = world
        self._chance = random.Random()
        self._people = [f"+49158{number:08d}" for number in range(PEOPLE)]
        self._over = threading.Event()
        self._devices: dict[str, frozenset[int]] = {}
        self._looked_at = float("-inf")
        self._thread = threading.Thread(target=self._write, name="letters", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        for number, one in enumerate(self._people):
            self._world.sandbox.client.add_phone(one, f"Person {number}")
        self._thread.start()

    def stop(self) -> None:
        """Write nothing more; no harm if nothing was written."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def queued(self) -> int:
        """Return how many stanzas wait at WhatsApp for the accounts."""
        ours = {number: name for name, number in self._world.numbers.items()}
        phones = self._world.sandbox.client.phones()
        return sum(
            device["queued"] for phone in phones if phone["phone"] in ours for device in phone["devices"]
        )

    def is_settled(self) -> bool:
        """Tell whether everything has arrived, or is said to be lost."""
        try:
            return self.queued() == 0 and not self._missing()
        except SandboxError:
            return False

    def judge(self) -> tuple[Fate, Iterator[Finding]]:
        """Tell what became of the messages, and what is wrong with that."""
        stored, lost = self._inboxes()
        missing = self._missing()
        doubled = [one for one in self.sent if stored[one.account, one.id] > 1]
        reported = [
            one for one in self.sent if not stored[one.account, one.id] and (one.account, one.id) in lost
        ]
        there = sum(1 for one in self.sent if stored[one.account, one.id])
        thrown = len(self.sent) - there - len(reported) - len(missing)
        fate = Fate(len(self.sent), there, len(reported), thrown, len(missing), len(doubled))
        return fate, self._findings(missing, doubled)

    def kept(self) -> list[tuple[str, int]]:
        """Return the messages that are in an account's inbox now: account and number."""
        paths = self._world.service.paths
        return [
            (name, seq)
            for name in self._world.names
            for source, _, seq in _entries(paths.message_folder(name))
            if source == "message"
        ]

    def _findings(self, missing: list[Letter], doubled: list[Letter]) -> Iterator[Finding]:
        for check, some in (("message lost", missing), ("message twice", doubled)):
            for account, count in Counter(one.account for one in some).items():
                examples = [f"{one.id} at {one.at:.1f} s" for one in some if one.account == account]
                yield Finding(check, account, f"{count}: {', '.join(examples[:_EXAMPLES])}")

    def _missing(self) -> list[Letter]:
        """Return what is in no inbox, though a device that it was for is still linked."""
        stored, lost = self._inboxes()
        now = self._linked()
        return [
            one
            for one in self.sent
            if not stored[one.account, one.id]
            and (one.account, one.id) not in lost
            and one.devices & now[one.account]
        ]

    def _inboxes(self) -> tuple[Counter[tuple[str, str]], set[tuple[str, str]]]:
        """Return what is stored, and what is said to be lost, by account and identifier."""
        stored: Counter[tuple[str, str]] = Counter()
        lost: set[tuple[str, str]] = set()
        paths = self._world.service.paths
        for name in self._world.names:
            away = [path.parent for path in paths.quarantine.glob(f"{name}-*/**/{DATABASE}")]
            for folder in (paths.message_folder(name), *away):
                for source, identifier, _ in _entries(folder):
                    if source == "message":
                        stored[name, identifier] += 1
                    elif source == "lost":
                        lost.add((name, identifier))
        return stored, lost

    def _linked(self) -> Mapping[str, frozenset[int]]:
        names = {number: name for name, number in self._world.numbers.items()}
        found = dict.fromkeys(self._world.names, frozenset[int]())
        for phone in self._world.sandbox.client.phones():
            if phone["phone"] in names:
                found[names[phone["phone"]]] = frozenset(device["device"] for device in phone["devices"])
        return found

    def _write(self) -> None:
        client, world = self._world.sandbox.client, self._world
        while not self._over.wait(self._chance.expovariate(1 / PAUSE_SECONDS)):
            accounts = world.latest.accounts or {}
            connected = [name for name, one in accounts.items() if one.state == "connected"]
            if not connected:
                continue
            name = self._chance.choice(connected)
            with contextlib.suppress(SandboxError):  # it is down, or the phone is not there
                if time.monotonic() > self._looked_at + LOOK_SECONDS:
                    self._devices, self._looked_at = dict(self._linked()), time.monotonic()
                person = self._chance.choice(self._people)
                identifier = client.send_text(person, world.numbers[name], f"number {len(self.sent)}")
                devices = self._devices.get(name, frozenset())
                self.sent.append(Letter(identifier, name, devices, world.clock.now))


def _entries(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Return sources, identifiers and numbers of all entries of an inbox; none if there is none."""
    if not (folder / DATABASE).exists():
        return
    # A copy: nobody may write to what is in quarantine, not even by reading its log.
    with tempfile.TemporaryDirectory(prefix="inbox-") as place:
        for file in files(folder / DATABASE):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(file, place)
        try:
            reader, last = Reader.open(Path(place)), 0
            while some := reader.after(last, 1000):
                last = some[-1].seq
                yield from ((one.source, one.id, one.seq) for one in some)
        except (InboxError, sqlite3.Error):
            return
