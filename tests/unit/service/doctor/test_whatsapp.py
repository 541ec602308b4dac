"""Which ways to WhatsApp are tried."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.doctor import context_of

from orchestrator.accounts.proxy import HOST, Proxy, environment_proxy
from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.service.doctor.checks import whatsapp


def test_one_way_that_cannot_be_tried_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(proxy: Proxy | None) -> float:
        if proxy is not None:
            raise ValueError("nobody thought of this")
        return 0.1

    monkeypatch.setattr(whatsapp, "reach", fail)
    monkeypatch.setattr(whatsapp, "environment_proxy", lambda _: None)
    accounts = {"a": AccountSettings("a", proxy="http://h:1"), "b": AccountSettings("b")}
    settings = Settings(tmp_path / "c", tmp_path / "s", tmp_path / "q", accounts=accounts)
    found = list(whatsapp.find(context_of(tmp_path, settings)))
    assert [one.status for one in found] == ["FAIL", "OK"]
    assert "ValueError" in found[0].text


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:1"}, "http://a:1"),
        ({"https_proxy": "b:1"}, "b:1"),
        ({"HTTP_PROXY": "http://a:1"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "localhost,127.0.0.1"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": " .whatsapp.com "}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "app.com"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": f"{HOST}:443"}, None),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": f"{HOST}:80"}, "http://a:1"),
        ({"HTTPS_PROXY": "http://a:1", "no_proxy": "*"}, None),
    ],
)
def test_the_environment_names_a_proxy_as_for_go(variables: Mapping[str, str], proxy: str | None) -> None:
    assert environment_proxy(variables) == proxy
