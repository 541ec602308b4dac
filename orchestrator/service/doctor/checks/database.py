"""Whether the database of `store:` can be used, and whether it would keep what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context

if TYPE_CHECKING:
    from orchestrator.postgres.health import Health

CLOCK_SECONDS = 5.0
"""By how much two clocks may differ: waits are kept by the clock of the machine that runs the accounts."""
SLOW_MILLISECONDS = 20.0
"""How long a question may take: each message waits for some of them."""


def find(context: Context) -> Iterator[Finding]:
    """Look at the database, if the configuration names one."""
    found = context.database.get()
    if found is not None:
        yield from judge(found, context.accounts())


def judge(found: Health, accounts: int) -> Iterator[Finding]:
    """Say what follows from what was found.

    Args:
        found: What the server is like.
        accounts: How many accounts are enabled.
    """
    from orchestrator.postgres.health import AN_ACCOUNT, OUR_OWN

    fatal = False
    for problem in found.problems:
        fatal |= problem.fatal
        text, _, advice = problem.text.partition(": ")
        yield (fail if problem.fatal else warn)(text, advice)
    needed = accounts * AN_ACCOUNT + OUR_OWN * max(1, found.shards)
    if needed > found.room:
        yield fail(
            f"{_of(accounts, found.shards)} need {needed} connections, and the database server allows"
            f" {found.room}",
            f"set max_connections to {needed + 20} or more there (about 10 MB of memory an account), and"
            " restart it",
        )
    if not found.is_synchronous:
        yield fail(
            "the database server may lose what it has committed, and WhatsApp does not send it again",
            "set fsync, full_page_writes and synchronous_commit to on there",
        )
    if found.limited is not None and found.limited < needed:
        yield fail(
            f"{_of(accounts, found.shards)} need {needed} connections, and the database allows"
            f" {found.limited}",
            "ALTER DATABASE ... CONNECTION LIMIT -1",
        )
    if found.own_limit is not None and found.own_limit < OUR_OWN * max(1, found.shards):
        yield fail(
            f"the role of store.dsn_file may have {found.own_limit} connections, and needs"
            f" {OUR_OWN * max(1, found.shards)}",
            "ALTER ROLE ... CONNECTION LIMIT -1",
        )
    if found.standbys and not found.waits_for_standby:
        yield warn(
            "a standby of the database server may lag: if it takes over, sessions are of an earlier time, and"
            " messages are lost",
            "set synchronous_standby_names there",
        )
    if found.actors:
        yield warn(
            f"other roles may act as the service, and so have all accounts: {', '.join(found.actors[:5])}",
            "REVOKE the service's role from them",
        )
    if found.readers:
        yield warn(
            f"all roles that may connect can read the orchestrator's tables: {', '.join(found.readers[:5])}",
            "REVOKE ALL ON these tables FROM PUBLIC",
        )
    if not found.has_checksums:
        yield warn(
            "the database server does not notice what its disk has changed",
            "stop it and run pg_checksums --enable",
        )
    if len(found.superusers) > 1:
        yield warn(
            f"{len(found.superusers)} roles of the database server may read every session:"
            f" {', '.join(found.superusers[:5])}",
            "take SUPERUSER from those that do not need it",
        )
    if abs(found.clock) > CLOCK_SECONDS:
        way = "ahead of" if found.clock > 0 else "behind"
        yield warn(
            f"the clock of the database server is {abs(found.clock):.0f} s {way} this machine's",
            "set both by NTP",
        )
    if found.milliseconds > SLOW_MILLISECONDS:
        yield warn(
            f"a question to the database takes {found.milliseconds:.0f} ms",
            "run accounts close to the database: each message waits for it",
        )
    if not fatal:
        how = "with TLS" if found.is_encrypted else "on this machine"
        yield ok(
            f"{found.place}: Postgres {found.version}, {how}, {found.used} of {found.room} connections in use"
        )


def _of(accounts: int, shards: int) -> str:
    return f"{accounts} accounts on {shards} machines" if shards > 1 else f"{accounts} accounts"


CHECK = Check("database", "database", "Whether the database of `store:` keeps what it is given.", find)
