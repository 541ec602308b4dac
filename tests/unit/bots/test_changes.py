"""A changed file is noticed; modules of a folder that cannot be listed are found."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.bots import changes
from orchestrator.bots.by_hand import Run
from orchestrator.bots.confining import Listed
from orchestrator.control.client import Client


def test_a_change_is_noticed(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.py", "b.py", "gone.py")]
    for file in files[:2]:
        file.write_text("x")
    marks = changes.mark(files)
    assert changes.changed(marks) is None
    files[1].write_text("longer")
    assert changes.changed(marks) == files[1]
    marks = changes.mark(files)
    os.utime(files[0], ns=(0, 0))
    assert changes.changed(marks) == files[0]
    marks = changes.mark(files)
    files[2].write_text("it is there")
    assert changes.changed(marks) == files[2]
    marks = changes.mark(files)
    files[2].unlink()
    assert changes.changed(marks) == files[2]
    assert changes.sources(tmp_path) == {files[0], files[1]}
    assert changes.sources(tmp_path / "nowhere") == frozenset()


@pytest.fixture
def path() -> Iterator[None]:
    before, finders, modules = list(sys.path), list(sys.meta_path), set(sys.modules)
    yield
    sys.path[:], sys.meta_path[:] = before, finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.usefixtures("path")
def test_loaded_modules_of_a_folder_are_known(tmp_path: Path) -> None:
    (tmp_path / "orc_one.py").write_text("")
    (tmp_path / "orc_other.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    importlib.import_module("orc_one")
    assert changes.loaded(tmp_path) == {tmp_path / "orc_one.py"}


@pytest.mark.usefixtures("path")
def test_modules_are_found_as_they_were_listed(tmp_path: Path) -> None:
    (tmp_path / "orc_pack").mkdir()
    (tmp_path / "orc_pack/__init__.py").write_text("X = 1")
    (tmp_path / "orc_pack/inner.py").write_text("Y = 2")
    (tmp_path / "orc_module.py").write_text("Z = 3")
    (tmp_path / "orc_data.json").write_text("{}")
    (tmp_path / "orc_folder").mkdir()
    listed = Listed(tmp_path)
    sys.meta_path.insert(0, listed)
    (tmp_path / "orc_late.py").write_text("")
    assert importlib.import_module("orc_pack.inner").Y == 2
    assert importlib.import_module("orc_pack").X == 1
    assert importlib.import_module("orc_module").Z == 3
    for name in ("orc_late", "orc_data", "orc_folder", "os"):
        assert listed.find_spec(name, None) is None
    assert listed.find_spec("orc_module", ["/somewhere"]) is None


def by_hand(app: str, name: str | None = None) -> Run:
    return Run(app, Path("/"), name, None, None, 60, False, False, Client(Path("/nowhere")), print)


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("my_bot:bot", "dev-my_bot"),
        ("My.Bot:bot", "dev-my.bot"),
        (f"{'x' * 100}:bot", f"dev-{'x' * 59}"),
        ("bÖt:bot", "dev-b-t"),
    ],
)
def test_a_bot_is_called_after_its_module(app: str, name: str) -> None:
    assert by_hand(app)._consumer == name
    assert by_hand(app, "mine")._consumer == "mine"
