"""A session of which nobody knows where it was paired is tried out in a sandbox, with a copy kept.

Sessions of version 0.1 do not say where they were paired. In the sandbox's environment such a session is
either of this sandbox, and then it connects, or it is a real one that was started there by mistake. Then the
sandbox refuses it, and the library deletes the device from the file. So the files are copied before the
start, to the folder ``sessions/.NAME.untried``, and take the account's place again if the session was
refused.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.store import device, realm
from orchestrator.store.layout import DATABASE
from orchestrator.store.sessions import files
from orchestrator.system.files import open_file, remove_folder, sync, sync_folder

_UNTRIED = re.compile(rf"\.({NAME_PATTERN})\.untried")
_HALF = re.compile(rf"\.({NAME_PATTERN})\.half")
"""A copy that is being made, or a session that its copy has replaced: nobody wants either."""


class TooLargeError(Exception):
    """A session is too large to be copied."""


def begin(home: Path, here: str) -> None:
    """Copy a session that is about to be tried out, unless there is a copy; no process may use it.

    Args:
        home: The account's folder.
        here: Where it is tried out, which the copy says that it is not of.

    Raises:
        OSError: The session cannot be copied.
        TooLargeError: It is too large for that.
    """
    if is_under_way(home):
        return  # that copy is of the session as it was before any process here has touched it
    place, half = _place(home), home.with_name(f".{home.name}.half")
    _remove(half)
    half.mkdir(0o700)
    for file in files(home / DATABASE):
        with contextlib.suppress(FileNotFoundError):
            _copy(file, half / file.name)
    realm.note(half, realm.other_than(here))
    sync_folder(half)
    half.rename(place)


def _remove(folder: Path) -> None:
    """Remove a folder, if it is there.

    Raises:
        OSError: It cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        remove_folder(folder)  # shutil would go down by recursion, as deep as an account's process has dug


def _copy(source: Path, target: Path) -> None:
    with os.fdopen(open_file(source), "rb") as original:
        data = original.read(device.MAX_SIZE + 1)
    if len(data) > device.MAX_SIZE:
        raise TooLargeError
    with os.fdopen(open_file(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy:
        copy.write(data)
        sync(copy)


def end(home: Path) -> None:
    """Forget the copy, if there is one; never raises."""
    with contextlib.suppress(OSError):
        _remove(_place(home))


def is_under_way(home: Path) -> bool:
    """Tell whether there is a copy."""
    return os.path.lexists(_place(home))


def give_back(home: Path) -> None:
    """Put the copy back, with a note where it is not of, in the place of what was made of the session.

    Raises:
        OSError: It cannot be put back; the copy is still there.
    """
    spoiled = home.with_name(f".{home.name}.half")
    _remove(spoiled)
    with contextlib.suppress(FileNotFoundError):
        home.rename(spoiled)
    _place(home).rename(home)
    sync_folder(home.parent)
    with contextlib.suppress(OSError):
        _remove(spoiled)


def tidy(sessions: Path) -> list[str]:
    """Bring to an end what was being tried out when the service was killed; no process may use a session.

    Args:
        sessions: The folder of the sessions; it may be missing.

    Returns:
        What was done, a sentence each, for the log.
    """
    said: list[str] = []
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(sessions)):  # noqa: PTH208 - names are all that is needed
            match = _UNTRIED.fullmatch(entry)
            if match is None:
                continue
            home = sessions / match[1]
            if device.look(home / DATABASE).linked:
                end(home)
                continue
            try:
                give_back(home)
            except OSError as error:
                said.append(f"{match[1]}: the session in {_place(home)} cannot be put back: {error.strerror}")
            else:
                said.append(f"{match[1]}: the session is as it was before it was tried out in a sandbox")
        for entry in os.listdir(sessions):  # noqa: PTH208 - names are all that is needed
            if (match := _HALF.fullmatch(entry)) and not os.path.lexists(_place(sessions / match[1])):
                with contextlib.suppress(OSError):
                    _remove(sessions / entry)
    return said


def _place(home: Path) -> Path:
    return home.with_name(f".{home.name}.untried")
