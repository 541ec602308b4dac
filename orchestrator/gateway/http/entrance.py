"""The way in: every request is looked at here first, before anybody knows what it asks for.

In this order: is it for us (421), has another website's page sent it (403), who asks (401, or 429 for too
many wrong tokens), does that one ask too much at once (429), is the body too large (413). The answer goes out
with headers that keep browsers from running anything, and the log gets one line, without the query, the body,
and identifiers of messages or people.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
import traceback
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.access.scopes import LOCAL, Principal
from orchestrator.access.sessions import Session
from orchestrator.accounts.flood import Meter, more
from orchestrator.consumers import hosts
from orchestrator.consumers.settings import Http
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import faults
from orchestrator.gateway.cloud.paths import is_cloud
from orchestrator.gateway.http import peers, problems
from orchestrator.gateway.http.attempts import MOST_OF_ONE, UnderWay
from orchestrator.gateway.http.cloud_errors import refusal
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.login import LogIn
from orchestrator.gateway.http.needs import Services
from orchestrator.gateway.http.peers import Peer
from orchestrator.gateway.http.sizes import LOG_IN_PATH, Sizes
from orchestrator.gateway.page import files, origins
from orchestrator.gateway.page.origins import Place

log = logging.getLogger(__name__)

OPEN: Final = frozenset(
    {"/healthz", "/readyz", "/api/docs", "/api/docs/docs.js", "/api/docs/docs.css", *files.shared().paths()}
)
"""What needs no token: whether the gateway lives, and pages that are the same everywhere."""
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics", *files.shared().paths()})
"""What programs ask for every few seconds, and the page's files, some forty each time: logged at DEBUG."""
_WELL: Final = (200, 304)
_LONGEST_QUERY: Final = 4096
_MOST_FIELDS: Final = 50
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Headers of every answer that does not set them itself."""
_OF_PROXIES: Final = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
"""Fields that proxies add. Whoever is behind a proxy is not a program of the service's user, even where the
proxy is one."""
_OF_BROWSERS: Final = frozenset({b"cookie", b"origin", b"sec-fetch-site"})
"""Fields that browsers add: a browser has come through a program that lets others in to the socket."""
_FRAMES: Final = 6
_STRANGERS: Final = (2.0, 50.0)
_CLIENTS: Final = (20.0, 200.0)
"""Lines a second, and at once, about requests of those without a token and of those with one. The service
takes 50 a second of the whole gateway: what else the gateway has to say must get through."""


class BodyTooLarge(HTTPException):
    """A body is larger than it may be. The framework lets errors of this class through."""

    def __init__(self) -> None:
        super().__init__(413)


class Entrance:
    """Lets requests in to the application.

    Args:
        app: The application.
        services: The rest of the gateway.
        login: Who is logged in to the page.
        used: Called with the id of a token that is used.
        largest: Returns how many bytes a file may have that is uploaded.
        wall: Returns Unix seconds.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        app: ASGIApp,
        services: Services,
        login: LogIn,
        *,
        used: Callable[[str], None] = lambda _: None,
        largest: Callable[[], int] = lambda: 0,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._services = services
        self._login = login
        self._largest = largest
        self._used = used
        self._wall = wall
        self._clock = clock
        self._under_way = UnderWay(MOST_OF_ONE)
        self._strangers = Meter(*_STRANGERS)
        self._clients = Meter(*_CLIENTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        visit = _Visit(scope, send, self._clock, self._services.feed.accounts)
        try:
            await self._let_in(scope, receive, visit)
        except RefusedError as error:
            await visit.refuse(error)
        except ClientDisconnect:  # in the middle of its body: no bug, and nobody reads the answer
            await visit.refuse(RefusedError(400, "bad_request"))
        except Exception as error:  # noqa: BLE001 - a bug must not end the connection without an answer
            log.error("unhandled exception in %s: %s", visit.place(), where(error))
            await visit.refuse(RefusedError(500, "internal_error"))
        finally:
            meter = self._strangers if visit.principal is None else self._clients
            if meter.admit(self._clock()):
                visit.write_down(meter.take_count())

    async def _let_in(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        http = self._services.settings.http or Http()
        fields = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
        peer: Peer = scope["state"]["peer"]
        trusted = _networks(http.trusted_proxies)
        visit.client = peers.client_of(peer, _values(fields, b"x-forwarded-for"), trusted)
        scope["state"]["client"] = visit.client
        host = next(iter(_values(fields, b"host")), "")
        if not hosts.allows(http, host):
            raise RefusedError(421, "wrong_host")
        is_proxy = _is_ours(peer) or peers.is_trusted(peer.address, trusted)
        protos = _values(fields, b"x-forwarded-proto") if is_proxy else []
        place = scope["state"]["place"] = origins.place_of(host, http.public_url, protos)
        _check_origin(scope["method"], fields, place, "other")
        most = Sizes(http.max_body, 0).of(scope["path"])  # nobody uploads without a token
        if scope["path"] in OPEN or (scope["path"], scope["method"]) == (LOG_IN_PATH, "POST"):
            await self._app(scope, self._bounded(receive, fields, most), visit.send)
            return
        if (scope["path"], scope["method"]) == (LOG_IN_PATH, "GET") and self._is_nobody(fields, visit, place):
            # The page asks whether anybody is logged in, and no is an answer: browsers show errors to people.
            await self._app(scope, self._bounded(receive, fields, most), visit.send)
            return
        principal, session = self._who(fields, visit, place)
        visit.principal = scope["state"]["principal"] = principal
        scope["state"]["session"] = session
        if session is not None:
            _check_origin(scope["method"], fields, place, "cookie", scope["path"])
        if not self._under_way.begin(principal.id):
            visit.retry_after = 1
            raise RefusedError(429, "too_many_requests")
        try:
            most = Sizes(http.max_body, self._largest()).of(scope["path"])
            await self._app(scope, self._bounded(receive, fields, most), visit.send)
        finally:
            self._under_way.end(principal.id)

    def _who(
        self, fields: list[tuple[bytes, str]], visit: _Visit, place: Place
    ) -> tuple[Principal, Session | None]:
        """Return who asks, and by which session of the page.

        Raises:
            RefusedError: Nobody that may ask.
        """
        given = _values(fields, b"authorization") or _in_query(visit.scope)
        if not given:
            return self._without_token(fields, visit, place)
        presented = given[0] if len(given) == 1 else ""
        scheme, _, token = presented.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        principal = self._login.check(token)
        if principal is not None:
            self._used(principal.id)
            return principal, None
        wait = self._login.count_wrong(visit.client.key, token)
        if wait is not None:
            visit.retry_after = wait
            raise RefusedError(429, "too_many_requests")
        raise RefusedError(401, "unauthorized")

    def _is_nobody(self, fields: list[tuple[bytes, str]], visit: _Visit, place: Place) -> bool:
        """Tell whether a request has no token, and comes from no browser in which somebody is logged in."""
        if _values(fields, b"authorization"):
            return False
        try:
            self._without_token(fields, visit, place)
        except RefusedError:
            return True
        return False

    def _without_token(
        self, fields: list[tuple[bytes, str]], visit: _Visit, place: Place
    ) -> tuple[Principal, Session | None]:
        """Return who asks without a token: a browser that is logged in, or a program of the service's user.

        Raises:
            RefusedError: Neither.
        """
        # No browser uses the Cloud API's face: a cookie is worth nothing there.
        cookies = [] if is_cloud(visit.scope["path"]) else _values(fields, b"cookie")
        found = self._login.find(cookies, place)
        if found is not None:
            self._used(found[0].id)
            return found
        is_foreign = any(name in _OF_PROXIES or name in _OF_BROWSERS for name, _ in fields)
        if _is_ours(visit.scope["state"]["peer"]) and not is_foreign:
            return LOCAL, None
        raise RefusedError(401, "unauthorized")

    def _bounded(self, receive: Receive, fields: list[tuple[bytes, str]], most: int) -> Receive:
        """Return what receives a body of a bounded size.

        Raises:
            RefusedError: The head says already that it is larger.
        """
        for length in _values(fields, b"content-length"):
            if int(length) > most:
                raise RefusedError(413, "body_too_large")
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise BodyTooLarge
            return message

        return bounded


class _Visit:
    """One request on its way."""

    def __init__(
        self, scope: Scope, send: Send, clock: Callable[[], float], accounts: Callable[[], Collection[str]]
    ) -> None:
        self.scope = scope
        self.client: Peer = scope["state"]["peer"]
        self.principal: Principal | None = None
        self.retry_after: int | None = None
        self._send = send
        self._clock = clock
        self._accounts = accounts
        self._began = clock()
        self._status = 0

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = list(message.get("headers", []))
            there = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS if name not in there]
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, error: RefusedError) -> None:
        """Answer by an error, unless an answer is under way."""
        if self._status:
            return
        if is_cloud(self.scope["path"]):
            body, more = refusal(faults.of_key(error.key, status=error.status))
        else:
            body = problems.body(error.key, status=error.status)
            more = {"content-type": problems.MEDIA_TYPE}
            more |= {"www-authenticate": "Bearer"} if error.status == 401 else {}
        more["content-length"] = str(len(body))
        if self.retry_after is not None:
            more["retry-after"] = str(self.retry_after)
        headers = [(name.encode(), value.encode()) for name, value in more.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def place(self) -> str:
        """Return what was asked for: the form of the path, with the account's name and no other word.

        What is no account's name is a word of the client's.
        """
        form = getattr(self.scope.get("route"), "path", None)
        if form is None:
            return f"{self.scope['method']} (no such path)"
        name = self.scope.get("path_params", {}).get("name", "")
        if "/accounts/{name}" in form and name in self._accounts():
            form = form.replace("{name}", name)
        return f"{self.scope['method']} {form}"

    def write_down(self, left_out: int) -> None:
        """Log the request.

        Args:
            left_out: How many others were not logged before it.
        """
        quiet = self.scope["path"] in _QUIET and self._status in _WELL
        level = logging.DEBUG if quiet else logging.INFO
        milliseconds = (self._clock() - self._began) * 1000
        who = "nobody" if self.principal is None else f"{self.principal.kind} {self.principal.id}"
        who = "a local program" if self.principal is LOCAL else who
        others = f" ({more(left_out, 'request', 'requests')})" if left_out else ""
        log.log(
            level, "%s from %s for %s: %d in %.0f ms%s",
            self.place(), self.client, who, self._status, milliseconds, others,
        )  # fmt: skip


def where(error: BaseException) -> str:
    """Return what happened, and where in the code, but not what the error says: that may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
    return f"{type(error).__name__} in {places}"


_networks = functools.lru_cache(4)(peers.networks)


def _is_ours(peer: Peer) -> bool:
    """Tell whether at the other end is a program of the service's user, on a UNIX socket."""
    return peer.uid in (0, os.geteuid())


def _check_origin(
    method: str, fields: list[tuple[bytes, str]], place: Place, by: origins.By, path: str = ""
) -> None:
    """Check that no page of somebody else's has a browser send a request.

    Raises:
        RefusedError: One may have.
    """
    sources = _values(fields, b"origin"), _values(fields, b"sec-fetch-site")
    if origins.is_foreign(method, place, *sources, by, path):
        raise RefusedError(403, "foreign_origin")


def _in_query(scope: Scope) -> list[str]:
    """Return the token in the query of a request, as a header has it: clients of the Cloud API put it there.

    Only where nothing is changed: whoever is given a link with a token in it must not act by following it.
    """
    if scope["method"] != "GET" or not is_cloud(scope["path"]):
        return []
    query = scope["query_string"][:_LONGEST_QUERY].decode("latin-1")
    try:
        pairs = parse_qsl(query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []
    return ["Bearer " + value for name, value in pairs if name == "access_token"]


def _values(fields: list[tuple[bytes, str]], name: bytes) -> list[str]:
    return [value for field, value in fields if field == name]


async def look_at_tokens(services: Services, seconds: float = 0.4) -> None:
    """Read the tokens again whenever they have changed, until cancelled."""
    told = ""
    while True:
        try:
            services.tokens.load()
            told = ""
        except Exception as error:  # noqa: BLE001 - nobody is let in until the file can be read again
            # Our own words say what to do, and quote nothing of the file.
            what = str(error) if isinstance(error, OrchestratorError) else where(error)
            if what != told:
                log.error("no token is valid: %s", what)
                told = what
        await asyncio.sleep(seconds)
