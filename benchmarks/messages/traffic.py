"""What people write, when, and when it reached a program."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.receiver import Received
from orchestrator.sandbox.client import SandboxClient

PEOPLE = 3
"""Chats of an account."""
SETTLED_SECONDS = 2.0
STAMP = "at {now}:"
_STAMPED = re.compile(r"at (\d+\.\d+):")


@dataclass(slots=True)
class Sent:
    """What was written.

    Attributes:
        ids: The identifiers of the messages, by account.
        began: When, in Unix seconds.
    """

    ids: dict[str, list[str]] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    @property
    def every(self) -> set[str]:
        """All identifiers."""
        return {one for ids in self.ids.values() for one in ids}


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came of that at a program.

    Attributes:
        latencies: Seconds from the server's stanza to the first request, sorted.
        last: When the last one came, in Unix seconds.
        lost: The identifiers of those that did not come.
        reported: Those of them that an event says are lost.
        twice: How many requests came for messages that had come already.
    """

    latencies: Sequence[float]
    last: float
    lost: frozenset[str]
    reported: frozenset[str]
    twice: int

    def percentile(self, share: float) -> float:
        """Return the latency that this share of all does not exceed."""
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class Writers:
    """People who write to accounts.

    Args:
        client: The sandbox.
        numbers: The accounts' numbers by name.
    """

    def __init__(self, client: SandboxClient, numbers: Mapping[str, str]) -> None:
        self._client = client
        self._numbers = numbers
        self._people = [f"+49155{number:08d}" for number in range(PEOPLE)]
        for number, one in enumerate(self._people):
            client.add_phone(one, f"Person {number}")

    def write(self, seconds: float, rate: float) -> Sent:
        """Begin to write to all accounts, so many messages a second in all, and return at once.

        Args:
            seconds: For how long.
            rate: Messages a second; 0 for as fast as possible, then `seconds` is the number for each chat.
        """
        chats = [(name, person) for name in self._numbers for person in self._people]
        each = rate / len(chats)
        count = max(1, round(each * seconds)) if rate else round(seconds)
        sent = Sent({name: [] for name in self._numbers})
        for name, person in chats:
            sent.ids[name] += self._client.send_burst(person, self._numbers[name], count, each, text=STAMP)
        return sent


def await_all(count: Callable[[], int], wanted: int, quiet: float, patience: float) -> None:
    """Wait until no more requests come.

    Args:
        count: Returns how many are there.
        wanted: How many events there are; with so many requests, `SETTLED_SECONDS` without one are enough.
        quiet: Seconds without another one after which it is over.
        patience: Seconds at most.
    """
    began = changed = time.monotonic()
    last = -1
    while (now := time.monotonic()) < began + patience:
        if (found := count()) != last:
            last, changed = found, now
        elif now > changed + (SETTLED_SECONDS if found >= wanted else quiet):
            return
        time.sleep(0.05)


def compare(sent: Sent, requests: Iterable[Received]) -> Arrived:
    """Compare what was written with what came."""
    wanted, seen, reported = sent.every, set[str](), set[str]()
    latencies: list[float] = []
    last, twice = sent.began, 0
    for one in requests:
        event = one.event
        data = event.get("data", event)
        name = data.get("id")
        if name not in wanted or not 200 <= one.status < 300:
            continue
        if event.get("type") == "message.lost":
            reported.add(name)
            continue
        if name in seen:
            twice += 1
            continue
        seen.add(name)
        last = max(last, one.at)
        if found := _STAMPED.match(data.get("text") or ""):
            latencies.append(one.at - float(found[1]))
    lost = frozenset(wanted - seen)
    return Arrived(sorted(latencies), last, lost, lost & reported, twice)
