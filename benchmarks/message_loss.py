"""Whether messages get lost when an account's process ends in the middle of a burst of them.

Run as ``python -m benchmarks.message_loss [--rounds 100] [--accounts 2] [--seed N] [--only KIND]``,
where KIND is restart, reload, renewal, service, kill, or planned for all but kill.

The real service with real neonize accounts, against a sandbox. In each round, phones write 150 to 200
messages to every account, 30 to 100 a second, and somewhere in the middle the processes of all accounts end:
by a restart, by a reload that finds a changed key, by a renewal because of `memory_limit`, by a stop and
start of the service, or by SIGKILL. Then everything that the sandbox has for the accounts is waited for, and
each inbox is compared with what was written: each message once, in order within a chat.

A round is one account's end. Half as many are killed as end in good order. Of a message that a SIGKILL cost,
the inbox has to have an entry that says so. The exit code is 1 if a planned end has lost, doubled or mixed up
a message, or if a kill has lost more than one or one that is not reported.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.accounts import Pace, pair
from benchmarks.machine import print_load, print_machine
from benchmarks.meter import filesystem
from benchmarks.report import table
from benchmarks.service import Service
from orchestrator.messages.entry import Stored
from orchestrator.messages.inbox import Reader
from orchestrator.sandbox.client import SandboxClient
from orchestrator.sandbox.process import SandboxProcess

PLANNED = ("restart", "reload", "renewal", "service")
KINDS = (*PLANNED, "kill")
SEED = 12
MESSAGES = (150, 200)
RATE = (30.0, 100.0)
"""Messages of a burst, and how many a second."""
CHATS = 3
"""People who write to an account."""
MIDDLE = (0.2, 0.8)
"""The part of a burst after which the process ends."""
ROUND_SECONDS = 120.0
"""Seconds for the accounts to be connected again, and to have taken all that waits for them."""
QUIET_SECONDS = 5.0
"""Seconds without an entry after which what is missing is lost."""
REPORT_SECONDS = 30.0
"""Seconds for lost messages to be reported in the inbox, in the end."""
BALLAST = 256 << 20
LIMITS = ("48M", "49M")
"""A change of its limit lets an account be renewed again within an hour."""
_HOOK = Path(__file__).with_name("ballast")
_POLL = 0.05
_PREFIX = "+49154"


@dataclass(slots=True)
class Round:
    """One end of one account.

    Attributes:
        kind: How the process ended.
        sent: Identifiers of the burst, by the number of who wrote them, in order.
        rate: Messages a second.
        away: Seconds from the end to the end's successor having everything.
        waited: Messages that were written after the end began and before the burst was over.
        lost: Messages that are not in the inbox.
        doubled: Messages that are there more than once.
        mixed: Chats in which they are in another order.
    """

    kind: str
    sent: dict[str, list[str]] = field(default_factory=dict)
    rate: float = 0.0
    away: float = 0.0
    waited: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: int = 0
    mixed: int = 0

    @property
    def ids(self) -> list[str]:
        """All identifiers of the burst."""
        return [one for ids in self.sent.values() for one in ids]

    def compare(self, stored: Sequence[Stored]) -> None:
        """Compare what was written with what an inbox has."""
        numbers: dict[str, list[int]] = {}
        for one in stored:
            if one.source == "message":
                numbers.setdefault(one.id, []).append(one.seq)
        self.lost = [one for one in self.ids if one not in numbers]
        self.doubled = sum(len(numbers.get(one, ())) > 1 for one in self.ids)
        order = [[numbers[one][0] for one in ids if one in numbers] for ids in self.sent.values()]
        self.mixed = sum(one != sorted(one) for one in order)


class Burst:
    """Messages to one account, written by some people in turns that the seed decides.

    Args:
        client: The sandbox.
        to: The account's number.
        people: Who writes.
        chance: Decides how many, how fast, and who.
    """

    def __init__(self, client: SandboxClient, to: str, people: Sequence[str], chance: random.Random) -> None:
        self.sent: dict[str, list[str]] = {one: [] for one in people}
        self.count = 0
        self.over = threading.Event()
        self.goes_on = threading.Event()
        self._client = client
        self._to = to
        self._authors = [chance.choice(people) for _ in range(chance.randint(*MESSAGES))]
        self._pause = 1 / chance.uniform(*RATE)
        self.middle = round(len(self._authors) * chance.uniform(*MIDDLE))
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._began = self._ended = 0.0

    @property
    def rate(self) -> float:
        """Messages a second, as it came about."""
        return self.count / (self._ended - self._began)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def wait_for_middle(self) -> None:
        """Wait until the moment at which the process is to end."""
        while self.count < self.middle and not self.over.is_set():
            time.sleep(_POLL / 10)

    def end(self) -> None:
        """Wait until all is written."""
        self.goes_on.set()
        self._thread.join()

    def _write(self) -> None:
        self._began = time.monotonic()
        try:
            for number, author in enumerate(self._authors):
                time.sleep(max(0.0, self._began + number * self._pause - time.monotonic()))
                self._say(author)
            # Whoever waits for something that comes in its own time has the burst go on until then.
            while not self.goes_on.wait(self._pause):
                self._say(self._authors[self.count % len(self._authors)])
        finally:
            self._ended = time.monotonic()
            self.over.set()

    def _say(self, author: str) -> None:
        self.sent[author].append(self._client.send_text(author, self._to, f"number {self.count}"))
        self.count += 1


class Trial:
    """A service with some accounts, and people who write to them.

    Args:
        folder: Where everything of it goes.
        sandbox: Their WhatsApp.
        accounts: How many.
        seed: Decides the bursts and their ends.
    """

    def __init__(self, folder: Path, sandbox: SandboxProcess, accounts: int, seed: int) -> None:
        self.names = [f"account-{number}" for number in range(accounts)]
        self.numbers = {name: f"{_PREFIX}{number:08d}" for number, name in enumerate(self.names)}
        self.people = [f"+49155{number:08d}" for number in range(CHATS)]
        self.rounds: list[tuple[str, Round]] = []
        self._sandbox = sandbox
        self._chance = random.Random(seed)
        self._count = 0
        self._changed: dict[str, object] = {}
        environment = {**sandbox.environment(), "ORCHESTRATOR_TEST_BALLAST": str(BALLAST)}
        environment["PYTHONPATH"] = os.pathsep.join([environment.get("PYTHONPATH", ""), str(_HOOK)])
        self.service = Service(folder, {name: {} for name in self.names}, environment)
        for number, one in enumerate(self.people):
            sandbox.client.add_phone(one, f"Person {number}")

    def configure(self, **changed: object) -> None:
        """Write the configuration, with so much that is different from what it was; None takes a key away."""
        self._changed = {key: one for key, one in {**self._changed, **changed}.items() if one is not None}
        settings = {"messages": {"allow": "*"}, **self._changed}
        backoff = {"base": "500ms", "factor": 1, "max": "500ms", "jitter": 0, "reset_after": "1s"}
        content = {
            "start": {"parallel": len(self.names), "spread": "0s"},
            "defaults": {"backoff": backoff},
            "accounts": dict.fromkeys(self.names, settings),
        }
        self.service.config_file.write_text(json.dumps(content))

    def pids(self) -> dict[str, int]:
        """Return the processes of the accounts that are connected."""
        return {one["name"]: one["pid"] for one in self.service.about() if one["state"] == "connected"}

    def play(self, kind: str) -> None:
        """Write to all accounts, have their processes end meanwhile, and compare."""
        self._count += 1
        before = self.until_connected({})
        client = self._sandbox.client
        bursts = {name: Burst(client, self.numbers[name], self.people, self._chance) for name in self.names}
        for burst in bursts.values():
            if kind != "renewal":
                burst.goes_on.set()
            burst.start()
        for burst in bursts.values():
            burst.wait_for_middle()
        counts = {name: burst.count for name, burst in bursts.items()}
        began = time.monotonic()
        getattr(self, f"_{kind}")(before)
        if kind == "renewal":
            self._wait(lambda: all(self._is_gone(pid) for pid in before.values()), "nobody was renewed")
            self.configure(memory_limit=None)  # or they would be renewed later, too
            self.service.client.call("reload")
        for burst in bursts.values():
            burst.end()
        self.until_connected(before)
        self._wait(lambda: not self._queued(), "WhatsApp still has messages for an account")
        for name, burst in bursts.items():
            one = Round(kind, burst.sent, burst.rate, waited=burst.count - counts[name])
            self._compare(name, one)
            one.away = time.monotonic() - began
            self.rounds.append((name, one))

    def _compare(self, name: str, one: Round) -> None:
        """Compare once all is stored: what WhatsApp has no longer, the library may still hold."""
        newest, since = -1, time.monotonic()
        while True:
            stored = self.inbox(name)
            one.compare(stored)
            if not one.lost or time.monotonic() > since + QUIET_SECONDS:
                return
            if (last := stored[-1].seq if stored else 0) != newest:
                newest, since = last, time.monotonic()
            time.sleep(_POLL)

    def inbox(self, name: str) -> list[Stored]:
        """Return all entries of an account's inbox."""
        reader = Reader.open(self.service.paths.message_folder(name))
        found: list[Stored] = []
        while some := reader.after(found[-1].seq if found else 0, 1000):
            found += some
        return found

    def reported(self) -> set[str]:
        """Return the identifiers of the messages that the inboxes say are lost."""
        return {one.id for name in self.names for one in self.inbox(name) if one.source == "lost"}

    def until_connected(self, before: Mapping[str, int]) -> dict[str, int]:
        """Wait until all accounts are connected, by other processes than these; return which."""
        pids: dict[str, int] = {}

        def connected() -> bool:
            pids.clear()
            pids.update(self.pids())
            return len(pids) == len(self.names) and not set(pids.values()) & set(before.values())

        self._wait(connected, "not all are connected")
        return pids

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + ROUND_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"round {self._count}: {what} after {ROUND_SECONDS:.0f} s")
            time.sleep(_POLL)

    def _queued(self) -> int:
        ours = set(self.numbers.values())
        return sum(
            device["queued"]
            for phone in self._sandbox.client.phones()
            if phone["phone"] in ours
            for device in phone["devices"]
        )

    def _is_gone(self, pid: int) -> bool:
        return not Path(f"/proc/{pid}").exists()

    # The ends

    def _restart(self, _: Mapping[str, int]) -> None:
        self.service.client.call("restart", all=True)

    def _reload(self, _: Mapping[str, int]) -> None:
        self.configure(device_name=f"Number {self._count}")
        self.service.client.call("reload")

    def _renewal(self, _: Mapping[str, int]) -> None:
        self.configure(memory_limit=LIMITS[self._count % 2])
        self.service.client.call("reload")

    def _service(self, _: Mapping[str, int]) -> None:
        self.service.stop()
        self.service.start()

    def _kill(self, before: Mapping[str, int]) -> None:
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)


