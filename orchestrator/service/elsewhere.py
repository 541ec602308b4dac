"""The accounts of a cluster that other machines run, as this one knows them by the database.

It looks every two seconds, and when somebody asks. While the database is away, what it saw last tells which
accounts there are and which of them rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning, StateError
from orchestrator.service import seen
from orchestrator.service.followed import Accounts
from orchestrator.service.roster import Roster
from orchestrator.store.owned import Owned
from orchestrator.store.summary import Summary, summarize

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 2.0
"""Between two looks."""
FRESH_SECONDS: Final = 0.5
"""How old a look may be that somebody is answered by."""
PATIENT_SECONDS: Final = 3.0
"""How long somebody who asks waits for a look; then what was seen last has to do."""
AWAY: Final = "the database is away, and no account is linked until it is back"
"""The reason of an account that this machine runs when the database is there."""
UNKNOWN: Final = (
    "the database is away, so nobody here knows how the account is; it was last {state} on {shard}"
)
"""The reason of an account that another machine ran when the database was there."""

Look = Callable[[], Awaitable[Mapping[str, Owned]]]
ShowCode = Callable[[str], Awaitable[tuple[bytes, float] | None]]


class Elsewhere:
    """Follows the accounts that run on other machines.

    Args:
        me: The name of this machine in the cluster.
        roster: The accounts that run here.
        look: Looks into the database.
        code: Returns the picture of an account's code in the database, and for how long the code holds.

    Attributes:
        me: The name of this machine in the cluster.
        away: Why the database cannot be asked; None if it can.
        accounts: All accounts of the cluster, as the last look has shown them.
    """

    def __init__(self, me: str, roster: Roster, look: Look, code: ShowCode) -> None:
        self.me = me
        self.code = code
        self.away: str | None = None
        self.accounts: Mapping[str, Owned] = {}
        self._roster = roster
        self._look = look
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._versions: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._summaries: dict[str, Summary] = {}
        self._of: Settings | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Look now, unless that was done just now; a database that is slow is not waited for."""
        if time.monotonic() - self._looked_at > FRESH_SECONDS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENT_SECONDS):
                    await asyncio.shield(asyncio.ensure_future(self._once(FRESH_SECONDS)))

    def names(self) -> list[str]:
        """Return the names of the cluster's accounts that do not run here."""
        here, configured = self._roster.accounts, self._roster.settings.accounts
        others = sorted(
            name for name, one in self.accounts.items() if one.shard is not None and name not in configured
        )
        return [name for name in (*configured, *others) if name not in here]

    def has(self, name: str) -> bool:
        """Tell whether an account of the cluster does not run here."""
        if name in self._roster.accounts:
            return False
        return name in self._roster.settings.accounts or self.shard_of(name) is not None

    def shard_of(self, name: str) -> str | None:
        """Return the machine that owns an account, None if none does."""
        found = self.accounts.get(name)
        return None if found is None else found.shard

    def age(self) -> float | None:
        """Return how many seconds ago this machine has renewed its lease, as of the last look."""
        mine = (one.lease_age for one in self.accounts.values() if one.shard == self.me)
        return next(mine, None)

    def about(self) -> dict[str, Any]:
        """Return what a list has to say of the cluster: this machine, and how many accounts none runs."""
        waiting = [name for name in self.names() if self.shard_of(name) is None]
        return {"shard": self.me, "waiting": 0 if self.away else len(waiting), "away": self.away}

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        """Return what is shown of an account that does not run here.

        Args:
            name: The account.
            reveal: Show the phone number unmasked, if it is known.
        """
        owned = self.accounts.get(name, Owned())
        if owned.shard == self.me:  # it comes or goes: what was written last is another's word
            owned = replace(owned, is_new=True)
        away = None
        if self.away is not None and owned.shard in (None, self.me):
            away = AWAY
        elif self.away is not None:
            state = (owned.kept.shown or {}).get("state")
            away = UNKNOWN.format(state=seen.word(state), shard=owned.shard)
        return seen.describe(name, self._summary(name), owned, time.time(), away, reveal=reveal)

    def changed_since(self, version: int) -> tuple[list[str], list[str]]:
        """Return the names of accounts elsewhere that have changed after a version, and of those gone."""
        here = self._roster.accounts
        changed = [name for name, at in self._versions.items() if at > version and name not in here]
        return changed, [name for name, at in self._gone.items() if at > version]

    def _summary(self, name: str) -> Summary | None:
        settings = self._roster.settings
        if self._of is not settings:
            self._of, self._summaries = settings, {}
        if name not in self._summaries and name in settings.accounts:
            self._summaries[name] = summarize(settings.accounts[name])
        return self._summaries.get(name)

    async def _run(self) -> None:
        while True:
            try:
                await self._once(EVERY_SECONDS / 2)
            except NotRunning:
                return
            except Exception:
                log.exception("a bug in the service: nobody knows how the accounts of other machines are")
            await asyncio.sleep(EVERY_SECONDS)

    async def _once(self, fresh: float) -> None:
        async with self._looking:
            if time.monotonic() - self._looked_at < fresh:
                return
            try:
                found = await self._look()
            except StateError as error:
                away: str | None = str(error)
                found = self.accounts
            else:
                away = None
            self._looked_at = time.monotonic()
            self._take(found, away)

    def _take(self, found: Mapping[str, Owned], away: str | None) -> None:
        before, self.accounts = self.accounts, found
        everybody = (away is None) is not (self.away is None)
        self.away = away
        there = set(self.names())
        for name in there:
            if everybody or _mark(before.get(name)) != _mark(found.get(name)) or name not in self._versions:
                self._gone.pop(name, None)
                self._roster.touch(name)
                self._versions[name] = self._roster.version
        for name in [name for name in self._versions if name not in there]:
            del self._versions[name]
            if name not in self._roster.accounts:
                self._roster.touch(name)
                self._gone[name] = self._roster.version


