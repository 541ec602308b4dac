"""What is known of the fleet as a whole, while accounts start, lose the network and are refused."""

from __future__ import annotations

from support.world import World

from orchestrator.accounts.breaker import NETWORK_PROBE_LAST
from orchestrator.accounts.events import Order
from orchestrator.accounts.fleet_facts import FleetFacts, WayFacts
from orchestrator.accounts.proxy import Proxy
from orchestrator.accounts.states import State

PROXY = "socks5://joe:hunter2@proxy.example:1080"
SAME = "socks5://ann:other@proxy.example:1080"


def names(count: int) -> list[str]:
    return [f"a{number:03}" for number in range(count)]


def facts(world: World) -> FleetFacts:
    return world.fleet.facts(world.now)


def ways(world: World) -> dict[str, WayFacts]:
    return {way.name: way for way in facts(world).ways}


def test_a_fleet_that_works() -> None:
    world = World(*names(10), spread=0.0)
    assert facts(world).queued == 8
    assert facts(world).dialing == 2
    assert ways(world)["direct"].works == "unknown", "nobody is connected yet"
    world.run(60)
    found = facts(world)
    assert (found.queued, found.dialing, found.parallel, found.outdated) == (0, 0, 2, 0)
    assert not found.version.is_holding
    (way,) = found.ways
    assert (way.name, way.works, way.probing.is_holding) == ("direct", "works", False)
    assert set(way.members.values()) == {"connected"}


def test_ways_are_told_apart_without_passwords() -> None:
    world = World("a", "b", "c", ways={"a": PROXY, "b": SAME})
    world.run(30)
    found = ways(world)
    assert sorted(found) == ["direct", "socks5://proxy.example:1080"]
    assert set(found["socks5://proxy.example:1080"].members) == {"a", "b"}
    assert "hunter2" not in repr(found)
    world = World("a", outside=Proxy("http", "gate.example", 3128, b"joe", b"hunter2"))
    world.run(30)
    assert list(ways(world)) == ["environment's proxy http://gate.example:3128"]


def test_a_way_that_is_lost_says_who_probes_and_when() -> None:
    world = World(*names(10))
    world.run(60)
    world.cut()
    world.run(300)
    way = ways(world)["direct"]
    assert way.works == "lost"
    assert way.probing.is_holding
    probing = way.probing
    assert (probing.probe_at is None) != (probing.canary is None), "either somebody probes, or soon will"
    waits = [name for name, how in way.members.items() if how == "waiting"]
    assert len(waits) >= 9
    world.up = True
    world.run(2 * NETWORK_PROBE_LAST)
    assert ways(world)["direct"].works == "works"


def test_a_version_that_is_refused() -> None:
    world = World(*names(5))
    world.run(60)
    world.outdated = True
    for name in names(5):
        world.order(name, Order.RESTART)
    world.run(60)
    found = facts(world)
    assert found.version.is_holding
    assert found.version.probe_at is not None
    assert found.outdated == sum(one.state is State.OUTDATED for one in world.accounts.values()) >= 2


def test_a_stopped_account_has_its_way_and_waits_for_nothing() -> None:
    world = World("a", "b")
    world.run(30)
    world.order("a", Order.STOP)
    world.run(10)
    assert dict(ways(world)["direct"].members) == {"a": "", "b": "connected"}


def test_maintenance_is_told_with_who_waits() -> None:
    world = World(*names(5), spread=0.0)
    world.fleet.maintenance.since = 17.0
    world.dispatch()
    found = facts(world)
    assert (found.maintenance_since, found.waiting, found.queued) == (17.0, 3, 0)
    assert sorted(ways(world)["direct"].members.values()) == ["", "", "waiting", "waiting", "waiting"]
