"""What it costs to store what comes in: in files, and in Postgres, in one run.

Each account is a process of its own that stores one message after the other, as the library's callback does:
the next one comes when the one before is safe. Files are written by the account's process. For Postgres, the
process asks over a socket, and one thread commits for all accounts, as in the service. Both write to the same
disk, with every commit flushed.

Run as ``python -m benchmarks.storing``; it takes a minute or two.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

import psutil
from support.postgres import PostgresServer, serving

from benchmarks.machine import print_load, print_machine
from benchmarks.meter import filesystem
from benchmarks.report import table
from orchestrator.messages.entry import Entry
from orchestrator.messages.inbox import Inbox
from orchestrator.messages.protocols import InboxStore
from orchestrator.messages.remote import Channel, RemoteInbox
from orchestrator.messages.serving import Serving
from orchestrator.postgres.messages.writer import Writer

CHAT = "269139479534551@lid"
SIZE = 1000
"""Bytes of a message: a text with what phones put around it has 500 to 1,500."""
BEGIN_SECONDS = 1.0
"""Seconds until all accounts are ready."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one account has done.

    Attributes:
        latencies: Seconds of each message.
        cpu: Seconds of its process.
    """

    latencies: list[float]
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has shown.

    Attributes:
        accounts: What each account has done.
        seconds: How long that took.
        keeper_cpu: Seconds of CPU of the thread that commits for all.
        server_cpu: Seconds of CPU of Postgres.
    """

    accounts: list[Account]
    seconds: float
    keeper_cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def row(self) -> tuple[str, ...]:
        """The figures, for a table."""
        latencies = sorted(one for account in self.accounts for one in account.latencies)
        count = len(latencies)
        own = sum(account.cpu for account in self.accounts)
        return (
            f"{count / self.seconds:.0f}",
            f"{1e3 * median(latencies):.2f} ms",
            f"{1e3 * latencies[int(count * 0.99)]:.2f} ms",
            f"{1e6 * own / count:.0f} µs",
            f"{1e6 * self.keeper_cpu / count:.0f} µs",
            f"{1e6 * self.server_cpu / count:.0f} µs",
        )


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[100.0, 0.0], help="messages a second; 0: as many as go"
    )
    options = parser.parse_args()
    print_machine()
    rows: list[tuple[str, ...]] = [
        ("accounts", "wanted", "store", "messages/s", "median", "p99", "account", "service", "Postgres")
    ]
    with tempfile.TemporaryDirectory() as folder, serving(fsync="on", log_statement="none") as server:
        print(f"\nfiles on {filesystem(Path(folder))}; {version(server)}, synchronous_commit on")
        for accounts in options.accounts:
            for rate in options.rates:
                for name, run in (("files", in_files), ("Postgres", in_postgres)):
                    result = run(accounts, rate / accounts, options.seconds, Path(folder), server)
                    wanted = f"{rate:.0f}/s" if rate else "most"
                    rows.append((str(accounts), wanted, name, *result.row))
                    print(".", end="", file=sys.stderr, flush=True)
    table("from the call until the message is safe; CPU for each message", *rows)
    print_load()


def version(server: PostgresServer) -> str:
    """Return which Postgres it is."""
    with server.superuser() as connection:
        row = connection.execute("SELECT 'Postgres ' || current_setting('server_version')").fetchone()
    assert row is not None
    return str(row[0])


def in_files(accounts: int, rate: float, seconds: float, folder: Path, _: PostgresServer) -> Result:
    """Let accounts store messages in files of their own."""
    places = [Path(tempfile.mkdtemp(dir=folder)) for _ in range(accounts)]
    with ExitStack() as running:
        openers = [functools.partial(Inbox.open, place) for place in places]
        pipes = [running.enter_context(account(opens, rate, seconds)) for opens in openers]
        return Result([read(pipe) for pipe in pipes], seconds)


def in_postgres(accounts: int, rate: float, seconds: float, _: Path, server: PostgresServer) -> Result:
    """Let accounts store messages in Postgres, by a thread of this process."""
    database = server.make_database().prepared()
    keeper = Serving(Writer(database, uuid4()))
    channels: list[socket.socket] = [keeper.open(f"account{number}") for number in range(accounts)]
    with ExitStack() as running:
        openers = [functools.partial(RemoteInbox, Channel(channel)) for channel in channels]
        pipes = [running.enter_context(account(opens, rate, seconds)) for opens in openers]
        before, own = cpu_of(server), time.process_time()
        keeper.start()
        found = [read(pipe) for pipe in pipes]
        result = Result(found, seconds, time.process_time() - own, cpu_of(server) - before)
    for channel in channels:
        channel.close()
    keeper.close()
    return result


@contextmanager
def account(opens: Callable[[], InboxStore], rate: float, seconds: float) -> Iterator[int]:
    """Let a process store messages; yield where it tells what it has done."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reads)
            told = json.dumps(store(opens(), rate, seconds)).encode()
            with os.fdopen(writes, "wb") as pipe:
                pipe.write(told)
        finally:
            os._exit(0)
    os.close(writes)
    try:
        yield reads
    finally:
        os.close(reads)
        os.waitpid(pid, 0)


def store(inbox: InboxStore, rate: float, seconds: float) -> tuple[list[float], float]:
    """Store messages for a while; return how long each took, and the CPU time of all."""
    raw = os.urandom(SIZE)
    time.sleep(BEGIN_SECONDS)
    begun, cpu = time.monotonic(), time.process_time()
    latencies: list[float] = []
    while (now := time.monotonic()) < begun + seconds:
        due = begun + len(latencies) / rate if rate else now
        if due > now:
            time.sleep(min(due, begun + seconds) - now)
            continue
        inbox.append(Entry("message", CHAT, CHAT, f"3EB0{len(latencies):012}", time.time(), raw))
        latencies.append(time.monotonic() - now)
    return latencies, time.process_time() - cpu


def read(pipe: int) -> Account:
    """Return what an account has done, once it tells."""
    told = b"".join(iter(lambda: os.read(pipe, 1 << 16), b""))
    latencies, cpu = json.loads(told)
    return Account(latencies, cpu)


def cpu_of(server: PostgresServer) -> float:
    """Return the CPU time of a server and of all processes that it has had."""
    process = psutil.Process(server.pid)
    every: Sequence[psutil.Process] = [process, *process.children()]
    times = [one.cpu_times() for one in every]
    ended = process.cpu_times()
    return sum(one.user + one.system for one in times) + ended.children_user + ended.children_system


if __name__ == "__main__":
    main()
