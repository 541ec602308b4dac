"""Says why neonize cannot be loaded, and what to do. Imported only after loading failed.

It looks at installed files and imports none of them: a module that was imported by half says nothing.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from orchestrator.system.os_errors import shortage
from orchestrator.worker.library.package import LibraryAlteredError, reinstall

_DISTRIBUTIONS = {"PIL": "pillow", "google": "protobuf"}
"""How pip calls a missing package, where its module has another name."""
_GENERATED = re.compile(r"^# Protobuf Python Version: (\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_INSTALLED = re.compile(r"^__version__\s*=\s*['\"](\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_HEAD = 1000
"""Characters of a generated file in which the version stands."""
_LONGEST = 200

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with neonize.

    Attributes:
        text: A sentence for people, with what to do.
        altered: Whether neonize's files are not those of its package.
    """

    text: str
    altered: bool = False


def diagnose(error: BaseException) -> Diagnosis:
    """Say what an error means that was raised while neonize or its library was loaded."""
    lack = shortage(error)
    text = _short(error)
    if lack is not None:
        return Diagnosis(f"neonize cannot be loaded: {lack}")
    if isinstance(error, LibraryAlteredError):
        return Diagnosis(_unreadable(error.__cause__) or str(error), altered=True)
    return Diagnosis(
        _unreadable(error)
        or _wrong_protobuf()
        or _missing_package(error)
        or _wrong_library(error, text)
        or _broken_package(error, text)
        or f"neonize cannot be loaded ({text}): {reinstall('neonize')}"
    )


def _unreadable(error: BaseException | None) -> str | None:
    """Say which file this user may not read. Python treats a closed folder like an empty one."""
    place = error.filename if isinstance(error, PermissionError) else None
    if place is None and isinstance(error, ModuleNotFoundError) and error.name:
        place = next(_closed(error.name), None)
    if place is None:
        return None
    return f"neonize cannot be loaded: this user may not read {place}: `chmod -R a+rX {place}`"


def _closed(module: str) -> Iterator[str]:
    name = module.partition(".")[0]
    for entry in sys.path:
        if not os.path.isdir(entry):  # noqa: PTH112 - entries need not be paths
            continue
        if not os.access(entry, os.R_OK | os.X_OK):
            yield entry
        for path in (Path(entry) / name, Path(entry) / f"{name}.py"):
            needed = os.R_OK | (os.X_OK if path.is_dir() else 0)
            if os.path.lexists(path) and not os.access(path, needed):
                yield str(path)


def _wrong_protobuf() -> str | None:
    """Say which protobuf neonize's generated code needs, if another one is installed.

    The requirements of neonize's package ask for less, so pip alone would not install the right one.
    """
    installed, wanted = _installed_protobuf(), _generated_for()
    if wanted is None or installed is None or (wanted <= installed and installed[0] <= wanted[0] + 1):
        return None
    return (
        f"neonize cannot be loaded: protobuf {_say(installed)} is installed, and neonize's code needs"
        f" {_say(wanted)} or newer, below {wanted[0] + 2}:"
        f" `pip install 'protobuf>={_say(wanted)},<{wanted[0] + 2}'`"
    )


def _installed_protobuf() -> Version | None:
    for entry in sys.path:
        found = _version_in(Path(entry) / "google/protobuf/__init__.py", _INSTALLED)
        if found is not None:
            return found
    return None


def _generated_for() -> Version | None:
    for entry in sys.path:
        folder = Path(entry) / "neonize/proto"
        versions = [_version_in(path, _GENERATED) for path in folder.glob("**/*_pb2.py")]
        known = [version for version in versions if version is not None]
        if known:
            return max(known)
    return None


def _version_in(file: Path, pattern: re.Pattern[str]) -> Version | None:
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            match = pattern.search(text.read(_HEAD * 10))
    except OSError:
        return None
    return None if match is None else tuple(int(number) for number in match.groups())


def _say(version: Version) -> str:
    return ".".join(map(str, version))


def _missing_package(error: BaseException) -> str | None:
    if not (isinstance(error, ModuleNotFoundError) and error.name):
        return None
    name = error.name.partition(".")[0]
    if name == "neonize":
        return f"neonize is not installed completely ({_short(error)}): {reinstall('neonize')}"
    if name in sys.stdlib_module_names:
        return f"this Python is not complete ({_short(error)}): reinstall Python with all its modules"
    package = _owner(name) or _DISTRIBUTIONS.get(name)
    what = f"neonize needs {package or 'a package'}, which is not installed completely"
    return f"{what} ({_short(error)}): {reinstall(package or 'neonize')}"


def _wrong_library(error: BaseException, text: str) -> str | None:
    """Say what is wrong with neonize's Go library."""
    if "GLIBC" in text:
        return f"neonize cannot be loaded ({text}): this system's C library is too old, use a newer system"
    if "goneonize" in text or "/neonize/neonize-" in text or type(error).__name__ == "LibraryError":
        advice = f"{reinstall('neonize')}, on a system for which neonize has a wheel"
        return f"neonize's library is missing, damaged, or has another version ({text}): {advice}"
    return None


def _broken_package(error: BaseException, text: str) -> str | None:
    """Name the package that raises while it is imported, by the file that raises."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        files.append(error.filename)
    elif isinstance(error, ImportError) and error.path:
        files.append(error.path)
    for file in reversed(files):
        for entry in sys.path:
            if entry and file.startswith(f"{entry}/") and "packages" in entry:
                name = Path(file).relative_to(entry).parts[0].partition(".")[0]
                package = _owner(name) or _DISTRIBUTIONS.get(name)
                if package is not None:
                    why = f"{package} is damaged ({text})"
                    return f"neonize cannot be loaded because {why}: {reinstall(package)}"
    return None


def _owner(module: str) -> str | None:
    """Return pip's name of the package that a module belongs to, None if there is none."""
    try:
        owners = metadata.packages_distributions().get(module, [])
    except (OSError, ValueError, metadata.PackageNotFoundError):
        return None
    return "protobuf" if "protobuf" in owners else next(iter(owners), None)


def _short(error: BaseException) -> str:
    kind = "" if isinstance(error, ImportError | OSError) else f"{type(error).__name__}: "
    text = " ".join(f"{kind}{error}".split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
