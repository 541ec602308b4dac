"""Accounts by names, patterns and tags: which of them a command is for, and what a live list does."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import selecting, watching
from orchestrator.control.view import AccountView
from orchestrator.errors import NoSuchAccount

TAGS = st.sampled_from(["sales", "eu", "vip"])
NAMES = st.sampled_from(["shop-1", "shop-10", "shop-11", "shop-2", "support", "s", "a.b_c"])
WANTED = st.one_of(NAMES, st.sampled_from(["shop-1*", "*", "s?pport", "shop-[12]", "[!s]*", "nobody", "x*"]))
ACCOUNTS = st.lists(
    st.builds(AccountView, NAMES, st.just("connected"), tags=st.lists(TAGS, unique=True).map(tuple)),
    unique_by=lambda one: one.name,
)


def named(accounts: Collection[AccountView], wanted: str) -> list[str]:
    return [one.name for one in accounts if one.name == wanted or fnmatchcase(one.name, wanted)]


@given(ACCOUNTS, st.lists(WANTED))
def test_each_name_and_each_pattern_has_to_fit_somebody(
    accounts: list[AccountView], wanted: list[str]
) -> None:
    missing = [one for one in wanted if not named(accounts, one)]
    if missing:
        with pytest.raises(NoSuchAccount) as caught:
            selecting.select(accounts, wanted)
        assert all(f'"{one}"' in str(caught.value) for one in missing)
        # Nobody who types a pattern has meant a single name.
        assert not ("did you mean" in str(caught.value) and selecting.is_pattern(missing[0]))
        return
    found = [one.name for one in selecting.select(accounts, wanted)]
    expected = [name for one in wanted for name in named(accounts, one)] or [one.name for one in accounts]
    assert found == list(dict.fromkeys(expected))
    assert {*found} == {one.name for one in accounts if selecting.fits(one, wanted, ())}


@given(ACCOUNTS, st.lists(TAGS, min_size=1), st.booleans())
def test_an_account_has_to_have_all_tags_and_a_tag_that_nobody_has_is_refused(
    accounts: list[AccountView], wanted: list[str], or_none: bool
) -> None:
    expected = [one for one in accounts if {*wanted} <= {*one.tags}]
    known = {tag for one in accounts for tag in one.tags}
    if not {*wanted} <= known or not (expected or or_none):
        with pytest.raises(typer.BadParameter, match="no account has"):
            selecting.select(accounts, tags=wanted, or_none=or_none)
    else:
        assert selecting.select(accounts, tags=wanted, or_none=or_none) == expected


def test_tags_choose_among_those_that_are_named() -> None:
    accounts = [
        AccountView("shop-1", "connected", tags=("eu",)),
        AccountView("shop-2", "connected", tags=("us",)),
        AccountView("support", "connected", tags=("eu",)),
    ]
    assert [one.name for one in selecting.select(accounts, ["shop-*"], ["eu"])] == ["shop-1"]
    with pytest.raises(typer.BadParameter, match="no account that you named has the tag"):
        selecting.select(accounts, ["support"], ["us"])
    with pytest.raises(typer.BadParameter, match="the tags are eu, us"):
        selecting.select(accounts, ["support"], ["uk"])


@given(ACCOUNTS, st.lists(WANTED), st.frozensets(TAGS), st.lists(st.text()))
def test_a_live_list_tells_each_account_once_as_shown_or_as_gone(
    accounts: list[AccountView], wanted: list[str], tags: frozenset[str], gone: list[str]
) -> None:
    event = {"accounts": [one.as_json() for one in accounts], "gone": gone}
    found = watching.only(event, lambda one: selecting.fits(one, wanted, tags))
    shown = [AccountView.from_json(one) for one in found["accounts"]]
    assert shown == [one for one in accounts if selecting.fits(one, wanted, tags)]
    assert found["gone"] == [*gone, *(one.name for one in accounts if one not in shown)]


def test_an_account_that_loses_a_tag_goes_from_the_live_list() -> None:
    def event(*tags: str) -> dict[str, Any]:
        return {"accounts": [AccountView("a", "connected", tags=tags).as_json()], "gone": []}

    def seen(one: AccountView) -> bool:
        return selecting.fits(one, (), ["eu"])

    assert watching.only(event("eu"), seen)["gone"] == []
    assert watching.only(event("us"), seen) == {"accounts": [], "gone": ["a"]}


def test_programs_hear_when_a_need_begins_changes_and_ends() -> None:
    def event(*accounts: AccountView, gone: Collection[str] = ()) -> dict[str, Any]:
        return {"accounts": [one.as_json() for one in accounts], "gone": [*gone]}

    fine, pairing = AccountView("a", "connected"), AccountView("a", "pairing")
    other = AccountView("b", "failed", kind="logged_out")
    told = watching.needs(
        [
            event(fine, other),
            event(pairing),
            event(pairing._replace(qr_expires_at="2026-11-22T10:00:00Z")),
            event(AccountView("a", "failed", kind="pairing_expired")),
            event(fine),
            event(fine, gone=["b"]),
            event(gone=["a"]),
        ]
    )
    assert [(one["name"], one["need"] and one["need"]["kind"]) for one in told] == [
        ("a", None), ("b", "logged_out"), ("a", "code"), ("a", "failed"), ("a", None), ("b", None),
    ]  # fmt: skip
