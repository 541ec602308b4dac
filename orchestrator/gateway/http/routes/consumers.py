"""Consumers: who gets events, and events for those who come for them."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.gateway.http import models
from orchestrator.gateway.http.asking import Asker, ConsumerName, Denied, Key, Operator, Reader
from orchestrator.gateway.http.describing import answers, problems_of
from orchestrator.gateway.http.needs import Json
from orchestrator.gateway.http.routes.messages import MAX_EVENTS, json_of, known

router = APIRouter(prefix="/api/consumers", tags=["Consumers"])

LONGEST_WAIT = 60
"""Seconds that a request waits for an event. Proxies end what takes longer than 60 s, as a rule."""
Account = Annotated[
    str | None, Query(pattern=f"^{NAME_PATTERN}$", description="Only events of this account.")
]


@router.get("", summary="List consumers", responses=answers(models.Consumers))
async def list_consumers(asker: Reader) -> Response:
    """Return the webhooks, bots and pulls whose accounts the token all sees."""
    found = [one for one in asker.services.dispatcher.status() if sees_all(asker, one)]
    return JSONResponse({"consumers": found})


@router.get("/{name}/events", summary="Pull events", responses=answers(models.Pulled) | problems_of(404, 409))
async def pull_events(
    asker: Reader,
    name: ConsumerName,
    account: Account = None,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the first event.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="How many events at most.")] = 100,
) -> Response:
    """Return the next events of a pull. The same events come again until they are acknowledged.

    The first request makes the pull: it begins with what comes in after that.
    """
    if account is not None:
        asker.sees(account)
        await known(asker, account)
    bodies, cursor = await asker.wait_for(
        asker.services.pulls.events(name, account, wait, limit, asker.principal)
    )
    return json_of(b'{"events":[', bodies, b'],"cursor":' + json.dumps(cursor).encode() + b"}")


@router.post(
    "/{name}/ack", summary="Acknowledge events", responses=answers(models.Nothing) | problems_of(404, 409)
)
async def acknowledge(asker: Reader, name: ConsumerName, what: models.Ack, key: Key = None) -> Response:  # noqa: ARG001
    """Acknowledge the events that came with a cursor: the next ones come. To do it twice does nothing."""

    async def ack() -> Json:
        await asker.services.pulls.ack(name, what.cursor, asker.principal)
        return {}

    return await asker.once("", ack)


@router.delete("/{name}", summary="Remove a pull", responses=answers(models.Nothing) | problems_of(404, 409))
async def remove_pull(asker: Operator, name: ConsumerName, key: Key = None) -> Response:  # noqa: ARG001
    """Forget a pull: nothing is kept for it any more. The token has to see all accounts."""
    if asker.principal.accounts is not None:
        raise Denied("no_such_consumer")

    async def remove() -> Json:
        await asker.services.pulls.remove(name)
        return {}

    return await asker.once("", remove)


def sees_all(asker: Asker, consumer: Json) -> bool:
    """Tell whether an asker sees all accounts of a consumer."""
    accounts = consumer.get("accounts")
    if asker.principal.accounts is None:
        return True
    return accounts is not None and all(asker.principal.sees(one) for one in accounts)
