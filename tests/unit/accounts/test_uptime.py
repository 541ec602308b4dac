from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import SERVICE_STOPS, SERVICE_WAS_GONE, State
from orchestrator.accounts.uptime import Change, Outage, Uptime, change, measure

WORKING = {State.CONNECTING, State.CONNECTED, State.RECONNECTING}
PROCESS = {*WORKING, State.STARTING, State.PAIRING}


def history(*steps: tuple[float, str] | tuple[float, str, str]) -> list[Change]:
    """Return changes that follow one another: at, state, and a kind or the reason of a stop."""
    found: list[Change] = []
    for at, after, *why in steps:
        before = found[-1].after if found else State.STOPPED
        word = why[0] if why else None
        found.append(change({"from": before, "to": after, "kind": word, "reason": word}, at))
    return found


def test_up_down_and_off() -> None:
    found = measure(
        history(
            (0, "starting"), (10, "connecting"), (20, "connected"), (500, "reconnecting"), (530, "connected"),
            (900, "stopped", "stopped by an operator"), (950, "starting"), (960, "connected"),
        ),
        0, 1000, 1000,
    )  # fmt: skip
    assert (found.up, found.down, found.off, found.unknown) == (480 + 370 + 40, 20 + 30 + 10, 50, 0)
    assert found.longest == Outage(500, 30)
    assert found.share == pytest.approx(890 / 950)
    assert found.since == 0


def test_what_was_before_the_timeline_is_not_known() -> None:
    found = measure(history((400, "connected")), 0, 1000, 1000)
    assert (found.up, found.unknown, found.since) == (600, 400, 400)
    assert found.share == 1
    nothing = measure([], 0, 1000, 1000)
    assert (nothing.unknown, nothing.since, nothing.share) == (1000, None, None)


def test_the_state_before_counts_from_the_beginning() -> None:
    found = measure(history((100, "connected"), (700, "backoff", "network")), 500, 1000, 1000)
    assert (found.up, found.down, found.unknown, found.since) == (200, 300, 0, 500)


def test_a_service_that_is_gone_leaves_nothing_that_counts_as_up() -> None:
    connected = history((0, "connected"))
    assert measure(connected, 0, 1000, 600) == Uptime(0, 600, 400, longest=Outage(600, 400))
    assert measure(connected, 0, 1000, None) == Uptime(0, unknown=1000)
    assert measure(history((100, "connected")), 0, 1000, 50) == Uptime(100, unknown=1000)
    # Who was down when it was gone was down until it came back.
    assert measure(history((0, "backoff", "network")), 0, 1000, None).down == 1000
    assert measure(history((0, "stopped")), 0, 1000, None).off == 1000


def test_a_gap_in_the_timeline_is_not_known() -> None:
    """A service of an earlier version was killed: the next entry begins in another state."""
    changes = [
        *history((0, "connected")),
        Change(700, "stopped", "starting"),
        Change(710, "starting", "connected"),
    ]
    found = measure(changes, 0, 1000, 1000)
    assert (found.up, found.down, found.unknown) == (290, 10, 700)
    assert found.longest == Outage(700, 10)


def test_a_service_that_stops_is_an_outage_and_its_start_is_planned() -> None:
    found = measure(
        history((0, "connected"), (100, "stopped", SERVICE_STOPS), (160, "starting"), (170, "connected")),
        0, 1000, 1000,
    )  # fmt: skip
    assert (found.up, found.down, found.off) == (930, 70, 0)
    assert (found.restarts, found.crashes) == (1, 0)
    assert found.longest == Outage(100, 70)
    killed = measure(
        history((0, "connected"), (100, "stopped", SERVICE_WAS_GONE), (160, "starting"), (170, "connected")),
        0, 1000, 1000,
    )  # fmt: skip
    assert (killed.down, killed.restarts, killed.crashes) == (70, 0, 0)


