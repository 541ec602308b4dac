"""Whether the machines of a cluster have room for all accounts, and for those of one that is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from orchestrator.accounts.durations import words
from orchestrator.accounts.words import counted
from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context

if TYPE_CHECKING:
    from orchestrator.postgres.leases import ClusterSeen

SHOWN = 10
"""How many names a finding has."""
WAIT_SECONDS = 60.0
"""For how long an account may have no machine: after a machine was lost, it has one within half a minute."""


def find(context: Context) -> Iterator[Finding]:
    """Look at the machines, if this one is part of a cluster."""
    settings = context.settings.or_none()
    if settings is None or settings.cluster is None or settings.store is None:
        return
    from orchestrator.postgres import leases

    enabled = {name for name, account in settings.accounts.items() if account.enabled}
    yield from judge(context.in_database(leases.look), enabled)


def judge(seen: ClusterSeen, enabled: Collection[str]) -> Iterator[Finding]:
    """Say what follows from how the cluster is.

    Args:
        seen: The machines and what they run.
        enabled: The accounts that the configuration of this machine enables.
    """
    if not seen.shards:
        yield warn("no machine of the cluster runs", "start the service on each machine")
        return
    peers = [shard.peer for shard in seen.shards]
    needed = sum(name in enabled for name in seen.owners) or len(enabled)
    room = sum(peer.capacity for peer in peers if peer.name not in seen.drained)
    largest = max(min(peer.capacity, needed) for peer in peers)
    if room < needed:
        yield fail(
            f"the machines take {room} accounts, and {needed} are enabled",
            "raise `cluster.capacity` where there is memory, or start another machine",
        )
    elif len(peers) == 1:
        yield warn("only one machine runs: nobody takes its accounts over", "start another machine")
    elif room - largest < needed:
        yield warn(
            f"the other machines do not have room for the accounts of one that is lost: {room} places in all,"
            f" {counted(needed, 'account')}",
            "raise `cluster.capacity` where there is memory, or start another machine",
        )
    if silent := [peer for peer in peers if peer.is_silent]:
        longest = words(round(max(peer.age for peer in silent)))
        yield warn(
            f"machines are silent for up to {longest}: {_named([peer.name for peer in silent])}",
            "look at the log there: a machine that cannot reach the database loses its accounts to others",
        )
    if late := sorted(name for name, wait in seen.waiting.items() if name in enabled and wait > WAIT_SECONDS):
        yield fail(
            f"{counted(len(late), 'account')} without a machine: {_named(late)}",
            "see that a machine has room, and them in its configuration: `orchestrator cluster status`",
        )
    if len(versions := {shard.version for shard in seen.shards}) > 1:
        yield warn(
            f"the machines run {len(versions)} versions: {_named(sorted(versions))}",
            "restart those with the older version, one after the other",
        )
    if seen.drained:
        yield warn(
            f"drained machines take no accounts: {_named(list(seen.drained))}",
            "when the maintenance is over: `orchestrator cluster drain NAME --undo`",
        )
    yield ok(f"{counted(len(peers), 'machine')}, {room} places for {counted(needed, 'account')}")


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


CHECK = Check("cluster", "cluster", "Whether the machines of `cluster:` have room for all accounts.", find)
