"""What accounts cost: the memory and CPU of the real service with real neonize accounts.

Run as ``python -m benchmarks.accounts [--accounts 10 50] [--rounds 3] [--seconds 60]
[--inbox [all]] [--merge] [--against REVISION]``.

All accounts are paired first, from the QR codes that the service shows, and the memory of accounts that have
just been paired is read. Then the service is stopped and
started again several times, which is the usual case: the accounts connect with their stored sessions. After
the last start it is left alone for a while, for what idle accounts take; memory is read at the end of that.

CPU until connected is what the account's process has used when the service says that it is connected, or up
to a quarter of a second later. Starts are paced by the configuration: by default two accounts at a time, and
up to a second between two.

With ``--against``, the service of another revision does the same in the same run, in turns with this
checkout's. Both are installed from wheels then. Only one of them runs at a time.

With ``--inbox``, the accounts of one service keep what people write to them, those of the other one nothing.
Before they are left alone, each gets twenty messages. Together with ``--against``, the other revision keeps
nothing, and this checkout does; with ``--inbox all``, both keep them.

With ``--merge``, the kernel may merge the memory of the last service's accounts, and not that of another one
beside. Somebody has to switch that on for the machine: ``echo 1 > /sys/kernel/mm/ksm/run`` as root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from threading import Event

from benchmarks.installed import install_checkout, install_revision
from benchmarks.machine import cores, print_load, print_machine
from benchmarks.mappings import count_go_libraries, parts
from benchmarks.meter import (
    Memory,
    cpu_of_ended_children,
    cpu_seconds,
    filesystem,
    machine_seconds,
    merging_seconds,
)
from benchmarks.report import megabytes, percent, table
from benchmarks.service import DEFAULT_PARALLEL, DEFAULT_SPREAD, Arrival, Service, trusting_the_system
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system import merging

PHONES_AT_ONCE = 4
"""How many codes are scanned at a time; a phone waits 30 s for a client that is busy."""
SETTLE_SECONDS = 10.0
"""How long after the last account has connected the service is idle; new sessions upload keys till then."""
SCAN_AGAIN_SECONDS = 0.2
MESSAGES = 20
"""What every account gets, where an inbox is measured."""
INBOX: Mapping[str, object] = {"messages": {"allow": "*"}}
"""What the configuration says of an account that keeps everything."""
WRITER = "+4915200000000"
PATIENCE = 120.0
"""Seconds until twenty messages have arrived, which takes less than one."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What is measured.

    Attributes:
        name: What it is called.
        program: The command to start the service with; see `Service`.
        settings: What the configuration says of each account.
        messages: How many messages each account gets.
        top: What the configuration says besides.
    """

    name: str
    program: Sequence[str] | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    messages: int = 0
    top: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the service starts its accounts; see `Service.running`."""

    name: str
    parallel: int
    spread: float


@dataclass(frozen=True, slots=True)
class Start:
    """What it took to bring all accounts online, in seconds.

    Attributes:
        wall: From the start of the service to the last account connected.
        each: CPU of every account's process until it was connected.
        parent: CPU of the service's own process.
        check: CPU of the process that looks whether neonize can be loaded.
        server: CPU of the fork server.
        others: Share of all cores that programs had which have nothing to do with it.
    """

    wall: float
    each: Sequence[float]
    parent: float
    check: float
    server: float
    others: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What the service takes while nothing happens.

    Attributes:
        seconds: How long it was looked at.
        accounts: CPU of all accounts' processes in that time.
        parent: CPU of the service's own process.
        server: CPU of the fork server.
        merging: CPU of the kernel for merging memory, of all processes of the machine.
        others: Share of all cores that programs had which have nothing to do with it.
        memory: Memory of every account's process at the end.
        parent_memory: Memory of the service's own process.
        server_memory: Memory of the fork server.
        other_memory: Memory of the service's other processes.
        parts: What the memory of the account in the middle consists of.
        strangers: How many other processes on the machine share Go's library with it.
    """

    seconds: float
    accounts: float
    parent: float
    server: float
    merging: float
    others: float
    memory: Sequence[Memory]
    parent_memory: Memory
    server_memory: Memory
    other_memory: Memory
    parts: Mapping[str, Memory]
    strangers: int


class Surroundings:
    """Tells what other programs did between two moments; this one and the sandbox are none of them."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._own = (sandbox.pid, os.getpid())
        self._own_before = sum(map(cpu_seconds, self._own))
        self._before = machine_seconds()

    def others(self, measured: float) -> float:
        """Return their share of all cores since this was made.

        Args:
            measured: CPU seconds of what is measured.
        """
        busy, idle = (now - before for now, before in zip(machine_seconds(), self._before, strict=True))
        own = sum(map(cpu_seconds, self._own)) - self._own_before
        return max(0.0, busy - own - measured) / max(busy + idle, 0.01)


