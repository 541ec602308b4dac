"""A shell that has entered the sandbox's environment leaves it again, and keeps what is its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.cli.sandbox.server import _places
from orchestrator.sandbox.environment import as_shell, as_unset, client_environment


def shell(script: str, variables: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{script}\nexec env -0"], env=variables, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


@pytest.mark.parametrize("path", ["", "/mine:/it's", "/mine"])
def test_what_was_set_is_unset_and_the_rest_stays(tmp_path: Path, path: str) -> None:
    before = {"PATH": "/usr/bin:/bin", "MINE": "1"} | ({"PYTHONPATH": path} if path else {})
    sandbox = client_environment(port=8443, ca_file=tmp_path / "ca.pem", root_key=bytes(32), base=before)
    inside = shell(as_shell(sandbox), before)
    assert inside["HTTPS_PROXY"] == "http://127.0.0.1:8443"
    left = shell(as_unset(inside, "CONTROL"), inside)
    gone = {"PWD", "_", "SHLVL", "OLDPWD"}
    assert {key: value for key, value in left.items() if key not in gone} == before
    assert as_unset(left) == ""


def test_only_this_program_gets_places_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "accounts"
    assert _places("python", folder, {}) == {}
    both = {"STATE_DIRECTORY": str(folder), "ORCHESTRATOR_CONFIG": str(folder / "accounts.yaml")}
    assert _places("/opt/bin/orchestrator", folder, {}) == both
    state = {"STATE_DIRECTORY": str(folder)}
    assert _places("orchestrator", folder, {"ORCHESTRATOR_CONFIG": "mine.yaml"}) == state
    (tmp_path / "accounts.yaml").touch()
    assert _places("orchestrator", folder, {}) == state
