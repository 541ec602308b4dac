"""Who looks at codes: accounts with ``pairing: on_demand`` show codes only meanwhile. Private to the page."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from orchestrator.accounts.looking import LOOK_SECONDS
from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.gateway.http.asking import Operator
from orchestrator.gateway.http.models import Model

router = APIRouter(include_in_schema=False)

MOST: Final = 1000
"""Accounts at whose codes somebody can look at once."""


class Watching(Model):
    """At whose codes somebody looks."""

    names: list[Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]] = Field(max_length=MOST)


@router.post("/page/watching")
async def watch_codes(asker: Operator, watching: Watching) -> Response:
    """Say that somebody looks at the codes of accounts, and for how many seconds that is good.

    An account that is not there, or of which the asker may not know, counts for nothing: a page may be a
    moment behind.
    """
    seen = asker.accounts()
    names = [name for name in dict.fromkeys(watching.names) if name in seen]
    if names:
        await asker.call("watching", names=names)
    return JSONResponse({"seconds": LOOK_SECONDS})
