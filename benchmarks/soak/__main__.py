"""Lets everything go wrong, at random, with a real service, and watches that it never loses an account.

Run as ``python -m benchmarks.soak [--accounts 50] [--minutes 10] [--seed N]``. The accounts are real neonize
clients, paired from the pictures of their codes; WhatsApp is a sandbox. When what goes wrong for whom follows
from the seed, the number of accounts and the minutes alone; it is printed first. All the time everything is
checked that must be true whatever happens (`benchmarks/soak/checks.py`); in the end nothing goes wrong any
more, and all accounts must be connected.

The exit code is 1 if anything was violated; then the folder with all logs stays.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import print_load, print_machine
from benchmarks.soak import report
from benchmarks.soak.kinds import KINDS
from benchmarks.soak.plan import plan
from benchmarks.soak.soak import Soak
from orchestrator.sandbox.process import SandboxProcess


def main() -> int:
    """Read the arguments and run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=50, help="how many (default: 50)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="for how long, besides pairing and coming to rest (default: 10)",
    )
    parser.add_argument("--seed", type=int, help="what the faults follow from (default: a random one)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, metavar="KIND", help="only these kinds of fault")
    parser.add_argument("--folder", type=Path, help="where it works (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the folder in any case")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    kinds = arguments.kinds or tuple(KINDS)
    strikes = plan(seed, arguments.accounts, arguments.minutes, kinds)
    options = f"--accounts {arguments.accounts} --minutes {arguments.minutes:g} --seed {seed}"
    command = f"python -m benchmarks.soak {options}"
    if arguments.kinds:
        command += f" --kinds {' '.join(arguments.kinds)}"
    if not arguments.plan:
        print_machine()
    print(f"\nthe plan of seed {seed}: {len(strikes)} faults")
    for strike in strikes:
        print(f"  {strike}")
    if arguments.plan:
        return 0

    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    parent = arguments.folder
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=parent))
    print()
    good = False
    try:
        with SandboxProcess(folder / "sandbox") as sandbox:
            result = Soak(folder, sandbox, arguments.accounts, strikes, arguments.minutes, say).run()
        report.show(result, command)
        if arguments.json is not None:
            report.write_json(result, command, arguments.json)
        print_load()
        good = not result.findings and result.connected == result.accounts
    finally:
        if good and not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"\neverything is in {folder}: soak.jsonl, service.log, state/timeline, sandbox/server.log")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
