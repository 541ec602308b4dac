"""The face of Meta's WhatsApp Cloud API: `/vNN.N/…`, for programs that were written for that one.

It is an application of its own beside the API, because its errors look otherwise. What a client's words mean
is decided in `gateway.cloud`; here it is done, with the rights of the client's token.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from orchestrator.access.scopes import Scope as Right
from orchestrator.accounts import bounds
from orchestrator.accounts.acts import BadAct
from orchestrator.consumers.settings import Http
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.cloud import answers, asks, faults, ids, paths
from orchestrator.gateway.cloud.faults import Fault, FaultError
from orchestrator.gateway.http.asking import Asker, Denied, Shared
from orchestrator.gateway.http.cloud_errors import refusal
from orchestrator.gateway.http.forms import Incoming
from orchestrator.gateway.http.head import RefusedError
from orchestrator.gateway.http.routes import media as files
from orchestrator.gateway.sending import NotSent, check, owner_of

Json: TypeAlias = dict[str, Any]

WAIT_SECONDS: Final = 4.0
"""How long a client waits for WhatsApp's word. httpx, which pywa and others use as it is, gives up after 5 s,
and a program that has given up may send again. What takes longer gets a name of its own: see `promised`."""
_IN_DOUBT: Final = frozenset({"no_answer", "not_running", "delivery_unknown"})
"""What leaves open whether the service has taken a message."""
_GROUP_PICTURE: Final = "pictures of groups cannot be changed"


class Cloud:
    """The application.

    Args:
        shared: What all requests share.

    Attributes:
        state: The same, where `Asker` looks for it.
    """

    def __init__(self, shared: Shared) -> None:
        self.state = State({"shared": shared})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["app"] = self
        try:
            response = await self._answer(Request(scope, receive))
        except FaultError as error:
            response = _refused(error.fault)
        except BadAct as error:  # its words name the field, and quote nothing
            response = _refused(faults.invalid(str(error)).fault)
        except NotSent as error:
            response = _refused(_unsent(error))
        except OrchestratorError as error:
            response = _refused(faults.of_key(error.key))
        except RefusedError as error:
            response = _refused(faults.of_key(error.key, status=error.status))
        except HTTPException as error:
            key = "body_too_large" if error.status_code == 413 else "bad_request"
            response = _refused(faults.of_key(key, status=error.status_code))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = paths.read(request.scope["path"])
        if path is None:
            raise FaultError(faults.of_key("no_such_path"))
        take, right = _taker(request.method, path.edge)
        # For the log, which has forms of paths and no word of a client's.
        request.scope["route"] = SimpleNamespace(path=f"/v/{{id}}/{path.edge}".rstrip("/"))
        asker = Asker(request)
        if not asker.principal.may(right):
            raise FaultError(faults.of_key("scope_missing"))
        found = await take(asker, path.what)
        return JSONResponse(found) if isinstance(found, dict) else found


def _refused(fault: Fault) -> Response:
    body, headers = refusal(fault)
    return Response(body, fault.status, headers)


def _unsent(error: NotSent) -> Fault:
    return faults.of_row(error.row) if error.key == NotSent.key else faults.of_key(error.key)


# Which account is meant, and what


async def _account(asker: Asker, name: str) -> str:
    """Return the account that a client names.

    Raises:
        Denied: There is none of that name or number, for all that the client knows.
    """
    found = await asker.services.numbers.account(name)
    if found is None or not asker.principal.sees(found):
        raise Denied("no_such_account")
    return found


async def _account_of_group(asker: Asker, group: str) -> str:
    """Return the account that is in a group. With several accounts, `phone_number_id` says which.

    Raises:
        FaultError: It is not clear.
        Denied: There is no such account.
    """
    named = asker.request.query_params.get("phone_number_id")
    if named:
        return await _account(asker, named)
    if not ids.is_group(group):
        raise Denied("no_such_account")
    seen = sorted(asker.accounts())
    if len(seen) != 1:
        raise faults.invalid("phone_number_id must say which account is meant: the token sees several")
    return seen[0]


async def _body(request: Request) -> Any:  # noqa: ANN401 - JSON
    raw = await request.body()
    try:
        return json.loads(raw, parse_constant=bounds.no_constant)
    except (ValueError, RecursionError, bounds.BoundsError):
        raise faults.invalid("the body is not valid JSON") from None


# Messages


async def _messages(asker: Asker, name: str) -> Json:
    account = await _account(asker, name)
    http = asker.services.settings.http or Http()
    asked = asks.parse(await _body(asker.request), as_text=http.interactive == "text")
    if isinstance(asked, asks.Mark):
        await _mark(asker, account, asked)
        return answers.DONE
    message = dict(asked.message)
    for field in ("reply_to", "message"):
        if field in message:
            message[field] = await _named(asker, account, message[field])
    try:
        done = await asker.wait_for(
            asker.services.sending.submit(asker.principal, account, message, asker.key(), WAIT_SECONDS)
        )
    except OrchestratorError as error:
        raise faults.in_doubt() if error.key in _IN_DOUBT else error from None
    check(done.row)
    if done.row["id"] is None:
        await asker.services.promised.note(account, done.row["row"])
    return answers.sent(done.row, asked.to)


async def _mark(asker: Asker, account: str, mark: asks.Mark) -> None:
    """Mark a message as read, and show that the account types. The Cloud API does not say in which chat."""
    message = await _named(asker, account, mark.message)
    chat = await asker.services.feed.chat_of(account, message)
    if chat is None:
        raise FaultError(faults.of_key("message_unknown"))
    read = {"kind": "read", "to": chat, "messages": [message]}
    sending = asker.services.sending
    done = await asker.wait_for(sending.submit(asker.principal, account, read, None, WAIT_SECONDS))
    check(done.row)
    if mark.typing:
        await sending.act(asker.principal, account, {"kind": "typing", "chat": chat, "state": "typing"})


async def _named(asker: Asker, account: str, message: str) -> str:
    """Return WhatsApp's identifier of a message that a client may know by its row in the outbox."""
    number = ids.row_of(message)
    if number is None:
        return message
    found = await asker.services.promised.message(account, number)
    # The outbox forgets a row sooner than people forget the message.
    found = found or (await asker.services.outboxes.row(account, number)).message
    if found is None:
        raise faults.invalid("the message was not sent yet")
    return found


