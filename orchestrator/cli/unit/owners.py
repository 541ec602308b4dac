"""Whether an installation is root's: nobody else may change what a unit runs, or what is imported with it.

The whole folders of packages are looked at, since each file in them runs when it is imported.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.system.trust import Way, Weak, find_weak, look, read_way, weak_for_root

_PACKAGE = Path(__file__).resolve().parents[2]
_PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Found:
    """A place that others than root may change.

    Attributes:
        weak: The place.
        tree: The folder that was searched, if the place is inside it.
    """

    weak: Weak
    tree: Path | None = None

    @property
    def advice(self) -> str:
        """What to do."""
        if self.tree is None:
            return self.weak.advice()
        return f"`chown -hR root: {self.tree}`, `chmod -R go-w {self.tree}`"


def find(*places: Path) -> Found | None:
    """Return the first thing that others than root may change: a place, a folder above, or part of a package.

    Args:
        places: The files and folders that the unit needs by name.
    """
    folders = tuple(trees())
    for place in (*places, *folders):
        if weak := weak_for_root(read_way(place)):
            return Found(weak)
    for tree in folders:
        if weak := weak_in(tree):
            return Found(weak, tree)
    return None


def trees() -> Iterator[Path]:
    """Yield the folders that this program's modules come from. Those of PYTHONPATH are not the unit's."""
    not_ours = {Path(one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one}
    folders = [_PACKAGE, *(Path(one) for one in sys.path)]
    if sys.prefix != sys.base_prefix:
        folders.insert(0, Path(sys.prefix))
    found: list[Path] = []
    for folder in dict.fromkeys(folders):
        inside = any(folder.is_relative_to(one) for one in found)
        if folder.is_absolute() and folder not in not_ours and not inside and folder.is_dir():
            found.append(folder)
            yield folder


def weak_in(tree: Path) -> Weak | None:
    """Return something inside a folder that others than root may change, None if there is nothing.

    A folder that is linked there is searched as well. Left out is what nothing is imported from: names that
    begin with a dot, and packages of an environment's base that the environment does not have.

    Args:
        tree: The folder.
    """
    left: list[Path] = [tree]
    done: set[Path] = set()
    while left:
        top = left.pop()
        real = top.resolve()
        if any(real.is_relative_to(one) for one in done):
            continue
        done.add(real)
        for name, folders, files in os.walk(real):
            folder = Path(name)
            folders[:] = [one for one in folders if _is_imported(folder, one)]
            for path in (folder / one for one in (*folders, *files) if not one.startswith(".")):
                if weak := _weak(path):
                    return weak
            left += [path for one in folders if (path := folder / one).is_symlink()]
    return None


def _is_imported(folder: Path, name: str) -> bool:
    return not name.startswith(".") and (name not in _PACKAGES or os.fspath(folder / name) in sys.path)


def _weak(path: Path) -> Weak | None:
    try:
        place = look(path)
    except OSError:
        return None  # it is gone by now
    if stat.S_ISLNK(place.mode):
        return weak_for_root(read_way(path))
    return find_weak(Way((place,), whole=True), owners={0})
