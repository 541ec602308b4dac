"""Shows a cluster: runs one until Ctrl-C, or until all accounts are connected.

Run as ``python -m benchmarks.cluster [--shards 3] [--accounts 6] [--once]``.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.cluster import sealed
from benchmarks.cluster.rig import Rig


def main() -> int:
    """Read the arguments and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--shards", type=int, default=3, help="how many machines (default: 3)")
    parser.add_argument("--accounts", type=int, default=6, help="how many accounts (default: 6)")
    parser.add_argument("--once", action="store_true", help="end as soon as all accounts are connected")
    arguments = parser.parse_args()
    folder = sealed.folder()
    if folder is None:
        return sealed.run("benchmarks.cluster", sys.argv[1:])
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    with Rig(folder, shards=arguments.shards, accounts=arguments.accounts, say=say) as rig:
        for shard, accounts in rig.held().items():
            say(f"{shard}: {', '.join(accounts)}")
        while not arguments.once:
            time.sleep(1)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except sealed.Unsuitable as error:
        sys.exit(f"benchmarks.cluster: {error}")
    except KeyboardInterrupt:
        sys.exit(sealed.INTERRUPTED)
