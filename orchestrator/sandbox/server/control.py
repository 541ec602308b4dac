"""The control interface: HTTP and JSON on loopback, for tests, for people, and for the CLI."""

from __future__ import annotations

import asyncio
import base64
import hmac
import io
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias

import zxingcpp
from PIL import Image, UnidentifiedImageError

from orchestrator.sandbox.crypto.linking import LinkingError, QRText, normalise_code
from orchestrator.sandbox.server import groups
from orchestrator.sandbox.server.acts import Acts
from orchestrator.sandbox.server.channel import Channel, Closed, OpenChannels
from orchestrator.sandbox.server.faults import KINDS, Fault, FaultError
from orchestrator.sandbox.server.fields import Bad, Field, NotPossible, parse_number
from orchestrator.sandbox.server.groups import GroupError
from orchestrator.sandbox.server.http import Request, Response, json_response, serve
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.listener import Listener
from orchestrator.sandbox.server.pairing import NOT_SHOWN, LinkingRefused, Pairing
from orchestrator.sandbox.server.reading import HIDDEN
from orchestrator.sandbox.server.session import Session
from orchestrator.sandbox.server.store import Device, Group, Person
from orchestrator.sandbox.wire.jid import GROUP, JID, STATUS
from orchestrator.sandbox.wire.node import Node, NodeError

log = logging.getLogger(__name__)

MAX_WAIT = 60.0
"""Seconds for which a request for events may be held open."""
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What a picture of a code may be; Pillow knows more, and starts other programs for some of it."""
MAX_PIXELS = 25_000_000
"""Pixels a picture of a code may have; a screen's has fewer."""

Json: TypeAlias = dict[str, Any]


