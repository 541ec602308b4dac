"""The page as browsers see it: its files, who is logged in, and what pages of others cannot do."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from support.http_api import Answer, RunningApi, running
from support.http_client import in_loop, until

from orchestrator.access.invitations import invite
from orchestrator.access.sessions import FILE, MOST_OF_ONE, Sessions
from orchestrator.consumers.settings import Http
from orchestrator.gateway.page import files, origins


@in_loop
async def test_strangers_get_the_files_of_the_page_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for path in sorted(files.shared().paths()):
            answer = await api.ask("GET", path)
            assert answer.status == 200, path
            assert answer.headers["content-security-policy"] == files.POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] == "no-cache"
            again = await api.ask("GET", path, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status, again.body) == (304, b"")
            assert again.headers["content-security-policy"] == files.POLICY


@pytest.mark.parametrize(
    "path",
    [
        "/page/", "/page", "/page/nothing.js", "/page/js/../../__init__.py", "/page/icon-100.svg",
        "/page/%2e%2e/__init__.py", "/index.html", "//", "/page//base.css",
    ],
)  # fmt: skip
@in_loop
async def test_what_is_no_file_is_nothing(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as api:
        assert (await api.ask("GET", path)).status == 401
        token = api.token("reader", ["read"])
        answer = await api.ask("GET", path, token=token)
        assert answer.status == 404


# Logging in


async def code_of(api: RunningApi, **more: Any) -> str:  # noqa: ANN401 - as `invite` has it
    """Invite somebody, as the command does, and return the code."""
    _, code = invite(api.folder, api.folder, now=time.time(), seconds=more.pop("seconds", 3600), **more)
    api.services.tokens.load()
    return code


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


async def log_in(api: RunningApi, **given: str) -> dict[str, str]:
    """Log in, and return the headers with which a browser asks from then on."""
    answer = await api.ask("POST", "/page/session", body=given)
    assert answer.status == 200, answer.body
    return {"Cookie": cookie_of(answer), "Sec-Fetch-Site": "same-origin"}


@in_loop
async def test_a_code_opens_the_page_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api, accounts=["support"], scopes=["read"])
        answer = await api.ask("POST", "/page/session", body={"code": code})
        about = answer.json()
        assert (answer.status, about["scopes"], about["accounts"]) == (200, ["read"], ["support"])
        assert time.time() + 3500 < about["expires_at"] <= time.time() + 3600
        name, _, value = cookie_of(answer).partition("=")
        assert name == "orchestrator-80"
        assert code not in answer.headers["set-cookie"]
        attributes = {one.strip() for one in answer.headers["set-cookie"].split(";")[1:]}
        assert attributes >= {"HttpOnly", "SameSite=Strict", "Path=/"}
        assert "Secure" not in attributes
        browser = {"Cookie": f"other=1; {name}={value}"}
        assert (await api.ask("GET", "/page/session", headers=browser)).json() == about
        listed = (await api.ask("GET", "/api/accounts", headers=browser)).json()
        assert [one["name"] for one in listed["accounts"]] == ["support"]
        again = await api.ask("POST", "/page/session", body={"code": code})
        assert (again.status, again.json()["key"]) == (401, "login_failed")
        assert "set-cookie" not in again.headers
        # The same browser may ask again: it may not have got the answer.
        mine = await api.ask(
            "POST", "/page/session", body={"code": code}, headers=browser | {"Sec-Fetch-Site": "same-origin"}
        )
        assert (mine.status, mine.json()) == (200, about)
        assert "set-cookie" not in mine.headers
    for file in files_below(tmp_path):
        secrets = [one.rpartition("_")[2].encode() for one in (code, value)]
        assert not any(one in file.read_bytes() for one in secrets)


def files_below(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


@in_loop
async def test_two_browsers_at_once_do_not_both_get_in(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        answers = await asyncio.gather(
            *(api.ask("POST", "/page/session", body={"code": code}) for _ in range(8))
        )
        assert sorted(one.status for one in answers) == [200, *[401] * 7]


@in_loop
async def test_a_new_gateway_knows_who_is_in_and_which_codes_were_used(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        browser = await log_in(api, code=code)
    async with running(tmp_path) as api:
        api.services.tokens.load()
        assert (await api.ask("GET", "/api/accounts", headers=browser)).status == 200
        assert (await api.ask("POST", "/page/session", body={"code": code})).status == 401


@in_loop
async def test_a_code_whose_use_cannot_be_written_down_lets_nobody_in_and_stays_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        with monkeypatch.context() as broken:
            broken.setattr(Sessions, "save", fail)
            answer = await api.ask("POST", "/page/session", body={"code": code})
            assert (answer.status, answer.json()["key"]) == (500, "state_unusable")
            assert "set-cookie" not in answer.headers
        await log_in(api, code=code)


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


@in_loop
async def test_a_gateway_that_has_lost_its_sessions_lets_nobody_in_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        browser = await log_in(api, code=code)
    (tmp_path / FILE).write_bytes(b"\0" * 100)
    for told in (1, 1):
        async with running(tmp_path) as api:
            api.services.tokens.load()
            assert (await api.ask("GET", "/api/accounts", headers=browser)).status == 401
            assert (await api.ask("POST", "/page/session", body={"code": code})).status == 401
            await log_in(api, code=await code_of(api))
        assert caplog.text.count("sessions cannot be read") == told


@in_loop
async def test_a_log_in_that_fails_logs_nobody_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as api:
        token = api.token("crm", ["read"])
        browsers = [await log_in(api, token=token) for _ in range(MOST_OF_ONE)]
        with monkeypatch.context() as broken:
            broken.setattr(Sessions, "save", fail)
            for headers in ({}, browsers[7]):
                answer = await api.ask("POST", "/page/session", body={"token": token}, headers=headers)
                assert answer.status == 500
        for browser in browsers:
            assert (await api.ask("GET", "/api/accounts", headers=browser)).status == 200


@in_loop
async def test_the_session_before_is_not_there_again_after_a_crash(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        first = await log_in(api, code=await code_of(api))
        answer = await api.ask("POST", "/page/session", body={"code": await code_of(api)}, headers=first)
        assert answer.status == 200
        written = Sessions(tmp_path)  # what a gateway finds that is started after a crash right now
        assert written.find(first["Cookie"].partition("=")[2], time.time()) is None
        assert written.find(cookie_of(answer).partition("=")[2], time.time()) is not None


@in_loop
async def test_a_code_that_is_over_or_is_none_lets_nobody_in(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        row, code = invite(tmp_path, tmp_path, now=time.time() - 301, seconds=3600)
        api.services.tokens.load()
        wrong = ["x", code, code[:-1] + ("A" if code[-1] != "A" else "E"), f"orc_{'f' * 12}{code[16:]}", "é"]
        for one in wrong:
            answer = await api.ask("POST", "/page/session", body={"code": one})
            assert (answer.status, answer.json()["key"]) == (401, "login_failed")
            assert one not in answer.body.decode().replace("expires", "")
        assert api.services.tokens.find(row.id, time.time()) is not None
        bodies: list[Any] = [
            {}, {"code": None}, {"code": "x", "token": "y"}, {"code": ""}, {"code": 1}, {"code": "x" * 257},
            {"token": "x", "more": 1}, [], "x",
        ]  # fmt: skip
        for body in bodies:
            answer = await api.ask("POST", "/page/session", body=body)
            assert (answer.status, answer.json()["key"]) == (400, "bad_request"), body
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await api.ask("POST", "/page/session", body=b"code=x", headers=form)
        assert answer.status == 400


@in_loop
async def test_strangers_take_no_room_with_what_they_log_in_with(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for body in (b'{"code":"' + b"x" * 5000 + b'"}', b"[" * 5000):
            answer = await api.ask(
                "POST", "/page/session", body=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status, answer.json()["key"]) == (413, "body_too_large")
        # The longest that may be a code, however a client writes it.
        longest = b'{"code":"' + b"\\u0078" * 256 + b'"}'
        answer = await api.ask(
            "POST", "/page/session", body=longest, headers={"Content-Type": "application/json"}
        )
        assert (answer.status, answer.json()["key"]) == (401, "login_failed")


@in_loop
async def test_a_code_is_no_token_and_a_token_is_no_code(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        token = api.token("crm", ["read"])
        assert (await api.ask("GET", "/api/accounts", token=code)).status == 401
        assert (await api.ask("POST", "/page/session", body={"token": code})).status == 401
        assert (await api.ask("POST", "/page/session", body={"code": token})).status == 401
        browser = await log_in(api, code=code)
        cookie = browser["Cookie"].partition("=")[2]
        assert (await api.ask("GET", "/api/accounts", token=cookie)).status == 401
        assert (
            await api.ask("GET", "/api/accounts", headers={"Cookie": f"orchestrator-80={token}"})
        ).status == 401


@in_loop
async def test_wrong_codes_are_held_up_and_a_right_one_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        code = await code_of(api)
        statuses = [(await api.ask("POST", "/page/session", body={"code": "x"})).status for _ in range(12)]
        assert statuses[0] == 401
        answer = await api.ask("POST", "/page/session", body={"token": "x"})
        assert (answer.status, answer.json()["key"]) == (429, "too_many_requests")
        assert int(answer.headers["retry-after"]) > 0
        await log_in(api, code=code)


@in_loop
async def test_a_token_logs_in_and_its_end_is_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("crm", ["read", "send"], ["sales"])
        answer = await api.ask("POST", "/page/session", body={"token": token})
        about = answer.json()
        assert (about["scopes"], about["accounts"]) == (["read", "send"], ["sales"])
        assert about["expires_at"] <= time.time() + 12 * 3600
        browser = {"Cookie": cookie_of(answer), "Sec-Fetch-Site": "same-origin"}
        assert (await api.ask("GET", "/api/accounts/support", headers=browser)).status == 404
        assert (await api.ask("POST", "/api/accounts/sales/start", headers=browser)).status == 403
        metrics = api.token("prometheus", ["metrics"])
        refused = await api.ask("POST", "/page/session", body={"token": metrics})
        assert (refused.status, refused.json()["key"]) == (403, "scope_missing")
        api.remove("crm")
        await until(lambda: not api.services.tokens.check(token, time.time()))
        assert (await api.ask("GET", "/api/accounts", headers=browser)).status == 401


@in_loop
async def test_whoever_logs_out_is_out(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        browser, other = (
            await log_in(api, code=await code_of(api)),
            await log_in(api, code=await code_of(api)),
        )
        gone = await api.ask("DELETE", "/page/session", headers=browser)
        assert gone.status == 200
        assert "Max-Age=0" in gone.headers["set-cookie"]
        assert (await api.ask("GET", "/api/accounts", headers=browser)).status == 401
        assert (await api.ask("GET", "/page/session", headers=other)).status == 200


@in_loop
async def test_whoever_logs_in_anew_has_one_session(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        first = await log_in(api, code=await code_of(api))
        answer = await api.ask("POST", "/page/session", body={"code": await code_of(api)}, headers=first)
        assert answer.status == 200
        assert (await api.ask("GET", "/api/accounts", headers=first)).status == 401


@in_loop
async def test_what_waits_ends_when_somebody_logs_out(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        browser = await log_in(api, code=await code_of(api))
        waiting = asyncio.ensure_future(api.ask("GET", "/api/consumers/mine/events?wait=60", headers=browser))
        await until(lambda: "mine" in api.services.pulls.taken)
        await api.ask("DELETE", "/page/session", headers=browser)
        answer = await asyncio.wait_for(waiting, 60)
        assert (answer.status, answer.json()["key"]) == (401, "unauthorized")


@in_loop
async def test_whoever_asks_whether_somebody_is_logged_in_hears_so(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Cookie": "orchestrator-80=orc_x_y"}):
            answer = await api.ask("GET", "/page/session", headers=headers)
            assert (answer.status, answer.json()) == (200, None)
            assert (await api.ask("GET", "/page/session", headers=headers, token="orc_x")).status == 401
            assert (await api.ask("GET", "/api/accounts", headers=headers)).status == 401
            assert (await api.ask("DELETE", "/page/session", headers=headers)).status == 401
        found = await api.ask("GET", "/page/session", token=api.token("crm", ["read"]))
        assert found.json() == {"scopes": ["read"], "accounts": None, "expires_at": None}


# Pages of others


def browser_of(cookie: dict[str, str], **more: str) -> dict[str, str]:
    return {"Cookie": cookie["Cookie"], **{name.replace("_", "-"): value for name, value in more.items()}}


def routes_of(api: RunningApi) -> list[tuple[str, str]]:
    """Return every method and path of the application, with names filled in."""
    names = {"{name}": "support", "{number}": "+15550100", "{path:path}": "x"}
    found = []
    for route in api.api.app.routes:
        path = getattr(route, "path", "")
        for form, name in names.items():
            path = path.replace(form, name)
        path = re.sub(r"\{[a-z_]+\}", "1", path)
        found += [(method, path) for method in getattr(route, "methods", None) or ()]
    return found


@in_loop
async def test_no_route_changes_anything_for_a_page_of_somebody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        token = api.token("crm")
        cookie = await log_in(api, code=await code_of(api))
        asked = len(api.services.parent.asked)
        changing = [(method, path) for method, path in routes_of(api) if method not in origins.SAFE]
        assert len(changing) > 30
        assert {method for method, _ in changing} >= {"POST", "DELETE"}
        for method, path in [*changing, ("POST", "/v23.0/support/messages"), ("POST", "/no/such/path")]:
            for says in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
                         {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):  # fmt: skip
                for headers in (says, says | {"Cookie": cookie["Cookie"]}):
                    answer = await api.ask(method, path, headers=headers, body={})
                    assert answer.status == 403, (method, path, headers)
                answer = await api.ask(method, path, headers=says, token=token, body={})
                assert answer.status == 403, (method, path, says)
                if "/v23.0/" not in path:
                    assert answer.json()["key"] == "foreign_origin"
        assert len(api.services.parent.asked) == asked
        # Without any word of a browser, a cookie changes nothing; a token does.
        says_nothing = browser_of(cookie)
        answer = await api.ask("POST", "/api/accounts/support/stop", headers=says_nothing)
        assert (answer.status, answer.json()["key"]) == (403, "foreign_origin")
        assert (await api.ask("POST", "/api/accounts/support/stop", token=token)).status == 200


@in_loop
async def test_no_page_of_somebody_else_reads_with_a_cookie(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        cookie = await log_in(api, code=await code_of(api))
        for path in ("/api/accounts", "/page/stream", "/page/session", "/api/accounts/support/qr.png"):
            for says in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
                         {"Origin": "http://evil.example"}):  # fmt: skip
                answer = await api.ask("GET", path, headers=browser_of(cookie, **says))
                assert (answer.status, answer.json()["key"]) == (403, "foreign_origin"), (path, says)
                assert "access-control-allow-origin" not in answer.headers
        own = browser_of(cookie, Sec_Fetch_Site="same-origin", Origin="http://127.0.0.1")
        assert (await api.ask("GET", "/api/accounts", headers=own)).status == 200
        preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await api.ask("OPTIONS", "/api/accounts/support/stop", headers=preflight)
        assert answer.status == 401
        assert not any(name.startswith("access-control") for name in answer.headers)


@in_loop
async def test_no_page_of_somebody_else_makes_a_pull_with_a_cookie(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        cookie = await log_in(api, code=await code_of(api))
        # Without TLS, browsers say nothing of a picture on a page of another port of this host.
        for path in ("/api/consumers/theirs/events", "/api/consumers/theirs/events?wait=0"):
            answer = await api.ask("GET", path, headers=browser_of(cookie))
            assert (answer.status, answer.json()["key"]) == (403, "foreign_origin")
        assert api.services.pulls.taken == {}
        assert (await api.ask("GET", "/api/accounts", headers=browser_of(cookie))).status == 200
        assert (await api.ask("GET", "/api/consumers/mine/events", headers=cookie)).status == 200
        assert (await api.ask("GET", "/api/consumers/mine/events", token=api.token("crm"))).status == 200


@in_loop
async def test_a_cookie_is_worth_nothing_where_programs_of_the_cloud_api_ask(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        cookie = await log_in(api, code=await code_of(api))
        answer = await api.ask("GET", "/v23.0/support", headers=cookie)
        assert answer.status == 401


@in_loop
async def test_nobody_who_is_logged_in_is_asked_for_by_another_host(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        cookie = await log_in(api, code=await code_of(api))
        for path in ("/", "/page/base.css", "/page/session", "/api/accounts"):
            answer = await api.ask("GET", path, headers=cookie, host="rebind.evil")
            assert (answer.status, answer.json()["key"]) == (421, "wrong_host")


@in_loop
async def test_over_tls_a_cookie_is_for_this_host_alone(tmp_path: Path) -> None:
    http = Http(public_url="https://orc.example", trusted_proxies=("127.0.0.1",))
    async with running(tmp_path, http=http) as api:
        cases: list[tuple[str, dict[str, str], str]] = [
            ("orc.example", {}, "__Host-orchestrator-443"),
            ("127.0.0.1", {"X-Forwarded-Proto": "https"}, "__Host-orchestrator-443"),
            ("127.0.0.1:8443", {"X-Forwarded-Proto": "http, https"}, "__Host-orchestrator-8443"),
        ]
        for host, headers, name in cases:
            code = await code_of(api)
            answer = await api.ask("POST", "/page/session", body={"code": code}, host=host, headers=headers)
            assert answer.status == 200
            assert cookie_of(answer).partition("=")[0] == name
            assert "; Secure" in answer.headers["set-cookie"]
            assert "Domain" not in answer.headers["set-cookie"]
            whole = {**headers, "Cookie": cookie_of(answer)}
            assert (await api.ask("GET", "/api/accounts", host=host, headers=whole)).status == 200
            # Without the prefix, another host of the domain may have set it.
            weak = {**headers, "Cookie": cookie_of(answer).removeprefix("__Host-")}
            assert (await api.ask("GET", "/api/accounts", host=host, headers=weak)).status == 401
    async with running(tmp_path) as api:
        headers = {"X-Forwarded-Proto": "https"}  # of nobody whose word is taken
        code = await code_of(api)
        answer = await api.ask("POST", "/page/session", body={"code": code}, headers=headers)
        assert cookie_of(answer).startswith("orchestrator-80=")


@in_loop
async def test_a_browser_behind_a_socket_is_no_program_of_the_services_user(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "api.sock"))
    sock.setblocking(False)
    sock.listen()
    async with running(tmp_path, sock=sock) as api:
        assert (await api.ask("GET", "/api/accounts", host="localhost")).status == 200
        for headers in ({"Cookie": "a=b"}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
            answer = await api.ask("GET", "/api/accounts", host="localhost", headers=headers)
            assert answer.status == 401
        code = await code_of(api)
        answer = await api.ask("POST", "/page/session", body={"code": code}, host="localhost")
        cookie = {"Cookie": cookie_of(answer), "Sec-Fetch-Site": "same-origin"}
        found = await api.ask("GET", "/page/session", host="localhost", headers=cookie)
        assert found.json()["expires_at"] is not None


@in_loop
async def test_other_hosts_of_a_domain_cannot_log_somebody_out_with_cookies_of_theirs(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        cookie = await log_in(api, code=await code_of(api))
        theirs = f"orchestrator-80=orc_{'0' * 12}_{'A' * 43}; {cookie['Cookie']}; orchestrator-80="
        assert (await api.ask("GET", "/api/accounts", headers={"Cookie": theirs})).status == 200
        many = "; ".join(["orchestrator-80=x"] * 1000)
        assert (await api.ask("GET", "/api/accounts", headers={"Cookie": many})).status == 401


@in_loop
async def test_nothing_of_a_log_in_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path) as api:
        code = await code_of(api)
        cookie = await log_in(api, code=code)
        await api.ask("POST", "/page/session", body={"code": code})
        await api.ask("GET", "/api/accounts", headers=cookie)
    assert "POST /page/session" in caplog.text
    for secret in (code, cookie["Cookie"].partition("=")[2]):
        assert secret.rpartition("_")[2] not in caplog.text
