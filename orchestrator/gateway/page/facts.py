"""What the page shows of the service as a whole, asked of the service only while somebody looks.

The facts are an object. Times are in whole Unix seconds, sizes in bytes, and what is not known is null:

    service      {"version", "started_at"}: of this program
    library      {"version", "refused", "accounts", "probe_at", "canary"}: of neonize. Whether WhatsApp
                 refuses this version, how many accounts were refused, when the next one probes, and which
                 one probes now.
    ways         [{"way", "state", "accounts", "connected", "waiting", "probe_at", "canary"}]: the ways out,
                 by which accounts reach WhatsApp. The way is "direct" or a proxy without its password. The
                 state is "works" (an account is connected), "lost" (its accounts wait) or "unknown".
    starting     {"queued", "dialing", "parallel"}: how many accounts wait for their turn, how many start or
                 connect now, and how many may.
    disk         {"free", "total", "low"}: of the file system of the state folder. Low: less than is needed.
    memory       {"accounts", "free", "total"}: what the accounts' processes use, and what this machine, or
                 the control group of the service, has free and in all.
    breakers     [{"what", "probe_at", "canary"}]: what holds accounts now; what is "version" or a way.
    maintenance  {"on", "since", "waiting"}: whether nothing starts by itself, since when, and how many
                 accounts wait for its end.

Somebody who may know of some accounts only sees the ways of these, and no other account. What is counted over
all accounts is null for such a one: how many there are, and when they start, is nothing that one may know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.access.scopes import GATEWAY, Principal

Json: TypeAlias = dict[str, Any]

REFRESH_SECONDS: Final = 10.0
"""How old facts may be that are shown."""


_OVER_ALL: Final = {
    "library": ("accounts",),
    "starting": ("queued", "dialing"),
    "memory": ("accounts",),
    "maintenance": ("waiting",),
}
"""What is counted over all accounts."""


class Parent(Protocol):
    """The service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Principal, command: str, /) -> Json:
        """Ask for something in somebody's name, and return the answer."""


class Facts:
    """The facts, as they were when somebody asked last, at most `REFRESH_SECONDS` ago.

    Nothing is asked unless somebody asks here. Many who ask at once are one for the service.

    Args:
        parent: The service.
        clock: Returns monotonic seconds.
    """

    def __init__(self, parent: Parent, clock: Callable[[], float] = time.monotonic) -> None:
        self._parent = parent
        self._clock = clock
        self._asked_at: float | None = None
        self._task: asyncio.Task[Json] | None = None

    def forget(self) -> None:
        """Ask anew when somebody asks next: something was changed."""
        self._asked_at = None

    async def of(self, principal: Principal) -> Json:
        """Return what somebody may know of the facts.

        Raises:
            OrchestratorError: The service refuses, or does not answer.
        """
        return seen_by(principal, await self._all())

    async def _all(self) -> Json:
        now = self._clock()
        if self._task is None or self._asked_at is None or now >= self._asked_at + REFRESH_SECONDS:
            self._asked_at = now
            self._task = asyncio.ensure_future(self._parent.ask(GATEWAY, "facts"))
            self._task.add_done_callback(self._take_note)
        return await asyncio.shield(self._task)

    def _take_note(self, task: asyncio.Task[Json]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._task is task:
            self._task = None  # an error is not kept


def seen_by(principal: Principal, facts: Json) -> Json:
    """Return what somebody may know of the facts that the service has told.

    Args:
        principal: Who wants to know.
        facts: The facts, whose ways have ``members``, ``[[name, "connected" | "waiting" | ""], …]``.
    """

    def known(holder: Json) -> Json:
        canary = holder["canary"]
        return {**holder, "canary": canary if canary is not None and principal.sees(canary) else None}

    ways = []
    for way in facts["ways"]:
        members = [(name, how) for name, how in way["members"] if principal.sees(name)]
        if members or principal.accounts is None:
            ways.append(
                {
                    **known({key: value for key, value in way.items() if key != "members"}),
                    "accounts": len(members),
                    "connected": sum(how == "connected" for _, how in members),
                    "waiting": sum(how == "waiting" for _, how in members),
                }
            )
    shown = {way["way"] for way in ways} | {"version"}
    if principal.accounts is not None:
        facts = facts | {part: facts[part] | dict.fromkeys(keys) for part, keys in _OVER_ALL.items()}
    return {
        **facts,
        "library": known(facts["library"]),
        "ways": ways,
        "breakers": [known(one) for one in facts["breakers"] if one["what"] in shown],
    }
