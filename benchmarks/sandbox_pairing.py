"""How fast many real clients are paired at once, and who has the work: they or the sandbox.

Run as ``python -m benchmarks.sandbox_pairing [--clients 20] [--rounds 3] [--folder FOLDER]``.

Every client is a neonize in a process of its own. In each round all of them are started first; then they
connect, show a QR code, are scanned, log in and upload their prekeys, all at once. Clock and CPU are read
from the first connect() to the last ConnectedEv; CPU for starting Python and importing neonize is told apart.

neonize writes its 812 prekeys to its database one by one, with three fsync() each. How fast the folder's file
system is therefore counts too; /dev/shm as the folder shows what is left without it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from support.linked import scan_shown
from support.neonize_process import NeonizeProcess

from benchmarks.machine import cores, print_machine
from benchmarks.meter import cpu_seconds, filesystem, machine_seconds
from benchmarks.report import percent, table
from orchestrator.sandbox.process import SandboxProcess

PATIENCE = 300.0
"""Seconds for a client to be paired; twenty at once on one core take about thirty."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took, in seconds.

    Attributes:
        starting_cpu: CPU of the clients until neonize was imported.
        wall: From the first connect() to the last client online.
        each: The same for each client.
        clients: CPU of all clients in that time.
        sandbox: CPU of the sandbox in that time.
        own: CPU of this program, which hands the codes on.
        others: CPU of everything else on the machine in that time.
        idle: What all cores together did nothing for, or waited for the disk.
    """

    starting_cpu: float
    wall: float
    each: Sequence[float]
    clients: float
    sandbox: float
    own: float
    others: float
    idle: float

    @property
    def ratio(self) -> float:
        """The clients' CPU as a multiple of the sandbox's."""
        return self.clients / max(self.sandbox, 0.01)

    @property
    def measured(self) -> float:
        """CPU of all that has to do with the measurement."""
        return self.clients + self.sandbox + self.own

    @property
    def capacity(self) -> float:
        """What the cores could have done in that time."""
        return self.measured + self.others + self.idle


def measure(sandbox: SandboxProcess, folder: Path, numbers: Sequence[str]) -> Round:
    """Pair one client for each number, all at once."""
    with ExitStack() as running, ThreadPoolExecutor(len(numbers)) as pool:
        environment = sandbox.environment()
        clients = [NeonizeProcess(folder / f"{number}.sqlite3", environment) for number in numbers]
        list(pool.map(running.enter_context, clients))
        starting_cpu = clients_before = sum(cpu_seconds(client.pid) for client in clients)
        sandbox_before, own_before = cpu_seconds(sandbox.pid), cpu_seconds(os.getpid())
        busy_before, idle_before = machine_seconds()
        began = time.monotonic()

        def pair(client: NeonizeProcess, number: str) -> float:
            client.command("connect")
            scan_shown(sandbox.client, number, lambda: client.qr(PATIENCE))
            return float(client.wait_for("Connected", PATIENCE)["time"]) - began

        each = list(pool.map(pair, clients, numbers))
        wall = time.monotonic() - began
        busy, idle = machine_seconds()
        paired = sum(cpu_seconds(client.pid) for client in clients) - clients_before
        serving = cpu_seconds(sandbox.pid) - sandbox_before
        own = cpu_seconds(os.getpid()) - own_before
        others = max(0.0, busy - busy_before - paired - serving - own)
        return Round(starting_cpu, wall, each, paired, serving, own, others, idle - idle_before)


def show(rounds: Sequence[Round], count: int) -> None:
    """Print every round, and the median of each figure."""
    columns = [
        ("wall", [f"{one.wall:.1f} s" for one in rounds], f"{median(one.wall for one in rounds):.1f} s"),
        _column("median client", [median(one.each) for one in rounds]),
        _column("slowest client", [max(one.each) for one in rounds]),
        _column("CPU of the clients", [one.clients for one in rounds]),
        _column("CPU of the sandbox", [one.sandbox for one in rounds]),
        _column("CPU of this program", [one.own for one in rounds]),
        (
            "clients : sandbox",
            [f"{one.ratio:.0f} : 1" for one in rounds],
            f"{median(one.ratio for one in rounds):.0f} : 1",
        ),
        _share("sandbox of the CPU of all these", [one.sandbox / one.measured for one in rounds]),
        _share(f"of the {cores()} cores: clients", [one.clients / one.capacity for one in rounds]),
        _share("  sandbox", [one.sandbox / one.capacity for one in rounds]),
        _share("  other programs", [one.others / one.capacity for one in rounds]),
        _share("  idle, or waiting for the disk", [one.idle / one.capacity for one in rounds]),
    ]
    heads = [f"round {number}" for number in range(1, len(rounds) + 1)]
    table(
        f"pairing {count} clients at once, from connect() to ConnectedEv",
        ("", *heads, "median"),
        *((name, *cells, middle) for name, cells, middle in columns),
    )
    per_client = median(one.clients / count for one in rounds)
    starting = median(one.starting_cpu / count for one in rounds)
    sandbox = median(one.sandbox / count for one in rounds)
    table(
        "CPU for one client (median of the rounds)",
        ("the client, start and import", f"{1000 * starting:.0f} ms"),
        ("the client, pairing", f"{1000 * per_client:.0f} ms"),
        ("the sandbox, pairing", f"{1000 * sandbox:.0f} ms"),
    )


def _column(name: str, seconds: Sequence[float]) -> tuple[str, list[str], str]:
    return name, [f"{value:.2f} s" for value in seconds], f"{median(seconds):.2f} s"


def _share(name: str, shares: Sequence[float]) -> tuple[str, list[str], str]:
    return name, [percent(value) for value in shares], percent(median(shares))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=20, help="how many at once (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often, with new clients (default: 3)")
    parser.add_argument("--folder", type=Path, help="where their databases go (default: a temporary folder)")
    arguments = parser.parse_args()
    print_machine()
    serial = itertools.count(1)
    with (
        tempfile.TemporaryDirectory(prefix="pairing-", dir=arguments.folder) as name,
        SandboxProcess() as sandbox,
    ):
        folder = Path(name)
        table(
            "clients",
            ("kind", "neonize itself, unmodified, each in a process of its own"),
            ("count", f"{arguments.clients} at once, {arguments.rounds} rounds, all new to the sandbox"),
            ("databases on", filesystem(folder)),
        )
        rounds = [
            measure(sandbox, folder, [f"+49152{next(serial):08d}" for _ in range(arguments.clients)])
            for _ in range(arguments.rounds)
        ]
    show(rounds, arguments.clients)


if __name__ == "__main__":
    main()
