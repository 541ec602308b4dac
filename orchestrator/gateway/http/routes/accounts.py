"""Accounts: what they do, and what they are to do."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.accounts.picture import is_picture
from orchestrator.accounts.settings import MOST_TAGS
from orchestrator.gateway.http import models
from orchestrator.gateway.http.asking import AccountName, Asker, Denied, Key, Operator, Reader
from orchestrator.gateway.http.describing import answers, file_of, problems_of
from orchestrator.gateway.http.needs import Json
from orchestrator.store.codes import draw

router = APIRouter(prefix="/api/accounts", tags=["Accounts"])

Tags: TypeAlias = Annotated[
    str | None,
    Query(
        alias="tag",
        # One text, for a list of one tag in a URL cannot be told from a tag.
        pattern=f"^{NAME_PATTERN}(,{NAME_PATTERN}){{0,{MOST_TAGS - 1}}}$",
        description="Only accounts with this tag; with commas between, those with all of these tags.",
        examples=["sales,brazil"],
    ),
]

_CHANGE_SECONDS: Final = 60.0
"""How long the service may take to change the configuration, or to end a process."""
_PNG: Final = "image/png"


@router.get("", summary="List accounts", responses=answers(models.Accounts))
async def list_accounts(asker: Reader, tags: Tags = None) -> Response:
    """Return all accounts that the token sees, as `orchestrator list --json` shows them."""
    result = await asker.look("list")
    wanted = set() if tags is None else set(tags.split(","))
    accounts = [
        one
        for one in result["accounts"]
        if asker.principal.sees(one["name"]) and wanted.issubset(one.get("tags", ()))
    ]
    return JSONResponse({"accounts": accounts})


@router.post(
    "",
    summary="Add an account",
    status_code=201,
    responses=answers(models.One, 201) | problems_of(404, 409),
)
async def add_account(asker: Operator, new: models.NewAccount, key: Key = None) -> Response:  # noqa: ARG001
    """Add an account to the configuration. If it is enabled, it starts at once and shows a code."""
    asker.sees(new.name)

    async def add() -> Json:
        values = new.model_dump(exclude={"name"}, exclude_none=True)
        return _account(await asker.call("add", seconds=_CHANGE_SECONDS, name=new.name, **values))

    return await asker.once(new.name, add, status=201)


@router.get("/{name}", summary="Explain an account", responses=answers(models.Explained) | problems_of(404))
async def explain_account(
    asker: Reader,
    name: AccountName,
    entries: Annotated[int, Query(ge=0, le=1000, description="How many entries of the timeline.")] = 20,
) -> Response:
    """Return an account, what is ahead of it, and what happened, as `orchestrator explain --json` does."""
    asker.sees(name)
    return JSONResponse(await asker.look("explain", name=name, entries=entries))


@router.delete(
    "/{name}", summary="Remove an account", responses=answers(models.Removed) | problems_of(404, 409)
)
async def remove_account(
    asker: Operator,
    name: AccountName,
    keep_session: Annotated[
        bool, Query(description="Leave the session and the messages in place, to add the account again.")
    ] = False,
    unlink: Annotated[
        bool, Query(description="Ask WhatsApp to unlink the device. A session that is kept is not unlinked.")
    ] = True,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Remove an account from the configuration. Its session and messages move to quarantine."""
    asker.sees(name)

    async def remove() -> Json:
        result = await asker.call(
            "remove", seconds=_CHANGE_SECONDS, name=name, keep_session=keep_session,
            unlink=unlink and not keep_session,
        )  # fmt: skip
        return {field: result.get(field) for field in ("unlinked", "why_linked")}

    return await asker.once(name, remove)


def _order(order: Literal["start", "stop", "restart"], about: str) -> None:
    @router.post(
        f"/{{name}}/{order}",
        name=f"{order}_account",
        summary=f"{order.capitalize()} an account",
        description=about,
        responses=answers(models.One) | problems_of(404, 409),
    )
    async def give_order(asker: Operator, name: AccountName, key: Key = None) -> Response:  # noqa: ARG001
        asker.sees(name)

        async def give() -> Json:
            more = {"wait": True} if order == "stop" else {}
            return _account(await asker.call(order, seconds=_CHANGE_SECONDS, name=name, **more))

        return await asker.once(name, give)


