"""Which changes of accounts are told, and when: once, if they last, within the limits, and none is lost."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.events import Moment
from orchestrator.accounts.on_change import OnChange, Rate
from orchestrator.accounts.states import State
from orchestrator.control.attention import need
from orchestrator.control.changes import (
    GATHER_SECONDS,
    LONGEST_RETRY_SECONDS,
    MOST_CHANGES,
    RETRY_SECONDS,
    Call,
    Change,
    Changes,
    Told,
)
from orchestrator.control.view import AccountView

WALL = 1_800_000_000.0
PLAIN = OnChange(("/bin/tell",), lasts=60.0)
CONNECTED, PAIRING, BANNED = State.CONNECTED, State.PAIRING, State.BANNED


class World:
    """A clock, accounts, and a program that is told of them."""

    def __init__(self, settings: OnChange = PLAIN, told: Told | None = None) -> None:
        self.changes = Changes(settings, told)
        self.time = 0.0
        self.calls: list[tuple[float, Call]] = []
        self.views: dict[str, AccountView] = {}
        self.works = True

    @property
    def now(self) -> Moment:
        return Moment(self.time, WALL + self.time)

    def set(self, name: str, state: State) -> None:
        self.views[name] = AccountView(name, state.value)
        self.changes.see(self.views[name], self.now)

    def call(self) -> bool:
        """Call the program if there is something to tell; return whether there was."""
        call = self.changes.call(self.now)
        if call is None:
            return False
        if self.works:
            self.calls.append((self.time, call))
        self.changes.ended(self.now, worked=self.works)
        return True

    def run(self, seconds: float) -> None:
        """Let time pass, looking only when the machine wants to be asked."""
        end = self.time + seconds
        while True:
            self.call()
            due = self.changes.due_in(self.now)
            if due is None or self.time + due > end:
                break
            self.time += max(due, 1e-3)
        self.time = end
        self.call()

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(one.name, one.word, one.value) for _, call in self.calls for one in call.changes]


def test_what_lasts_is_told_once_and_its_end_too() -> None:
    world = World()
    world.set("a", CONNECTED)
    world.run(1000)
    world.set("a", PAIRING)
    began = world.time
    world.run(10_000)
    assert world.told == [("a", "needs_person", "code")]
    (at, call) = world.calls[0]
    assert at == began + 60 + GATHER_SECONDS
    assert call.changes[0].at == WALL + began
    world.set("a", CONNECTED)
    world.run(10_000)
    assert world.told[1:] == [("a", "resolved", "resolved")]
    assert world.calls[1][1].changes[0].before == "code"
    assert world.changes.told() == {}


def test_what_comes_and_goes_is_not_told() -> None:
    world = World()
    for _ in range(100):
        world.set("a", PAIRING)
        world.run(59)
        world.set("a", CONNECTED)
        world.run(1)
    world.run(10_000)
    assert world.calls == []
    assert world.changes.left_out == 0


def test_a_short_pause_of_a_trouble_is_no_end_of_it() -> None:
    world = World()
    world.set("a", PAIRING)
    world.run(100)
    for _ in range(50):
        world.set("a", State.STARTING)
        world.run(20)
        world.set("a", PAIRING)
        world.run(160)
    assert world.told == [("a", "needs_person", "code")]


def test_one_trouble_after_another_is_as_old_as_the_first() -> None:
    world = World()
    for number in range(10):
        world.set("a", PAIRING if number % 2 else BANNED)
        world.run(30)
    assert world.told[0][:2] == ("a", "needs_person")
    assert world.calls[0][0] == 60 + GATHER_SECONDS


def test_a_worse_trouble_is_told_as_well() -> None:
    world = World()
    world.set("a", PAIRING)
    world.run(100)
    world.set("a", BANNED)
    world.run(100)
    assert world.told == [("a", "needs_person", "code"), ("a", "needs_person", "banned")]
    assert world.calls[1][1].changes[0].before == "code"


def test_what_an_operator_stops_is_no_trouble() -> None:
    world = World(replace(PLAIN, when=("needs_person", "down", "resolved")))
    world.set("a", State.STOPPED)
    world.set("b", State.DISABLED)
    world.run(10_000)
    assert world.calls == []
    world.set("c", State.BACKOFF)
    world.run(100)
    world.set("c", State.STOPPED)
    world.run(100)
    assert world.told == [("c", "down", "down"), ("c", "resolved", "resolved")]


def test_states_are_told_when_an_account_comes_into_them() -> None:
    world = World(replace(PLAIN, when=("connected", "backoff"), lasts=0.0))
    world.set("a", CONNECTED)  # so it was when the service began: no change
    world.run(100)
    assert world.calls == []
    world.set("a", State.BACKOFF)
    world.run(10)
    world.set("a", State.CONNECTING)
    world.run(10)
    world.set("a", CONNECTED)
    world.run(10)
    assert [word for _, word, _ in world.told] == ["backoff", "connected"]


def test_many_that_fall_together_are_told_in_one_call() -> None:
    world = World()
    for number in range(150):
        world.set(f"a{number:03}", PAIRING)
        world.time += 0.01
    world.run(1000)
    (only,) = world.calls
    assert len(only[1].changes) == 150
    assert only[1].more == 0


def test_more_than_fits_goes_with_the_next_call() -> None:
    world = World()
    for number in range(MOST_CHANGES + 30):
        world.set(f"a{number:03}", PAIRING)
    world.run(1000)
    assert [len(call.changes) for _, call in world.calls] == [MOST_CHANGES, 30]
    assert [call.more for _, call in world.calls] == [30, 0]
    assert len({name for name, _, _ in world.told}) == MOST_CHANGES + 30


def test_changes_wait_for_the_limit_and_those_that_are_over_are_counted() -> None:
    world = World(replace(PLAIN, at_most=Rate(2, 3600.0), lasts=0.0, at_most_each=Rate(100, 60.0)))
    for name in ("a", "b"):
        world.set(name, PAIRING)
        world.run(10)
    assert len(world.calls) == 2
    world.set("c", PAIRING)
    world.set("d", PAIRING)
    world.run(600)
    world.set("c", CONNECTED)  # nobody heard of it
    world.run(3600)
    assert world.told[2:] == [("d", "needs_person", "code")]
    assert world.calls[2][1].left_out == 1
    world.set("e", PAIRING)
    world.run(3600)
    assert world.calls[3][1].left_out == 0


def test_one_account_that_flaps_does_not_drown_the_others() -> None:
    settings = replace(PLAIN, lasts=0.0, at_most=Rate(1000, 60.0), at_most_each=Rate(4, 3600.0))
    world = World(settings)
    for _ in range(300):
        world.set("flaps", PAIRING)
        world.run(10)
        world.set("flaps", CONNECTED)
        world.run(10)
    world.set("other", PAIRING)
    world.run(10)
    flapping = [one for one in world.told if one[0] == "flaps"]
    assert 4 <= len(flapping) <= 4 + 7  # 4 at once, and 4 an hour for 100 minutes
    assert ("other", "needs_person", "code") in world.told
    assert sum(call.left_out for _, call in world.calls) + world.changes.left_out > 250


def test_a_program_that_fails_is_called_again_later_and_later_with_what_is_then_so() -> None:
    world = World(replace(PLAIN, lasts=0.0))
    world.works = False
    world.set("a", PAIRING)
    tries = []
    for _ in range(200_000):
        if world.call():
            tries.append(world.time)
        if len(tries) == 8:
            break
        world.time += 1
    waits = [round(later - earlier) for earlier, later in itertools.pairwise(tries)]
    assert waits[:4] == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS, 8 * RETRY_SECONDS]
    assert max(waits) <= LONGEST_RETRY_SECONDS + 1
    world.set("b", BANNED)
    world.works = True
    world.run(LONGEST_RETRY_SECONDS * 2)
    assert sorted(world.told) == [("a", "needs_person", "code"), ("b", "needs_person", "banned")]


def test_a_restart_of_the_service_tells_nothing_twice_and_forgets_nothing() -> None:
    first = World()
    first.set("told", PAIRING)
    first.run(100)
    first.set("fresh", PAIRING)
    first.run(10)
    kept = first.changes.told()
    second = World(told=kept)
    for name in ("told", "fresh"):
        second.set(name, State.STARTING)
    second.run(20)
    for name in ("told", "fresh"):
        second.set(name, PAIRING)
    second.run(1000)
    assert second.told == [("fresh", "needs_person", "code")]
    third = World(told=second.changes.told())
    third.set("told", CONNECTED)
    third.set("fresh", CONNECTED)
    third.run(1000)
    assert sorted(name for name, word, _ in third.told if word == "resolved") == ["fresh", "told"]


def test_only_the_accounts_that_are_named() -> None:
    world = World(replace(PLAIN, accounts=frozenset({"a"})))
    world.set("a", PAIRING)
    world.set("b", PAIRING)
    world.run(1000)
    assert [name for name, _, _ in world.told] == ["a"]


def test_what_is_not_to_be_resolved_is_told_again_all_the_same() -> None:
    world = World(replace(PLAIN, when=("needs_person",)))
    for _ in range(2):
        world.set("a", PAIRING)
        world.run(1000)
        world.set("a", CONNECTED)
        world.run(1000)
    assert world.told == [("a", "needs_person", "code")] * 2


def test_other_settings_keep_what_was_told() -> None:
    world = World()
    world.set("a", PAIRING)
    world.run(100)
    world.changes.configure(replace(PLAIN, when=("needs_person", "down", "connected"), lasts=5.0))
    world.set("a", PAIRING)
    world.set("b", CONNECTED)
    world.run(100)
    assert world.told == [("a", "needs_person", "code"), ("a", "down", "down")]


def test_a_change_that_ends_while_it_is_told_counts_as_told() -> None:
    world = World(replace(PLAIN, lasts=0.0))
    world.set("a", PAIRING)
    world.time += GATHER_SECONDS
    call = world.changes.call(world.now)
    assert call is not None
    assert world.changes.due_in(world.now) is None
    assert world.changes.call(world.now) is None
    world.set("a", CONNECTED)
    world.changes.ended(world.now, worked=True)
    world.run(100)
    assert world.told == [("a", "resolved", "resolved")]
    assert world.changes.left_out == 0


def test_an_account_that_is_gone_is_forgotten() -> None:
    world = World()
    world.set("a", PAIRING)
    world.run(100)
    world.changes.forget("a")
    world.run(1000)
    assert len(world.calls) == 1
    assert world.changes.told() == {}


STATES = st.sampled_from(list(State))
STEPS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        STATES,
        st.floats(0, 400, allow_nan=False),
        st.booleans(),  # whether the program works from then on
        st.sampled_from(["", "", "", "restart", "reload"]),
    ),
    max_size=40,
)
SETTINGS = st.builds(
    OnChange,
    run=st.just(("/bin/tell",)),
    when=st.lists(
        st.sampled_from(["needs_person", "down", "resolved", "connected", "backoff", "pairing"]),
        min_size=1, unique=True,
    ).map(tuple),
    lasts=st.sampled_from([0.0, 1.0, 60.0, 3600.0]),
    at_most=st.builds(Rate, st.integers(1, 5), st.sampled_from([60.0, 3600.0])),
    at_most_each=st.builds(Rate, st.integers(1, 5), st.sampled_from([60.0, 3600.0])),
)  # fmt: skip


def wanted(settings: OnChange, view: AccountView) -> set[tuple[str, str]]:
    """Return what is to be known of an account, by the words of the configuration."""
    found = need(view)
    words = set()
    if "needs_person" in settings.when and found is not None:
        words.add(("needs_person", str(found.kind)))
    if "down" in settings.when and view.state not in ("connected", "stopped", "disabled"):
        words.add(("down", "down"))
    return words


@given(SETTINGS, STEPS)
def test_in_the_end_everybody_knows_what_is_so(
    settings: OnChange, steps: list[tuple[str, State, float, bool, str]]
) -> None:
    world = World(settings)
    seen: dict[str, list[tuple[float, AccountView]]] = {}
    for name, state, seconds, works, what in steps:
        world.works = works
        world.set(name, state)
        seen.setdefault(name, []).append((world.time, world.views[name]))
        world.run(seconds)
        if what:
            if what == "restart":
                world.changes = Changes(settings, world.changes.told(), world.changes.left_out)
            else:
                world.changes.configure(replace(settings, timeout=world.changes.settings.timeout + 1))
            for one in world.views:
                world.set(one, State(world.views[one].state))
    world.works = True
    world.run(40 * 3600.0)
    # Nothing is left to be told, and what was told last is what is so.
    assert world.changes.due_in(world.now) is None
    told = world.changes.told()
    for name, view in world.views.items():
        values = {
            (word, value) for word, value in told.get(name, {}).items() if word in ("needs_person", "down")
        }
        assert values == wanted(settings, view)
    # The calls keep within the limits: no more than the burst and what has come back since.
    per_second = settings.at_most.times / settings.at_most.seconds
    times = [at for at, _ in world.calls]
    restarts = sum(1 for *_, what in steps if what == "restart")
    for index, at in enumerate(times):
        within = len(times) - index
        allowed = settings.at_most.times * (1 + restarts) + (times[-1] - at) * per_second + 1e-6
        assert within <= allowed + 1
    # Each change that was told was so at the time that it names.
    for at, call in world.calls:
        assert call.changes
        assert len({(one.name, one.word) for one in call.changes}) == len(call.changes)
        for change in call.changes:
            assert change.at <= WALL + at - settings.lasts + 1e-3
            _check_true(change, seen[change.name], settings)


def _check_true(change: Change, history: list[tuple[float, AccountView]], settings: OnChange) -> None:
    states = [view for _, view in history]
    if change.word in set(State):
        assert any(view.state == change.value for view in states)
    elif change.word == "resolved":
        assert any(not wanted(settings, view) for view in states)
    else:
        assert any((change.word, change.value) in wanted(settings, view) for view in states)
