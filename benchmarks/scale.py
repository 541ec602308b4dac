"""Whether hundreds of accounts fit on a small machine: the real service with real neonize accounts.

Run as ``python -m benchmarks.scale [--accounts 200] [--parallel 2] [--spread 1.0] [--changes 100]``.

All accounts are paired first, then the service is started anew, with their sessions, at the pace that is
given. While all of them are restarted, and while so many are that a reload finds changed, others look: a
client that asks for the list again and again, the command for it, and `orchestrator list --watch` on a
terminal. The last thing is SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

import psutil

from benchmarks.accounts import SETTLE_SECONDS, Pace, pair
from benchmarks.machine import print_load, print_machine
from benchmarks.meter import Memory, cpu_seconds, filesystem
from benchmarks.report import megabytes, percent, table
from benchmarks.service import DEFAULT_PARALLEL, DEFAULT_SPREAD, PATIENCE, Service
from benchmarks.watching import COLUMNS, ROWS, Seen, command_line, watching
from orchestrator.control.client import Stream
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store.timeline import Timeline

ELSEWHERE = "Elsewhere"
"""What a phone would show of a changed account."""
QUIET_SECONDS = 20.0
"""How long the service is looked at while nothing happens."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What was seen while something was done.

    Attributes:
        name: What.
        wall: Seconds until the last account was connected again.
        away: For how long each that was touched was not connected, in seconds.
        parent: Share of one core that the service's own process had.
        seen: What those who looked have seen.
    """

    name: str
    wall: float
    away: Sequence[float]
    parent: float
    seen: Seen


class Trial:
    """A service with so many accounts, its pace, and those who look at it.

    Args:
        folder: Where everything of it goes.
        count: How many accounts.
        pace: How it starts them.
        sandbox: Their WhatsApp.
    """

    def __init__(self, folder: Path, count: int, pace: Pace, sandbox: SandboxProcess) -> None:
        self.names = [f"account-{number:03d}" for number in range(count)]
        self.environment = sandbox.environment()
        self.service = Service(folder, {name: {} for name in self.names}, self.environment)
        self._pace = pace

    def configure(self, changed: Sequence[str] = ()) -> None:
        """Write the configuration; what the phones show of these accounts is another name."""
        pace = {"parallel": self._pace.parallel, "spread": f"{self._pace.spread * 1000:.0f}ms"}
        accounts = {name: {"device_name": ELSEWHERE} if name in changed else {} for name in self.names}
        self.service.config_file.write_text(json.dumps({"start": pace, "accounts": accounts}))

    def reload(self, changed: Sequence[str]) -> None:
        """Change these accounts in the configuration, and have the service take that over."""
        self.configure(changed)
        done = self.service.client.call("reload")
        assert done["changed"] == changed, done

    def processes(self) -> dict[str, int]:
        """Return the process of every account; each must be connected."""
        about = self.service.about()
        assert all(one["state"] == "connected" for one in about), about
        return {one["name"]: one["pid"] for one in about}

    def look(self, name: str, touched: Sequence[str], act: Callable[[], object]) -> Phase:
        """Do something, and see how the service and those who look at it fare until all are back."""
        before, pid = self.processes(), self.service.pid
        service = self.service
        used, began = cpu_seconds(pid), time.monotonic()
        with watching(
            service.client, command_line(service.config_file, service.paths.root), self.environment
        ) as seen:
            act()
            self._until_back({name: before[name] for name in touched})
            wall = time.monotonic() - began
            share = (cpu_seconds(pid) - used) / wall
        after = self.processes()
        changed = [name for name in self.names if after[name] != before[name]]
        assert changed == touched, f"{name} has touched {changed}"
        return Phase(name, wall, [self._away(name) for name in touched], share, seen)

    def _until_back(self, before: Mapping[str, int]) -> None:
        """Wait until accounts are connected by other processes than these."""
        back: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        with Stream(self.service.paths.control_socket, {"command": "watch", "names": []}, PATIENCE) as events:
            for event in events:
                for one in event["accounts"]:
                    if one["state"] == "connected" and one["pid"] != before.get(one["name"], one["pid"]):
                        back.add(one["name"])
                if len(back) == len(before):
                    return
                assert time.monotonic() < deadline, f"only {len(back)} of {len(before)} are back"

    def _away(self, name: str) -> float:
        """Return for how long an account was not connected the last time."""
        entries = Timeline(self.service.paths.timeline).tail(name, 20)
        left = max(one["at"] for one in entries if one["from"] == "connected")
        back = max(one["at"] for one in entries if one["to"] == "connected")
        return (datetime.fromisoformat(back) - datetime.fromisoformat(left)).total_seconds()

    def memory(self) -> Memory:
        """Return what the service takes with everything that belongs to it."""
        own = psutil.Process(self.service.pid)
        return sum((Memory.of(one.pid) for one in (own, *own.children(recursive=True))), Memory())

    def stop(self) -> float:
        """Stop the service by SIGTERM, and see that nothing is left of it; return how long that took."""
        own = psutil.Process(self.service.pid)
        everything = own.children(recursive=True)
        began = time.monotonic()
        code = self.service.stop()
        took = time.monotonic() - began
        left = [one for one in everything if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert (code, left) == (0, []), f"it ended with {code}, and left {left}"
        return took


def measure(count: int, pace: Pace, changes: int) -> None:
    """Pair so many accounts, put the service through it, and print the results."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder, SandboxProcess() as sandbox:
        trial = Trial(Path(folder), count, pace, sandbox)
        service, names = trial.service, trial.names
        paired, _ = pair(service, sandbox, Pace("pairing", pace.parallel, 0.0))
        trial.configure()
        service.start()
        try:
            arrivals = service.until_connected()
            parent = cpu_seconds(service.pid)
            time.sleep(SETTLE_SECONDS)
            phases = [trial.look("nothing", [], lambda: time.sleep(QUIET_SECONDS))]
            memory = trial.memory()
            phases += [
                trial.look("restart --all", names, lambda: service.client.call("restart", all=True)),
                trial.look(
                    f"reload, {changes} changes", names[:changes], lambda: trial.reload(names[:changes])
                ),
            ]
            stopping = trial.stop()
        finally:
            if service.running_pid is not None:
                service.stop()
    table(
        f"{count} accounts",
        ("paired, until all are connected", f"{paired.wall:.1f} s"),
        ("started anew, until all are connected", f"{max(one.seconds for one in arrivals.values()):.1f} s"),
        ("  CPU of the service's own process", f"{parent:.2f} s"),
        ("  CPU an account, median", f"{median(one.cpu for one in arrivals.values()):.2f} s"),
        ("SIGTERM, until all are gone", f"{stopping:.2f} s"),
        ("PSS of all its processes", megabytes(memory.pss)),
        ("  an account", megabytes(memory.pss / count)),
    )
    show(phases)


