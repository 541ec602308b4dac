"""The keys of the configuration under ``cluster``: this machine as one of several that share a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from orchestrator.cluster.settings import NAME, NAME_RULE, Cluster
from orchestrator.config import types
from orchestrator.config.problems import KeyPath
from orchestrator.config.section import Section, default_of
from orchestrator.config.types import Type, Unfit, Where
from orchestrator.config.yaml_tree import Scalar

PATH: KeyPath = ("cluster",)
"""Where the section stands."""


@dataclass(frozen=True, slots=True)
class ShardName(Type[str]):
    """The name of a shard."""

    @property
    def expected(self) -> str:
        """See `Type.expected`."""
        return f"a name: {NAME_RULE}"

    def read(self, value: Scalar, where: Where) -> str:
        """See `Type.read`."""
        del where
        if value.type != "text" or NAME.fullmatch(value.text) is None:
            raise Unfit(self.expected)
        return value.text


class FailoverSection(Section):
    """How accounts start that ran elsewhere a moment ago."""

    place = "under cluster.failover"

    parallel: Annotated[int, types.Integer(1, 1000)] = Field(
        default=default_of(Cluster, "failover_parallel"),
        description="How many accounts may be starting or connecting at once that ran on another machine, or"
        " were connected before an outage of the database. They have been online until a moment ago, so this"
        " is more than start.parallel.",
    )
    spread: Annotated[float, types.Duration(0, 3600)] = Field(
        default=default_of(Cluster, "failover_spread"),
        description="Each of these starts is put off at random by up to this long.",
    )


class ClusterSection(Section):
    """This machine as one of several."""

    place = "under cluster"

    shard: Annotated[str | None, types.OrNull(ShardName())] = Field(
        default=default_of(Cluster, "shard"),
        description="The name of this machine in the cluster, which no other machine has. null: the host's"
        " name, so that all machines can have the same file. Another name needs a restart of the service.",
        examples=["host-a"],
    )
    capacity: Annotated[int, types.Integer(1, 100_000)] = Field(
        default=default_of(Cluster, "capacity"),
        description="How many accounts this machine takes at the most, also when other machines are lost. An"
        " account needs 15 to 30 MB.",
    )
    failover: FailoverSection = Field(
        default=FailoverSection(),
        description="How accounts start here that ran on another machine a moment ago, or before an outage of"
        " the database.",
    )


def settings(
    section: ClusterSection | None, *, has_store: bool, report: Callable[[KeyPath, str], None]
) -> Cluster | None:
    """Return what a section says, None without one; report that there is no database to share."""
    if section is None:
        return None
    if not has_store:
        report(PATH, "expected the key store as well: the machines of a cluster share a database")
    return Cluster(section.shard, section.capacity, section.failover.parallel, section.failover.spread)
