"""How messages get to a webhook: how fast, how many, what a slow receiver costs others, what a kill costs.

Run as ``python -m benchmarks.messages [--accounts 50] [--seconds 20] [--rates 20 100 200 300] [--kills 5]``.

The real service with real neonize accounts against a sandbox, and a receiver in a process of its own. Then,
with the same sessions in the same run, what a user would write: for each account the shortest neonize script
that posts each message by itself (`benchmarks/messages/script.py`).

Latency is from the moment at which the sandbox makes a message's stanza to the receiver's having read the
request. Each request's signature is checked afterwards. Sandbox and receiver run on the same cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.accounts import Pace, pair
from benchmarks.machine import print_load, print_machine
from benchmarks.messages.subjects import Ours, Subject, Theirs
from benchmarks.messages.traffic import PEOPLE, Arrived, Sent, Writers, await_all, compare
from benchmarks.meter import cpu_seconds, filesystem
from benchmarks.receiver import Received, ReceiverProcess, changed, disorder, unsigned
from benchmarks.report import megabytes, table
from benchmarks.service import Service
from orchestrator.sandbox.process import SandboxProcess

_PREFIX = "+49156"
QUIET_SECONDS = 15.0
"""Seconds without a request after which what is missing is lost. A retry of a failure comes after 5."""
SLOW_RATE, SLOW_TIMES = 50.0, 2
"""Messages a second, and for how many times the usual length, beside slow receivers: p99 needs many."""
SLOW_SECONDS = 2.0
"""How long the slow receiver takes for each request."""
KILL_RATE = 50.0
"""Messages a second while something is killed."""
KILL_SECONDS = 6.0
"""For how long people write then; it comes after a third."""
BACKLOG_SECONDS = 600.0
"""Seconds for the accounts to store what is delivered later."""
AWAY_SECONDS = 3.0
SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Run:
    """Some seconds of traffic.

    Attributes:
        sent: What was written.
        arrived: What came of it.
        seconds: From the first message to the last request.
        cpu: CPU seconds by what they were spent on.
        mixed: Messages that came out of order within their chat.
        wrong: Requests with a wrong signature, or with another body than before.
    """

    sent: Sent
    arrived: Arrived
    seconds: float
    cpu: Mapping[str, float]
    mixed: int
    wrong: int


class Bench:
    """The surroundings of a measurement.

    Args:
        sandbox: WhatsApp.
        writers: Who writes.
        receiver: Where events go.
    """

    def __init__(self, sandbox: SandboxProcess, writers: Writers, receiver: ReceiverProcess) -> None:
        self._sandbox = sandbox
        self._writers = writers
        self._receiver = receiver

    def run(
        self,
        subject: Subject,
        seconds: float,
        rate: float,
        *,
        signed: bool,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Run:
        """Have people write for a while, and wait for everything to arrive.

        Args:
            subject: What is measured; it runs.
            seconds: For how long they write.
            rate: Messages a second in all.
            signed: Whether its requests are signed.
            meanwhile: Called while they write.
        """
        time.sleep(SETTLE_SECONDS)
        self._receiver.take()
        before = self._cpu(subject)
        sent = self._writers.write(seconds, rate)
        meanwhile()
        wanted = len(sent.every)
        time.sleep(max(0.0, sent.began + (seconds if rate else 0) - time.time()))
        await_all(self._receiver.count, wanted, QUIET_SECONDS, 10 * seconds + 120)
        after = self._cpu(subject)
        requests = self._receiver.take()
        arrived = compare(sent, requests)
        wrong = len(unsigned(requests)) + len(changed(requests)) if signed else 0
        cpu = {name: after[name] - before.get(name, 0.0) for name in after}
        return Run(
            sent,
            arrived,
            arrived.last - sent.began,
            cpu,
            disorder(requests) if signed else _mixed(sent, requests),
            wrong,
        )

    def _cpu(self, subject: Subject) -> dict[str, float]:
        return {
            **subject.cpu(),
            "sandbox": cpu_seconds(self._sandbox.pid),
            "receiver": cpu_seconds(self._receiver.pid),
        }


def _mixed(sent: Sent, requests: Sequence[Received]) -> int:
    """Return how many messages of an account's first chat came after a later one, from bodies without seq."""
    place = {one: number for ids in sent.ids.values() for number, one in enumerate(ids)}
    chat = {
        one: (name, number * 3 // max(1, len(ids)))
        for name, ids in sent.ids.items()
        for number, one in enumerate(ids)
    }
    last: dict[tuple[str, int], int] = {}
    count = 0
    for one in requests:
        name = one.event.get("id", "")
        if name in place:
            count += place[name] < last.get(chat[name], 0)
            last[chat[name]] = max(place[name], last.get(chat[name], 0))
    return count


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _row(what: str, run: Run) -> tuple[str, ...]:
    count = len(run.sent.every)
    arrived = run.arrived
    delivered = count - len(arrived.lost)
    cpu = ", ".join(f"{name} {1000 * used / max(1, delivered):.1f}" for name, used in run.cpu.items())
    return (
        what,
        str(count),
        f"{delivered / run.seconds:.0f}" if run.seconds else "-",
        _ms(arrived.percentile(0.5)),
        _ms(arrived.percentile(0.99)),
        _ms(arrived.percentile(1.0)),
        str(len(arrived.lost)),
        str(arrived.twice),
        str(run.mixed),
        str(run.wrong),
        cpu,
    )


_HEADS = (
    "offered", "messages", "delivered a second", "median", "p99", "worst", "lost", "twice", "out of order",
    "wrong", "CPU ms a message",
)  # fmt: skip


def measure_rates(
    bench: Bench, subject: Subject, rates: Sequence[float], seconds: float, *, signed: bool
) -> None:
    """Print how a subject does at these rates."""
    rows = [
        _row(f"{rate:.0f}/s" if rate else "at once", bench.run(subject, seconds, rate, signed=signed))
        for rate in rates
    ]
    table(f"{subject.name}: from the server's stanza to the request", _HEADS, *rows)


def measure_backlog(bench: Bench, ours: Ours, count: int) -> None:
    """Print how fast is delivered what is stored already."""
    call = ours.service.client.call
    call("webhook_pause", name="fast")
    began, cpu = 0.0, dict[str, float]()

    def resume() -> None:
        nonlocal began, cpu
        deadline = time.monotonic() + BACKLOG_SECONDS
        while call("consumers", name="fast")["consumers"][0]["waiting"] < wanted:
            assert time.monotonic() < deadline, "not all is stored"
            time.sleep(0.5)
        cpu = dict(ours.cpu())
        began = time.time()
        call("webhook_resume", name="fast")

    each = max(1, round(count / (len(ours.service.names) * PEOPLE)))
    wanted = each * len(ours.service.names) * PEOPLE
    run = bench.run(ours, each, 0, signed=True, meanwhile=resume)
    seconds = run.arrived.last - began
    used = {name: after - cpu[name] for name, after in ours.cpu().items()}
    table(
        "orchestrator: messages that are stored already, after `webhook resume`",
        ("messages", "seconds", "a second", "lost", "out of order", "wrong", "CPU ms a message"),
        (
            str(wanted),
            f"{seconds:.1f}",
            f"{wanted / seconds:.0f}",
            str(len(run.arrived.lost)),
            str(run.mixed),
            str(run.wrong),
            ", ".join(f"{name} {1000 * one / wanted:.1f}" for name, one in used.items()),
        ),
    )


def measure_slow(bench: Bench, ours: Ours, fast: ReceiverProcess, seconds: float, rate: float) -> None:
    """Print what slow and dead receivers cost the fast one."""
    alone = bench.run(ours, seconds, rate, signed=True)
    rows = [("alone", _ms(alone.arrived.percentile(0.5)), _ms(alone.arrived.percentile(0.99)), "")]
    with ReceiverProcess() as slow, ReceiverProcess() as hanging:
        slow.set_delay(SLOW_SECONDS)
        hanging.hang()
        dead = "http://127.0.0.1:9/hook"
        for what, more in (
            (f"beside one that takes {SLOW_SECONDS:.0f} s", {"slow": slow.url}),
            ("beside one that hangs", {"hanging": hanging.url}),
            ("beside one that is not there", {"dead": dead}),
            ("beside all three", {"slow": slow.url, "hanging": hanging.url, "dead": dead}),
        ):
            ours.reload({"fast": fast.url, **more})
            run = bench.run(ours, seconds, rate, signed=True)
            share = run.arrived.percentile(0.99) / alone.arrived.percentile(0.99)
            rows.append(
                (what, _ms(run.arrived.percentile(0.5)), _ms(run.arrived.percentile(0.99)), f"{share:.2f}")
            )
        ours.reload({"fast": fast.url})
    table(f"a fast receiver at {rate:.0f}/s", ("", "median", "p99", "p99, compared with alone"), *rows)


def measure_kills(
    bench: Bench, subject: Subject, receiver: ReceiverProcess, kills: int, *, signed: bool
) -> None:
    """Print what is lost when something is killed in the middle of a burst, or the receiver is away."""
    rows = []
    strikes = {f"{whom} killed": partial(_strike, subject, whom) for whom in subject.victims()}
    strikes[f"receiver away for {AWAY_SECONDS:.0f} s"] = partial(_leave, receiver)
    for what, strike in strikes.items():
        runs = [
            bench.run(subject, KILL_SECONDS, KILL_RATE, signed=signed, meanwhile=strike) for _ in range(kills)
        ]
        lost = [len(one.arrived.lost) for one in runs]
        rows.append(
            (
                what,
                str(kills),
                str(sum(len(one.sent.every) for one in runs)),
                str(sum(lost)),
                str(sum(len(one.arrived.reported) for one in runs)),
                str(max(lost, default=0)),
                str(sum(one.arrived.twice for one in runs)),
                str(sum(one.mixed for one in runs)),
            )
        )
    table(
        f"{subject.name}: while {KILL_RATE:.0f} messages a second come in, by SIGKILL",
        ("what", "times", "messages", "lost", "reported", "lost at once, at most", "twice", "out of order"),
        *rows,
    )


def _strike(subject: Subject, whom: str) -> None:
    time.sleep(KILL_SECONDS / 3)
    subject.kill(whom)


def _leave(receiver: ReceiverProcess) -> None:
    time.sleep(KILL_SECONDS / 3)
    receiver.go_away(AWAY_SECONDS)


def show_memory(ours: Ours) -> None:
    """Print what the gateway takes."""
    table(
        "memory",
        ("process", "PSS", "private"),
        *((name, megabytes(one.pss), megabytes(one.private)) for name, one in ours.memory().items()),
    )


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure everything that was asked for."""
    names = [f"account-{number:03d}" for number in range(arguments.accounts)]
    numbers = {name: f"{_PREFIX}{number:08d}" for number, name in enumerate(names)}
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess())
        receiver = stack.enter_context(ReceiverProcess())
        service = Service(folder, {name: {} for name in names}, sandbox.environment())
        pair(service, sandbox, Pace("pairing", 4, 0.0), _PREFIX)
        bench = Bench(sandbox, Writers(sandbox.client, numbers), receiver)
        ours = Ours(service, sandbox, {"fast": receiver.url})
        ours.start()
        try:
            measure_rates(bench, ours, arguments.rates, arguments.seconds, signed=True)
            if arguments.backlog:
                measure_backlog(bench, ours, arguments.backlog)
            show_memory(ours)
            if not arguments.no_slow:
                measure_slow(bench, ours, receiver, SLOW_TIMES * arguments.seconds, SLOW_RATE)
            if arguments.kills:
                measure_kills(bench, ours, receiver, arguments.kills, signed=True)
        finally:
            ours.stop()
        if not arguments.no_script:
            theirs = Theirs(service, sandbox, receiver.url)
            theirs.start()
            try:
                measure_rates(bench, theirs, arguments.rates, arguments.seconds, signed=False)
                if arguments.kills:
                    measure_kills(bench, theirs, receiver, arguments.kills, signed=False)
            finally:
                theirs.stop()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long at each rate (default: 20)")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[20, 100, 200, 300], help="messages a second in all"
    )
    parser.add_argument("--kills", type=int, default=5, help="how often each is killed (default: 5)")
    parser.add_argument(
        "--backlog", type=int, default=6000, help="messages that are stored before they are delivered"
    )
    parser.add_argument("--no-script", action="store_true", help="leave the comparison out")
    parser.add_argument("--no-slow", action="store_true", help="leave the slow receivers out")
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="messages-") as folder:
        table(
            "accounts",
            ("kind", "neonize itself, unmodified"),
            ("accounts", str(arguments.accounts)),
            ("files on", filesystem(Path(tempfile.gettempdir()).resolve())),
        )
        measure(arguments, Path(folder))
    print_load()


if __name__ == "__main__":
    main()
