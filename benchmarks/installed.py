"""The program as an operator installs it: a wheel in a virtual environment of its own.

Measure start-up times with this, and not with ``pip install -e``: an editable install slows down every Python
of its environment, even ``python -c pass``, because each one first sets up the hooks that find the checkout.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.service import program_environment

CHECKOUT = Path(__file__).resolve().parents[1]
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+) \\")
"""A line of a file that pins packages by their checksums, which follow."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation.

    Attributes:
        name: Which source it was built from, for people.
        program: Its command ``orchestrator``.
    """

    name: str
    program: Path


def plain_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose variables do not change what Python imports or how.

    Args:
        base: The rest of the environment.
    """
    return {name: value for name, value in program_environment(base).items() if not name.startswith("PYTHON")}


def plain_python(folder: Path) -> Path:
    """Make a virtual environment with nothing in it, and return its Python.

    Args:
        folder: Where the environment goes.
    """
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    return folder / "bin/python"


def install_checkout(folder: Path) -> Installed:
    """Install what is in this checkout, changes that are not committed included.

    Args:
        folder: An empty folder for all that is made on the way.
    """
    source = folder / "source"
    # A build leaves files behind that the next one would pack, so it gets a copy.
    for name in _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        file = CHECKOUT / name
        if name and file.exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, source / name, follow_symlinks=False)
    return _install("this checkout", source, folder)


def install_revision(revision: str, folder: Path) -> Installed:
    """Install another revision of this checkout.

    Args:
        revision: What git calls it: a commit, a branch or a tag.
        folder: An empty folder for all that is made on the way.

    Raises:
        ValueError: There is no such revision.
    """
    try:
        commit = _git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        ).strip()
    except subprocess.CalledProcessError:
        raise ValueError(f"git knows no revision {revision!r}") from None
    with _worktree(commit, folder / "source") as source:
        return _install(f"{revision} ({commit[:7]})", source, folder)


@contextmanager
def _worktree(commit: str, folder: Path) -> Iterator[Path]:
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _install(name: str, source: Path, folder: Path) -> Installed:
    wheels, environment = folder / "wheels", folder / "environment"
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (wheel,) = wheels.glob("*.whl")
    _run(sys.executable, "-m", "venv", str(environment))
    install = (str(environment / "bin/python"), *pip, "install")
    required, constraints = source / "requirements/run.txt", source / "constraints.txt"
    if required.exists():
        if here := _installed_here(required.read_text()):
            _copy_packages(here, environment)
        else:
            _run(*install, "-r", str(required))
        _run(*install, "--no-deps", str(wheel))
    else:  # a revision from before there were hashes
        _run(*install, "--constraint", str(constraints), str(wheel))
    return Installed(name, environment / "bin/orchestrator")


def _installed_here(requirements: str) -> list[Distribution]:
    """Return the packages that a file pins if this Python has exactly these, otherwise nothing.

    Args:
        requirements: The file's text.
    """
    found = []
    for line in requirements.splitlines():
        if not line or line.startswith((" ", "#", "--")):  # a checksum, a comment, or an option
            continue
        pinned = _PINNED.fullmatch(line)
        if pinned is None:
            return []
        try:
            installed = distribution(pinned["name"])
        except PackageNotFoundError:
            return []
        if installed.version != pinned["version"] or not installed.files:
            return []
        found.append(installed)
    return found


def _copy_packages(packages: Iterable[Distribution], environment: Path) -> None:
    """Give an environment packages of this one, without their commands. pip takes half a minute for them.

    Args:
        packages: The packages.
        environment: The environment, of this version of Python.
    """
    (folder,) = environment.glob("lib/python*/site-packages")
    for package in packages:
        for name in package.files or ():
            source = Path(str(package.locate_file(name)))
            if ".." not in name.parts and source.exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, folder / name)


def _git(*arguments: str) -> str:
    return _run("git", "-C", str(CHECKOUT), *arguments)


def _run(*line: str) -> str:
    """Run a program and return what it prints; it is only shown if the program fails."""
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    done.check_returncode()
    return done.stdout
