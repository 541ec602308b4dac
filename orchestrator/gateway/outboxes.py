"""The outboxes of all accounts, as far as the gateway sees them: rows without their texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.gateway.reader.client import FeedError
from orchestrator.gateway.reader.wire import MAX_LIMIT, MOST, Answer, Ask, WireError, read_tally
from orchestrator.messages.outbox import NoRow
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending.row import Row, State

MOST_ROWS: Final = MAX_LIMIT
"""Rows that are returned at once."""


class Reader(Protocol):
    """What reads outboxes: see `gateway.reader.client.ReaderClient`."""

    async def ask(self, ask: Ask) -> Answer:
        """Ask a reader."""


class Page(NamedTuple):
    """Some rows, in order.

    Attributes:
        rows: They.
        more: Whether there may be more after them.
    """

    rows: list[Row]
    more: bool


class Outboxes:
    """The outboxes.

    Args:
        reader: Reads them.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def rows(
        self, account: str, after: int = 0, limit: int = 100, states: Iterable[State] | None = None
    ) -> Page:
        """Return rows with a higher number, in order; none if the account has no outbox.

        Args:
            account: The account.
            after: The number.
            limit: How many at most, at most `MOST_ROWS`.
            states: In which states; None: in any.

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: They cannot be read now.
        """
        found: list[Row] = []
        limit = max(1, min(limit, MOST_ROWS))
        wanted = "" if states is None else " ".join(sorted(states))
        more = 0 <= after < MOST and not (states is not None and not wanted)
        while more and len(found) < limit:
            answer = await self._ask(Ask("rows", account, after, limit - len(found), states=wanted))
            found += answer.rows
            after, more = answer.last, answer.more
        return Page(found, more)

    async def row(self, account: str, number: int) -> Row:
        """Return a row.

        Raises:
            NoSuchAccount: The account's name is none.
            NoRow: There is no such row, or there is none any more.
            FeedError: It cannot be read now.
        """
        found = (await self._ask(Ask("row", account, number))).rows if 0 < number <= MOST else ()
        if not found:
            raise NoRow("the outbox has no such row, or does not have it any more")
        return found[0]

    async def tally(self, account: str) -> Tally:
        """Return how much is in an outbox, and what the desk remembers (`Desk.memory`).

        Raises:
            NoSuchAccount: The account's name is none.
            FeedError: It cannot be read now.
        """
        answer = await self._ask(Ask("tally", account))
        try:
            return read_tally(answer.about)
        except WireError:
            raise FeedError(f"the outbox of {account} cannot be read now", key="outbox_unusable") from None

    async def _ask(self, ask: Ask) -> Answer:
        if not is_name(ask.account):
            raise no_such_account(ask.account)
        answer = await self._reader.ask(ask)
        if answer.fault:
            raise FeedError(f"the outbox of {ask.account} cannot be read now", key="outbox_unusable")
        return answer
