"""How long accounts are away when a machine, a cable or the database is lost, and what becomes of messages.

Run as ``python -m benchmarks.failover [--accounts 60] [--shards 3] [--rounds 1] [--only FAULT ...]``, as
root. Debian's package `postgresql` has to be there. The cluster is real services in network namespaces, see
`benchmarks.cluster`; the configuration is the default one.

Before each fault, all machines have the same number of accounts, and all accounts are connected. While it
lasts, and for some seconds afterwards, people write ten messages a second to all accounts. When things
happened is what WhatsApp and the database have written down themselves. The exit code is 1 if an account was
not connected again, if a link was fought for, or if a message is lost or doubled; then the folder with all
logs stays.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks.cluster import sealed
from benchmarks.cluster.letters import Letters
from benchmarks.cluster.network import Side
from benchmarks.cluster.outcome import (
    Change,
    Fates,
    Letter,
    Outcome,
    Times,
    fates,
    judge,
    links,
    markdown,
    rows,
    together,
    wrong,
)
from benchmarks.cluster.rig import Rig
from benchmarks.cluster.shard import Shard
from benchmarks.machine import print_load, print_machine
from benchmarks.report import table

AWAY_SECONDS: Final = 30.0
"""How long the database is away, which is longer than a lease."""
FROZEN_SECONDS: Final = 20.0
"""How long a machine is frozen at least, which is longer than a lease."""
STEADY_SECONDS: Final = 5.0
"""For which all accounts have to be connected until they are believed to be."""
AFTER_SECONDS: Final = 10.0
"""For which it is looked for fights after a fault is over."""
SETTLE_SECONDS: Final = 120.0
"""For messages to arrive in the end, and for lost ones to be reported."""

READY_SECONDS: Final = 240.0
"""For all accounts to be connected; the slowest fault takes a minute and a half to be noticed."""
POLL_SECONDS: Final = 0.5
_ENTRIES: Final = """
SELECT a.name, e.source, e.id FROM orchestrator_messages.entry e
  JOIN orchestrator_messages.box b USING (box) JOIN orchestrator.account a ON a.id = b.account
