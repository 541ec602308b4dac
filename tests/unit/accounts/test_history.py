from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.history import (
    AGAIN_SECONDS,
    FIELDS,
    SPAN_SECONDS,
    TOGETHER_SECONDS,
    Group,
    Happening,
    for_programs,
    grouped,
    happening,
    listed,
    sentence,
    who,
)
from orchestrator.accounts.states import State

UNLINKED = "the phone of {} has unlinked this device"


def out(at: float, name: str, **more: str) -> Happening:
    kind = {"kind": "logged_out", "reason": UNLINKED.format(name)} | more
    return Happening(at, name, State.CONNECTED, State.BACKOFF, **kind)


def told(*happenings: Happening) -> list[str]:
    return [f"{who(group)}: {sentence(group)}" for group in grouped(happenings)]


def names(groups: list[Group]) -> list[list[str]]:
    return [[*group.names] for group in groups]


def test_equal_causes_close_in_time_are_one_group() -> None:
    five = [out(100.0 + number, f"shop-{number}") for number in range(5)]
    (group,) = grouped(five)
    assert who(group) == "5 accounts"
    assert sentence(group) == "logged out: the phone of shop-0 has unlinked this device"
    assert listed(group) == "shop-0, shop-1, shop-2, shop-3, shop-4"
    assert group.at == 100.0
    assert group.last_at == 104.0
    assert not group.repeats


def test_many_names_are_shortened() -> None:
    (group,) = grouped(out(100.0, f"shop-{number}") for number in range(599, 99, -1))
    assert listed(group) == "shop-100, shop-101, shop-102, shop-103, shop-104, shop-105 and 494 more"


def test_one_account_is_named() -> None:
    (group,) = grouped([out(1.0, "support")])
    assert who(group) == "support"
    assert listed(group) == ""


def test_other_causes_are_other_groups() -> None:
    same = out(1.0, "a")
    others = [
        out(2.0, "b", reason="WhatsApp has locked the account"),
        out(2.0, "b", kind="network"),
        same._replace(name="b", after=State.FAILED),
        same._replace(name="b", by="anna (1000)"),
        same._replace(name="b", event="restricted"),
    ]
    for other in others:
        assert len(grouped([same, other])) == 2, other
    assert len(grouped([same, out(2.0, "b")])) == 1


def test_what_is_far_apart_is_told_apart() -> None:
    assert names(grouped([out(0.0, "a"), out(TOGETHER_SECONDS, "b")])) == [["a", "b"]]
    assert names(grouped([out(0.0, "a"), out(TOGETHER_SECONDS + 1, "b")])) == [["a"], ["b"]]
    steady = [out(50.0 * number, f"shop-{number}") for number in range(12)]
    first, second = grouped(steady)
    assert first.last_at == SPAN_SECONDS
    assert len(first.names) == 7
    assert len(second.names) == 5


def test_what_happens_to_an_account_again_is_counted() -> None:
    flapping = [
        Happening(at + more, "a", before, after)
        for at in (0.0, 1800.0, 3600.0, 5400.0)
        for more, before, after in (
            (0.0, State.CONNECTED, State.RECONNECTING),
            (9.0, State.RECONNECTING, State.CONNECTED),
        )
    ]
    first, first_back, lost, back = grouped(flapping)
    assert (first.times, first_back.times, lost.times, back.times) == (1, 1, 3, 3)
    assert lost.repeats
    assert (lost.first.at, lost.at, back.at) == (1800.0, 5400.0, 5409.0), "the newest last"
    assert sentence(lost) == "reconnecting"
    later = flapping[0]._replace(at=5400.0 + AGAIN_SECONDS + 1)
    assert len(grouped([*flapping, later])) == 5


def test_a_second_mass_outage_is_told_apart_from_the_first() -> None:
    first = [out(number, f"shop-{number}") for number in range(8)]
    second = [out(100.0 + number, f"shop-{number}") for number in range(3)]
    assert [len(group.names) for group in grouped([*first, *second])] == [8, 3]


def test_steps_are_left_out_unless_they_say_something() -> None:
    steps = [
        Happening(0.0, "a", State.STOPPED, State.STARTING, reason="waiting for its turn to start"),
        Happening(1.0, "a", State.STARTING, State.CONNECTING),
        Happening(2.0, "a", State.CONNECTING, State.CONNECTED),
    ]
    assert told(*steps) == ["a: connected"]
    assert told(steps[0]._replace(by="anna (1000)")) == ["a: starting, by anna (1000)"]


