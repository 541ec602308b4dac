from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster import share
from orchestrator.cluster.board import Board, Peer, Report
from orchestrator.cluster.deadlines import GATHER_SECONDS, PATIENCE_SECONDS, SILENT_SECONDS

LONG = 1000.0
"""Seconds that a shard has had its lease."""


@pytest.mark.parametrize(
    ("total", "capacities", "level"),
    [
        (12, [100, 100, 100], 4),
        (10, [100, 100, 100], 4),
        (0, [100, 100], 0),
        (100, [10, 100, 100], 45),
        (100, [10, 20], 20),
        (5, [], 0),
    ],
    ids=["even", "rounded up", "nothing", "one is small", "not enough room", "nobody"],
)
def test_accounts_are_shared_evenly_as_far_as_there_is_room(
    total: int, capacities: list[int], level: int
) -> None:
    assert share.level(total, capacities) == level


@given(st.integers(0, 300), st.lists(st.integers(0, 80), min_size=1, max_size=6))
def test_the_level_is_the_lowest_that_gives_all_accounts_a_place(total: int, capacities: list[int]) -> None:
    level = share.level(total, capacities)
    room = sum(min(level, capacity) for capacity in capacities)
    if sum(capacities) >= total:
        assert room >= total
        assert level == 0 or sum(min(level - 1, capacity) for capacity in capacities) < total
    else:
        assert room == sum(capacities)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.booleans()), min_size=1, max_size=5),
    st.integers(0, 60),
)
def test_together_the_shards_claim_what_is_free_and_nobody_more_than_his_room(
    shards: list[tuple[int, int, bool]], free: int
) -> None:
    peers = tuple(
        Peer(f"s{index}", held, max(held, capacity), Report(willing=willing))
        for index, (held, capacity, willing) in enumerate(shards)
    )
    board = Board(peers, free=free)
    claims = [share.to_claim(board, peer, LONG) for peer in peers]
    for peer, claim in zip(peers, claims, strict=True):
        assert 0 <= claim <= peer.room
    assert sum(claims) >= min(free, sum(peer.room for peer in peers) if len(peers) == 1 else 0)
    impatient = replace(board, free_seconds=PATIENCE_SECONDS + 1)
    claims = [share.to_claim(impatient, peer, LONG) for peer in peers]
    assert sum(claims) >= min(free, sum(peer.room for peer in peers))


def test_what_is_handed_to_a_shard_does_not_wait_for_its_fair_share() -> None:
    me = Peer("me", 10, 12)
    board = Board((me, Peer("you", 2, 100)), reserved=3)
    assert share.to_claim(board, me, 0.0) == 2, "three are meant for it, and it has room for two"


def test_who_is_unwilling_claims_nothing_and_gets_nothing() -> None:
    me = Peer("me", 5, 100, Report(willing=False))
    board = Board((me, Peer("you", 50, 100)), free=7, reserved=2, free_seconds=100)
    assert share.to_claim(board, me, LONG) == 0
    assert share.emptiest(board, "you") is None


def test_who_has_just_come_waits_for_others_and_does_not_know_how_long_they_were_away() -> None:
    alone = Board((Peer("me", 0, 100),), free=60, free_seconds=LONG)
    me, you = Peer("me", 0, 100), Peer("you", 0, 100)
    assert share.to_claim(alone, me, GATHER_SECONDS - 0.1) == 0
    assert share.to_claim(alone, me, GATHER_SECONDS) == 60
    both = replace(alone, peers=(me, you))
    assert share.to_claim(both, me, GATHER_SECONDS) == 30
    assert share.to_claim(both, me, PATIENCE_SECONDS) == 30
    assert share.to_claim(both, me, PATIENCE_SECONDS + 0.1) == 60


BUSY, EMPTY = Peer("busy", 10, 100), Peer("empty", 0, 100)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6))
def test_handing_on_comes_to_an_end_and_leaves_shards_that_hardly_differ(held: list[int]) -> None:
    peers = [Peer(f"s{index}", count, 100) for index, count in enumerate(held)]
    for _ in range(sum(held) + 1):
        board = Board(tuple(peers))
        moves = [(peer, target) for peer in peers if (target := share.has_too_many(board, peer))]
        if not moves:
            break
        giver, taker = moves[0]
        assert giver.held - taker.held >= 2
        for peer, change in ((giver, -1), (taker, 1)):
            index = peers.index(peer)
            peers[index] = replace(peer, held=peer.held + change)
    else:
        raise AssertionError("accounts wander for ever")
    assert max(peer.held for peer in peers) <= -(-sum(held) // len(held))


@pytest.mark.parametrize(
    "board",
    [
        Board((BUSY, EMPTY), free=1),
        Board((BUSY, replace(EMPTY, report=Report(failing_over=True)))),
        Board((BUSY, EMPTY, replace(EMPTY, name="lost", age=SILENT_SECONDS + 1))),
    ],
    ids=["one has no owner", "one fails over", "one is silent"],
)
def test_nobody_hands_accounts_on_while_others_are_in_need(board: Board) -> None:
    assert share.has_too_many(Board((BUSY, EMPTY)), BUSY) == EMPTY
    assert share.has_too_many(board, BUSY) is None


def test_nobody_hands_an_account_to_a_shard_that_is_silent() -> None:
    assert share.emptiest(Board((BUSY, replace(EMPTY, age=SILENT_SECONDS + 1))), "busy") is None