# Files


async def _upload(asker: Asker, name: str) -> Json:
    account = await _account(asker, name)
    incoming = Incoming(asker.request)
    upload = await asker.services.uploads.save(
        incoming.pieces(),
        account,
        owner_of(asker.principal),
        most=asker.services.sending.largest(account),
        name=lambda: incoming.name,
    )
    return {"id": upload.id}


async def _media(asker: Asker, media: str) -> Json:
    accounts = await _accounts_with(asker)
    about: Mapping[str, Any]
    try:
        _, about = await asker.services.feed.find_media(media, accounts)
    except OrchestratorError as error:
        if error.key != "media_unknown":
            raise
        with _no_such_file():
            upload = await asker.services.uploads.find(media, accounts)
        about = {"mime_type": upload.mime_type, "sha256": upload.sha256, "size": upload.size}
    version = asker.request.scope["path"].split("/")[1]
    return answers.media(media, about, f"{_base(asker)}/{version}/{media}/content")


async def _content(asker: Asker, media: str) -> Response:
    accounts = await _accounts_with(asker)
    try:
        await asker.services.feed.find_media(media, accounts)
    except OrchestratorError as error:
        if error.key != "media_unknown":
            raise
        with _no_such_file():
            return await files.whole_upload(asker, media, accounts)
    headers = asker.request.headers
    return await files.get_media(asker, media, headers.get("range"), headers.get("if-range"))


async def _delete(asker: Asker, what: str) -> Json:
    if ids.is_group(what):
        raise faults.unsupported("a group cannot be deleted, only left")
    with _no_such_file():
        await asker.services.uploads.delete(what, await _accounts_with(asker))
    return answers.DONE


@contextlib.contextmanager
def _no_such_file() -> Iterator[None]:
    """Say of a file that is not there what is said of everything that is not there."""
    try:
        yield
    except OrchestratorError as error:
        raise (Denied("media_unknown") if error.key == "file_missing" else error) from None


async def _accounts_with(asker: Asker) -> frozenset[str]:
    """Return the accounts whose files a client may mean."""
    named = asker.request.query_params.get("phone_number_id")
    return frozenset({await _account(asker, named)}) if named else asker.accounts()


def _base(asker: Asker) -> str:
    """Return the URL that the client reaches the server by."""
    http = asker.services.settings.http or Http()
    return http.public_url or f"http://{asker.request.headers.get('host', '')}"


# Accounts, groups and files by their id alone


async def _look(asker: Asker, what: str) -> Json:
    if ids.is_group(what):
        account = await _account_of_group(asker, what)
        found = await asker.services.sending.look(asker.principal, account, {"kind": "group", "group": what})
        return answers.group(found["group"])
    try:
        account = await _account(asker, what)
    except Denied:
        return await _media(asker, what)
    return await _number(asker, account)


async def _number(asker: Asker, account: str) -> Json:
    view = asker.services.accounts.own.get(account)
    if view is None:
        raise Denied("no_such_account")
    return answers.number(view, await asker.services.numbers.of(account))


async def _numbers(asker: Asker, what: str) -> Json:
    return {"data": [await _number(asker, await _account(asker, what))]}


async def _templates(asker: Asker, what: str) -> Json:
    await _account(asker, what)
    return {"data": [], "paging": {"cursors": {}}}


