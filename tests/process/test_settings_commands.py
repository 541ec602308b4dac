"""`set`, `enable`, `disable`, `reload --dry-run` and `restart --wait` as an operator gives them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from support.cli import Cli, wait_for

from orchestrator.accounts.moments import say_time


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def running(cli: Cli, *entries: str) -> None:
    cli.configure(*entries)
    for entry in entries:
        cli.has_session(entry.partition(":")[0])


def test_set_edits_the_file_and_says_who_reconnects(cli: Cli) -> None:
    running(cli, "a: {}  # first", "b: {}")
    with cli.service():
        for name in "ab":
            cli.until(name, "connected")
        pid = cli.accounts()["a"]["pid"]
        said = cli("set", "a", "note=the shop in Berlin", "tags=sales,berlin").stdout
        assert f"a: tags, note in {cli.config}" in said
        assert "reconnects" not in said
        about = cli.accounts()["a"]
        assert (about["note"], about["tags"], about["pid"]) == (
            "the shop in Berlin",
            ["sales", "berlin"],
            pid,
        )
        assert "the shop in Berlin" in cli("list", "--wide").stdout
        assert "the shop in Berlin" in cli("explain", "a").stdout
        assert "a reconnects" in cli("set", "a", "device_name=Desk").stdout
        wait_for(lambda: cli.accounts()["a"]["pid"] not in (None, pid), "it has a new process")
        assert "nothing to change" in cli("set", "a", "max_retries=").stdout
        cli("set", "a", "note=")
        assert cli.accounts()["a"]["note"] is None
    text = cli.config.read_text()
    assert "  a:  # first\n" in text
    assert "\n  b: {}\n" in text


def test_what_set_refuses_changes_nothing(cli: Cli) -> None:
    cli.configure("a: {}")
    text = cli.config.read_text()
    for assignment, said in (
        ("backof.max=3m", "did you mean backoff"),
        ("backoff.max=3", "without a unit"),
        ("proxy=socks5://ada:geheim@127.0.0.1:1080", "give it through stdin, as proxy=-"),
        ("nonsense", "expected KEY=VALUE"),
    ):
        refused = cli("set", "a", assignment, code=2).stderr
        assert said in refused
        assert "geheim" not in refused
    assert "nothing was changed" in cli("set", "a", "backoff.base=3h", code=1).stderr
    cli("set", "nobody", "note=x", code=5)
    assert cli.config.read_text() == text
    cli("set", "a", "proxy=-", text="socks5://ada:geheim@127.0.0.1:1080\n")
    assert "proxy: socks5://ada:geheim@127.0.0.1:1080\n" in cli.config.read_text()


def test_accounts_are_disabled_until_a_time_and_enabled_again(cli: Cli) -> None:
    running(cli, "shop-1: {}", "shop-2: {}", "other: {}")
    with cli.service():
        for name in ("shop-1", "shop-2", "other"):
            cli.until(name, "connected")
        said = cli("disable", "shop-*", "--until", "30d", "--note", "closed for the winter").stdout
        assert re.search(
            r"^shop-1 is disabled until \d{4}-\d\d-\d\d .+ in .*accounts.yaml$", said, re.MULTILINE
        )
        for name in ("shop-1", "shop-2"):
            about = cli.until(name, "disabled")
            assert about["disabled_until"] is not None
            assert about["reason"].startswith("disabled until ")
            assert about["reason"].endswith(": closed for the winter")
        assert cli.accounts()["other"]["state"] == "connected"
        cli("list", "--check")
        assert "enable shop-1` first" in cli("start", "shop-1", code=1).stderr
        said = cli("enable", "shop-1").stdout
        assert "`orchestrator" in said  # the note stays
        assert "note=" in said
        cli.until("shop-1", "connected")
        assert "other is disabled in " in cli("disable", "other").stdout
        assert cli.until("other", "disabled")["disabled_until"] is None
    # Without the service, and after it has started again.
    assert cli.accounts()["shop-2"]["state"] == "disabled"
    assert "closed for the winter" in cli.accounts()["shop-2"]["reason"]
    assert "has passed" in cli("disable", "shop-1", "--until", "2020-01-01", code=2).stderr


def test_patterns_and_tags_choose_accounts(cli: Cli) -> None:
    cli.configure("shop-1: {tags: [berlin]}", "shop-2: {tags: [berlin, big], enabled: false}", "other: {}")
    said = cli("set", "shop-*", "other", "note=seen", "max_retries=7").stdout
    assert [line.partition(" in ")[0] for line in said.splitlines()[:3]] == [
        f"{name}: max_retries, note" for name in ("shop-1", "shop-2", "other")
    ]
    assert {one["note"] for one in cli.accounts().values()} == {"seen"}
    cli("set", "--tag", "berlin", "--tag", "big", "note=big")
    assert [cli.accounts()[name]["note"] for name in ("shop-1", "shop-2", "other")] == ["seen", "big", "seen"]
    cli("enable", "--tag", "berlin")
    assert cli.accounts()["shop-2"]["state"] != "disabled"
    cli("disable", "--tag", "berlin", "shop-2", "other")
    states = {name: one["state"] for name, one in cli.accounts().items()}
    assert [name for name, state in states.items() if state == "disabled"] == ["shop-2"]
    text = cli.config.read_text()
    assert (
        'no account has the tag "paris"; the tags are berlin, big'
        in cli("disable", "--tag", "paris", code=2).stderr
    )
    cli("disable", "shops-*", code=5)
    cli("set", "shops-*", "note=x", code=5)
    assert cli.config.read_text() == text


def test_an_account_is_enabled_by_itself_at_its_time(cli: Cli) -> None:
    at = time.time() + 6
    past = say_time(time.time() - 60)
    running(cli, f'soon: {{disabled_until: "{say_time(at)}"}}', f'past: {{disabled_until: "{past}"}}')
    with cli.service():
        cli.until("past", "connected")
        cli.until("soon", "connected")
        assert time.time() >= at - 1
        assert cli.accounts()["soon"]["disabled_until"] is None
        assert cli("reload").stdout == "nothing has changed\n"


def test_a_dry_run_names_keys_and_no_values(cli: Cli) -> None:
    running(cli, "a: {}", "b: {}")
    with cli.service():
        for name in "ab":
            cli.until(name, "connected")
        assert cli("reload", "--dry-run").stdout == "nothing would change\n"
        cli.configure("a: {proxy: 'socks5://ada:geheim@127.0.0.1:1'}", "b: {note: x}", "c: {}")
        said = cli("reload", "--dry-run").stdout.splitlines()
        assert said == [
            "a: proxy: reconnects; its session is kept",
            "b: note: takes effect at once; the account stays connected as it is",
            "c: added: starts",
            "a reconnects",
        ]
        plan = json.loads(cli("reload", "--dry-run", "--json").stdout)
        assert "geheim" not in json.dumps(plan)
        refused = cli("reload", "--probe", code=1).stderr
        assert "WhatsApp cannot be reached through socks5://127.0.0.1:1 for a" in refused
        assert "nothing was changed" in refused
        assert {*cli.accounts()} == {"a", "b"}
        cli.configure("a: {proxi: 1}")
        assert "did you mean proxy" in cli("reload", "--dry-run", code=1).stderr
    cli("reload", "--dry-run", code=4)


def test_a_restart_of_all_says_what_it_does_and_waits(cli: Cli) -> None:
    running(cli, "a: {}", "b: {}")
    with cli.service():
        for name in "ab":
            cli.until(name, "connected")
        pids = {name: one["pid"] for name, one in cli.accounts().items()}
        said = cli("restart", "--all", "--wait").stdout
        assert "restarting 2 connected accounts in turn, at most 10 at once" in said
        assert "2 accounts of 2 back" in said
        now = cli.accounts()
        assert all(now[name]["state"] == "connected" and now[name]["pid"] != pids[name] for name in "ab")
        cli("stop", "a")
        said = cli("restart", "--all", "--wait").stdout
        assert "(1 account that an operator stopped stays stopped)" in said
        assert "1 account of 1 back" in said
        assert cli("restart", "*").stdout.startswith("restarting 1 account: b\n")
        assert cli.accounts()["a"]["state"] == "stopped"
        assert "nothing to restart: a is stopped" in cli("restart", "a*", code=1).stderr
        cli("restart", "a", "--wait")
        cli.until("b", "connected")
        cli.puppets.play("b", ["connecting", "end: refused"])
        done = cli("restart", "b", "--wait", "--for", "3s", code=3)
        assert "b is " in done.stderr
