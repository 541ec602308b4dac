"""What a reload says of the HTTP server, the webhooks and the bots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.config.reader import parse
from orchestrator.consumers.settings import BotSettings, Http, Tcp, Webhook
from orchestrator.service.reload import changed_programs

NONE = parse("accounts: {a: }", Path("/f.yaml"), environ={"HOME": "/"})
HOOK = Webhook("crm", "http://127.0.0.1:9/", secrets=(b"1",))
BOT = BotSettings("echo", "my_bot:bot", Path("/bots"), code="1")
SOME = replace(NONE, http=Http((Tcp("127.0.0.1", 1),)), webhooks={"crm": HOOK}, bots={"echo": BOT})


def test_nothing_is_said_of_what_stays() -> None:
    assert changed_programs(NONE, NONE) == []
    assert changed_programs(SOME, SOME) == []


def test_what_comes_and_goes_is_named() -> None:
    assert changed_programs(NONE, SOME) == ["http: added", "webhook crm: added", "bot echo: added"]
    assert changed_programs(SOME, NONE) == ["http: removed", "webhook crm: removed", "bot echo: removed"]


def test_a_new_secret_or_code_is_a_change_that_does_not_show_it() -> None:
    after = replace(
        SOME,
        webhooks={"crm": replace(HOOK, secrets=(b"2",)), "new": replace(HOOK, name="new")},
        bots={"echo": replace(BOT, code="2")},
    )
    assert changed_programs(SOME, after) == [
        "webhook crm: changed",
        "webhook new: added",
        "bot echo: changed",
    ]
