"""Whether the gateway works, its figures, and the description of the API."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from orchestrator.gateway.http import models
from orchestrator.gateway.http.asking import Anybody, Denied, Shared, Watcher
from orchestrator.gateway.http.describing import answers, describe, file_of, problems_of
from orchestrator.gateway.metrics import CONTENT_TYPE

router = APIRouter(tags=["Service"])

_READY_SECONDS: Final = 3.0
_PAGE: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cache-Control": "no-cache",
}
_FILES: Final = {
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
}


@router.get("/healthz", summary="Whether the process lives", responses=answers(models.Health))
async def is_alive() -> Response:
    """Return that the gateway answers. It needs no token, and says nothing else."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz", summary="Whether the service answers", responses=answers(models.Health) | problems_of(503)
)
async def is_ready(request: Request) -> Response:
    """Return whether the service behind the gateway answers. It needs no token, and says nothing else."""
    shared: Shared = request.app.state.shared
    if not await shared.is_ready(_READY_SECONDS):
        raise Denied("not_running")
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=file_of("The metrics, in the text format of Prometheus.", "text/plain"),
)
async def get_metrics(asker: Watcher) -> Response:
    """Return figures of the accounts that the token sees, and of the gateway."""
    data = await asker.shared.metrics(asker.principal.accounts)
    return Response(data, media_type=CONTENT_TYPE)


@router.get("/api/openapi.json", summary="This description", responses=answers(models.Answer))
async def get_description(asker: Anybody) -> Response:
    """Return the description of the API, as OpenAPI 3.1 has it."""
    app: Any = asker.request.app
    if app.openapi_schema is None:
        app.openapi_schema = await asyncio.to_thread(describe, app)
    return JSONResponse(app.openapi_schema)


@router.get("/api/docs", summary="This description for people", response_class=Response,
            responses=file_of("A page that shows the description.", "text/html"))  # fmt: skip
async def get_page() -> Response:
    """Return a page that shows the description of the API, and loads nothing from elsewhere."""
    return _static("docs.html")


@router.get("/api/docs/docs.js", include_in_schema=False)
async def get_script() -> Response:
    """Return the script of the page."""
    return _static("docs.js")


@router.get("/api/docs/docs.css", include_in_schema=False)
async def get_style() -> Response:
    """Return the style of the page."""
    return _static("docs.css")


def _static(name: str) -> Response:
    return Response(_read(name), headers=_PAGE, media_type=_FILES[name])


def _read(name: str) -> bytes:
    if name not in _contents:
        _contents[name] = (resources.files("orchestrator.gateway.http") / "static" / name).read_bytes()
    return _contents[name]


_contents: dict[str, bytes] = {}


def load() -> None:
    """Read the files of the page, so that they need not be read later."""
    for name in _FILES:
        _read(name)
