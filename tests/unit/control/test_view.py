"""The view of an account: its form in JSON, and what becomes of the view of another version."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import child
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.control.view import AccountView, LastExit
from orchestrator.errors import OrchestratorError
from orchestrator.service.view import describe

TEXT = st.none() | st.text()
COUNT = st.none() | st.integers(0, 2**40)
VIEWS = st.builds(
    AccountView,
    name=st.text(),
    state=st.text(),
    since=TEXT,
    reason=TEXT,
    pid=COUNT,
    attempt=st.integers(0),
    held=st.booleans(),
    uptime_s=st.none() | st.floats(0, 1e9) | st.integers(0, 100),
    cpu_s=st.none() | st.floats(0, 1e9),
    lease_age_s=st.none() | st.floats(0, 1e9),
    open_files=COUNT,
    last_exit=st.none() | st.builds(LastExit, TEXT, TEXT, COUNT, TEXT),
    tags=st.lists(st.text()).map(tuple),
    proxy=TEXT,
    last_in_at=TEXT,
    same_phone=st.lists(st.text()).map(tuple),
)
AT = Moment(100.0, 1_795_000_000.0)


@given(VIEWS)
def test_a_view_survives_json(view: AccountView) -> None:
    values = view.as_json()
    assert AccountView.from_json(values) == view
    assert list(values) == list(AccountView._fields)
    assert not isinstance(values["last_exit"], tuple), "an object, not an array"
    assert AccountView.from_json(json.loads(json.dumps(values))) == view


def test_fields_of_a_newer_service_are_ignored_and_those_of_an_older_one_are_missing() -> None:
    newer = {"name": "a", "state": "dreaming", "mood": "good", "last_exit": {"kind": "crash", "why": "?"}}
    view = AccountView.from_json(newer)
    assert view == AccountView("a", "dreaming", last_exit=LastExit(kind="crash"))
    assert (view.cpu_s, view.restarts, view.held) == (None, 0, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pid", "4711"),
        ("restarts", None),
        ("since", 5),
        ("held", "yes"),
        ("last_exit", "crash"),
        ("tags", "sales"),
        ("tags", {"sales": 1}),
        ("tags", [1, None]),
        ("proxy", 1080),
        ("same_phone", "sales"),
        ("same_phone", [1]),
        ("last_in_at", 5.0),
    ],
)
def test_a_field_of_another_type_counts_as_missing(field: str, value: object) -> None:
    assert AccountView.from_json({"name": "a", "state": "stopped", field: value}) == AccountView(
        "a", "stopped"
    )


@pytest.mark.parametrize(
    "values", [{}, {"name": "a"}, {"state": "stopped"}, {"name": 1, "state": "x"}, [], None]
)
def test_what_is_no_account_is_an_error_that_says_so(values: Any) -> None:  # noqa: ANN401 - from outside
    with pytest.raises(OrchestratorError, match="not a compatible version"):
        AccountView.from_json(values)


def test_the_view_of_a_machine_has_masked_numbers_and_its_last_end() -> None:
    account = Account(AccountSettings("a", phone="4915100000099"), AT, random=lambda: 0.5)
    account.last_exit = child.LastExit(AT.wall, Kind.CRASH, -9)
    view = describe(
        account, AT, qr_path=Path("/qr/a.png"), code_expires_at=AT.wall, traceback=Path("/t/a.txt")
    )
    assert (view.phone, view.qr_path, view.state) == ("+49…99", "/qr/a.png", "stopped")
    assert view.last_exit == LastExit("2026-11-18T11:06:40Z", "crash", -9, "/t/a.txt")
    assert (view.cpu_s, view.open_files, view.threads) == (None, None, None)
    assert (view.tags, view.proxy, view.last_in_at, view.last_out_at) == ((), None, None, None)
    assert describe(account, AT, qr_path=None, code_expires_at=None, reveal=True).phone == "+4915100000099"


def test_the_view_of_a_machine_has_the_proxy_without_credentials_and_the_tags() -> None:
    settings = AccountSettings("a", proxy="socks5://ada:geheim@Proxy.example:1080", tags=("sales", "vip"))
    account = Account(settings, AT, random=lambda: 0.5)
    account.heard_of_messages(AT.wall - 60, AT.wall)
    view = describe(account, AT, qr_path=None, code_expires_at=None, reveal=True)
    assert (view.proxy, view.tags) == ("socks5://proxy.example:1080", ("sales", "vip"))
    assert (view.last_in_at, view.last_out_at) == ("2026-11-18T11:05:40Z", "2026-11-18T11:06:40Z")
    assert "geheim" not in repr(view)
    assert "ada" not in repr(view)
