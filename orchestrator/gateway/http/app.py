"""The HTTP API of the gateway: its routes, what errors look like, and how it runs."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.access.sessions import Sessions
from orchestrator.access.uses import Uses
from orchestrator.accounts.acts import BadAct
from orchestrator.consumers.settings import Http
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud.paths import is_cloud
from orchestrator.gateway.http import entrance, models, outgoing, peers, problems
from orchestrator.gateway.http.answers import Answers
from orchestrator.gateway.http.asking import Shared
from orchestrator.gateway.http.cloud import Cloud
from orchestrator.gateway.http.entrance import Entrance
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.login import LogIn
from orchestrator.gateway.http.needs import Metrics, Operators, Services
from orchestrator.gateway.http.routes import (
    accounts,
    consumers,
    events,
    groups,
    media,
    messages,
    outbox,
    page,
    page_codes,
    page_service,
    page_stream,
    service,
    webhooks,
)
from orchestrator.gateway.http.server import HttpServer
from orchestrator.gateway.sending import LARGEST, NotSent
from orchestrator.sending.forms import Kind

log = logging.getLogger(__name__)

CLEAR_SECONDS: Final = 3600.0
"""How often answers that were kept long enough are deleted."""
_SUBJECTS: Final = (
    accounts.router, messages.router, outbox.router, groups.router, media.uploads, media.router,
    events.router, consumers.router, webhooks.router, service.router, page_service.router, page_codes.router,
    page_stream.router,
    page.router,  # the last one: it takes all paths of the page that nobody else takes
)  # fmt: skip
_NO_OBJECT: Final = "must be a JSON object; a body needs `Content-Type: application/json`"
_WHY: Final[Mapping[str, str]] = {
    "bool_type": "must be true or false",
    "enum": "is none of the values that are known here",
    "extra_forbidden": "is not known here",
    "json_invalid": "is not valid JSON",
    "list_type": "must be a list",
    "literal_error": "is none of the values that are known here",
    "missing": "is missing",
    "model_attributes_type": _NO_OBJECT,
    "string_pattern_mismatch": "does not have the right form",
    "string_too_long": "is too long",
    "string_too_short": "is too short",
    "string_type": "must be a text",
    "string_unicode": "is not valid text",
    "too_long": "has too many parts",
    "too_short": "has too few parts",
    "union_tag_not_found": _NO_OBJECT,
    "union_tag_invalid": "has a `kind` that is not known here",
}
_PARTS: Final = frozenset({"body", "query", "path", "header"})


class Api:
    """The API of a running gateway.

    Args:
        services: The parts of the gateway.
        operators: What operators do with webhooks.
        metrics: Returns the metrics.
        folder: The gateway's own folder.
    """

    def __init__(self, services: Services, operators: Operators, metrics: Metrics, folder: Path) -> None:
        self._services = services
        self._answers = Answers(folder)
        self._uses = Uses(folder)
        self._saving: asyncio.Task[None] | None = None
        self._login = LogIn(services.tokens, Sessions(folder, time.time()))
        self.shared = Shared(services, operators, metrics, self._answers, self._login)
        self.app = make_app(self.shared)
        self._cloud = Cloud(self.shared)
        self._server: HttpServer | None = None

    async def run(self, sockets: Iterable[socket.socket], stop: asyncio.Event) -> None:
        """Answer requests until told to stop, and then those that are under way.

        Args:
            sockets: The sockets to listen on. They belong to the server from now on.
            stop: When it is set, the server ends.
        """
        http = self._services.settings.http or Http()
        self._server = HttpServer(
            Entrance(self._face, self._services, self._login, used=self._note_use, largest=self._largest),
            max_body=http.max_body,
            max_file=self._largest(),
            trusted=peers.networks(http.trusted_proxies),
        )
        beside = [
            asyncio.ensure_future(part)
            for part in (
                entrance.look_at_tokens(self._services),
                self._clear(),
                self._login.keep(),
                self._send_away(stop),
            )
        ]
        try:
            await self._server.run_on(sockets, stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._answers.close()

    async def _face(self, scope: Scope, receive: Receive, send: Send) -> None:
        face: ASGIApp = self._cloud if is_cloud(scope["path"]) else self.app
        await face(scope, receive, send)

    @property
    def is_listening(self) -> bool:
        """Whether requests are answered."""
        return self._server is not None and self._server.started

    async def configured(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Go on with other settings.

        Args:
            sockets: The sockets to listen on from now on; None: the same as before.
        """
        if self._server is None:
            for sock in sockets or ():
                sock.close()
            return
        http = self._services.settings.http or Http()
        self._server.set_limits(
            max_body=http.max_body,
            max_file=self._largest(),
            trusted=peers.networks(http.trusted_proxies),
        )
        if sockets is not None:
            await self._server.listen(sockets)

    def _largest(self) -> int:
        """Return how many bytes a file may have that is uploaded, whoever is to send it."""
        names = self._services.feed.accounts()
        return max(map(self._services.sending.largest, names), default=LARGEST)

    async def _send_away(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.shared.stopping.set()

    async def _clear(self) -> None:
        while True:
            try:
                await self._answers.clear()
            except OrchestratorError as error:
                log.warning("%s", error)
            await asyncio.sleep(CLEAR_SECONDS)

    def _note_use(self, token_id: str) -> None:
        if self._uses.note(token_id, time.time()) and (self._saving is None or self._saving.done()):
            self._saving = asyncio.ensure_future(self._save_uses())

    async def _save_uses(self) -> None:
        try:
            await asyncio.to_thread(self._uses.save)
        except OSError as error:
            log.warning("the days of the tokens' last use cannot be written: %s", error.strerror)


def make_app(shared: Shared) -> FastAPI:
    """Return the application, without the way in: see `entrance`.

    Args:
        shared: What all requests share.
    """
    app = FastAPI(
        title="Orchestrator", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.shared = shared
    for router in _SUBJECTS:
        # As they are: routers that are included hide their routes from the description and the log.
        app.router.routes.extend(router.routes)
    app.add_exception_handler(OrchestratorError, _orchestrator_error)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)
    service.load()
    return app


# Errors: never a word of what was sent


async def _orchestrator_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, OrchestratorError)
    if isinstance(error, NotSent):
        return _answer(error.key, row=error.row)
    if isinstance(error, BadAct):  # its words name the field, and quote nothing
        return _answer(error.key, errors=[{"where": "body", "why": str(error)}])
    return _answer(error.key)


