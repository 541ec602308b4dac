"""What every route needs: who asks, what that one may do, and how the service is asked in that one's name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from orchestrator.access.scopes import GATEWAY, Principal, Scope
from orchestrator.access.sessions import Session
from orchestrator.accounts.attachments import ID as MEDIA_ID
from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.errors import OrchestratorError
from orchestrator.gateway import sending
from orchestrator.gateway.http import idempotency
from orchestrator.gateway.http.answers import Answers
from orchestrator.gateway.http.attempts import MOST_ACTS, UnderWay
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.idempotency import Again, No
from orchestrator.gateway.http.login import LogIn
from orchestrator.gateway.http.needs import Json, Metrics, Operators, Services
from orchestrator.gateway.http.together import Together
from orchestrator.gateway.page.facts import Facts
from orchestrator.sending.row import State

T = TypeVar("T")
SCOPE: Final = "needs_scope"
"""Where the description of the API finds which scope a route needs."""

LOOK_SECONDS: Final = 0.5
"""How often somebody who waits is looked at: the token may be removed meanwhile."""


class Denied(OrchestratorError):  # noqa: N818 - named for what it says
    """A request cannot be answered. Only the key is shown."""

    key = "bad_request"

    def __init__(self, key: str) -> None:
        super().__init__(key, key=key)


class Shared:
    """What all requests share.

    Args:
        services: The rest of the gateway.
        operators: What operators do with webhooks.
        metrics: Returns the metrics.
        answers: The answers to requests with a key.
        login: Who is logged in to the page.
        wall: Returns Unix seconds.

    Attributes:
        stopping: Set when the server is about to end: whoever waits is sent away.
        facts: What the page shows of the service as a whole.
    """

    def __init__(
        self,
        services: Services,
        operators: Operators,
        metrics: Metrics,
        answers: Answers,
        login: LogIn,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.services = services
        self.operators = operators
        self.metrics = metrics
        self._ready: asyncio.Task[bool] | None = None
        self._ready_until = 0.0
        self.answers = answers
        self.login = login
        self.wall = wall
        self.stopping = asyncio.Event()
        self.acts = UnderWay(MOST_ACTS)
        self.looks = Together[Json]()
        self.facts = Facts(services.parent)

    async def is_ready(self, seconds: float) -> bool:
        """Tell whether the service answers. Many who ask at once are one for the service.

        Args:
            seconds: How long the answer may take, and about how long it holds.
        """
        now = asyncio.get_running_loop().time()
        if self._ready is None or (self._ready.done() and now >= self._ready_until):
            self._ready_until = now + seconds
            self._ready = asyncio.ensure_future(self._ask(seconds))
        return await asyncio.shield(self._ready)

    async def _ask(self, seconds: float) -> bool:
        try:
            await self.services.parent.ask(GATEWAY, "ping", seconds=seconds)
        except OrchestratorError:
            return False
        return True


class Asker:
    """Who asks.

    Args:
        request: The request.

    Attributes:
        principal: Who that is.
        session: The session by which a browser asks, None for a program with a token.
        services: The rest of the gateway.
        shared: What all requests share.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.principal: Principal = request.scope["state"]["principal"]
        self.session: Session | None = request.scope["state"]["session"]
        self.shared: Shared = request.app.state.shared
        self.services: Services = self.shared.services

    async def call(self, command: str, *, seconds: float = 30.0, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Ask the service in the asker's name.

        Raises:
            OrchestratorError: The service refuses, or does not answer.
        """
        return await self.services.parent.ask(self.principal, command, seconds=seconds, **arguments)

    async def look(self, command: str, **arguments: Any) -> Json:  # noqa: ANN401 - JSON
        """Ask for what changes nothing; whoever asks for the same at the same time shares the answer.

        Raises:
            OrchestratorError: The service refuses, or does not answer.
        """
        key = (self.principal, command, *sorted(arguments.items()))
        return await self.shared.looks.ask(key, lambda: self.call(command, **arguments))

    def sees(self, account: str) -> None:
        """Check that the asker may know of an account.

        Raises:
            Denied: It may not; for all it knows there is none.
        """
        if not self.principal.sees(account):
            raise Denied("no_such_account")

    def accounts(self) -> frozenset[str]:
        """Return the names of the accounts that the asker sees."""
        return frozenset(one for one in self.services.feed.accounts() if self.principal.sees(one))

    def is_still_there(self) -> bool:
        """Tell whether the asker may still ask: its token may be removed or over, or somebody logged out."""
        if self.session is not None and not self.shared.login.is_open(self.session):
            return False
        if self.principal.kind != "token":
            return True
        return self.services.tokens.principal(self.principal.id, self.shared.wall()) == self.principal

    async def wait_for(self, work: Awaitable[T]) -> T:
        """Wait for something that takes long, as long as the asker may ask and the server runs.

        Raises:
            RefusedError: The token was removed, or the server ends.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=LOOK_SECONDS)
                if not task.done():
                    self.check()
            return task.result()
        finally:
            task.cancel()

    def check(self) -> None:
        """Check that the asker may still ask.

        Raises:
            Denied: The token was removed, or the server ends.
        """
        if self.shared.stopping.is_set():
            raise Denied("not_running")
        if not self.is_still_there():
            raise Denied("unauthorized")

    @contextlib.asynccontextmanager
    async def acting(self, account: str) -> AsyncIterator[None]:
        """Have something under way to an account.

        Raises:
            Denied: There is too much already.
        """
        if not self.shared.acts.begin(account):
            raise Denied("service_busy")
        try:
            yield
        finally:
            self.shared.acts.end(account)

    def key(self) -> str | None:
        """Return the ``Idempotency-Key`` of the request, None without one.

        Raises:
            Denied: There are two, or it has another form.
        """
        keys = self.request.headers.getlist("idempotency-key")
        if len(keys) > 1 or not all(map(idempotency.is_key, keys)):
            raise Denied("bad_request")
        return keys[0] if keys else None

    async def submit(
        self,
        account: str,
        message: Mapping[str, Any],
        wait: float,
        expires: float | None = None,
        *,
        tells_receiver: bool = True,
    ) -> Response:
        """Have an account send something, and answer with its row: 200 once it is sent, else 202.

        Args:
            account: The account.
            message: What is sent, in the words of `sending.wire`.
            wait: How many seconds to wait for that.
            expires: After how many seconds it is not sent any more.
            tells_receiver: Whether the answer says to whom it goes.

        Raises:
            OrchestratorError: It cannot be taken, or was not sent (`NotSent`).
        """
        self.sees(account)
        done = await self.wait_for(
            self.services.sending.submit(self.principal, account, message, self.key(), wait, expires=expires)
        )
        row = done.row if tells_receiver else {**done.row, "to": None}
        sending.check(row)
        headers = {"Idempotency-Replayed": "true"} if done.again else None
        return JSONResponse(row, 200 if row["state"] == State.SENT else 202, headers)

    async def once(self, account: str, do: Callable[[], Awaitable[Json]], *, status: int = 200) -> Response:
        """Do something that changes something, and answer; with an ``Idempotency-Key`` it is done once.

        Args:
            account: The account that it is about; empty if it is about none.
            do: Does it, and returns the answer.
            status: The status of the answer.

        Raises:
            OrchestratorError: It cannot be done.
        """
        key = self.key()
        if key is None:
            return JSONResponse(await do(), status)
        request = self.request
        content = idempotency.hash_of(
            request.method, f"{request.url.path}?{request.url.query}", await request.body()
        )
        owner = (f"{self.principal.kind} {self.principal.id}", account, key)
        decision = await self.shared.answers.begin(*owner, content)
        if isinstance(decision, No):
            raise Denied(decision.key)
        if isinstance(decision, Again):
            headers = {"Idempotency-Replayed": "true"}
            return Response(decision.body, decision.status, headers, "application/json")
        try:
            body = json.dumps(await do()).encode()
        except OrchestratorError as error:
            if idempotency.did_nothing(error.key):
                await self.shared.answers.release(*owner)
            else:
                await self.shared.answers.lose(*owner)
            raise
        except BaseException:
            await asyncio.shield(self.shared.answers.lose(*owner))
            raise
        await self.shared.answers.end(*owner, status, body)
        return Response(body, status, media_type="application/json")


