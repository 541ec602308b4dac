"""What the page follows: accounts, consumers and facts, as Server-Sent Events, for one who looks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.page.board import Board, News
from orchestrator.gateway.page.flows import Flows

Json: TypeAlias = dict[str, Any]

LOOK_SECONDS: Final = 0.5
"""How often it is seen whether the session is over, and whether there is more to tell than accounts."""
PING_SECONDS: Final = 15.0
"""How often the time is told: proxies keep the connection, and the page knows how far its clock is off."""
RETRY_MILLISECONDS: Final = 1000
"""After how long a browser comes again when the connection breaks."""
FACTS_SECONDS: Final = 2.0
"""How often it is seen whether there are other facts. `Facts` sees to it that they are not made each time."""


class Looker(Protocol):
    """Who looks: see `http.asking.Asker`."""

    @property
    def principal(self) -> Principal:
        """Who that is."""
        ...

    def check(self) -> None:
        """Check that it may still look.

        Raises:
            OrchestratorError: The session is over, or the server ends.
        """
        ...


class Facts(Protocol):
    """What is known of the fleet as a whole: see `page.facts.Facts`."""

    async def of(self, principal: Principal) -> Json:
        """Return what somebody may know.

        Raises:
            OrchestratorError: The service refuses, or does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the streams take what they tell.

    Attributes:
        board: The accounts.
        flows: The consumers.
        facts: The fleet as a whole.
        hello: Returns what a stream says first: what changes only with the configuration.
    """

    board: Board
    flows: Flows
    facts: Facts
    hello: Callable[[], Json]


class Stream:
    """What one who looks is told.

    Args:
        looker: Who.
        sources: Where it comes from.
        wall: Returns Unix seconds.
    """

    def __init__(self, looker: Looker, sources: Sources, wall: Callable[[], float] = time.time) -> None:
        self._looker = looker
        self._sources = sources
        self._wall = wall
        self._version = 0
        self._ping_at = 0.0
        self._said: dict[str, object] = {}
        self._facts: Json | None = None

    async def run(self) -> AsyncIterator[bytes]:
        """Yield what is sent, until the session is over, the server ends, or nobody listens."""
        clock = asyncio.get_running_loop().time
        heard = asyncio.Event()
        leave = self._sources.board.watch(heard.set)
        asking = asyncio.ensure_future(self._ask_for_facts(heard))
        self._ping_at = clock() + PING_SECONDS
        try:
            yield b"retry: %d\n\n" % RETRY_MILLISECONDS
            while True:
                heard.clear()
                self._looker.check()
                for part in self._news(clock()):
                    self._looker.check()  # a part may have waited long for one who reads slowly
                    yield part
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await heard.wait()
                except TimeoutError:
                    pass
        except OrchestratorError:
            return  # the session is over, or the server ends; the browser comes again and is told which
        finally:
            asking.cancel()
            leave()

    async def _ask_for_facts(self, heard: asyncio.Event) -> None:
        """Keep the facts fresh. The accounts do not wait for a service that is slow to tell them."""
        while True:
            with contextlib.suppress(OrchestratorError):  # those from before are better than none
                self._facts = await self._sources.facts.of(self._looker.principal)
                heard.set()
            await asyncio.sleep(FACTS_SECONDS)

    def _news(self, now: float) -> Iterator[bytes]:
        """Yield what is new, and take it for told."""
        sources, principal = self._sources, self._looker.principal
        hello = sources.hello()
        if self._is_other("hello", hello):
            yield event("hello", {**hello, "now": int(self._wall())})
        sources.board.drift()
        news = sources.board.after(self._version)
        if (told := self._accounts(principal, news)) is not None:
            yield told
        self._version = news.version
        consumers = sources.flows.seen_by(principal)
        if self._is_other("consumers", consumers):
            yield event("consumers", {"consumers": consumers})
        if self._facts is not None and self._is_other("facts", self._facts):
            yield event("facts", self._facts)
        if now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            yield event("ping", {"now": int(self._wall())})

    def _accounts(self, principal: Principal, news: News) -> bytes | None:
        """Return what is to be told of accounts, None for nothing."""
        board = self._sources.board
        texts = (board.text(name) for name in news.names if principal.sees(name))
        rows = [text for text in texts if text is not None]
        gone = [name for name in news.gone if principal.sees(name)]
        is_first = not self._version
        if not (rows or gone or is_first):
            return None
        return accounts_event(rows, gone, is_all=is_first)

    def _is_other(self, kind: str, value: object) -> bool:
        """Tell whether something else was told before, and take this for told."""
        if kind in self._said and self._said[kind] == value:
            return False
        self._said[kind] = value
        return True


def accounts_event(rows: Iterable[bytes], gone: list[str], *, is_all: bool) -> bytes:
    """Return the event that tells rows.

    Args:
        rows: They, as JSON.
        gone: Accounts that are there no longer.
        is_all: Whether there are no other accounts.
    """
    parts = [b'event: accounts\ndata: {"rows":[', b",".join(rows), b"]"]
    parts.append(b',"gone":' + json.dumps(gone, separators=(",", ":")).encode("ascii"))
    parts.append(b',"all":true}\n\n' if is_all else b"}\n\n")
    return b"".join(parts)


def event(kind: str, data: Json) -> bytes:
    """Return an event."""
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    return b"event: " + kind.encode("ascii") + b"\ndata: " + text + b"\n\n"
