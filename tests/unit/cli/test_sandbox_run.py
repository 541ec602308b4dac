"""`sandbox run` and `sandbox scan NAME`: any user of the machine may listen where a sandbox is expected."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.sandbox import phones, server
from orchestrator.sandbox.client import SandboxClient, SandboxError
from orchestrator.sandbox.environment import ROOT_KEY_VARIABLE

CONTROL = "http://127.0.0.1:8444"
EVIL = "accounts: {}\non_change: {run: [/bin/sh, -c, id]}\n"


def start(command: list[str]) -> None:
    run: Callable[[list[str], str], None] = server.run  # nothing takes the place of the tests
    run(command, CONTROL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Whatever listens says that a folder is the sandbox's; return the environment of what is run."""
    found: dict[str, Any] = {}
    environment = {"SSL_CERT_FILE": "/ca.pem", ROOT_KEY_VARIABLE: "00" * 32}
    about = {
        "sandbox": "1", "address": "127.0.0.1", "port": 8443, "control_port": 8444,
        "state_dir": str(tmp_path / "sandbox"),
        "environment": environment,
    }  # fmt: skip
    monkeypatch.setattr(SandboxClient, "about", lambda _: about)
    monkeypatch.setattr(os, "execvpe", lambda _, __, given: found.update(given))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_CONFIG", raising=False)
    (tmp_path / "sandbox").mkdir(0o700)
    return found


def test_a_sandbox_of_this_user_keeps_configuration_and_state(tmp_path: Path, run: dict[str, Any]) -> None:
    start(["orchestrator", "list"])
    assert run["ORCHESTRATOR_CONFIG"] == str(tmp_path / "sandbox" / "accounts" / "accounts.yaml")
    assert run["STATE_DIRECTORY"] == str(tmp_path / "sandbox" / "accounts")
    assert Path(run["ORCHESTRATOR_CONFIG"]).is_file()


@pytest.mark.parametrize(
    ("what", "with_own_configuration"),
    [
        ("sandbox", False),
        ("sandbox", True),
        ("sandbox/accounts", False),
        ("sandbox/accounts", True),
        ("sandbox/accounts/accounts.yaml", False),
    ],
)
def test_what_others_may_change_is_not_used(
    tmp_path: Path, run: dict[str, Any], what: str, *, with_own_configuration: bool
) -> None:
    folder = tmp_path / "sandbox" / "accounts"
    folder.mkdir(0o700)
    (folder / "accounts.yaml").write_text(EVIL)
    (folder / "accounts.yaml").chmod(0o600)
    if with_own_configuration:
        (tmp_path / "accounts.yaml").write_text("accounts: {}\n")
    (tmp_path / what).chmod(0o777)
    with pytest.raises(SandboxError, match="others may change that"):
        start(["orchestrator", "run"])
    assert not run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_sandbox_of_another_user_is_not_used_and_nothing_is_written_there(
    tmp_path: Path, run: dict[str, Any]
) -> None:
    os.chown(tmp_path / "sandbox", 12345, 12345)
    with pytest.raises(SandboxError, match="start a sandbox of your own"):
        start(["orchestrator", "run"])
    assert not run
    assert not [*(tmp_path / "sandbox").iterdir()]


def test_another_program_gets_no_folder_and_no_configuration(tmp_path: Path, run: dict[str, Any]) -> None:
    (tmp_path / "sandbox").chmod(0o777)
    start(["python", "bot.py"])
    assert "STATE_DIRECTORY" not in run.keys() - os.environ.keys()
    assert "ORCHESTRATOR_CONFIG" not in run


def test_a_link_in_the_folder_of_another_user_is_not_sent_to_the_sandbox(
    tmp_path: Path, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sandbox scan NAME` sends a file that the sandbox names."""
    assert not run
    sent: list[object] = []

    def scan(_: SandboxClient, number: str, *, text: str | None, png: bytes | None) -> dict[str, Any]:
        sent.append((number, text, png))
        return {"phone": number, "device": 1}

    monkeypatch.setattr(SandboxClient, "scan", scan)
    secret, codes = tmp_path / "secret", tmp_path / "sandbox" / "accounts" / "qr"
    secret.write_bytes(b"a key of this user")
    codes.mkdir(0o700, parents=True)
    (codes / "support.png").symlink_to(secret)
    (tmp_path / "sandbox").chmod(0o777)
    with pytest.raises(SandboxError, match="others may change that"):
        phones.scan("+4915100001", png="support", control=CONTROL)
    assert not sent
    (tmp_path / "sandbox").chmod(0o700)
    (codes / "support.png").unlink()
    (codes / "support.png").write_bytes(b"a picture")
    phones.scan("+4915100001", png="support", control=CONTROL)
    assert sent == [("+4915100001", None, b"a picture")]
