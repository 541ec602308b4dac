"""A unit runs nothing that others than root can change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.unit import owners, plan
from orchestrator.cli.unit.plan import UnitError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

MALLORY = 65534


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the program and a library, which this process takes for its own."""
    home = tmp_path / "opt/orchestrator"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", home], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "neonize").mkdir()
    for path in (home / "bin/orchestrator", site / "neonize/__init__.py", site / "neonize/neonize.so"):
        path.touch()
    monkeypatch.setattr(plan, "HIDDEN", ())
    monkeypatch.setattr(plan, "check_open", lambda *_: None)
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(sys, "executable", str(home / "bin/python"))
    # These tests' own packages are many, and none of the unit's.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return home


def hers(path: Path) -> None:
    os.chown(path, MALLORY, MALLORY, follow_symlinks=False)


def group_writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def open_to_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def test_an_installation_of_roots_is_taken(home: Path) -> None:
    assert plan.plan(None, None, None).program == home / "bin/orchestrator"


@pytest.mark.parametrize("change", [hers, group_writable, open_to_all])
@pytest.mark.parametrize(
    "place",
    [
        "",  # the environment
        "..",
        "bin",
        "bin/orchestrator",
        "pyvenv.cfg",
        "lib/python3/site-packages",
        "lib/python3/site-packages/neonize",
        "lib/python3/site-packages/neonize/neonize.so",
        "lib/python3/site-packages/neonize/__init__.py",
    ],
)
def test_an_installation_that_others_can_change_is_refused(
    home: Path, place: str, change: Callable[[Path], None]
) -> None:
    (lib,) = home.glob("lib/python3*")
    path = (home / place.replace("lib/python3/", f"lib/{lib.name}/")).resolve()
    change(path)
    with pytest.raises(UnitError, match="so others than root decide what the unit runs") as caught:
        plan.plan(None, None, None)
    said = str(caught.value)
    assert str(path) in said
    assert "install anew as root: `/usr/bin/python3 -m venv /opt/orchestrator`" in said
    # What it says helps.
    for command in said.partition("use ")[2].partition(";")[0].split(", "):
        subprocess.run(["sh", "-c", command.strip("`")], check=True)
    plan.plan(None, None, None)


@pytest.mark.parametrize("what", ["the link", "its target", "above its target"])
def test_a_python_that_a_user_has_is_refused(home: Path, tmp_path: Path, what: str) -> None:
    pyenv = tmp_path / "srv/ada/bin"
    pyenv.mkdir(parents=True)
    (pyenv / "python3").write_text("")
    python = home / "bin/python"
    python.unlink()
    python.symlink_to(pyenv / "python3")
    plan.plan(None, None, None)
    hers({"the link": python, "its target": pyenv / "python3", "above its target": pyenv.parent}[what])
    with pytest.raises(UnitError, match="belongs to nobody, so others than root decide"):
        plan.plan(None, None, None)


def test_another_programs_link_in_the_environment_counts_with_its_target(home: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.py"
    theirs.touch()
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "theirs.py").symlink_to(theirs)
    assert owners.find() is None
    hers(theirs)
    found = owners.find()
    assert found is not None
    assert found.weak.place.path == theirs


def test_a_linked_package_is_searched(home: Path, tmp_path: Path) -> None:
    package = tmp_path / "elsewhere/package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "circle").symlink_to(package)
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "package").symlink_to(package)
    assert owners.find() is None
    hers(package / "__init__.py")
    found = owners.find()
    assert found is not None
    assert found.weak.place.path == package / "__init__.py"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("change", [hers, group_writable, open_to_all])
@pytest.mark.parametrize("above", [False, True])
def test_a_configuration_that_others_can_change_is_refused(
    tmp_path: Path, above: bool, change: Callable[[Path], None]
) -> None:
    file = tmp_path / "etc/accounts.yaml"
    file.parent.mkdir()
    file.write_text("state_dir: /var/lib/orchestrator\naccounts: {}\n")
    plan.plan(None, None, file)
    change(file.parent if above else file)
    with pytest.raises(UnitError, match="so others than root decide what the service does") as caught:
        plan.plan(None, None, file)
    assert str(file) in str(caught.value)
    (command,) = str(caught.value).split("`")[1:2]
    subprocess.run(["sh", "-c", command], check=True)
    plan.plan(None, None, file)


def test_folders_of_pythonpath_are_not_the_units(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    hers(mine)
    monkeypatch.setattr(sys, "path", [str(mine), *sys.path])
    found = owners.find(home / "bin/python")
    assert found is not None
    assert found.weak.place.path == mine
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(mine), os.environ["PYTHONPATH"]]))
    assert owners.find(home / "bin/python") is None
