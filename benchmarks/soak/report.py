"""What a soak says in the end."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.report import table
from benchmarks.soak.deliveries import about
from benchmarks.soak.kinds import LEFT_OUT
from benchmarks.soak.records import Row
from benchmarks.soak.soak import Result


def show(result: Result, command: str) -> None:
    """Print the tables.

    Args:
        result: What was found.
        command: What repeats it.
    """
    table(
        "faults", ("kind", "planned", "made", "accounts hit", "back", "median", "worst"), *_rows(result.rows)
    )
    print(
        "  Times are from the fault to connected, for accounts to which nothing else happened meanwhile,\n"
        "  without the time that the fault itself lasts (an outage, a ban's length, until a code is scanned)."
    )
    for kind, why in LEFT_OUT.items():
        print(f"  Left out: {kind}: {why}.")
    skipped = Counter(why for _, why in result.skipped)
    if skipped:
        table("faults that were not made", *((str(count), why) for why, count in skipped.most_common()))
    orphans = result.orphan_seconds
    table(
        "the service",
        ("looks at everything", str(result.looks)),
        ("texts that must not be said", str(result.secrets)),
        ("ends of the service, by signal or in order", str(len(orphans))),
        ("until nothing was left of it, worst", f"{max(orphans, default=0.0):.2f} s"),
        ("accounts connected in the end", f"{result.connected} of {result.accounts}"),
        ("whole time", f"{result.seconds:.0f} s"),
    )
    fate = result.fate
    table(
        "messages to the accounts, all the time",
        ("written", str(fate.sent)),
        ("stored", str(fate.stored)),
        ("  more than once", str(fate.doubled)),
        ("lost, and reported as lost", str(fate.reported)),
        ("lost, and nobody says so", str(fate.missing)),
        ("thrown away by WhatsApp with a device that was unlinked", str(fate.thrown)),
    )
    table("what webhooks were brought of the messages that are stored", *about(result.delivered))
    if result.lives:
        table(
            "the service's own process, lives of more than a minute: first quarter → last, in medians",
            ("process", "for", "open files but the children's", "threads", "memory of its own"),
            *(
                (
                    str(life.pid),
                    f"{life.seconds:.0f} s",
                    _change(life.files),
                    _change(life.threads),
                    f"{life.memory[0] / 1e6:.1f} → {life.memory[1] / 1e6:.1f} MB",
                )
                for life in result.lives
            ),
        )
    table("violations", ("number", str(len(result.findings))), ("to repeat it", command))
    for at, finding, last in result.findings:
        print(f"  {at:6.1f} s  {finding.check}: {finding.account or 'the service'}: {finding.what}")
        for fault in last:
            print(f"            after {fault}")


def write_json(result: Result, command: str, path: Path) -> None:
    """Write everything as one JSON document."""
    document = {
        "command": command,
        "violations": [
            {"at": round(at, 2), **dataclasses.asdict(finding), "last_faults": last}
            for at, finding, last in result.findings
        ],
        "faults": [dataclasses.asdict(row) for row in result.rows],
        "skipped": [{"fault": str(strike), "why": why} for strike, why in result.skipped],
        "lives": [dataclasses.asdict(life) for life in result.lives],
        "messages": dataclasses.asdict(result.fate),
        "delivered": [dataclasses.asdict(one) for one in result.delivered],
        "orphan_seconds": list(result.orphan_seconds),
        "connected": result.connected,
        "accounts": result.accounts,
        "seconds": round(result.seconds, 1),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _rows(found: Sequence[Row]) -> list[tuple[str, ...]]:
    made = [
        (
            row.kind,
            str(row.planned),
            str(row.struck),
            str(row.hit),
            str(row.back),
            f"{median(row.times):.1f} s" if row.times else "-",
            f"{max(row.times):.1f} s" if row.times else "-",
        )
        for row in found
    ]
    times = [time for row in found for time in row.times]
    total = [str(sum(getattr(row, name) for row in found)) for name in ("planned", "struck", "hit", "back")]
    ends = (f"{median(times):.1f} s", f"{max(times):.1f} s") if times else ("-", "-")
    return [*made, ("all", *total, *ends)]


def _change(values: tuple[float, float]) -> str:
    return f"{values[0]:.0f} → {values[1]:.0f}"
