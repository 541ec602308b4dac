"""Which configurations a service runs with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.access import token as form
from orchestrator.access import tokens
from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import ConfigError
from orchestrator.service import admissible
from orchestrator.store.layout import StatePaths

EVERYWHERE = Http(listen=(Tcp("0.0.0.0", 8080),))


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths.of(tmp_path / "state", environ={})
    made.prepare()
    return made


def settings(paths: StatePaths, http: Http | None = None, *missing: tuple[str, str]) -> Settings:
    return Settings(Path("/c.yaml"), paths.root, paths.qr, http=http, missing_variables=missing)


def test_a_reload_opens_the_server_to_others_only_if_there_is_a_token(paths: StatePaths) -> None:
    before = settings(paths, Http())
    admissible.check_reload(before, settings(paths), paths)
    admissible.check_reload(before, settings(paths, Http()), paths)
    admissible.check_reload(settings(paths, EVERYWHERE), settings(paths, EVERYWHERE), paths)
    for other in (before, settings(paths), settings(paths, Http(listen=(Tcp("0.0.0.0", 8081),)))):
        with pytest.raises(ConfigError, match="orchestrator token add") as caught:
            admissible.check_reload(other, settings(paths, EVERYWHERE), paths)
    assert caught.value.key == "token_needed"
    random = os.urandom(form.ID_BYTES + form.SECRET_BYTES)
    tokens.add(paths.tokens, form.make("a", ["read"], None, created=1.0, expires=2.0, random=random)[0])
    admissible.check_reload(before, settings(paths, EVERYWHERE), paths)  # though it has expired


def test_a_service_starts_without_a_token(paths: StatePaths) -> None:
    admissible.check_start(settings(paths, EVERYWHERE))


def test_a_damaged_file_of_tokens_hinders_no_reload(paths: StatePaths) -> None:
    (paths.tokens / tokens.FILE).write_text("{")
    (paths.tokens / tokens.FILE).chmod(0o600)
    admissible.check_reload(settings(paths), settings(paths, EVERYWHERE), paths)


def test_a_variable_that_is_not_set_is_named(paths: StatePaths) -> None:
    missing = (("webhooks.crm.secret_env", "CRM"), ("bots.echo.env", "URL"))
    with pytest.raises(ConfigError) as caught:
        admissible.check_start(settings(paths, None, *missing))
    assert str(caught.value).splitlines() == [
        "/c.yaml: webhooks.crm.secret_env: set $CRM in the service's environment",
        "/c.yaml: bots.echo.env: set $URL in the service's environment",
    ]
