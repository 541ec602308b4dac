"""What a client of the gateway may set of a new account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import reader
from orchestrator.service.companions import accounts_file
from orchestrator.service.control.arguments import BadRequest


def test_what_a_client_wants_is_in_the_configuration_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text("accounts:\n")
    request = {"command": "add", "name": "new", "phone": "+15550100", "enabled": False, "tags": ["eu", "123"]}
    accounts_file.add(file, tmp_path, "new", accounts_file.parse(request))
    accounts_file.add(file, tmp_path, "other", accounts_file.parse({"command": "add", "name": "other"}))
    found = reader.load(file, state_dir=tmp_path).accounts
    assert (found["new"].phone, found["new"].enabled, found["new"].tags) == (
        "15550100",
        False,
        ("eu", "123"),
    )
    assert (found["other"].enabled, found["other"].tags) == (True, ())


@pytest.mark.parametrize(
    "values",
    [
        {"tags": "eu"},
        {"tags": {"eu": 1}},
        {"tags": [1]},
        {"tags": ["needle needle"]},
        {"tags": ["<img src=needle>"]},
        {"tags": ["a" * 64]},
        {"tags": [f"t{number}" for number in range(21)]},
        {"tag": ["eu"]},
        {"phone": "needle"},
        {"enabled": "yes"},
    ],
)
def test_what_is_not_valid_is_refused_and_not_quoted(values: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        accounts_file.parse({"command": "add", "name": "new", **values})
    assert "needle" not in str(refused.value)
