"""How fast accounts send, and whether each message arrives once while everything goes wrong.

Run as ``python -m benchmarks.sending [--accounts 50] [--messages 500] [--sends 10000] [--seed N]``.

The real service with real neonize accounts against a sandbox, with `pacing: off`. First one account and then
all of them send as fast as they can. Then ten accounts get so many texts to send, each with a key of its own,
while processes are killed and restarted, connections are cut and acknowledgments get lost. Clients ask for
each text until it is taken, and at random once more with the same key. In the end the phones tell how often
each text has arrived: nobody may have received one twice or out of order, and everybody all whose rows are
`sent`. A row whose fate nobody knows says so: `unknown`, until a receipt settles it. The exit code is 1 if
anything else was seen.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import print_load, print_machine
from benchmarks.meter import cpu_seconds, filesystem
from benchmarks.report import table
from benchmarks.sending.errands import Asked, Clients, Errand
from benchmarks.sending.trial import PATIENCE, Trial
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sending.row import State

SEED = 14
CLIENTS = 8
PEOPLE = 20
FAULTY_ACCOUNTS = 10
EVERY_SECONDS = 1.0
"""Seconds between two faults, on average."""
SETTLE_SECONDS = 30.0
"""Seconds for receipts of what people have read to settle what nobody knew."""
REPEAT, WAITING = 0.25, 0.25


@dataclass(slots=True)
class Verdict:
    """What a run through faults has shown.

    Attributes:
        states: How many rows are in which state.
        twice: Texts that arrived more than once.
        missing: Texts whose rows are sent, and that did not arrive.
        stray: Texts whose rows are failed or expired, and that arrived all the same.
        doubtful: Texts whose rows are unknown, by whether they arrived.
        mixed: Texts that arrived after a later one of the same chat.
        conflicts: Keys that had two rows.
        rowless: Errands without a row.
    """

    states: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    doubtful: Counter[bool] = field(default_factory=Counter)
    mixed: int = 0
    conflicts: list[str] = field(default_factory=list)
    rowless: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether all is as it should be."""
        wrong = (self.twice, self.missing, self.stray, self.conflicts, self.rowless)
        return not any(wrong) and not self.doubtful[True] and not self.mixed


def judge(trial: Trial, errands: Sequence[Errand], asked: Asked) -> Verdict:
    """Compare what the people have received with what the outboxes say."""
    verdict = Verdict(conflicts=asked.conflicts)
    received = trial.received(errands, asked.rows)
    rows = {name: {row.number: row for row in trial.rows(name)} for name in trial.names}
    verdict.twice, verdict.mixed = received.twice(), received.mixed
    for errand in errands:
        row = rows[errand.account].get(asked.rows.get(errand.key, 0))
        if row is None:
            verdict.rowless.append(errand.key)
            continue
        verdict.states[str(row.state)] += 1
        arrived = received.counts[errand.text] > 0
        match row.state:
            case State.SENT if not arrived:
                verdict.missing.append(errand.text)
            case State.FAILED | State.EXPIRED if arrived:
                verdict.stray.append(errand.text)
            case State.UNKNOWN:
                verdict.doubtful[arrived] += 1
    return verdict


def measure_speed(trial: Trial, accounts: int, messages: int) -> None:
    """Print how fast so many accounts send."""
    errands = trial.errands(messages, accounts=trial.names[:accounts], word=f"fast-{accounts}")
    warm = trial.errands(
        accounts * len(trial.people), accounts=trial.names[:accounts], word=f"warm-{accounts}"
    )
    for some in (warm, errands):  # the first message to a person asks for keys
        clients = Clients(trial.client, some)
        before = {one["pid"]: cpu_seconds(one["pid"]) for one in trial.service.about() if one["pid"]}
        service_before, began = cpu_seconds(trial.service.pid), time.monotonic()
        clients.start(CLIENTS)
        clients.join(PATIENCE)
        trial.until_over()
        seconds = time.monotonic() - began
    used = sum(cpu_seconds(pid) - cpu for pid, cpu in before.items())
    service = cpu_seconds(trial.service.pid) - service_before
    verdict = judge(trial, errands, clients.asked)
    assert verdict.is_good, verdict
    taken = clients.asked.accepted_at - began
    table(
        f"{accounts} {'account' if accounts == 1 else 'accounts'}, {messages} texts",
        ("taken a second", "sent a second", "all sent after", "CPU ms a text: accounts", "service"),
        (
            f"{messages / taken:.0f}",
            f"{messages / seconds:.0f}",
            f"{seconds:.1f} s",
            f"{1000 * used / messages:.1f}",
            f"{1000 * service / messages:.1f}",
        ),
    )


