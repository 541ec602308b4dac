"""Everything that a soak lets go wrong, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from benchmarks.chance import Range, Value

Reach: TypeAlias = Literal["one", "some", "all", "gateway"]
Link: TypeAlias = Literal["drops", "stays", "may drop"]

WAITING = ("seconds", "expire", "delay")
"""Values that are times which the fault itself lasts: they are no part of the time to recover."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        about: What happens, for people.
        lasts: Seconds after which an account is back at the latest on an idle machine, besides what the fault
            itself lasts (`WAITING`). The plan needs it; nothing is judged by it alone.
        each: Further seconds for every account, where all are hit.
        reach: Whom it hits: one account, a third of them, all, or the gateway and its receivers alone.
        link: What becomes of the accounts' connections.
        renews: Whether their processes are replaced, each when its turn comes.
        weight: How often it comes, compared with others.
        echo: Seconds after its end for which connections may still suffer from it.
        within: Seconds within which an account must be back that nothing else hits, where that is promised.
        parts: The reason for which the session goes into quarantine, if it does.
        values: What is drawn for it: from a range, or one of several numbers.
    """

    about: str
    lasts: float
    each: float = 0.0
    reach: Reach = "one"
    link: Link = "drops"
    renews: bool = False
    weight: int = 2
    echo: float = 0.0
    within: float | None = None
    parts: str | None = None
    values: Mapping[str, Range | tuple[int, ...]] = field(default_factory=dict)

    def takes(self, values: Mapping[str, Value], accounts: int) -> float:
        """Return the seconds from the beginning until everything should be as before."""
        return self.lasts + self.each * accounts + sum(float(values.get(name, 0)) for name in WAITING)


OPERATOR = Range(0, 8)
"""Seconds that the operator takes to scan a code, or to act at all."""
TIMES = Range(1, 3, whole=True)
"""How often in a row a log-in fails."""
SILENCE = Range(70, 80)
"""Seconds: longer than the 45 within which a silent peer must be noticed, and the slack on top."""
PING_SECONDS = 45.0
"""Seconds: a ping that was sent into a silence times out 10 s later, even if the account has logged in since.
The link is taken for lost then, until the next ping is answered, after 20 to 30 s."""

KINDS: dict[str, Kind] = {
    # WhatsApp and the network, for one account.
    "reset": Kind("TCP reset", 10, weight=3),
    "close": Kind("WhatsApp closes the WebSocket", 10),
    "stream-error": Kind("WhatsApp ends the stream with an error", 10, values={"code": (503, 515, 516)}),
    "unreachable": Kind("one account is cut off and refused", 30, values={"seconds": Range(2, 15)}),
    "http-503": Kind("the WebSocket's upgrade is refused", 25, values={"times": TIMES}),
    "hang": Kind(
        "WhatsApp goes silent while an account connects: in `PHASES`, counted from 0",
        75,
        weight=1,
        within=65,
        values={"phase": (0, 1, 2, 3, 4)},
    ),
    "silence": Kind(
        "one connection is open, and nothing comes",
        45,
        link="may drop",
        weight=1,
        echo=PING_SECONDS,
        values={"seconds": SILENCE},
    ),
    "slow": Kind(
        "every answer comes late", 5, link="stays", values={"seconds": Range(8, 20), "late": Range(1, 3)}
    ),
    "unavailable": Kind(
        "log-in is refused for the moment", 25, values={"reason": (500, 503), "times": TIMES}
    ),
    "refused": Kind("log-in is refused", 20, values={"reason": (400, 409, 415, 501)}),
    "go-crash": Kind("log-in is refused, and the library crashes of it", 20, values={"reason": (413, 414)}),
    "logout": Kind(
        "the phone unlinks the device", 30, weight=3, parts="logged_out", values={"delay": OPERATOR}
    ),
    "logout-at-login": Kind(
        "log-in is refused: unlinked", 30, parts="logged_out", values={"delay": OPERATOR}
    ),
    "locked": Kind(
        "log-in is refused: locked; the operator repairs",
        40,
        parts="locked",
        values={"reason": (403, 406), "delay": OPERATOR},
    ),
    "ban": Kind(
        "log-in is refused: banned for some seconds",
        65,
        values={"expire": Range(3, 10, whole=True), "code": (101, 102, 104)},
    ),
    "replaced": Kind("another client takes the session over", 80, weight=1, within=75),
    # The machine, for one account.
    "kill-child": Kind("SIGKILL of an account's process", 15, weight=3),
    "stop-child": Kind("SIGSTOP of an account's process", 60, weight=1, within=45),
    "pause-child": Kind(
        "SIGSTOP, and soon SIGCONT, of an account's process",
        5,
        link="stays",
        values={"seconds": Range(3, 12)},
    ),
    "kill-fork-server": Kind(
        "SIGKILL of the fork server; then one account is restarted", 25, renews=True, weight=1
    ),
    # The operator, with one account.
    "stop-start": Kind("an operator stops an account, and starts it", 25, values={"seconds": Range(2, 15)}),
    "restart": Kind("an operator restarts an account", 20, renews=True),
    "repair": Kind(
        "an operator repairs an account that works", 35, parts="repair", values={"delay": OPERATOR}
    ),
    "change": Kind("the configuration of an account changes; reload", 25, renews=True),
    "disable": Kind("an account is disabled, and enabled; reload", 30, values={"seconds": Range(2, 10)}),
    "remove-add": Kind(
        "an account is removed, and added", 40, weight=1, parts="removed", values={"delay": OPERATOR}
    ),
    "bad-reload": Kind("a reload with a configuration that is not valid", 5, link="stays", weight=1),
    # Many accounts, or all.
    "kill-children": Kind("SIGKILL of a third of the accounts' processes", 15, 0.2, "some"),
    "reset-all": Kind("TCP reset of all connections", 10, 0.1, "all", weight=1),
    "outage": Kind(
        "nobody can connect, connections are cut", 35, 0.3, "all", values={"seconds": Range(3, 20)}
    ),
    "silence-all": Kind(
        "all connections are open, and nothing comes",
        45,
        0.3,
        "all",
        "may drop",
        weight=1,
        echo=PING_SECONDS,
        values={"seconds": SILENCE},
    ),
    # The gateway, and whom it brings messages to. No account notices.
    "kill-gateway": Kind("SIGKILL of the gateway", 10, reach="gateway", link="stays", weight=3),
    "stop-gateway": Kind("SIGSTOP of the gateway", 45, reach="gateway", link="stays", weight=1),
    "receiver-away": Kind(
        "the receiver of a webhook is not there",
        5,
        reach="gateway",
        link="stays",
        values={"seconds": Range(2, 15)},
    ),
    "receiver-fails": Kind(
        "the receiver of a webhook answers by a failure",
        5,
        reach="gateway",
        link="stays",
        values={"seconds": Range(2, 15), "status": (401, 404, 429, 500, 302)},
    ),
    "receiver-hangs": Kind(
        "the receiver of a webhook does not answer",
        5,
        reach="gateway",
        link="stays",
        weight=1,
        values={"seconds": Range(5, 15)},
    ),
    "kill-sandbox": Kind(
        "WhatsApp's server is killed, and started again",
        35,
        0.3,
        "all",
        weight=1,
        values={"seconds": Range(1, 8)},
    ),
    "kill-service": Kind(
        "SIGKILL of the service; then it is started",
        12,
        0.4,
        "all",
        weight=4,
        values={"seconds": Range(0, 4)},
    ),
    "stop-service": Kind(
        "SIGTERM of the service; then it is started", 15, 0.4, "all", values={"seconds": Range(0, 4)}
    ),
    "restart-all": Kind("an operator restarts all accounts", 15, 0.4, "all", renews=True, weight=1),
}
"""The kinds by name."""

PHASES = ("connect", "tls", "upgrade", "noise", "success")
"""Where ``hang`` strikes, by number; the sandbox's words."""
LEFT_OUT = {"failure 405": "the whole fleet waits 15 minutes for the first probe"}
"""What a soak does not do, and why."""