WHERE e.source IN ('message', 'lost')
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        shown: What the table calls it.
        make: Begins it, and ends it with the context; of the database, the context begins when that is there
            again.
        of_all: Whether it is about the database and so about all accounts, and not about those of one machine
            alone.
        least: Seconds that it lasts at least.
    """

    shown: str
    make: Callable[[Rig, Shard], AbstractContextManager[object]]
    of_all: bool = False
    least: float = 0.0


@contextmanager
def _restarted(rig: Rig, _: Shard) -> Iterator[None]:
    with rig.database_away():
        pass
    yield


@contextmanager
def _crashed(rig: Rig, _: Shard) -> Iterator[None]:
    with rig.database_away(crash=True):
        pass
    yield


@contextmanager
def _away(rig: Rig, _: Shard) -> Iterator[None]:
    with rig.database_away():
        time.sleep(AWAY_SECONDS)
    yield


FAULTS: Final = {
    "lost": Fault("a machine is switched off", Rig.powered_off),
    "killed": Fault("all processes of a machine are killed", Rig.killed),
    "frozen": Fault("a machine freezes and goes on", Rig.frozen, least=FROZEN_SECONDS),
    "database-cable": Fault(
        "its cable to the database is out", lambda rig, one: rig.cut_off(one, Side.DATABASE)
    ),
    "whatsapp-cable": Fault("its cable to WhatsApp is out", lambda rig, one: rig.cut_off(one, Side.WHATSAPP)),
    "sigterm": Fault("SIGTERM", Rig.stopped),
    "drained": Fault("drained", Rig.drained),
    "restarted": Fault("Postgres is restarted", _restarted, of_all=True),
    "crashed": Fault("Postgres crashes, and is started at once", _crashed, of_all=True),
    "away": Fault(f"Postgres is away for {AWAY_SECONDS:g} s", _away, of_all=True),
}


class Trial:
    """Lets faults happen to a cluster.

    Args:
        rig: The cluster.
        say: Is told what is done.
    """

    def __init__(self, rig: Rig, say: Say) -> None:
        self._rig = rig
        self._say = say
        self._events: list[Any] = []
        self._seen = 0

    def strike(self, fault: Fault) -> Outcome:
        """Let a fault happen once; return what it has done."""
        rig = self._rig
        rig.until_balanced()
        victim = rig.by_load()[0]
        about = set(rig.names if fault.of_all else rig.held()[victim.name])
        self._say(f"{fault.shown}: {len(about)} accounts" + ("" if fault.of_all else f" of {victim.name}"))
        self._look()
        gone = None
        with Letters(rig.sandbox.client, rig.numbers) as letters:
            began = time.time()
            with fault.make(rig, victim) as given:
                counted = time.time() if fault.of_all else began
                self._wait(rig.shards if fault.of_all else rig.others(victim))
                back = time.time()
                time.sleep(max(0.0, began + fault.least - back))
            if isinstance(given, list):
                gone = victim.until_gone(given)
            time.sleep(AFTER_SECONDS)
            over = time.time()
        found = self._fates(letters.sent)
        self._look()
        numbers = rig.numbers
        outcome = judge(
            links(self._events),
            self._changes(),
            {name: number for name, number in numbers.items() if name in about},
            {name: number for name, number in numbers.items() if name not in about},
            Times(began, counted, back, over),
        )
        outcome = replace(outcome, gone=gone, fates=found)
        self._say(f"  {' | '.join(list(rows({fault.shown: outcome}))[1][2:])}")
        return outcome

    def _wait(self, on: Sequence[Shard]) -> None:
        """Wait until all accounts are connected and stay so, or until that is hopeless."""
        since = None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            now = time.monotonic()
            if not self._rig.is_connected(on=on):
                since = None
            elif since is None:
                since = now
            elif now - since >= STEADY_SECONDS:
                return
            time.sleep(POLL_SECONDS)
        self._say(self._rig.story())

    def _look(self) -> None:
        """Take down what WhatsApp has seen of links; it does not keep all for long."""
        for event in self._rig.sandbox.client.events(self._seen):
            self._seen = event["seq"]
            if event["event"] in ("opened", "login", "closed"):
                self._events.append(event)

    def _changes(self) -> list[Change]:
        rows = self._rig.rows(
            "SELECT extract(epoch FROM at)::float8, account, shard FROM rig.change ORDER BY n"
        )
        return [Change(*row) for row in rows]

    def _fates(self, letters: Sequence[Letter]) -> Fates:
        """Return what became of messages, once that is settled."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = fates(letters, self._rig.rows(_ENTRIES))
            if not found.lost or time.monotonic() > deadline:
                return found
            time.sleep(1)


def main() -> int:
    """Read the arguments and run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.failover",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--shards", type=int, default=3, help="how many machines (default: 3)")
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault happens (default: 1)")
    parser.add_argument("--only", nargs="+", choices=FAULTS, metavar="FAULT", help="only these faults")
    parser.add_argument("--markdown", action="store_true", help="print the table for the documentation, too")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs in any case")
    arguments = parser.parse_args()
    if arguments.shards < 2:
        parser.error("--shards: others have to be there to take accounts over: give 2 or more")
    folder = sealed.folder()
    if folder is None:
        return sealed.run("benchmarks.failover", sys.argv[1:], keep=arguments.keep)
    print_machine()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    print()
    results: dict[str, list[Outcome]] = {}
    with Rig(folder, shards=arguments.shards, accounts=arguments.accounts, say=say) as rig:
        ((postgres,),) = rig.rows("SHOW server_version")
        trial = Trial(rig, say)
        for _ in range(arguments.rounds):
            for key in arguments.only or FAULTS:
                fault = FAULTS[key]
                results.setdefault(fault.shown, []).append(trial.strike(fault))
    worst = {shown: together(some) for shown, some in results.items()}
    title = f"{arguments.accounts} accounts on {arguments.shards} machines, Postgres {postgres}"
    table(f"{title}; the worst of {arguments.rounds} each", *rows(worst))
    if arguments.markdown:
        print(f"\n{markdown(rows(worst))}")
    print_load()
    findings = [line for shown, one in worst.items() for line in wrong(shown, one)]
    for line in findings:
        print(f"wrong: {line}")
    return 1 if findings else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sealed.Unsuitable as error:
        sys.exit(f"benchmarks.failover: {error}")
    except KeyboardInterrupt:
        sys.exit(sealed.INTERRUPTED)
