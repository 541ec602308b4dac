"""The probe's aims and findings as data and as a table."""

from __future__ import annotations

import errno

import pytest

from orchestrator.system.probe.doors import Absent, Door
from orchestrator.system.probe.report import Aims, Finding, as_json, from_json, summary, table

FINDINGS = [
    Finding("own folder", "list /own", "open", wanted="open"),
    Finding("sessions", "see that there is /other", "open", wanted="either"),
    Finding("sessions", "read /other", "open", detail="all of it"),
    Finding("sessions", "write /other", "closed", error="EACCES"),
    Finding("signals", "kill", "absent", by="signals", error="ESRCH"),
]


def test_findings_and_aims_are_data() -> None:
    assert from_json(as_json(FINDINGS)) == FINDINGS
    aims = Aims(
        own=("/own",), kept=("/kept",), files={"sessions": ("/a", "/b")}, decoys=("/d",), folders=("/tmp",),
        processes={"service": 1}, sockets={"control socket": "/s"}, program="/bin/false",
    )  # fmt: skip
    assert Aims.from_json(aims.as_json()) == aims


def test_what_is_not_as_wanted_is_marked() -> None:
    assert [one.is_as_wanted for one in FINDINGS] == [True, True, False, True, True]
    lines = table(FINDINGS).splitlines()
    assert [line for line in lines if line.startswith("!")] == ["! open   sessions: read /other (all of it)"]
    assert "  closed sessions: write /other (EACCES)" in lines


def test_a_door_is_counted_without_what_is_for_information() -> None:
    assert summary(FINDINGS) == {
        "own folder": {"open": 1, "closed": 0, "absent": 0},
        "sessions": {"open": 1, "closed": 1, "absent": 0},
        "signals": {"open": 0, "closed": 0, "absent": 1},
    }


def raising(error: Exception) -> Door:
    def attempt() -> None:
        raise error

    return Door("door", "what", attempt)


@pytest.mark.parametrize(
    ("error", "result", "said"),
    [
        (PermissionError(errno.EACCES, "no"), "closed", "EACCES"),
        (OSError(errno.ENOSYS, "no"), "closed", "ENOSYS"),
        (TimeoutError("timed out"), "closed", "timed out"),
        (ProcessLookupError(errno.ESRCH, "no"), "absent", "ESRCH"),
        (Absent(), "absent", ""),
    ],
)
def test_how_an_attempt_ends(error: Exception, result: str, said: str) -> None:
    finding = raising(error).try_it()
    assert (finding.result, finding.error) == (result, said)


def test_what_works_is_open() -> None:
    assert Door("door", "what", lambda: None).try_it() == Finding("door", "what", "open")
    assert Door("door", "what", lambda: "more").try_it().detail == "more"
    assert Door("door", "what", lambda: 3).try_it().detail == ""
