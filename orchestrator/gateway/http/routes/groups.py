"""Groups, and who is on WhatsApp. This is done at once and not queued: the account must be connected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response

from orchestrator.gateway.http import models, outgoing
from orchestrator.gateway.http.asking import AccountName, Asker, GroupId, Key, Reader, Sender
from orchestrator.gateway.http.describing import answers, problems_of
from orchestrator.gateway.http.needs import Json
from orchestrator.sending import asks

router = APIRouter(prefix="/api/accounts/{name}", tags=["Groups"])


@router.get("/groups", summary="List groups", responses=answers(outgoing.Groups) | problems_of(404, 409, 422))
async def list_groups(asker: Reader, name: AccountName) -> Response:
    """Return the groups that the account is in, without their members."""
    return await _look(asker, name, {"kind": "groups"})


@router.post(
    "/groups",
    summary="Make a group",
    status_code=201,
    responses=answers(outgoing.OneGroup, 201) | problems_of(404, 409, 422),
)
async def make_group(asker: Sender, name: AccountName, new: outgoing.NewGroup, key: Key = None) -> Response:  # noqa: ARG001
    """Make a group with the account as its admin. People can forbid that others add them."""
    return await _act(asker, name, {"kind": "group_create", **new.model_dump()}, status=201)


@router.get(
    "/groups/{group}",
    summary="Show a group",
    responses=answers(outgoing.OneGroup) | problems_of(404, 409, 422),
)
async def show_group(asker: Reader, name: AccountName, group: GroupId) -> Response:
    """Return a group and its members."""
    return await _look(asker, name, {"kind": "group", "group": group})


@router.post(
    "/groups/{group}/leave",
    summary="Leave a group",
    responses=answers(models.Nothing) | problems_of(404, 409, 422),
)
async def leave_group(asker: Sender, name: AccountName, group: GroupId, key: Key = None) -> Response:  # noqa: ARG001
    """Leave a group."""
    return await _act(asker, name, {"kind": "group_leave", "group": group})


@router.post(
    "/groups/{group}/members",
    summary="Change who is in a group",
    responses=answers(outgoing.ChangedMembers) | problems_of(404, 409, 422),
)
async def change_members(
    asker: Sender,
    name: AccountName,
    group: GroupId,
    change: outgoing.MembersChange,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Add people to a group or remove them, make them admins or members. The account must be an admin.

    The answer says of each whether it was done.
    """
    return await _act(asker, name, {"kind": "group_members", "group": group, **change.model_dump()})


@router.put(
    "/groups/{group}/subject",
    summary="Call a group something else",
    responses=answers(models.Nothing) | problems_of(404, 409, 422),
)
async def set_subject(
    asker: Sender,
    name: AccountName,
    group: GroupId,
    new: outgoing.NewSubject,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Give a group another subject."""
    return await _act(asker, name, {"kind": "group_subject", "group": group, "subject": new.subject})


@router.put(
    "/groups/{group}/description",
    summary="Describe a group",
    responses=answers(models.Nothing) | problems_of(404, 409, 422),
)
async def set_description(
    asker: Sender,
    name: AccountName,
    group: GroupId,
    new: outgoing.NewDescription,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Give a group another description."""
    action = {"kind": "group_description", "group": group, "description": new.description}
    return await _act(asker, name, action)


@router.post(
    "/groups/{group}/invite",
    summary="The link by which people join a group",
    responses=answers(outgoing.InviteLink) | problems_of(404, 409, 422),
)
async def invite(
    asker: Sender,
    name: AccountName,
    group: GroupId,
    how: Annotated[outgoing.Invite | None, Body()] = None,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Return the link by which people join a group. Whoever has it can join. The account must be an admin."""
    reset = (how or outgoing.Invite()).reset
    return await _act(asker, name, {"kind": "group_invite", "group": group, "reset": reset})


@router.get(
    "/numbers",
    summary="Find out who is on WhatsApp",
    tags=["Messages"],
    responses=answers(outgoing.Numbers) | problems_of(404, 409, 422),
)
async def look_up_numbers(
    asker: Reader,
    name: AccountName,
    number: Annotated[
        list[Annotated[str, Query(max_length=40)]],
        Query(
            min_length=1,
            max_length=asks.MAX_NUMBERS,
            description="A number with + (in a URL: %2B); as often as there are numbers.",
            examples=[["+4915100002"]],
        ),
    ],
) -> Response:
    """Ask WhatsApp whether numbers are known there. WhatsApp counts such questions: ask seldom."""
    return await _look(asker, name, {"kind": "numbers", "numbers": number})


async def _look(asker: Asker, name: str, action: Json) -> Response:
    asker.sees(name)
    asks.parse(action)
    async with asker.acting(name):
        return JSONResponse(await asker.services.sending.look(asker.principal, name, action))


async def _act(asker: Asker, name: str, action: Json, *, status: int = 200) -> Response:
    asker.sees(name)
    asks.parse(action)

    async def act() -> Json:
        async with asker.acting(name):
            return await asker.services.sending.act(asker.principal, name, action)

    return await asker.once(name, act, status=status)
