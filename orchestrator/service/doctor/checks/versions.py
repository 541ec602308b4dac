"""Which versions are installed."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from orchestrator import __version__
from orchestrator.service.doctor.check import Check, Finding, ok
from orchestrator.service.doctor.context import Context


def find(_: Context) -> Iterator[Finding]:
    """Name this program, Python, and the packages that matter when something is reported."""
    versions = [f"orchestrator {__version__}", f"Python {platform.python_version()}"]
    for package in ("multiprocess", "neonize", "protobuf"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    yield ok(", ".join(versions))


CHECK = Check("versions", "versions", "Which versions are installed.", find)
