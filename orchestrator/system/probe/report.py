"""What the probe is aimed at, and what it says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

Result = Literal["open", "closed", "absent"]
Wanted = Literal["open", "closed", "either"]
By = Literal["files", "signals", "abstract", "calls", "dumpable", "limits", "kernel"]
"""What closes a door: Landlock's rules for files, its scopes for signals and for abstract sockets, the filter
of calls, PR_SET_DUMPABLE, the limit of cores, or the kernel for any process without privileges."""


@dataclass(frozen=True, slots=True)
class Aims:
    """What the probe tries to reach. All of it must exist, or its absence is taken for a closed door.

    Attributes:
        own: The folders that are the process's own.
        kept: Files that are open in it from before, as they should be.
        files: Files and folders that are not, by the name of the door.
        decoys: Files that are not its own, either, and that may be destroyed.
        folders: Folders outside in which it must not write.
        processes: The ids of other processes, by what they are.
        sockets: Paths of listening sockets, by the name of the door; ``@NAME`` for an abstract one.
        program: A program that it must not be able to run.
    """

    own: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decoys: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    processes: Mapping[str, int] = field(default_factory=dict)
    sockets: Mapping[str, str] = field(default_factory=dict)
    program: str = "/bin/true"

    def as_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read it from JSON."""
        values = json.loads(text)
        for name in ("own", "kept", "decoys", "folders"):
            values[name] = tuple(values[name])
        values["files"] = {door: tuple(paths) for door, paths in values["files"].items()}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one attempt.

    Attributes:
        door: The name of the door.
        what: What was tried.
        result: "open" if it worked, "closed" if the kernel refused it, "absent" if there was nothing to try
            it on.
        wanted: What it is meant to be; "either" for what is told for information.
        by: What closes the door.
        error: The error's name, such as EPERM.
        detail: More about it.
    """

    door: str
    what: str
    result: Result
    wanted: Wanted = "closed"
    by: By = "files"
    error: str = ""
    detail: str = ""

    @property
    def is_as_wanted(self) -> bool:
        """Whether it is as it is meant to be. What is absent cannot be otherwise."""
        return self.wanted == "either" or self.result in (self.wanted, "absent")


def as_json(findings: Iterable[Finding]) -> str:
    """Return findings as JSON."""
    return json.dumps([dataclasses.asdict(one) for one in findings], indent=1)


def from_json(text: str) -> list[Finding]:
    """Read findings from JSON."""
    return [Finding(**values) for values in json.loads(text)]


def summary(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """Count the results of each door, in the order of the doors; what is only for information is left out."""
    found: dict[str, dict[str, int]] = {}
    for one in findings:
        counts = found.setdefault(one.door, {"open": 0, "closed": 0, "absent": 0})
        if one.wanted != "either":
            counts[one.result] += 1
    return {door: counts for door, counts in found.items() if any(counts.values())}


def table(findings: Iterable[Finding]) -> str:
    """Return findings as a table for people: a line for each door, then one for each attempt."""
    found = list(findings)
    lines = [f"{'door':32} {'open':>5} {'closed':>7} {'absent':>7}"]
    for door, counts in summary(found).items():
        lines.append(f"{door:32} {counts['open']:5} {counts['closed']:7} {counts['absent']:7}")
    lines.append("")
    for one in found:
        mark = " " if one.is_as_wanted else "!"
        about = " ".join(part for part in (one.error, one.detail) if part)
        lines.append(f"{mark} {one.result:6} {one.door}: {one.what}{f' ({about})' if about else ''}")
    return "\n".join(lines) + "\n"
