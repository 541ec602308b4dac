"""The summary of the configuration that a service leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.file import digest
from orchestrator.store.summary import Summary, load, save, summarize

TEXT = "accounts: {b: {}, a: {}}"
ACCOUNTS = {"b": Summary("b", True, "+49…01"), "a": Summary("a", False, None, ("sales", "vip"), "http://h:1")}


def test_it_counts_for_exactly_the_same_text_and_keeps_the_order(tmp_path: Path) -> None:
    path = tmp_path / "configuration.json"
    save(path, digest(TEXT), ACCOUNTS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path, digest(TEXT)) == ACCOUNTS
    assert list(load(path, digest(TEXT)) or ()) == ["b", "a"]
    assert load(path, digest(TEXT + "\n")) is None


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"{", b"[]", b"null", b"{}", b'{"version": 3}', b"\xff", b"[" * 100_000,
        json.dumps({"version": 1, "digest": digest(TEXT), "accounts": []}).encode(),
        json.dumps({"version": 3, "digest": digest(TEXT), "accounts": [["a"]]}).encode(),
        json.dumps({"version": 3, "digest": digest(TEXT), "accounts": [["a", True, *[5] * 5]]}).encode(),
        json.dumps({"version": 3, "digest": digest(TEXT), "accounts": 3}).encode(),
    ],
)  # fmt: skip
def test_one_that_is_missing_or_damaged_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "configuration.json"
    if content is not None:
        path.write_bytes(content)
    assert load(path, digest(TEXT)) is None


@pytest.mark.parametrize("until", ["1e300", "253402300799.0", "-62135596801.0", "NaN", "true", '"x"'])
def test_a_time_that_nobody_can_show_counts_for_none(tmp_path: Path, until: str) -> None:
    path = tmp_path / "configuration.json"
    save(path, digest(TEXT), {"a": Summary("a", False, None, disabled_until=2.5)})
    assert (load(path, digest(TEXT)) or {})["a"].disabled_until == 2.5
    path.write_text(path.read_text().replace("2.5", until))
    assert (load(path, digest(TEXT)) or {})["a"].disabled_until is None


def test_nothing_of_a_password_or_a_number_gets_into_it(tmp_path: Path) -> None:
    settings = AccountSettings("a", "4915100001", proxy="http://ada:geheim@h:1", tags=("sales",))
    found = summarize(settings)
    assert found == Summary("a", True, "+49…01", ("sales",), "http://h:1")
    assert summarize(settings, reveal=True).phone == "+4915100001"
    save(tmp_path / "summary", digest(TEXT), {"a": found})
    written = (tmp_path / "summary").read_text()
    assert not any(secret in written for secret in ("ada", "geheim", "15100001"))
