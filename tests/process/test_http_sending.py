"""Sending over HTTP: every kind, the outbox, uploads, groups and numbers."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.http_api import RunningApi, running
from support.http_client import Answer, connect, in_loop, request, until

from orchestrator.errors import OrchestratorError
from orchestrator.gateway import sending
from orchestrator.gateway.http import crowd
from orchestrator.gateway.http.sizes import Sizes
from orchestrator.sending.row import State

BASE = "/api/accounts/support"
TO = "+4915100002"
CHAT = "4915100002@s.whatsapp.net"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def asked(api: RunningApi, command: str) -> list[Any]:
    return [arguments for _, one, arguments in api.services.parent.asked if one == command]


def stored(folder: Path) -> list[Path]:
    return list(folder.rglob("uploads/*"))


def form(*parts: tuple[str, str | None, bytes], boundary: str = "xyz") -> dict[str, Any]:
    body = b""
    for name, file_name, data in parts:
        about = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
        body += f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n".encode() + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return {"body": body, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


async def upload(api: RunningApi, token: str, data: bytes = PNG, target: str = f"{BASE}/media") -> Answer:
    headers = {"Content-Type": "application/octet-stream"}
    return await api.ask("POST", target, token=token, body=data, headers=headers)


MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"text": "Hi @4915100003", "mentions": ["+4915100003"], "reply_to": "3EB0"},
    "location": {"location": {"latitude": 52.5, "longitude": 13.4, "name": "Here", "address": "Street 1"}},
    "contact": {"contacts": [{"name": "Ada", "phones": ["+4915100004"]}]},
    "poll": {"poll": {"name": "When?", "options": ["Now", "Later"], "selectable": 1}},
    "reaction": {"message": "3EB0", "emoji": "👍"},
    "edit": {"message": "3EB0", "text": "Ho"},
    "revocation": {"message": "3EB0"},
    "read": {"messages": ["3EB0", "3EB1"]},
}


@pytest.mark.parametrize("kind", MESSAGES)
@in_loop
async def test_every_kind_is_sent(kind: str, tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        message = {"to": TO, "kind": kind, "tag": "order-1", **MESSAGES[kind]}
        answer = await api.ask("POST", f"{BASE}/messages", token=api.token("all"), body=message)
        assert answer.status == 202, answer.body
        row = answer.json()
        assert (row["row"], row["id"], row["to"], row["kind"]) == (1, None, CHAT, kind)
        assert (row["state"], row["tag"]) == ("queued", "order-1")
        (one,) = asked(api, "send")
        assert message.items() <= one["message"].items()


@pytest.mark.parametrize("kind", ["image", "video", "audio", "voice", "document", "sticker"])
@in_loop
async def test_every_kind_of_file_is_sent_by_its_id(kind: str, tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        media = (await upload(api, token)).json()["id"]
        message = {"to": TO, "kind": kind, "media": media}
        answer = await api.ask("POST", f"{BASE}/messages", token=token, body=message)
        assert answer.status == 202, answer.body
        assert api.services.parent.files == [PNG]
        for wrong, status, key in (
            ({**message, "link": "https://example.com/"}, 400, "bad_request"),
            ({"to": TO, "kind": kind}, 400, "bad_request"),
            ({**message, "media": "17"}, 404, "file_missing"),
            ({"to": TO, "kind": kind, "link": "http://127.0.0.1/"}, 422, "link_unusable"),
        ):
            answer = await api.ask("POST", f"{BASE}/messages", token=token, body=wrong)
            assert (answer.status, answer.json()["key"]) == (status, key)


@in_loop
async def test_a_text_needs_no_kind_and_acts_have_paths(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        for target, body, message in (
            ("messages", {"to": TO, "text": "Hi"},
             {"to": TO, "kind": "text", "text": "Hi", "mentions": [], "link_preview": False}),
            ("messages/3EB0/read", {"chat": TO}, {"kind": "read", "to": TO, "messages": ["3EB0"]}),
            ("messages/3EB0/react", {"chat": TO, "emoji": ""},
             {"kind": "reaction", "to": TO, "message": "3EB0", "emoji": ""}),
            ("messages/3EB0/edit", {"chat": TO, "text": "Ho"},
             {"kind": "edit", "to": TO, "message": "3EB0", "text": "Ho", "mentions": []}),
            ("messages/3EB0/revoke", {"chat": TO}, {"kind": "revocation", "to": TO, "message": "3EB0"}),
        ):  # fmt: skip
            answer = await api.ask("POST", f"{BASE}/{target}", token=token, body=body)
            assert answer.status == 202, answer.body
            assert asked(api, "send")[-1] == {"name": "support", "message": message, "wait": 0}


@in_loop
async def test_what_has_no_valid_form_is_named_and_not_quoted(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        unknown = await api.ask("POST", f"{BASE}/messages", token=token, body={"to": TO, "kind": "needle"})
        assert unknown.json()["errors"][0]["why"] == "has a `kind` that is not known here"
        poll = {"to": TO, "kind": "poll", "poll": {"name": "x", "options": ["a"]}}
        alone = await api.ask("POST", f"{BASE}/messages", token=token, body=poll)
        assert alone.json()["errors"][0]["why"] == "has too few parts"
        long = await api.ask("POST", f"{BASE}/messages?wait=99", token=token, body={"to": TO, "text": "Hi"})
        assert long.json()["errors"] == [{"where": "query.wait", "why": "must be at most 60"}]
        plain = {"Content-Type": "text/plain"}
        words = await api.ask("POST", f"{BASE}/messages", token=token, body={"to": TO}, headers=plain)
        assert "Content-Type: application/json" in words.json()["errors"][0]["why"]
        for body, where, key in (
            ({"to": "needle", "text": "Hi"}, "body", "bad_request"),
            ({"to": "+needle", "text": "Hi"}, "body", "bad_number"),
            ({"to": TO, "text": "\ud800"}, "body.text", "bad_request"),
            ({"to": TO, "kind": "needle"}, "body", "bad_request"),
            ({"to": TO, "text": "Hi", "needle": 1}, "body.(unknown)", "bad_request"),
            ({"to": TO, "kind": "poll", "poll": {"name": "x", "options": ["a", "a"]}}, "body", "bad_request"),
            ({"to": TO, "kind": "reaction", "message": "3EB0", "emoji": "needle"}, "body", "bad_request"),
            ({"to": TO, "kind": "location", "location": {"latitude": 91, "longitude": 0}},
             "body.location.latitude", "bad_request"),
        ):  # fmt: skip
            answer = await api.ask("POST", f"{BASE}/messages", token=token, body=body)
            assert answer.status == 400, body
            problem = answer.json()
            assert problem["key"] == key, body
            assert [one["where"] for one in problem["errors"]] == [where]
            assert b"needle" not in answer.body
        assert asked(api, "send") == []


@in_loop
async def test_whoever_waits_gets_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_LOOK_SECONDS", 0.001)
    async with running(tmp_path) as api:
        token, body = api.token("all"), {"to": TO, "text": "Hi"}
        api.services.parent.ends = State.SENT
        answer = await api.ask("POST", f"{BASE}/messages?wait=20&expires=60", token=token, body=body)
        assert (answer.status, answer.json()["id"]) == (200, "3EB0A1")
        assert asked(api, "send")[-1]["expires"] == 60
        api.services.parent.ends, api.services.parent.why = State.FAILED, "WhatsApp refuses it"
        answer = await api.ask("POST", f"{BASE}/messages?wait=20", token=token, body=body)
        problem = answer.json()
        assert (answer.status, problem["key"], problem["row"]["row"]) == (422, "not_sent", 2)
        assert problem["row"]["why"] == "WhatsApp refuses it"
        api.services.parent.why = "this number is not on WhatsApp"
        answer = await api.ask("POST", f"{BASE}/messages?wait=20", token=token, body=body)
        assert (answer.status, answer.json()["key"]) == (422, "number_unknown")
        api.services.parent.ends = State.QUEUED
        async with connect(api.address) as connection:
            connection.write(request("POST", f"{BASE}/messages?wait=60", token=token, body=body))
            rows = api.services.parent.rows["support"]
            await until(lambda: len(rows) == 4)
            rows[3] = replace(rows[3], state=State.SENT, message="3EB0Z")
            late = await connection.answer()
            assert late is not None
            assert (late.status, late.json()["id"]) == (200, "3EB0Z")
        for wrong in ("wait=61", "wait=-1", "wait=x", "expires=0"):
            answer = await api.ask("POST", f"{BASE}/messages?{wrong}", token=token, body=body)
            assert answer.status == 400


@in_loop
async def test_a_message_with_a_key_is_sent_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token, body = api.token("all"), {"to": TO, "text": "Hi"}
        headers = {"Idempotency-Key": "order-1"}
        first = await api.ask("POST", f"{BASE}/messages", token=token, body=body, headers=headers)
        again = await api.ask("POST", f"{BASE}/messages?wait=1", token=token, body=body, headers=headers)
        assert first.status == again.status == 202
        assert first.json() == again.json()
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        other = await api.ask(
            "POST", f"{BASE}/messages", token=token, body={**body, "text": "Ho"}, headers=headers
        )
        assert (other.status, other.json()["key"]) == (409, "idempotency_conflict")
        second = await api.ask("POST", f"{BASE}/messages", token=api.token("b"), body=body, headers=headers)
        assert second.json()["row"] == 2  # another token's key
        for bad in ("x" * 256, "a b", "\xe4"):
            answer = await api.ask(
                "POST", f"{BASE}/messages", token=token, body=body, headers={"Idempotency-Key": bad}
            )
            assert answer.status == 400
        api.services.parent.go.clear()
        async with connect(api.address) as connection:
            connection.write(request("POST", f"{BASE}/messages", token=token, body=body, headers=headers))
            count = len(asked(api, "send"))
            await until(lambda: len(asked(api, "send")) > count)
            answer = await api.ask("POST", f"{BASE}/messages", token=token, body=body, headers=headers)
            assert (answer.status, answer.json()["key"]) == (409, "idempotency_running")
            assert answer.headers["retry-after"] == "1"
            api.services.parent.go.set()
            assert await connection.answer() is not None


@in_loop
async def test_a_removed_token_waits_no_longer_and_its_message_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        async with connect(api.address) as connection:
            connection.write(
                request("POST", f"{BASE}/messages?wait=60", token=token, body={"to": TO, "text": "Hi"})
            )
            await until(lambda: api.services.parent.rows.get("support"))
            api.remove("all")
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 401
        assert len(api.services.parent.rows["support"]) == 1


@in_loop
async def test_the_outbox_is_shown_and_rows_are_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        for state in (State.SENT, State.QUEUED, State.QUEUED):
            api.services.parent.ends = state
            await api.ask("POST", f"{BASE}/messages", token=token, body={"to": TO, "text": "Hi"})
        whole = (await api.ask("GET", f"{BASE}/outbox", token=token)).json()
        assert [one["row"] for one in whole["rows"]] == [1, 2, 3]
        assert (whole["last"], whole["more"]) == (3, False)
        part = (await api.ask("GET", f"{BASE}/outbox?after=1&limit=1", token=token)).json()
        assert ([one["row"] for one in part["rows"]], part["last"], part["more"]) == ([2], 2, True)
        end = (await api.ask("GET", f"{BASE}/outbox?after=3", token=token)).json()
        assert end == {"rows": [], "last": 3, "more": False}
        sent = (await api.ask("GET", f"{BASE}/outbox?state=sent&state=failed", token=token)).json()
        assert [one["row"] for one in sent["rows"]] == [1]
        assert (await api.ask("GET", f"{BASE}/outbox?state=nothing", token=token)).status == 400
        assert (await api.ask("GET", f"{BASE}/outbox/2", token=token)).json()["state"] == "queued"
        answer = await api.ask("DELETE", f"{BASE}/outbox/2", token=token)
        assert (answer.status, answer.json()["state"]) == (200, "taken_back")
        for number, status, key in ((2, 409, "row_not_waiting"), (9, 404, "row_unknown")):
            answer = await api.ask("DELETE", f"{BASE}/outbox/{number}", token=token)
            assert (answer.status, answer.json()["key"]) == (status, key)
        assert (await api.ask("GET", f"{BASE}/outbox/9", token=token)).json()["key"] == "row_unknown"
        assert (await api.ask("GET", "/api/accounts/nobody/outbox", token=token)).status == 404


@in_loop
async def test_files_are_uploaded_as_they_are_or_in_a_form(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        data = PNG + bytes(300_000)
        answer = await upload(api, token, data, f"{BASE}/media?file_name=a%2Fb.png")
        assert answer.status == 201
        about = answer.json()
        assert about == {
            "id": about["id"], "mime_type": "image/png", "size": len(data), "file_name": "b.png",
            "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        for parts, name in (
            ([("file", "c.png", data)], "c.png"),
            ([("note", None, b"x"), ("file", None, data), ("more", None, b"y")], None),
        ):
            answer = await api.ask("POST", f"{BASE}/media", token=token, **form(*parts))
            assert answer.status == 201, answer.body
            assert (answer.json()["sha256"], answer.json()["file_name"]) == (about["sha256"], name)
        found = await api.ask("GET", f"{BASE}/media/{about['id']}", token=token)
        assert found.json() == about
        whole = await api.ask("GET", f"/api/media/{about['id']}", token=token)
        assert (whole.body, whole.headers["content-type"]) == (data, "image/png")
        assert whole.headers["content-disposition"].endswith("filename*=UTF-8''b.png")
        narrow = await api.ask(
            "GET", f"/api/media/{about['id']}", token=api.token("narrow", accounts=["sales"])
        )
        assert (narrow.status, narrow.json()["key"]) == (404, "media_unknown")
        elsewhere = await api.ask("GET", f"/api/accounts/sales/media/{about['id']}", token=token)
        assert elsewhere.json()["key"] == "file_missing"
        assert (await api.ask("DELETE", f"{BASE}/media/{about['id']}", token=token)).status == 200
        assert (await api.ask("GET", f"{BASE}/media/{about['id']}", token=token)).status == 404
        assert (await api.ask("POST", "/api/accounts/nobody/media", token=token, body=b"x")).status == 404


@pytest.mark.parametrize(
    ("sent", "status", "key"),
    [
        ({"body": b"", "headers": {"Content-Type": "image/png"}}, 422, "file_unfit"),
        (form(("note", None, b"x")), 404, "file_missing"),
        (form(("file", "a", b"x"), ("file", "b", b"x")), 400, "bad_request"),
        (form(("note", None, bytes(5000)), ("file", "a", b"x")), 400, "bad_request"),
        (form(*[("note", None, b"x")] * 40, ("file", "a", b"x")), 400, "bad_request"),
        (form(("file", "a", b"x"), boundary="y" * 300), 400, "bad_request"),
        ({"body": b"no form", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, None),
        ({"body": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "bad_request"),
        ({"body": b"--x\r\n\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, None),
        ({"body": form(("file", "a", b"x"))["body"][:-8],
          "headers": {"Content-Type": "multipart/form-data; boundary=xyz"}}, 400, "bad_request"),
    ],
)  # fmt: skip
@in_loop
async def test_a_form_of_another_shape_is_refused(
    sent: dict[str, Any], status: int, key: str | None, tmp_path: Path
) -> None:
    async with running(tmp_path) as api:
        answer = await api.ask("POST", f"{BASE}/media", token=api.token("all"), **sent)
        assert answer.status == status, answer.body
        assert key in (None, answer.json()["key"])
        assert stored(tmp_path) == []


@in_loop
async def test_only_files_may_be_large(tmp_path: Path) -> None:
    async with running(tmp_path, largest=200_000) as api:
        token = api.token("all")
        assert (await upload(api, token, bytes(200_000))).status == 201
        answer = await upload(api, token, bytes(200_001))
        assert (answer.status, answer.json()["key"]) == (413, "file_too_large")
        answer = await upload(api, token, bytes(2 << 20))
        assert (answer.status, answer.json()["key"]) == (413, "body_too_large")
        answer = await api.ask(
            "POST", f"{BASE}/messages", token=token, body={"to": TO, "text": "x" * (1 << 20)}
        )
        assert (answer.status, answer.json()["key"]) == (413, "body_too_large")
        assert len(stored(tmp_path)) == 1


def test_which_bodies_may_be_large() -> None:
    sizes = Sizes(10, 1 << 20)
    for path in ("/api/accounts/a/media", "/v22.0/4915100001/media"):
        assert sizes.of(path) > 1 << 20
    for path in ("/api/accounts/a/media/1", "/api/accounts/a/b/media", "/api/media", "/v22/1/media", "/"):
        assert sizes.of(path) == 10
    assert Sizes(100, 0).of("/api/accounts/a/media") > 100
    assert (Sizes(1 << 20, 0).of("/page/session"), Sizes(10, 0).of("/page/session")) == (4096, 10)


def test_a_large_body_has_longer_and_every_other_as_long_as_before() -> None:
    clients: crowd.Crowd[str] = crowd.Crowd(max_body=0)
    for name, size in (("file", 64 * 1024 * 1000), ("text", 0)):
        clients.arrive(name, name, 0.0)
        clients.expect(name, size)
        clients.enter(name, crowd.Phase.BODY, 0.0)
    assert [one for one, _ in clients.overdue(crowd.BODY_SECONDS + 1)] == ["text"]
    assert [one for one, _ in clients.overdue(crowd.BODY_SECONDS + 1001)] == ["file", "text"]
    clients.enter("file", crowd.Phase.DRAIN, 0.0)
    assert "file" in [one for one, _ in clients.overdue(crowd.BODY_SECONDS + 1)]


@in_loop
async def test_groups_and_numbers_are_asked_for_at_once(tmp_path: Path) -> None:
    group = "120363041234567890@g.us"
    async with running(tmp_path) as api:
        token = api.token("all")
        for method, target, body, status, command, action in (
            ("GET", "groups", None, 200, "look", {"kind": "groups"}),
            ("POST", "groups", {"subject": "Team", "members": [TO]}, 201, "act",
             {"kind": "group_create", "subject": "Team", "members": [TO]}),
            ("GET", f"groups/{group}", None, 200, "look", {"kind": "group", "group": group}),
            ("POST", f"groups/{group}/leave", None, 200, "act", {"kind": "group_leave", "group": group}),
            ("POST", f"groups/{group}/members", {"change": "promote", "members": [TO]}, 200, "act",
             {"kind": "group_members", "group": group, "change": "promote", "members": [TO]}),
            ("PUT", f"groups/{group}/subject", {"subject": "Us"}, 200, "act",
             {"kind": "group_subject", "group": group, "subject": "Us"}),
            ("PUT", f"groups/{group}/description", {"description": ""}, 200, "act",
             {"kind": "group_description", "group": group, "description": ""}),
            ("POST", f"groups/{group}/invite", None, 200, "act",
             {"kind": "group_invite", "group": group, "reset": False}),
            ("POST", f"groups/{group}/invite", {"reset": True}, 200, "act",
             {"kind": "group_invite", "group": group, "reset": True}),
            ("GET", "numbers?number=%2B4915100002&number=%2B4915100003", None, 200, "look",
             {"kind": "numbers", "numbers": [TO, "+4915100003"]}),
            ("POST", f"chats/{CHAT}/typing", {"state": "recording"}, 200, "act",
             {"kind": "typing", "chat": CHAT, "state": "recording"}),
        ):  # fmt: skip
            answer = await api.ask(method, f"{BASE}/{target}", token=token, body=body)
            assert answer.status == status, answer.body
            assert asked(api, command)[-1] == {"name": "support", "action": action}
        for command in ("act", "look"):
            api.services.parent.errors[command] = OrchestratorError("x", key="not_connected")
        for method, target in (("GET", "groups"), ("POST", f"groups/{group}/leave")):
            answer = await api.ask(method, f"{BASE}/{target}", token=token)
            assert (answer.status, answer.json()["key"]) == (409, "not_connected")
        count = len(api.services.parent.asked)
        for method, target, body, key in (
            ("GET", "numbers", None, "bad_request"),
            ("GET", "numbers?number=needle", None, "bad_number"),
            ("GET", "groups/needle", None, "bad_request"),
            ("POST", "groups", {"subject": " "}, "bad_text"),
            ("POST", f"groups/{group}/members", {"change": "needle", "members": [TO]}, "bad_request"),
        ):
            answer = await api.ask(method, f"{BASE}/{target}", token=token, body=body)
            assert (answer.status, answer.json()["key"]) == (400, key)
            assert b"needle" not in answer.body
        assert len(api.services.parent.asked) == count


@in_loop
async def test_many_who_wait_leave_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_LOOK_SECONDS", 0.01)
    async with running(tmp_path) as api:
        tokens = [api.token(f"t{number}") for number in range(2)]
        body = {"to": TO, "text": "Hi"}
        waiting = [
            asyncio.ensure_future(api.ask("POST", f"{BASE}/messages?wait=60", token=tokens[0], body=body))
            for _ in range(50)
        ]
        await until(lambda: len(api.services.parent.rows.get("support", ())) == 50)
        answer = await api.ask("POST", f"{BASE}/messages", token=tokens[1], body=body)
        assert answer.status == 202
        rows = api.services.parent.rows["support"]
        rows[:] = [replace(one, state=State.SENT, message="3EB0") for one in rows]
        assert {one.status for one in await asyncio.gather(*waiting)} == {200}
