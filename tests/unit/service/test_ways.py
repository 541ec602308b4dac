"""What a service uses that others could put theirs in the place of: root refuses, doctor says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor import context_of

from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.service import ways
from orchestrator.service.doctor.checks import local_users
from orchestrator.store.layout import StatePaths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")

MALLORY = 65534


def hers(path: Path) -> None:
    os.chown(path, MALLORY, MALLORY, follow_symlinks=False)


def open_to_all(path: Path) -> None:
    path.chmod(0o777)


def open_to_a_group(path: Path) -> None:
    os.chown(path, -1, MALLORY)
    path.chmod(0o775)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("config", "kept/above", "codes"):
        (tmp_path / name).mkdir(parents=True)
    file = tmp_path / "config/accounts.yaml"
    file.touch()
    return Settings(file, tmp_path / "kept/above/state", tmp_path / "codes/qr")


def paths(settings: Settings) -> StatePaths:
    return StatePaths.of(settings.state_dir, environ={})


@pytest.mark.parametrize("change", [hers, open_to_all, open_to_a_group])
@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("config", "the configuration"),
        ("kept", "the state folder"),
        ("kept/above", "the state folder"),
        ("codes", "the folder of codes"),
    ],
)
def test_root_starts_nothing_whose_folders_others_can_rename(
    settings: Settings, tmp_path: Path, place: str, what: str, change: Callable[[Path], None]
) -> None:
    ways.check_for_root(settings, paths(settings))
    change(tmp_path / place)
    with pytest.raises(StateError) as caught:
        ways.check_for_root(settings, paths(settings))
    said = str(caught.value)
    assert caught.value.key == "folder_untrusted"
    first, second = said.splitlines()
    assert str(tmp_path / place) in first
    assert f"so others can put another file in the place of {what} (" in first
    assert "`chown root " in first or "`chmod " in first
    assert second.startswith("root does not go on like that")
    context = context_of(tmp_path, settings)
    context.paths.get = lambda: paths(settings)  # type: ignore[method-assign]
    (finding,) = local_users.find(context)
    assert (finding.status, first.startswith(finding.text)) == ("FAIL", True)
    # A plain user may run a service like that.
    before = os.geteuid
    try:
        os.geteuid = lambda: MALLORY + 1
        ways.check_for_root(settings, paths(settings))
        assert {one.status for one in local_users.find(context)} == {"WARN"}
    finally:
        os.geteuid = before


def test_ordinary_machines_are_taken(settings: Settings, tmp_path: Path) -> None:
    """Sticky folders, groups without members, a file that an operator has named, links of root's."""
    ways.check_for_root(settings, paths(settings))  # all of this is below /tmp
    (tmp_path / "kept").chmod(0o1777)
    os.chown(tmp_path / "codes", 0, 0)
    (tmp_path / "codes").chmod(0o2775)
    hers(settings.config_file)
    (tmp_path / "link").symlink_to(tmp_path / "kept/above")
    linked = replace(settings, state_dir=tmp_path / "link/state")
    ways.check_for_root(linked, paths(linked))
    hers(tmp_path / "link")
    with pytest.raises(StateError, match="link belongs to nobody"):
        ways.check_for_root(linked, paths(linked))


def test_the_user_of_a_service_may_have_its_folders(settings: Settings, tmp_path: Path) -> None:
    """As root looks at the service of another user."""
    hers(tmp_path / "kept/above")
    settings.state_dir.mkdir()
    hers(settings.state_dir)
    context = context_of(tmp_path, settings)
    context.paths.get = lambda: paths(settings)  # type: ignore[method-assign]
    (finding,) = local_users.find(context)
    assert finding.status == "OK"
    hers(tmp_path / "codes")
    assert [one.status for one in local_users.find(context)] == ["OK"]
    os.chown(tmp_path / "codes", 1, 1)
    assert [one.status for one in local_users.find(context)] == ["WARN"]


def test_the_program_is_looked_at(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "program"), *sys.path])
    ways.check_for_root(settings, paths(settings))
    hers(tmp_path / "program")
    with pytest.raises(StateError, match=r"program belongs to nobody, .* in the place of this program"):
        ways.check_for_root(settings, paths(settings))
