"""The wheel, built from these sources once for a whole test run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
INSTALL_SECONDS = 600.0
"""Seconds for what takes 20 when pip has everything in its cache."""
STALE = "orchestrator/module_of_an_earlier_version.py"
"""What an earlier build has left in ``build/lib``."""
_SOURCES = (
    "orchestrator", "systemd", "pyproject.toml", "setup.py", "README.md", "LICENSE", "accounts.example.yaml"
)  # fmt: skip


def clean_environment() -> dict[str, str]:
    """Return an environment that leads to no Python of these tests'."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_"))}


def run(*command: str | Path, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command, which must succeed; return what it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built_wheel(folder: Path) -> Path:
    """Return the wheel in a folder, building it if nobody has.

    Args:
        folder: Where it is, for all processes that run these tests.
    """
    with (folder / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = folder / "wheel"
        if not place.exists():
            _build(folder / "wheel-sources", folder / "wheel-new")
            (folder / "wheel-new").rename(place)
    (wheel,) = place.glob("*.whl")
    return wheel


def _build(sources: Path, into: Path) -> None:
    # From a copy: building leaves traces in the sources.
    sources.mkdir()
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, sources / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, sources / name)
    stale = sources / "build/lib" / STALE
    stale.parent.mkdir(parents=True)
    stale.touch()
    # What builds it is one of the packages whose hashes were checked.
    command = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", into, sources)
    run(*command, folder=sources, environment=clean_environment())
    shutil.rmtree(sources)
