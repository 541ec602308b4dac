"""Which settings are in force, where each comes from, and what nobody is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config import in_force, reader, types
from orchestrator.config.in_force import HIDDEN, InForce, of_account
from orchestrator.config.settings import Settings

TEXT = """
defaults:
  max_retries: 5
  proxy: socks5://joe:hunter2@proxy.example:1080
  backoff: {base: 4s}
  messages: {allow: ["*", "+4915100000001", "4915100000002-1234567890@g.us", "120363000000000001@g.us"]}
accounts:
  a:
    phone: "+49 151 00000003"
    backoff: {max: 10m}
    proxy: null
  b:
    max_retries: 7
    sending: {pacing: off}
    messages: {allow: [%s]}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    many = ", ".join(f'"+49151000001{number:02}"' for number in range(20))
    return reader.parse(TEXT % many, tmp_path / "accounts.yaml", state_dir=tmp_path / "state", environ={})


def found(settings: Settings, name: str) -> dict[str, tuple[str, str]]:
    return {one.key: (one.value, one.origin) for one in of_account(settings, name)}


def test_each_value_is_told_with_where_it_comes_from(settings: Settings) -> None:
    a, b = found(settings, "a"), found(settings, "b")
    assert a["max_retries"] == ("5", "defaults")
    assert b["max_retries"] == ("7", "account")
    assert a["backoff.base"] == b["backoff.base"] == ("4s", "defaults")
    assert (a["backoff.max"], b["backoff.max"]) == (("10m", "account"), ("5m", "built-in"))
    assert a["proxy"] == ("null", "account")
    assert b["sending.pacing"] == ("off", "account")
    assert b["sending.typing"] == ("true", "built-in")
    assert a["enabled"] == ("true", "built-in")


def test_no_password_and_no_number_is_shown(settings: Settings) -> None:
    a, b = found(settings, "a"), found(settings, "b")
    assert b["proxy"] == ("socks5://proxy.example:1080", "defaults")
    assert a["phone"] == ("+49…03", "account")
    assert a["messages.allow"] == ('["*", +49…01, 2 addresses]', "defaults")
    assert b["messages.allow"] == ("[+49…00, +49…01, +49…02, +49…03, +49…04, 15 more]", "account")
    text = str(a) + str(b)
    for secret in ("hunter2", "joe", "1510000", "120363"):
        assert secret not in text


def test_a_proxy_of_a_file_is_the_proxy(tmp_path: Path) -> None:
    file = tmp_path / "proxy.secret"
    file.write_text("http://joe:hunter2@127.0.0.1:3128\n")
    file.chmod(0o600)
    text = "accounts: {a: {proxy_file: proxy.secret}}"
    settings = reader.parse(text, tmp_path / "accounts.yaml", state_dir=tmp_path / "state", environ={})
    assert found(settings, "a")["proxy"] == ("http://127.0.0.1:3128", "account")
    assert "proxy_file" not in found(settings, "a")


def test_every_setting_of_an_account_is_told_and_none_is_hidden(settings: Settings) -> None:
    for name in ("a", "b"):
        told = of_account(settings, name)
        assert not [one for one in told if one.value == HIDDEN]
        fields = {field for field in AccountSettings.__dataclass_fields__ if field != "name"}
        assert {one.key.partition(".")[0] for one in told} == fields


def test_what_nobody_has_said_how_to_show_is_hidden() -> None:
    kind = types.Folder()
    assert in_force._shown(kind, Path("/secret")) == HIDDEN
    assert in_force._shown(types.OrNull(kind), Path("/secret")) == HIDDEN
    assert in_force._shown(types.Proxy(), "not a proxy: hunter2") == HIDDEN


def test_without_anything_in_the_file_everything_is_built_in(tmp_path: Path) -> None:
    settings = reader.parse("accounts: {a: }", tmp_path / "x.yaml", state_dir=tmp_path / "s", environ={})
    assert {one.origin for one in of_account(settings, "a")} == {"built-in"}
    assert InForce("backoff.base", "3s", "built-in") in of_account(settings, "a")
