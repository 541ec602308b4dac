"""Messages all the time: people write to accounts, and programs have accounts write to people."""

from __future__ import annotations

import contextlib
import itertools
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.cluster_soak.observed import Errand, Letter
from orchestrator.errors import OrchestratorError
from orchestrator.sandbox.client import SandboxClient, SandboxError

PEOPLE = 5
ASKING = 4
"""How many programs have accounts send at once."""
AGAIN_SECONDS = 0.5
"""Seconds until a program asks again that was not answered, or was told that the account is not there."""
PATIENCE = 60.0
"""Seconds for which a program asks again for one text, always by the same key."""

Ask: TypeAlias = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""Asks the shard that has an account to send; None if nobody has it, `OrchestratorError` if it is refused."""


class Traffic:
    """Writes all the time, in threads of its own.

    Args:
        client: WhatsApp.
        numbers: The numbers of the accounts by name.
        ask: Has an account send.
        pause: Seconds between two messages to the accounts, and between two of accounts, in the mean.

    Attributes:
        letters: The messages to accounts that WhatsApp has taken.
        errands: What accounts were asked to send.
        errors: How often a program was told which error.
        word: What each text has in it, and nothing else.
    """

    def __init__(self, client: SandboxClient, numbers: Mapping[str, str], ask: Ask, pause: float) -> None:
        self.letters: list[Letter] = []
        self.errands: list[Errand] = []
        self.errors: Counter[str] = Counter()
        self.word = secrets.token_hex(8)
        self._client = client
        self._numbers = numbers
        self._ask = ask
        self._pause = pause
        self._people = [f"+49158{number:08d}" for number in range(PEOPLE)]
        self._counter = itertools.count()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, name="people", daemon=True)]
        self._threads += [
            threading.Thread(target=self._have_sent, name=f"program-{number}", daemon=True)
            for number in range(ASKING)
        ]

    def start(self) -> None:
        """Begin."""
        for number, one in enumerate(self._people):
            self._client.add_phone(one, f"Person {number}")
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Write nothing more; no harm if nothing was written."""
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def write(self, accounts: Sequence[str], each: int) -> None:
        """Have somebody write so many messages to each of these accounts, as fast as possible."""
        for name in accounts:
            for _ in range(each):
                self._letter(name)

    def queued(self) -> int:
        """Return how many stanzas wait at WhatsApp for the accounts."""
        ours = set(self._numbers.values())
        return sum(
            device["queued"]
            for phone in self._client.phones()
            if phone["phone"] in ours
            for device in phone["devices"]
        )

    def arrived(self) -> Counter[str]:
        """Return how often each text of the accounts has arrived."""
        return Counter(
            str(message.get("text", "")) for person in self._people for message in self._client.inbox(person)
        )

    def _write(self) -> None:
        chance = random.Random()
        names = list(self._numbers)
        while not self._over.wait(chance.expovariate(1 / self._pause)):
            self._letter(chance.choice(names))

    def _letter(self, name: str) -> None:
        person = self._people[next(self._counter) % PEOPLE]
        at = time.time()
        with contextlib.suppress(SandboxError):
            identifier = self._client.send_text(
                person, self._numbers[name], f"{self.word} {next(self._counter)}"
            )
            with self._lock:
                self.letters.append(Letter(identifier, name, at))

    def _have_sent(self) -> None:
        chance = random.Random()
        names = list(self._numbers)
        while not self._over.wait(chance.expovariate(1 / (self._pause * ASKING))):
            number = next(self._counter)
            name, to = chance.choice(names), chance.choice(self._people)
            text = f"{self.word} errand {number}"
            row = self._row(name, number, {"to": to, "kind": "text", "text": text})
            with self._lock:
                self.errands.append(Errand(name, row, text, to))

    def _row(self, name: str, number: int, message: dict[str, Any]) -> int | None:
        """Ask until the text is taken; return its row, None if it took too long or is refused."""
        deadline = time.monotonic() + PATIENCE
        words = {"message": message, "key": f"errand-{number}", "wait": 0}
        while time.monotonic() < deadline:
            try:
                answer = self._ask(name, words)
            except OrchestratorError as error:
                with self._lock:
                    self.errors[str(error.key)] += 1
            else:
                if answer is not None:
                    return int(answer["row"]["row"])
            if self._over.wait(AGAIN_SECONDS):
                return None
        return None