def test_what_is_counted() -> None:
    found = measure(
        history(
            (0, "connected"), (10, "backoff", "crash"), (12, "starting", "crash"), (14, "backoff", "crash"),
            (16, "backoff", "crash"), (20, "starting", "crash"), (22, "connected"),
            (30, "starting"), (31, "connected"), (40, "backoff", "logged_out"),
            (44, "starting", "logged_out"), (45, "pairing"), (46, "failed", "pairing_expired"),
            (50, "starting"), (51, "connected"),
            (60, "banned", "temporary_ban"), (65, "starting", "temporary_ban"), (66, "connected"),
            (70, "banned", "locked"),
        ),
        0, 100, 100,
    )  # fmt: skip
    assert (found.crashes, found.restarts, found.logouts, found.bans) == (2, 1, 1, 2)


def test_what_was_before_is_not_counted() -> None:
    changes = history((0, "connected"), (10, "backoff", "crash"), (12, "starting"), (20, "connected"))
    assert measure(changes[1:], 11, 100, 100).crashes == 0
    assert measure(changes, 10, 100, 100).crashes == 1


def test_states_of_another_version_are_not_known() -> None:
    assert measure([Change(0, "", "asleep")], 0, 100, 100) == Uptime(0, unknown=100)


CHANGES = st.lists(
    st.builds(
        Change,
        at=st.integers(-50, 250),
        before=st.sampled_from([*State]),
        after=st.sampled_from([*State]),
        kind=st.sampled_from([None, *Kind]),
        stops=st.just(False),
    ),
    max_size=25,
)


def continued(changes: list[Change], gaps: list[bool]) -> list[Change]:
    """Return changes each of which begins where the one before has led to, but for some gaps."""
    found: list[Change] = []
    for one, gap in zip(changes, gaps, strict=False):
        before = found[-1].after if found and not gap else one.before
        found.append(one._replace(before=before))
    return found


HISTORIES = st.builds(continued, CHANGES, st.lists(st.integers(0, 5).map(lambda one: one == 0), min_size=25))


def second(changes: list[Change], at: int, alive: float | None) -> str:
    """Say how an account was in one second, from the whole history, one second at a time."""
    before = [number for number, one in enumerate(changes) if one.at <= at]
    if not before:
        return "unknown"
    number = before[-1]
    one, later = changes[number], changes[number + 1 :]
    if one.after == State.CONNECTED:
        if later and later[0].at <= 200:
            return "up" if later[0].before == one.after else "unknown"
        if alive is None or alive < one.at:
            return "unknown"
        return "up" if at < alive else "down"
    return "off" if one.after in (State.STOPPED, State.DISABLED) else "down"


@given(HISTORIES, st.one_of(st.none(), st.integers(-50, 200)))
def test_each_second_is_as_it_was(changes: list[Change], alive: int | None) -> None:
    changes = sorted(changes, key=lambda one: one.at)
    found = measure(changes, 0, 200, alive)
    seconds = [second(changes, at, alive) for at in range(200)]
    counted = {word: float(seconds.count(word)) for word in ("up", "down", "off", "unknown")}
    assert {word: getattr(found, word) for word in counted} == counted
    outages = [len(run) for run in "".join("d" if one == "down" else "." for one in seconds).split(".")]
    assert (found.longest.seconds if found.longest else 0) == max(outages)
    within = [one for one in changes if 0 <= one.at <= 200]
    ends = [one for one in within if one.before in PROCESS and one.after not in PROCESS]
    assert found.logouts == sum(one.kind is Kind.LOGGED_OUT for one in ends)
    assert found.crashes == sum(one.kind is Kind.CRASH for one in ends)


@given(CHANGES, st.floats(0, 200), st.one_of(st.none(), st.floats(-50, 300)))
def test_all_time_is_accounted_for(changes: list[Change], begin: float, alive: float | None) -> None:
    """Also if clocks were set, and entries are of other versions."""
    found = measure(changes, begin, 200, alive)
    assert found.up + found.down + found.off + found.unknown == pytest.approx(200 - begin)
    assert found.share is None or 0 <= found.share <= 1
    assert found.longest is None or 0 < found.longest.seconds <= found.down + 1e-6


@pytest.mark.parametrize(
    "entry", [{"to": "connected"}, {"from": None, "to": "x", "kind": None, "reason": None}]
)
def test_an_entry_that_says_little_is_a_change(entry: dict[str, Any]) -> None:
    assert change(entry, 1.0) == Change(1.0, "", entry["to"])
