"""How each kind of fault is made. Every function returns when the fault itself is over."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final, LiteralString, TypeAlias

from benchmarks.chance import Value
from benchmarks.cluster.network import Side, address
from benchmarks.cluster.rig import Rig
from benchmarks.cluster.shard import Shard
from benchmarks.cluster_soak.plan import Strike, account_name
from orchestrator.errors import ExitCode, OrchestratorError

BURST: Final = 5
"""How many messages each account of a shard is written just before the shard is stopped."""

_WATCH: Final[LiteralString] = """
SELECT count(pg_terminate_backend(a.pid)) FROM orchestrator.shard s
  JOIN pg_stat_activity a ON a.application_name = 'orchestrator watch ' || s.incarnation
WHERE s.name = %s
"""
_ALL: Final[LiteralString] = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_addr = %s::inet"
)
_MOVE: Final[LiteralString] = (
    "SELECT orchestrator.lease_move(id, %s) FROM orchestrator.account WHERE name = %s"
)


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """The fault cannot happen now. The message says why."""


class Broken(Exception):  # noqa: N818 - found, and not raised any further
    """Something did what it must not while a fault was made. The message says what."""


Burst: TypeAlias = Callable[[Sequence[str]], None]
"""Has accounts written to, as fast as possible."""


class Faults:
    """Makes faults.

    Args:
        rig: What they befall.
        burst: Has accounts written to.
    """

    def __init__(self, rig: Rig, burst: Burst) -> None:
        self._rig = rig
        self._burst = burst

    def hit(self, strike: Strike) -> frozenset[str]:
        """Return the accounts that a fault would hit now.

        Raises:
            RuntimeError: The database is away.
        """
        if strike.account is not None:
            return frozenset({account_name(strike.account)})
        if not strike.shards:
            return frozenset(self._rig.names)
        held = self._rig.held()
        return frozenset(name for shard in self._shards(strike) for name in held[shard.name])

    def make(self, strike: Strike) -> None:
        """Make a fault, and end it.

        Raises:
            Skipped: It cannot happen now.
            Broken: Something did what it must not.
        """
        with ExitStack() as until:
            until.enter_context(self._during(strike))
            time.sleep(float(strike.values.get("seconds", 0.0)))

    def _shards(self, strike: Strike) -> list[Shard]:
        return [self._rig.shards[number] for number in strike.shards]

    @contextlib.contextmanager
    def _during(self, strike: Strike) -> Iterator[None]:
        with ExitStack() as until:
            if strike.account is not None:
                self._account(strike.kind, account_name(strike.account), strike.values.get("step", 1))
            elif not strike.shards:
                until.enter_context(self._rig.database_away(crash=strike.kind == "database-crash"))
            for shard in self._shards(strike):
                until.enter_context(self._shard(strike.kind, shard))
            yield

    @contextlib.contextmanager
    def _shard(self, kind: str, shard: Shard) -> Iterator[None]:
        rig = self._rig
        during: AbstractContextManager[object]
        if not shard.runs:
            raise Skipped(f"{shard.name} does not run")
        match kind:
            case "kill":
                during = rig.killed(shard)
            case "power-off" | "kill-two":
                during = rig.powered_off(shard)
            case "freeze" | "nap":
                during = rig.frozen(shard)
            case "stop":
                during = self._stopped(shard)
            case "no-database" | "database-blink":
                during = rig.cut_off(shard, Side.DATABASE)
            case "no-whatsapp" | "whatsapp-blink":
                during = rig.cut_off(shard, Side.WHATSAPP)
            case "no-network":
                during = rig.cut_off(shard, *Side)
            case "drain":
                during = rig.drained(shard)
            case "watch-ended":
                during = self._ended(_WATCH, shard.name)
            case "connections-ended":
                during = self._ended(_ALL, address(shard.network.number, Side.DATABASE))
            case _:
                raise AssertionError(kind)
        with during:
            yield

    @contextlib.contextmanager
    def _stopped(self, shard: Shard) -> Iterator[None]:
        self._burst(self._rig.held()[shard.name])
        with self._rig.stopped(shard) as code:
            if code != ExitCode.DONE:
                raise Broken(f"{shard.name} ended by SIGTERM with exit code {code}")
            if left := shard.pids():
                raise Broken(f"{shard.name} has left {len(left)} processes behind")
            yield

    @contextlib.contextmanager
    def _ended(self, query: LiteralString, value: str) -> Iterator[None]:
        if self._rig.rows(query, value) == [(0,)]:
            raise Skipped("there is no such connection")
        yield

    def _account(self, kind: str, name: str, step: Value) -> None:
        rig = self._rig
        try:
            owner = rig.owners().get(name)
            if owner is None:
                raise Skipped(f"nobody has {name}")
            (number,) = (number for number, shard in enumerate(rig.shards) if shard.name == owner)
            if kind == "move":
                other = rig.shards[(number + int(step)) % len(rig.shards)]
                rig.rows(_MOVE, other.name, name)
            elif kind == "kill-process":
                for one in rig.shards[number].about():
                    if one["name"] == name and one["pid"]:
                        os.kill(one["pid"], signal.SIGKILL)
                        return
                raise Skipped(f"{name} has no process")
            else:
                if len(rig.links()[name]) != 1:
                    raise Skipped(f"{name} is not connected")
                rig.sandbox.client.fault(kind, rig.numbers[name])
        except (OrchestratorError, ProcessLookupError, RuntimeError) as error:
            raise Skipped(str(error)) from None
