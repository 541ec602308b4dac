"""The HTTP API on real sockets: who may ask, what is answered, and what is not."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
from support.http_api import CODE, picture, running
from support.http_client import connect, in_loop, request, until

from orchestrator.accounts.looking import LOOK_SECONDS
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.gateway.http import idempotency
from orchestrator.gateway.http.together import Together


@in_loop
async def test_whoever_has_no_token_learns_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for target in (
            "/api/accounts",
            "/api/nothing",
            "/api/accounts/nobody",
            "/page/x",
            "/metrics",
            "/.env",
        ):
            for method in ("GET", "POST", "OPTIONS"):
                answer = await api.ask(method, target)
                assert (answer.status, answer.json()["key"]) == (401, "unauthorized")
        answer = await api.ask("GET", "/api/accounts")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        for target in ("/healthz", "/readyz"):
            answer = await api.ask("GET", target)
            assert answer.status == 200
            assert set(answer.json()) == {"status"}
            assert "server" not in answer.headers


@in_loop
async def test_a_token_of_another_form_is_none(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        assert (await api.ask("GET", "/api/accounts", token=token)).status == 200
        lower = request("GET", "/api/accounts", headers={"Authorization": f"bearer {token}"})
        async with connect(api.address) as connection:
            connection.write(lower)
            answer = await connection.answer()
            assert answer is not None
            assert answer.status == 200
        for given in (f"Basic {token}", token, f"Bearer {token}x", f"Bearer {token.upper()}", "Bearer", ""):
            answer = await api.ask("GET", "/api/accounts", headers={"Authorization": given})
            assert answer.status in (401, 429)
        twice = request("GET", "/api/accounts", token=token)
        twice = twice.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        async with connect(api.address) as connection:
            connection.write(twice)
            answer = await connection.answer()
            assert answer is not None
            assert answer.status in (401, 429)


@in_loop
async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
        statuses = []
        for number in range(30):
            forwarded = {"X-Forwarded-For": f"9.9.9.{number}"}
            answer = await api.ask("GET", "/api/accounts", token=wrong, headers=forwarded)
            statuses.append(answer.status)
            assert (await api.ask("GET", "/api/accounts", token=token)).status == 200
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["key"] == "too_many_requests"


@in_loop
async def test_a_request_for_another_host_is_not_ours(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "8.8.8.8"):
            for target in ("/healthz", "/api/accounts", "/api/docs"):
                answer = await api.ask("GET", target, host=host, token=token)
                assert (answer.status, answer.json()["key"]) == (421, "wrong_host")
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1"):
            assert (await api.ask("GET", "/api/accounts", host=host, token=token)).status == 200
    http = Http((Tcp("127.0.0.1", 1),), public_url="https://wa.example/x", allowed_hosts=("inside",))
    async with running(tmp_path, http=http) as api:
        for host in ("wa.example", "inside:99"):
            assert (await api.ask("GET", "/healthz", host=host)).status == 200


@in_loop
async def test_an_account_outside_the_list_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("narrow", accounts=["support"])
        answer = await api.ask("GET", "/api/accounts", token=token)
        assert [one["name"] for one in answer.json()["accounts"]] == ["support"]
        foreign = await api.ask("GET", "/api/accounts/sales", token=token)
        missing = await api.ask("GET", "/api/accounts/nobody", token=token)
        assert foreign.status == missing.status == 404
        assert foreign.body == missing.body
        assert foreign.json()["key"] == "no_such_account"
        answer = await api.ask("POST", "/api/accounts", token=token, body={"name": "other"})
        assert answer.status == 404
        assert (await api.ask("GET", "/metrics", token=token)).body.count(b"account=") == 1


@in_loop
async def test_what_a_scope_does_not_allow_is_forbidden(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("reader", ["read"])
        assert (await api.ask("GET", "/api/accounts/support", token=token)).status == 200
        for method, target in (
            ("POST", "/api/accounts/support/stop"), ("GET", "/api/accounts/support/code"),
            ("POST", "/api/accounts/support/messages"), ("GET", "/metrics"),
            ("DELETE", "/api/accounts/support"),
        ):  # fmt: skip
            answer = await api.ask(method, target, token=token)
            assert (answer.status, answer.json()["key"]) == (403, "scope_missing")
        assert {command for _, command, _ in api.services.parent.asked} == {"explain"}


@in_loop
async def test_accounts_are_listed_explained_added_and_removed(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        answer = await api.ask("GET", "/api/accounts/support?entries=5", token=token)
        assert answer.json()["account"]["state"] == "connected"
        assert api.services.parent.asked[-1][2] == {"name": "support", "entries": 5}
        answer = await api.ask(
            "POST", "/api/accounts", token=token, body={"name": "new", "phone": "+4915100001"}
        )
        assert answer.status == 201
        assert answer.json()["account"]["name"] == "new"
        answer = await api.ask("POST", "/api/accounts", token=token, body={"name": "new"})
        assert (answer.status, answer.json()["key"]) == (409, "account_exists")
        for order in ("start", "stop", "restart", "repair"):
            answer = await api.ask("POST", f"/api/accounts/new/{order}", token=token)
            assert answer.json()["account"]["name"] == "new"
        answer = await api.ask("DELETE", "/api/accounts/new?keep_session=true", token=token)
        assert answer.json() == {"unlinked": True, "why_linked": None}
        assert api.services.parent.asked[-1][2]["unlink"] is False
        assert (await api.ask("GET", "/api/accounts/new", token=token)).status == 404


@in_loop
async def test_accounts_are_found_by_their_tags(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token, narrow = api.token("all"), api.token("narrow", accounts=["support"])
        views = api.services.parent.views
        views["support"] = views["support"]._replace(tags=("eu", "vip"))
        views["sales"] = views["sales"]._replace(tags=("eu",), proxy="http://h:1")

        async def names(query: str, token: str = token) -> list[str]:
            answer = await api.ask("GET", f"/api/accounts?{query}", token=token)
            return [one["name"] for one in answer.json()["accounts"]]

        assert await names("tag=eu") == ["support", "sales"]
        assert await names("tag=eu,vip") == ["support"]
        assert await names("tag=vip%2Ceu") == ["support"]
        assert await names("tag=eu", narrow) == ["support"]
        assert await names("tag=us") == []
        for wrong in ("tag=EU", "tag=", "tag=%3Cimg%20src%3Dx%3E", "tag=eu,", "tag=" + ",".join(["eu"] * 21)):
            answer = await api.ask("GET", f"/api/accounts?{wrong}", token=token)
            assert (answer.status, answer.json()["key"]) == (400, "bad_request")


@in_loop
async def test_the_tags_of_a_new_account_are_checked_and_passed_on(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        body = {"name": "new", "tags": ["eu", "vip"]}
        assert (await api.ask("POST", "/api/accounts", token=token, body=body)).status == 201
        asked = next(one for _, command, one in api.services.parent.asked if command == "add")
        assert asked["tags"] == ["eu", "vip"]
        for wrong in ("eu", ["EU"], [1], ["<img src=x>"], [f"t{number}" for number in range(21)]):
            answer = await api.ask(
                "POST", "/api/accounts", token=token, body={"name": "other", "tags": wrong}
            )
            assert answer.status == 400


@in_loop
async def test_a_code_that_comes_is_asked_for_again_in_a_moment(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        api.services.parent.errors["code"] = OrchestratorError("support shows a code", key="code_pending")
        token = api.token("all")
        for path in ("code", "qr.png"):
            answer = await api.ask("GET", f"/api/accounts/support/{path}", token=token)
            assert (answer.status, answer.json()["key"]) == (404, "code_pending")
            assert answer.headers["retry-after"] == "1"
            assert "Ask again" in answer.json()["detail"]


@in_loop
async def test_a_page_says_at_whose_codes_somebody_looks(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token, one = api.token("all"), api.token("one", ("operate",), accounts={"support"})
        parent = api.services.parent

        def asked() -> list[dict[str, Any]]:
            return [arguments for _, command, arguments in parent.asked if command == "watching"]

        for names, told in (
            (["support", "sales", "support", "gone"], ["support", "sales"]),
            ([], None),
            (["gone"], None),
        ):
            before = len(asked())
            answer = await api.ask("POST", "/page/watching", token=token, body={"names": names})
            assert (answer.status, answer.json()) == (200, {"seconds": LOOK_SECONDS})
            assert asked()[before:] == ([] if told is None else [{"names": told}])
        answer = await api.ask("POST", "/page/watching", token=one, body={"names": ["sales", "support"]})
        assert answer.status == 200
        assert asked()[-1] == {"names": ["support"]}, "no word of accounts that it may not know of"
        reader = api.token("reader", ("read", "send", "metrics"))
        answer = await api.ask("POST", "/page/watching", token=reader, body={"names": ["support"]})
        assert (answer.status, answer.json()["key"]) == (403, "scope_missing")
        before = len(asked())
        for body in (
            {}, {"names": "support"}, {"names": ["../x"]}, {"names": [1]}, {"names": ["A"]},
            {"names": ["a"] * 1001}, {"names": ["a"], "seconds": 9}, {"names": None}, ["support"],
        ):  # fmt: skip
            answer = await api.ask("POST", "/page/watching", token=token, body=body)
            assert (answer.status, answer.json()["key"]) == (400, "bad_request"), body
        assert len(asked()) == before


@in_loop
async def test_a_code_is_shown_and_kept_by_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        answer = await api.ask("GET", "/api/accounts/support/qr.png", token=token)
        assert (answer.status, answer.json()["key"]) == (404, "no_code")
        png = base64.b64encode(picture()).decode()
        code = {"kind": "qr", "text": CODE, "png": png, "expires_at": "2033-05-18T03:33:20Z"}
        for given in (png, None, base64.b64encode(b"<svg>").decode(), "%%%"):
            api.services.parent.codes["support"] = {**code, "png": given}
            answer = await api.ask("GET", "/api/accounts/support/qr.png", token=token)
            assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["expires"] == "Wed, 18 May 2033 03:33:20 GMT"
            assert answer.body == picture()
        answer = await api.ask("GET", "/api/accounts/support/code", token=token)
        assert answer.json() == {"kind": "qr", "text": CODE, "expires_at": "2033-05-18T03:33:20Z"}
        assert answer.headers["cache-control"] == "no-store"
        api.services.parent.codes["support"] = {"kind": "link", "text": "ABCD-1234", "expires_at": 2e9}
        assert (await api.ask("GET", "/api/accounts/support/qr.png", token=token)).status == 404
        answer = await api.ask("GET", "/api/accounts/support/code", token=token)
        assert answer.json()["kind"] == "link"


@in_loop
async def test_messages_are_read_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        for number in range(5):
            api.services.feed.add("support", chat=f"{number % 2}@lid.x")
        answer = await api.ask("GET", "/api/accounts/support/messages?after=1&limit=2", token=token)
        assert [one["seq"] for one in answer.json()["events"]] == [2, 3]
        assert (answer.json()["last"], answer.json()["more"]) == (3, True)
        answer = await api.ask("GET", "/api/accounts/support/messages?chat=1@lid.x", token=token)
        assert [one["seq"] for one in answer.json()["events"]] == [2, 4]
        answer = await api.ask("GET", "/api/accounts/sales/messages?after=7", token=token)
        assert answer.json() == {"events": [], "last": 7, "more": False}
        for query in ("after=-1", "after=x", "limit=0", "limit=501", "chat=a", f"after={2**63}"):
            answer = await api.ask("GET", f"/api/accounts/support/messages?{query}", token=token)
            assert (answer.status, answer.json()["key"]) == (400, "bad_request")
            assert answer.json()["errors"][0]["where"].startswith("query.")


@in_loop
async def test_a_request_with_a_key_is_done_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        target, body = "/api/accounts/support/groups", {"subject": "Hi"}
        headers = {"Idempotency-Key": "order-1"}
        first = await api.ask("POST", target, token=token, body=body, headers=headers)
        again = await api.ask("POST", target, token=token, body=body, headers=headers)
        assert first.status == again.status == 201
        assert first.body == again.body
        assert again.headers["idempotency-replayed"] == "true"
        assert len(api.services.parent.asked) == 1
        other = await api.ask("POST", target, token=token, body={**body, "subject": "Ho"}, headers=headers)
        assert (other.status, other.json()["key"]) == (409, "idempotency_conflict")
        # Another token and another account have keys of their own.
        second = api.token("second")
        elsewhere = target.replace("support", "sales")
        for who, where in ((second, target), (token, elsewhere)):
            answer = await api.ask("POST", where, token=who, body=body, headers=headers)
            assert answer.status == 201
            assert "idempotency-replayed" not in answer.headers
        assert len(api.services.parent.asked) == 3
        for bad in ("x" * 256, "a b", "\xe4"):
            answer = await api.ask("POST", target, token=token, body=body, headers={"Idempotency-Key": bad})
            assert answer.status == 400


@in_loop
async def test_a_key_whose_request_is_under_way_is_not_used_again(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        target, body = "/api/accounts/support/groups", {"subject": "Hi"}
        headers = {"Idempotency-Key": "order-1"}
        api.services.parent.go.clear()
        async with connect(api.address) as connection:
            connection.write(request("POST", target, token=token, body=body, headers=headers))
            await until(lambda: api.services.parent.asked)
            answer = await api.ask("POST", target, token=token, body=body, headers=headers)
            assert (answer.status, answer.json()["key"]) == (409, "idempotency_running")
            assert answer.headers["retry-after"] == "1"
            api.services.parent.go.set()
            first = await connection.answer()
            assert first is not None
            assert first.status == 201


@in_loop
async def test_a_key_says_when_nobody_knows_what_became_of_its_request(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        target, body = "/api/accounts/support/groups", {"subject": "Hi"}
        for error, after in (
            (OrchestratorError("x", key="not_connected"), 201),  # nothing was done: it is tried again
            (OrchestratorError("x", key="delivery_unknown"), 409),
            (NotRunning("x"), 409),
            (ValueError("a bug"), 409),
        ):
            headers = {"Idempotency-Key": f"key-{type(error).__name__}-{getattr(error, 'key', '')}"}
            api.services.parent.errors["act"] = error
            answer = await api.ask("POST", target, token=token, body=body, headers=headers)
            assert answer.status >= 400
            del api.services.parent.errors["act"]
            answer = await api.ask("POST", target, token=token, body=body, headers=headers)
            assert answer.status == after
            assert after == 201 or answer.json()["key"] == "idempotency_unknown"
    async with running(tmp_path, names=["support"]) as api:  # a new process knows it, too
        api.services.tokens.load()
        answer = await api.ask("POST", target, token=token, body=body, headers=headers)
        assert answer.json()["key"] == "idempotency_unknown"


def files_of(folder: Path) -> list[Path]:
    return list(folder.glob("idempotency*"))


@in_loop
async def test_the_file_of_answers_has_no_texts_and_no_keys(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        body, headers = {"subject": "needle-text"}, {"Idempotency-Key": "needle-key"}
        target = "/api/accounts/support/groups"
        api.services.parent.results["group_create"] = {"group": {"id": "1203630@g.us"}}
        assert (await api.ask("POST", target, token=token, body=body, headers=headers)).status == 201
        files = files_of(tmp_path)
        assert files
        for file in files:
            assert b"needle" not in file.read_bytes()
            assert file.stat().st_mode & 0o077 == 0
        answers = api.api._answers
        answers._wall = lambda: time.time() + idempotency.KEEP_SECONDS + 1
        assert await answers.clear() == 1
        for file in files_of(tmp_path):
            assert b"1203630" not in file.read_bytes()


@in_loop
async def test_media_never_run_anywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        html = b"<html><script>alert(1)</script>"
        api.services.feed.add_file("17", "support", html, file_name='a"\r\nX: y/\u202e.html')
        answer = await api.ask("GET", "/api/media/17", token=token)
        assert (answer.status, answer.body) == (200, html)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-disposition"].startswith(
            "attachment; filename=\"17\"; filename*=UTF-8''a%22"
        )
        assert "x" not in answer.headers
        api.services.feed.add_file("18", "support", b"\x89PNG\r\n\x1a\n" + bytes(300_000))
        answer = await api.ask("GET", "/api/media/18", token=token)
        assert answer.headers["content-type"] == "image/png"
        assert len(answer.body) == 300_008
        assert all(file.closed for file in api.services.feed.open_files)


@in_loop
async def test_media_are_served_in_parts(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        api.services.feed.add_file("17", "support", bytes(range(100)))
        whole = await api.ask("GET", "/api/media/17", token=token)
        for wanted, status, content in (
            ("bytes=0-9", 206, bytes(range(10))),
            ("bytes=90-", 206, bytes(range(90, 100))),
            ("bytes=-5", 206, bytes(range(95, 100))),
            ("bytes=50-1000", 206, bytes(range(50, 100))),
            ("bytes=100-", 416, None),
            ("bytes=-0", 416, None),
            ("bytes=0-1,3-4", 200, whole.body),
            ("bytes=5-4", 200, whole.body),
            ("lines=1-2", 200, whole.body),
        ):
            answer = await api.ask("GET", "/api/media/17", token=token, headers={"Range": wanted})
            assert answer.status == status, wanted
            if content is not None:
                assert answer.body == content
            if status == 206:
                assert answer.headers["content-range"].endswith("/100")
        headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
        assert (await api.ask("GET", "/api/media/17", token=token, headers=headers)).status == 200
        headers = {"Range": "bytes=0-9", "If-Range": whole.headers["etag"]}
        assert (await api.ask("GET", "/api/media/17", token=token, headers=headers)).status == 206
        narrow = api.token("narrow", accounts=["sales"])
        foreign = await api.ask("GET", "/api/media/17", token=narrow)
        missing = await api.ask("GET", "/api/media/99", token=narrow)
        assert foreign.status == missing.status == 404
        assert foreign.body == missing.body
        assert all(file.closed for file in api.services.feed.open_files)
        # The service is asked for the client, whose rights it checks again.
        assert {one.kind for one in api.services.feed.media_for} == {"token"}


@in_loop
async def test_events_are_pulled_until_they_are_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        api.services.feed.add("support")
        first = await api.ask("GET", "/api/consumers/mine/events?limit=1", token=token)
        again = await api.ask("GET", "/api/consumers/mine/events?limit=1", token=token)
        assert first.body == again.body
        assert len(first.json()["events"]) == 1
        body = {"cursor": first.json()["cursor"]}
        assert (await api.ask("POST", "/api/consumers/mine/ack", token=token, body=body)).status == 200
        assert (await api.ask("GET", "/api/consumers/mine/events", token=token)).json()["events"] == []
        async with connect(api.address) as connection:
            connection.write(request("GET", "/api/consumers/mine/events?wait=20", token=token))
            await asyncio.sleep(0)
            api.services.feed.add("sales")
            answer = await connection.answer()
            assert answer is not None
            assert answer.json()["events"][0]["account"] == "sales"
        answer = await api.ask("POST", "/api/consumers/mine/ack", token=token, body={"cursor": "?"})
        assert (answer.status, answer.json()["key"]) == (400, "bad_cursor")


@in_loop
async def test_a_pull_is_forgotten_by_operators_who_see_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        api.services.feed.add("support")
        await api.ask("GET", "/api/consumers/mine/events", token=token)
        for other in (api.token("narrow", accounts=["support"]), token):
            name = "mine" if other != token else "nobodys"
            answer = await api.ask("DELETE", f"/api/consumers/{name}", token=other)
            assert (answer.status, answer.json()["key"]) == (404, "no_such_consumer")
        assert (await api.ask("DELETE", "/api/consumers/mine", token=token)).status == 200
        assert (await api.ask("DELETE", "/api/consumers/mine", token=token)).status == 404


@in_loop
async def test_webhooks_are_looked_after_by_operators_who_see_their_accounts(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        api.services.dispatcher.add("crm", accounts=["support"])
        api.services.dispatcher.add("all")
        api.services.dispatcher.add("echo", "bot", ["support"])
        token, narrow = api.token("all"), api.token("narrow", accounts=["support"])
        answer = await api.ask("GET", "/api/webhooks", token=narrow)
        assert [one["name"] for one in answer.json()["consumers"]] == ["crm"]
        answer = await api.ask("GET", "/api/consumers", token=narrow)
        assert [one["name"] for one in answer.json()["consumers"]] == ["crm", "echo"]
        assert (await api.ask("POST", "/api/webhooks/all/pause", token=narrow)).status == 404
        assert (await api.ask("POST", "/api/webhooks/echo/pause", token=token)).status == 404
        assert (await api.ask("POST", "/api/webhooks/crm/pause", token=token)).json()["state"] == "paused"
        assert (await api.ask("POST", "/api/webhooks/crm/resume", token=token)).json()["state"] == "active"
        assert (await api.ask("POST", "/api/webhooks/crm/test", token=token)).json()["status"] == 200
        answer = await api.ask("POST", "/api/webhooks/crm/replay", token=token, body={"event": "evt_a_1"})
        assert answer.json() == {"replayed": 3}
        assert api.services.dispatcher.calls[-1] == ("webhook_replay", {"name": "crm", "event": "evt_a_1"})


@in_loop
async def test_a_program_of_the_services_user_needs_no_token_on_a_unix_socket(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "http.sock"))
    sock.listen()
    async with running(tmp_path, sock=sock) as api:
        answer = await api.ask("GET", "/api/accounts", host="localhost")
        assert answer.status == 200
        assert api.services.parent.asked[-1][0].kind == "local"
        # A token that is shown all the same is what counts.
        narrow = api.token("narrow", accounts=["sales"])
        answer = await api.ask("GET", "/api/accounts", host="localhost", token=narrow)
        assert [one["name"] for one in answer.json()["accounts"]] == ["sales"]
        assert (await api.ask("GET", "/api/accounts", host="localhost", token="orc_x")).status == 401
        assert (await api.ask("GET", "/api/accounts", host="evil.example")).status == 421
        # A proxy that runs as this user or as root speaks for others, and those need a token.
        for field in ("X-Forwarded-For", "x-real-ip", "Forwarded", "Via", "X-Forwarded-Proto"):
            answer = await api.ask("GET", "/api/accounts", host="localhost", headers={field: "6.6.6.6"})
            assert (answer.status, answer.json()["key"]) == (401, "unauthorized"), field


@in_loop
async def test_bodies_are_bounded_and_json(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        target = "/api/accounts/support/messages"
        large = json.dumps({"to": "+4915100002", "text": "x" * (1 << 20)}).encode()
        answer = await api.ask("POST", target, token=token, body=large)
        assert (answer.status, answer.json()["key"]) == (413, "body_too_large")
        chunks = b"".join(b"%x\r\n%b\r\n" % (65536, b"x" * 65536) for _ in range(20)) + b"0\r\n\r\n"
        head = request("POST", target, token=token, headers={"Transfer-Encoding": "chunked"})
        async with connect(api.address) as connection:
            connection.write(
                head.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json\r\n\r\n") + chunks
            )
            answer = await connection.answer()  # type: ignore[assignment]
            assert answer is not None
            assert (answer.status, answer.json()["key"]) == (413, "body_too_large")
        for body in (
            b"",
            b"[",
            b"[]",
            b"null",
            b'{"to":NaN}',
            b"[" * 100_000,
            b'{"text":' + b"9" * 10_000 + b"}",
        ):
            answer = await api.ask("POST", target, token=token, body=body)
            assert (answer.status, answer.json()["key"]) == (400, "bad_request"), body[:20]
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            good = json.dumps({"to": "+4915100002", "text": "x"}).encode()
            answer = await api.ask("POST", target, token=token, body=good, headers={"Content-Type": kind})
            assert answer.status == 400
        assert api.services.parent.asked == []


@in_loop
async def test_no_browser_of_another_page_is_let_in(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
        for method in ("OPTIONS", "GET"):
            answer = await api.ask(method, "/api/accounts", token=token, headers=headers)
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-store"


@in_loop
async def test_the_page_needs_no_token_and_the_description_does(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        page = await api.ask("GET", "/api/docs")
        assert page.status == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        assert b"http://" not in page.body
        assert b"https://" not in page.body
        for name in ("docs.js", "docs.css"):
            assert name.encode() in page.body
            assert (await api.ask("GET", f"/api/docs/{name}")).status == 200
        assert (await api.ask("GET", "/api/openapi.json")).status == 401
        answer = await api.ask("GET", "/api/openapi.json", token=api.token("metrics", ["metrics"]))
        assert answer.json()["openapi"].startswith("3.1")


@in_loop
async def test_it_is_not_ready_while_the_service_does_not_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        api.services.parent.errors["ping"] = NotRunning("gone")
        answers = await asyncio.gather(*(api.ask("GET", "/readyz") for _ in range(20)))
        assert {(one.status, one.json()["key"]) for one in answers} == {(503, "not_running")}
        assert len(api.services.parent.asked) == 1
        assert (await api.ask("GET", "/healthz")).status == 200
        assert (await api.ask("POST", "/healthz")).status == 405


@in_loop
async def test_one_token_cannot_have_everything_under_way(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token, other = api.token("all"), api.token("other")
        api.services.parent.go.clear()
        paths = [f"/api/accounts/support?entries={number}" for number in range(64)]
        waiting = [asyncio.create_task(api.ask("GET", path, token=token)) for path in paths]
        await until(lambda: len(api.services.parent.asked) == 64)
        answer = await api.ask("GET", "/api/accounts", token=token)
        assert (answer.status, answer.json()["key"]) == (429, "too_many_requests")
        more = asyncio.create_task(api.ask("GET", "/api/accounts", token=other))
        await until(lambda: len(api.services.parent.asked) == 65)
        api.services.parent.go.set()
        assert {one.status for one in await asyncio.gather(*waiting, more)} == {200}


@in_loop
async def test_many_who_ask_the_same_at_once_are_one_for_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come = []
    ask = Together.ask

    def noting(self: Together[Any], key: Hashable, call: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        come.append(key)
        return ask(self, key, call)

    monkeypatch.setattr(Together, "ask", noting)
    async with running(tmp_path) as api:
        token, narrow = api.token("all"), api.token("narrow", accounts=["sales"])
        api.services.parent.go.clear()
        asks = [asyncio.create_task(api.ask("GET", "/api/accounts", token=token)) for _ in range(40)]
        asks.append(asyncio.create_task(api.ask("GET", "/api/accounts", token=narrow)))
        await until(lambda: len(come) == len(asks) and len(api.services.parent.asked) == 2)
        api.services.parent.go.set()
        answers = await asyncio.gather(*asks)
        assert len({one.body for one in answers}) == 2
        assert [one["name"] for one in answers[-1].json()["accounts"]] == ["sales"]
        assert len(api.services.parent.asked) <= 3  # those who came when the first answer was under way


@in_loop
async def test_the_day_of_a_tokens_last_use_is_noted(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        assert (await api.ask("GET", "/api/accounts", token=token)).status == 200
        await until(lambda: (tmp_path / "token-uses.json").exists())


@in_loop
async def test_a_tokens_file_that_cannot_be_used_lets_nobody_in_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as api:
        token = api.token("all")
        await until(lambda: api.services.tokens.check(token, 0.0))
        (file,) = tmp_path.rglob("tokens.json")  # noqa: ASYNC240 - there are few files
        kept = file.read_bytes()
        file.chmod(0o644)
        await until(lambda: "chmod 600" in caplog.text)
        assert (await api.ask("GET", "/api/accounts", token=token)).status == 401
        file.chmod(0o600)
        file.write_bytes(kept.replace(b'"', b"xylophone"))
        await until(lambda: "is damaged" in caplog.text)
        assert (await api.ask("GET", "/api/accounts", token=token)).status == 401
        assert "xylophone" not in caplog.text