def test_what_is_said() -> None:
    assert told(
        Happening(0.0, "a", "connected", "starting", reason="its process has outgrown `memory_limit`"),
        Happening(1.0, "a", "connected", "starting", reason="waiting for its turn to start"),
        Happening(2.0, "a", "connected", "stopped", reason="stopped by an operator", by="anna (1000)"),
        Happening(3.0, "a", "connected", "stopped", reason="stopped by anna (1000)", by="anna (1000)"),
        Happening(4.0, "a", "connected", "stopped", reason="the service stops"),
        Happening(5.0, "a", "connected", "connected", reason="its phone was seen again", event="phone_seen"),
        Happening(6.0, "a", "connected", "banned", "temporary_ban", "WhatsApp refuses the account"),
        Happening(7.0, "a", "backoff", "failed", "crash", "it crashed (3 times in a row)"),
        Happening(8.0, "a", "backoff", "failed", "a kind of another version"),
        Happening(9.0, "a", "x", "a state of another version"),
    ) == [
        "a: gets a new process: its process has outgrown `memory_limit`",
        "a: gets a new process",
        "a: stopped by anna (1000)",
        "a: stopped by anna (1000)",
        "a: stopped: the service stops",
        "a: its phone was seen again",
        "a: banned: WhatsApp refuses the account",
        "a: failed: it crashed (3 times in a row)",
        "a: failed",
        "a: a state of another version",
    ]


def test_programs_get_all_fields_always() -> None:
    assert for_programs("a", {"at": "2026-11-30T03:12:05Z", "to": "connected", "name": "b", "more": 1}) == {
        **dict.fromkeys(FIELDS), "name": "a", "at": "2026-11-30T03:12:05Z", "to": "connected",
    }  # fmt: skip


def test_who_did_it_is_bounded_and_a_text() -> None:
    assert happening("a", {"to": "stopped", "by": "x" * 500}, 1.0).by == "x" * 80
    assert happening("a", {"to": "stopped", "by": 7}, 1.0).by is None


HAPPENINGS = st.lists(
    st.builds(
        Happening,
        at=st.floats(0, 9000),
        name=st.sampled_from(["a", "b", "c", "d"]),
        before=st.sampled_from([*State]),
        after=st.sampled_from([*State]),
        kind=st.sampled_from([None, "network", "logged_out"]),
        reason=st.sampled_from([None, "a link was lost", "1 of 3", "2 of 3"]),
        by=st.sampled_from([None, None, None, "anna (1000)"]),
    ),
    max_size=60,
).map(lambda found: sorted(found, key=lambda one: one.at))


@given(HAPPENINGS)
def test_nothing_is_lost_and_nothing_is_told_twice(happenings: list[Happening]) -> None:
    groups = grouped(happenings)
    telling = [one for one in happenings if not one.is_step]
    assert sum(group.times for group in groups) == len(telling)
    assert all(earlier.at <= later.at for earlier, later in pairwise(groups))
    for group in groups:
        same = [one for one in telling if one.cause == group.first.cause]
        for name, last in group.names.items():
            own = [one.at for one in same if one.name == name and group.first.at <= one.at <= last]
            assert own[-1] == last
        assert len(group.names) <= group.times <= len(same)
        assert max(group.names.values()) == group.last_at


@given(HAPPENINGS)
def test_accounts_join_only_what_is_going_on(happenings: list[Happening]) -> None:
    """An account that comes into a group does so within the group's span."""
    for group in grouped(happenings):
        same = [one for one in happenings if one.cause == group.first.cause and not one.is_step]
        for name in group.names:
            first = min(one.at for one in same if one.name == name and one.at >= group.first.at)
            assert first - group.first.at <= SPAN_SECONDS


@given(HAPPENINGS)
def test_what_differs_in_numbers_and_names_alone_is_equal(happenings: list[Happening]) -> None:
    for one in happenings:
        mine = one._replace(reason=f"try 7 of {one.name}: run `orchestrator start {one.name}`")
        other = one._replace(name="e-12", reason="try 12 of e-12: run `orchestrator start e-12`")
        assert mine.cause == other.cause
        assert mine.cause != mine._replace(reason=f"run `orchestrator repair {one.name}`").cause
