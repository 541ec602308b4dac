"""Everything that a soak of a cluster lets go wrong, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from benchmarks.chance import Choice, Range, Value
from benchmarks.soak.checks import SILENT_SECONDS

Reach: TypeAlias = Literal["shard", "two shards", "database", "account"]
Since: TypeAlias = Literal["beginning", "end"]

BACK_SECONDS: Final = 30.0
"""Seconds within which the accounts of a shard that is lost, frozen, cut off or drained must be back."""
ALONE_SECONDS: Final = 60.0
"""Seconds after which a shard that alone cannot reach WhatsApp hands its accounts on."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        about: What happens, for people.
        reach: Whom it hits: a shard, two of them, the database, or one account.
        within: Seconds within which each account that it disconnects must be back.
        since: Whether those count from the beginning of the fault, or from its end.
        drops: Whether all accounts that it hits must connect anew; else some may.
        half_open: Whether WhatsApp may still take a link for open that nobody has any more.
        weight: How often it comes, compared with others.
        values: What is drawn for it. ``seconds`` is how long it lasts.
    """

    about: str
    reach: Reach
    within: float = BACK_SECONDS
    since: Since = "beginning"
    drops: bool = True
    half_open: bool = False
    weight: int = 2
    values: Mapping[str, Choice] = field(default_factory=dict)

    def takes(self, values: Mapping[str, Value]) -> float:
        """Return the seconds from the beginning until everything should be as before."""
        seconds = float(values.get("seconds", 0))
        return max(self.within, seconds) if self.since == "beginning" else seconds + self.within


KINDS: Final[dict[str, Kind]] = {
    # Machines.
    "kill": Kind(
        "SIGKILL of all processes of a shard; later it is started again",
        "shard",
        weight=4,
        values={"seconds": Range(1, 30)},
    ),
    "power-off": Kind(
        "a machine is switched off, so that nobody hears of its end; later it is switched on",
        "shard",
        half_open=True,
        weight=3,
        values={"seconds": Range(1, 30)},
    ),
    "kill-two": Kind(
        "two machines are switched off", "two shards", half_open=True, values={"seconds": Range(15, 30)}
    ),
    "freeze": Kind(
        "a machine freezes for longer than its lease, and goes on",
        "shard",
        half_open=True,
        weight=4,
        values={"seconds": Range(13, 35)},
    ),
    "nap": Kind(
        "a machine freezes for a moment", "shard", since="end", drops=False, values={"seconds": Range(1, 5)}
    ),
    "stop": Kind(
        "SIGTERM of a shard's service under load; later it is started again",
        "shard",
        weight=4,
        values={"seconds": Range(1, 25)},
    ),
    # The network.
    "no-database": Kind(
        "the cable of a shard to the database is out for longer than its lease",
        "shard",
        weight=3,
        values={"seconds": Range(13, 35)},
    ),
    "database-blink": Kind(
        "the cable of a shard to the database is out for a moment",
        "shard",
        since="end",
        drops=False,
        values={"seconds": Range(1, 5)},
    ),
    "no-network": Kind(
        "both cables of a shard are out", "shard", half_open=True, weight=3, values={"seconds": Range(13, 35)}
    ),
    "no-whatsapp": Kind(
        "the cable of a shard to WhatsApp is out, until the others have its accounts",
        "shard",
        within=SILENT_SECONDS + ALONE_SECONDS + BACK_SECONDS,
        half_open=True,
        values={"seconds": Range(105, 120)},
    ),
    "whatsapp-blink": Kind(
        "the cable of a shard to WhatsApp is out for a moment",
        "shard",
        since="end",
        drops=False,
        half_open=True,
        values={"seconds": Range(1, 20)},
    ),
    # The database.
    "database-restart": Kind("the database is restarted", "database", since="end"),
    "database-crash": Kind("the database crashes, and recovers", "database", since="end"),
    "database-away": Kind(
        "the database is stopped for a while", "database", since="end", values={"seconds": Range(9, 25)}
    ),
    "watch-ended": Kind("the server ends the connection by which a shard watches its lease", "shard"),
    "connections-ended": Kind("the server ends all connections of a shard", "shard"),
    # The operator.
    "drain": Kind(
        "a shard is drained, and later no more", "shard", weight=3, values={"seconds": Range(30, 40)}
    ),
    "move": Kind(
        "an account is moved to another shard", "account", drops=False, weight=3, values={"step": (1, 2)}
    ),
    # One account.
    "replaced": Kind("another client takes the session of an account", "account"),
    "kill-process": Kind("SIGKILL of the process of an account", "account"),
    "reset": Kind("TCP reset of the link of an account", "account"),
}
"""The kinds by name."""
