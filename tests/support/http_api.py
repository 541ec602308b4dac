"""The HTTP API on a real socket, with real tokens, and with stand-ins for the service and the inboxes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.http_client import Answer, connect, listener, raw, request, until

from orchestrator.access import token as token_form
from orchestrator.access import tokens as token_file
from orchestrator.access.scopes import SCOPES, Principal, Scope
from orchestrator.access.tokens import Tokens
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.consumers.wire import Keep
from orchestrator.control.outlook import outlook
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount, OrchestratorError
from orchestrator.gateway.cloud.numbers import Numbers
from orchestrator.gateway.cloud.promised import Promised
from orchestrator.gateway.feed import Batch, OpenMedia, Rendered
from orchestrator.gateway.http.app import Api
from orchestrator.gateway.links import Links
from orchestrator.gateway.metrics import Times
from orchestrator.gateway.outboxes import Page
from orchestrator.gateway.page.board import Board
from orchestrator.gateway.page.flows import Flows
from orchestrator.gateway.sending import LARGEST, Submitter
from orchestrator.gateway.uploads import Uploads
from orchestrator.messages.outbox_reader import Tally
from orchestrator.sending import asks, wire
from orchestrator.sending.forms import MEDIA
from orchestrator.sending.row import Row, State
from orchestrator.store.codes import draw

Json = dict[str, Any]
CODE = "2@" + "A" * 200


class StandInParent:
    """The service, with the accounts that it was given."""

    def __init__(self, names: Iterable[str]) -> None:
        self.views = {name: AccountView(name, "connected", phone="+49…01") for name in names}
        self.own = self.views
        self.asked: list[tuple[Principal, str, Json]] = []
        self.phones = {name: f"+1555010{number}" for number, name in enumerate(self.views)}
        self.errors: dict[str, Exception] = {}
        self.codes: dict[str, Json] = {}
        self.rows: dict[str, list[Row]] = {}
        self.desks: dict[str, str] = {}
        self.keys: dict[tuple[str, str, str], tuple[str, int]] = {}
        self.files: list[bytes] = []
        self.previews: list[tuple[Json, bytes]] = []
        self.ends: State = State.QUEUED
        self.why: str | None = None
        group = {"id": "120363041234567890@g.us", "subject": "Team", "member_count": 1}
        self.results: dict[str, Json] = {
            "groups": {"groups": [group], "groups_left_out": 0},
            "group": {"group": group},
            "group_create": {"group": group},
            "group_members": {"members": [{"id": "1@lid", "done": True, "code": None}]},
            "group_invite": {"link": "https://chat.whatsapp.com/AbCdEf"},
            "numbers": {"numbers": [{"number": "+4915100002", "exists": True, "id": "1@lid"}]},
        }
        self.answers: dict[str, Json] = {}
        self.go = asyncio.Event()
        self.go.set()

    async def ask(
        self,
        asker: Any,  # noqa: ANN401 - a principal, or the gateway itself
        command: str,
        /,
        *,
        seconds: float | None = 30.0,  # noqa: ARG002
        fds: Sequence[int] = (),
        **arguments: Any,  # noqa: ANN401
    ) -> Json:
        self.asked.append((asker, command, arguments))
        await self.go.wait()
        if command in self.errors:
            raise self.errors[command]
        if command in self.answers:
            return self.answers[command]
        name = arguments.get("name", "")
        if command in ("ping", "watching"):
            return {}
        if command == "list":
            wanted = arguments.get("names", list(self.views))
            phones = {name: self.phones.get(name) for name in wanted if arguments.get("reveal")}
            shown = [self.views[name] for name in wanted]
            return {
                "accounts": [one._replace(phone=phones.get(one.name, one.phone)).as_json() for one in shown]
            }
        if command == "add":
            if name in self.views:
                raise OrchestratorError(f"{name} is there already", key="account_exists")
            self.views[name] = AccountView(name, "starting")
            return self._account(name)
        if name not in self.views:
            raise NoSuchAccount(f"there is no account {name}")
        match command:
            case "explain":
                view = self.views[name]
                return {**self._account(name), "outlook": outlook(view).as_json(), "timeline": []}
            case "remove":
                del self.views[name]
                return {"unlinked": True, "why_linked": None}
            case "start" | "stop" | "restart" | "repair":
                return self._account(name)
            case "code":
                if name not in self.codes:
                    raise OrchestratorError(f"{name} shows no code", key="no_code")
                return self.codes[name]
            case "act" | "look":
                ask = asks.parse(arguments["action"])
                assert command == "act" or asks.changes_nothing(ask)
                return {"result": self.results.get(str(asks.kind(ask)), {})}
            case "send":
                return self._send(asker, fds, **arguments)
            case "take_back":
                return {"row": self._take_back(name, arguments["row"]).as_json()}
        raise OrchestratorError("unknown", key="unknown_command")

    def _account(self, name: str) -> Json:
        return {"account": self.views[name].as_json()}

    def _send(
        self,
        asker: Principal,
        fds: Sequence[int],
        *,
        name: str,
        message: Json,
        key: str | None = None,
        wait: float = 0,
        expires: float = 86_400,
        key_days: int = 3,
    ) -> Json:
        assert 0 <= wait <= 60
        assert 1 <= key_days <= 35
        preview = message.pop("preview", None)
        if preview is not None:
            self.previews.append((preview, os.pread(fds[0], 1 << 20, 0) if fds else b""))
        outgoing = wire.parse(message)
        content = json.dumps(wire.as_json(outgoing), sort_keys=True)
        if outgoing.kind in MEDIA:
            (fd,) = fds
            self.files.append(os.pread(fd, 1 << 20, 0))
            del message["media"]
            content = json.dumps(message, sort_keys=True) + hashlib.sha256(self.files[-1]).hexdigest()
        rows = self.rows.setdefault(name, [])
        known = None if key is None else self.keys.get((asker.id, name, key))
        if known is not None:
            if known[0] != content:
                raise OrchestratorError("other content", key="idempotency_conflict")
            return {"row": rows[known[1] - 1].as_json(), "again": True}
        now = time.time()
        message_id = "3EB0A1" if self.ends is State.SENT else None
        rows.append(
            Row(len(rows) + 1, outgoing.kind, outgoing.to, self.ends, now, now + expires, now, message_id,
                why=self.why, tag=outgoing.tag)
        )  # fmt: skip
        if key is not None:
            self.keys[asker.id, name, key] = (content, len(rows))
        return {"row": rows[-1].as_json(), "again": False}

    def _take_back(self, name: str, number: int) -> Row:
        rows = self.rows.get(name, [])
        if not 1 <= number <= len(rows):
            raise OrchestratorError("no such row", key="row_unknown")
        if rows[number - 1].state is not State.QUEUED:
            raise OrchestratorError("it does not wait", key="row_not_waiting")
        rows[number - 1] = replace(rows[number - 1], state=State.TAKEN_BACK)
        return rows[number - 1]


class StandInOutboxes:
    """The outboxes of the accounts, in memory."""

    def __init__(self, parent: StandInParent) -> None:
        self._parent = parent

    async def rows(
        self, account: str, after: int = 0, limit: int = 100, states: Iterable[State] | None = None
    ) -> Page:
        wanted = set(State if states is None else states)
        found = [one for one in self._parent.rows.get(account, ()) if one.number > after]
        found = [one for one in found if one.state in wanted]
        return Page(found[:limit], len(found) > limit)

    async def row(self, account: str, number: int) -> Row:
        rows = self._parent.rows.get(account, [])
        if not 1 <= number <= len(rows):
            raise OrchestratorError("no such row", key="row_unknown")
        return rows[number - 1]

    async def tally(self, account: str) -> Tally:
        rows = self._parent.rows.get(account, [])
        waiting = [one for one in rows if one.state is State.QUEUED]
        return Tally(
            Counter(one.state for one in rows),
            Counter(one.pace for one in waiting),
            min((one.created_at for one in waiting), default=None),
            min((one.queued_until for one in waiting if one.queued_until is not None), default=None),
            self._parent.desks.get(account),
        )


class StandInFeed:
    """The events of accounts, in memory."""

    def __init__(self, parent: StandInParent) -> None:
        self._parent = parent
        self.events: dict[tuple[str, str], list[Rendered]] = {}
        self.files: dict[str, tuple[str, bytes, Json]] = {}
        self.errors: dict[str, Exception] = {}
        self._watchers: list[Callable[[str, Any], None]] = []
        self.open_files: list[io.BytesIO] = []
        self.media_for: list[Principal] = []

    def add(
        self,
        account: str,
        stream: str = "messages",
        text: str = "Hello",
        chat: str = "1@lid",
        **data: str,
    ) -> Rendered:
        there = self.events.setdefault((account, stream), [])
        seq = there[-1].seq + 1 if there else 1
        kind = "message.received" if stream == "messages" else "account.connected"
        name = f"evt_{account}_{seq}" if stream == "messages" else f"evt_{account}_account_{seq}"
        body = {
            "id": name, "type": kind, "timestamp": "2026-11-28T10:00:00.123Z", "account": account,
            "seq": seq if stream == "messages" else None,
            "data": {"text": text, "chat": {"id": chat}, **data} if stream == "messages" else {},
        }  # fmt: skip
        event = Rendered(name, kind, account, stream, seq, chat, time.time(), json.dumps(body).encode())  # type: ignore[arg-type]
        there.append(event)
        for heard in list(self._watchers):
            heard(account, stream)
        return event

    def add_file(self, media: str, account: str, data: bytes, **about: object) -> None:
        self.files[media] = (account, data, {"id": media, "mime_type": "text/html", **about})

    def accounts(self) -> frozenset[str]:
        return frozenset(self._parent.views)

    def watch(self, heard: Callable[[str, Any], None], /) -> Callable[[], None]:
        self._watchers.append(heard)
        return lambda: self._watchers.remove(heard)

    @property
    def watched(self) -> int:
        return len(self._watchers)

    async def after(self, account: str, stream: Any, seq: int, limit: int, chat: str | None = None) -> Batch:  # noqa: ANN401
        if account in self.errors:
            raise self.errors[account]
        found = [one for one in self.events.get((account, stream), ()) if one.seq > seq]
        found = [one for one in found if chat in (None, one.lane)]
        batch = tuple(found[:limit])
        return Batch(batch, batch[-1].seq if batch else seq, len(found) > limit)

    async def newest(self, account: str, stream: Any) -> int:  # noqa: ANN401
        if account in self.errors:
            raise self.errors[account]
        return max((one.seq for one in self.events.get((account, stream), ())), default=0)

    async def one(self, account: str, stream: Any, seq: int) -> Rendered | None:  # noqa: ANN401
        return next((one for one in self.events.get((account, stream), ()) if one.seq == seq), None)

    async def chat_of(self, account: str, message: str) -> str | None:
        found = (json.loads(one.body)["data"] for one in self.events.get((account, "messages"), ()))
        return next((one["chat"]["id"] for one in found if one.get("id") == message), None)

    async def find_media(self, media_id: str, accounts: Collection[str]) -> tuple[str, Json]:
        account, _, about = self.files.get(media_id, ("", b"", {}))
        if account not in accounts:
            raise OrchestratorError("nobody has it", key="media_unknown")
        return account, about

    async def media(self, account: str, media_id: str, asker: Principal) -> OpenMedia:
        self.media_for.append(asker)
        assert account == self.files[media_id][0]
        assert asker.sees(account)
        assert asker.may("read")
        assert asker.kind in ("token", "local")  # the service checks it again
        _, data, about = self.files[media_id]
        file = io.BytesIO(data)
        self.open_files.append(file)
        return OpenMedia(file, len(data), hashlib.sha256(data).hexdigest(), about)


class StandInConsumers:
    """Consumers, and pulls that begin at the beginning."""

    def __init__(self, feed: StandInFeed) -> None:
        self._feed = feed
        self.rows: dict[str, Json] = {}
        self.taken: dict[str, set[str]] = {}
        self.calls: list[tuple[str, Json]] = []

    def add(self, name: str, kind: str = "webhook", accounts: list[str] | None = None) -> None:
        self.rows[name] = {"name": name, "kind": kind, "state": "active", "accounts": accounts, "waiting": 0}

    def status(self, name: str | None = None) -> list[Json]:
        return [one for one in self.rows.values() if name in (None, one["name"])]

    async def answer(self, command: str, arguments: Mapping[str, Any]) -> Json:
        self.calls.append((command, dict(arguments)))
        if command == "webhook_test":
            return {"event": "evt_test_1", "status": 200, "seconds": 0.1, "why": None, "advice": None}
        if command == "webhook_replay":
            row = self.rows.get(arguments["name"], {})
            if "dead" in row:
                row["dead"] = 0
            return {"replayed": 3}
        self.rows[arguments["name"]]["state"] = "paused" if command == "webhook_pause" else "active"
        return {}

    async def events(
        self, consumer: str, account: str | None, wait: float, limit: int, principal: Principal
    ) -> tuple[list[bytes], str]:
        end = asyncio.get_running_loop().time() + wait
        taken = self.taken.setdefault(consumer, set())
        while True:
            found = [
                event
                for (name, _), events in self._feed.events.items()
                if principal.sees(name) and account in (None, name)
                for event in events
                if event.id not in taken
            ][:limit]
            if found or asyncio.get_running_loop().time() >= end:
                return [one.body for one in found], json.dumps([one.id for one in found])
            await asyncio.sleep(0.01)

    async def remove(self, consumer: str) -> None:
        if self.taken.pop(consumer, None) is None:
            raise OrchestratorError("no such pull", key="no_such_consumer")

    async def ack(self, consumer: str, cursor: str, principal: Principal) -> None:  # noqa: ARG002
        try:
            ids = json.loads(cursor)
        except ValueError:
            raise OrchestratorError("no cursor", key="bad_cursor") from None
        self.taken.setdefault(consumer, set()).update(ids if isinstance(ids, list) else [])


@dataclass
class Settings:
    http: Http | None
    accounts: dict[str, Keep] = field(default_factory=dict)
    parallel: int = 4


@dataclass
class StandInServices:
    parent: StandInParent
    feed: StandInFeed
    outboxes: StandInOutboxes
    uploads: Uploads
    sending: Submitter
    numbers: Numbers
    promised: Promised
    dispatcher: StandInConsumers
    pulls: StandInConsumers
    tokens: Tokens
    board: Board
    flows: Flows
    settings: Settings

    @property
    def accounts(self) -> StandInParent:
        return self.parent


@dataclass
class RunningApi:
    """A running API.

    Attributes:
        address: Where it listens.
    """

    address: Any
    api: Api
    folder: Path
    services: StandInServices
    stop: asyncio.Event
    done: asyncio.Task[None]
    secrets: dict[str, str] = field(default_factory=dict)

    def token(
        self,
        name: str,
        scopes: Iterable[Scope] = SCOPES,
        accounts: Iterable[str] | None = None,
        expires: float | None = None,
    ) -> str:
        """Add a token, as the command does; return its text."""
        made, text = token_form.make(
            name, scopes, accounts, created=time.time(), expires=expires, random=os.urandom(38)
        )
        token_file.add(self.folder, made)
        self.services.tokens.load()
        self.secrets[name] = text
        return text

    def remove(self, name: str) -> None:
        token_file.remove(self.folder, [name])

    async def ask(self, method: str, target: str, **more: Any) -> Answer:  # noqa: ANN401
        """Send a request on a connection of its own, and return the answer."""
        answer = await raw(self.address, request(method, target, **more))
        assert answer is not None
        return answer


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    names: Iterable[str] = ("support", "sales"),
    *,
    http: Http | None = None,
    largest: int = LARGEST,
    sock: Any = None,  # noqa: ANN401
    parent: StandInParent | None = None,
) -> AsyncIterator[RunningApi]:
    parent = StandInParent(names) if parent is None else parent
    feed = StandInFeed(parent)
    consumers = StandInConsumers(feed)
    sock = sock or listener()
    address = sock.getsockname()
    if http is None:
        http = Http() if isinstance(address, str) else Http((Tcp(*address),))
    settings = Settings(http)
    outboxes = StandInOutboxes(parent)
    uploads = Uploads(folder)
    links = Links(ssl.create_default_context(), lambda: settings.http, pause=no_pause)
    submitter = Submitter(parent, uploads, links, outboxes, lambda _: largest)
    promised = Promised(folder)
    services = StandInServices(
        parent, feed, outboxes, uploads, submitter, Numbers(parent, lambda: parent.views),
        promised, consumers, consumers, Tokens(folder), Board(lambda: parent.views),
        Flows(consumers.status, Times()), settings,
    )  # fmt: skip

    async def metrics(accounts: frozenset[str] | None) -> bytes:
        seen = [name for name in parent.views if accounts is None or name in accounts]
        return "".join(f'orchestrator_account_up{{account="{name}"}} 1\n' for name in seen).encode()

    api = Api(services, consumers, metrics, folder)
    stop = asyncio.Event()
    done = asyncio.create_task(api.run([sock], stop))
    about = RunningApi(address, api, folder, services, stop, done)
    try:
        await until(lambda: api.is_listening or done.done())
        yield about
    finally:
        stop.set()
        await done
        await uploads.close()
        await promised.close()


async def no_pause(seconds: float) -> None:
    """Wait for nothing."""
    assert seconds >= 0


def picture(text: str = CODE) -> bytes:
    return draw.render(text, 2e9)


__all__ = ["Answer", "connect", "request", "running"]
