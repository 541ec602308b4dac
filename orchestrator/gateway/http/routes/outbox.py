"""The outbox: what an account is to send, and what became of it. Texts are not shown."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from orchestrator.gateway.http import outgoing
from orchestrator.gateway.http.asking import AccountName, Key, Reader, RowNumber, Sender
from orchestrator.gateway.http.describing import answers, problems_of
from orchestrator.gateway.http.routes.messages import known
from orchestrator.sending.row import State

router = APIRouter(prefix="/api/accounts/{name}/outbox", tags=["Messages"])

MAX_ROWS: Final = 500


@router.get("", summary="What is or was to be sent", responses=answers(outgoing.Outbox) | problems_of(404))
async def list_outbox(
    asker: Reader,
    name: AccountName,
    after: Annotated[
        int,
        Query(ge=0, le=2**53, description="Only rows with a higher number: `last` of the answer before."),
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="How many rows at most.")] = 100,
    state: Annotated[
        list[State] | None, Query(max_length=len(State), description="Only rows in one of these states.")
    ] = None,
) -> Response:
    """Return the rows of an account's outbox, in order. A row is there as long as its key is remembered."""
    asker.sees(name)
    await known(asker, name)
    page = await asker.services.outboxes.rows(name, after, limit, state)
    last = page.rows[-1].number if page.rows else after
    return JSONResponse({"rows": [one.as_json() for one in page.rows], "last": last, "more": page.more})


@router.get("/{row}", summary="One row of the outbox", responses=answers(outgoing.Row) | problems_of(404))
async def get_outbox_row(asker: Reader, name: AccountName, row: RowNumber) -> Response:
    """Return what became of something that was to be sent."""
    asker.sees(name)
    await known(asker, name)
    return JSONResponse((await asker.services.outboxes.row(name, row)).as_json())


@router.delete(
    "/{row}",
    summary="Take something back that waits",
    responses=answers(outgoing.Row) | problems_of(404, 409),
)
async def take_back(asker: Sender, name: AccountName, row: RowNumber, key: Key = None) -> Response:  # noqa: ARG001
    """Take something back before it is sent. What was sent can be deleted for everyone with `…/revoke`."""
    asker.sees(name)
    return await asker.once(name, lambda: asker.services.sending.take_back(asker.principal, name, row))
