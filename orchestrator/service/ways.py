"""What the service uses that must be nobody else's: the folders on the way to its files, and its program.

Whoever may rename a folder above the state folder puts another state folder in its place. A service of root
refuses to start then, and `doctor` says it of any service. sshd(8) calls the same rule StrictModes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.config.settings import Settings
from orchestrator.errors import StateError
from orchestrator.store.layout import StatePaths
from orchestrator.system.trust import Way, Weak, read_way, weak_for_us

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Used:
    """Something that the service uses.

    Attributes:
        what: What it is, for people.
        path: Where it is.
        way: What must be nobody else's: the folders above, and for some things the thing itself.
    """

    what: str
    path: Path
    way: Way


def above(what: str, path: Path) -> Used:
    """Return something whose own owner and mode are judged elsewhere, or that an operator has named."""
    return Used(what, path, read_way(path).above)


def used_by_program() -> Iterator[Used]:
    """Yield where this program, its Python and its packages are."""
    yield Used("the Python of this program", Path(sys.executable), read_way(Path(sys.executable)))
    for folder in dict.fromkeys([Path(sys.prefix), _PACKAGE, *map(Path, sys.path)]):
        if folder.is_absolute():
            yield Used("this program", folder, read_way(folder))


def used(settings: Settings, paths: StatePaths) -> Iterator[Used]:
    """Yield everything that a service uses.

    Args:
        settings: The configuration.
        paths: The state folder.
    """
    yield above("the configuration", settings.config_file)
    yield above("the state folder", paths.root)
    yield above("the control socket", paths.control_socket.parent)
    if not settings.qr_dir.is_relative_to(paths.root):
        yield above("the folder of codes", settings.qr_dir)
    yield from used_by_program()


def find_weak(things: Iterable[Used], *owners: int) -> Iterator[tuple[Used, Weak]]:
    """Yield each place that others can change, once, with the first thing that needs the place.

    Args:
        things: What is used.
        owners: Users who are trusted besides root and this user.
    """
    found = set()
    for thing in things:
        weak = weak_for_us(thing.way, *owners)
        if weak is not None and weak.place.path not in found:
            found.add(weak.place.path)
            yield thing, weak


def check_for_root(settings: Settings, paths: StatePaths) -> None:
    """See that a service of root uses nothing that others can change. Other users are told by `doctor`.

    Args:
        settings: The configuration.
        paths: The state folder.

    Raises:
        StateError: The service would. The message has a line for each place, with what to do.
    """
    _refuse_for_root(used(settings, paths))


def check_state_for_root(paths: StatePaths) -> None:
    """See that root changes no state folder that others can put another in the place of.

    Args:
        paths: The state folder.

    Raises:
        StateError: Root would. The message says what to do.
    """
    _refuse_for_root([above("the state folder", paths.root)])


def _refuse_for_root(things: Iterable[Used]) -> None:
    if os.geteuid() == 0 and (lines := [told(thing, weak) for thing, weak in find_weak(things)]):
        lines.append("root does not go on like that: change this, or run the service as another user")
        raise StateError("\n".join(lines), key="folder_untrusted")


def told(thing: Used, weak: Weak) -> str:
    """Say what others can change, and what to do.

    Args:
        thing: What is used.
        weak: The place.
    """
    return (
        f"{weak.text}, so others can put another file in the place of {thing.what} ({thing.path}):"
        f" {weak.advice(os.geteuid())}, or choose another place"
    )