@contextmanager
def online(
    service: Service, sandbox: SandboxProcess, pace: Pace
) -> Iterator[tuple[Start, Mapping[str, Arrival]]]:
    """Run the service, from the moment at which all its accounts are connected."""
    surroundings = Surroundings(sandbox)
    with service.running(parallel=pace.parallel, spread=pace.spread):
        arrivals = service.until_connected()
        each = [one.cpu for one in arrivals.values()]
        server, _ = service.helpers()
        own = (cpu_seconds(service.pid), cpu_of_ended_children(service.pid), cpu_seconds(server))
        others = surroundings.others(sum(own) + sum(cpu_seconds(one.pid) for one in arrivals.values()))
        yield Start(max(one.seconds for one in arrivals.values()), each, *own, others), arrivals


def scan(service: Service, phones: SandboxClient, name: str, phone: str, give_up: Event) -> None:
    """Hold a phone to an account's picture, and again if that comes too late: until its client is linked."""
    phones.add_phone(phone)
    picture = service.paths.qr / f"{name}.png"
    while not give_up.is_set() and not any(
        one["devices"] for one in phones.phones() if one["phone"] == phone
    ):
        with contextlib.suppress(FileNotFoundError, SandboxError):
            phones.scan(phone, png=picture)
        give_up.wait(SCAN_AGAIN_SECONDS)


def pair(
    service: Service, sandbox: SandboxProcess, pace: Pace, prefix: str = "+49153"
) -> tuple[Start, Fresh]:
    """Pair every account from its picture, each with a phone of its own, and bring all of them online.

    Args:
        service: The service.
        sandbox: Where the phones are.
        pace: How the accounts are started.
        prefix: How the phones' numbers begin.
    """
    give_up = Event()
    with ThreadPoolExecutor(PHONES_AT_ONCE) as pool:
        scans = [
            pool.submit(scan, service, sandbox.client, name, f"{prefix}{number:08d}", give_up)
            for number, name in enumerate(service.names)
        ]
        try:
            with online(service, sandbox, pace) as (start, arrivals):
                time.sleep(SETTLE_SECONDS)
                service.check_connected(arrivals)
                fresh = look_at_fresh(service, arrivals)
        finally:
            give_up.set()
        for one in scans:
            one.result()
    return start, fresh


def look_at_fresh(service: Service, arrivals: Mapping[str, Arrival]) -> Fresh:
    """Read the memory of accounts that have just been paired."""
    pids = [one.pid for one in arrivals.values()]
    memory = [Memory.of(pid) for pid in pids]
    server, _ = service.helpers()
    return Fresh(memory, parts(middle_of(memory, pids), server))


