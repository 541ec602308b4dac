"""The page for people: its files, and logging in and out.

Everybody may have the files, for there is nothing of anybody's in them.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.exceptions import HTTPException

from orchestrator.access.scopes import Principal, in_order
from orchestrator.access.sessions import Session
from orchestrator.gateway.http import login, problems
from orchestrator.gateway.http.asking import Anybody, Asker, Denied, Shared
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.models import Model
from orchestrator.gateway.http.needs import Json
from orchestrator.gateway.http.peers import Peer
from orchestrator.gateway.http.sizes import LOG_IN_PATH
from orchestrator.gateway.page import files
from orchestrator.gateway.page.origins import Place

router = APIRouter(include_in_schema=False)

Secret = Annotated[str, Field(min_length=1, max_length=login.LONGEST)]


class Credentials(Model):
    """What somebody logs in with: one of both."""

    code: Secret | None = Field(None, repr=False)
    token: Secret | None = Field(None, repr=False)


@router.post(LOG_IN_PATH)
async def log_in(request: Request, given: Credentials) -> Response:
    """Log a browser in by a code of `orchestrator page`, or by a token."""
    if (given.code is None) == (given.token is None):
        raise Denied("bad_request")
    shared: Shared = request.app.state.shared
    place: Place = request.scope["state"]["place"]
    client: Peer = request.scope["state"]["client"]
    there = shared.login.find(request.headers.getlist("cookie"), place)
    if there is not None and given.code is not None and shared.login.is_hers(given.code, there[1]):
        return JSONResponse(_about(*there))  # the answer to the first request did not arrive
    try:
        session, secret = await shared.login.begin(
            code=given.code, token=given.token, has=None if there is None else there[1]
        )
    except RefusedError as error:
        if error.key != "login_failed":
            raise
        wait = shared.login.count_wrong(client.key, given.code or given.token or "")
        if wait is None:
            raise
        found = problems.problem("too_many_requests")
        return JSONResponse(found, found["status"], {"Retry-After": str(wait)}, problems.MEDIA_TYPE)
    principal = shared.services.tokens.principal(session.token, shared.wall())
    if principal is None:  # the token was removed this very moment
        raise Denied("login_failed")
    until = session.expires - shared.wall()
    return JSONResponse(
        _about(principal, session), headers={"Set-Cookie": login.cookie(place, secret, until)}
    )


@router.get(LOG_IN_PATH)
async def get_session(request: Request) -> Response:
    """Return who is logged in; null, if nobody is in a browser that asks."""
    if "principal" not in request.scope["state"]:
        return JSONResponse(None)
    asker = Asker(request)
    return JSONResponse(_about(asker.principal, asker.session))


@router.delete(LOG_IN_PATH)
async def log_out(asker: Anybody) -> Response:
    """Log a browser out: what it has open ends within a second, and its cookie is worth nothing any more."""
    if asker.session is not None:
        await asker.shared.login.end(asker.session)
    place: Place = asker.request.scope["state"]["place"]
    return JSONResponse({}, headers={"Set-Cookie": login.cookie(place, "", 0)})


def _about(principal: Principal, session: Session | None) -> Json:
    accounts = None if principal.accounts is None else sorted(principal.accounts)
    expires_at = None if session is None else int(session.expires)
    return {"scopes": in_order(principal.scopes), "accounts": accounts, "expires_at": expires_at}


@router.get("/")
@router.get(files.BEFORE + "{path:path}")
async def get_file(request: Request) -> Response:
    """Return a file of the page."""
    found = files.shared().find(request.scope["path"])
    if found is None:
        raise HTTPException(404)
    headers = {**files.HEADERS, "ETag": found.tag}
    if found.is_known(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(found.data, headers=headers, media_type=found.media_type)