class Control:
    """Carries out what the control interface is asked for.

    Args:
        hub: The server's common ground.
        listener: Its port.
        about: What ``GET /`` says besides.
        secret: What each request must bring along.
        token_file: Where that secret is, for those who do not know.
    """

    def __init__(
        self, hub: Hub, listener: Listener, about: Mapping[str, Any], secret: str, token_file: Path
    ) -> None:
        self._secret = secret
        self._token_file = token_file
        self._hub = hub
        self._listener = listener
        self._about = about
        self._server: asyncio.Server | None = None
        self._channels = OpenChannels()
        self.port = 0
        self._routes: dict[tuple[str, str], Callable[[Field], Awaitable[Any] | Any]] = {
            ("GET", "/"): lambda _: {**self._about, "control_port": self.port},
            ("GET", "/state"): self._state,
            ("GET", "/phones"): lambda _: self._phones(),
            ("POST", "/phones"): self._add_phone,
            ("POST", "/scan"): self._scan,
            ("POST", "/code"): self._enter_code,
            ("POST", "/unlink"): self._unlink,
            ("POST", "/send"): self._send,
            **Acts(hub, self._address).routes,
            ("GET", "/inbox"): self._inbox,
            ("GET", "/sent"): self._outbox,
            ("GET", "/messages"): self._messages,
            ("GET", "/typing"): lambda given: hub.phone(given.number("phone")).screen.typing(),
            ("GET", "/attachment"): self._attachment,
            ("POST", "/forget-sessions"): self._forget_sessions,
            ("GET", "/groups"): lambda _: [_group_json(group) for group in hub.store.groups()],
            ("POST", "/groups"): self._make_group,
            ("POST", "/groups/change"): self._change_group,
            ("GET", "/events"): self._events,
            ("GET", "/faults"): lambda _: self._faults(hub.faults.active()),
            ("POST", "/faults"): self._add_fault,
            ("DELETE", "/faults"): self._clear_faults,
        }

    # The port

    async def start(self, port: int = 0) -> None:
        """Listen on loopback.

        Raises:
            OSError: The port is taken.
        """
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server:
            self._server.close()
        await self._channels.end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, 0)
        self._channels.add(channel)
        try:
            await serve(channel, self.handle, refuse=self.refuse)
        except Closed:
            pass
        except asyncio.CancelledError:
            channel.abort()  # the server stops; raised further, Python 3.11 would log a traceback
        finally:
            await channel.close()
            self._channels.discard(channel)

    def refuse(self, request: Request) -> Response | None:
        """Answer a request that is not from a program of this sandbox's user; None if it is.

        A page in a browser can send requests here, too, and by a name of its own that leads to this machine.
        """
        refusal = judge(request.method, request.headers, self.port, self._secret)
        if refusal is None:
            return None
        status, why = refusal
        said = {"error": why}
        if status == HTTPStatus.UNAUTHORIZED:
            said["token_file"] = str(self._token_file)
        return json_response(said, status)

    async def handle(self, request: Request) -> Response:
        """Carry out a request; whatever is wrong with it is said in the answer."""
        try:
            route = self._routes.get((request.method, request.path.rstrip("/") or "/"))
            if route is None:
                known = ", ".join(f"{method} {path}" for method, path in self._routes)
                why = f"there is no {request.method} {request.path}; there is {known}"
                return json_response({"error": why}, 404)
            result = route(Field(_body(request)))
            return json_response(await result if asyncio.iscoroutine(result) else result)
        except (Bad, FaultError, LinkingError, NodeError) as error:
            return json_response({"error": str(error)}, 400)
        except (NotPossible, LinkingRefused, GroupError) as error:
            return json_response({"error": str(error)}, 409)
        except Closed as error:
            return json_response({"error": f"the client has gone: {error}"}, 409)
        except Exception:
            log.exception("the control request %s %s failed", request.method, request.path)
            return json_response({"error": "an error of the sandbox itself; its log has the traceback"}, 500)

    # What there is

    def _state(self, _: Field) -> Json:
        return {
            "phones": self._phones(),
            "groups": [_group_json(group) for group in self._hub.store.groups()],
            "connections": [_connection_json(session) for session in self._listener.sessions()],
            "faults": self._faults(self._hub.faults.active()),
            "last_event": self._hub.events.last,
        }

    def _phones(self) -> list[Json]:
        store = self._hub.store
        waiting = store.queue_lengths()
        devices: dict[str, list[Json]] = {}
        for device in store.devices():
            session = self._hub.online.get(device.key)
            devices.setdefault(device.number, []).append(
                {
                    "device": device.device,
                    "os": device.os,
                    "online": session is not None and session.active,
                    "connection": session.number if session else None,
                    "queued": waiting.get(device.key, 0),
                    "prekeys": store.prekey_count(device.key),
                    "linked_at": device.linked_at,
                }
            )
        return [
            {
                "phone": f"+{person.number}",
                "name": person.name,
                "lid": str(person.lid_jid),
                "devices": devices.get(person.number, []),
            }
            for person in store.people()
        ]

    # Phones

    def _add_phone(self, given: Field) -> Json:
        number = given.number("phone")
        if self._hub.store.person(number):
            raise NotPossible(f"+{number} is there already")
        person = self._hub.phone_made_if_needed(number, given.optional("name")).person
        return {"phone": f"+{person.number}", "name": person.name, "lid": str(person.lid_jid)}

    async def _scan(self, given: Field) -> Json:
        number = given.number("phone")
        text = given.optional("text")
        if text is None:
            text = await asyncio.to_thread(read_code, given.data("png"))
        code = QRText.parse(text)
        pairing = self._pairing_of(code)
        return _linked(await pairing.scanned(self._hub.phone_made_if_needed(number), code))

    def _pairing_of(self, code: QRText) -> Pairing:
        for pairing in self._listener.pairings():
            if pairing.shows(code.ref):
                return pairing
        raise NotPossible(NOT_SHOWN)

    async def _enter_code(self, given: Field) -> Json:
        number = given.number("phone")
        code = normalise_code(given.text("code"))
        for pairing in self._listener.pairings():
            if pairing.code_number == number:
                phone = self._hub.phone_made_if_needed(number)
                return _linked(await pairing.enter_code(phone, code))
        raise NotPossible(f"no client waits for a code of +{number}")

    def _unlink(self, given: Field) -> Json:
        number, device = given.number("phone"), given.whole("device")
        self._hub.person(number)
        keys = [d.key for d in self._hub.store.devices(number) if device in (None, d.device)]
        if not keys:
            raise NotPossible(f"+{number} has no linked device{'' if device is None else f' {device}'}")
        return {"unlinked": [device for number, device in keys if self._hub.unlink((number, device))]}

    def _forget_sessions(self, given: Field) -> Json:
        self._hub.phone(given.number("phone")).forget_sessions()
        return {}

    # Messages

    def _send(self, given: Field) -> Json:
        phone = self._hub.phone(given.number("from"))
        to = self._address(given.text("to"))
        groups.check_sender(self._hub, to, phone.person.number)
        return {"id": phone.send(to, given)}

    def _address(self, text: str) -> JID:
        if text in ("status", str(STATUS)):
            return STATUS
        if text.endswith(f"@{GROUP}") or re.fullmatch(r"120363[0-9]+", text):
            return groups.address_of(text)
        return self._hub.person(parse_number(text)).lid_jid

    def _inbox(self, given: Field) -> list[Json]:
        number = given.number("phone")
        self._hub.person(number)
        messages = self._hub.store.inbox(number, given.asked("after"))
        return [{key: value for key, value in item.items() if key not in HIDDEN} for item in messages]

    def _outbox(self, given: Field) -> list[Json]:
        messages = self._hub.phone(given.number("phone")).screen.sent()
        return [{key: value for key, value in item.items() if key not in HIDDEN} for item in messages]

    def _messages(self, given: Field) -> list[Json]:
        phone = self._hub.phone(given.number("phone"))
        chat = given.optional("chat") or ""
        if chat:
            address = self._address(chat)
            person = self._hub.store.person_by_jid(address)
            chat = f"+{person.number}" if person else str(address)
        return [
            {key: value for key, value in one.items() if key not in HIDDEN}
            for one in phone.screen.messages(chat)
        ]

    def _attachment(self, given: Field) -> Json:
        data = self._hub.phone(given.number("phone")).attachment(given.asked("seq"))
        if data is None:
            raise NotPossible("no attachment has this number in the phone's inbox")
        return {"data": base64.b64encode(data).decode()}

    # Groups

    def _make_group(self, given: Field) -> Json:
        creator = self._hub.person(given.number("phone"))
        members = [self._hub.person(parse_number(text)) for text in given.texts("members")]
        return _group_json(groups.create(self._hub, creator, given.text("subject"), members))

    def _change_group(self, given: Field) -> Json:
        actor = self._hub.person(given.number("phone"))
        group = self._hub.store.group(groups.address_of(given.text("group")).user)
        if group is None:
            raise NotPossible("no such group")
        change = given.text("change")
        if change == "subject":
            return _group_json(groups.set_subject(self._hub, actor, group, given.text("subject")))
        if change in groups.CHANGES:
            return _group_json(self._change_setting(given, actor, group, change))
        if change not in groups.MEMBER_CHANGES:
            known = ("subject", *groups.MEMBER_CHANGES, *groups.CHANGES)
            raise Bad(f"'change' must be one of {', '.join(known)}")
        people = [self._hub.person(parse_number(text)) for text in given.texts("members")]
        return _group_json(groups.change_members(self._hub, actor, group, change, people))

    def _change_setting(self, given: Field, actor: Person, group: Group, change: str) -> Group:
        match change:
            case "description":
                return groups.set_description(self._hub, actor, group, given.words("value"))
            case "invite":
                return groups.set_invite(self._hub, actor, group)
            case "join":
                return groups.join(self._hub, actor, group, given.text("value"))
            case "delete":
                return groups.delete(self._hub, actor, group)
            case "ephemeral":
                seconds = given.count("value")
                return groups.change_setting(self._hub, actor, group, change, str(seconds) if seconds else "")
            case _:
                value = "1" if given.flag("value") else ""
                return groups.change_setting(self._hub, actor, group, change, value)

    # Events

    async def _events(self, given: Field) -> Json:
        since, wait = given.asked("since"), given.asked("wait")
        events = await self._hub.events.wait(since, min(wait, MAX_WAIT))
        return {"events": events, "last": self._hub.events.last}

    # Faults

    def _faults(self, faults: list[Fault]) -> list[Json]:
        now = asyncio.get_running_loop().time()
        return [fault.public(now) for fault in faults]

    def _add_fault(self, given: Field) -> Json:
        fault = self._hub.faults.make(given.body)
        strike = _NOW.get(fault.kind)
        if strike is not None:
            self._strike_now(fault, strike)
        else:
            self._hub.faults.add(fault)
            if fault.kind == "refuse":
                fault.struck = self._listener.refuse(fault)
            elif KINDS[fault.kind].lasting:
                self._hold_open_connections(fault)
        self._hub.events.add("fault-set", kind=fault.kind, fault=fault.id, target=str(fault.target))
        return self._faults([fault])[0]

    def _hold_open_connections(self, fault: Fault) -> None:
        for session in self._listener.sessions():
            if fault.target.matches(session.who):
                self._hub.faults.hold(fault.kind, session.who)

    def _strike_now(self, fault: Fault, strike: Callable[[Hub, Session, Fault], None]) -> None:
        sessions = [session for _, session in self._listener.matching(fault) if session]
        if fault.kind == "logged-out":
            sessions = [session for session in sessions if session.key]
        if not sessions:
            raise NotPossible(f"{fault.kind}: no open connection is {fault.target}")
        for session in sessions:
            strike(self._hub, session, fault)
            fault.struck += 1
            who = session.who
            self._hub.events.add(
                "fault", kind=fault.kind, fault=fault.id, connection=who.connection, phone=who.number
            )

    async def _clear_faults(self, given: Field) -> list[Json]:
        wanted = given.asked("id") if "id" in given.body else None
        gone = self._hub.faults.clear(wanted)
        if wanted is not None and not gone:
            raise NotPossible(f"there is no fault {wanted}; it may have struck often enough")
        await self._listener.reopen()
        return self._faults(gone)