def middle_of(memory: Sequence[Memory], pids: Sequence[int]) -> int:
    """Return the process whose memory is in the middle of all."""
    return sorted(zip((one.pss for one in memory), pids, strict=True))[len(pids) // 2][1]


def write(sandbox: SandboxProcess, phones: Sequence[str], count: int) -> None:
    """Let somebody write so many messages to each phone's account, and wait until they have arrived."""
    client = sandbox.client
    if WRITER not in [one["phone"] for one in client.phones()]:
        client.add_phone(WRITER)
    since = client.last_event()
    for message in [client.send_burst(WRITER, phone, count)[-1] for phone in phones] if count else []:
        client.wait_for("receipt", PATIENCE, since, id=message)


def stay_idle(
    service: Service, sandbox: SandboxProcess, arrivals: Mapping[str, Arrival], seconds: float
) -> Idle:
    """Leave the service alone for a while, and read what it took."""
    pids = [one.pid for one in arrivals.values()]
    server, rest = service.helpers()

    def cpu() -> tuple[float, float, float]:
        return sum(map(cpu_seconds, pids)), cpu_seconds(service.pid), cpu_seconds(server)

    time.sleep(SETTLE_SECONDS)
    surroundings = Surroundings(sandbox)
    began, before, merged = time.monotonic(), cpu(), merging_seconds()
    time.sleep(seconds)
    after, took = cpu(), time.monotonic() - began
    accounts, parent, forking = (now - then for now, then in zip(after, before, strict=True))
    merged = merging_seconds() - merged
    others = surroundings.others(accounts + parent + forking)
    service.check_connected(arrivals)
    memory = [Memory.of(pid) for pid in pids]
    return Idle(
        took,
        accounts,
        parent,
        forking,
        merged,
        others,
        memory,
        Memory.of(service.pid),
        Memory.of(server),
        sum((Memory.of(pid) for pid in rest), Memory()),
        parts(middle_of(memory, pids), server),
        count_go_libraries() - len(pids),
    )


@dataclass(frozen=True, slots=True)
class Fresh:
    """What accounts take that have just been paired.

    Attributes:
        memory: Memory of every account's process, `SETTLE_SECONDS` after the last one has connected.
        parts: What the memory of the account in the middle consists of.
    """

    memory: Sequence[Memory]
    parts: Mapping[str, Memory]


@dataclass(frozen=True, slots=True)
class Result:
    """What a service took.

    Attributes:
        pairing: Its first start, with the pairing of all accounts.
        fresh: What its accounts took after that.
        starts: Its later starts, by the name of their pace.
        idle: What it took after the last of them.
    """

    pairing: Start
    fresh: Fresh
    starts: Mapping[str, Sequence[Start]]
    idle: Idle


def measure(count: int, rounds: int, seconds: float, variants: Sequence[Variant]) -> Mapping[str, Result]:
    """Pair so many accounts, start the service again and again, and leave it alone.

    Args:
        count: How many accounts.
        rounds: How many starts at each pace.
        seconds: How long the service is left alone.
        variants: What is measured; they take turns.

    Returns:
        What each took, by name.
    """
    default = Pace("default pace", DEFAULT_PARALLEL, DEFAULT_SPREAD)
    two_in_a_row = Pace("without spread", DEFAULT_PARALLEL, 0.0)
    at_once = Pace("all at once", count, 0.0)
    paces = (at_once, two_in_a_row, default)  # the usual one last: it is left alone then
    names = [f"account-{number:03d}" for number in range(count)]
    pairings: dict[str, tuple[Start, Fresh]] = {}
    starts: dict[str, dict[str, list[Start]]] = {
        one.name: {pace.name: [] for pace in (default, two_in_a_row, at_once)} for one in variants
    }
    idle: dict[str, Idle] = {}
    with tempfile.TemporaryDirectory(prefix="accounts-") as folder, SandboxProcess() as sandbox:
        environment = trusting_the_system(sandbox.environment(), Path(folder))
        services: dict[str, Service] = {}
        for number, one in enumerate(variants):
            place = Path(folder) / str(number)
            place.mkdir()
            accounts = dict.fromkeys(names, one.settings)
            services[one.name] = Service(place, accounts, environment, one.program, one.top)
            pairings[one.name] = pair(services[one.name], sandbox, two_in_a_row, prefix(number))
        for round_ in range(rounds):
            for pace in paces:
                for number, one in enumerate(variants):
                    with online(services[one.name], sandbox, pace) as (start, arrivals):
                        starts[one.name][pace.name].append(start)
                        if pace is default and round_ == rounds - 1:
                            phones = [f"{prefix(number)}{account:08d}" for account in range(count)]
                            write(sandbox, phones, one.messages)
                            idle[one.name] = stay_idle(services[one.name], sandbox, arrivals, seconds)
    return {one.name: Result(*pairings[one.name], starts[one.name], idle[one.name]) for one in variants}


def merging_switch() -> str:
    """Return whether this machine merges memory, and how fast."""
    names = ("run", "pages_to_scan", "sleep_millisecs")
    with contextlib.suppress(OSError):
        run, pages, sleep = ((merging.SWITCH.parent / name).read_text().strip() for name in names)
        return f"{pages} pages every {sleep} ms" if run == "1" else "off"
    return "unknown"


def prefix(number: int) -> str:
    """Return how the numbers of the phones of a variant begin."""
    return f"+4915{3 + number}"


def show_starts(count: int, pairing: Start, starts: Mapping[str, Sequence[Start]]) -> None:
    """Print how long it took until all accounts were connected, and what it cost."""
    columns = {"pairing": [pairing], **starts}

    def row(name: str, value: Callable[[Start], float], unit: str = "s") -> tuple[str, ...]:
        cells = [median(map(value, column)) for column in columns.values()]
        return name, *(percent(cell) if unit == "%" else f"{cell:.2f} s" for cell in cells)

    walls = [
        (min(one.wall for one in column), max(one.wall for one in column)) for column in columns.values()
    ]
    rounds = len(next(iter(starts.values())))
    table(
        f"{count} accounts, until all are connected (pairing: once; the others, with stored sessions: medians"
        f" of {rounds})",
        ("", *columns),
        row("wall", lambda one: one.wall),
        ("  from .. to", *(f"{least:.1f} .. {most:.1f}" for least, most in walls)),
        row("CPU an account, median", lambda one: median(one.each)),
        row("  worst", lambda one: max(one.each)),
        row("CPU of all accounts", lambda one: sum(one.each)),
        row("CPU of the service's own process", lambda one: one.parent),
        row("  the fork server", lambda one: one.server),
        row("  the check of neonize", lambda one: one.check),
        row(f"of the {cores()} cores: other programs", lambda one: one.others, "%"),
    )


def show_idle(count: int, idle: Idle) -> None:
    """Print what CPU idle accounts take."""

    def row(name: str, used: float) -> tuple[str, str, str]:
        return name, f"{1000 * used:.0f} ms", f"{100 * used / idle.seconds:.3f} %"

    table(
        f"{count} accounts, idle for {idle.seconds:.0f} s",
        ("", "CPU", "of one core"),
        row("an account", idle.accounts / count),
        row("all accounts", idle.accounts),
        row("the service's own process", idle.parent),
        row("the fork server", idle.server),
        row("the kernel, for merging memory", idle.merging),
        (f"other programs, of the {cores()} cores", "", percent(idle.others)),
    )


def show_memory(count: int, idle: Idle) -> None:
    """Print what memory idle accounts take, and of what it is."""

    def row(name: str, memory: Memory) -> tuple[str, ...]:
        return name, *map(megabytes, (memory.pss, memory.private, memory.dirty, memory.shared, memory.rss))

    accounts = sorted(idle.memory, key=lambda one: one.pss)
    total = sum(accounts, Memory())
    everything = total + idle.parent_memory + idle.server_memory + idle.other_memory
    heads = ("", "PSS", "private", "of it dirty", "shared", "RSS")
    table(
        f"{count} accounts, memory after that",
        heads,
        row("the account in the middle", accounts[len(accounts) // 2]),
        row("  the smallest", accounts[0]),
        row("  the largest", accounts[-1]),
        row("all accounts", total),
        row("the service's own process", idle.parent_memory),
        row("the fork server", idle.server_memory),
        row("its helper", idle.other_memory),
    )
    table(
        "per account",
        ("accounts alone: PSS", megabytes(total.pss / count)),
        ("with the service and its helpers: PSS", megabytes(everything.pss / count)),
        ("other processes that share Go's library now, which makes PSS smaller", str(idle.strangers)),
    )
    table(
        "what the memory of the account in the middle is",
        heads,
        *(row(name, memory) for name, memory in idle.parts.items()),
    )


def show_fresh(count: int, fresh: Fresh) -> None:
    """Print what memory accounts take that have just been paired, and of what the one in the middle is."""
    accounts = sorted(fresh.memory, key=lambda one: one.pss)
    rows = {
        "the account in the middle, just paired": accounts[len(accounts) // 2],
        "all accounts": sum(accounts, Memory()),
    }
    table(
        f"{count} accounts, memory {SETTLE_SECONDS:.0f} s after they were paired",
        ("", "PSS", "private", "of it dirty", "shared", "RSS"),
        *(
            (name, *map(megabytes, (one.pss, one.private, one.dirty, one.shared, one.rss)))
            for name, one in (rows | {f"  {name}": one for name, one in fresh.parts.items()}).items()
        ),
    )


def show_change(count: int, results: Mapping[str, Result]) -> None:
    """Print how the second of two compares with the first."""
    (name_before, before), (name_now, now) = results.items()

    def row(name: str, value: Callable[[Result], float], show: Callable[[float], str]) -> tuple[str, ...]:
        then, today = value(before), value(now)
        change = f"{100 * (today / then - 1):+.1f} %" if then else "-"
        return name, show(then), show(today), change

    def milliseconds(seconds: float) -> str:
        return f"{1000 * seconds:.1f} ms"

    def one_account(part: Callable[[Memory], int]) -> Callable[[Result], float]:
        return lambda result: median(part(one) for one in result.idle.memory)

    def fresh_account(part: Callable[[Memory], int]) -> Callable[[Result], float]:
        return lambda result: median(part(one) for one in result.fresh.memory)

    def cpu(pace: str) -> Callable[[Result], float]:
        return lambda result: median(median(one.each) for one in result.starts[pace])

    def wall(pace: str) -> Callable[[Result], float]:
        return lambda result: median(one.wall for one in result.starts[pace])

    def of_megabytes(count: float) -> str:
        return megabytes(int(count))

    table(
        f"{count} accounts: before and now, medians",
        ("", name_before, name_now, "change"),
        row("an account: PSS", one_account(lambda one: one.pss), of_megabytes),
        row("  private", one_account(lambda one: one.private), of_megabytes),
        row("just paired: PSS", fresh_account(lambda one: one.pss), of_megabytes),
        row("  private", fresh_account(lambda one: one.private), of_megabytes),
        *(row(f"  CPU until connected, {pace}", cpu(pace), milliseconds) for pace in now.starts),
        row(
            "  idle, CPU in a second", lambda one: one.idle.accounts / count / one.idle.seconds, milliseconds
        ),
        *(row(f"until all are connected, {pace}", wall(pace), milliseconds) for pace in now.starts),
        row("the service's own process: PSS", lambda one: one.idle.parent_memory.pss, of_megabytes),
        row("  idle, CPU in a second", lambda one: one.idle.parent / one.idle.seconds, milliseconds),
        row("the fork server: PSS", lambda one: one.idle.server_memory.pss, of_megabytes),
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--accounts", type=int, nargs="+", default=[10, 50], help="how many, one run each (default: 10 50)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how many starts at each pace (default: 3)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to stay idle (default: 60)")
    parser.add_argument(
        "--inbox",
        nargs="?",
        const="one",
        choices=("one", "all"),
        help="compare accounts that keep nothing with accounts that keep messages; all: all keep them",
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="compare accounts as they are with accounts whose memory is merged",
    )
    parser.add_argument("--against", metavar="REVISION", help="measure this revision of the checkout, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="accounts-") as folder:
        variants = choose(
            install(arguments.against, Path(folder)), inbox=arguments.inbox, merge=arguments.merge
        )
        print_machine()
        table(
            "accounts",
            ("kind", "neonize itself, unmodified, started by the service"),
            ("merging of memory", merging_switch()),
            ("sessions on", filesystem(Path(tempfile.gettempdir()).resolve())),
            (
                "default pace",
                f"{DEFAULT_PARALLEL} starting at a time, up to {DEFAULT_SPREAD:g} s between two",
            ),
        )
        for count in arguments.accounts:
            results = measure(count, arguments.rounds, arguments.seconds, variants)
            for name, result in results.items():
                if len(results) > 1:
                    print(f"\n{name}")
                show_starts(count, result.pairing, result.starts)
                show_fresh(count, result.fresh)
                show_idle(count, result.idle)
                show_memory(count, result.idle)
            if len(results) > 1:
                show_change(count, results)
        print_load()


def choose(
    programs: Mapping[str, Sequence[str] | None], *, inbox: str | None, merge: bool
) -> Sequence[Variant]:
    """Return what is measured: one of the programs, or two that are compared.

    Args:
        programs: The commands, by name.
        inbox: "one": the last one's accounts keep messages, and there is a first one whose accounts do not.
            "all": all accounts keep messages. None: none does.
        merge: There is another one of the last whose accounts' memory is merged, and that is compared.
    """
    variants = _by_inbox(programs, inbox)
    if not merge:
        return variants
    last = variants[-1]
    return [last, replace(last, name=f"{last.name}, merged", top={"memory_merge": True})]


def _by_inbox(programs: Mapping[str, Sequence[str] | None], inbox: str | None) -> Sequence[Variant]:
    if inbox == "all":
        return [Variant(name, program, INBOX, MESSAGES) for name, program in programs.items()]
    variants = [
        Variant(name, program, messages=0 if inbox is None else MESSAGES)
        for name, program in programs.items()
    ]
    if inbox is None:
        return variants
    *_, last = variants
    kept = Variant(f"{last.name} with an inbox", last.program, INBOX, messages=MESSAGES)
    return [variants[0], kept]


def install(revision: str | None, folder: Path) -> dict[str, Sequence[str] | None]:
    """Return the commands to measure, by name: this checkout's, or those of a revision and of this checkout.

    Args:
        revision: What git calls it, None for none.
        folder: Where both are installed, if there are two.
    """
    if revision is None:
        return {"this checkout": None}
    places = [folder / name for name in ("before", "now")]
    for place in places:
        place.mkdir()
    try:
        both = (install_revision(revision, places[0]), install_checkout(places[1]))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    return {one.name: (str(one.program),) for one in both}


if __name__ == "__main__":
    main()
