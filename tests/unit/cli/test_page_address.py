"""Where browsers find the page, and how one is led there."""

from __future__ import annotations

import stat
import time
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from orchestrator.access import invitations, sessions
from orchestrator.cli import page
from orchestrator.cli.page import address
from orchestrator.consumers.settings import Http
from orchestrator.errors import OrchestratorError
from orchestrator.store.layout import StatePaths


def said(*listens: str, problems: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"gateway": {"listens": list(listens), "problems": list(problems)}}


@pytest.mark.parametrize(
    ("listens", "public", "expected"),
    [
        (["127.0.0.1:8080"], None, "http://127.0.0.1:8080"),
        (["0.0.0.0:80"], None, "http://127.0.0.1:80"),
        (["[::]:8080"], None, "http://[::1]:8080"),
        (["[::1]:8080"], None, "http://[::1]:8080"),
        (["10.1.2.3:8080"], None, "http://10.1.2.3:8080"),
        (["10.1.2.3:8080", "127.0.0.1:9"], None, "http://127.0.0.1:9"),
        (["10.1.2.3:8080", "0.0.0.0:9"], None, "http://127.0.0.1:9"),
        (["unix:/run/a.sock", "127.0.0.1:9"], None, "http://127.0.0.1:9"),
        (["unix:/run/a.sock"], "https://orc.example", "https://orc.example"),
        (["127.0.0.1:8080"], "https://orc.example/", "https://orc.example"),
    ],
)
def test_browsers_are_led_to_where_the_gateway_listens(
    listens: list[str], public: str | None, expected: str
) -> None:
    assert address(Http(public_url=public), said(*listens)) == expected


@pytest.mark.parametrize(
    ("http", "companions", "expected"),
    [
        (None, None, "add `http: {}`"),
        (None, said("127.0.0.1:8080"), "add `http: {}`"),
        (Http(), None, "orchestrator reload"),
        (Http(), said(), "orchestrator reload"),
        (Http(), said(problems=("127.0.0.1:80 is taken",)), "127.0.0.1:80 is taken"),
        (Http(), said("unix:/run/a.sock"), "UNIX sockets only"),
        (Http(public_url="https://orc.example"), said(), "listens nowhere"),
    ],
)
def test_where_no_browser_finds_it_is_said(http: Http | None, companions: Any, expected: str) -> None:  # noqa: ANN401
    with pytest.raises(OrchestratorError, match=expected) as caught:
        address(http, companions)
    assert caught.value.key == "page_not_served"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:8080", True), ("http://[::1]:8080", True), ("http://10.1.2.3:8080", False),
        ("http://orc.example", False),
    ],
)  # fmt: skip
def test_a_way_without_tls_is_told_unless_it_is_on_this_machine(base: str, expected: bool) -> None:
    assert page.is_here(base) == expected


def test_a_word_that_is_no_scope_is_told_what_the_page_takes() -> None:
    with pytest.raises(OrchestratorError, match=r"choose from read, send, operate$"):
        page._scopes(["read,admin"])


# Opening it


@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_is_not_given_the_code_where_all_users_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], opens: bool
) -> None:
    paths = StatePaths(tmp_path, tmp_path / "control.sock")
    paths.tokens.mkdir()
    paths.gateway.mkdir()
    row, code = invitations.invite(paths.tokens, paths.gateway, now=time.time(), seconds=3600)
    link = invitations.url("http://127.0.0.1:8080", code)
    seen: list[Path] = []

    def browse(argument: str) -> bool:
        assert code not in argument
        seen.append(Path(argument.removeprefix("file://")))
        assert stat.S_IMODE(seen[0].stat().st_mode) == 0o600
        assert stat.S_IMODE(seen[0].parent.stat().st_mode) == 0o700
        assert f'location.replace("{link}")' in seen[0].read_text()
        if opens:
            data = sessions.encode(sessions.Known({}, {row.id: time.time()}))
            (paths.gateway / sessions.FILE).write_bytes(data)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(page, "_OPEN_SECONDS", 0.5)
    if opens:
        page._open(link, row, paths)
        assert "is open" in capsys.readouterr().err
    else:
        with pytest.raises(OrchestratorError) as caught:
            page._open(link, row, paths)
        assert caught.value.key == "page_not_opened"
    assert not seen[0].exists()
