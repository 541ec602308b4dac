"""The command `page`: a link that logs one browser in, with a service whose children are stand-ins."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli import PATIENCE, Cli, bare
from support.ports import free_port

from orchestrator.access import token as form
from orchestrator.errors import ExitCode

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/#orc-code=(orc_[0-9a-f]{12}_[A-Za-z0-9_-]{43})\n")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.configure("support: {}", "sales: {}")
    return made


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def running(cli: Cli, port: int) -> Iterator[Cli]:
    cli.configure("support: {}", "sales: {}", top=f"http: {{listen: '127.0.0.1:{port}'}}\n")
    with cli.service():
        while True:
            try:
                ask(f"http://127.0.0.1:{port}", "GET", "/healthz")
                break
            except OSError:
                time.sleep(0.1)
        yield cli


class Browser:
    """Keeps a cookie, and says which page it asks for."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.cookie: str | None = None

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:  # noqa: ANN401 - JSON
        headers = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        if self.cookie is not None:
            headers["Cookie"] = self.cookie
        status, found, answered = ask(self.origin, method, path, body, headers)
        if "set-cookie" in answered:
            self.cookie = answered["set-cookie"].partition(";")[0]
        return status, found


def ask(
    origin: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None  # noqa: ANN401
) -> tuple[int, Any, Any]:  # fmt: skip
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(origin + path, data, dict(headers or {}), method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=PATIENCE
        ) as got:
            return got.status, json.loads(got.read() or b"null"), got.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def test_a_link_logs_one_browser_in_until_it_is_removed(running: Cli) -> None:
    done = running("page", "--scope", "read,operate", "--account", "support", "--for", "1h")
    link = LINK.fullmatch(done.stdout)
    assert link is not None
    assert done.stderr == ""
    origin, code = link.groups()
    browser = Browser(origin)
    status, about = browser.ask("POST", "/page/session", {"code": code})
    assert (status, about["scopes"], about["accounts"]) == (200, ["read", "operate"], ["support"])
    assert Browser(origin).ask("POST", "/page/session", {"code": code})[0] == 401
    # The service itself lets this one do no more than that.
    assert [one["name"] for one in browser.ask("GET", "/api/accounts")[1]["accounts"]] == ["support"]
    assert browser.ask("POST", "/api/accounts/support/stop")[0] == 200
    assert running.accounts()["support"]["state"] == "stopped"
    assert browser.ask("POST", "/api/accounts/sales/stop")[0] == 404
    assert browser.ask("POST", "/api/accounts/support/messages", {"to": "+15550100", "text": "x"})[0] == 403
    (row,) = json.loads(running("token", "list", "--json").stdout)
    assert (row["page"], row["scopes"], len(row["sessions"])) == (True, ["read", "operate"], 1)
    assert row["sessions"][0]["expires"] == row["expires"]
    line = running("token", "list").stdout.splitlines()[2].split()
    assert (line[0], line[-1]) == (row["name"], "1")
    running("token", "remove", row["name"])
    assert browser.ask("GET", "/api/accounts")[0] == 401
    for secret in (form.split(code)[1], str(browser.cookie).rpartition("_")[2]):
        for file in [running.log, *running.state.rglob("*")]:
            assert not file.is_file() or secret.encode() not in file.read_bytes()


def test_links_that_nobody_needs_any_more_are_swept(running: Cli) -> None:
    first = json.loads(running("page", "--json").stdout)
    path = running.state / "tokens/tokens.json"
    document = json.loads(path.read_text())
    document["tokens"][0]["code_until"] = time.time() - 1
    path.write_text(json.dumps(document))
    assert json.loads(running("token", "list", "--json").stdout) == []
    second = json.loads(running("page", "--json", "--for", "30d").stdout)
    assert LINK.fullmatch(second.pop("url") + "\n")
    assert second["scopes"] == ["read", "send", "operate"]
    assert second["accounts"] is None
    assert [one["name"] for one in json.loads(path.read_text())["tokens"]] == [second["name"]]
    assert first["name"] != second["name"]


def test_a_service_that_is_started_again_knows_who_is_in(cli: Cli, port: int) -> None:
    cli.configure("support: {}", top=f"http: {{listen: '127.0.0.1:{port}'}}\n")
    browser = Browser(f"http://127.0.0.1:{port}")
    with cli.service():
        code = cli("page").stdout.strip().partition("=")[2]
        assert until_answered(browser, "POST", "/page/session", {"code": code})[0] == 200
    with cli.service():
        assert until_answered(browser, "GET", "/page/session")[1] is not None
        assert Browser(browser.origin).ask("POST", "/page/session", {"code": code})[0] == 401
        assert browser.ask("DELETE", "/page/session")[0] == 200
        assert browser.ask("GET", "/api/accounts")[0] == 401


def until_answered(browser: Browser, *request: Any) -> tuple[int, Any]:  # noqa: ANN401
    """Ask until the gateway listens."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return browser.ask(*request)
        except OSError:  # or the connection ends as the gateway does
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--scope", "admin"], '"admin" is no scope', ExitCode.USAGE),
        (["--scope", "send"], "the page needs read", ExitCode.USAGE),
        (["--scope", "read,metrics"], "the page needs read", ExitCode.USAGE),
        (["--for", "soon"], "expected a duration", ExitCode.USAGE),
        (["--for", "1m"], "--for", ExitCode.USAGE),
        (["--for", "31d"], "--for", ExitCode.USAGE),
        (["--account", "suport"], "you mean support?", ExitCode.NO_SUCH_ACCOUNT),
        ([], "is not running", ExitCode.NOT_RUNNING),
    ],
)
def test_what_is_wrong_is_said_and_lets_nobody_in(
    cli: Cli, arguments: list[str], said: str, code: ExitCode
) -> None:
    assert said in " ".join(cli("page", *arguments, code=code).stderr.split())
    assert not (cli.state / "tokens/tokens.json").exists()


def test_a_service_without_a_server_says_how_to_get_one(cli: Cli) -> None:
    cli.configure("support: {}")
    with cli.service():
        assert "add `http: {}`" in cli("page", code=ExitCode.FAILED).stderr
        assert not (cli.state / "tokens/tokens.json").exists()
        # What is in the file, and not in use yet, is not there.
        cli.configure("support: {}", top="http: {}\n")
        assert "orchestrator reload" in bare(cli("page", code=ExitCode.FAILED).stderr)
