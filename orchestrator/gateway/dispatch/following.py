"""Has what is known of consumers follow accounts into the database, and takes it up from there.

The service says which accounts are handed over here; each time an account comes, with another number, its
term. What changes of these accounts goes to the service every `SECONDS`, and the service writes it as long as
the term is the present one. So a machine that has lost an account changes nothing of it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.consumers import followed
from orchestrator.consumers.followed import MOST_ROWS, Row, Stand
from orchestrator.consumers.writes import Kept
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.gateway.dispatch.changes import Changed, Changes
from orchestrator.gateway.dispatch.line import Hooks, Line
from orchestrator.gateway.dispatch.lines import Lines
from orchestrator.gateway.dispatch.pull_store import InFile
from orchestrator.gateway.dispatch.store import Store
from orchestrator.gateway.parent import GATEWAY, Who

log = logging.getLogger(__name__)
Json: TypeAlias = dict[str, Any]

SECONDS: Final = 2.0
"""How often changes follow: what was delivered since is delivered again if the machine is lost."""
STALE_SECONDS: Final = 8.0
"""How long deliveries begin without a word of the service: others may have the accounts after 12 s."""
LET_GO_SECONDS: Final = 2.0
"""How long deliveries of an account may take that goes to another machine. So may the last changes."""
END_SECONDS: Final = 1.0
"""How long the last changes may take when the gateway ends."""
SEEN_SECONDS: Final = 3600.0
"""How often it is said which consumers are configured."""
PULLS_SECONDS: Final = 30.0
"""How often it is asked how far pulls are, which other machines may move."""
AT_ONCE: Final = 8
"""Accounts that are taken up at once."""
_MOST: Final = 10 * MOST_ROWS  # rows in memory


class Service(Protocol):
    """What is needed of the service: see `gateway.parent.Parent`."""

    async def ask(self, asker: Who, command: str, /, **arguments: Any) -> Json:  # noqa: ANN401
        """Ask for something and return the answer."""


class Following:
    """What follows, for all accounts.

    Args:
        service: Keeps it.
        lines: What is handed over here.
    """

    def __init__(self, service: Service, lines: Lines) -> None:
        self._service = service
        self._lines = lines
        self._told: dict[str, tuple[int, bool, bool]] = {}  # how consumers stand, as all machines know
        self._wished: set[str] = set()  # what an operator has paused or resumed here, and others do not know
        self._seen_at = float("-inf")
        self._heard_at = _now()
        self._pulls_at = float("-inf")
        self._is_quiet = False
        self._poked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._known: set[str] = set()  # accounts of which the database has positions
        self._leaving: set[str] = set()
        self._left: dict[str, int] = {}  # terms of accounts that have gone: an older answer may name them
        lines.hooks = Hooks(self._may, self._opened, self._finish, self._wish)

    async def run(self) -> None:
        """Follow until cancelled, or until the service is gone."""
        while True:
            try:
                await self._lines.ready()
                await self.step()
            except NotRunning:
                return
            except OrchestratorError as error:
                if not self._is_quiet:
                    log.warning("how far the consumers are does not reach the database: %s", error)
                self._is_quiet = True
            else:
                if self._is_quiet:
                    log.warning("how far the consumers are reaches the database again")
                self._is_quiet = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await self._poked.wait()
            self._poked.clear()

    def _wish(self, name: str) -> None:
        self._wished.add(name)
        self._poked.set()

    async def step(self) -> None:
        """Learn what is handed over here, take up what is new, and have what has changed follow.

        Raises:
            OrchestratorError: The service or the store cannot do that now.
        """
        asked_at = _now()
        answer = await self._service.ask(GATEWAY, "consumer_terms")
        was_stale, self._heard_at = not self._may(), asked_at
        if was_stale:
            for line in self._lines.lines.values():
                line.plan()
        # First, and without the database: another machine hands over the events of these.
        await self._end_terms(answer["terms"])
        await self._look_at_pulls(answer["terms"])
        self._adopt(_standings(answer))
        await self._follow_terms(answer["terms"])
        await self._follow()
        await self._tell_standings()

    async def let_go(self, account: str) -> None:
        """Hand an account over here no more: another machine does, with all that is known.

        Deliveries that are on their way get `LET_GO_SECONDS`. What takes longer is delivered again.

        Args:
            account: The account.
        """
        if self._lines.held is None or account not in self._lines.held:
            return
        self._leaving.add(account)
        self._left[account] = self._lines.held[account]
        try:
            await self._end_deliveries(account)
            is_known = False
            try:
                async with asyncio.timeout(LET_GO_SECONDS):
                    is_known = await self._follow()
            except (TimeoutError, OrchestratorError) as error:
                why = _why(error)
                log.warning("%s goes to another machine without what consumers got last: %s", account, why)
            await self._drop(account, is_known=is_known)
        finally:
            self._leaving.discard(account)

    async def _end_deliveries(self, account: str) -> None:
        until = _now() + LET_GO_SECONDS
        while sum(line.machine.stop_with(account) for line in self._lines.lines.values()):
            if _now() >= until:
                return
            await asyncio.sleep(0.05)

    async def _finish(self) -> None:
        """Have all follow before the gateway ends."""
        try:
            async with asyncio.timeout(LET_GO_SECONDS):
                await self._follow()
                await self._tell_standings()
        except (TimeoutError, OrchestratorError) as error:
            log.warning(
                "what has happened last does not reach the database: %s", error or "no answer in time"
            )

    def _may(self) -> bool:
        return _now() - self._heard_at < STALE_SECONDS

    def _opened(self) -> None:
        self._told.clear()
        self._known.clear()
        self._seen_at = float("-inf")

    # Pulls

    async def _look_at_pulls(self, terms: Mapping[str, int]) -> None:
        """Learn how far pulls are with the accounts that are here: their messages are kept until then."""
        if _now() - self._pulls_at < PULLS_SECONDS:
            return
        lines = self._lines
        await self._bring_along()
        found = await lines.pull_store.known(terms)
        for name in lines.pulls.keys() - found.keys():
            del lines.pulls[name]
        for name in found.keys() - lines.lines.keys():
            lines.pulls[name] = {**found[name].positions}
        lines.knows_pulls = True
        self._pulls_at = _now()

    async def _bring_along(self) -> None:
        """Have the database take over pulls that are in a file of before there was a database."""
        lines, here = self._lines, InFile(self._lines.writer)
        mine = await lines.writer.call(lambda one: _changes(one).pulls())
        known = await lines.pull_store.known(()) if mine else {}
        for name, positions in mine.items():
            if name not in known:
                about = await here.use(name, "", lines.clock(), lines.clock())
                await lines.pull_store.use(name, about.maker, about.since, lines.clock())
                await lines.pull_store.reset(name, positions)
            await here.remove(name)

    # Accounts

    async def _end_terms(self, terms: Mapping[str, int]) -> None:
        for account in [one for one, term in (self._lines.held or {}).items() if terms.get(one) != term]:
            if account not in self._leaving:
                await self._drop(account, is_known=False)

    async def _follow_terms(self, terms: Mapping[str, int]) -> None:
        held = self._lines.held
        assert held is not None
        coming = [(one, at) for one, at in terms.items() if one not in held and self._left.get(one) != at]
        for at in range(0, len(coming), AT_ONCE):
            some = [self._take_up(*one) for one in coming[at : at + AT_ONCE]]
            for error in await asyncio.gather(*some, return_exceptions=True):
                if error is not None:
                    raise error

    async def _take_up(self, account: str, term: int) -> None:
        """Take an account up with what the database has of it, or with what is here, if that is newer."""
        rows: list[Row] = []
        while True:
            answer = await self._service.ask(
                GATEWAY, "consumer_take_up", account=account, term=term, after=len(rows)
            )
            if answer["term"] != term:
                return  # it has gone again
            try:
                rows += map(followed.load, answer["rows"])
            except ValueError:
                log.error("%s: what the database has of its consumers is damaged", account)
                return
            if not answer["more"]:
                break
        held = self._lines.held
        assert held is not None
        async with self._lines.turn:
            if account in held:
                return
            store = self._lines.writer
            has_any = await store.call(lambda one: account in one.accounts())
            newer = has_any and (not answer["known"] or answer["yours"])
            await store.flush()
            lines = [*self._lines.lines.values()]

            def load(one: Store) -> list[Kept]:
                _changes(one).take_up(account, rows, newer=newer)
                return [one.load(line.name, account) for line in lines]

            # What is held is not taken up again: as long as anything cannot be loaded, no line begins.
            kept = await store.call(load)
            held[account] = term
            if answer["known"]:
                self._known.add(account)
            for line, one in zip(lines, kept, strict=True):
                line.take_up(account, one)
        await self._service.ask(GATEWAY, "consumer_taken_up", account=account, term=term)

    async def _drop(self, account: str, *, is_known: bool) -> None:
        """Know nothing more of an account."""
        assert self._lines.held is not None
        async with self._lines.turn:
            store = self._lines.writer
            await store.flush()
            dead = await store.call(lambda one: _changes(one).dead(account))
            for name, line in self._lines.lines.items():
                line.let_go(account, dead.get(name, 0))
            await store.flush()  # a line may have said something since
            self._lines.held.pop(account, None)
            # What is here would be taken for newer if the database ever knew nothing of the account.
            is_known = is_known or account in self._known
            self._known.discard(account)
            await store.call(lambda one: _changes(one).let_go(account, is_known=is_known))

    # What has changed

    async def _follow(self) -> bool:
        """Have what has changed follow; return whether all did."""
        async with self._turn:
            is_all, all_taken = False, True
            while not is_all:
                await self._lines.writer.flush()
                changed: Changed = await self._lines.writer.call(lambda one: _changes(one).read(_MOST))
                is_all = changed.is_all
                refused: set[str] = set()
                for piece in followed.order(changed.rows):
                    refused |= await self._send(piece)
                all_taken = all_taken and not refused
                self._known |= {row.account for row in changed.rows if row.is_position} - refused
                await self._lines.writer.call(lambda one: _changes(one).followed(changed.numbers))  # noqa: B023
            return all_taken

    async def _send(self, rows: list[Row]) -> set[str]:
        held = self._lines.held or {}
        terms = {row.account: held[row.account] for row in rows if row.account in held}
        plain = [followed.dump(row) for row in rows if row.account in terms]
        if not plain:
            return set()
        answer = await self._service.ask(GATEWAY, "consumer_follow", terms=terms, rows=plain)
        return set(answer["refused"])

    # Consumers as a whole

    def _adopt(self, standings: list[Stand]) -> None:
        """Take in how consumers stand elsewhere, unless somebody has changed that here meanwhile."""
        now = self._lines.clock()
        for one in standings:
            line = self._lines.lines.get(one.name)
            if line is None:
                continue
            told = self._told.get(one.name)
            if self._is_news(line) or (told is not None and one.revision <= told[0]):
                continue
            line.machine.stand_as(one.standing, now)
            line.plan()
            self._note(one)

    async def _tell_standings(self) -> None:
        news = {
            name: Stand(name, line.machine.consumer.kind, line.machine.standing, self._revision(line))
            for name, line in self._lines.lines.items()
            if name not in self._told or self._is_news(line)
        }
        seen = sorted(self._lines.lines) if _now() - self._seen_at >= SEEN_SECONDS else []
        if not news and not seen:
            return
        plain = [followed.dump_stand(one) for one in news.values()]
        answer = await self._service.ask(GATEWAY, "consumer_stand", standings=plain, seen=seen)
        if seen:
            self._seen_at = _now()
        for one in _standings(answer):
            line, told = self._lines.lines.get(one.name), news[one.name].standing
            self._note(one)
            if line is not None and line.machine.standing == told:  # somebody else was first
                line.machine.stand_as(one.standing, self._lines.clock())
                line.plan()

    def _revision(self, line: Line) -> int:
        """Return what a standing comes after; 0: it counts only if nobody else has told how it is."""
        told = self._told.get(line.name)
        return told[0] if told is not None else int(self._is_news(line))

    def _is_news(self, line: Line) -> bool:
        """Tell whether somebody has changed here how a consumer stands."""
        mine, told = line.machine.standing, self._told.get(line.name)
        if told is None:
            return line.name in self._wished
        return (mine.paused, mine.disabled) != told[1:]

    def _note(self, stand: Stand) -> None:
        self._wished.discard(stand.name)
        self._told[stand.name] = (stand.revision, stand.standing.paused, stand.standing.disabled)


def _standings(answer: Json) -> list[Stand]:
    return [followed.load_stand(one) for one in answer["standings"]]


def _changes(store: Store) -> Changes:
    assert store.changes is not None
    return store.changes


def _why(error: BaseException) -> str:
    return str(error) or "there was no answer in time"


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
