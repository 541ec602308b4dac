"""Messages to be sent, each with a key of its own, and clients that ask for them again and again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.control.client import Client
from orchestrator.errors import OrchestratorError

Json = dict[str, Any]

PAUSE_SECONDS = (0.05, 0.5)
"""How long a client waits before it asks again after an error."""
WAIT_SECONDS = 5
"""How long the service waits for WhatsApp's word, where a client wants that."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A text that an account is to send once.

    Attributes:
        account: The account's name.
        to: The number of who gets it.
        text: What it says; no other errand says the same.
        key: What the client calls it.
    """

    account: str
    to: str
    text: str
    key: str


@dataclass(slots=True)
class Asked:
    """What the clients were told.

    Attributes:
        rows: The row of each errand that was taken, by its key.
        tries: How often was asked.
        again: How often the answer was that of an earlier try.
        conflicts: Keys that were given two rows, which must not be.
        errors: How often which error was told.
        accepted_at: When the last errand was taken first, in monotonic seconds.
    """

    rows: dict[str, int] = field(default_factory=dict)
    tries: int = 0
    again: int = 0
    conflicts: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    accepted_at: float = 0.0


class Clients:
    """Clients that ask for errands until each was taken, and at random once more.

    Args:
        client: Makes the handle by which one client asks the service.
        errands: What is to be sent.
        repeat: The part of the errands that is asked for again though it was taken.
        waiting: The part of the tries that wait for WhatsApp's word.
        seed: Decides which.
    """

    def __init__(
        self,
        client: Callable[[], Client],
        errands: Sequence[Errand],
        *,
        repeat: float = 0.0,
        waiting: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.asked = Asked()
        self._client = client
        self._repeat = repeat
        self._waiting = waiting
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._left = deque(errands)
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    @property
    def count(self) -> int:
        """How many errands were taken so far."""
        with self._lock:
            return len(self.asked.rows)

    def start(self, clients: int) -> None:
        """Begin, with so many at once."""
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self, seconds: float) -> None:
        """Wait until all is taken.

        Raises:
            AssertionError: It took too long, or a client has met an error that no client should meet.
        """
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failure is not None:
            raise AssertionError("a client failed") from self._failure
        assert not any(thread.is_alive() for thread in self._threads), f"not all was taken in {seconds:.0f} s"

    def _work(self) -> None:
        client = self._client()
        try:
            while (errand := self._next()) is not None:
                self._ask(client, errand)
        except BaseException as error:  # noqa: BLE001 - told by `join`
            self._failure = error

    def _next(self) -> Errand | None:
        while True:
            with self._lock:
                if self._failure is not None:
                    return None
                if self._left:
                    self._under_way += 1
                    return self._left.popleft()
                if not self._under_way:
                    return None
            time.sleep(0.01)  # somebody may put one back

    def _ask(self, client: Client, errand: Errand) -> None:
        """Ask once. What was not taken, and some of what was, is put back for anybody to ask."""
        with self._lock:
            wait = WAIT_SECONDS if self._chance.random() < self._waiting else 0
            pause = self._chance.uniform(*PAUSE_SECONDS)
        message = {"to": errand.to, "kind": "text", "text": errand.text}
        error, answer = None, None
        try:
            answer = client.call("send", name=errand.account, message=message, key=errand.key, wait=wait)
        except OrchestratorError as failure:
            error = failure
            time.sleep(pause)
        with self._lock:
            self._under_way -= 1
            self.asked.tries += 1
            if answer is None:
                self.asked.errors[str(error.key) if error is not None else ""] += 1
                self._put_back(errand)
                return
            row = int(answer["row"]["row"])
            if errand.key not in self.asked.rows:
                self.asked.accepted_at = time.monotonic()
            if self.asked.rows.setdefault(errand.key, row) != row:
                self.asked.conflicts.append(errand.key)
            self.asked.again += bool(answer["again"])
            if self._chance.random() < self._repeat:
                self._put_back(errand)

    def _put_back(self, errand: Errand) -> None:
        """Have it asked for again, at some later time."""
        self._left.insert(self._chance.randint(0, len(self._left)), errand)


@dataclass(frozen=True, slots=True)
class Received:
    """What people have received, compared with what was to be sent.

    Attributes:
        counts: How often each text was received.
        mixed: Chats in which texts came in another order than their rows.
    """

    counts: Mapping[str, int]
    mixed: int

    def twice(self) -> list[str]:
        """Return the texts that somebody received more than once."""
        return [text for text, count in self.counts.items() if count > 1]
