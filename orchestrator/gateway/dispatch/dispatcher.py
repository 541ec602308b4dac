"""Hands events to webhooks and bots: each one at least once, in order within a chat."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from orchestrator.accounts.names import no_such_account
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Endpoint
from orchestrator.consumers.writes import Place
from orchestrator.errors import NoSuchConsumer, OrchestratorError
from orchestrator.gateway.dispatch import describing
from orchestrator.gateway.dispatch.line import Line
from orchestrator.gateway.dispatch.lines import Lines
from orchestrator.gateway.dispatch.store import Store
from orchestrator.gateway.dispatch.writer import StoreError
from orchestrator.gateway.feed import Feed, FeedError, Stream
from orchestrator.messages.retention import Retention

Json: TypeAlias = dict[str, Any]
From: TypeAlias = Literal["beginning", "now"] | int


class Dispatcher:
    """Everything that is on its way to consumers, and what is known of each of them.

    Consumers that are pulls are kept here, too: `Pulls` hands their events out.

    Args:
        folder: The gateway's folder, ``STATE/gateway``, where the consumers' positions are kept.
        feed: Where events come from.
        follows: Whether what is known follows accounts into a database: see `following`.

    Attributes:
        lines: Keeps the deliveries going.
    """

    def __init__(self, folder: Path, feed: Feed, *, follows: bool = False) -> None:
        self.lines = Lines(folder, feed, follows=follows)
        self._feed = feed
        self._writer = self.lines.writer

    def configure(
        self,
        consumers: Mapping[str, Consumer],
        endpoints: Mapping[str, Endpoint],
        keep: Mapping[str, Retention] | None = None,
        since: float | None = None,
    ) -> None:
        """Take over the configuration, at the start and after each reload. What is on its way is finished.

        Args:
            consumers: The webhooks and bots by name. Pulls name themselves.
            endpoints: Where the events of each go. A consumer without one waits.
            keep: For how long texts are kept, by account; what is not named is kept as by default.
            since: When the service read the configuration, in Unix seconds: new consumers begin there. None:
                they begin now.
        """
        self.lines.configure(consumers, endpoints, keep, since)

    async def run(self) -> None:
        """Hand out events until cancelled."""
        await self.lines.run()

    async def close(self, seconds: float) -> None:
        """Begin nothing more, wait for what is on its way, and write everything down.

        Args:
            seconds: How long to wait. What takes longer is given up, and tried again after the next start.
        """
        await self.lines.close(seconds)

    def status(self, name: str | None = None) -> list[Json]:
        """Return what is known of all consumers, or of one.

        Each has ``name``, ``kind``, ``state`` (``active``, ``failing``: one probe at a time, ``waiting``: it
        asked for time by Retry-After, ``paused``, ``disabled``: it answered that it wants nothing any more),
        ``why`` (the last failure in our words, or null), ``since`` (of that state), ``next_try_at``,
        ``accounts`` (null: all), ``events``, ``in_flight``, ``waiting`` (events it has not had),
        ``oldest_at`` (when the oldest of them was stored, or null), ``retrying``, ``dead``; and counted since
        the gateway started ``delivered``, ``failed``, ``expired``. Times are ISO.

        Raises:
            NoSuchConsumer: There is none of that name.
        """
        if name is not None:
            if name in self.lines.pulls and name not in self.lines.lines:
                return [describing.pull(name)]
            return [describing.status(self._line(name).machine, self.lines.clock())]
        now = self.lines.clock()
        found = [describing.status(line.machine, now) for line in self.lines.lines.values()]
        found += [describing.pull(one) for one in self.lines.pulls if one not in self.lines.lines]
        return sorted(found, key=lambda one: str(one["name"]))

    def positions(self, name: str) -> list[Json]:
        """Return how far a consumer is with each account.

        Each has ``account``, ``stream``, ``cursor``, ``newest`` and ``waiting``.

        Raises:
            NoSuchConsumer: There is none of that name.
        """
        if name in self.lines.pulls and name not in self.lines.lines:
            return describing.pull_positions(self.lines.pulls[name])
        return describing.positions(self._line(name).machine)

    async def pause(self, name: str) -> None:
        """Hand nothing more to a consumer until `resume`, also after a restart.

        Raises:
            NoSuchConsumer: There is none of that name.
            StoreError: It cannot be written down, so that it ends with the gateway.
        """
        line = await self._ready(name)
        line.machine.pause(self.lines.clock())
        self.lines.hooks.wished(name)
        await self._settle(line)

    async def resume(self, name: str) -> None:
        """Go on with a consumer that was paused or disabled, and try at once what waits for its next try.

        Raises:
            NoSuchConsumer: There is none of that name.
            StoreError: It cannot be written down, so that it ends with the gateway.
        """
        line = await self._ready(name)
        line.machine.resume(self.lines.clock())
        self.lines.hooks.wished(name)
        await self._settle(line)

    async def replay(self, name: str, event: str | None = None) -> int:
        """Deliver dead letters again, by the schedule from its beginning; return how many they are.

        Those that are being delivered again already do not count.

        Args:
            name: The consumer.
            event: The id of one of them; None for all.

        Raises:
            NoSuchConsumer: There is none of that name.
            OrchestratorError: The event is no dead letter of the consumer.
            StoreError: They cannot be looked up.
        """
        line = await self._ready(name)
        await self._settle(line)
        number = await self._writer.call(Store.revive, name, event, self.lines.clock())
        if not number and event is not None and not await self._writer.call(Store.has_letter, name, event):
            raise OrchestratorError(
                f"{name} has no dead letter of this event: `orchestrator consumer dead {name}` lists those"
                " that it has, and `orchestrator trace EVENT` says what became of the event",
                key="no_dead_letter",
            )
        line.machine.revive()
        line.plan()
        return number

    async def dead(self, name: str, limit: int = 100, after: int = 0) -> list[Json]:
        """Return the dead letters of a consumer, the oldest first, without their bodies.

        Each has ``number`` (for `after`), ``event``, ``type``, ``account``, ``stream``, ``seq``, ``at``,
        ``died_at``, ``tries``, ``why``, and ``replaying``.

        Raises:
            NoSuchConsumer: There is none of that name.
            StoreError: They cannot be looked up.
        """
        await self._settle(await self._ready(name))
        return [describing.letter(one) for one in await self._writer.call(Store.letters, name, limit, after)]

    async def reset(self, name: str, to: From, account: str | None = None) -> list[Json]:
        """Move a consumer's position; return its positions. What waited for its next try is given up.

        Args:
            name: The consumer, also a pull.
            to: ``beginning`` of what is kept, ``now``, or the number after which to go on.
            account: One account; None for all. A number needs an account, and is of its messages.

        Raises:
            NoSuchConsumer: There is none of that name.
            NoSuchAccount: There is no such account, or the consumer does not get its events.
            OrchestratorError: A number without an account.
            FeedError: The events of an account cannot be read now. The other positions have been moved.
        """
        is_pull = name in self.lines.pulls and name not in self.lines.lines
        line = None if is_pull else await self._ready(name)
        if isinstance(to, int) and account is None:
            raise OrchestratorError("a number is of one account: name the account, too", key="bad_request")
        streams: tuple[Stream, ...] = ("messages",) if isinstance(to, int) else ("messages", "account")
        known = {place.account for place in self.lines.pulls.get(name, {})} if line is None else {
            place.account for place, course in line.machine.courses.items() if not course.is_off
        }  # fmt: skip
        there = known | self.lines.accounts()
        if line is not None and line.machine.consumer.accounts is not None:
            there &= line.machine.consumer.accounts
        if account is not None and account not in there:
            raise no_such_account(account)
        targets: dict[Place, int] = {}
        trouble: FeedError | None = None
        for one in sorted(there) if account is None else [account]:
            for stream in streams:
                try:
                    newest = await self._feed.newest(one, stream) if to == "now" else 0
                except FeedError as error:
                    trouble = error
                    continue
                targets[Place(one, stream)] = to if isinstance(to, int) else newest
        if line is None:
            await self.lines.pull_store.reset(name, targets)
            self.lines.pulls[name] |= targets
        else:
            for place, at in targets.items():
                line.machine.reset(place, at)
            await self._settle(line)
        if trouble is not None:
            raise trouble
        return self.positions(name)

    async def trace(self, event: str) -> list[Json]:
        """Return what became of an event, for each consumer that gets events of its account.

        Each has ``consumer``, ``kind``, ``state`` (``delivered``, ``retrying``, ``waiting``, ``dead``,
        ``replaying``, ``not_wanted``, ``before``: stored before the consumer was there or was moved),
        ``tries``, ``why``, ``next_try_at``.

        Args:
            event: Its id.
        """
        place, seq = describing.place_of(event, self._feed.accounts())
        if place is None:
            return []
        await self._writer.flush()
        written = await self._writer.call(Store.fates, place, seq)
        stream: Stream = "account" if place.stream == "account" else "messages"
        found = None
        with contextlib.suppress(OrchestratorError):
            found = await self._feed.one(place.account, stream, seq)
        return [
            describing.fate(line.machine, place, seq, found, written.get(name))
            for name, line in sorted(self.lines.lines.items())
            if line.machine.consumer.accounts is None or place.account in line.machine.consumer.accounts
        ]

    def taken(self) -> dict[str, int]:
        """Return, for each account, the number up to which no consumer needs the inbox any more.

        Before the consumers are known, that is 0 for all.
        """
        taken: dict[str, int] = {}
        for account in self.lines.accounts():
            place = Place(account, "messages")
            reaches = [
                line.reach.get(place, 0)
                for line in self.lines.lines.values()
                if line.machine.consumer.accounts is None or account in line.machine.consumer.accounts
            ]
            reaches += [positions[place] for positions in self.lines.pulls.values() if place in positions]
            if not (self.lines.is_ready and self.lines.knows_pulls):
                taken[account] = 0
            elif reaches:
                taken[account] = min(reaches)
        return taken

    def accounts(self) -> frozenset[str]:
        """Return the accounts whose events are handed over here."""
        return self.lines.accounts()

    def waiting(self) -> dict[str, int]:
        """Return, for each account, how many events the consumer has not had that is furthest behind.

        Accounts that no webhook and no bot gets events of are left out.
        """
        waiting: dict[str, int] = {}
        for line in self.lines.lines.values():
            found: Counter[str] = Counter()
            for place, course in line.machine.courses.items():
                if not course.is_off:
                    found[place.account] += course.waiting()
            for account, number in found.items():
                waiting[account] = max(number, waiting.get(account, 0))
        return waiting

    def figures(self) -> list[Json]:
        """Return the numbers for metrics, as `status` has them, without looking anything up."""
        return self.status()

    def is_consumer(self, name: str) -> bool:
        """Tell whether a webhook or bot has a name."""
        return name in self.lines.consumers or name in self.lines.lines

    async def _ready(self, name: str) -> Line:
        await self.lines.ready()
        return self._line(name)

    def _line(self, name: str) -> Line:
        line = self.lines.lines.get(name)
        if line is None and name in self.lines.pulls:
            raise OrchestratorError(
                f"{name} is a pull: its client asks for events when it wants them;"
                f" `orchestrator consumer reset {name}` has it go on elsewhere",
                key="bad_request",
            )
        if line is None:
            raise NoSuchConsumer(f"there is no consumer {name}; `orchestrator consumer list` names them")
        return line

    async def _settle(self, line: Line) -> None:
        """Have everything that was told written down."""
        line.go_on()
        if not await self._writer.flush():
            raise StoreError("the gateway cannot write down what was asked for; its log says why")
