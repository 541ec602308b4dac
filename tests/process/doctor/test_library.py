"""Whether neonize loads: a broken one is told with what to install."""

import base64
import hashlib
from pathlib import Path

import pytest
from support.cli import COMMAND, Cli

from orchestrator.service import library
from orchestrator.service.library import LibraryError, check_library


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def noted(folder: Path) -> None:
    """Note the checksums of a neonize as an installer does."""
    rows = []
    for path in (folder / "neonize").iterdir():
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        rows.append(f"neonize/{path.name},sha256={digest},{path.stat().st_size}\n")
    info = folder / "neonize-0.5.2.dist-info"
    info.mkdir()
    (info / "RECORD").write_text("".join(rows))


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("neonize/__init__.py", "import nothing_of_that_name", "not installed completely"),
        ("neonize/__init__.py", "raise OSError('GLIBC_9.99 not found')", "GLIBC_9.99 not found"),
        ("neonize/__init__.py", "import os; os._exit(3)", "exit code 3"),
        (
            "neonize/__init__.py",
            "from .download import download\ndownload()",
            "library is missing, damaged, or has another",
        ),
        (
            "neonize/__init__.py",
            "raise RuntimeError('failed to load goneonize after 3 attempts')",
            "library is missing, damaged, or has another",
        ),
    ],
)
def test_a_neonize_that_does_not_load_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str, message: str
) -> None:
    path = tmp_path / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (tmp_path / "neonize").mkdir(exist_ok=True)
    (tmp_path / "neonize/download.py").write_text(
        '__GONEONIZE_VERSION__ = "0.5.2"\ndef download():\n    raise SystemExit("it was going to download")\n'
    )
    (tmp_path / "neonize/neonize-linux-amd64.so").touch()
    noted(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LibraryError, match=message) as caught:
        check_library()
    assert "going to download" not in str(caught.value)


def test_loading_may_not_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LOAD_SECONDS", 0.01)
    with pytest.raises(LibraryError, match="overloaded"):
        check_library()


def test_a_service_does_not_start_without_a_neonize_that_loads(cli: Cli) -> None:
    cli.configure("a: {}")
    folder = cli.folder / "packages"
    folder.mkdir()
    (folder / "PIL.py").write_text("raise ImportError('no pictures today')")
    cli.environment["PYTHONPATH"] = f"{folder}:{cli.environment['PYTHONPATH']}"
    done = cli("run", code=1, program=COMMAND)
    assert "no pictures today" in done.stderr
    assert cli.puppets.runs("a") == []