_order("start", "Start an account that is stopped, failed or waiting.")
_order("stop", "Stop an account. It stays stopped until it is started, also when the service restarts.")
_order("restart", "Restart the account's process. The session is kept, so no new code is needed.")


@router.post(
    "/{name}/repair", summary="Link an account anew", responses=answers(models.One) | problems_of(404, 409)
)
async def repair_account(
    asker: Operator,
    name: AccountName,
    how: Annotated[models.Repair | None, Body()] = None,
    key: Key = None,  # noqa: ARG001
) -> Response:
    """Throw the session away and show a new code. Get the code with `GET …/qr.png` or `GET …/code`."""
    asker.sees(name)
    wanted = how or models.Repair()

    async def repair() -> Json:
        return _account(
            await asker.call("repair", name=name, pairing=wanted.pairing, any_phone=wanted.any_phone)
        )

    return await asker.once(name, repair)


@router.get(
    "/{name}/code",
    summary="The present code",
    tags=["Codes"],
    responses=answers(models.Code) | problems_of(404, 409),
)
async def get_code(asker: Operator, name: AccountName) -> Response:
    """Return the code to link a phone with. It is a secret: whoever has it can take the account."""
    asker.sees(name)
    code = await _code(asker, name)
    about = {"kind": code["kind"], "text": code["text"], "expires_at": _iso(code["expires_at"])}
    return JSONResponse(about, headers=_until(code["expires_at"]))


@router.get(
    "/{name}/qr.png",
    summary="The present QR code as a picture",
    tags=["Codes"],
    response_class=Response,
    responses=file_of("The picture.", _PNG) | problems_of(404, 409),
)
async def get_picture(asker: Operator, name: AccountName) -> Response:
    """Return the code as a PNG, black on white. It is a secret: whoever sees it can take the account."""
    asker.sees(name)
    code = await _code(asker, name)
    if code["kind"] != "qr":
        raise Denied("no_code")
    picture = _given(code.get("png"))
    if picture is None and code["text"] is None:
        raise Denied("no_code")
    if picture is None:
        expires = _seconds(code["expires_at"]) or 0.0
        picture = await asyncio.to_thread(draw.render, str(code["text"]), expires)
    return Response(picture, headers=_until(code["expires_at"]), media_type=_PNG)


async def _code(asker: Asker, name: str) -> Json:
    found = await asker.call("code", name=name)
    text, kind = found.get("text"), found.get("kind")
    # Of an account that another machine of a cluster runs, there is the picture.
    is_picture = text is None and kind == "qr" and isinstance(found.get("png"), str)
    if not (is_picture or (isinstance(text, str) and kind in ("qr", "link"))):
        raise Denied("no_code")
    return {"expires_at": None} | found


def _account(result: Json) -> Json:
    return {field: result[field] for field in ("account", "warning") if field in result}


def _given(png: object) -> bytes | None:
    """Return the picture that the account's process has drawn, if it is one."""
    if not isinstance(png, str):
        return None
    try:
        data = base64.b64decode(png, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if is_picture(data) else None


def _until(expires_at: object) -> dict[str, str]:
    """Return the headers that keep everybody from keeping a code."""
    seconds = _seconds(expires_at)
    headers = {"Cache-Control": "no-store"}
    if seconds is not None:
        headers["Expires"] = format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)
    return headers


def _seconds(moment: object) -> float | None:
    """Return a moment, in Unix seconds or in ISO form, as Unix seconds."""
    if isinstance(moment, int | float) and 0 <= moment < 2**33:
        return float(moment)
    if isinstance(moment, str):
        try:
            return datetime.fromisoformat(moment).timestamp()
        except ValueError:
            return None
    return None


def _iso(moment: object) -> str | None:
    seconds = _seconds(moment)
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
