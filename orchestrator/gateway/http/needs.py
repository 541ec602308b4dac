"""What the API needs of the rest of the gateway. `gateway.services` gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.access.token import Token
from orchestrator.consumers.settings import Http
from orchestrator.consumers.wire import Keep
from orchestrator.control.view import AccountView
from orchestrator.gateway.feed import Batch, Heard, OpenMedia
from orchestrator.gateway.page.board import Board
from orchestrator.gateway.page.flows import Flows
from orchestrator.gateway.sending import Submitter
from orchestrator.gateway.uploads import Uploads
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending.row import Row, State

Json: TypeAlias = dict[str, Any]


class Parent(Protocol):
    """The service: see `gateway.parent.Parent`."""

    async def ask(
        self,
        asker: Principal,
        command: str,
        /,
        *,
        seconds: float | None = 30.0,
        fds: Sequence[int] = (),
        **arguments: object,
    ) -> Json:
        """Ask for something in somebody's name, and return the answer."""


class Feed(Protocol):
    """The events of all accounts: see `gateway.feed.Feed`."""

    def accounts(self) -> frozenset[str]:
        """Return the names of the accounts."""

    def watch(self, heard: Heard, /) -> Any:  # noqa: ANN401 - what ends it
        """Have something called whenever a stream may have something new."""

    async def after(
        self,
        account: str,
        stream: Any,  # noqa: ANN401
        seq: int,
        limit: int,
        chat: str | None = None,
    ) -> Batch:
        """Return the events after a number, in order."""

    async def newest(self, account: str, stream: Any) -> int:  # noqa: ANN401
        """Return the highest number that was given."""

    async def media(self, account: str, media_id: str, asker: Principal) -> OpenMedia:
        """Open the file of a message."""

    async def chat_of(self, account: str, message: str) -> str | None:
        """Return the address of the chat of a stored message."""

    async def find_media(self, media_id: str, accounts: Collection[str]) -> tuple[str, Json]:
        """Find whose an attachment is."""


class Page(Protocol):
    """Some rows of an outbox, in order: see `gateway.outboxes.Page`."""

    @property
    def rows(self) -> Sequence[Row]:
        """They."""

    @property
    def more(self) -> bool:
        """Whether there may be more after them."""


class Outboxes(Protocol):
    """What the accounts are to send: see `gateway.outboxes.Outboxes`."""

    async def rows(
        self, account: str, after: int = 0, limit: int = 100, states: Iterable[State] | None = None
    ) -> Page:
        """Return rows with a higher number, in order."""

    async def row(self, account: str, number: int) -> Row:
        """Return a row."""

    async def tally(self, account: str) -> Tally:
        """Return how much there is, and what the desk remembers."""


class Accounts(Protocol):
    """How the accounts are: see `gateway.accounts.Accounts`."""

    @property
    def views(self) -> Mapping[str, AccountView]:
        """The accounts by name, in a cluster those of all machines; numbers in them are masked."""

    @property
    def own(self) -> Mapping[str, AccountView]:
        """Those that run on this machine."""


class Numbers(Protocol):
    """The accounts' numbers: see `gateway.cloud.numbers.Numbers`."""

    async def of(self, account: str) -> str | None:
        """Return the digits of an account's number."""

    async def account(self, name: str) -> str | None:
        """Return the account that a client means by a name or a number."""


class Promised(Protocol):
    """What clients of the Cloud API call messages: see `gateway.cloud.promised.Promised`."""

    async def note(self, account: str, row: int) -> None:
        """Remember that a client knows a message by its row."""

    async def message(self, account: str, row: int) -> str | None:
        """Return WhatsApp's identifier of a message by its row, None if no status has told it yet."""


class Dispatcher(Protocol):
    """The consumers: see `gateway.dispatch.dispatcher.Dispatcher`."""

    def status(self, name: str | None = None) -> list[Json]:
        """Return what is known of all consumers, or of one."""


class Pulls(Protocol):
    """The pulls: see `gateway.dispatch.pulls.Pulls`."""

    async def events(
        self, consumer: str, account: str | None, wait: float, limit: int, principal: Principal
    ) -> tuple[list[bytes], str]:
        """Return the next events, rendered, and the cursor that acknowledges them."""

    async def ack(self, consumer: str, cursor: str, principal: Principal) -> None:
        """Acknowledge a batch."""

    async def remove(self, consumer: str) -> None:
        """Forget a pull."""


class Tokens(Protocol):
    """The tokens: see `access.tokens.Tokens`."""

    def load(self) -> None:
        """Read the tokens again if they have changed."""

    def check(self, presented: str, now: float) -> Principal | None:
        """Return whose token that is."""

    def check_code(self, presented: str, now: float) -> Token | None:
        """Return the row of the page whose code that is."""

    def find(self, token_id: str, now: float) -> Token | None:
        """Return what is kept of a token, or of a row of the page."""

    def principal(self, token_id: str, now: float) -> Principal | None:
        """Return what a token may do now."""


class Settings(Protocol):
    """What the service has told the gateway."""

    @property
    def http(self) -> Http | None:
        """The HTTP server, None without one."""

    @property
    def accounts(self) -> Mapping[str, Keep]:
        """The accounts by name."""

    @property
    def parallel(self) -> int:
        """How many accounts start at the same time, at most."""


class Operators(Protocol):
    """What operators do with webhooks: see `gateway.operators.Operators`."""

    async def answer(self, command: str, arguments: Mapping[str, Any]) -> Json:
        """Carry out a command."""


class Services(Protocol):
    """The parts of a running gateway: see `gateway.services.Services`."""

    @property
    def parent(self) -> Parent:
        """The service."""

    @property
    def feed(self) -> Feed:
        """The events."""

    @property
    def outboxes(self) -> Outboxes:
        """What the accounts are to send."""

    @property
    def uploads(self) -> Uploads:
        """Files that clients have uploaded."""

    @property
    def sending(self) -> Submitter:
        """Hands messages to the service."""

    @property
    def accounts(self) -> Accounts:
        """How the accounts are."""

    @property
    def numbers(self) -> Numbers:
        """The accounts' numbers."""

    @property
    def promised(self) -> Promised:
        """What clients of the Cloud API call messages that were not sent yet."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The consumers."""

    @property
    def pulls(self) -> Pulls:
        """The pulls."""

    @property
    def tokens(self) -> Tokens:
        """The tokens."""

    @property
    def board(self) -> Board:
        """The accounts as the page shows them."""

    @property
    def flows(self) -> Flows:
        """The consumers as the page shows them."""

    @property
    def settings(self) -> Settings:
        """The settings of now: they change with a reload."""


Metrics: TypeAlias = Callable[[frozenset[str] | None], Awaitable[bytes]]
"""Returns the metrics as Prometheus reads them, those of some accounts only or (None) of all."""