def show(phases: Sequence[Phase]) -> None:
    """Print what those who looked have seen."""

    def row(name: str, value: Callable[[Phase], str]) -> tuple[str, ...]:
        return name, *map(value, phases)

    def times(of: Sequence[float]) -> str:
        return f"{1000 * median(of):.0f} .. {1000 * max(of):.0f} ms" if of else "-"

    def seconds(of: float | None) -> str:
        return "-" if of is None else f"{of:.2f} s"

    def away(of: Sequence[float]) -> str:
        return f"{median(of):.1f} .. {max(of):.1f} s" if of else "-"

    table(
        f"while others look (`list --watch` on a terminal of {ROWS} by {COLUMNS}) and so much is done",
        row("", lambda phase: phase.name),
        row("until all are connected again", lambda phase: f"{phase.wall:.1f} s" if phase.away else "-"),
        row("not connected, median .. longest", lambda phase: away(phase.away)),
        row("the service's own process, of one core", lambda phase: percent(phase.parent)),
        row("list over the socket, median .. worst", lambda phase: times(phase.seen.asked)),
        row("orchestrator list --json, median .. worst", lambda phase: times(phase.seen.commands)),
        row("list --watch: first frame", lambda phase: seconds(phase.seen.first_frame)),
        row("  frames a second", lambda phase: f"{phase.seen.frames_per_second:.1f}"),
        row("  longest time between two", lambda phase: f"{phase.seen.longest_gap:.2f} s"),
        row("  its CPU, of one core", lambda phase: percent(phase.seen.cpu / phase.seen.looked)),
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200, help="how many (default: 200)")
    parser.add_argument(
        "--parallel",
        type=int,
        default=DEFAULT_PARALLEL,
        help=f"how many start at once (default: {DEFAULT_PARALLEL})",
    )
    parser.add_argument(
        "--spread",
        type=float,
        default=DEFAULT_SPREAD,
        help=f"seconds, the most between two starts (default: {DEFAULT_SPREAD:g})",
    )
    parser.add_argument(
        "--changes", type=int, default=100, help="how many accounts a reload finds changed (default: 100)"
    )
    arguments = parser.parse_args()
    print_machine()
    table(
        "accounts",
        ("kind", "neonize itself, unmodified, started by the service"),
        ("sessions on", filesystem(Path(tempfile.gettempdir()).resolve())),
        ("pace", f"{arguments.parallel} starting at a time, up to {arguments.spread:g} s between two"),
    )
    measure(arguments.accounts, Pace("pace", arguments.parallel, arguments.spread), arguments.changes)
    print_load()


if __name__ == "__main__":
    main()
