"""What a change of state costs the service: in files, and with a database as the store.

Run as ``python -m benchmarks.changes [--accounts 200] [--changes 2000] [--dsn-file FILE]``.

Each change adds an entry to a timeline, as the service's event loop does it, and after every twentieth one
the status of all accounts is saved. The event loop is held up for as long as these calls take. With
``--dsn-file``, the same is done with the database of that file, which `orchestrator cluster init` has made
ready and which no service uses; the two take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.machine import print_load, print_machine
from benchmarks.report import table
from orchestrator.config.settings import Settings
from orchestrator.service import stores
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Record
from orchestrator.store.status import Kept
from orchestrator.store.timeline import TimelineEntry

TOGETHER = 20
"""Changes between two saves: the service saves once a second at the most."""
ROUNDS = 4
_PATIENCE = 600.0


@dataclass
class Times:
    """What was measured of a store.

    Attributes:
        appends: Seconds of each call that adds an entry.
        saves: Seconds of each call that saves the status.
        cpu: Seconds of the CPU of all changes, in all threads.
        until_kept: Seconds until all was kept.
        changes: How many changes there were.
    """

    appends: list[float] = field(default_factory=list)
    saves: list[float] = field(default_factory=list)
    cpu: float = 0.0
    until_kept: float = 0.0
    changes: int = 0


@contextmanager
def opened(folder: Path, dsn_file: Path | None) -> Iterator[Record]:
    """Open the record of a store."""
    paths = StatePaths.of(folder / ("files" if dsn_file is None else "rows"), environ={})
    paths.prepare()
    settings = Settings(folder / "accounts.yaml", paths.root, paths.qr, store=dsn_file)
    with stores.opened(settings, paths) as store:
        yield store.record


def measure(record: Record, accounts: int, changes: int, times: Times) -> None:
    """Change so often, and wait until all is kept."""
    names = [f"account-{number}" for number in range(accounts)]
    shown = {"state": "connected", "since": "2026-11-22T10:00:00Z", "reason": None, "phone": "+49…01"}
    record.load()
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(changes):
        name = names[number % accounts]
        entry = TimelineEntry(time.time(), "connecting", "connected", attempt=number % 5, version="0.5.2")
        before = time.perf_counter()
        record.append(name, entry)
        times.appends.append(time.perf_counter() - before)
        if number % TOGETHER == TOGETHER - 1:
            kept = {one: Kept(shown={**shown, "name": one}) for one in names}
            kept[name] = Kept(shown={**shown, "name": name, "restarts": number})
            before = time.perf_counter()
            record.save(kept)
            times.saves.append(time.perf_counter() - before)
    if not record.flush(_PATIENCE):
        raise SystemExit("the store did not keep all of it")
    times.cpu += time.process_time() - cpu
    times.until_kept += time.perf_counter() - began
    times.changes += changes


def milliseconds(values: list[float]) -> tuple[str, str]:
    """Return the median and the 99th part of a hundred."""
    ordered = sorted(values)
    return f"{1000 * median(ordered):.3f} ms", f"{1000 * ordered[int(0.99 * (len(ordered) - 1))]:.3f} ms"


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200, help="how many there are (default: 200)")
    parser.add_argument("--changes", type=int, default=2000, help="how many changes (default: 2000)")
    parser.add_argument("--dsn-file", type=Path, help="a file with the DSN of a database that is ready")
    arguments = parser.parse_args()
    print_machine()
    found = {"files": Times()} | ({"database": Times()} if arguments.dsn_file else {})
    with tempfile.TemporaryDirectory(prefix="changes-") as folder:
        for _ in range(ROUNDS):
            for name, times in found.items():
                file = arguments.dsn_file.absolute() if name == "database" else None
                with opened(Path(folder), file) as record:
                    measure(record, arguments.accounts, max(TOGETHER, arguments.changes // ROUNDS), times)
    head = ("", "an entry, median", "99 %", "a save, median", "99 %", "CPU a change", "changes/s")
    rows = [
        (
            name,
            *milliseconds(times.appends),
            *milliseconds(times.saves),
            f"{1e6 * times.cpu / times.changes:.0f} us",
            f"{times.changes / times.until_kept:.0f}",
        )
        for name, times in found.items()
    ]
    first = next(iter(found.values())).changes
    table(
        f"{first} changes of {arguments.accounts} accounts: how long each call holds the loop up", head, *rows
    )
    print_load()


if __name__ == "__main__":
    main()
