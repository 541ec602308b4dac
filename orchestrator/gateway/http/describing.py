"""The description of the API, as OpenAPI 3.1 has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from orchestrator.errors import KEYS
from orchestrator.gateway.http import entrance, models, problems
from orchestrator.gateway.http.asking import SCOPE

VERSION: Final = "1"
"""The version of the API. It grows when the meaning of something changes, and not with something new."""

ABOUT: Final = """
Reads and steers the accounts of one orchestrator.

- Every request needs a token, in the header `Authorization` after the word `Bearer`. `orchestrator token add`
  makes one.
- What a token may do is its scopes; which accounts it knows of is its list. For other accounts, the answer is
  404, as for accounts that do not exist.
- Errors are `application/problem+json`. Programs look at `key`, which never changes its meaning.
- Requests that change something take an `Idempotency-Key`.
- New fields may appear in answers. Ignore what you do not know.
"""

Responses = dict[int | str, dict[str, Any]]


def answers(model: type[BaseModel], status: int = 200) -> Responses:
    """Return the description of the answer of a route.

    Args:
        model: What is in the answer.
        status: The status of the answer.
    """
    return {status: {"model": model, "description": (model.__doc__ or "").strip().partition("\n")[0]}}


def problems_of(*statuses: int) -> Responses:
    """Return the description of errors that a route answers with, beside those that all have."""
    return {status: _problem(status) for status in statuses}


def file_of(about: str, media_type: str, status: int = 200) -> Responses:
    """Return the description of an answer that is a file.

    Args:
        about: What the file is.
        media_type: Its type.
        status: The status of the answer.
    """
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {status: {"description": about, "content": content}}


def _problem(status: int) -> dict[str, Any]:
    keys = ", ".join(f"`{key}`" for key in problems.keys_of(status))
    return {"model": models.Problem, "description": f"{problems.phrase(status)}: {keys}"}


_OF_ALL: Final = (400, 401, 403, 413, 421, 429, 500, 502, 503, 504, 507)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of an application's routes."""
    found = get_openapi(
        title="Orchestrator",
        version=VERSION,
        description=ABOUT,
        routes=app.routes,
        servers=[{"url": "/"}],
    )
    components = found.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `orchestrator token add`. A program on a UNIX socket of the service's"
            " user needs none.",
        }
    }
    components["responses"] = {f"E{status}": _response(status) for status in problems.statuses()}
    found["x-error-keys"] = {key: KEYS[key] for key in problems.all_keys()}
    for path, methods in found["paths"].items():
        for route in methods.values():
            _complete(path, route)
    _name(app, found["paths"])
    return found


def _complete(path: str, route: dict[str, Any]) -> None:
    """Say of a route what is so for all."""
    responses: dict[str, Any] = route["responses"]
    is_open = path in entrance.OPEN
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # the framework's; ours are 400
    for status in (*(map(int, responses)), *((421, 503) if is_open else _OF_ALL)):
        if status >= 400:
            responses[str(status)] = {"$ref": f"#/components/responses/E{status}"}
    route["responses"] = dict(sorted(responses.items()))
    if not is_open:
        route["security"] = [{"token": []}]


def _response(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": _problem(status)["description"],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        found["headers"] = {
            "Retry-After": {
                "description": "After how many seconds another try makes sense.",
                "schema": {"type": "integer"},
            }
        }
    return found


def _name(app: FastAPI, paths: Mapping[str, Any]) -> None:
    """Give each route a short name, and say which scope it needs."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            scopes = [getattr(one.call, SCOPE, None) for one in route.dependant.dependencies]
            for method in route.methods or ():
                about = paths[route.path_format][method.lower()]
                about["operationId"] = route.name
                for scope in filter(None, scopes):
                    about["x-scope"] = scope
                    about["description"] += f"\n\nThe token needs the scope `{scope}`."
