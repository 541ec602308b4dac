"""A code that others can read is told if any phone may be linked by it."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor import context_of

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.service.doctor.checks import phones


def settings_of(folder: Path, *accounts: AccountSettings, group: str | None = None) -> Settings:
    named = {one.name: one for one in accounts}
    return Settings(folder / "accounts.yaml", folder / "state", folder / "codes", group, accounts=named)


def judged(settings: Settings) -> list[tuple[str, str]]:
    return [(one.status, one.text) for one in phones.find(context_of(settings.config_file.parent, settings))]


ANY, OWN = AccountSettings("any"), AccountSettings("own", phone="4915100001")


def test_codes_that_a_group_can_read(tmp_path: Path) -> None:
    ((status, text),) = judged(settings_of(tmp_path, ANY, OWN, group="readers"))
    assert status == "WARN"
    assert "group readers" in text
    assert "any" in text
    assert "own" not in text
    assert judged(settings_of(tmp_path, OWN, group="readers"))[0][0] == "OK"
    disabled = replace(ANY, enabled=False)
    assert judged(settings_of(tmp_path, disabled, OWN, group="readers"))[0][0] == "OK"
    assert judged(settings_of(tmp_path, group="readers")) == []


@pytest.mark.parametrize(
    ("mode", "status"), [(0o700, "OK"), (0o750, "WARN"), (0o701, "WARN"), (0o755, "WARN")]
)
def test_a_folder_that_others_may_enter(tmp_path: Path, mode: int, status: str) -> None:
    settings = settings_of(tmp_path, ANY)
    assert judged(settings)[0][0] == "OK", "the service has yet to make it"
    settings.qr_dir.mkdir()
    settings.qr_dir.chmod(mode)
    assert judged(settings)[0][0] == status


def test_many_accounts_are_not_all_named(tmp_path: Path) -> None:
    accounts = [AccountSettings(f"a{number}") for number in range(9)]
    ((_, text),) = judged(settings_of(tmp_path, *accounts, group="readers"))
    assert "a4 and 4 more" in text