def _with_scope(scope: Scope) -> Any:  # noqa: ANN401 - as the framework wants it
    def asker(request: Request) -> Asker:
        found = Asker(request)
        if not found.principal.may(scope):
            raise RefusedError(403, "scope_missing")
        return found

    setattr(asker, SCOPE, scope)
    return Depends(asker)


Anybody = Annotated[Asker, Depends(Asker)]
"""Whoever has a token, whatever its scopes."""
Reader = Annotated[Asker, _with_scope("read")]
Sender = Annotated[Asker, _with_scope("send")]
Operator = Annotated[Asker, _with_scope("operate")]
Watcher = Annotated[Asker, _with_scope("metrics")]

AccountName = Annotated[
    str,
    Path(
        pattern=f"^{NAME_PATTERN}$",
        description="The account's name.",
        examples=["support"],
    ),
]
ConsumerName = Annotated[
    str, Path(pattern=f"^{NAME_PATTERN}$", description="The consumer's name.", examples=["crm"])
]
MessageId = Annotated[
    str,
    Path(
        pattern="^[!-~]{1,128}$",
        description="The message's id, as `data.id` of an event has it.",
        examples=["3EB0A1B2C3D4E5F60718"],
    ),
]
MediaId = Annotated[
    str,
    Path(
        pattern=f"^{MEDIA_ID.pattern}$",
        description="The attachment's id, as `data.media.id` of an event has it.",
        examples=["5577006791947779410"],
    ),
]
GroupId = Annotated[
    str,
    Path(
        pattern=r"^[0-9]{5,20}(-[0-9]{5,20})?@g\.us$",
        description="The group's address, as `data.chat.id` of an event has it.",
        examples=["120363041234567890@g.us"],
    ),
]
RowNumber = Annotated[
    int, Path(ge=1, le=2**53, description="The row's number, as the answer to what was sent has it.")
]
Wait = Annotated[
    float,
    Query(ge=0, le=60, description="How many seconds to wait until the message is sent or refused."),
]
Expires = Annotated[
    float | None,
    Query(
        ge=1,
        le=30 * 86_400,
        description="After how many seconds the message is not sent any more: `sending.expires` of the"
        " account's configuration, if it is left out, and never longer than that.",
    ),
]
ChatId = Annotated[
    str,
    Path(
        min_length=5,
        max_length=64,
        description="The chat's id, as `data.chat.id` of an event has it, or a number with +.",
        examples=["269139479534551@lid"],
    ),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,255}$",
        description="A word of your own. A request that is sent again with the same word and content within"
        " 72 hours is not done again: the first answer comes again.",
        examples=["order-4711-thanks"],
    ),
]
