"""The commands ``cluster status``, ``cluster drain`` and ``cluster move``: who runs which account."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from orchestrator.accounts import durations
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.words import counted
from orchestrator.cli import invocation
from orchestrator.cli.database import dsn_of
from orchestrator.cli.formatting import examples, printable
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection
    from orchestrator.postgres.leases import ClusterSeen
    from orchestrator.postgres.refusals import RefusalSeen

T = TypeVar("T")


def add(app: typer.Typer) -> None:
    """Add the commands to those of the cluster."""
    for command, example in (
        (status, ("orchestrator cluster status", "orchestrator cluster status --json")),
        (drain, ("orchestrator cluster drain host-a", "orchestrator cluster drain host-a --undo")),
        (move, ("orchestrator cluster move support host-b", "orchestrator cluster move support")),
    ):
        app.command(epilog=examples(*example))(command)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the machines of the cluster, and the accounts that no machine runs."""
    seen = _in_database(context, _look)
    if as_json:
        print(json.dumps(_as_json(seen), indent=2))
        return
    if not seen.shards:
        print("no machine of the cluster runs")
    for shard in seen.shards:
        peer = shard.peer
        words = [f"{peer.held} of {counted(peer.capacity, 'account')}", f"{peer.report.connected} connected"]
        if peer.name in seen.drained:
            words.append("drained")
        elif not peer.report.willing:
            words.append("takes no accounts")
        if peer.is_silent:
            words.append(f"silent for {durations.words(round(peer.age))}")
        where = "" if shard.host == peer.name else f" on {shard.host}"
        print(printable(f"{peer.name}{where}: {', '.join(words)} (version {shard.version})"))
    for name in sorted(set(seen.drained) - {shard.peer.name for shard in seen.shards}):
        print(printable(f"{name}: drained, does not run"))
    for refusal in seen.refusals:
        print(printable(_refused(refusal)))
    if seen.waiting:
        longest = durations.words(round(max(seen.waiting.values())))
        print(
            printable(
                f"{counted(len(seen.waiting), 'account')} without a machine, for up to {longest}:"
                f" {', '.join(list(seen.waiting)[:20])}{' and others' if len(seen.waiting) > 20 else ''}"
            )
        )


def drain(
    context: typer.Context,
    shard: Annotated[str, typer.Argument(metavar="SHARD", help="The name of a machine, as in `status`.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let the machine take accounts again.")] = False,
) -> None:
    """Have a machine hand its accounts to others and take none, until --undo, also across restarts.

    An account that no other machine has room for stays where it is.
    """
    seen = _in_database(context, _look)
    from orchestrator.postgres import leases

    known = {one.peer.name for one in seen.shards} | set(seen.drained)
    if shard not in known:
        raise _no_such_shard(shard, known)
    _in_database(context, lambda connection: leases.drain(connection, shard, wanted=not undo))
    print(printable(f"{shard}: {'takes accounts again' if undo else 'hands its accounts to other machines'}"))


def move(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account.")],
    shard: Annotated[
        str | None, typer.Argument(metavar="SHARD", help="The machine; without one, any machine will do.")
    ] = None,
) -> None:
    """Have an account run on a certain machine, as long as that machine runs and is not drained."""
    seen = _in_database(context, _look)
    from orchestrator.postgres import ids, leases

    known = {one.peer.name for one in seen.shards}
    if name not in seen.owners:
        raise no_such_account(name, known=seen.owners)
    if shard is not None and shard not in known:
        raise _no_such_shard(shard, known)

    def work(connection: Connection) -> None:
        account = ids.find(connection, name)
        if account is not None:
            leases.move(connection, account, shard)

    _in_database(context, work)
    where = "any machine will do" if shard is None else f"moves to {shard} as soon as that has room"
    if shard in seen.drained:
        where = (
            f"moves to {shard} once that takes accounts again: it is drained, and"
            f" `orchestrator cluster drain {shard} --undo` ends that"
        )
    print(printable(f"{name}: {where}"))


def _look(connection: Connection) -> ClusterSeen:
    from orchestrator.postgres import leases

    return leases.look(connection)


def _in_database(context: typer.Context, work: Callable[[Connection], T]) -> T:
    dsn = dsn_of(invocation.of(context).settings())
    from orchestrator.postgres import schema
    from orchestrator.postgres.database import Database

    with Database(dsn, name="orchestrator cluster") as database:
        database.run(schema.check)
        return database.run(work)


def _refused(refusal: RefusalSeen) -> str:
    """Return what is said of a version that WhatsApp refuses."""
    if refusal.account is not None:
        then = f"{refusal.account} tries now, on {refusal.shard}"
    elif refusal.next_in is not None:
        then = f"one account tries in {durations.words(round(refusal.next_in))}"
    else:
        then = "one account is about to try"
    since = durations.words(round(refusal.seconds))
    return (
        f"WhatsApp has refused neonize {refusal.library} for {since}: no account with this version starts by"
        f" itself until one is let in; {then}"
    )


def _no_such_shard(shard: str, known: set[str]) -> OrchestratorError:
    names = f"the machines are {', '.join(sorted(known))}" if known else "no machine runs"
    return OrchestratorError(f"there is no machine {shard} in the cluster: {names}", key="no_such_shard")


def _as_json(seen: ClusterSeen) -> dict[str, Any]:
    return {
        "shards": [
            {
                "name": shard.peer.name,
                "host": shard.host,
                "version": shard.version,
                "accounts": shard.peer.held,
                "capacity": shard.peer.capacity,
                "connected": shard.peer.report.connected,
                "willing": shard.peer.report.willing,
                "failing_over": shard.peer.report.failing_over,
                "drained": shard.peer.name in seen.drained,
                "renewed_seconds_ago": round(shard.peer.age, 1),
            }
            for shard in seen.shards
        ],
        "drained": list(seen.drained),
        "accounts": dict(seen.owners),
        "waiting": {name: round(seconds, 1) for name, seconds in seen.waiting.items()},
        "refused": [
            {
                "neonize": refusal.library,
                "seconds": round(refusal.seconds, 1),
                "next_in": None if refusal.next_in is None else round(refusal.next_in, 1),
                "shard": refusal.shard,
                "account": refusal.account,
            }
            for refusal in seen.refusals
        ],
    }
