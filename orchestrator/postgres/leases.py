"""The leases of shards: what the machine of a shard asks the database, and how the database answers.

The database's functions (`leases.sql`) keep the rows: they see that the one who asks has a good lease, by its
incarnation and by the role that has made it. What anybody notifies is a hint to look, and says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from orchestrator.accounts.refusal import Refusal, Word
from orchestrator.cluster.actions import Claim, Leave, Question, Register, Release, Renew
from orchestrator.cluster.board import Board, Holding, Peer, Report
from orchestrator.cluster.deadlines import QUESTION_SECONDS
from orchestrator.cluster.events import Claimed, Event, Granted, Left, Refused, Released, Taken
from orchestrator.errors import Disowned
from orchestrator.postgres import ids, refusals, roles
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.refusals import RefusalSeen

Json: TypeAlias = Any
"""What a function of the database returns."""
CHANNEL: Final = "orchestrator_lease"
"""Where a hint is given that something has changed."""
WATCH: Final = "orchestrator watch {incarnation}"
"""The name of the connection that a takeover ends."""
NOT_OURS: Final = "the account belongs to another machine of the cluster by now"


@dataclass(frozen=True, slots=True)
class Me:
    """A shard, as it presents itself.

    Attributes:
        name: Its name.
        host: Where it runs, for people.
        version: Of this program.
        capacity: How many accounts it takes.
    """

    name: str
    host: str
    version: str
    capacity: int


class Leases:
    """The leases, for one shard.

    Args:
        database: The database.
        me: The shard.

    Attributes:
        me: The shard; a new configuration may change it.
        incarnation: The shard's present lease, None while it has none.
        configured: The accounts of the configuration that are to be made known to the cluster; empty once
            they are.
        unknown: Accounts that the configuration of this shard does not have, so that it claims none of them.
    """

    def __init__(self, database: Database, me: Me) -> None:
        self._database = database
        self._attempts = itertools.count(1)
        self.me = me
        self.incarnation: str | None = None
        self.configured: tuple[str, ...] = ()
        self.unknown: set[str] = set()

    def ask(self, question: Question, begun: float) -> Event:
        """Ask the database on behalf of the shard's machine; takes at most some seconds.

        Args:
            question: What.
            begun: The time now, by the clock of the machine.

        Returns:
            The database's answer.

        Raises:
            StoreAway: There was none. What was asked may have been done.
            StoreUnusable: The database refuses the question.
        """
        configured = self.configured
        if configured and isinstance(question, Register | Renew):
            self._database.run(lambda connection: ids.make_known(connection, configured))
            if self.configured is configured:  # a reload may have come meanwhile
                self.configured = ()
        answer = self._database.run(
            lambda connection: self._answer(connection, question), patience=QUESTION_SECONDS
        )
        match question, answer:
            case (Register(), {"taken": host, "alone": alone}):
                return Taken(str(host), alone)
            case (_, None | False):
                return Refused()
            case (Register(incarnation) | Renew(incarnation), _):
                return Granted(incarnation, begun, _board(answer))
            case (Claim(), _):
                return Claimed(tuple(_holding(row) for row in answer))
            case (Release(), _):
                return Released(tuple(answer))
            case (Leave(), _):
                return Left()

    def _answer(self, connection: Connection, question: Question) -> Json:
        match question:
            case Register(incarnation, report):
                me = self.me
                answer = _call(
                    connection, "lease_register", me.name, incarnation, me.host, me.version, me.capacity,
                    report.connected, report.willing, report.failing_over,
                )  # fmt: skip
                if isinstance(answer, dict) and "taken" in answer:
                    answer["alone"] = _alone(connection)
                return answer
            case Renew(incarnation, report):
                return _call(
                    connection, "lease_renew", incarnation, self.me.capacity,
                    report.connected, report.willing, report.failing_over,
                )  # fmt: skip
            case Claim(incarnation, count):
                return _call(connection, "lease_claim", incarnation, count, sorted(self.unknown))
            case Release(incarnation, parcels):
                columns = zip(*((p.account, p.epoch, p.target) for p in parcels), strict=True)
                return _call(connection, "lease_release", incarnation, *map(list, columns))
            case Leave(incarnation):
                return _call(connection, "lease_leave", incarnation)

    def fence(self, incarnation: str, account: str, epoch: int) -> bool:
        """Shut everybody out of an account's session; takes a moment.

        First nobody can log in as the account any more, then its connections are ended and seen to be gone.
        The account is locked in the meantime, so that a shard that comes late ends no connection of the new
        owner.

        Returns:
            Whether that is done; if not, the account is not this shard's in that epoch.

        Raises:
            StoreAway: The database is away, or a connection did not end in time. Another try may do.
            StoreUnusable: The database refuses that.
        """
        attempt = self._next_attempt()

        def lock(connection: Connection) -> bool:
            if not _call(connection, "lease_fence", incarnation, account, epoch, attempt):
                return False
            connection.execute("SELECT orchestrator_admin.lock_account(%s)", [account])
            return True

        def end(connection: Connection) -> bool:
            if not _call(connection, "lease_fence", incarnation, account, epoch, attempt):
                return False
            roles.shut_out(connection, account)
            return True

        # Until the first step is committed, whoever knows the password can come back.
        return self._database.run(lock) and self._database.run(end)

    def admit(self, connection: Connection, account: str) -> None:
        """See, in the transaction that gives an account's process its password, that the account is ours.

        Raises:
            Disowned: It is not.
        """
        incarnation = self.incarnation
        if incarnation is None or not _call(
            connection, "lease_fence", incarnation, account, None, self._next_attempt()
        ):
            raise Disowned(NOT_OURS)

    def check(self, connection: Connection) -> None:
        """See, in the transaction that writes something down, that this shard may still write.

        Raises:
            Disowned: It may not.
        """
        if self.incarnation is None or not _call(connection, "lease_is_good", self.incarnation):
            raise Disowned(NOT_OURS)

    def tell(self, library: str, word: Word, seconds: float) -> tuple[Refusal | None, float]:
        """Tell the other shards what this one knows of a version of the client; see `refusals.tell`.

        Args:
            library: The version.
            word: What this shard knows.
            seconds: For each statement.

        Raises:
            StoreAway: There was no answer. It may have been told.
            Disowned: This shard has no lease.
        """
        who = self.incarnation or ""
        return self._database.run(
            lambda connection: refusals.tell(connection, library, word, who, self.check), patience=seconds
        )

    def owned(self, connection: Connection, accounts: Mapping[str, str]) -> dict[str, str]:
        """Return those of some accounts, ids by name, that are this shard's until the transaction ends.

        Raises:
            Disowned: The shard has no lease.
        """
        self.check(connection)
        rows = connection.execute(
            "SELECT account FROM orchestrator.lease WHERE incarnation = %s AND account = ANY (%s)",
            [self.incarnation, sorted(accounts.values())],
        ).fetchall()
        mine = {str(account) for (account,) in rows}
        return {name: account for name, account in accounts.items() if account in mine}

    def use(self, database: Database) -> None:
        """Ask by other connections from now on, so that no other work delays a renewal."""
        self._database = database

    def resize(self, capacity: int) -> None:
        """Take so many accounts at the most from now on."""
        self.me = replace(self.me, capacity=capacity)

    def _next_attempt(self) -> int:
        return next(self._attempts)


@dataclass(frozen=True, slots=True)
class ShardSeen:
    """A shard, for people.

    Attributes:
        peer: How it is.
        host: Where it runs.
        version: Of the program there.
    """

    peer: Peer
    host: str
    version: str


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """The cluster, for people.

    Attributes:
        shards: The shards with a good lease, by name.
        drained: The shards that an operator wants to own nothing.
        owners: The shard that owns it, for each account by name; None without an owner.
        waiting: For how many seconds accounts have had no owner, by name.
        refusals: The versions of the client that WhatsApp refuses.
    """

    shards: tuple[ShardSeen, ...]
    drained: tuple[str, ...]
    owners: Mapping[str, str | None]
    waiting: Mapping[str, float]
    refusals: tuple[RefusalSeen, ...] = ()


def look(connection: Connection) -> ClusterSeen:
    """Return how the cluster is."""
    peers = _call(connection, "lease_peers")
    drained = connection.execute("SELECT shard FROM orchestrator.drained ORDER BY shard").fetchall()
    rows = connection.execute(
        "SELECT a.name, s.name, extract(epoch FROM clock_timestamp() - l.since)::float8"
        " FROM orchestrator.account a JOIN orchestrator.lease l ON l.account = a.id"
        " LEFT JOIN orchestrator.shard s ON s.incarnation = l.incarnation ORDER BY a.name"
    ).fetchall()
    return ClusterSeen(
        tuple(ShardSeen(_peer(row), str(row[8]), str(row[9])) for row in peers),
        tuple(str(row[0]) for row in drained),
        {str(name): owner for name, owner, _ in rows},
        {str(name): float(seconds) for name, owner, seconds in rows if owner is None},
        refusals.look(connection),
    )


def drain(connection: Connection, shard: str, *, wanted: bool) -> None:
    """Note that an operator wants a shard to own nothing, or wants that no more."""
    _call(connection, "lease_drain", shard, wanted)


def move(connection: Connection, account: str, shard: str | None) -> bool:
    """Note which shard an operator wants an account to be on, None for any; return whether it is there."""
    return bool(_call(connection, "lease_move", account, shard))


def _alone(connection: Connection) -> str | None:
    """Return what a process does that has all accounts and is no part of a cluster; None without one."""
    row = connection.execute("SELECT what FROM orchestrator.owner WHERE until > clock_timestamp()").fetchone()
    return None if row is None else str(row[0])


def _call(connection: Connection, function: str, *arguments: object) -> Json:
    from psycopg import sql

    call = sql.SQL("SELECT orchestrator.{}({})").format(
        sql.Identifier(function), sql.SQL(", ").join(sql.Placeholder() * len(arguments))
    )
    row = connection.execute(call, arguments).fetchone()
    return None if row is None else row[0]


def _board(answer: Mapping[str, Any]) -> Board:
    return Board(
        peers=tuple(_peer(row) for row in answer["peers"]),
        mine=tuple(_holding(row) for row in answer["mine"]),
        free=int(answer["free"]),
        free_seconds=float(answer["free_seconds"]),
        reserved=int(answer["reserved"]),
        drained=bool(answer["drained"]),
    )


def _peer(row: Iterable[Any]) -> Peer:
    name, held, capacity, connected, willing, failing_over, age, coming, *_ = row
    return Peer(name, held, capacity, Report(connected, willing, failing_over), float(age), coming)


def _holding(row: Iterable[Any]) -> Holding:
    account, epoch, name, urgent, target = row
    return Holding(account, epoch, name, urgent, target)
