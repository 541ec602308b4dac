"""What the gateway knows of consumers, on its way to the store and back: see `gateway.dispatch.following`."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias, TypeVar

from orchestrator.accounts.names import is_name
from orchestrator.consumers import followed
from orchestrator.consumers.followed import MOST_ROWS, Stand
from orchestrator.control.protocol import Json
from orchestrator.errors import StateError
from orchestrator.service.aside import Aside
from orchestrator.service.companions.pulling import Pulling
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.terms import Terms
from orchestrator.store.protocols import ConsumerStore, PullRows

MOST_CONSUMERS: Final = 2000
"""Consumers of which something is told at once."""
_MOST: Final = 2**53
T = TypeVar("T")
Handler: TypeAlias = Callable[[Json], Awaitable[Json]]


class Following:
    """Answers the gateway.

    Args:
        terms: Which accounts are here.
        store: Where it is kept.
        pulls: Where it is kept how far pulls are.
        aside: Does what takes time beside the event loop.

    Attributes:
        commands: What can be asked for.
    """

    def __init__(self, terms: Terms, store: ConsumerStore, pulls: PullRows, aside: Aside) -> None:
        self._terms = terms
        self._store = store
        self._aside = aside
        self.commands: Mapping[str, Handler] = {
            "consumer_terms": self._current,
            "consumer_take_up": self._take_up,
            "consumer_taken_up": self._taken_up,
            "consumer_follow": self._follow,
            "consumer_stand": self._stand,
            "consumer_pull": Pulling(pulls, aside).answer,
        }

    async def _current(self, request: Json) -> Json:
        """Return which accounts are here, and how consumers stand, as far as that can be read."""
        Arguments(request)
        standings: list[Stand] = []
        with contextlib.suppress(StateError):  # which accounts are here is known all the same
            standings = await self._ask(lambda store: store.standings())
        return {"terms": self._terms.current(), "standings": [followed.dump_stand(one) for one in standings]}

    async def _take_up(self, request: Json) -> Json:
        """Return some of what the store has of an account."""
        arguments = Arguments(request, "account", "term", "after")
        account, term = _account(request), arguments.number("term", 0, _MOST)
        after = arguments.number("after", 0, _MOST)
        if not self._terms.is_current(account, term):
            return {"term": 0, "rows": [], "more": False, "known": False, "yours": False}
        page = await self._ask(lambda store: store.read(account, after, MOST_ROWS))
        return {
            "term": term if self._terms.is_current(account, term) else 0,
            "rows": [followed.dump(row) for row in page.rows],
            "more": not page.is_last,
            "known": page.is_known,
            "yours": self._terms.is_taken_up(account),
        }

    async def _taken_up(self, request: Json) -> Json:
        arguments = Arguments(request, "account", "term")
        self._terms.taken_up(_account(request), arguments.number("term", 0, _MOST))
        return {}

    async def _follow(self, request: Json) -> Json:
        """Write what has changed; return the accounts that are not here any more."""
        Arguments(request, "terms", "rows")
        terms, plain = request.get("terms"), request.get("rows")
        if not isinstance(terms, dict) or not isinstance(plain, list) or len(plain) > MOST_ROWS:
            raise BadRequest(f"terms are an object, and rows a list of at most {MOST_ROWS}")
        rows = _checked(lambda: [followed.load(one) for one in plain])
        names = {row.account for row in rows}
        here = {name for name in names if self._terms.is_current(name, terms.get(name, 0))}
        refused = names - here
        mine = [row for row in rows if row.account in here]
        if mine:
            refused |= await self._ask(lambda store: store.follow(mine))
        return {"refused": sorted(refused)}

    async def _stand(self, request: Json) -> Json:
        """Write how consumers stand for all machines, and that they are configured here."""
        Arguments(request, "standings", "seen")
        plain, seen = request.get("standings"), request.get("seen")
        if (
            not isinstance(plain, list)
            or not isinstance(seen, list)
            or len(plain) + len(seen) > MOST_CONSUMERS
        ):
            raise BadRequest(f"standings and seen are lists, of {MOST_CONSUMERS} at most")
        if not all(isinstance(name, str) and is_name(name) for name in seen):
            raise BadRequest("seen must be a list of names")
        told = _checked(lambda: [followed.load_stand(one) for one in plain])
        found = await self._ask(lambda store: store.stand(told, seen))
        return {"standings": [followed.dump_stand(one) for one in found]}

    async def _ask(self, ask: Callable[[ConsumerStore], T]) -> T:
        return await self._aside.run(lambda: ask(self._store))


def _account(request: Json) -> str:
    account = request.get("account")
    if not isinstance(account, str) or not is_name(account):
        raise BadRequest("account must be the name of an account")
    return account


def _checked(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError:
        raise BadRequest("what is told of consumers has not the form that it must have") from None
