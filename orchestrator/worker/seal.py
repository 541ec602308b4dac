"""By what a process knows that neonize's libraries are still those that the service has checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seal:
    """Tells whether the libraries are still the files that were checked, without reading them.

    Attributes:
        version: The package's version.
        files: For each library its name, and its device, inode, size and times of change.
    """

    version: str
    files: tuple[tuple[str, int, int, int, int, int], ...]
