"""The machine of a shard, one thing at a time; `test_bad_days` has them all together."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from support.cluster_world import LINK_LOST, World

from orchestrator.cluster import deadlines
from orchestrator.cluster.actions import Adopt, Claim, Drop, Extend, Fence, How, Own, Release, Renew
from orchestrator.cluster.board import Board, Condition, Holding, Peer, Report
from orchestrator.cluster.events import (
    Claimed,
    Doubted,
    Fenced,
    Gone,
    Granted,
    Hinted,
    HungUp,
    Refused,
    Seen,
    Taken,
    Ticked,
    Unanswered,
)
from orchestrator.cluster.machine import HELD_BY, LOST, SILENT, Limits, Shard

A = Holding("a_1", 1, "one", urgent=True)
ME, YOU = Peer("me", 1, 10), Peer("you", 1, 10)


class Harness:
    """A shard at a moment."""

    def __init__(self) -> None:
        counter = itertools.count()
        self.shard = Shard(Limits("me", 2), lambda: f"start-{next(counter)}")
        self.now = 100.0

    def feed(self, *events: object) -> list[object]:
        actions: list[object] = []
        for event in events:
            actions += self.shard.handle(event, self.now)  # type: ignore[arg-type]
        return actions

    def granted(self, *mine: Holding, begun: float | None = None, **board: object) -> list[object]:
        incarnation = self.shard.lease.incarnation or "start-0"
        peers = board.pop("peers", (replace(ME, held=len(mine)), YOU))
        seen = Board(peers, tuple(mine), **board)  # type: ignore[arg-type]
        return self.feed(Granted(incarnation, self.now if begun is None else begun, seen))

    def running(self) -> Harness:
        """Let an account run."""
        self.feed(Ticked())
        self.granted(A)
        self.feed(Fenced("a_1", 1))
        return self


def kinds(actions: list[object], *types: type) -> list[object]:
    return [action for action in actions if isinstance(action, types)]


def test_an_account_runs_only_when_others_are_shut_out() -> None:
    shard = Harness()
    shard.feed(Ticked())
    shard.granted(free=1)
    assert not kinds(shard.feed(Claimed((A,))), Adopt)
    assert kinds(shard.feed(Fenced("a_1", 1, done=False)), Fence, Adopt) == []
    shard.now += deadlines.RETRY_SECONDS
    assert kinds(shard.feed(Ticked()), Fence) == [Fence("a_1", 1)]
    assert kinds(shard.feed(Fenced("a_1", 1)), Adopt) == [Adopt("a_1", "one", True)]


def test_a_claim_without_an_answer_shows_in_the_next_renewal() -> None:
    shard = Harness()
    shard.feed(Ticked())
    assert not kinds(shard.granted(free=1), Claim), "others may come that it is for"
    assert shard.shard.wakes_at(shard.now) == shard.now + deadlines.RENEW_SECONDS
    shard.now += deadlines.RENEW_SECONDS
    shard.feed(Ticked())
    shard.granted(free=1)
    shard.now += deadlines.RENEW_SECONDS
    shard.feed(Ticked())
    shard.granted(free=1)
    assert shard.shard.wakes_at(shard.now) == 100.0 + deadlines.GATHER_SECONDS
    shard.now = 100.0 + deadlines.GATHER_SECONDS
    shard.feed(Ticked())
    assert kinds(shard.granted(free=1), Claim)
    shard.feed(Unanswered())
    shard.now += 2.0
    shard.feed(Ticked())
    assert kinds(shard.granted(A), Fence) == [Fence("a_1", 1)]


def test_processes_may_go_on_until_ten_seconds_after_a_renewal_was_begun() -> None:
    shard = Harness().running()
    shard.now += 3.0
    assert Extend(111.0) in shard.granted(A, begun=101.0)


def test_without_a_renewal_all_processes_are_killed_after_eight_seconds_and_come_back_with_the_next() -> None:
    shard = Harness().running()
    shard.now += deadlines.KILL_SECONDS - 0.1
    assert not kinds(shard.feed(Unanswered()), Drop)
    wake = shard.shard.wakes_at(shard.now)
    assert wake is not None
    assert wake <= 100.0 + deadlines.KILL_SECONDS
    shard.now += 0.1
    actions = shard.feed(Ticked())
    assert kinds(actions, Drop) == [Drop("a_1", How.CUT)]
    assert SILENT in str(actions)
    assert not kinds(shard.granted(A), Adopt), "its process is not gone yet"
    assert kinds(shard.feed(Gone("a_1")), Adopt, Fence) == [Adopt("a_1", "one", True)]


def test_an_answer_that_was_on_its_way_for_too_long_is_worth_nothing() -> None:
    shard = Harness().running()
    shard.now += deadlines.KILL_SECONDS + 1
    assert kinds(shard.granted(A, begun=shard.now - deadlines.KILL_SECONDS), Drop, Extend) == [
        Drop("a_1", How.CUT)
    ]


def test_a_lease_that_has_ended_never_comes_back() -> None:
    shard = Harness().running()
    actions = shard.feed(Refused())
    assert kinds(actions, Drop) == [Drop("a_1", How.KILL)]
    assert LOST in str(actions)
    assert "start-1" in str(actions)
    assert shard.shard.lease.incarnation is None


def test_an_account_in_another_epoch_was_elsewhere_and_gets_a_new_process() -> None:
    shard = Harness().running()
    shard.now += 2.0
    actions = shard.granted(replace(A, epoch=3))
    assert kinds(actions, Drop, Fence) == [Drop("a_1", How.KILL), Fence("a_1", 3)]
    assert not kinds(shard.feed(Fenced("a_1", 3)), Adopt)
    assert not kinds(shard.feed(Fenced("a_1", 1)), Adopt), "an answer of the epoch before"
    assert kinds(shard.feed(Gone("a_1")), Adopt)


def test_a_replaced_account_asks_the_database() -> None:
    shard = Harness().running()
    shard.now += 0.5
    assert kinds(shard.feed(Doubted("a_1")), Renew)
    assert kinds(shard.granted(A), Own) == [Own("a_1")]
    shard.feed(Doubted("a_1"))
    shard.now += 1.0
    actions = shard.granted()
    assert kinds(actions, Own, Drop) == [Drop("a_1", How.KILL)]


def test_an_answer_that_was_begun_before_the_doubt_settles_nothing() -> None:
    shard = Harness().running()
    shard.now += 2.0
    shard.feed(Ticked())
    shard.now += 0.5
    shard.feed(Doubted("a_1"))
    assert kinds(shard.granted(A, begun=102.0), Own) == []


def test_the_end_of_the_watched_connection_stops_everything_until_the_database_has_spoken() -> None:
    shard = Harness().running()
    shard.now += 0.5
    actions = shard.feed(HungUp())
    assert kinds(actions, Drop) == [Drop("a_1", How.CUT)]
    assert kinds(actions, Renew)
    shard.feed(Gone("a_1"))
    assert kinds(shard.granted(A), Adopt)


def test_hints_do_not_make_a_shard_ask_without_end() -> None:
    shard = Harness().running()
    shard.now += 1.0
    asked = 0
    for _ in range(100):
        asked += len(kinds(shard.feed(Hinted()), Renew))
        if asked:
            shard.granted(A)
    assert asked == 1


def test_another_process_of_the_same_name_is_told_and_nothing_runs() -> None:
    shard = Harness()
    shard.feed(Ticked())
    actions = shard.feed(Taken("elsewhere"))
    assert HELD_BY.format(name="me", host="elsewhere") in str(actions)
    assert shard.shard.wakes_at(shard.now) == shard.now + deadlines.TAKEN_SECONDS


def test_a_service_without_a_cluster_is_told_and_not_taken_for_a_shard_of_the_same_name() -> None:
    shard = Harness()
    shard.feed(Ticked())
    said = str(shard.feed(Taken("elsewhere", "the service")))
    assert "a process on elsewhere has all accounts of the database (the service)" in said
    assert "add `cluster:`" in said
    assert "another name" not in said


def test_a_database_that_refuses_at_once_is_not_asked_in_a_loop() -> None:
    shard = Harness().running()
    asked = 0
    for _ in range(40):
        shard.now += 0.1
        actions = shard.feed(Ticked())
        if kinds(actions, Renew):
            asked += 1
            shard.feed(Unanswered())
    assert 1 <= asked <= 3


@pytest.mark.parametrize("code", [False, True], ids=["idle", "shows a code"])
def test_too_many_accounts_are_handed_on_one_at_a_time_and_none_that_shows_a_code(code: bool) -> None:
    shard = Harness()
    shard.feed(Ticked())
    mine = [Holding(f"a_{number}", 1, str(number)) for number in range(6)]
    peers = (Peer("me", 6, 10), Peer("you", 0, 10))
    shard.granted(*mine, peers=peers)
    for holding in mine:
        shard.feed(Fenced(holding.account, 1))
    for holding in mine:
        shard.feed(Seen(holding.account, Condition.CODE if code else Condition.CONNECTED))
    shard.now += 2.0
    shard.feed(Ticked())
    drops = kinds(shard.granted(*mine, peers=peers), Drop)
    if code:
        assert drops == []
        return
    assert len(drops) == 1
    account = drops[0].account  # type: ignore[attr-defined]
    released = kinds(shard.feed(Gone(account)), Release)
    assert [parcel.target for parcel in released[0].parcels] == ["you"]  # type: ignore[attr-defined]
    shard.now += 1.0
    assert not kinds(shard.granted(*mine, peers=peers), Drop), "the next one follows later"


def test_an_account_that_is_not_configured_here_goes_back() -> None:
    shard = Harness().running()
    (release,) = kinds(shard.feed(Gone("a_1")), Release)
    assert [parcel.target for parcel in release.parcels] == [None]  # type: ignore[attr-defined]


def settled(**of: int) -> World:
    """Return a cluster in which everything runs."""
    world = World(1, **of)
    world.run(60)
    assert world.missing() == []
    return world


def held(world: World) -> dict[str, int]:
    return {name: len(node.processes) for name, node in world.nodes.items()}


def test_a_drained_shard_hands_all_on_and_takes_none() -> None:
    world = settled()
    world.database.drained.add("s0")
    world.run(30)
    assert world.missing() == [] == world.wrong
    assert held(world)["s0"] == 0
    world.power_off("s1")
    world.run(30)
    assert held(world)["s0"] == 0
    assert world.missing() == []


def test_a_drained_shard_keeps_what_nobody_has_room_for() -> None:
    world = settled(capacity=5)
    world.database.drained.add("s0")
    world.run(60)
    assert world.missing() == []
    assert held(world) == {"s0": 2, "s1": 5, "s2": 5}


def test_an_account_moves_where_an_operator_wants_it() -> None:
    world = settled()
    for account in world.accounts:
        world.database.leases[account].target = "s2"
    world.run(40)
    assert world.missing() == [] == world.wrong
    assert held(world)["s2"] == len(world.accounts)


def test_a_new_shard_gets_its_share() -> None:
    world = settled()
    world.add("s3")
    world.run(90)
    assert world.missing() == [] == world.wrong
    assert max(held(world).values()) - min(held(world).values()) <= 2


def test_a_shard_that_leaves_hands_over_in_good_order() -> None:
    world = settled()
    world.terminate("s0")
    world.run(10)
    assert world.missing() == [] == world.wrong
    assert "s0" not in world.database.shards
    assert not world.nodes["s0"].on


def test_a_shard_that_alone_lost_whatsapp_hands_all_on_and_takes_them_again_later() -> None:
    world = settled()
    world.cut_whatsapp("s0")
    world.run(130)
    assert world.missing() == [] == world.wrong
    assert held(world)["s0"] == 0
    world.nodes["s0"].whatsapp = True
    world.run(240)
    assert world.missing() == []
    assert held(world)["s0"] > 0


def test_a_shard_without_whatsapp_is_not_given_the_accounts_of_a_lost_one() -> None:
    world = settled()
    world.cut_whatsapp("s0")
    world.run(LINK_LOST + 5)
    before = set(world.nodes["s0"].processes)
    world.power_off("s1")
    world.run(30)
    assert set(world.nodes["s0"].processes) <= before
    assert set(world.missing()) <= before


def test_nobody_hands_on_anything_when_no_shard_reaches_whatsapp() -> None:
    world = settled()
    before = {account: world.database.leases[account].epoch for account in world.accounts}
    for name in world.nodes:
        world.cut_whatsapp(name)
    world.run(300)
    assert {account: world.database.leases[account].epoch for account in world.accounts} == before


def test_a_lost_machine_is_made_up_for_in_time() -> None:
    for seed in range(40):
        world = World(seed, accounts=30)
        world.run(60)
        world.power_off("s0")
        lost_at = world.now
        while world.missing():
            world.run(0.5)
            assert world.now - lost_at <= 30, seed


def test_processes_of_a_killed_service_are_gone_before_their_accounts_run_elsewhere() -> None:
    world = settled()
    world.kill_service("s0")
    world.run(30)
    assert world.missing() == [] == world.wrong
    assert not world.taken, "nobody's link was taken from him"


def test_peers_without_a_word_take_nothing() -> None:
    assert Peer("s", 0, 10, Report(willing=False)).room == 0
    assert Peer("s", 12, 10).room == 0


def test_the_numbers_of_a_shard() -> None:
    shard = Harness()
    assert shard.shard.figures(shard.now).lease_age is None
    shard.feed(Ticked())
    shard.granted(free=3, free_seconds=4.0, peers=(ME, replace(YOU, coming=2)))
    shard.feed(Claimed((A, Holding("a_2", 1))))
    shard.now += 1.0
    found = shard.shard.figures(shard.now)
    assert (found.shard, found.lease_age, found.accounts, found.shards) == ("me", 1.0, 2, 2)
    assert (found.waiting, found.waiting_seconds) == (5, 4.0)
    assert (found.claimed, found.taken_over) == (2, 1), "one of them ran elsewhere until then"
    shard.now += deadlines.RENEW_SECONDS
    shard.feed(Ticked(), Unanswered())
    shard.now += deadlines.RETRY_SECONDS
    shard.feed(Ticked(), Refused())
    found = shard.shard.figures(shard.now)
    assert (found.renewals_missed, found.leases_lost, found.accounts, found.lease_age) == (1, 1, 0, None)
    assert found.as_json(7)["capacity"] == 7
