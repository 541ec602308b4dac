"""What a soak of a cluster says in the end."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.cluster_soak.checks import Back
from benchmarks.cluster_soak.kinds import KINDS
from benchmarks.cluster_soak.soak import Result
from benchmarks.report import table


def show(result: Result, command: str) -> None:
    """Print the tables.

    Args:
        result: What was found.
        command: What repeats it.
    """
    head = ("fault", "planned", "made", "accounts hit", "back", "median", "worst", "worst with others")
    table("faults", head, *_rows(result))
    print(
        "  Seconds until an account had a link again, from the beginning of the fault, or from the end of\n"
        "  one that concerns all. The last column is of accounts to which something else happened meanwhile."
    )
    for why, count in Counter(why for _, why in result.skipped).most_common():
        print(f"  Left out {count} times: {why}")
    fate = result.fate
    table(
        "messages to the accounts",
        ("written", str(fate.sent)),
        ("stored", str(fate.stored)),
        ("  more than once", str(len(fate.doubled))),
        ("lost, and reported as lost", str(fate.reported)),
        ("lost, and nobody says so", str(len(fate.missing))),
    )
    table(
        "messages of the accounts",
        *((state, str(count)) for state, count in result.sent.most_common()),
        ("asked for in vain", str(result.unanswered)),
        *((f"  told: {error}", str(count)) for error, count in result.errors.most_common()),
    )
    table(
        "owners",
        ("claims of accounts", str(result.changes)),
        ("links that WhatsApp saw begin beside an older one", str(result.overlaps)),
        ("statements that changed sessions", str(result.writes)),
        ("  of another than the owner, before the new owner began", str(result.late_writes)),
        ("all connected in the end", "yes" if result.connected else "no"),
        ("whole time", f"{result.seconds:.0f} s"),
    )
    table("violations", ("number", str(len(result.findings))), ("to repeat it", command))
    for finding in result.findings:
        print(f"  {finding.check}: {finding.account or 'the cluster'}: {finding.what}")


def write_json(result: Result, command: str, path: Path) -> None:
    """Write everything as one JSON document."""
    document = {
        "command": command,
        "violations": [dataclasses.asdict(finding) for finding in result.findings],
        "faults": [
            {
                "fault": str(one.strike),
                "began_at": one.began_at,
                "ended_at": one.ended_at,
                "hit": sorted(one.hit),
            }
            for one in result.struck
        ],
        "back": [
            {
                "fault": one.struck.strike.number,
                "account": one.account,
                "seconds": one.seconds,
                "alone": one.alone,
            }
            for one in result.backs
        ],
        "skipped": [{"fault": str(strike), "why": why} for strike, why in result.skipped],
        "messages": {**dataclasses.asdict(result.fate), "sent_by_state": dict(result.sent)},
        "overlaps": result.overlaps,
        "claims": result.changes,
        "writes": result.writes,
        "late_writes": result.late_writes,
        "connected": result.connected,
        "seconds": round(result.seconds, 1),
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    for kind in KINDS:
        planned = sum(one.kind == kind for one in result.planned)
        if not planned:
            continue
        made = [one for one in result.struck if one.strike.kind == kind]
        backs = [one for one in result.backs if one.struck.strike.kind == kind]
        alone = [one for one in backs if one.alone]
        others = [one for one in backs if not one.alone]
        yield (
            kind,
            str(planned),
            str(len(made)),
            str(sum(len(one.hit) for one in made)),
            str(sum(one.seconds is not None for one in backs)) if KINDS[kind].drops else "-",
            _middle(alone),
            _worst(alone),
            _worst(others),
        )


def _times(backs: list[Back]) -> list[float]:
    return [one.seconds for one in backs if one.seconds is not None]


def _middle(backs: list[Back]) -> str:
    times = _times(backs)
    return f"{median(times):.1f} s" if times else "-"


def _worst(backs: list[Back]) -> str:
    times = _times(backs)
    return f"{max(times):.1f} s" if times else "-"
