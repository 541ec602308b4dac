"""The accounts as a whole under one clock: hundreds of machines, an hour in a moment."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.world import DIAL, STOP, World

from orchestrator.accounts import fleet, newcomer, pipe
from orchestrator.accounts.breaker import NETWORK_PROBE_FIRST, NETWORK_PROBE_LAST, PROBE_FIRST, PROBE_LAST
from orchestrator.accounts.events import (
    Configured,
    Exited,
    Order,
    Removed,
    Said,
    SpawnFailed,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.proxy import Proxy
from orchestrator.accounts.standing import SLOT_SECONDS
from orchestrator.accounts.states import State


def names(count: int) -> list[str]:
    return [f"a{number:03}" for number in range(count)]


def test_two_hundred_accounts_start_two_at_a_time() -> None:
    world = World(*names(200))
    for _ in range(200):
        world.run(1)
        dialling = sum(account.dials for account in world.accounts.values())
        assert dialling <= 2
    assert world.states() == {State.CONNECTED}
    assert len(world.starts) == 200


def test_a_restart_of_all_takes_away_few_at_a_time() -> None:
    world = World(*names(50))
    world.run(60)
    then = world.now
    for name in world.accounts:
        world.order(name, Order.RESTART)
    for _ in range(600):
        world.run(0.1)
        up = sum(one.state is State.CONNECTED and not one.stopping for one in world.accounts.values())
        assert up >= 48, "two at a time, from their stop on"
    assert world.states() == {State.CONNECTED}
    assert sorted(world.started_since(then)) == names(50), "each once"


def test_a_restart_does_not_take_away_who_could_not_come_back() -> None:
    world = World(*names(5))
    world.run(30)
    world.outdated = True
    world.order("a000", Order.RESTART)
    world.run(10)
    assert world.accounts["a000"].state is State.OUTDATED
    for name in names(5):
        world.order(name, Order.RESTART)
    world.run(60)
    # A second one must be refused: one account's word says nothing of the others. The third was on its way.
    assert [world.accounts[name].state for name in names(5)] == 3 * [State.OUTDATED] + 2 * [State.CONNECTED]
    world.outdated = False
    then = world.now
    world.run(4 * PROBE_FIRST)
    assert world.states() == {State.CONNECTED}
    assert sorted(world.started_since(then)) == names(5)


def test_who_is_about_to_be_given_a_new_process_waits_when_all_have_to() -> None:
    world = World("a", "b", "c", "d", spread=0)
    world.run(30)
    world.outdated = True
    world.order("d", Order.RESTART)
    world.run(30)
    world.order("a", Order.RESTART)
    world.run(DIAL + STOP / 2)
    then = world.now
    world.order("b", Order.RESTART)
    assert world.accounts["b"].stopping, "its turn has come, and a has not been refused yet"
    world.run(60)
    assert world.started_since(then) == []
    states = [world.accounts[name].state for name in "abcd"]
    assert states == [State.OUTDATED, State.OUTDATED, State.CONNECTED, State.OUTDATED]
    world.outdated = False
    world.run(2 * PROBE_FIRST)
    assert world.states() == {State.CONNECTED}


def test_a_host_without_network_sends_out_one_probe_at_a_time_and_all_return_in_step() -> None:
    world = World(*names(200))
    world.run(200)
    world.cut()
    world.run(300)
    assert world.states() == {State.BACKOFF}
    assert world.news == [fleet.NETWORK]
    account = world.accounts["a007"]
    assert "one account probes the network" in (account.reason or "")
    assert account.next_retry_at is not None
    assert account.next_retry_at <= world.now + NETWORK_PROBE_LAST
    hour = world.now
    world.run(3600)
    probes = world.started_since(hour)
    assert 3600 / NETWORK_PROBE_LAST - 2 <= len(probes) <= 3600 / NETWORK_PROBE_LAST + 1
    assert len(set(probes)) == len(probes), "each probe is another account's"
    assert all(len(world.records[name]) < 12 for name in world.records), "nobody's timeline is flooded"
    world.up = True
    back = world.now
    world.run(NETWORK_PROBE_LAST + DIAL)
    assert State.CONNECTED in world.states()
    assert world.news[-1] == fleet.RETURNED
    world.run(200)
    assert world.states() == {State.CONNECTED}
    returned = world.started_since(back)
    assert len(returned) == 200
    gaps = [later - earlier for earlier, later in itertools.pairwise(at for at, _ in world.starts[-199:])]
    assert sum(gap < 0.01 for gap in gaps) < 10, "they come back apart"


def test_a_start_without_network_does_not_try_with_everybody() -> None:
    world = World(*names(100))
    world.up = False
    world.run(60)
    # Dead from the start: what was on its way, then the probes after 15 and 30 s.
    assert 3 <= len(world.starts) <= 8
    world.up = True
    world.run(NETWORK_PROBE_LAST + 150)
    assert world.states() == {State.CONNECTED}


def test_one_account_without_network_is_its_own_trouble() -> None:
    world = World(*names(10))
    world.run(30)
    world.broken = {"a003"}
    world.lose("a003")
    world.run(900)
    assert world.news == []
    assert not world.accounts["a003"].held
    assert len([name for _, name in world.starts if name == "a003"]) >= 6, "it tries at its own pace"


def test_few_accounts_do_not_tell_the_hosts_network_from_their_own() -> None:
    world = World("a", "b")
    world.up = False
    world.run(600)
    assert world.news == []
    assert not any(account.held for account in world.accounts.values())


def test_accounts_that_share_a_dead_way_do_not_keep_the_others_from_starting() -> None:
    world = World(*names(20))
    world.broken = {f"a{number:03}" for number in range(5)}  # the first to start, all of them
    world.run(NETWORK_PROBE_FIRST + 60)
    working = {name for name in world.accounts if name not in world.broken}
    assert {world.accounts[name].state for name in working} == {State.CONNECTED}
    assert not any(account.held for account in world.accounts.values())


def test_an_operator_who_starts_an_account_has_it_probe_at_once() -> None:
    world = World(*names(10))
    world.up = False
    world.run(400)
    assert world.states() == {State.BACKOFF}
    before = len(world.starts)
    world.up = True
    world.order("a005", Order.START)
    assert [name for _, name in world.starts[before:]] == ["a005"]
    world.run(30)
    assert world.states() == {State.CONNECTED}


def test_of_all_that_are_ordered_to_start_one_probes() -> None:
    world = World(*names(10))
    world.up = False
    world.run(400)
    before = len(world.starts)
    for name in world.accounts:
        world.order(name, Order.START)
    world.run(5)
    assert len(world.starts) == before + 1
    assert sum(account.held for account in world.accounts.values()) == 10


def test_an_account_that_is_restarted_while_it_has_a_process_probes_when_that_has_ended() -> None:
    world = World(*names(10))
    world.run(30)
    world.up = False
    for name in names(9):
        world.lose(name)
    world.run(125)
    assert all(world.accounts[name].held for name in names(9))
    # Its own link is still up, as far as anybody knows.
    world.up = True
    world.order("a009", Order.RESTART)
    before = len(world.starts)
    world.run(3)
    assert world.starts[before][1] == "a009"
    world.run(30)
    assert world.states() == {State.CONNECTED}


def test_who_is_banned_does_not_put_off_the_next_probe() -> None:
    world = World(*names(10))
    world.run(30)
    world.handle("a003", Said(pipe.Ended(Kind.TEMPORARY_BAN, "banned", expire=3600)))
    world.handle("a003", Exited(EXIT_CODES[Kind.TEMPORARY_BAN]))
    world.cut()
    world.run(300)
    before = len(world.starts)
    for _ in range(int(NETWORK_PROBE_LAST)):
        world.order("a003", Order.START)
        world.run(1)
    assert len(world.starts) == before + 1
    assert world.accounts["a003"].state is State.BANNED


def test_those_who_are_stopped_while_they_have_no_network_tell_nothing_of_the_hosts() -> None:
    world = World(*names(10))
    world.run(30)
    for name in world.accounts:
        world.order(name, Order.STOP)
        world.end(name, Kind.NETWORK, world.accounts[name].child)
    world.run(30)
    assert world.states() == {State.STOPPED}
    assert world.news == []


def test_whoever_is_still_connected_shows_that_it_is_not_the_hosts_network() -> None:
    world = World(*names(30))
    world.run(60)
    world.broken = set(names(20))
    for name in world.broken:
        world.lose(name)
    world.run(125)
    assert world.news == [fleet.NETWORK], "so it looked at first"
    world.run(120)
    assert world.news == [fleet.NETWORK, fleet.WORKS]
    hour = world.now
    world.run(3600)
    assert len(world.news) == 2, "that they still fail is no news"
    tries = world.started_since(hour)
    assert not any(account.held for account in world.accounts.values())
    for name in world.broken:
        assert tries.count(name) >= 11, "each tries at its own pace, every five minutes at the most"
    # What works now is found by itself, whoever else does not.
    world.broken.discard("a007")
    world.run(300 + 30)
    assert world.accounts["a007"].state is State.CONNECTED


def test_the_hosts_network_may_be_lost_again_by_those_who_had_it() -> None:
    world = World(*names(30))
    world.run(60)
    world.broken = set(names(20))
    for name in world.broken:
        world.lose(name)
    world.run(600)
    world.cut()
    world.run(300)
    assert world.news == [fleet.NETWORK, fleet.WORKS, fleet.NETWORK]
    assert world.states() == {State.BACKOFF}
    world.up, world.broken = True, set()
    world.run(NETWORK_PROBE_LAST + 60)
    assert world.states() == {State.CONNECTED}


def test_a_network_that_is_back_for_a_moment_is_lost_as_a_whole_again() -> None:
    world = World(*names(50))
    world.up = False
    world.run(400)
    for _ in range(5):
        world.up = True
        while world.news[-1] != fleet.RETURNED:
            world.run(0.1)
        world.cut()
        then = world.now
        world.run(30)
        assert world.news[-1] == fleet.NETWORK
        assert len(world.started_since(then)) < 10, "nobody but a few, and the first probe"


@pytest.mark.parametrize("what", ["stop", "remove", "ban"])
def test_a_probe_that_is_taken_away_is_followed_by_another(what: str) -> None:
    world = World(*names(10))
    world.up = False
    world.run(400)
    before = len(world.starts)
    while len(world.starts) == before:
        world.run(1)
    probe = world.starts[-1][1]
    if what == "stop":
        world.order(probe, Order.STOP)
    elif what == "remove":
        world.handle(probe, Removed(keep_session=True))
    else:
        world.end(probe, Kind.CRASH, world.accounts[probe].child)
    world.up = True
    world.run(NETWORK_PROBE_LAST + 30)
    assert {account.state for name, account in world.accounts.items() if name != probe} == {State.CONNECTED}


def test_nobody_waits_for_a_network_that_nobody_probes() -> None:
    world = World(*names(5))
    world.up = False
    world.run(400)
    for name in world.accounts:
        world.order(name, Order.STOP)
    world.up = True
    world.run(1)
    world.order("a000", Order.START)
    world.order("a001", Order.START)
    world.run(10)
    assert [world.accounts[name].state for name in ("a000", "a001")] == [State.CONNECTED] * 2


def test_an_outdated_client_takes_the_place_of_a_lost_network() -> None:
    world = World(*names(50))
    world.up = False
    world.run(400)
    world.up, world.outdated = True, True
    world.run(NETWORK_PROBE_LAST + 30)
    assert world.states() == {State.OUTDATED}
    shown = {account.next_retry_at for account in world.accounts.values()}
    assert len(shown) == 1, "all show the next probe's time"
    (probe_at,) = shown
    assert probe_at is not None
    assert 0 < probe_at - world.now <= PROBE_FIRST
    then = world.now
    world.run(PROBE_FIRST)
    assert len(world.started_since(then)) <= 1
    world.outdated = False
    world.run(4 * PROBE_FIRST)
    assert world.states() == {State.CONNECTED}
    assert world.news[-1] == fleet.ACCEPTED


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 12),
    parallel=st.integers(1, 4),
    script=st.lists(
        st.tuples(
            st.sampled_from(["cut", "mend", "refuse", "accept", "break", "heal", "start", "stop", "restart"]),
            st.floats(0, 1000),
        ),
        max_size=12,
    ),
)
def test_whatever_happens_all_come_back_and_never_too_many_at_once(
    seed: int, count: int, parallel: int, script: list[tuple[str, float]]
) -> None:
    world = World(*names(count), parallel=parallel, seed=seed)
    for what, seconds in script:
        victim = world.random.choice(names(count))
        match what:
            case "cut":
                world.cut()
            case "mend":
                world.up = True
            case "refuse":
                world.outdated = True
            case "accept":
                world.outdated = False
            case "break":
                world.broken.add(victim)
                world.lose(victim)
            case "heal":
                world.broken.discard(victim)
            case order:
                world.order(victim, Order(order))
        world.run(seconds)
        assert sum(account.dials for account in world.accounts.values()) <= parallel + 1
    world.up, world.outdated, world.broken = True, False, set()
    # The longest waits: for a probe of the client's version or of the network, its own, and in the queue.
    refused = any(what == "refuse" for what, _ in script)
    world.run((PROBE_LAST if refused else 0) + NETWORK_PROBE_LAST + 300 + 60)
    wanted = {name: account for name, account in world.accounts.items() if not account.stopped}
    assert {account.state for account in wanted.values()} <= {State.CONNECTED}
    assert not any(account.held for account in world.accounts.values())


# Ways out


def behind(proxy: str | None, *accounts: str) -> dict[str, str | None]:
    return dict.fromkeys(accounts, proxy)


def proxies(count: int) -> dict[str, str | None]:
    """Return so many accounts, each behind a proxy of its own."""
    return {f"p{number}": f"socks5://user:pw@10.0.0.{number}:1080" for number in range(count)}


def ever_held(world: World, name: str) -> bool:
    return any(record.reason and "lost the network" in record.reason for record in world.records[name])


@pytest.mark.parametrize("hangs", [0.0, 50.0])
@pytest.mark.parametrize("parallel", [1, 2])
def test_six_broken_proxies_do_not_keep_an_account_from_starting(hangs: float, parallel: int) -> None:
    ways = {**proxies(6), "direct": None}
    world = World(*ways, parallel=parallel, ways=ways, hangs=hangs)
    world.dead = {way for way in ways.values() if way}
    then = world.now
    while world.accounts["direct"].state is not State.CONNECTED:
        world.run(1)
    waits = SLOT_SECONDS if hangs else DIAL
    assert world.now - then <= 6 / parallel * (waits + DIAL / 2 + 1) + DIAL + 2
    assert not ever_held(world, "direct")
    # Later it does not even wait for those that hang at the moment.
    world.run(600)
    for _ in range(20):
        then = world.now
        world.order("direct", Order.RESTART)
        while not world.started_since(then) or world.accounts["direct"].state is not State.CONNECTED:
            world.run(0.5)
        assert world.now - then <= SLOT_SECONDS + STOP + DIAL + 2
        world.run(37)
    assert world.news == []


def test_those_that_hang_are_few_however_many_ways_are_dead() -> None:
    ways = {f"a{number}": f"http://h{number}:1" for number in range(60)}
    world = World(*ways, ways=ways, hangs=50, spread=0)
    world.dead = set(ways.values())
    most = 0
    for _ in range(300):
        world.run(2)
        most = max(most, sum(account.dials for account in world.accounts.values()))
        assert sum(account.dials_freshly(world.now) for account in world.accounts.values()) <= 2
    assert most <= 2 * (50 / SLOT_SECONDS + 2)
    assert {name for _, name in world.starts} == set(ways), "and all had their turn"


def test_accounts_of_one_dead_way_keep_no_more_than_its_places() -> None:
    ways = {**behind("http://p:1", *names(40)), **behind(None, "x", "y", "z")}
    world = World(*ways, ways=ways, hangs=50)
    world.dead = {"http://p:1"}
    world.run(2 * SLOT_SECONDS + 5)
    assert {world.accounts[name].state for name in "xyz"} == {State.CONNECTED}
    world.run(300)
    assert world.news == [world.words("http://p:1", fleet.NETWORK)]
    assert sum(account.held for account in world.accounts.values()) >= 39
    assert not any(ever_held(world, name) for name in "xyz")
    reason = world.accounts["a007"].reason
    assert reason is not None
    assert "(the proxy http://p:1)" in reason
    # And back.
    world.dead = set()
    world.run(NETWORK_PROBE_LAST + 60 + 60)
    assert world.states() == {State.CONNECTED}
    assert world.news[-1] == world.words("http://p:1", fleet.RETURNED)


def test_a_proxy_is_one_way_for_all_its_users_and_the_environment_is_another() -> None:
    ways = {**{name: f"http://{name}:pw@p:1/" for name in names(5)}, **behind(None, "x", "y", "z")}
    world = World(*ways, ways=ways, outside=Proxy("http", "p", 1))
    world.run(60)
    world.dead = {None}
    for name in "xyz":
        world.lose(name)
    world.run(300)
    assert world.news == [world.words("the environment's proxy http://p:1", fleet.NETWORK)]
    assert all(world.accounts[name].held for name in "xyz")
    assert {world.accounts[name].state for name in names(5)} == {State.CONNECTED}
    world.dead = {*ways.values()} - {None}
    world.run(NETWORK_PROBE_LAST + 60)
    for name in names(5):
        world.lose(name)
    world.run(300)
    assert all(world.accounts[name].held for name in names(5))
    assert {world.accounts[name].state for name in "xyz"} == {State.CONNECTED}


def test_an_account_that_is_given_another_way_goes_it_at_once_and_leaves_nothing_behind() -> None:
    ways = behind("http://p:1", *names(5))
    world = World(*ways, ways=ways)
    world.dead = {"http://p:1"}
    world.run(300)
    assert all(account.held for account in world.accounts.values())
    world.move("a003", None)
    world.run(5)
    assert world.accounts["a003"].state is State.CONNECTED
    assert all(world.accounts[name].held for name in world.accounts if name != "a003")
    # The probe itself, while it dials.
    world.dead = {"http://p:1"}
    before = len(world.starts)
    while len(world.starts) == before:
        world.run(0.1)
    probe = world.starts[-1][1]
    world.move(probe, "http://q:1")
    world.run(5)
    assert world.accounts[probe].state is State.CONNECTED
    world.run(NETWORK_PROBE_LAST)
    assert len(world.starts) > before + 2, "somebody else probes the way"
    for name in names(5):
        world.move(name, None)
    world.run(30)
    assert world.states() == {State.CONNECTED}
    assert not any(way.breaker.tripped for way in world.fleet._ways)


def test_losses_of_accounts_that_went_away_do_not_count() -> None:
    ways = {**behind("http://p:1", "a", "b", "c", "d"), **behind(None, "x", "y")}
    world = World(*ways, ways=ways)
    world.run(30)
    world.dead = {"http://p:1"}
    for name in "ab":
        world.lose(name)
    world.run(130)
    for name in "ab":
        world.move(name, None)
    world.run(10)
    for name in "cd":
        world.lose(name)
    world.run(130)
    assert world.news == []
    assert {world.accounts[name].state for name in "abxy"} == {State.CONNECTED}


def test_the_version_is_probed_by_those_that_can_get_to_whatsapp() -> None:
    ways = {**proxies(6), **behind(None, "x", "y")}
    world = World(*ways, ways=ways)
    world.dead = {way for way in ways.values() if way}
    world.outdated = True
    world.run(120)
    assert all(world.accounts[name].state is State.OUTDATED for name in "xy")
    world.outdated = False
    world.run(2 * PROBE_FIRST + 6 * NETWORK_PROBE_FIRST + 60)
    assert {world.accounts[name].state for name in "xy"} == {State.CONNECTED}


def test_a_password_that_a_proxy_refuses_is_no_loss_of_the_network() -> None:
    ways = {**behind("http://p:1", *names(6)), "x": None}
    world = World(*ways, ways=ways)
    world.refusing = {"http://p:1"}
    world.run(60)
    assert {world.accounts[name].state for name in names(6)} == {State.FAILED}
    assert world.accounts["x"].state is State.CONNECTED
    assert world.news == []


def test_those_that_wait_for_a_proxy_learn_soon_that_it_refuses_the_password() -> None:
    ways = behind("http://p:1", *names(20))
    world = World(*ways, ways=ways)
    world.dead = {"http://p:1"}
    world.run(300)
    world.dead, world.refusing = set(), {"http://p:1"}
    world.run(NETWORK_PROBE_LAST + 60)
    assert world.states() == {State.FAILED}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    parallel=st.integers(1, 3),
    hangs=st.sampled_from([0.0, 5.0, 50.0]),
    script=st.lists(
        st.tuples(
            st.sampled_from(["die", "lose", "wrong", "heal", "restart", "stop", "start", "move", "remove"]),
            st.integers(0, 11),
            st.floats(0, 200),
        ),
        max_size=15,
    ),
)
def test_whatever_happens_to_other_ways_an_account_is_never_held(
    seed: int, parallel: int, hangs: float, script: list[tuple[str, int, float]]
) -> None:
    bad = ["http://p:1", "http://u:pw@p:1", "socks5://q:1", "http://r:1"]
    ways: dict[str, str | None] = {f"bad{number}": bad[number % 4] for number in range(12)}
    good = {
        "direct": None,
        "alone": "http://s:1",
        "one": "socks5://t:1",
        "two": "socks5://t:1",
        "u": "http://p:2",
    }
    ways |= good
    world = World(*ways, parallel=parallel, seed=seed, ways=ways, hangs=hangs)
    for what, number, seconds in script:
        name = f"bad{number}"
        match what:
            case "die":
                world.dead.add(bad[number % 4])
            case "wrong":
                world.refusing.add(bad[number % 4])
            case "heal":
                world.dead.discard(bad[number % 4])
                world.refusing.discard(bad[number % 4])
            case _ if name not in world.accounts:
                pass
            case "lose":
                world.lose(name)
            case "move":
                world.move(name, bad[(number + 1) % 4])
            case "remove":
                world.handle(name, Removed())
            case order:
                world.order(name, Order(order))
        world.run(seconds)
        for one in good:
            assert not world.accounts[one].held
    world.run(12 / parallel * (SLOT_SECONDS + 2) + 60)
    for one in good:
        assert world.accounts[one].state is State.CONNECTED
        assert {record.after for record in world.records[one]} == {
            State.STARTING,
            State.CONNECTING,
            State.CONNECTED,
        }
    world.dead, world.refusing = set(), set()
    world.run(NETWORK_PROBE_LAST + 300 + 60)
    assert {account.state for account in world.accounts.values() if not account.stopped} <= {
        State.CONNECTED,
        State.FAILED,
    }
    assert not any(account.held for account in world.accounts.values())


# Another version of the library


def wait_for_turns(world: World, count: int) -> list[str]:
    """Have accounts stop and want to start again, all at once, with a version that was just installed."""
    waiting = names(count)
    for name in waiting:
        world.order(name, Order.STOP)
    world.run(10)
    world.fleet.updated(world.now)
    for name in waiting:
        world.order(name, Order.START)
    return waiting


def test_one_account_tries_a_new_version_and_the_others_follow_when_it_works() -> None:
    world = World(*names(10), spread=0)
    world.run(60)
    then = world.now
    wait_for_turns(world, 8)
    world.run(DIAL / 2)
    assert len(world.started_since(then)) == 1, "two could start at once"
    assert world.news == [newcomer.TRIES]
    world.run(60)
    assert world.states() == {State.CONNECTED}
    assert len(world.started_since(then)) == 8, "each once, and nobody who ran"
    assert world.news == [newcomer.TRIES, newcomer.WORKS]


@pytest.mark.parametrize("kind", [Kind.CRASH, Kind.MACHINE])
def test_a_new_version_that_does_not_work_meets_one_account_at_a_time(kind: Kind) -> None:
    world = World(*names(10), parallel=5, spread=0)
    world.run(60)
    then = world.now
    waiting = wait_for_turns(world, 8)
    world.crashes = kind
    world.run(600)
    starts = [at for at, _ in world.starts if at >= then]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) > NETWORK_PROBE_FIRST
    assert 600 / (NETWORK_PROBE_LAST + DIAL) <= len(starts) <= 10
    assert all(world.accounts[name].state is State.CONNECTED for name in names(10)[8:]), "who ran goes on"
    assert all(f"does not work for a00{n} ({kind})" in world.news[1 + n] for n in range(3)), (
        "each in its turn"
    )
    assert {world.accounts[name].state for name in waiting} <= {State.STARTING, State.BACKOFF}
    world.crashes = None
    world.fleet.updated(world.now)  # the earlier version is back
    world.run(60)
    assert world.news[-2:] == [newcomer.TRIES, newcomer.WORKS]
    world.run(400)
    assert world.states() == {State.CONNECTED}


def test_who_cannot_reach_whatsapp_leaves_the_trial_to_the_next() -> None:
    world = World(*names(6), parallel=5, spread=0, ways={"a000": "http://gone:1", "a001": "http://gone:2"})
    world.dead = {"http://gone:1", "http://gone:2"}
    world.run(60)
    then = world.now
    wait_for_turns(world, 5)
    world.run(4 * DIAL)
    assert world.started_since(then)[:3] == names(3), "one after the other"
    world.run(2 * DIAL)
    assert [world.accounts[name].state for name in names(6)[2:]] == 4 * [State.CONNECTED]
    assert world.news == [newcomer.TRIES, newcomer.WORKS]


@pytest.mark.parametrize("leave", ["stop", "remove", "disable"])
def test_who_goes_away_leaves_the_trial_to_the_next(leave: str) -> None:
    world = World(*names(4), parallel=5, spread=0)
    world.run(60)
    wait_for_turns(world, 3)
    world.run(DIAL / 4)
    match leave:
        case "stop":
            world.order("a000", Order.STOP)
        case "remove":
            world.handle("a000", Removed())
        case _:
            settings = replace(world.accounts["a000"].settings, enabled=False)
            world.handle("a000", Configured(settings))
    world.run(30)
    assert [world.accounts[name].state for name in ("a001", "a002", "a003")] == 3 * [State.CONNECTED]


def test_a_process_that_cannot_be_made_leaves_the_trial_to_the_next() -> None:
    world = World(*names(3), parallel=5, spread=0)
    world.run(60)
    wait_for_turns(world, 2)
    world.run(0)
    world.handle("a000", SpawnFailed("no process", Kind.DUPLICATE))
    world.run(30)
    assert world.accounts["a000"].state is State.FAILED
    assert world.accounts["a001"].state is State.CONNECTED


def test_a_restart_of_all_with_a_new_version_takes_nobody_away_until_it_works() -> None:
    world = World(*names(10), parallel=5, spread=0)
    world.run(60)
    then = world.now
    world.fleet.updated(world.now)
    for name in world.accounts:
        world.order(name, Order.RESTART)
    world.run(STOP + DIAL / 2)
    assert world.started_since(then) == ["a000"]
    assert sum(one.state is State.CONNECTED and not one.stopping for one in world.accounts.values()) == 9
    world.run(60)
    assert sorted(world.started_since(then)) == names(10)
    assert world.states() == {State.CONNECTED}


def test_a_process_that_was_on_its_way_says_nothing_of_a_new_version() -> None:
    world = World(*names(3), parallel=1, spread=0)
    world.run(DIAL / 2)
    assert [name for _, name in world.starts] == ["a000"]
    world.fleet.updated(world.now)
    world.run(DIAL)
    assert world.accounts["a000"].state is State.CONNECTED
    assert world.news == [newcomer.TRIES]
    world.run(30)
    assert world.states() == {State.CONNECTED}
    assert world.news == [newcomer.TRIES, newcomer.WORKS]


def test_an_update_frees_those_who_waited_for_it_one_first() -> None:
    world = World(*names(20), parallel=5, spread=0)
    world.outdated = True
    world.run(60)
    assert world.states() == {State.OUTDATED}
    world.outdated = False
    then = world.now
    world.fleet.updated(world.now)
    world.dispatch()
    world.run(DIAL / 2)
    assert len(world.started_since(then)) == 1
    world.run(60)
    assert world.states() == {State.CONNECTED}


def test_a_new_version_that_whatsapp_refuses_holds_as_ever() -> None:
    world = World(*names(5), parallel=1, spread=0)
    world.run(60)
    wait_for_turns(world, 4)
    world.outdated = True
    world.run(60)
    assert [world.accounts[name].state for name in names(4)] == 4 * [State.OUTDATED]
    assert len(world.starts) == 7, "two of them were refused"