def _mark(one: Owned | None) -> tuple[object, ...]:
    """Return by what two looks at an account differ."""
    return () if one is None else (one.shard, one.written_at, one.is_new)


class Whole:
    """All accounts: those that run here, and in a cluster those that run elsewhere.

    Args:
        here: Those that run here.

    Attributes:
        elsewhere: Those that run elsewhere; None where there is no cluster.
    """

    def __init__(self, here: Accounts) -> None:
        self.elsewhere: Elsewhere | None = None
        self._here = here

    async def refresh(self) -> None:
        """Look how the accounts elsewhere are."""
        if self.elsewhere is not None:
            await self.elsewhere.refresh()

    def names(self) -> list[str]:
        """Return the names of all accounts, in the configuration's order, and then others of the cluster."""
        names = self._here.names()
        if self.elsewhere is None:
            return names
        place = {name: number for number, name in enumerate(self._here.settings.accounts)}
        return sorted([*names, *self.elsewhere.names()], key=lambda name: place.get(name, len(place)))

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        """Return what others see of an account.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        elsewhere = self.elsewhere
        if elsewhere is None:
            return self._here.describe(name, reveal=reveal)
        if elsewhere.has(name):
            return elsewhere.describe(name, reveal=reveal)
        return self._here.describe(name, reveal=reveal)._replace(
            shard=elsewhere.me, lease_age_s=elsewhere.age()
        )

    def is_here(self, name: str) -> bool:
        """Tell whether an account runs here, if there is one of that name."""
        return self.elsewhere is None or not self.elsewhere.has(name)

    def about(self, *, own: bool = False) -> dict[str, Any]:
        """Return what a list has to say of the cluster; nothing where there is none.

        Args:
            own: The list has only the accounts that run here.
        """
        return {} if own or self.elsewhere is None else {"cluster": self.elsewhere.about()}

    def apart(self, names: Iterable[str], *, own: bool = False) -> dict[str, Any]:
        """Return what an event has to say of a cluster: which of its accounts do not run here."""
        if own or self.elsewhere is None:
            return {}
        return {"elsewhere": [name for name in names if not self.is_here(name)]}

    def changed_since(
        self, version: int, *, numbers: bool = False, own: bool = False
    ) -> tuple[list[str], list[str]]:
        """Return the names of accounts that have changed after a version, and of those that are gone.

        Args:
            version: The version.
            numbers: Also those of which only numbers have changed.
            own: Only accounts that run here count.
        """
        changed, gone = self._here.changed_since(version, numbers=numbers)
        if self.elsewhere is None or own:
            return changed, gone
        others, left = self.elsewhere.changed_since(version)
        there = set(self.names())
        # An account that another machine has by now has changed, and is not gone.
        moved = [name for name in gone if name in there]
        return [*dict.fromkeys([*changed, *others, *moved])], [n for n in {*gone, *left} if n not in there]