async def _profile(asker: Asker, what: str) -> Json:
    await _account(asker, what)
    return {"data": [{"messaging_product": "whatsapp"}]}


async def _apps(asker: Asker, what: str) -> Json:
    await _account(asker, what)
    return answers.apps()


async def _subscribe(asker: Asker, what: str) -> Json:
    await _account(asker, what)
    return answers.DONE


async def _token(asker: Asker, _: str) -> Json:
    return answers.token(frozenset(asker.principal.scopes))


# Groups


async def _groups(asker: Asker, what: str) -> Json:
    account = await _account(asker, what)
    return answers.groups(await asker.services.sending.look(asker.principal, account, {"kind": "groups"}))


async def _make_group(asker: Asker, what: str) -> Json:
    account = await _account(asker, what)
    asked = await _object(asker)
    members = _people(asked)
    act = {"kind": "group_create", "subject": asked.get("subject"), "members": members}
    made = (await asker.services.sending.act(asker.principal, account, act))["group"]
    if asked.get("description"):
        await _act(asker, account, "group_description", made["id"], description=asked["description"])
    return answers.changed(made["id"])


async def _change_group(asker: Asker, group: str) -> Json:
    account = await _account_of_group(asker, group)
    asked = await _fields(asker)
    for field in ("subject", "description"):
        if field in asked:
            await _act(asker, account, f"group_{field}", group, **{field: asked[field]})
    return answers.changed(group)


async def _invite(asker: Asker, group: str) -> Json:
    account = await _account_of_group(asker, group)
    found = await _act(asker, account, "group_invite", group, reset=asker.request.method == "POST")
    return {"messaging_product": "whatsapp", "invite_link": found["link"]}


async def _remove(asker: Asker, group: str) -> Json:
    account = await _account_of_group(asker, group)
    members = _people(await _object(asker))
    await _act(asker, account, "group_members", group, change="remove", members=members)
    return answers.changed(group)


async def _act(asker: Asker, account: str, kind: str, group: str, **more: object) -> Json:
    action = {"kind": kind, "group": group, **more}
    return await asker.services.sending.act(asker.principal, account, action)


def _people(asked: Mapping[str, Any]) -> list[str]:
    """Return the addresses of `participants`, each an object with `user` or `user_id`."""
    listed = asked.get("participants") or []
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise faults.invalid("participants must be a list of objects")
    names = [one.get("user") or one.get("user_id") for one in listed]
    try:
        return [ids.chat_of(str(name)) for name in names]
    except ids.NotSomebodyError as error:
        raise faults.invalid(f"participants: {error}") from None


async def _object(asker: Asker) -> Mapping[str, Any]:
    asked = await _body(asker.request)
    if not isinstance(asked, Mapping):
        raise faults.invalid("the body must be an object")
    return asked


async def _fields(asker: Asker) -> Mapping[str, Any]:
    """Return the fields of a body, which is JSON or a form."""
    if not asker.request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _object(asker)
    incoming = Incoming(asker.request)
    try:
        async for _ in incoming.pieces():
            raise faults.unsupported(_GROUP_PICTURE)
    except OrchestratorError as error:
        if error.key != "file_missing":
            raise
    return incoming.fields


_Take: TypeAlias = Callable[[Asker, str], Awaitable[Json | Response]]
_EDGES: Final[Mapping[tuple[str, str], tuple[_Take, Right]]] = {
    ("POST", "messages"): (_messages, "send"),
    ("POST", "media"): (_upload, "send"),
    ("GET", ""): (_look, "read"),
    ("DELETE", ""): (_delete, "send"),
    ("GET", "content"): (_content, "read"),
    ("GET", "message_templates"): (_templates, "read"),
    ("GET", "phone_numbers"): (_numbers, "read"),
    ("GET", "whatsapp_business_profile"): (_profile, "read"),
    ("GET", "subscribed_apps"): (_apps, "read"),
    ("POST", "subscribed_apps"): (_subscribe, "read"),
    ("GET", "debug_token"): (_token, "read"),
    ("GET", "groups"): (_groups, "read"),
    ("POST", "groups"): (_make_group, "send"),
    ("POST", ""): (_change_group, "send"),
    ("GET", "invite_link"): (_invite, "send"),
    ("POST", "invite_link"): (_invite, "send"),
    ("DELETE", "participants"): (_remove, "send"),
}
"""What is done by method and last part of the path, and which scope it needs."""


def _taker(method: str, edge: str) -> tuple[_Take, Right]:
    """Return what answers a request.

    Raises:
        FaultError: Nothing does.
    """
    found = _EDGES.get((method, edge))
    if found is None:
        known = any(edge == one for _, one in _EDGES)
        raise FaultError(faults.of_key("method_not_allowed" if known else "no_such_path"))
    return found