def judge(method: str, headers: Mapping[str, str], port: int, secret: str) -> tuple[int, str] | None:
    """Return status and reason if a request is to be refused by its head, None if it is to be carried out.

    Args:
        method: The request's method.
        headers: Its headers, names in lower case.
        port: The port that it came in on.
        secret: What it must bring along.
    """
    if headers.get("host", "").lower() not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
        return HTTPStatus.MISDIRECTED_REQUEST, f"the sandbox is called 127.0.0.1:{port}, and by no other name"
    if "origin" in headers:
        return HTTPStatus.FORBIDDEN, "the sandbox takes no requests from pages in a browser"
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), secret.encode()):
        return HTTPStatus.UNAUTHORIZED, "the request lacks the sandbox's secret, or has another one"
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (method == "POST" or has_body) and kind != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a request's body must be application/json"
    return None


def _log_out(hub: Hub, session: Session, _: Fault) -> None:
    if session.key:
        hub.unlink(session.key)


def _replace(_: Hub, session: Session, __: Fault) -> None:
    session.end_soon(Node("stream:error", {}, [Node("conflict", {"type": "replaced"})]))


def _stream_error(_: Hub, session: Session, fault: Fault) -> None:
    session.end_soon(Node("stream:error", {"code": str(fault.params["code"])}))