async def _refused(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, RefusedError)
    return _answer(error.key, status=error.status)


async def _http_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            return _answer("no_such_path")
        case 405:
            return _answer("method_not_allowed", headers={"Allow": (error.headers or {}).get("Allow", "")})
        case 413:
            return _answer("body_too_large")
        case 415:
            return _answer("bad_media_type")
        case status:
            return _answer("bad_request" if status < 500 else "internal_error")


async def _not_valid(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)
    errors = [{"where": _place(one["loc"]), "why": why(one)} for one in error.errors()[:20]]
    return _answer("bad_request", errors=errors)


async def _bug(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    return _answer("internal_error")  # the entrance logs what happened


def _answer(
    key: str,
    *,
    status: int | None = None,
    errors: list[dict[str, str]] | None = None,
    row: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    found = problems.problem(key, status=status, errors=errors, row=row)
    more = dict(headers or {})
    if key in problems.RETRY_AFTER:
        more["Retry-After"] = str(problems.RETRY_AFTER[key])
    if found["status"] == 401:
        more["WWW-Authenticate"] = "Bearer"
    return JSONResponse(found, found["status"], more, problems.MEDIA_TYPE)


def why(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, in words of ours: those of the library can quote the value."""
    kind = str(error.get("type"))
    context = error.get("ctx") or {}
    for word, bound in (("at least", "ge"), ("at most", "le")):
        if isinstance(context.get(bound), int | float):
            return f"must be {word} {context[bound]:.15g}"
    return _WHY.get(kind, "is not valid")


def _place(parts: Sequence[int | str]) -> str:
    """Return where a value is: only words of the description, for an unknown field is named by the client."""
    if len(parts) > 2 and parts[0] == "body" and parts[1] in list(Kind):
        parts = [parts[0], *parts[2:]]  # by which kind of message it was read is no part of the request
    words = [str(one) if isinstance(one, int) or one in _words() else "(unknown)" for one in parts]
    return ".".join(words)


def _words() -> frozenset[str]:
    if not _known_words:
        for model in (*vars(models).values(), *vars(outgoing).values(), *vars(page_service).values()):
            if isinstance(model, type) and issubclass(model, models.Model):
                _known_words.update(model.model_fields)
        _known_words.update(_PARTS)
        for router in _SUBJECTS:
            for route in router.routes:
                dependant = getattr(route, "dependant", None)
                for field in ("path_params", "query_params", "header_params"):
                    _known_words.update(one.alias for one in getattr(dependant, field, ()))
    return frozenset(_known_words)


_known_words: set[str] = set()
