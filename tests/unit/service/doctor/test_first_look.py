"""What doctor says of a configuration that is not there: nothing is wrong before the first account."""

import os
from pathlib import Path
from typing import Any

import pytest
from support.doctor import context_of

from orchestrator.errors import ConfigError, NoConfiguration
from orchestrator.service.doctor.check import Finding
from orchestrator.service.doctor.checks import configuration
from orchestrator.service.doctor.context import Context, Lookup

NONE = NoConfiguration("no configuration found, looked for /x/accounts.yaml")


def judged(context: Context) -> Finding:
    (finding,) = configuration.find(context)
    return finding


@pytest.mark.parametrize("user", [0, 1000])
def test_before_the_first_account_nothing_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    folder = "/home/me/.config/orchestrator" if user else "/etc/orchestrator"
    for prepared in (False, True):
        context = context_of(tmp_path, settings_error=NONE)
        if prepared:
            context.paths.get().prepare()
        with monkeypatch.context() as patched:
            patched.setenv("HOME", "/home/me")
            patched.delenv("ORCHESTRATOR_CONFIG", raising=False)
            patched.setattr(os.path, "lexists", lambda _: False)
            patched.setattr(os, "geteuid", lambda: user)
            found = judged(context)
        assert (found.status, found.text) == ("OK", "there is none yet")
        assert found.advice == f"`orchestrator add NAME` makes {folder}/accounts.yaml, with the first account"


def test_sessions_without_a_configuration_are_a_fault(tmp_path: Path) -> None:
    context = context_of(tmp_path, settings_error=NONE)
    session = context.paths.get().session("support")
    session.parent.mkdir(parents=True)
    session.touch()
    found = judged(context)
    assert found.status == "FAIL"
    assert found.text.endswith(f"{context.paths.get().sessions} has 1 session")
    assert "--config" in (found.advice or "")


def test_the_configuration_of_a_running_service_is_named(tmp_path: Path) -> None:
    context = context_of(tmp_path, settings_error=NONE)
    about: dict[str, Any] = {"config_file": "/srv/accounts.yaml"}
    context.ping = Lookup(lambda: about)
    found = judged(context)
    assert (found.status, found.advice) == (
        "WARN",
        "name the file: `orchestrator --config /srv/accounts.yaml …`",
    )


@pytest.mark.parametrize("error", [ConfigError("/x: cannot be read"), ConfigError("/x:3: unknown key")])
def test_a_named_configuration_that_is_wrong_stays_a_fault(tmp_path: Path, error: ConfigError) -> None:
    assert judged(context_of(tmp_path, settings_error=error)).status == "FAIL"
