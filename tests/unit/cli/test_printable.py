"""What a command prints that others have worded: another version's service, a library, anybody's file."""

from __future__ import annotations

import pytest
from support.hostile import ESCAPES, found_in

from orchestrator import cli
from orchestrator.cli import formatting, pairing
from orchestrator.cli.code_screen import CodeScreen
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError


def test_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._fail(f"evil is failed: {ESCAPES}\nsecond line") == 1
    shown = capsys.readouterr().err
    assert not found_in(shown)
    assert shown.endswith("\nsecond line\n")


@pytest.mark.parametrize("state", ["connected", "failed", "\x1b[2J"])
def test_how_a_pairing_ended(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        pairing.report(AccountView(f"a{ESCAPES}", state, reason=ESCAPES, phone=ESCAPES))
    except OrchestratorError as error:
        cli._fail(str(error))
    shown = capsys.readouterr()
    assert not found_in(shown.out + shown.err)
    assert shown.out + shown.err


@pytest.mark.parametrize("code", [f"AB{ESCAPES}", "\x1b[2J\x9b1m", "ABCD123\u202e"])
def test_a_code_to_type_in(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    account = AccountView(f"a{ESCAPES}", "pairing", reason=ESCAPES, qr_path=f"/tmp/{ESCAPES}").as_json()
    with CodeScreen() as screen:
        for live in (False, True):
            screen._live = live
            screen.show({"account": account, "stopping": True})
            screen.show({"account": account})
            screen.show({"code": {"kind": "link", "text": code, "expires_at": "2026-11-22T10:00:00Z"}})
            screen.show({"code": {"kind": "qr", "text": code, "expires_at": ESCAPES}})
    assert not found_in(capsys.readouterr().out, terminal=True)


@pytest.mark.parametrize("time", ["", "soon", "9999-99-99T00:00:00Z", "0001-01-01T00:00:00Z", ESCAPES])
def test_a_time_that_is_none(time: str) -> None:
    assert not found_in(formatting.local(time) + formatting.ago(time, 1.0) + formatting.ahead(time, 1.0))
