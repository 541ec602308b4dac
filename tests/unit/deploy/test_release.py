"""`scripts/release`: what it makes of the last commit, and what it refuses."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator import __version__

ROOT = Path(__file__).resolve().parents[3]
PARTS = (
    "orchestrator/__init__.py",
    "deploy/helm/single/Chart.yaml",
    "deploy/kustomize/overlays/example/kustomization.yaml",
    "CHANGELOG.md",
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    loader = SourceFileLoader("release_script", str(ROOT / "scripts/release"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


@pytest.mark.timeout(1500)
@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="a release is made of a commit, and these sources have none"
)
def test_a_release_is_the_same_twice_and_whole(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    folder = tmp_path / "dist"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/release", "--twice", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert {*sums, "SHA256SUMS"} == {path.name for path in folder.iterdir()}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert all(one.external_attr >> 28 != 0o12 for one in archive.infolist())
    with tarfile.open(next(folder.glob("*-image.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {(one.uid, one.gid) for one in archive.getmembers()} == {(0, 0)}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for wanted in (name for line in copied for name in line.split()):
        assert wanted in names or any(name.startswith(wanted) for name in names), wanted
    bill = json.loads(next(folder.glob("*.cdx.json")).read_text())
    kinds = [one["bom-ref"].partition("/")[0] for one in bill["components"]]
    assert kinds.count("pkg:golang") > 15
    assert "whatsmeow" in {Path(one["name"]).name for one in bill["components"]}
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE)
    assert set(pinned) <= {one["name"] for one in bill["components"]}
    assert bill["metadata"]["component"]["version"] == __version__


def test_the_versions_of_these_sources_agree(release: ModuleType, sources: Path) -> None:
    assert release.versions(sources) == __version__


@pytest.mark.parametrize("part", PARTS)
def test_a_version_that_differs_is_named(release: ModuleType, sources: Path, part: str) -> None:
    file = sources / part
    file.write_text(file.read_text().replace(__version__, "9.9.9"))
    with pytest.raises(release.WrongError) as caught:
        release.versions(sources)
    assert "9.9.9" in str(caught.value) or part in str(caught.value)


def test_a_wheel_with_a_link_is_refused(release: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / f"a-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        link = zipfile.ZipInfo("a/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "elsewhere")
    with pytest.raises(release.WrongError, match="symbolic links: a/link"):
        release._check_wheel(wheel, __version__)


def test_a_file_that_record_does_not_name_is_refused(release: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / f"a-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/more.py", "")
        archive.writestr(f"a-{__version__}.dist-info/RECORD", f"a-{__version__}.dist-info/RECORD,,\n")
    with pytest.raises(release.WrongError, match=r"RECORD and the files differ: a/more\.py"):
        release._check_wheel(wheel, __version__)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/release", tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
