"""Thousands of bad days of a cluster, and what holds on each of them."""

from __future__ import annotations

import random

import pytest
from support.cluster_world import World

from orchestrator.cluster import deadlines

DAYS = 100


def bad_day(seed: int) -> World:
    """Live through ten minutes in which everything goes wrong that can."""
    world = World(seed, shards=random.Random(seed).choice((2, 3, 4)), accounts=9)
    chance = random.Random(-seed)
    world.run(30)
    for _ in range(chance.randint(2, 8)):
        names = [node.name for node in world.alive()]
        name = chance.choice(sorted(world.nodes))
        match chance.randrange(12):
            case 0 if len(names) > 1 and world.nodes[name].on:
                world.power_off(name)
            case 1 if len(names) > 1 and world.nodes[name].on:
                world.terminate(name)
            case 2 | 3:
                world.freeze(name, chance.uniform(1, 40))
            case 4:
                world.freeze(name, chance.uniform(1, 40), clock=False)
            case 5:
                world.nodes[name].database = False
            case 6:
                world.cut_whatsapp(name)
            case 7:
                world.up = False
            case 8:
                world.loses_answers = chance.uniform(0, 0.6)
            case 9 if not world.nodes[name].on:
                world.add(name)
            case 10:
                world.database.skew += chance.uniform(-15, 15)
            case 11:
                world.heal()
        world.run(chance.uniform(0, 45))
    world.heal()
    world.run(45)  # what is frozen still, or is about to leave
    if not world.alive():
        world.add("s0")
    return world


@pytest.mark.parametrize("first", range(0, 20 * DAYS, DAYS))
def test_nothing_is_owned_twice_and_all_come_back(first: int) -> None:
    for seed in range(first, first + DAYS):
        world = bad_day(seed)
        assert world.wrong == [], seed
        healed_at = world.now
        while world.missing():
            world.run(1)
            assert world.now - healed_at <= 60, seed
        assert world.wrong == [], seed


@pytest.mark.parametrize("seed", range(20))
def test_who_is_back_first_after_an_outage_does_not_take_all_accounts(seed: int) -> None:
    world = World(seed)
    world.run(60.0)
    world.up = False
    world.run(30.0)
    world.up = True
    world.run(2 * deadlines.GATHER_SECONDS + 2.0)  # the last comes when the first one claims
    owned = [sum(world.database.owner(one) == name for one in world.accounts) for name in world.nodes]
    assert sum(owned) == len(world.accounts)
    assert max(owned) - min(owned) <= 1, owned
    world.run(10.0)
    assert not world.missing()
    assert not world.wrong
