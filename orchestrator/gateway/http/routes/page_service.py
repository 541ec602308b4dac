"""What the page shows and changes of the service: strips of states, settings in force, maintenance.

These routes are private to the page: they are not in the description of the API, and may change.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from orchestrator.accounts.strips import MOST_HOURS
from orchestrator.gateway.http.asking import AccountName, Operator, Reader
from orchestrator.gateway.http.models import Model

router = APIRouter(prefix="/page", include_in_schema=False)

_CHANGE_SECONDS: Final = 60.0
"""How long the service may take to write the switch down."""


class Switch(Model):
    """What the maintenance switch is to be."""

    on: bool = Field(strict=True, description="Whether nothing is to start by itself.")


@router.get("/strips")
async def get_strips(asker: Reader, hours: Annotated[int, Query(ge=1, le=MOST_HOURS)] = 24) -> Response:
    """Return how the accounts were: ``{"begin", "slot", "slots", "accounts"}``.

    ``begin`` is the Unix second at which the first slot begins, ``slot`` how many seconds each lasts, and
    ``slots`` how many there are; the last one is not over. ``accounts`` has, by name, ``[[slot, state], …]``:
    from that slot on, counted from 0, the worst state of each slot is that one. Slots before the first are of
    a time of which nothing is known.
    """
    return JSONResponse(await asker.look("strips", hours=hours))


@router.get("/accounts/{name}/settings")
async def get_settings(asker: Reader, name: AccountName) -> Response:
    """Return the settings in force: ``{"settings": [{"key", "value", "origin"}]}``.

    The keys are those of the configuration, such as ``backoff.base``, the values as they stand in the file.
    The origin is ``account``, ``defaults`` or ``built-in``. Numbers are masked, and a proxy has no password.
    """
    asker.sees(name)
    return JSONResponse(await asker.look("settings", name=name))


@router.post("/maintenance")
async def set_maintenance(asker: Operator, switch: Switch) -> Response:
    """Turn maintenance on or off, and return ``{"on", "since", "waiting"}``.

    ``since`` is in Unix seconds, null while it is off; ``waiting`` is how many accounts wait because of it.
    """
    found = await asker.call("maintenance", seconds=_CHANGE_SECONDS, on=switch.on)
    asker.shared.facts.forget()
    return JSONResponse(found)
