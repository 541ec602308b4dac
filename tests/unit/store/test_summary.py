"""The summary of the configuration that a service leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.config.file import digest
from orchestrator.store.summary import Summary, load, save

TEXT = "accounts: {b: {}, a: {}}"
ACCOUNTS = {"b": Summary("b", True, "+49…01"), "a": Summary("a", False, None)}


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
        None, b"", b"{", b"[]", b"null", b"{}", b'{"version": 1}', b"\xff", b"[" * 100_000,
        json.dumps({"version": 2, "digest": digest(TEXT), "accounts": []}).encode(),
        json.dumps({"version": 1, "digest": digest(TEXT), "accounts": [["a"]]}).encode(),
        json.dumps({"version": 1, "digest": digest(TEXT), "accounts": 3}).encode(),
    ],
)  # fmt: skip
def test_one_that_is_missing_or_damaged_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "configuration.json"
    if content is not None:
        path.write_bytes(content)
    assert load(path, digest(TEXT)) is None
