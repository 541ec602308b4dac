"""What a soak checks: each check sees what it is there for, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from benchmarks.chance import Range
from benchmarks.soak import checks
from benchmarks.soak.checks import SILENT_SECONDS, SLACK, Check, all_checks
from benchmarks.soak.kinds import KINDS
from benchmarks.soak.observation import Account, Attention, Dial, Link, Observation, Process

WALL = 1_800_000_000.0
UP = Account("connected", "t0", pid=11)
LINKS = {"a": frozenset({Link(1, 5)})}


def seen(at: float, account: Account | None = UP, **facts: Any) -> Observation:  # noqa: ANN401
    """Return what is seen of a fleet of one, which is connected if nothing else is said."""
    accounts = None if account is None else {"a": account}
    given: dict[str, Any] = {"accounts": accounts, "links": LINKS, "wishes": {"a": "run"}, **facts}
    return Observation(at, WALL + at, **given)


def told(check: Check, observations: Iterable[Observation]) -> list[float]:
    """Return when a check has found something."""
    return [one.at for one in observations for _ in check.look(one)]


def every_second(begin: int, end: int, account: Account | None = UP, **facts: Any) -> list[Observation]:  # noqa: ANN401
    return [seen(at, account, **facts) for at in range(begin, end)]


def test_a_silence_lasts_long_enough_to_be_judged() -> None:
    for kind in ("silence", "silence-all"):
        seconds = KINDS[kind].values["seconds"]
        assert isinstance(seconds, Range)
        assert seconds.low > SILENT_SECONDS + SLACK


def test_nothing_is_wrong_with_a_fleet_that_is_well() -> None:
    for check in all_checks():
        fine = every_second(
            0,
            500,
            processes=(Process(11, frozenset({"a"})), Process(10, helper=True)),
            identities={"a": "someone"},
            files={"a": ((1, 2),)},
        )
        assert told(check, fine) == [], check


# Stuck


@pytest.mark.parametrize(("state", "limit"), checks.STATE_SECONDS.items())
def test_a_state_ends_by_its_deadline(state: str, limit: float) -> None:
    account = Account(state, "t0", pid=11)
    assert told(checks.Stuck(), every_second(0, 600, account)) == [limit + checks.SLACK + 1]
    assert told(checks.Stuck(), every_second(0, int(limit), account)) == []


def test_another_process_in_the_same_state_has_its_own_deadline() -> None:
    one = every_second(0, 45, Account("starting", "t0", pid=11))
    two = every_second(45, 90, Account("starting", "t0", pid=12))
    assert told(checks.Stuck(), [*one, *two]) == []


def test_the_turn_to_start_comes() -> None:
    waiting = Account("starting", "t0")
    (at,) = told(checks.Stuck(), every_second(0, 600, waiting))
    assert at > checks.STATE_SECONDS["starting"] + checks.QUEUE_SECONDS


@pytest.mark.parametrize("state", ["backoff", "banned", "replaced"])
def test_the_next_try_comes_when_it_is_due(state: str) -> None:
    account = Account(state, "t0", next_retry_at=WALL + 100)
    (at,) = told(checks.Stuck(), every_second(0, 600, account))
    assert 100 + checks.LATE_SECONDS < at <= 100 + checks.LATE_SECONDS + checks.SLACK + 2


def test_a_backoff_without_a_next_try_is_none() -> None:
    assert told(checks.Stuck(), every_second(0, 100, Account("backoff", "t0")))
    assert not told(checks.Stuck(), every_second(0, 500, Account("replaced", "t0")))  # until an operator acts


def test_a_service_that_is_away_does_not_count() -> None:
    account = Account("connecting", "t0", pid=11)
    parts = [*every_second(0, 50, account), *every_second(50, 60, None), *every_second(60, 120, account)]
    assert told(checks.Stuck(), parts) == []


# Honest


def test_connected_needs_a_link() -> None:
    check = checks.Honest()
    limit = checks.SILENT_SECONDS + checks.SLACK
    assert told(check, every_second(0, 200, links={"a": frozenset()})) == [limit + 1]
    assert told(checks.Honest(), every_second(0, 200, links=None)) == [limit + 1]


def test_a_link_to_a_silent_peer_is_none() -> None:
    limit = checks.SILENT_SECONDS + checks.SLACK
    assert told(checks.Honest(), every_second(0, 200, silent=frozenset({"a"}))) == [limit + 1]
    noticed = every_second(40, 200, Account("reconnecting", "t1", pid=11), silent=frozenset({"a"}))
    assert told(checks.Honest(), [*every_second(0, 40, silent=frozenset({"a"})), *noticed]) == []


def test_a_lie_is_told_once_and_again_if_it_comes_back() -> None:
    none: dict[str, frozenset[Link]] = {"a": frozenset()}
    course = [
        *every_second(0, 100, links=none),
        *every_second(100, 110, links=LINKS),
        *every_second(110, 210, links=none),
    ]
    assert len(told(checks.Honest(), course)) == 2


# Gave up, or hangs


def test_a_service_that_does_not_answer_is_seen() -> None:
    assert told(checks.Answers(), every_second(0, 60, None)) == [checks.MUTE_SECONDS + 1]
    assert told(checks.Answers(), every_second(0, 60, None, up=False)) == []
    assert told(checks.Answers(), [*every_second(0, 4, None), *every_second(4, 60)]) == []


@pytest.mark.parametrize("state", ["failed", "outdated"])
def test_nobody_gives_up(state: str) -> None:
    assert told(checks.NotFailed(), [seen(0), *every_second(1, 5, Account(state, "t1"))]) == [1]


# One process, one connection


def test_two_processes_on_one_session_are_seen_at_once() -> None:
    both = (Process(11, frozenset({"a"})), Process(12, frozenset({"a"})))
    assert told(checks.OneProcess(), [seen(0, processes=both), seen(1, processes=both)]) == [0]
    apart = (Process(11, frozenset({"a"})), Process(12, frozenset({"b"})))
    assert told(checks.OneProcess(), [seen(0, processes=apart), seen(1)]) == []


def test_two_connections_of_one_account_are_seen() -> None:
    two = {"a": frozenset({Link(1, 5), Link(1, 6)})}
    assert told(checks.OneLink(), every_second(0, 20, links=two)) == [checks.TWO_LINKS_SECONDS + 1]
    assert told(checks.OneLink(), every_second(0, 20, links=two, silent=frozenset({"a"}))) == []
    assert told(checks.OneLink(), [*every_second(0, 4, links=two), *every_second(4, 20)]) == []


def test_a_process_that_the_service_does_not_know_is_seen() -> None:
    stray = (Process(11, frozenset({"a"})), Process(99, frozenset({"b"})), Process(10, helper=True))
    assert told(checks.NoStrays(), every_second(0, 60, processes=stray)) == [checks.STRAY_SECONDS + 1]
    # While the service starts, nobody is known yet.
    assert told(checks.NoStrays(), every_second(0, 60, None, processes=stray)) == []
    assert told(checks.NoStrays(), every_second(0, 60, up=False, processes=stray)) == []


# Codes


def test_a_code_that_is_left_is_seen() -> None:
    limit = checks.PICTURE_SECONDS + checks.PICTURE_SLACK
    left = frozenset({"a"})
    pairing = Account("pairing", "t0", pid=11)
    assert told(checks.NoPictureLeft(), every_second(0, 60, pictures=left)) == [limit + 1]
    assert told(checks.NoPictureLeft(), every_second(0, 60, pairing, pictures=left)) == []
    assert told(checks.NoPictureLeft(), every_second(0, 60, None, pictures=left)) == []
    assert told(checks.NoPictureLeft(), every_second(0, 60, pictures=frozenset({"removed"}))) == [limit + 1]


# Undisturbed


@pytest.mark.parametrize(
    "later",
    [
        seen(1, Account("reconnecting", "t1", pid=11)),
        seen(1, Account("connected", "t1", pid=12)),
        seen(1, Account("connected", "t1", pid=11)),  # it was away between two looks
        seen(1, links={"a": frozenset({Link(1, 6)})}),
        seen(1, links={"a": frozenset()}),
    ],
    ids=["state", "process", "again", "connection", "none"],
)
def test_what_happens_to_somebody_without_a_fault_is_seen(later: Observation) -> None:
    assert told(checks.Undisturbed(), [seen(0), later]) == [1]
    excused = Observation(
        1, WALL + 1, accounts=later.accounts, links=later.links, excused=frozenset({"a"})
    )  # fmt: skip
    assert told(checks.Undisturbed(), [seen(0), excused, seen(2)]) == []


def test_a_service_that_is_away_disturbs_nobody() -> None:
    assert told(checks.Undisturbed(), [seen(0), seen(1, None), seen(2)]) == []


# Sessions


def test_a_session_of_another_device_is_seen() -> None:
    check = checks.KeepsSession()
    assert told(check, [seen(0, identities={"a": "one"}), seen(1, identities={"a": "two"})]) == [1]


def test_a_session_without_a_device_is_seen_if_it_stays_so() -> None:
    gone = every_second(1, 60, identities={"a": None})
    found = told(checks.KeepsSession(), [seen(0, identities={"a": "one"}), *gone])
    assert found == [1 + checks.LOST_SECONDS + 1]
    assert told(checks.KeepsSession(), gone) == []  # it had none


def test_a_session_may_be_another_after_a_log_out() -> None:
    parting = {("a", "logged_out"): 1}
    course = [
        seen(0, identities={"a": "one"}),
        seen(1, identities={"a": None}, parting=parting),
        *every_second(2, 30, identities={"a": None}, parting=parting),
        seen(31, identities={"a": "two"}, parting=parting),
    ]
    check = checks.KeepsSession()
    assert told(check, course) == []
    assert told(check, [seen(32, identities={"a": "three"}, parting=parting)]) == [32]


def test_what_is_in_quarantine_without_a_reason_is_seen() -> None:
    once = {("a", "logged_out"): 1}
    assert told(checks.KeepsSession(), every_second(0, 5, quarantined=once)) == [0]
    assert told(checks.KeepsSession(), every_second(0, 5, quarantined=once, parting=once)) == []
    other = {("a", "repair"): 1}
    assert told(checks.KeepsSession(), every_second(0, 5, quarantined=once, parting=other)) == [0]


@pytest.mark.parametrize("state", sorted(checks.RESTING))
def test_a_session_that_is_written_to_without_a_process_is_seen(state: str) -> None:
    rest = Account(state, "t0")
    before, after = {"a": ((1, 2),)}, {"a": ((1, 3),)}
    course = [seen(0, rest, files=before), seen(1, rest, files=before), seen(2, rest, files=after)]
    assert told(checks.Untouched(), course) == [2]
    # The files of the first look may be of the moment before it came to rest.
    assert (
        told(checks.Untouched(), [seen(0, rest, files=before), *every_second(1, 9, rest, files=after)]) == []
    )


def test_a_session_may_be_written_to_by_its_process_or_taken_away_on_an_order() -> None:
    rest = Account("banned", "t0")
    before, after = {"a": ((1, 2),)}, {"a": ((1, 3),)}
    between = [
        *every_second(0, 3, rest, files=before),
        seen(3, files=after),
        *every_second(4, 9, Account("banned", "t2"), files=after),
    ]
    assert told(checks.Untouched(), between) == []
    ordered = {("a", "repair"): 1}
    course = [
        *every_second(0, 3, rest, files=before),
        *every_second(3, 9, rest, files={"a": ()}, parting=ordered),
    ]
    assert told(checks.Untouched(), course) == []


# Who dials, and when


def test_an_account_that_dials_while_it_rests_is_seen() -> None:
    rest = Account("stopped", "t0")
    late = Dial("a", WALL + 10)
    assert told(checks.NobodyDials(), [*every_second(0, 10, rest), seen(11, rest, dials=(late,))]) == [11]
    # Of the process that has just ended; or of the next one.
    soon = Dial("a", WALL + 1)
    assert told(checks.NobodyDials(), [seen(0, rest), seen(2, rest, dials=(soon,))]) == []
    assert told(checks.NobodyDials(), [*every_second(0, 10, rest), seen(11, dials=(late,))]) == []
    again = Account("stopped", "t11")
    assert told(checks.NobodyDials(), [*every_second(0, 10, rest), seen(11, again, dials=(late,))]) == []


BAN = {"a": (WALL + 10, WALL + 20)}
BANNED = Account("banned", "t10", next_retry_at=WALL + 30)


def test_a_try_before_a_bans_end_is_seen() -> None:
    early = seen(16, BANNED, bans=BAN, dials=(Dial("a", WALL + 15),))
    assert told(checks.Bans(), [seen(11, BANNED, bans=BAN), early]) == [16]
    first = seen(11, BANNED, bans=BAN, dials=(Dial("a", WALL + 9.9),))  # which brought it
    assert told(checks.Bans(), [first, seen(30, bans=BAN, dials=(Dial("a", WALL + 29),))]) == []


def test_a_ban_after_which_nobody_tries_is_seen() -> None:
    limit = 20 + checks.BAN_SECONDS + checks.SLACK
    (at,) = told(checks.Bans(), every_second(11, 300, BANNED, bans=BAN))
    assert limit < at <= limit + 3
    tried = seen(60, bans=BAN, dials=(Dial("a", WALL + 59),))
    assert told(checks.Bans(), [*every_second(11, 60, BANNED, bans=BAN), tried]) == []
    assert told(checks.Bans(), every_second(61, 300, bans=BAN, dials=(Dial("a", WALL + 59),))) == []


@pytest.mark.parametrize("wish", ["stopped", "disabled", "removed"])
def test_an_order_that_is_not_obeyed_is_seen(wish: str) -> None:
    limit = checks.STOP_SECONDS + checks.SLACK
    wishes = {"a": wish}
    assert told(checks.Wishes(), every_second(0, 100, wishes=wishes)) == [limit + 1]
    assert told(checks.Wishes(), every_second(0, 10, wishes=wishes)) == []
    obeyed = {} if wish == "removed" else {"a": Account(wish, "t1")}
    assert told(checks.Wishes(), every_second(0, 100, wishes=wishes, accounts=obeyed)) == []


# The clock


def test_time_counts_only_as_long_as_somebody_looks() -> None:
    times = iter([100.0, 100.5, 101.0, 161.0, 161.5])
    clock = Attention(lambda: next(times))
    assert [clock.look() for _ in range(4)] == [0.5, 1.0, 2.0, 2.5]
