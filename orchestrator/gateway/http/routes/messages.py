"""Messages: what came in, and what goes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response

from orchestrator.gateway.http import models, outgoing
from orchestrator.gateway.http.asking import (
    AccountName,
    Asker,
    ChatId,
    Expires,
    Key,
    MessageId,
    Reader,
    Sender,
    Wait,
)
from orchestrator.gateway.http.describing import answers, problems_of
from orchestrator.gateway.http.needs import Json
from orchestrator.sending import asks

router = APIRouter(prefix="/api/accounts/{name}", tags=["Messages"])

MAX_EVENTS: Final = 500
"""Events of one answer. The feed hands out fewer if they are large: about 1 MB."""


@router.get("/messages", summary="Stored events", responses=answers(models.Events) | problems_of(404))
async def list_messages(
    asker: Reader,
    name: AccountName,
    after: Annotated[
        int,
        Query(ge=0, le=2**62, description="Only events with a higher number: `last` of the answer before."),
    ] = 0,
    chat: Annotated[
        str | None, Query(min_length=5, max_length=64, description="Only events of this chat, by its id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="How many events at most.")] = 100,
) -> Response:
    """Return what came in for an account and is kept, in order: messages, reactions, statuses and more."""
    asker.sees(name)
    await known(asker, name)
    batch = await asker.services.feed.after(name, "messages", after, limit, chat)
    end = f'],"last":{max(batch.last, after)},"more":{"true" if batch.more else "false"}}}'
    bodies = [event.body for event in batch.events]
    return json_of(b'{"events":[', bodies, end.encode())


_TAKEN = answers(outgoing.Row) | answers(outgoing.Row, 202) | problems_of(404, 409, 422)


@router.post("/messages", summary="Send a message", status_code=202, responses=_TAKEN | problems_of(413))
async def send_message(
    asker: Sender,
    name: AccountName,
    new: Annotated[outgoing.NewMessage, Body()],
    wait: Wait = 0.0,
    expires: Expires = None,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Send something: 202 with its row in the outbox, 200 once WhatsApp has taken it.

    The account need not be connected: what waits is sent later, in order within each chat, at the pace that
    the configuration allows.
    """
    return await asker.submit(name, new.model_dump(exclude_none=True), wait, expires)


@router.post("/messages/{message}/read", summary="Mark a message as read", status_code=202, responses=_TAKEN)
async def mark_read(
    asker: Sender,
    name: AccountName,
    message: MessageId,
    where: outgoing.InChat,
    wait: Wait = 0.0,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Mark a message as read: its sender sees it. Nothing is marked unless somebody asks for it."""
    return await asker.submit(name, {"kind": "read", "to": where.chat, "messages": [message]}, wait)


@router.post("/messages/{message}/react", summary="React to a message", status_code=202, responses=_TAKEN)
async def react(
    asker: Sender,
    name: AccountName,
    message: MessageId,
    new: outgoing.NewReaction,
    wait: Wait = 0.0,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """React to a message, or take the reaction back."""
    reaction = {"kind": "reaction", "to": new.chat, "message": message, "emoji": new.emoji}
    return await asker.submit(name, reaction, wait)


@router.post("/messages/{message}/edit", summary="Edit a message", status_code=202, responses=_TAKEN)
async def edit_message(
    asker: Sender,
    name: AccountName,
    message: MessageId,
    new: outgoing.Edited,
    wait: Wait = 0.0,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Put another text in place of one that the account has sent. It can be edited for 20 minutes."""
    edit = {"kind": "edit", "to": new.chat, "message": message, "text": new.text, "mentions": new.mentions}
    return await asker.submit(name, edit, wait)


@router.post("/messages/{message}/revoke", summary="Delete for everyone", status_code=202, responses=_TAKEN)
async def revoke_message(
    asker: Sender,
    name: AccountName,
    message: MessageId,
    where: outgoing.InChat,
    wait: Wait = 0.0,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Delete a message for everyone: an own one, or anybody's in a group whose admin the account is."""
    return await asker.submit(name, {"kind": "revocation", "to": where.chat, "message": message}, wait)


@router.post(
    "/chats/{chat}/typing",
    summary="Show that the account is typing",
    responses=answers(models.Nothing) | problems_of(404, 409, 422),
)
async def show_typing(
    asker: Sender,
    name: AccountName,
    chat: ChatId,
    what: Annotated[models.Typing | None, Body()] = None,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Show in a chat that the account is typing or recording. WhatsApp ends it after some seconds."""
    asker.sees(name)
    action = {"kind": "typing", "chat": chat, "state": (what or models.Typing()).state}
    asks.parse(action)

    async def show() -> Json:
        async with asker.acting(name):
            await asker.services.sending.act(asker.principal, name, action)
        return {}

    return await asker.once(name, show)


async def known(asker: Asker, name: str) -> None:
    """Check that there is an account.

    Raises:
        OrchestratorError: There is none of that name.
    """
    if name not in asker.services.feed.accounts():
        # The feed may not have heard yet of an account that is new.
        await asker.look("explain", name=name, entries=0)


def json_of(begin: bytes, parts: Iterable[bytes], end: bytes) -> Response:
    """Return an answer whose parts are JSON already."""
    return Response(b"".join((begin, b",".join(parts), end)), media_type="application/json")
