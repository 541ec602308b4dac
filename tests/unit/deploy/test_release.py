"""`scripts/release`: what it makes of the last commit, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from support.scripts import loaded

from orchestrator import __version__

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "scripts/release"
PARTS = (
    "orchestrator/__init__.py",
    "deploy/helm/single/Chart.yaml",
    "deploy/helm/cluster/Chart.yaml",
    "deploy/kustomize/overlays/example/kustomization.yaml",
    "CHANGELOG.md",
)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return loaded(PROGRAM)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


needs_git = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="a release is made of a commit, and these sources have none"
)


def run(
    *arguments: str | Path, root: Path = ROOT, umask: int = -1, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "scripts/release", *arguments],
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )


def git(folder: Path, *arguments: str) -> None:
    """Run git as nobody has configured it."""
    settings = ("user.name=Ada", "user.email=ada@example.com", "safe.directory=*")
    line = ["git", *(word for setting in settings for word in ("-c", setting)), *arguments]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the last commit, with the program as it is here."""
    made = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(made))
    shutil.copy(PROGRAM, made / "scripts/release")
    return made


@needs_git
@pytest.mark.timeout(1500)
def test_a_release_is_whole_and_the_same_for_everybody(tmp_path: Path, clone: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    folder = tmp_path / "dist"
    done = run(folder)
    assert done.returncode == 0, done.stderr
    # Somebody else's machine.
    for setting in ("core.autocrlf=true", "tar.umask=0077", "core.quotePath=false"):
        git(clone, "config", *setting.split("="))
    (clone / ".git/info").mkdir(exist_ok=True)
    (clone / ".git/info/attributes").write_text("*.py export-ignore\n*.yaml ident\n")
    (clone / "orchestrator/stray.py").touch()
    (clone / "README.md").write_text("changed")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".pydistutils.cfg").write_text("[sdist]\nformats = zip\n[bdist_wheel]\npython_tag = cp311\n")
    (home / ".gitconfig").write_text("[core]\n\tautocrlf = true\n")
    other = run(
        tmp_path / "other", root=clone, umask=0o077, HOME=str(home), TZ="Asia/Kathmandu",
        LC_ALL="tr_TR.UTF-8", SOURCE_DATE_EPOCH="1", PYTHONHASHSEED="7", GIT_DIR="/nonexistent",
    )  # fmt: skip
    assert other.returncode == 0, other.stderr
    assert other.stdout == done.stdout == (folder / "SHA256SUMS").read_text()
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
    listed = "".join((ROOT / f"requirements/{name}.txt").read_text() for name in ("run", "cluster"))
    pinned = re.findall(r"^([a-z0-9-]+)==", listed, re.MULTILINE)
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
        release._check_wheel(wheel, __version__, set())


def test_a_file_that_record_does_not_name_is_refused(release: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / f"a-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/more.py", "")
        archive.writestr(f"a-{__version__}.dist-info/RECORD", f"a-{__version__}.dist-info/RECORD,,\n")
    with pytest.raises(release.WrongError, match=r"RECORD and the files differ: a/more\.py"):
        release._check_wheel(wheel, __version__, set())


@needs_git
def test_what_is_another_thing_each_time_is_not_published(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path, commit: str) -> None:
        folder.mkdir()
        (folder / "same").write_text(commit)
        (folder / "other").write_text(str(folder))
        (folder / release.SUMS).touch()

    monkeypatch.setattr(release, "_make", make)
    release.release(tmp_path / "once", "HEAD", twice=False, publish=False)
    assert len(list((tmp_path / "once").iterdir())) == 3
    with pytest.raises(release.WrongError) as caught:
        release.release(tmp_path / "twice", "HEAD", twice=True, publish=False)
    assert str(caught.value) == "made a second time, these are others: other"
    assert not list((tmp_path / "twice").iterdir())


def released(clone: Path) -> None:
    """Make the last commit one that may be published."""
    changelog = clone / "CHANGELOG.md"
    text = re.sub(r"(?ms)^## Unreleased\n.*?(?=^## )", "## Unreleased\n\n", changelog.read_text())
    changelog.write_text(text)
    git(clone, "commit", "--all", "--message", "release")


@needs_git
def test_what_must_not_be_published_is_refused(
    tmp_path: Path, clone: Path, release: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dist"
    (clone / "CHANGELOG.md").write_text(f"## Unreleased\n\n- More\n\n## {__version__}\n")
    git(clone, "commit", "--all", "--message", "more")
    said = run("--publish", folder, root=clone).stderr
    assert "CHANGELOG.md has lines under Unreleased" in said
    assert "not committed" not in said
    released(clone)
    (clone / "stray").touch()
    assert "what is not committed would not be in it: stray" in run("--publish", folder, root=clone).stderr
    (clone / "stray").unlink()
    git(clone, "tag", "-a", f"v{__version__}", "-m", "", "HEAD~1")
    assert f"v{__version__} is another commit" in run("--publish", folder, root=clone).stderr
    assert not list(folder.iterdir())
    git(clone, "tag", "-f", f"v{__version__}")
    monkeypatch.setattr(release, "ROOT", clone)
    commit = release._git("rev-parse", "HEAD").decode().strip()
    assert list(release._against(commit, is_head=True)) == []


@needs_git
def test_what_must_not_be_published_is_made_with_a_word_about_it(
    tmp_path: Path, clone: Path, release: ModuleType, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def make(folder: Path, commit: str) -> None:
        folder.mkdir()
        (folder / release.SUMS).write_text(commit)

    (clone / "stray").touch()
    monkeypatch.setattr(release, "ROOT", clone)
    monkeypatch.setattr(release, "_make", make)
    release.release(tmp_path / "dist", "HEAD", twice=False, publish=False)
    assert (tmp_path / "dist" / release.SUMS).exists()
    said = capsys.readouterr().err
    assert said.startswith("release: not for publishing: what is not committed would not be in it: ")
    assert "stray" in said


@needs_git
def test_a_link_in_the_sources_is_refused(tmp_path: Path, clone: Path) -> None:
    (clone / "orchestrator/link.py").symlink_to("errors.py")
    git(clone, "add", "--all")
    git(clone, "commit", "--message", "a link")
    done = run(tmp_path / "dist", root=clone)
    assert done.returncode == 1
    assert done.stderr.endswith("release: orchestrator/link.py is a link\n")


def test_other_tools_than_those_of_the_commit_are_refused(release: ModuleType, tmp_path: Path) -> None:
    release.check_installed(ROOT)
    (tmp_path / "requirements").mkdir()
    text = (ROOT / "requirements/run.txt").read_text()
    for name in ("setuptools", "neonize"):
        changed = re.sub(rf"(?m)^{name}==\S+", f"{name}==0.0.1", text)
        (tmp_path / "requirements/run.txt").write_text(changed)
        with pytest.raises(release.WrongError, match=rf"{name} 0\.0\.1 is needed, and here is "):
            release.check_installed(tmp_path)


def test_a_wheel_that_lacks_a_file_of_the_sources_is_refused(release: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / f"a-{__version__}-py3-none-any.whl"
    record = f"a-{__version__}.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("orchestrator/stray.py", "")
        archive.writestr(record, f"orchestrator/stray.py,,\n{record},,\n")
    with pytest.raises(release.WrongError, match=r"differ: orchestrator/page\.css, orchestrator/stray\.py"):
        release._check_wheel(wheel, __version__, {"orchestrator/page.css"})


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
