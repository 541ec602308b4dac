"""Lets everything go wrong, at random, with a real cluster, and looks whether it keeps what it promises.

Run as ``python -m benchmarks.cluster_soak [--accounts 60] [--shards 3] [--minutes 10] [--seed N]``, as root.
Each shard is the real service in a network of its own, with a cable to the database and one to WhatsApp. The
accounts are real neonize clients, and WhatsApp is a sandbox. All the time, people write to the accounts and
accounts to people. What goes wrong when follows from the seed and the numbers alone; it is printed first.

In the end it looks back (`benchmarks/cluster_soak/checks.py`). The exit code is 1 if anything was violated;
then the folder with all logs stays.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from benchmarks.cluster import sealed
from benchmarks.cluster.rig import Rig
from benchmarks.cluster_soak import report
from benchmarks.cluster_soak.kinds import KINDS
from benchmarks.cluster_soak.plan import plan
from benchmarks.cluster_soak.soak import Soak
from benchmarks.machine import print_load, print_machine

SETTINGS = {"defaults": {"messages": {"allow": "*"}, "sending": {"pacing": "off"}}}
"""What the configuration says of the accounts: all messages are kept, and nothing waits before it is sent."""


def main() -> int:
    """Read the arguments and run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster_soak",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--shards", type=int, default=3, help="how many machines (default: 3)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="for how long, besides pairing and coming to rest (default: 10)",
    )
    parser.add_argument("--seed", type=int, help="what the faults follow from (default: a random one)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, metavar="KIND", help="only these kinds of fault")
    parser.add_argument(
        "--slack", type=float, default=0.0, help="seconds to add to what is promised (default: 0)"
    )
    parser.add_argument("--folder", type=Path, help="where it works (default: a temporary folder)")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    kinds = arguments.kinds or tuple(KINDS)
    strikes = plan(seed, arguments.accounts, arguments.shards, arguments.minutes, kinds)
    place = sealed.folder()
    if place is None and not arguments.plan:
        return sealed.run(
            "benchmarks.cluster_soak", [*sys.argv[1:], "--seed", str(seed)], parent=arguments.folder
        )
    options = f"--accounts {arguments.accounts} --shards {arguments.shards} --minutes {arguments.minutes:g}"
    command = f"python -m benchmarks.cluster_soak {options} --seed {seed}"
    if arguments.kinds:
        command += f" --kinds {' '.join(arguments.kinds)}"
    if not arguments.plan:
        print_machine()
    print(f"\nthe plan of seed {seed}: {len(strikes)} faults")
    for strike in strikes:
        print(f"  {strike}")
    if place is None:
        return 0
    print()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    with Rig(place, shards=arguments.shards, accounts=arguments.accounts, say=say, settings=SETTINGS) as rig:
        result = Soak(rig, strikes, arguments.minutes, arguments.slack, say).run()
    report.show(result, command)
    if arguments.json is not None:
        report.write_json(result, command, arguments.json)
    print_load()
    return 0 if result.connected and not result.findings else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sealed.Unsuitable as error:
        sys.exit(f"benchmarks.cluster_soak: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
