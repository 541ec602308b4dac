"""Every route of the API, as its description has them: none is forgotten when a new one comes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import resource
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.http_api import RunningApi, running
from support.http_client import connect, in_loop, listener, request

from orchestrator.access.scopes import SCOPES
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import KEYS, OrchestratorError
from orchestrator.gateway.http import entrance
from orchestrator.gateway.http.app import make_app
from orchestrator.gateway.http.describing import describe
from orchestrator.system import logs
from orchestrator.system.redaction import redact

EXAMPLES = {
    "name": "support", "message": "3EB0", "media": "17", "chat": "269139479534551@lid", "row": "1",
    "group": "120363041234567890@g.us",
}  # fmt: skip
QUERIES = {"look_up_numbers": "?number=%2B4915100002"}
BODIES: dict[str, Any] = {
    "add_account": {"name": "support"},
    "send_message": {"to": "+4915100002", "text": "Hi"},
    "mark_read": {"chat": "+4915100002"},
    "react": {"chat": "+4915100002", "emoji": "👍"},
    "edit_message": {"chat": "+4915100002", "text": "Ho"},
    "revoke_message": {"chat": "+4915100002"},
    "make_group": {"subject": "Team"},
    "change_members": {"change": "add", "members": ["+4915100002"]},
    "set_subject": {"subject": "Team"},
    "set_description": {"description": "We"},
    "acknowledge": {"cursor": "[]"},
}


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    name: str
    scope: str | None

    def target(self, **names: str) -> str:
        return self.path.format(**{**EXAMPLES, **names}) + QUERIES.get(self.name, "")

    @property
    def body(self) -> Any:  # noqa: ANN401
        return BODIES.get(self.name)

    @property
    def is_of_an_account(self) -> bool:
        return self.path.startswith("/api/accounts/{name}")


def routes() -> Iterator[Route]:
    description = describe(make_app(None))  # type: ignore[arg-type]
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            yield Route(method.upper(), path, about["operationId"], about.get("x-scope"))


ROUTES = list(routes())
CLOSED = [route for route in ROUTES if route.path not in entrance.OPEN]
_numbers = itertools.count(1)


def from_elsewhere() -> dict[str, str]:
    """Return the header of a client with an address of its own, behind a proxy that is trusted."""
    number = next(_numbers)
    return {"X-Forwarded-For": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}


@contextlib.asynccontextmanager
async def prepared(folder: Path) -> Any:  # noqa: ANN401
    sock = listener()
    http = Http((Tcp(*sock.getsockname()),), trusted_proxies=("127.0.0.1",))
    async with running(folder, sock=sock, http=http) as api:
        api.services.dispatcher.add("support")
        api.services.feed.add_file("17", "support", b"x")
        api.services.parent.codes["support"] = {"kind": "qr", "text": "2@x", "expires_at": 2e9}
        yield api


async def status(api: RunningApi, route: Route, token: str | None, **more: Any) -> tuple[int, str]:  # noqa: ANN401
    """Return the status and the key of an answer; of one that goes on, as soon as it begins."""
    target = more.pop("target", None) or route.target()
    data = request(route.method, target, token=token, body=route.body,
                   headers={**from_elsewhere(), **more.pop("headers", {})}, **more)  # fmt: skip
    async with connect(api.address) as connection:
        connection.write(data)
        if route.name == "follow_events":
            head = await connection.reader.readuntil(b"\r\n\r\n")
            if b" 200 " in head.splitlines()[0]:
                return 200, ""
            size = int(head.lower().partition(b"content-length: ")[2].split()[0])
            found = json.loads(await connection.reader.readexactly(size))
            return found["status"], found["key"]
        answer = await connection.answer()
    assert answer is not None
    problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status, answer.json()["key"] if problem else ""


def test_the_description_has_all_routes_of_the_contract() -> None:
    names = {(route.method, route.path) for route in ROUTES}
    orders = [("POST", f"/api/accounts/{{name}}/{order}") for order in ("start", "stop", "restart", "repair")]
    assert {
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/api/accounts"),
        ("GET", "/api/accounts/{name}"), ("POST", "/api/accounts"),
        ("DELETE", "/api/accounts/{name}"), *orders,
        ("GET", "/api/accounts/{name}/qr.png"), ("GET", "/api/accounts/{name}/code"),
        ("GET", "/api/accounts/{name}/messages"), ("POST", "/api/accounts/{name}/messages"),
        ("POST", "/api/accounts/{name}/messages/{message}/read"),
        ("POST", "/api/accounts/{name}/messages/{message}/react"),
        ("POST", "/api/accounts/{name}/messages/{message}/edit"),
        ("POST", "/api/accounts/{name}/messages/{message}/revoke"),
        ("GET", "/api/accounts/{name}/outbox"), ("GET", "/api/accounts/{name}/outbox/{row}"),
        ("DELETE", "/api/accounts/{name}/outbox/{row}"), ("POST", "/api/accounts/{name}/media"),
        ("POST", "/api/accounts/{name}/chats/{chat}/typing"), ("GET", "/api/media/{media}"),
        ("GET", "/api/consumers/{name}/events"), ("POST", "/api/consumers/{name}/ack"),
        ("GET", "/api/events"),
        *(("POST", f"/api/webhooks/{{name}}/{act}") for act in ("test", "pause", "resume", "replay")),
        ("GET", "/api/openapi.json"), ("GET", "/api/docs"),
    } <= names  # fmt: skip
    assert {route.scope for route in ROUTES} == {None, *SCOPES}
    assert {route.path for route in CLOSED if route.scope is None} == {"/api/openapi.json"}


def test_the_description_says_everything() -> None:
    description = describe(make_app(None))  # type: ignore[arg-type]
    for methods in description["paths"].values():
        for about in methods.values():
            assert about["summary"]
            assert about["description"]
            for parameter in about.get("parameters", ()):
                assert parameter.get("description") or parameter["schema"].get("description"), parameter[
                    "name"
                ]
    for name, schema in description["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            assert {"description", "$ref", "items"} & about.keys() or "anyOf" in about, (name, field)
    assert set(description["x-error-keys"]) <= KEYS.keys()


@in_loop
async def test_no_route_answers_without_a_token_that_holds(tmp_path: Path) -> None:
    async with prepared(tmp_path) as api:
        expired = api.token("expired", expires=time.time() - 1)
        removed = api.token("removed")
        api.remove("removed")
        api.services.tokens.load()
        good = api.token("good")
        others = {
            "wrong secret": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
            "wrong id": "orc_" + "0" * 12 + good[16:],
            "expired": expired,
            "removed": removed,
            "another form": "x" * 60,
        }
        api.services.parent.asked.clear()
        for route in CLOSED:
            assert await status(api, route, None) == (401, "unauthorized"), route
        for what, token in others.items():
            seen = [await status(api, route, token) for route in CLOSED]
            # By and by the token's id is slowed down, wherever it comes from.
            assert set(seen) <= {(401, "unauthorized"), (429, "too_many_requests")}, what
            assert seen[0] == (401, "unauthorized"), what
        assert api.services.parent.asked == []
        assert api.services.dispatcher.calls == []


@in_loop
async def test_no_route_answers_for_another_host(tmp_path: Path) -> None:
    async with prepared(tmp_path) as api:
        token = api.token("good")
        for route in ROUTES:
            assert await status(api, route, token, host="rebind.example") == (421, "wrong_host"), route
        assert api.services.parent.asked == []


@in_loop
async def test_no_route_takes_a_token_with_other_scopes(tmp_path: Path) -> None:
    async with prepared(tmp_path) as api:
        for route in CLOSED:
            if route.scope is None:
                continue
            narrow = api.token(
                f"not-{route.name}".replace("_", "-"), [one for one in SCOPES if one != route.scope]
            )
            api.services.parent.asked.clear()
            assert await status(api, route, narrow) == (403, "scope_missing"), route
            assert api.services.parent.asked == []
            right = api.token(f"only-{route.name}".replace("_", "-"), [route.scope])
            assert (await status(api, route, right))[0] not in (401, 403, 429), route
            api.services.parent.views.setdefault("support", next(iter(api.services.parent.views.values())))


@in_loop
async def test_an_account_that_a_token_does_not_see_is_one_that_is_not_there(tmp_path: Path) -> None:
    async with prepared(tmp_path) as api:
        foreign = api.token("foreign", accounts=["sales"])
        of_accounts = [route for route in CLOSED if route.is_of_an_account]
        assert len(of_accounts) > 8
        for route in of_accounts:
            there = await status(api, route, foreign)
            missing = await status(api, route, foreign, target=route.target(name="nobody"))
            assert there == missing == (404, "no_such_account"), route
        for name in ("add_account", "get_media"):
            (route,) = [one for one in CLOSED if one.name == name]
            assert (await status(api, route, foreign))[0] == 404
        for route in CLOSED:
            if route.path.startswith("/api/webhooks/{name}"):  # of all accounts, so of none that it sees
                assert await status(api, route, foreign) == (404, "no_such_consumer")
        asked = {arguments.get("name") for _, _, arguments in api.services.parent.asked}
        assert "support" not in asked
        assert api.services.dispatcher.calls == []


class Collected(logging.Handler):
    """Everything that is logged, as the log has it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logs.formatter("text"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def collecting() -> Iterator[Collected]:
    handler, root = Collected(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


NEEDLES = {
    "text": "needletext", "chat": "needle1@lid", "to": "+49151needle", "emoji": "needle",
    "name": "needlename",
    "phone": "needlephone", "device_name": "needledevice", "cursor": "needlecursor", "event": "needle event",
    "reply_to": "needle reply", "needlefield": "needlevalue", "pairing": "needlepairing",
    "state": "needlestate",
    "mentions": ["needlemention"], "kind": "needlekind", "caption": "needlecaption", "link": "needlelink",
    "file_name": "needle.pdf", "tag": "needletag", "subject": "needlesubject", "emoji ": "needleemoji",
    "description": {"needle": 1}, "members": ["needle"], "poll": {"name": "needle", "options": ["needle"]},
    "location": {"latitude": "needle"}, "contacts": [{"name": "needle", "vcard": "needle"}],
}  # fmt: skip


@in_loop
async def test_no_error_and_no_log_quotes_a_request(tmp_path: Path) -> None:
    with collecting() as collected:
        async with prepared(tmp_path) as api:
            token = api.token("good")
            bodies: list[Any] = [
                NEEDLES, {**NEEDLES, "text": 17}, b'{"needle": needle', ["needle"], "needle",
                {"to": "+4915100002", "text": "needle" * 2000}, {"to": "+4915100002", "text": "needle\ud800"},
                {"to": "+4915100002", "kind": "image", "link": "file:///needle", "caption": "needle"},
                {"to": "+4915100002", "kind": "document", "link": "http://needle.invalid/needle"},
                {"to": "+4915100002", "kind": "image", "media": "17", "link": "http://needle.invalid/"},
                {"to": "+4915100002", "kind": "contact", "contacts": [{"name": "needle", "vcard": "needle"}]},
                {"to": "+4915100002", "kind": "poll", "poll": {"name": "needle", "options": ["needle"] * 2}},
            ]  # fmt: skip
            answers = []
            for route, body in itertools.product(CLOSED, bodies):
                headers = {"Idempotency-Key": "needle key", "Last-Event-ID": "needle", "Range": "needle=1"}
                query = "needle=needle&after=needle&limit=needle&wait=needle&chat=n"
                path = route.path.format(
                    name="Needle",
                    message="needle%20m",
                    media="needle",
                    chat="n",
                    row="needle",
                    group="needle",
                )
                for target in (f"{route.target().partition('?')[0]}?{query}", path):
                    for chosen in ({}, headers):
                        if route.name == "follow_events" and not chosen:
                            continue
                        answers.append(
                            await api.ask(route.method, target, token=token, body=body, headers=chosen)
                        )
            errors: list[Exception] = [
                ValueError("needle"), KeyError("needle"), RuntimeError("needle"),
                OrchestratorError("needle", key="failed"), OrchestratorError("needle", key="needle_of_later"),
                OrchestratorError("needle", key="not_sent"),
            ]  # fmt: skip
            for error in errors:
                for command in ("list", "act", "send", "explain", "stop"):
                    api.services.parent.errors[command] = error
                answers += [
                    await api.ask(route.method, route.target(), token=token, body=route.body)
                    for route in CLOSED
                    if route.name in ("list_accounts", "send_message", "explain_account", "stop_account")
                ]
            failed = [one for one in answers if one.status >= 400]
            assert len(failed) > 100
            for answer in failed:
                assert answer.headers["content-type"] == "application/problem+json"
                assert b"needle" not in answer.body.lower(), answer.body
                assert not any("needle" in value.lower() for value in answer.headers.values())
                assert answer.json()["key"] in KEYS
    text = "\n".join(collected.lines)
    assert "unhandled exception in GET /api/accounts" in text
    assert "ValueError in ask" in text
    assert "needle" not in text.lower()
    assert token not in text
    assert "POST /api/accounts from 127.0.0.1 for token" in text


@in_loop
async def test_the_log_has_who_asked_for_what_and_not_what_was_said(tmp_path: Path) -> None:
    with collecting() as collected:
        async with prepared(tmp_path) as api:
            token = api.token("good", accounts=["support"])
            headers = {"X-Forwarded-For": "203.0.113.7"}
            base = "/api/accounts/support"
            targets = [
                f"{base}/messages?chat=49151234567@lid.x",
                "/api/accounts/nobody",
                "/api/secret/x?y=z",
                f"{base}/chats/4915112345678@s.whatsapp.net/typing",
            ]
            for target in targets:
                await api.ask("GET", target, token=token, headers=headers)
            await api.ask("GET", "/api/accounts", headers=headers)
    lines = [line for line in collected.lines if "203.0.113.7" in line]
    identity = token.split("_")[1]
    wanted = [
        f"GET {base}/messages from 203.0.113.7 for token {identity}: 200",
        f"GET /api/accounts/{{name}} from 203.0.113.7 for token {identity}: 404",
        f"GET (no such path) from 203.0.113.7 for token {identity}: 404",
        f"from 203.0.113.7 for token {identity}: 405",
        "GET (no such path) from 203.0.113.7 for nobody: 401",
    ]
    assert len(lines) == len(wanted)
    for line, part in zip(lines, wanted, strict=True):
        assert part in line
        whole = line.replace(identity, "0a1b2c3d4e5f")
        assert redact(whole) == whole
        assert "49151" not in line
        assert "secret" not in line


@in_loop
async def test_the_files_of_the_page_are_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with prepared(tmp_path) as api:
        file = await api.ask("GET", "/page/js/main.js")
        same = await api.ask("GET", "/page/js/main.js", headers={"If-None-Match": file.headers["etag"]})
        missing = await api.ask("GET", "/page/js/none.js")
    assert (file.status, same.status, missing.status) == (200, 304, 401)
    found = [
        (one.getMessage().split(": ")[1][:3], one.levelno)
        for one in caplog.records
        if one.name.endswith("http.entrance") and "for nobody" in one.getMessage()
    ]
    assert found == [("200", logging.DEBUG), ("304", logging.DEBUG), ("401", logging.INFO)]


@in_loop
async def test_strangers_cannot_fill_the_log(tmp_path: Path) -> None:
    with collecting() as collected:
        async with prepared(tmp_path) as api:
            async with connect(api.address) as connection:
                for _ in range(300):
                    connection.write(request("GET", "/api/accounts"))
                    assert await connection.answer() is not None
            token = api.token("good")
            assert (await api.ask("GET", "/api/accounts", token=token)).status == 200
    lines = [line for line in collected.lines if "for nobody: 401" in line]
    assert 50 <= len(lines) < 300
    assert [line for line in collected.lines if "for token" in line]


@in_loop
async def test_garbage_on_the_port_harms_nobody(tmp_path: Path) -> None:
    rng = random.Random(13)
    with collecting() as collected:
        async with prepared(tmp_path) as api:
            token = api.token("good")
            whole = request("POST", "/api/accounts/support/messages", token="orc_x", body={"to": "x"})
            for number in range(300):
                match number % 3:
                    case 0:
                        data = rng.randbytes(rng.randrange(1, 2000))
                    case 1:  # a request with some bytes that are others
                        changed = bytearray(whole)
                        for _ in range(rng.randrange(1, 6)):
                            changed[rng.randrange(len(changed))] = rng.randrange(256)
                        data = bytes(changed)
                    case _:
                        data = whole[: rng.randrange(1, len(whole))]
                async with connect(api.address) as connection:
                    connection.write(data)
                    connection.writer.write_eof()
                    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                        await connection.reader.read(100)
            assert (await api.ask("GET", "/api/accounts", token=token)).status == 200
            assert api.services.parent.asked[-1][1] == "list"
    assert [line for line in collected.lines if " ERROR " in line or "exception" in line] == []


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have as many files open as both ends of 1,000 connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("this process may not open 4,096 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@in_loop
async def test_a_thousand_slow_clients_keep_nobody_out(tmp_path: Path) -> None:
    async with running(tmp_path) as api, contextlib.AsyncExitStack() as stack:
        token = api.token("good")
        slow = []
        for number in range(1000):
            connection = await stack.enter_async_context(connect(api.address))
            connection.write(
                b"POST /api/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "[: 10 + number % 50]
            )
            slow.append(connection)
            if number % 50 == 0:
                for one in slow[-200:]:
                    with contextlib.suppress(ConnectionError):
                        one.write(b"x")
                answer = await api.ask("GET", "/api/accounts", token=token)
                assert answer.status == 200
        assert api.api._server is not None
        assert len(api.api._server.crowd) <= 512


def test_an_unknown_token_costs_as_much_as_a_known_one(tmp_path: Path) -> None:
    # CPU time of this thread, in turns, and the medians: others who keep the machine busy do not count. What
    # is looked for is a comparison that ends early or is left out, which halves the time.
    from orchestrator.access import token as form
    from orchestrator.access import tokens as file

    made, text = form.make("known", SCOPES, None, created=0.0, expires=None, random=bytes(range(38)))
    file.add(tmp_path, made)
    tokens = file.Tokens(tmp_path)
    tokens.load()
    wrong = text[:-5] + "AAAAA"
    candidates = {
        "wrong secret": wrong,
        "unknown id": "orc_" + "f" * 12 + wrong[16:],
        "early": text[:17] + "A" * 43,
    }
    assert all(tokens.check(one, 1.0) is None for one in candidates.values())
    for _ in range(5):
        times: dict[str, list[int]] = {what: [] for what in candidates}
        for _ in range(3000):
            for what, presented in candidates.items():
                begin = time.thread_time_ns()
                tokens.check(presented, 1.0)
                times[what].append(time.thread_time_ns() - begin)
        medians = {what: statistics.median(found) for what, found in times.items()}
        if max(medians.values()) <= 1.1 * min(medians.values()):
            return
    pytest.fail(f"the times differ: {medians}")
