"""Webhooks: how they are, and what an operator can do about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse, Response

from orchestrator.gateway.http import models
from orchestrator.gateway.http.asking import Asker, ConsumerName, Denied, Key, Operator
from orchestrator.gateway.http.describing import answers, problems_of
from orchestrator.gateway.http.needs import Json
from orchestrator.gateway.http.routes.consumers import sees_all

router = APIRouter(prefix="/api/webhooks", tags=["Webhooks"])

_ANSWERS = answers(models.Consumer) | problems_of(404)


@router.get("", summary="List webhooks", responses=answers(models.Consumers))
async def list_webhooks(asker: Operator) -> Response:
    """Return the webhooks whose accounts the token all sees."""
    found = asker.services.dispatcher.status()
    return JSONResponse(
        {"consumers": [one for one in found if one["kind"] == "webhook" and sees_all(asker, one)]}
    )


@router.get("/{name}", summary="A webhook", responses=_ANSWERS)
async def get_webhook(asker: Operator, name: ConsumerName) -> Response:
    """Return how a webhook is."""
    return JSONResponse(_find(asker, name))


@router.post("/{name}/test", summary="Test a webhook", responses=answers(models.Tested) | problems_of(404))
async def send_test(asker: Operator, name: ConsumerName, key: Key = None) -> Response:  # noqa: ARG001
    """Send a webhook an event of the type `test`, once, and say how that ended."""
    _find(asker, name)

    async def test() -> Json:
        return await _operate(asker, "webhook_test", name)

    return await asker.once("", test)


@router.post("/{name}/pause", summary="Pause a webhook", responses=_ANSWERS)
async def pause_webhook(asker: Operator, name: ConsumerName, key: Key = None) -> Response:  # noqa: ARG001
    """Send nothing more to a webhook until it is resumed, also after a restart. Nothing is lost."""
    _find(asker, name)

    async def pause() -> Json:
        await _operate(asker, "webhook_pause", name)
        return _find(asker, name)

    return await asker.once("", pause)


@router.post("/{name}/resume", summary="Resume a webhook", responses=_ANSWERS)
async def resume_webhook(asker: Operator, name: ConsumerName, key: Key = None) -> Response:  # noqa: ARG001
    """Go on with a webhook that was paused or disabled, and try at once what waits for its next try."""
    _find(asker, name)

    async def resume() -> Json:
        await _operate(asker, "webhook_resume", name)
        return _find(asker, name)

    return await asker.once("", resume)


@router.post(
    "/{name}/replay", summary="Replay dead letters", responses=answers(models.Replayed) | problems_of(404)
)
async def replay_webhook(
    asker: Operator,
    name: ConsumerName,
    which: Annotated[models.Replay | None, Body()] = None,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Deliver what was given up again: one event, or all."""
    _find(asker, name)
    event = None if which is None else which.event

    async def replay() -> Json:
        return await _operate(asker, "webhook_replay", name, event=event)

    return await asker.once("", replay)


async def _operate(asker: Asker, command: str, name: str, **more: object) -> Json:
    return await asker.shared.operators.answer(command, {"name": name, **more})


def _find(asker: Asker, name: str) -> Json:
    """Return what is known of a webhook.

    Raises:
        Denied: There is none of that name, for all the asker knows.
    """
    for one in asker.services.dispatcher.status():
        if one["name"] == name and one["kind"] == "webhook" and sees_all(asker, one):
            return one
    raise Denied("no_such_consumer")
