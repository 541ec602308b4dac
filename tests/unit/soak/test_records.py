"""What becomes of faults: who is back, what time that took, and what is printed of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.soak import growth, report
from benchmarks.soak.deliveries import Delivered
from benchmarks.soak.growth import Growth
from benchmarks.soak.kinds import KINDS, PING_SECONDS
from benchmarks.soak.leaks import Secrets
from benchmarks.soak.letters import Fate
from benchmarks.soak.observation import Account, Finding, Link, Observation, Parent
from benchmarks.soak.plan import Strike
from benchmarks.soak.records import PATIENCE, SLACK, Record, not_kept, rows
from benchmarks.soak.soak import Result

UP = Account("connected", "t0", pid=11)
DOWN = Account("backoff", "t1", next_retry_at=9.0)


def seen(at: float, *links: int, names: Sequence[str] = "a", up: bool = True) -> Observation:
    account = UP if up else DOWN
    found = frozenset(Link(1, number) for number in links)
    return Observation(at, at, accounts=dict.fromkeys(names, account), links=dict.fromkeys(names, found))


def struck(kind: str, at: float = 10.0, names: Sequence[str] = "a", **values: float) -> Record:
    record = Record(Strike(1, at, kind, tuple(range(len(names))), values, at + 10))
    record.begin(seen(at, 5, names=names), at, names, [])
    return record


def back(record: Record, at: float, *links: int, names: Sequence[str] = "a") -> list[str]:
    """Have accounts be back; whom only the next look can tell to be back is seen once more."""
    return [*record.note(seen(at, *links, names=names)), *record.note(seen(at + 0.5, *links, names=names))]


def test_somebody_is_back_with_a_new_connection() -> None:
    record = struck("reset")
    assert record.excuses() == ["a"]
    record.cleared_at = 10.0
    assert record.note(seen(10.5, 5)) == []  # it has not even happened
    assert record.note(seen(11, up=False)) == []
    assert record.note(seen(11.5, 6, up=False)) == []  # the service does not know yet
    assert record.note(seen(12, 5, 6)) == []  # the old one is still there
    assert record.missing() == ["a"]
    assert record.note(seen(13, 6)) == []  # what the service shows may be of before
    assert record.note(seen(13.5, 6)) == ["a"]
    assert record.times() == [3]
    assert not record.is_open
    assert record.excuses() == []
    assert record.note(seen(14, 6)) == []


def test_what_the_service_shows_may_be_of_the_connection_before() -> None:
    """WhatsApp has the new connection already, and then the service says that the old one was lost."""
    record = struck("reset-all")
    record.cleared_at = 10.0
    links = {"a": frozenset({Link(1, 6)})}
    assert record.note(seen(10.4, 6)) == []
    lost = {"a": Account("reconnecting", "t1", pid=11)}
    assert record.note(Observation(10.9, 10.9, accounts=lost, links=links)) == []
    assert record.excuses() == ["a"]
    again = {"a": Account("connected", "t2", pid=11)}
    assert record.note(Observation(13, 13, accounts=again, links=links)) == []
    assert record.note(Observation(13.5, 13.5, accounts=again, links=links)) == ["a"]
    assert record.times() == [3]


def test_who_is_restarted_is_back_with_another_process() -> None:
    record = struck("restart-all")
    record.cleared_at = 10.0
    assert record.note(seen(11, 6)) == [], "its connection was cut while it waited for its turn"
    links = {"a": frozenset({Link(1, 7)})}
    assert record.note(
        Observation(12, 12, accounts={"a": Account("connected", "t0", pid=12)}, links=links)
    ) == ["a"]


def test_two_renewals_at_once_may_be_one_or_two() -> None:
    """The second order may come when the first one's new process has begun, and is not seen yet."""
    first = struck("change", 10.0)
    second = Record(Strike(2, 10.5, "restart-all", (0, 1), {}, 20.5))
    second.begin(seen(10.5, 5, names="ab"), 10.5, "ab", [first])
    first.cleared_at = second.cleared_at = 10.6
    accounts = {"a": Account("connected", "t1", pid=12), "b": Account("connected", "t1", pid=13)}
    links = {"a": frozenset({Link(1, 6)}), "b": frozenset({Link(1, 7)})}
    for record in (first, second):
        record.note(Observation(11, 11, accounts=accounts, links=links))
        assert record.missing() == []
    assert (first.excuses(), second.excuses()) == ([], ["a"])
    assert not second.is_open
    second.note(seen(10.5 + second.kind.takes({}, 2) + 0.1, 8, names="ab"))
    assert second.excuses() == []


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_what_renews_nobody_is_over_once(kind: str) -> None:
    first = struck(kind, 10.0)
    second = Record(Strike(2, 10.5, "restart", (0,), {}, 20.5))
    second.begin(seen(10.5, 5), 10.5, "a", [first])
    second.cleared_at = 10.6
    links = {"a": frozenset({Link(1, 6)})}
    second.note(Observation(11, 11, accounts={"a": Account("connected", "t1", pid=12)}, links=links))
    assert second.excuses() == []


