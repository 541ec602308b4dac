"""What doctor says of the machines of a cluster."""

from __future__ import annotations

import pytest

from orchestrator.cluster.board import Peer
from orchestrator.postgres.leases import ClusterSeen, ShardSeen
from orchestrator.service.doctor.checks import cluster

NAMES = [f"a{number}" for number in range(4)]


def seen(
    *capacities: int,
    age: float = 1.0,
    drained: tuple[str, ...] = (),
    waiting: dict[str, float] | None = None,
    versions: tuple[str, ...] = (),
) -> ClusterSeen:
    shards = tuple(
        ShardSeen(Peer(f"m{i}", 1, capacity, age=age), f"m{i}", versions[i] if versions else "1")
        for i, capacity in enumerate(capacities)
    )
    return ClusterSeen(shards, drained, dict.fromkeys(NAMES, "m0"), waiting or {})


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (seen(2, 2, 2), "OK", "3 machines, 6 places for 4 accounts"),
        (seen(4, 4), "OK", "2 machines, 8 places for 4 accounts"),
        (seen(), "WARN", "no machine of the cluster runs"),
        (seen(9), "WARN", "only one machine runs"),
        (seen(1, 2), "FAIL", "take 3 accounts, and 4 are enabled"),
        (seen(2, 3), "WARN", "do not have room for the accounts of one that is lost"),
        (seen(4, 4, drained=("m1",)), "WARN", "do not have room for the accounts of one that is lost"),
        (seen(4, 4, 4, drained=("m1",)), "WARN", "drained machines take no accounts: m1"),
        (seen(4, 4, age=7.0), "WARN", "silent for up to 7 s: m0, m1"),
        (
            seen(4, 4, waiting={"a1": 61.0, "other": 99.0, "a2": 3.0}),
            "FAIL",
            "1 account without a machine: a1",
        ),
        (seen(4, 4, versions=("1", "2")), "WARN", "2 versions: 1, 2"),
    ],
)
def test_what_follows(found: ClusterSeen, status: str, said: str) -> None:
    first = next(iter(cluster.judge(found, NAMES)))
    assert (first.status, said in first.text) == (status, True), first


def test_accounts_of_the_configuration_count_while_no_machine_knows_any() -> None:
    nothing = ClusterSeen(seen(3, 3).shards, (), {}, {})
    assert next(iter(cluster.judge(nothing, NAMES))).text.startswith("the other machines do not have room")