def measure_faults(trial: Trial, sends: int, seed: int, every: float = EVERY_SECONDS) -> bool:
    """Let everything go wrong while texts are sent; return whether each arrived once."""
    errands = trial.errands(sends, word="once")
    clients = Clients(trial.client, errands, repeat=REPEAT, waiting=WAITING, seed=seed)
    began = time.monotonic()
    clients.start(CLIENTS)
    trial.play(clients, sends, random.Random(seed), every)
    clients.join(PATIENCE)
    trial.sandbox.clear_faults()
    trial.service.until_connected()
    trial.until_over()
    seconds, doubtful = time.monotonic() - began, trial.waiting((State.UNKNOWN,))
    trial.read(errands, clients.asked.rows)
    deadline = time.monotonic() + SETTLE_SECONDS
    while judge(trial, errands, clients.asked).doubtful[True] and time.monotonic() < deadline:
        time.sleep(0.5)
    asked, verdict = clients.asked, judge(trial, errands, clients.asked)
    table("what went wrong", *(("what", "times"), *((what, str(one)) for what, one in trial.struck.items())))
    table(
        f"{sends} texts with a key each, {len(trial.names)} accounts, {len(trial.people)} people",
        ("seconds", f"{seconds:.0f}"),
        ("requests", str(asked.tries)),
        ("answered with an earlier row", str(asked.again)),
        ("answered with an error", ", ".join(f"{key} {count}" for key, count in asked.errors.items()) or "0"),
        ("rows unknown until people had read them", str(doubtful - verdict.doubtful.total())),
        *((f"rows {state}", str(count)) for state, count in sorted(verdict.states.items())),
        ("arrived twice", str(len(verdict.twice))),
        ("sent, and not arrived", str(len(verdict.missing))),
        ("failed, and arrived", str(len(verdict.stray))),
        ("unknown: arrived, not arrived", f"{verdict.doubtful[True]}, {verdict.doubtful[False]}"),
        ("arrived after a later one of the chat", str(verdict.mixed)),
        ("keys with two rows", str(len(verdict.conflicts))),
        ("keys without a row", str(len(verdict.rowless))),
    )
    for what in ("twice", "missing", "stray", "conflicts", "rowless"):
        if found := getattr(verdict, what):
            print(f"{what}: {', '.join(found[:20])}", file=sys.stderr)
    return verdict.is_good


def measure(arguments: argparse.Namespace, folder: Path) -> bool:
    """Measure everything that was asked for; return whether all is as it should be."""
    good = True
    if arguments.messages:
        (folder / "fast").mkdir()
        with SandboxProcess() as sandbox:
            trial = Trial(folder / "fast", sandbox, arguments.accounts, PEOPLE)
            trial.prepare()
            try:
                for accounts in sorted({1, arguments.accounts}):
                    measure_speed(trial, accounts, arguments.messages * min(accounts, 5))
            finally:
                trial.service.stop()
    if arguments.sends:
        (folder / "once").mkdir()
        with SandboxProcess() as sandbox:
            trial = Trial(folder / "once", sandbox, min(arguments.accounts, FAULTY_ACCOUNTS), PEOPLE)
            trial.prepare()
            try:
                good = measure_faults(trial, arguments.sends, arguments.seed, arguments.every)
            finally:
                if trial.service.running_pid is not None:
                    trial.service.stop()
    return good


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=50, help="how many send at most (default: 50)")
    parser.add_argument(
        "--messages", type=int, default=500, help="texts of one account, five times as many of all"
    )
    parser.add_argument("--sends", type=int, default=10_000, help="texts through faults (default: 10000)")
    parser.add_argument(
        "--every", type=float, default=EVERY_SECONDS, help="seconds between faults, on average (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"of what goes wrong (default: {SEED})")
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="sending-") as folder:
        table("files", ("on", filesystem(Path(tempfile.gettempdir()).resolve())))
        good = measure(arguments, Path(folder))
    print_load()
    sys.exit(not good)


if __name__ == "__main__":
    main()
