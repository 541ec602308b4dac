"""The times of a lease, which only hold together: each is shorter than the next. Pure."""

from __future__ import annotations

from typing import Final

RENEW_SECONDS: Final = 2.0
"""Between two renewals of a lease."""
QUESTION_SECONDS: Final = 3.0
"""For the database to answer a renewal, so that one that is lost leaves time for another."""
KILL_SECONDS: Final = 8.0
"""From the begin of the last good renewal until the service kills all its processes."""
CHILD_SECONDS: Final = 10.0
"""The same, until the processes end by themselves, because the service did not kill them."""
LEASE_SECONDS: Final = 12.0
"""From a renewal, by the database's clock, until others may claim the accounts. The database takes the time
after the service has, so the processes are gone before, unless a clock stands still or jumps."""

SILENT_SECONDS: Final = 2 * RENEW_SECONDS + 0.5
"""Without a renewal, after which nobody hands an account to a shard: it may be lost."""
HINT_SECONDS: Final = 0.2
"""Between two looks at the database at least, however many hints there are that something has changed."""
RETRY_SECONDS: Final = 1.0
"""From a failure of the database to the next try."""
GATHER_SECONDS: Final = QUESTION_SECONDS + RETRY_SECONDS + 0.5
"""From the begin of a lease until the shard claims what is for anybody. After an outage, each shard comes
back once its last question is given up and asked again; the first one would find no other, and take all."""
TAKEN_SECONDS: Final = 5.0
"""From a look at a lease that another process has to the next."""

RESERVED_SECONDS: Final = 10.0
"""For which an account that is handed on waits for the shard that it is handed to."""
PATIENCE_SECONDS: Final = 15.0
"""After which accounts that nobody has claimed may be claimed beyond the fair share."""
REBALANCE_SECONDS: Final = 5.0
"""Between two accounts that a shard hands on because it has too many."""
FAILOVER_SECONDS: Final = 60.0
"""For which accounts that were just claimed count as failing over."""
AWAY_SECONDS: Final = 60.0
"""Without any link while other shards have some, until a shard hands its accounts on."""
PROBE_FIRST: Final = 60.0
"""From handing on all accounts to the first look whether WhatsApp can be reached again."""
PROBE_LAST: Final = 1800.0
"""Between two such looks at the most."""
