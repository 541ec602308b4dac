"""The control groups that this process belongs to, by both versions of their interface; see cgroups(7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

OWN = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def folders(controller: str, own: Path = OWN, root: Path = ROOT) -> Iterator[Path]:
    """Yield the folders of this process's groups, the innermost first, each followed by those around it.

    In a container, what is mounted may be its own group, wherever that is on the machine; so the root of what
    is mounted comes last. A folder need not exist.

    Args:
        controller: What the groups control: "memory", "pids".
        own: The file that names this process's groups.
        root: Where groups are mounted.
    """
    for line in lines(own):
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if not controllers:  # version 2
            top = root
        elif controller in controllers.split(","):
            top = root / controller
        else:
            continue
        inner = Path(path.lstrip("/"))
        yield from (top / folder for folder in (inner, *inner.parents) if str(folder) != ".")
    yield from (root, root / controller)


def numbers(controller: str, *names: str) -> Iterator[tuple[Path, int]]:
    """Yield the numbers in files of these names in the groups of this process; a group without is left out.

    Args:
        controller: What the groups control.
        names: What the file is called, by either version.
    """
    for folder in dict.fromkeys(folders(controller)):
        for name in names:
            text = "".join(lines(folder / name)).strip()
            if text.isdecimal():
                yield folder, int(text)


def lines(file: Path) -> list[str]:
    """Return the lines of a file, none if the file cannot be read."""
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