def _reset(_: Hub, session: Session, __: Fault) -> None:
    session.reset()


def _close(_: Hub, session: Session, __: Fault) -> None:
    session.end_soon()


_NOW: dict[str, Callable[[Hub, Session, Fault], None]] = {
    "logged-out": _log_out,
    "replaced": _replace,
    "stream-error": _stream_error,
    "reset": _reset,
    "close": _close,
}
"""How the kinds of fault that strike at once do it."""


def read_code(png: bytes) -> str:
    """Return the text of the one QR code in a picture, as a phone's camera would find it.

    Raises:
        Bad: It is no picture, or not exactly one QR code is in it.
    """
    try:
        with Image.open(io.BytesIO(png), formats=PICTURES) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Bad(f"a picture of {image.width} x {image.height} pixels is too large")
            found = zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.BarcodeFormat.QRCode)
    except UnidentifiedImageError:
        raise Bad("not a picture of a known format") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Bad(f"not a picture that can be read: {error}") from None
    if len(found) != 1:
        raise Bad(f"{len(found) or 'no'} QR codes are in the picture, instead of one")
    return str(found[0].text)


def _body(request: Request) -> Mapping[str, Any]:
    if request.method != "POST":
        return request.query
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Bad(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Bad("the body must be a JSON object")
    return body


def _linked(device: Device) -> Json:
    return {"phone": f"+{device.number}", "device": device.device}


def _group_json(group: Group) -> Json:
    members = {f"+{number}": role or "member" for number, role in group.members.items()}
    shown = {name: value for name, value in group.settings.items() if name not in groups.HIDDEN_SETTINGS}
    return {"group": str(group.jid), "subject": group.subject, "members": members, "settings": shown}


def _connection_json(session: Session) -> Json:
    who = session.who
    state = "online" if session.active else "logged-in" if session.device else "linking"
    return {
        "connection": who.connection,
        "phone": f"+{who.number}" if who.number else None,
        "device": who.device,
        "state": state if who.identified else "handshake",
        "proxy_user": who.proxy_user,
        "since": round(session.opened_at, 3),
        **session.client,
    }