def plan(rounds: int, accounts: int, only: str | None) -> list[str]:
    """Return the kinds of the strikes, each of which ends the processes of all accounts."""
    strikes = max(1, round(rounds / accounts))
    if only in KINDS:
        return [only] * strikes
    planned = [PLANNED[number % len(PLANNED)] for number in range(max(strikes, len(PLANNED)))]
    if only is not None:
        return planned
    return [*planned, *["kill"] * max(1, strikes // 2)]


def show(rounds: Sequence[tuple[str, Round]], reported: set[str]) -> bool:
    """Print what became of the messages; return whether all is as it should be."""
    heads = (
        "end",
        "rounds",
        "messages",
        "a second",
        "lost",
        "doubled",
        "mixed up",
        "lost in one end, at most",
    )
    lines = [(*heads, "reported as lost", "all there after")]
    good = True
    for kind in KINDS:
        some = [one for _, one in rounds if one.kind == kind]
        if not some:
            continue
        lost = [identifier for one in some for identifier in one.lost]
        most = max(len(one.lost) for one in some)
        doubled, mixed = sum(one.doubled for one in some), sum(one.mixed for one in some)
        good = good and not (doubled or mixed) and most <= (kind == "kill") and reported >= set(lost)
        lines.append(
            (
                kind,
                str(len(some)),
                str(sum(len(one.ids) for one in some)),
                f"{median(one.rate for one in some):.0f}",
                str(len(lost)),
                str(doubled),
                str(mixed),
                str(most),
                f"{len(reported & set(lost))} of {len(lost)}" if lost else "-",
                f"{median(one.away for one in some):.1f} s",
            )
        )
    table("messages, by how the account's process ended in the middle of a burst", *lines)
    false = reported & {
        one for _, found in rounds for one in found.ids if one not in found.lost
    }  # what is stored and said to be lost
    if false:
        print(f"\nreported as lost, and stored: {len(false)}")
    return good and not false


def measure(kinds: Sequence[str], accounts: int, seed: int, folder: Path) -> bool:
    """Put a service through these ends; return whether all is as it should be."""
    with SandboxProcess() as sandbox:
        trial = Trial(folder, sandbox, accounts, seed)
        service = trial.service
        pair(service, sandbox, Pace("pairing", accounts, 0.0), _PREFIX)
        trial.configure()
        service.start()
        try:
            for number, kind in enumerate(kinds, 1):
                trial.play(kind)
                lost = Counter(one.kind for _, one in trial.rounds for _ in one.lost)
                print(f"{number} of {len(kinds)}: {kind}; lost so far: {dict(lost)}", file=sys.stderr)
            lost_ones = {identifier for _, one in trial.rounds for identifier in one.lost}
            deadline = time.monotonic() + REPORT_SECONDS
            while not lost_ones <= (reported := trial.reported()) and time.monotonic() < deadline:
                time.sleep(_POLL)
        finally:
            if service.running_pid is not None:
                service.stop()
    return show(trial.rounds, reported)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="planned ends of an account (default: 100)")
    parser.add_argument("--accounts", type=int, default=2, help="how many end at once (default: 2)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the bursts (default: {SEED})")
    parser.add_argument("--only", choices=(*KINDS, "planned"), help="this kind of end alone, or all but kill")
    arguments = parser.parse_args()
    print_machine()
    kinds = plan(arguments.rounds, arguments.accounts, arguments.only)
    with tempfile.TemporaryDirectory(prefix="message-loss-") as folder:
        table(
            "accounts",
            ("kind", "neonize itself, unmodified, started by the service"),
            ("accounts", f"{arguments.accounts}, whose processes end at the same time"),
            ("seed", str(arguments.seed)),
            ("files on", filesystem(Path(tempfile.gettempdir()).resolve())),
        )
        good = measure(kinds, arguments.accounts, arguments.seed, Path(folder))
    print_load()
    sys.exit(not good)


if __name__ == "__main__":
    main()