def test_a_fault_that_lasts_is_not_over_before_its_end() -> None:
    record = struck("unreachable", seconds=7.0)
    assert record.note(seen(12, 6)) == []
    record.cleared_at, record.waited = 17.0, 7.0
    assert back(record, 19, 6) == ["a"]
    assert record.times() == [2]


def test_the_operators_delay_does_not_count() -> None:
    record = struck("logout")
    record.cleared_at = 10.0
    record.victims["a"].waited = 4.0
    back(record, 20, 6)
    assert record.times() == [6]


def test_what_leaves_connections_alone_excuses_nobody() -> None:
    record = struck("slow", seconds=5.0)
    assert record.excuses() == []
    record.cleared_at = 10.0
    assert record.note(seen(16, 5)) == ["a"]


def test_a_silent_link_may_come_back_as_it_was() -> None:
    record = struck("silence", seconds=50.0)
    record.cleared_at = 60.0
    held = Observation(
        60, 60, accounts={"a": UP}, links={"a": frozenset({Link(1, 5)})}, silent=frozenset("a")
    )
    assert record.note(held) == []
    assert record.note(seen(61, 5)) == ["a"]
    # A ping that was sent into the silence is lost, and that is known only later.
    assert record.excuses() == ["a"]
    record.note(seen(60 + PING_SECONDS, 5))
    assert record.excuses() == []
    assert not record.is_open


def test_times_count_only_for_those_to_whom_nothing_else_happened() -> None:
    one = struck("kill-service", names="abc")
    one.cleared_at = 10.0
    back(one, 12, 6, names="a")
    two = Record(Strike(2, 12.5, "reset", (1,), {}, 20))
    two.begin(seen(12.5, 6, names="b"), 12.5, "b", [one])
    back(one, 13, 6, names="bc")
    assert one.times() == [2, 3]
    two.cleared_at = 10.0
    back(two, 14, 7, names="b")
    assert two.times() == []


def test_whoever_does_not_come_back_is_missed_once() -> None:
    record = struck("reset")
    record.cleared_at = 10.0
    limit = 10 + 2 * 10 + PATIENCE
    assert not record.is_overdue(limit, 1)
    assert record.is_overdue(limit + 1, 1)
    assert not record.is_overdue(limit + 2, 1)


def test_whoever_comes_back_later_than_is_promised_is_late() -> None:
    def back_at(at: float, kind: str = "stop-child") -> Record:
        record = struck(kind)
        record.cleared_at = 10.0
        back(record, at, 6)
        return record

    within = KINDS["stop-child"].within
    assert within is not None
    assert back_at(10 + within).late() == []
    assert back_at(10 + within + SLACK + 1).late() == ["a"]
    assert back_at(500, kind="reset").late() == []  # nothing is promised
    disturbed = back_at(500)
    disturbed.victims["a"].clean = False
    assert disturbed.late() == []


def test_a_session_that_should_be_in_quarantine_is_missed() -> None:
    records = [struck("logout"), struck("logout"), struck("reset")]
    both, one = {("a", "logged_out"): 2}, {("a", "logged_out"): 1}
    assert not_kept(records, both) == []
    (finding,) = not_kept(records, one)
    assert finding.account == "a"
    records[0].victims["a"].clean = False
    assert not_kept(records, one) == []


