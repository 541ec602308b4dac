"""People who write to the accounts all the time."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from benchmarks.cluster.outcome import Letter
from orchestrator.sandbox.client import SandboxClient, SandboxError

PEOPLE: Final = 5
RATE: Final = 10.0
"""Messages a second."""


class Letters:
    """Writes to accounts in turn, in a thread of its own; as a context manager it does so meanwhile.

    Args:
        client: WhatsApp.
        numbers: The accounts' phones' numbers by the accounts' names.
        names: To whom; all if not given.

    Attributes:
        sent: What WhatsApp has taken.
    """

    def __init__(
        self, client: SandboxClient, numbers: Mapping[str, str], names: Sequence[str] | None = None
    ) -> None:
        self.sent: list[Letter] = []
        self._client = client
        self._numbers = numbers
        self._names = list(numbers) if names is None else list(names)
        self._people = [f"+49158{number:08d}" for number in range(PEOPLE)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="letters", daemon=True)

    def __enter__(self) -> Self:
        known = {one["phone"] for one in self._client.phones()}
        for number, phone in enumerate(self._people):
            if phone not in known:
                self._client.add_phone(phone, f"Person {number}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        people = itertools.cycle(self._people)
        for name in itertools.cycle(self._names):
            if self._over.wait(1 / RATE):
                return
            with contextlib.suppress(SandboxError):  # it was not taken, so nobody waits for it
                text = f"number {len(self.sent)}"
                identifier = self._client.send_text(next(people), self._numbers[name], text)
                self.sent.append(Letter(identifier, name))