def test_rows_count_what_was_made_and_who_is_back() -> None:
    there, away, skipped = struck("reset"), struck("reset"), struck("reset")
    for record in (there, away):
        record.cleared_at = 10.0
    back(there, 11, 6)
    skipped.skipped = "not connected in time"
    (row,) = rows([there, away, skipped])
    assert (row.kind, row.planned, row.struck, row.hit, row.back, row.times) == ("reset", 3, 2, 2, 1, (1.0,))


# Growth


def life(pid: int, seconds: int, *, files: float = 0, threads: float = 0, memory: float = 0) -> Growth:
    found = Growth()
    for at in range(seconds):
        part = at / seconds
        children = 3 + at % 5
        found.note(
            float(at),
            Parent(
                pid,
                children,
                int(20 + growth.FILES_A_CHILD * children + files * part),
                int(4 + threads * part),
                int(30_000_000 + memory * part),
            ),
        )
    return found


def test_a_process_that_stays_as_it_is_has_not_grown() -> None:
    found = life(7, 200)
    assert found.findings(10) == []
    (one,) = found.lives()
    assert one.files == (20, 20)


@pytest.mark.parametrize(
    ("what", "grown"),
    [
        ("files", life(7, 200, files=20)),
        ("threads", life(7, 200, threads=12)),
        ("memory", life(7, 200, memory=20e6)),
    ],
)
def test_growth_is_seen(what: str, grown: Growth) -> None:
    (finding,) = grown.findings(10)
    assert what in finding.what


def test_nothing_is_said_of_a_short_life() -> None:
    assert life(7, 40, files=100).lives() == []


# Secrets


def test_secrets_are_found_however_they_are_written_and_never_said() -> None:
    secrets = Secrets()
    key = bytes(range(32))
    secrets.add_key(key, "the key")
    secrets.add_code("https://wa.me/settings/linked_devices#2@ref-of-a-code,cHVibGljLWtleQ==,eA==", "support")
    for text in (key.hex(), str(list(key)), "2@ref-of-a-code", "cHVibGljLWtleQ=="):
        (finding, *_) = secrets.found(f"so it says {text}, aloud", "a log")
        assert text not in finding.what
        assert "a log" in finding.what
    assert list(secrets.found("nothing, eA== and 00010203", "a log")) == []


# The report


def a_result(*findings: Finding) -> Result:
    record = struck("reset")
    record.cleared_at = 10.0
    back(record, 11.25, 6)
    found = [(12.0, one, ["  10.0 s  reset account 0"]) for one in findings]
    lives = life(7, 200).lives()
    fate = Fate(sent=9, stored=7, reported=2)
    strikes = [(record.strike, "why")]
    delivered = [Delivered("steady", 7, 0, 8, 1)]
    return Result(rows([record]), found, strikes, lives, [0.25], 100, 1, 1, 60.0, 5, fate, delivered)


def test_the_table_has_the_faults_the_violations_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(a_result(Finding("orphan", None, "process 5")), "python -m benchmarks.soak --seed 3")
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    assert ["reset", "1", "1", "1", "1", "1.2", "s", "1.2", "s"] in lines
    assert ["lost,", "and", "reported", "as", "lost", "2"] in lines
    assert ["steady", "7", "0", "8", "1"] in lines
    assert ["number", "1"] in lines
    assert "to repeat it  python -m benchmarks.soak --seed 3" in output
    assert "orphan: the service: process 5" in output
    assert "after   10.0 s  reset account 0" in output


def test_without_violations_the_table_says_none(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(a_result(), "again")
    assert ["number", "0"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_all_of_it_can_be_had_as_json(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    report.write_json(a_result(Finding("orphan", "a", "process 5")), "again", path)
    document = json.loads(path.read_text())
    assert document["command"] == "again"
    assert document["violations"][0]["what"] == "process 5"
    assert document["faults"][0]["times"] == [1.25]
